use std::sync::Arc;

use wire::{
    ResponseError,
    messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId},
};

use super::{admin::ask, front::Front};

pub(super) async fn answer(
    front: Arc<Front>,
    request: InitProducerIdRequest,
    version: i16,
) -> InitProducerIdResponse {
    match ask(&front, &request, version, None).await {
        Ok(response) => response,
        Err((code, message)) => {
            tracing::warn!(message, "no producer id to hand out");
            // The client tries again.
            let code = match code {
                ResponseError::UnsupportedVersion => code,
                _ => ResponseError::CoordinatorLoadInProgress,
            };
            InitProducerIdResponse::default()
                .with_error_code(code.code())
                .with_producer_id(ProducerId(-1))
                .with_producer_epoch(-1)
        }
    }
}
