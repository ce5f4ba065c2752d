//! AlterConfigs and IncrementalAlterConfigs: the messages differ in their types' names alone.

use std::sync::Arc;

use wire::{
    ResponseError,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest,
        IncrementalAlterConfigsResponse, alter_configs_request, alter_configs_response,
        incremental_alter_configs_request, incremental_alter_configs_response,
    },
};

use super::{
    admin::{NO_BROKERS, Refused, as_asked, ask},
    front::Front,
    text,
};

const BROKER: i8 = 4;

macro_rules! alteration {
    ($name:ident, $request:ident => $response:ident, $asked:ident => $answered:ident) => {
        pub(super) async fn $name(front: Arc<Front>, request: $request, version: i16) -> $response {
            use $answered::AlterConfigsResourceResponse as Answer;
            use $asked::AlterConfigsResource as Resource;

            let failed = |resource: &Resource, (code, message): &Refused| {
                Answer::default()
                    .with_resource_type(resource.resource_type)
                    .with_resource_name(resource.resource_name.clone())
                    .with_error_code(code.code())
                    .with_error_message(Some(text(message)))
            };
            let names_broker = |r: &Resource| r.resource_type == BROKER && !r.resource_name.is_empty();
            let (refused, asked): (Vec<_>, Vec<_>) =
                request.resources.iter().cloned().partition(names_broker);
            let mut responses = Vec::with_capacity(request.resources.len());
            for resource in &refused {
                let message = format!("broker {}: {NO_BROKERS}", resource.resource_name.as_str());
                responses.push(failed(resource, &(ResponseError::InvalidRequest, message)));
            }
            if !asked.is_empty() {
                let request = request.clone().with_resources(asked);
                match ask(&front, &request, version, None).await {
                    Ok(response) => responses.extend(response.responses),
                    Err(why) => responses.extend(request.resources.iter().map(|r| failed(r, &why))),
                }
            }
            let asked = request.resources.iter().map(|r| (r.resource_type, r.resource_name.clone()));
            as_asked(&mut responses, asked, |a| (a.resource_type, a.resource_name.clone()));
            $response::default().with_responses(responses)
        }
    };
}

alteration!(at_once, AlterConfigsRequest => AlterConfigsResponse,
    alter_configs_request => alter_configs_response);
alteration!(incremental, IncrementalAlterConfigsRequest => IncrementalAlterConfigsResponse,
    incremental_alter_configs_request => incremental_alter_configs_response);
