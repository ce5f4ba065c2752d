//! What is asked of a group's coordinator: decoded, taken to it, and its answer written.

mod many;

use std::{net::SocketAddr, sync::Arc};

use futures_util::FutureExt;
use group::{Answer, Call, Caller, offset_fetch};
use transport::{Reply, Response};
use wire::{ApiKey, Encoded, FrameError, RequestFrame};

use crate::broker::Broker;

/// Whether a group's coordinator answers this.
pub(crate) fn answers(api: ApiKey) -> bool {
    matches!(
        api,
        ApiKey::JoinGroup
            | ApiKey::SyncGroup
            | ApiKey::Heartbeat
            | ApiKey::LeaveGroup
            | ApiKey::ConsumerGroupHeartbeat
            | ApiKey::ConsumerGroupDescribe
            | ApiKey::DescribeGroups
            | ApiKey::ListGroups
            | ApiKey::DeleteGroups
            | ApiKey::OffsetCommit
            | ApiKey::OffsetFetch
            | ApiKey::OffsetDelete
    )
}

pub(crate) fn handle(
    broker: &Arc<Broker>,
    frame: &RequestFrame,
    peer: SocketAddr,
) -> Result<Reply, FrameError> {
    let call = read(frame)?;
    wire::check_group_count(many::named(&call))?;
    let caller = Caller {
        client_id: frame.client_id.as_deref().unwrap_or_default().to_owned(),
        host: format!("/{}", peer.ip()),
        version: frame.version,
    };
    let (broker, version, id) = (broker.clone(), frame.version, frame.correlation_id);
    let answered = async move {
        let answer = match many::groups_of(&call) {
            many::Groups::One(group) => broker.groups.call(&group, caller, call).await,
            many::Groups::Many => Some(many::answer(&broker, &caller, call).await),
            many::Groups::All => Some(many::answer_all(&broker, &caller, &call).await),
        };
        let answer = answer
            .filter(|answer| !matches!(answer, Answer::OffsetFetch(told) if offset_fetch::has_moved(told)));
        // The connection ends: the coordinator is gone with the question, or its answer would not be understood.
        let gone =
            || FrameError::Malformed { part: "response", reason: "nobody answers any more".to_owned() };
        Ok(Response::from(write(answer.ok_or_else(gone)?, version, id)?))
    };
    Ok(Reply::Later(answered.boxed()))
}

fn read(frame: &RequestFrame) -> Result<Call, FrameError> {
    Ok(match frame.api {
        ApiKey::JoinGroup => Call::Join(frame.decode_body()?),
        ApiKey::SyncGroup => Call::Sync(frame.decode_body()?),
        ApiKey::Heartbeat => Call::Heartbeat(frame.decode_body()?),
        ApiKey::LeaveGroup => Call::Leave(frame.decode_body()?),
        ApiKey::ConsumerGroupHeartbeat => Call::ConsumerHeartbeat(frame.decode_body()?),
        ApiKey::ConsumerGroupDescribe => Call::ConsumerDescribe(frame.decode_body()?),
        ApiKey::DescribeGroups => Call::Describe(frame.decode_body()?),
        ApiKey::ListGroups => Call::List(frame.decode_body()?),
        ApiKey::DeleteGroups => Call::DeleteGroups(frame.decode_body()?),
        ApiKey::OffsetCommit => Call::OffsetCommit(frame.decode_body()?),
        ApiKey::OffsetFetch => Call::OffsetFetch(offset_fetch::newer(frame.decode_body()?, frame.version)),
        ApiKey::OffsetDelete => Call::OffsetDelete(frame.decode_body()?),
        api => return Err(FrameError::Api { api_key: api as i16 }),
    })
}

fn write(answer: Answer, version: i16, id: i32) -> Result<Encoded, FrameError> {
    match answer {
        Answer::Join(answer) => wire::encode_response(&answer, version, id),
        Answer::Sync(answer) => wire::encode_response(&answer, version, id),
        Answer::Heartbeat(answer) => wire::encode_response(&answer, version, id),
        Answer::Leave(answer) => wire::encode_response(&answer, version, id),
        Answer::ConsumerHeartbeat(answer) => wire::encode_response(&answer, version, id),
        Answer::ConsumerDescribe(answer) => wire::encode_response(&answer, version, id),
        Answer::Describe(answer) => wire::encode_response(&answer, version, id),
        Answer::List(answer) => wire::encode_response(&answer, version, id),
        Answer::DeleteGroups(answer) => wire::encode_response(&answer, version, id),
        Answer::OffsetCommit(answer) => wire::encode_response(&answer, version, id),
        Answer::OffsetFetch(answer) => {
            wire::encode_response(&offset_fetch::older(answer, version), version, id)
        }
        Answer::OffsetDelete(answer) => wire::encode_response(&answer, version, id),
        // No request of Kafka's is answered so.
        Answer::Session(_) => Err(FrameError::Api { api_key: -1 }),
    }
}
