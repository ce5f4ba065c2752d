use std::sync::Arc;

use wire::{
    ResponseError,
    messages::{
        CreatePartitionsRequest, CreatePartitionsResponse, create_partitions_request::CreatePartitionsTopic,
        create_partitions_response::CreatePartitionsTopicResult,
    },
};

use super::{
    admin::{NO_BROKERS, Refused, ask, patience, settled},
    front::Front,
    text,
};

pub(super) async fn answer(
    front: Arc<Front>,
    mut request: CreatePartitionsRequest,
    version: i16,
) -> CreatePartitionsResponse {
    let all: Vec<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let mut refused: Vec<CreatePartitionsTopicResult> = Vec::new();
    request.topics.retain(|topic| {
        let names_brokers = topic.assignments.as_ref().is_some_and(|a| !a.is_empty());
        if names_brokers {
            let why = (ResponseError::InvalidReplicaAssignment, NO_BROKERS.to_owned());
            refused.push(failed(topic, &why));
        }
        !names_brokers
    });
    let mut response = match request.topics.is_empty() {
        true => CreatePartitionsResponse::default(),
        false => add(&front, &request, version).await,
    };
    if !refused.is_empty() {
        response.results.extend(refused);
        response.results.sort_by_key(|topic| all.iter().position(|name| *name == topic.name));
    }
    response
}

async fn add(front: &Front, request: &CreatePartitionsRequest, version: i16) -> CreatePartitionsResponse {
    let within = patience(request.timeout_ms);
    match ask(front, request, version, Some(within)).await {
        Ok(response) => {
            if !request.validate_only {
                let added = |topic: &&CreatePartitionsTopic| {
                    response.results.iter().any(|r| r.name == topic.name && r.error_code == 0)
                };
                let added: Vec<_> = request.topics.iter().filter(added).collect();
                settled(front, within, |image| {
                    added.iter().all(|topic| {
                        let known = image.topics.get(topic.name.as_str());
                        known.is_none_or(|t| t.partitions.len() >= usize::try_from(topic.count).unwrap_or(0))
                    })
                })
                .await;
            }
            response
        }
        Err(why) => CreatePartitionsResponse::default()
            .with_results(request.topics.iter().map(|topic| failed(topic, &why)).collect()),
    }
}

fn failed(topic: &CreatePartitionsTopic, (code, message): &Refused) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult::default()
        .with_name(topic.name.clone())
        .with_error_code(code.code())
        .with_error_message(Some(text(message)))
}
