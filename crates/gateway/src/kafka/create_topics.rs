use std::sync::Arc;

use wire::{
    ResponseError,
    messages::{CreateTopicsRequest, CreateTopicsResponse, create_topics_response::CreatableTopicResult},
};

use super::{
    admin::{NO_BROKERS, Refused, as_asked, ask, patience, settled},
    front::Front,
    text,
};

pub(super) async fn answer(
    front: Arc<Front>,
    mut request: CreateTopicsRequest,
    version: i16,
) -> CreateTopicsResponse {
    let all: Vec<_> = request.topics.iter().map(|topic| topic.name.clone()).collect();
    let mut refused: Vec<CreatableTopicResult> = Vec::new();
    request.topics.retain(|topic| {
        let names_brokers = !topic.assignments.is_empty();
        if names_brokers {
            let why = (ResponseError::InvalidReplicaAssignment, NO_BROKERS.to_owned());
            refused.push(failed(&topic.name, &why));
        }
        !names_brokers
    });
    let mut response = match request.topics.is_empty() {
        true => CreateTopicsResponse::default(),
        false => create(&front, &request, version).await,
    };
    if !refused.is_empty() {
        response.topics.extend(refused);
        as_asked(&mut response.topics, all, |topic| topic.name.clone());
    }
    response
}

async fn create(front: &Front, request: &CreateTopicsRequest, version: i16) -> CreateTopicsResponse {
    let within = patience(request.timeout_ms);
    match ask(front, request, version, Some(within)).await {
        Ok(response) => {
            if !request.validate_only {
                let made = |topic: &&CreatableTopicResult| topic.error_code == 0;
                let made: Vec<&str> = response.topics.iter().filter(made).map(|t| t.name.as_str()).collect();
                settled(front, within, |image| made.iter().all(|name| image.topics.contains_key(*name)))
                    .await;
            }
            response
        }
        Err(why) => CreateTopicsResponse::default()
            .with_topics(request.topics.iter().map(|topic| failed(&topic.name, &why)).collect()),
    }
}

fn failed(name: &wire::WireTopicName, (code, message): &Refused) -> CreatableTopicResult {
    CreatableTopicResult::default()
        .with_name(name.clone())
        .with_error_code(code.code())
        .with_error_message(Some(text(message)))
}
