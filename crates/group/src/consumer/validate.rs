use assign::Assignor;
use wire::{ResponseError, messages::ConsumerGroupHeartbeatRequest};

use super::{LEFT, LEFT_FOR_NOW, pattern};
use crate::{text::fit, turn::Refusal};

/// From this version on the client makes the member id (KIP-1082).
const CLIENT_MAKES_ID_VERSION: i16 = 1;

/// Whether a heartbeat makes sense by itself.
pub(crate) fn validate(request: &ConsumerGroupHeartbeatRequest, version: i16) -> Result<(), Refusal> {
    let invalid = |message: &str| Err(Refusal::new(ResponseError::InvalidRequest, message));
    if request.group_id.is_empty() {
        return invalid("GroupId can't be empty.");
    }
    if request.member_id.is_empty() && (version >= CLIENT_MAKES_ID_VERSION || request.member_epoch != 0) {
        return invalid("MemberId can't be empty.");
    }
    let is_empty = |text: &Option<wire::StrBytes>| text.as_ref().is_some_and(|text| text.is_empty());
    if is_empty(&request.instance_id) {
        return invalid("InstanceId can't be empty.");
    }
    if is_empty(&request.rack_id) {
        return invalid("RackId can't be empty.");
    }
    if !fit(texts(request)) {
        return invalid("A text is longer than 32767 bytes.");
    }
    match request.member_epoch {
        0 => joining(request)?,
        LEFT_FOR_NOW if request.instance_id.is_none() => return invalid("InstanceId can't be null."),
        LEFT_FOR_NOW | LEFT | 1.. => {}
        epoch => return invalid(&format!("MemberEpoch {epoch} is invalid.")),
    }
    assignor(request)?;
    regex(request)
}

fn joining(request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let invalid = |message| Err(Refusal::new(ResponseError::InvalidRequest, message));
    if request.rebalance_timeout_ms == -1 {
        return invalid("RebalanceTimeoutMs must be provided in first request.");
    }
    if !request.topic_partitions.as_ref().is_some_and(Vec::is_empty) {
        return invalid("TopicPartitions must be empty when (re-)joining.");
    }
    if request.subscribed_topic_names.is_none() && request.subscribed_topic_regex.is_none() {
        return invalid(
            "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
        );
    }
    Ok(())
}

fn assignor(request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let Some(name) = request.server_assignor.as_deref() else { return Ok(()) };
    if Assignor::named(name).is_some() {
        return Ok(());
    }
    let all = [Assignor::Uniform, Assignor::Range, Assignor::RoundRobin].map(Assignor::name).join(", ");
    let message = format!("ServerAssignor {name} is not supported. Supported assignors: {all}.");
    Err(Refusal::new(ResponseError::UnsupportedAssignor, message))
}

fn regex(request: &ConsumerGroupHeartbeatRequest) -> Result<(), Refusal> {
    let Some(text) = request.subscribed_topic_regex.as_deref() else { return Ok(()) };
    let invalid = |error| {
        let message = format!("SubscribedTopicRegex `{text}` is not a valid regular expression: {error}.");
        Refusal::new(ResponseError::InvalidRegularExpression, message)
    };
    pattern::compile(text).map(drop).map_err(invalid)
}

fn texts(request: &ConsumerGroupHeartbeatRequest) -> impl Iterator<Item = &str> {
    let names = request.subscribed_topic_names.iter().flatten().map(|name| name.as_str());
    let own =
        [&request.instance_id, &request.rack_id, &request.subscribed_topic_regex, &request.server_assignor];
    let own = own.into_iter().flatten().map(|text| text.as_str());
    names.chain(own).chain([request.group_id.as_str(), request.member_id.as_str()])
}
