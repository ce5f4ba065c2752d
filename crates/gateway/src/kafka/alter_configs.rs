use std::sync::Arc;

use wire::{
    ResponseError,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, alter_configs_request::AlterConfigsResource,
        alter_configs_response::AlterConfigsResourceResponse,
    },
};

use super::{
    admin::{NO_BROKERS, Refused, ask},
    front::Front,
    text,
};

const BROKER: i8 = 4;

pub(super) async fn answer(
    front: Arc<Front>,
    request: AlterConfigsRequest,
    version: i16,
) -> AlterConfigsResponse {
    let names_broker = |r: &AlterConfigsResource| r.resource_type == BROKER && !r.resource_name.is_empty();
    let (refused, asked): (Vec<_>, Vec<_>) = request.resources.iter().cloned().partition(names_broker);
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in &refused {
        let message = format!("broker {}: {NO_BROKERS}", resource.resource_name.as_str());
        responses.push(failed(resource, &(ResponseError::InvalidRequest, message)));
    }
    if !asked.is_empty() {
        let request = request.clone().with_resources(asked);
        match ask(&front, &request, version, None).await {
            Ok(response) => responses.extend(response.responses),
            Err(why) => responses.extend(request.resources.iter().map(|resource| failed(resource, &why))),
        }
    }
    let place = |answer: &AlterConfigsResourceResponse| {
        request.resources.iter().position(|asked| {
            asked.resource_type == answer.resource_type && asked.resource_name == answer.resource_name
        })
    };
    responses.sort_by_key(place);
    AlterConfigsResponse::default().with_responses(responses)
}

fn failed(resource: &AlterConfigsResource, (code, message): &Refused) -> AlterConfigsResourceResponse {
    AlterConfigsResourceResponse::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone())
        .with_error_code(code.code())
        .with_error_message(Some(text(message)))
}
