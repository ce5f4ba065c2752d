use std::sync::Arc;

use domain::NodeId;
use metadata::Image;
use wire::{
    BrokerId, ResponseError, StrBytes,
    messages::{FindCoordinatorRequest, FindCoordinatorResponse, find_coordinator_response::Coordinator},
};

use crate::{api::text, broker::Broker, groups};

/// What a key is the name of.
const GROUP: i8 = 0;

/// Before this version a request has one key (KIP-699).
const MANY_KEYS_FROM: i16 = 4;

pub(crate) async fn answer(
    broker: Arc<Broker>,
    request: FindCoordinatorRequest,
    version: i16,
) -> FindCoordinatorResponse {
    let many = version >= MANY_KEYS_FROM;
    let keys = if many { request.coordinator_keys } else { vec![request.key] };
    let made = match request.key_type {
        GROUP => broker.groups.ensure_topic().await.map_err(|e| (ResponseError::CoordinatorNotAvailable, e)),
        other => {
            let message = format!("key type {other} is not supported: groups (0) are, transactions are not");
            Err((ResponseError::InvalidRequest, message))
        }
    };
    let image = broker.image.load();
    let found = |key: StrBytes| {
        let node = made.clone().and_then(|()| node_of(&broker, &image, &key));
        coordinator(&image, key, node)
    };
    let mut coordinators: Vec<Coordinator> = keys.into_iter().map(found).collect();
    if many {
        return FindCoordinatorResponse::default().with_coordinators(coordinators);
    }
    let only = coordinators.pop().unwrap_or_default();
    FindCoordinatorResponse::default()
        .with_error_code(only.error_code)
        .with_error_message(only.error_message)
        .with_node_id(only.node_id)
        .with_host(only.host)
        .with_port(only.port)
}

fn node_of(broker: &Broker, image: &Image, group: &str) -> Result<NodeId, (ResponseError, String)> {
    if group.is_empty() {
        return Err((ResponseError::InvalidGroupId, "the group's id is empty".to_owned()));
    }
    let nowhere = || {
        let message = format!("nobody coordinates group {group} at the moment");
        (ResponseError::CoordinatorNotAvailable, message)
    };
    match broker.groups.coordinator(group) {
        groups::Coordinator::Here(_) | groups::Coordinator::Loading => Ok(broker.node),
        groups::Coordinator::Elsewhere(node) if image.nodes.contains_key(&node) => Ok(node),
        groups::Coordinator::Elsewhere(_) | groups::Coordinator::Nowhere => Err(nowhere()),
    }
}

fn coordinator(image: &Image, key: StrBytes, node: Result<NodeId, (ResponseError, String)>) -> Coordinator {
    let answer = Coordinator::default().with_key(key);
    match node {
        Ok(id) => {
            let address = image.nodes.get(&id).map(|n| n.kafka.clone());
            let (host, port) = address.map_or_else(Default::default, |a| (a.host, a.port));
            answer.with_node_id(BrokerId(id.0)).with_host(text(host)).with_port(port.into())
        }
        Err((code, message)) => answer
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(code.code())
            .with_error_message(Some(text(message))),
    }
}
