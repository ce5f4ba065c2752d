use std::{sync::Arc, time::Duration};

use ::metadata::{ConfigChange, ConfigOperation};
use domain::TopicName;
use wire::{
    ResponseError,
    messages::{
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
        incremental_alter_configs_response::AlterConfigsResourceResponse,
    },
};

use crate::{
    api::{describe_configs::TOPIC, text},
    broker::Broker,
    errors::controller_code,
};

const WITHIN: Duration = Duration::from_secs(15);

type Refused = (ResponseError, String);

pub(crate) async fn answer(
    broker: Arc<Broker>,
    request: IncrementalAlterConfigsRequest,
    _version: i16,
) -> IncrementalAlterConfigsResponse {
    let mut responses = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let response = AlterConfigsResourceResponse::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        responses.push(match alter(&broker, resource, request.validate_only).await {
            Ok(()) => response,
            Err((code, message)) => {
                response.with_error_code(code.code()).with_error_message(Some(text(message)))
            }
        });
    }
    IncrementalAlterConfigsResponse::default().with_responses(responses)
}

async fn alter(broker: &Broker, resource: &AlterConfigsResource, validate_only: bool) -> Result<(), Refused> {
    if resource.resource_type != TOPIC {
        let message =
            "only the configs of topics can be altered; a node reads its own at its start".to_owned();
        return Err((ResponseError::InvalidRequest, message));
    }
    let name = TopicName::new(&resource.resource_name)
        .map_err(|e| (ResponseError::InvalidTopicException, e.to_string()))?;
    let changes: Vec<ConfigChange> = resource.configs.iter().map(change).collect::<Result<_, _>>()?;
    let altered = broker.controllers.alter_configs(Some(&name), &changes, validate_only, WITHIN).await;
    let version = altered.map_err(|e| (controller_code(&e), e.to_string()))?;
    broker.image.at_version(version, WITHIN).await;
    Ok(())
}

/// KIP-339's operations.
fn change(config: &AlterableConfig) -> Result<ConfigChange, Refused> {
    let name = config.name.to_string();
    let value = || {
        let missing = || (ResponseError::InvalidRequest, format!("config {name} has no value"));
        config.value.as_ref().map(ToString::to_string).ok_or_else(missing)
    };
    let operation = match config.config_operation {
        0 => ConfigOperation::Set(value()?),
        1 => ConfigOperation::Delete,
        2 => ConfigOperation::Append(value()?),
        3 => ConfigOperation::Subtract(value()?),
        other => {
            return Err((ResponseError::InvalidRequest, format!("config {name}: unknown operation {other}")));
        }
    };
    Ok(ConfigChange { name, operation })
}
