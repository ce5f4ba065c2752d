use std::sync::Arc;

use wire::{
    ResponseError,
    messages::{InitProducerIdRequest, InitProducerIdResponse, ProducerId},
};

use crate::{broker::Broker, errors::controller_code};

/// A new id for an idempotent producer (KIP-98). Transactional ones are not supported yet.
pub(crate) async fn answer(
    broker: Arc<Broker>,
    request: InitProducerIdRequest,
    _version: i16,
) -> InitProducerIdResponse {
    let none = InitProducerIdResponse::default().with_producer_id(ProducerId(-1)).with_producer_epoch(-1);
    if request.transactional_id.is_some() {
        return none.with_error_code(ResponseError::TransactionalIdAuthorizationFailed.code());
    }
    match broker.producer_ids.next().await {
        Ok(id) => InitProducerIdResponse::default().with_producer_id(ProducerId(id.0)).with_producer_epoch(0),
        Err(error) => {
            tracing::warn!(%error, "no producer id to hand out");
            none.with_error_code(match controller_code(&error) {
                // The client tries again.
                ResponseError::RequestTimedOut => ResponseError::CoordinatorLoadInProgress.code(),
                code => code.code(),
            })
        }
    }
}
