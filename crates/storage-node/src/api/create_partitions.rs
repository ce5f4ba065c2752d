use std::{sync::Arc, time::Duration};

use domain::{NodeId, TopicName};
use wire::{
    ResponseError,
    messages::{
        CreatePartitionsRequest, CreatePartitionsResponse, create_partitions_request::CreatePartitionsTopic,
        create_partitions_response::CreatePartitionsTopicResult,
    },
};

use crate::{
    api::{patience, text},
    broker::Broker,
    errors::controller_code,
};

pub(crate) async fn answer(
    broker: Arc<Broker>,
    request: CreatePartitionsRequest,
    _version: i16,
) -> CreatePartitionsResponse {
    let within = patience(request.timeout_ms);
    let mut results = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let result = CreatePartitionsTopicResult::default().with_name(topic.name.clone());
        results.push(match add(&broker, topic, request.validate_only, within).await {
            Ok(()) => result,
            Err((code, message)) => {
                result.with_error_code(code.code()).with_error_message(Some(text(message)))
            }
        });
    }
    CreatePartitionsResponse::default().with_results(results)
}

async fn add(
    broker: &Broker,
    topic: &CreatePartitionsTopic,
    validate_only: bool,
    within: Duration,
) -> Result<(), (ResponseError, String)> {
    let name =
        TopicName::new(&topic.name).map_err(|e| (ResponseError::InvalidTopicException, e.to_string()))?;
    let assignments: Vec<Vec<NodeId>> = topic
        .assignments
        .iter()
        .flatten()
        .map(|a| a.broker_ids.iter().map(|b| NodeId(b.0)).collect())
        .collect();
    let added =
        broker.controllers.add_partitions(&name, topic.count, &assignments, validate_only, within).await;
    let version = added.map_err(|e| (controller_code(&e), e.to_string()))?;
    broker.image.at_version(version, within).await;
    Ok(())
}
