use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::{
    messages::{ApiKey, RequestHeader},
    protocol::{Decodable, Encodable, Request, StrBytes},
};

use crate::{ApiVersions, Encoded, claims, splice::SpliceBuf, spoken};

/// A request's frame without its length: at least api key, version and correlation id.
pub const FRAME_BYTES_MIN: usize = 8;

/// Asking for all topics, librdkafka (2.16 as its predecessors) leaves room for a longer count and does not take it back. Kafka
/// never looks at what is behind a request.
const LONGER_THAN_READ: ApiKey = ApiKey::Metadata;

/// The version of a request's header in which, and in whose bodies and answers, lengths are variable (KIP-482).
pub(crate) const FLEXIBLE_HEADER: i16 = 2;

/// A frame that cannot be read. Only [`FrameError::Version`] of ApiVersions can be answered; the rest ends the
/// connection, since not even the form of an answer is known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a request of {0} bytes is too short for a header")]
    TooShort(usize),
    #[error("api key {api_key} is not supported")]
    Api { api_key: i16 },
    #[error("version {version} of {:?} is not supported, {} to {} are", .spoken.api, .spoken.min, .spoken.max)]
    Version { spoken: ApiVersions, version: i16, correlation_id: i32 },
    #[error("malformed {part}: {reason}")]
    Malformed { part: &'static str, reason: String },
}

/// A request may name so many groups. What names more is no client of ours: a name takes a byte or two of a frame, and its
/// answer a hundred times that.
pub const GROUPS_PER_REQUEST_MAX: usize = 100_000;

/// Refuses a request that names more groups than [`GROUPS_PER_REQUEST_MAX`].
///
/// # Errors
/// It does.
pub fn check_group_count(named: usize) -> Result<(), FrameError> {
    match named > GROUPS_PER_REQUEST_MAX {
        false => Ok(()),
        true => Err(malformed(format_args!("{named} groups are named, {GROUPS_PER_REQUEST_MAX} may be"))),
    }
}

/// One request: its header read, its body not yet.
#[derive(Clone, Debug)]
pub struct RequestFrame {
    pub api: ApiKey,
    pub version: i16,
    pub correlation_id: i32,
    pub client_id: Option<StrBytes>,
    pub body: Bytes,
}

impl RequestFrame {
    /// Reads the header of a frame whose length was taken off.
    pub fn parse(mut frame: Bytes) -> Result<Self, FrameError> {
        if frame.len() < FRAME_BYTES_MIN {
            return Err(FrameError::TooShort(frame.len()));
        }
        let mut peek = &frame[..FRAME_BYTES_MIN];
        let (api_key, version, correlation_id) = (peek.get_i16(), peek.get_i16(), peek.get_i32());
        let spoken = spoken(api_key).ok_or(FrameError::Api { api_key })?;
        if !spoken.contains(version) {
            return Err(FrameError::Version { spoken, version, correlation_id });
        }
        let header = RequestHeader::decode(&mut frame, spoken.api.request_header_version(version))
            .map_err(|e| FrameError::Malformed { part: "request header", reason: e.to_string() })?;
        Ok(Self { api: spoken.api, version, correlation_id, client_id: header.client_id, body: frame })
    }

    /// Reads the body. Payloads inside are slices of the frame, not copies.
    pub fn decode_body<R: Request>(&self) -> Result<R, FrameError> {
        let mut body = self.body.clone();
        let is_flexible = R::header_version(self.version) >= FLEXIBLE_HEADER;
        let request = claims::decode::<R>(&mut body, self.version, is_flexible)
            .map_err(|reason| FrameError::Malformed { part: "request body", reason })?;
        match body.is_empty() || self.api == LONGER_THAN_READ {
            true => Ok(request),
            false => {
                let reason = format!("{} bytes are left over", body.len());
                Err(FrameError::Malformed { part: "request body", reason })
            }
        }
    }
}

fn malformed(error: impl std::fmt::Display) -> FrameError {
    FrameError::Malformed { part: "request", reason: error.to_string() }
}

/// A whole frame, length included, for a client to send.
pub fn encode_request<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &StrBytes,
) -> Result<Bytes, FrameError> {
    let size = request.compute_size(version).map_err(malformed)?;
    let mut frame = BytesMut::with_capacity(size + 64 + client_id.len());
    frame.put_i32(0);
    let header = header(R::KEY, version, correlation_id, Some(client_id));
    header.encode(&mut frame, R::header_version(version)).map_err(malformed)?;
    request.encode(&mut frame, version).map_err(malformed)?;
    let length = i32::try_from(frame.len() - 4).map_err(malformed)?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame.freeze())
}

