use std::sync::Arc;

use wire::messages::{ElectLeadersRequest, ElectLeadersResponse};

use super::{
    admin::{ask, patience},
    front::Front,
};

/// The answer has a code of its own from this version on.
const WITH_CODE: i16 = 1;

pub(super) async fn answer(
    front: Arc<Front>,
    request: ElectLeadersRequest,
    version: i16,
) -> ElectLeadersResponse {
    match ask(&front, &request, version, Some(patience(request.timeout_ms))).await {
        Ok(response) => response,
        Err((code, message)) => {
            tracing::warn!(message, "leaders were not elected");
            let code = if version >= WITH_CODE { code.code() } else { 0 };
            ElectLeadersResponse::default().with_error_code(code)
        }
    }
}
