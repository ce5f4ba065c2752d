use std::{sync::Arc, time::Duration};

use domain::TopicName;
use wire::{
    ResponseError, WireTopicName,
    messages::{
        DeleteTopicsRequest, DeleteTopicsResponse, delete_topics_request::DeleteTopicState,
        delete_topics_response::DeletableTopicResult,
    },
};

use crate::{
    api::{patience, text, topic_of, wire_name},
    broker::Broker,
    errors::controller_code,
};

pub(crate) async fn answer(
    broker: Arc<Broker>,
    request: DeleteTopicsRequest,
    _version: i16,
) -> DeleteTopicsResponse {
    // Older versions have a list of names, newer ones names or ids.
    let named = request.topic_names.into_iter().map(|name| DeleteTopicState::default().with_name(Some(name)));
    let within = patience(request.timeout_ms);
    let mut responses = Vec::new();
    for topic in named.chain(request.topics) {
        let deleted = delete(&broker, &topic, within).await;
        let answer = DeletableTopicResult::default().with_name(topic.name).with_topic_id(topic.topic_id);
        responses.push(match deleted {
            Ok(name) => answer.with_name(Some(name)),
            Err((code, message)) => {
                answer.with_error_code(code.code()).with_error_message(Some(text(message)))
            }
        });
    }
    DeleteTopicsResponse::default().with_responses(responses)
}

async fn delete(
    broker: &Broker,
    topic: &DeleteTopicState,
    within: Duration,
) -> Result<WireTopicName, (ResponseError, String)> {
    let image = broker.image.load();
    let asked = topic.name.as_deref().map_or("", |n| n);
    let name: TopicName = match topic_of(&image, asked, topic.topic_id) {
        Some(topic) => topic.name.clone(),
        None if !topic.topic_id.is_nil() => {
            return Err((ResponseError::UnknownTopicId, "no topic has this id".to_owned()));
        }
        // This node's image may be behind: the controller knows.
        None => TopicName::new(asked).map_err(|e| (ResponseError::InvalidTopicException, e.to_string()))?,
    };
    let version = broker.controllers.delete_topic(&name, within).await;
    let version = version.map_err(|e| (controller_code(&e), e.to_string()))?;
    broker.image.at_version(version, within).await;
    Ok(wire_name(&name))
}
