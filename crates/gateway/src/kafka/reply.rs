use futures_util::FutureExt;
use transport::{Reply, Response};
use wire::{Encodable, FrameError, HeaderVersion, RequestFrame};

pub(super) fn encoded<R: Encodable + HeaderVersion>(
    answer: &R,
    version: i16,
    correlation_id: i32,
) -> Result<Response, FrameError> {
    Ok(wire::encode_response(answer, version, correlation_id)?.into())
}

pub(super) fn now<R: Encodable + HeaderVersion>(
    frame: &RequestFrame,
    answer: &R,
) -> Result<Reply, FrameError> {
    Ok(Reply::Now(encoded(answer, frame.version, frame.correlation_id)?))
}

pub(super) fn later<R: Encodable + HeaderVersion>(
    frame: &RequestFrame,
    answer: impl Future<Output = R> + Send + 'static,
) -> Result<Reply, FrameError> {
    let (version, id) = (frame.version, frame.correlation_id);
    Ok(Reply::Later(async move { encoded(&answer.await, version, id) }.boxed()))
}
