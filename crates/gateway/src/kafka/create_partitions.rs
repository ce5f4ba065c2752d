use std::{collections::HashSet, sync::Arc};

use wire::{
    ResponseError,
    messages::{
        CreatePartitionsRequest, CreatePartitionsResponse, create_partitions_request::CreatePartitionsTopic,
        create_partitions_response::CreatePartitionsTopicResult,
    },
};

use super::{
    admin::{NO_BROKERS, Refused, as_asked, ask, patience, settled},
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
        as_asked(&mut response.results, all, |topic| topic.name.clone());
    }
    response
}

async fn add(front: &Front, request: &CreatePartitionsRequest, version: i16) -> CreatePartitionsResponse {
    let within = patience(request.timeout_ms);
    match ask(front, request, version, Some(within)).await {
        Ok(response) => {
            if !request.validate_only {
                let done = response.results.iter().filter(|r| r.error_code == 0);
                let done: HashSet<&str> = done.map(|r| r.name.as_str()).collect();
                let added: Vec<_> =
                    request.topics.iter().filter(|topic| done.contains(topic.name.as_str())).collect();
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
