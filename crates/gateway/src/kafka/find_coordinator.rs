use std::sync::Arc;

use ::metadata::Image;
use transport::Reply;
use wire::{
    BrokerId, FrameError, RequestFrame, ResponseError, StrBytes,
    messages::{FindCoordinatorRequest, FindCoordinatorResponse, find_coordinator_response::Coordinator},
};

use super::{VIRTUAL, admin::Refused, coordinator::seat, front::Front, reply::later, text};

/// One request may be about many groups from this version on.
const WITH_KEYS: i16 = 4;
const GROUP: i8 = 0;

pub(super) fn handle(front: &Arc<Front>, frame: &RequestFrame) -> Result<Reply, FrameError> {
    let (front, request, version) = (front.clone(), frame.decode_body()?, frame.version);
    later(frame, async move { answer(&front, request, version).await })
}

async fn answer(front: &Front, request: FindCoordinatorRequest, version: i16) -> FindCoordinatorResponse {
    let keys = if version >= WITH_KEYS { request.coordinator_keys } else { vec![request.key] };
    if request.key_type == GROUP && !keys.is_empty() {
        front.backend.make_offsets_topic(&keys[0]).await;
    }
    let image = front.backend.image.load();
    let found = keys.into_iter().map(|key| {
        let found = find(&image, request.key_type, &key);
        coordinator(front, key, found)
    });
    let mut found: Vec<Coordinator> = found.collect();
    if version >= WITH_KEYS {
        return FindCoordinatorResponse::default().with_coordinators(found);
    }
    let one = found.pop().unwrap_or_default();
    FindCoordinatorResponse::default()
        .with_error_code(one.error_code)
        .with_error_message(one.error_message)
        .with_node_id(one.node_id)
        .with_host(one.host)
        .with_port(one.port)
}

/// Whether somebody coordinates it; through us it is always us.
fn find(image: &Image, key_type: i8, key: &str) -> Result<(), Refused> {
    if key_type != GROUP {
        let message = format!("key type {key_type} is not supported: groups (0) are, transactions are not");
        return Err((ResponseError::InvalidRequest, message));
    }
    if key.is_empty() {
        return Err((ResponseError::InvalidGroupId, "the group's id is empty".to_owned()));
    }
    let nowhere = || {
        let message = format!("nobody coordinates group {key} at the moment");
        (ResponseError::CoordinatorNotAvailable, message)
    };
    seat(image, key).map(drop).ok_or_else(nowhere)
}

fn coordinator(front: &Front, key: StrBytes, found: Result<(), Refused>) -> Coordinator {
    let coordinator = Coordinator::default().with_key(key);
    match found {
        Ok(()) => coordinator.with_node_id(VIRTUAL).with_host(front.host.clone()).with_port(front.port),
        Err((code, message)) => coordinator
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(code.code())
            .with_error_message(Some(text(message))),
    }
}
