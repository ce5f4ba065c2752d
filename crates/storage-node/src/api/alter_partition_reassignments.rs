use std::sync::Arc;

use ::metadata::Image;
use domain::{NodeId, PartitionIndex, TopicName};
use wire::{
    ResponseError,
    messages::{
        AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
        alter_partition_reassignments_response::{ReassignablePartitionResponse, ReassignableTopicResponse},
    },
};

use crate::{
    api::{patience, text},
    broker::Broker,
    errors::{controller_code, refusal_code},
};

/// From this version on a request says whether the number of replicas may change.
const WITH_FACTOR_CHANGE: i16 = 1;

type Refused = (ResponseError, String);
/// A partition's new replicas; `None` cancels what is under way.
type Change = (TopicName, PartitionIndex, Option<Vec<NodeId>>);

/// Gives partitions other replicas, or cancels that (KIP-455).
pub(crate) async fn answer(
    broker: Arc<Broker>,
    request: AlterPartitionReassignmentsRequest,
    version: i16,
) -> AlterPartitionReassignmentsResponse {
    let response = AlterPartitionReassignmentsResponse::default()
        .with_allow_replication_factor_change(request.allow_replication_factor_change)
        .with_error_message(None);
    let keeps_factor = version >= WITH_FACTOR_CHANGE && !request.allow_replication_factor_change;
    let image = broker.image.load();
    let named = request.topics.iter().flat_map(|t| t.partitions.iter().map(move |p| (&t.name, p)));
    let checked: Vec<Result<Change, Refused>> = named
        .map(|(topic, partition)| {
            let name =
                TopicName::new(topic).map_err(|e| (ResponseError::UnknownTopicOrPartition, e.to_string()))?;
            let number = PartitionIndex(partition.partition_index);
            let target = partition.replicas.as_ref();
            let target: Option<Vec<NodeId>> = target.map(|nodes| nodes.iter().map(|n| NodeId(n.0)).collect());
            if let Some(target) = target.as_ref().filter(|_| keeps_factor) {
                same_factor(&image, &name, number, target.len())?;
            }
            Ok((name, number, target))
        })
        .collect();
    let changes: Vec<Change> = checked.iter().flatten().cloned().collect();
    let within = patience(request.timeout_ms);
    let mut answered = Vec::new();
    if !changes.is_empty() {
        match broker.controllers.reassign(&changes, within).await {
            Ok(items) => {
                broker.image.at_version(items.version, within).await;
                answered = items.results;
            }
            Err(error) => {
                return response
                    .with_error_code(controller_code(&error).code())
                    .with_error_message(Some(text(error)));
            }
        }
    }
    let mut answered = answered.into_iter();
    let mut results = checked.into_iter().map(|checked| {
        checked?;
        let unanswered = (ResponseError::UnknownServerError, "the controller does not say".to_owned());
        let answer = answered.next().ok_or(unanswered)?;
        answer.map_err(|refusal| (refusal_code(refusal.kind), refusal.message))
    });
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (partition, result) in topic.partitions.iter().zip(&mut results) {
            partitions.push(answer_of(partition.partition_index, result));
        }
        topics.push(
            ReassignableTopicResponse::default().with_name(topic.name.clone()).with_partitions(partitions),
        );
    }
    response.with_responses(topics)
}

fn same_factor(
    image: &Image,
    topic: &TopicName,
    number: PartitionIndex,
    wanted: usize,
) -> Result<(), Refused> {
    // What does not exist is the controller's to refuse.
    let Some(partition) = image.partition(topic.as_str(), number) else { return Ok(()) };
    let factor = partition.original_replicas().len();
    match wanted == factor {
        true => Ok(()),
        false => {
            let message = format!("{wanted} replicas are not the {factor} that {topic}-{number} has");
            Err((ResponseError::InvalidReplicationFactor, message))
        }
    }
}

fn answer_of(partition: i32, result: Result<(), Refused>) -> ReassignablePartitionResponse {
    let answer =
        ReassignablePartitionResponse::default().with_partition_index(partition).with_error_message(None);
    match result {
        Ok(()) => answer,
        Err((code, message)) => answer.with_error_code(code.code()).with_error_message(Some(text(message))),
    }
}
