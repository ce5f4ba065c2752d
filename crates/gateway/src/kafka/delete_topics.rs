use std::sync::Arc;

use domain::TopicId;
use wire::messages::{
    DeleteTopicsRequest, DeleteTopicsResponse, delete_topics_request::DeleteTopicState,
    delete_topics_response::DeletableTopicResult,
};

use super::{
    admin::{ask, patience, settled},
    front::Front,
    text, topic_of,
};

pub(super) async fn answer(
    front: Arc<Front>,
    request: DeleteTopicsRequest,
    version: i16,
) -> DeleteTopicsResponse {
    let within = patience(request.timeout_ms);
    let named =
        request.topic_names.iter().map(|name| DeleteTopicState::default().with_name(Some(name.clone())));
    let asked: Vec<DeleteTopicState> = named.chain(request.topics.iter().cloned()).collect();
    // A topic of the same name may be made right after: what is to go are these.
    let image = front.backend.image.load();
    let id_of = |topic: &DeleteTopicState| {
        let name = topic.name.as_deref().map_or("", |name| name);
        topic_of(&image, name, topic.topic_id).map(|topic| topic.id)
    };
    let ids: Vec<Option<TopicId>> = asked.iter().map(id_of).collect();
    match ask(&front, &request, version, Some(within)).await {
        Ok(response) => {
            let deleted = response.responses.iter().zip(ids);
            let gone: Vec<TopicId> =
                deleted.filter(|(answer, _)| answer.error_code == 0).filter_map(|(_, id)| id).collect();
            settled(&front, within, |image| gone.iter().all(|id| image.topic_by_id(*id).is_none())).await;
            response
        }
        Err((code, message)) => {
            let failed = |topic: DeleteTopicState| {
                DeletableTopicResult::default()
                    .with_name(topic.name)
                    .with_topic_id(topic.topic_id)
                    .with_error_code(code.code())
                    .with_error_message(Some(text(&message)))
            };
            DeleteTopicsResponse::default().with_responses(asked.into_iter().map(failed).collect())
        }
    }
}