/// The same, but placeholders in the request become cuts: what they stand for is sent without being copied.
pub fn encode_request_around<R: Request>(
    request: &R,
    version: i16,
    correlation_id: i32,
    client_id: &StrBytes,
) -> Result<Encoded, FrameError> {
    let mut frame = SpliceBuf::with_capacity(256);
    frame.put_i32(0);
    let header = header(R::KEY, version, correlation_id, Some(client_id));
    header.encode(&mut frame, R::header_version(version)).map_err(malformed)?;
    request.encode(&mut frame, version).map_err(malformed)?;
    frame.into_frame().map_err(malformed)
}

/// The beginning of a frame, length included, that hands a request on as it came; its body follows.
pub fn encode_forwarded(frame: &RequestFrame, correlation_id: i32) -> Result<Bytes, FrameError> {
    let mut head = BytesMut::with_capacity(64);
    head.put_i32(0);
    let header = header(frame.api as i16, frame.version, correlation_id, frame.client_id.as_ref());
    header.encode(&mut head, frame.api.request_header_version(frame.version)).map_err(malformed)?;
    let length = i32::try_from(head.len() - 4 + frame.body.len()).map_err(malformed)?;
    head[..4].copy_from_slice(&length.to_be_bytes());
    Ok(head.freeze())
}

fn header(api_key: i16, version: i16, correlation_id: i32, client_id: Option<&StrBytes>) -> RequestHeader {
    RequestHeader::default()
        .with_request_api_key(api_key)
        .with_request_api_version(version)
        .with_correlation_id(correlation_id)
        .with_client_id(client_id.cloned())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::{ApiVersionsRequest, MetadataRequest};
    use proptest::prelude::*;

    use super::*;

    fn frame(request: &impl Request, version: i16) -> Bytes {
        encode_request(request, version, 7, &StrBytes::from_static_str("me")).unwrap().slice(4..)
    }

    #[test]
    fn a_request_survives_the_journey() {
        let parsed = RequestFrame::parse(frame(&MetadataRequest::default(), 12)).unwrap();
        assert_eq!((parsed.api, parsed.version, parsed.correlation_id), (ApiKey::Metadata, 12, 7));
        assert_eq!(parsed.client_id.as_deref(), Some("me"));
        assert_eq!(parsed.decode_body::<MetadataRequest>().unwrap(), MetadataRequest::default());
    }

    #[test]
    fn an_unknown_api_or_version_is_named() {
        let mut unknown = BytesMut::from(&frame(&ApiVersionsRequest::default(), 0)[..]);
        unknown[2..4].copy_from_slice(&99i16.to_be_bytes());
        assert_eq!(
            RequestFrame::parse(unknown.clone().freeze()).unwrap_err().to_string(),
            "version 99 of ApiVersions is not supported, 0 to 4 are"
        );
        unknown[..2].copy_from_slice(&999i16.to_be_bytes());
        assert_eq!(RequestFrame::parse(unknown.freeze()).unwrap_err(), FrameError::Api { api_key: 999 });
        assert_eq!(RequestFrame::parse(Bytes::from_static(b"abc")).unwrap_err(), FrameError::TooShort(3));
    }

    #[test]
    fn bytes_behind_a_body_are_refused() {
        let mut longer = BytesMut::from(&frame(&ApiVersionsRequest::default(), 0)[..]);
        longer.put_u8(1);
        let parsed = RequestFrame::parse(longer.freeze()).unwrap();
        assert!(parsed.decode_body::<ApiVersionsRequest>().is_err());
    }

    #[test]
    fn librdkafka_may_ask_for_all_topics() {
        let mut sent = BytesMut::from(&frame(&MetadataRequest::default(), 13)[..]);
        let body_at = sent.len() - 4;
        sent.truncate(body_at);
        // A count in four bytes, of which the first is read: null. Then two flags, and no tagged fields.
        sent.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0]);
        let parsed = RequestFrame::parse(sent.freeze()).unwrap();
        assert_eq!(parsed.decode_body::<MetadataRequest>().unwrap().topics, None);
    }

    #[test]
    fn a_request_that_is_handed_on_keeps_its_body_and_its_client() {
        let came = RequestFrame::parse(frame(&MetadataRequest::default(), 12)).unwrap();
        let mut sent = BytesMut::from(&encode_forwarded(&came, 99).unwrap()[..]);
        sent.extend_from_slice(&came.body);
        assert_eq!(sent.get_i32() as usize, sent.len());
        let parsed = RequestFrame::parse(sent.freeze()).unwrap();
        assert_eq!((parsed.correlation_id, parsed.client_id.as_deref()), (99, Some("me")));
        assert_eq!(parsed.body, came.body);
    }

    proptest! {
        #[test]
        fn no_header_panics(bytes in prop::collection::vec(any::<u8>(), 0..64), api in 0..60i16, version in 0..14i16) {
            let mut frame = BytesMut::new();
            frame.put_i16(api);
            frame.put_i16(version);
            frame.extend_from_slice(&bytes);
            let _ = RequestFrame::parse(frame.freeze());
        }
    }
}
