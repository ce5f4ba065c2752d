use std::{sync::Arc, time::Duration};

use ::metadata::{ConfigChange, ConfigOperation};
use wire::{
    ResponseError,
    messages::{
        IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
        incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig},
        incremental_alter_configs_response::AlterConfigsResourceResponse,
    },
};

use crate::{
    api::{config_resource::Resource, text},
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
    let of = Resource::altered(resource.resource_type, &resource.resource_name)?;
    let changes: Vec<ConfigChange> =
        resource.configs.iter().map(|config| change(&of, config)).collect::<Result<_, _>>()?;
    apply(broker, &of, &changes, validate_only).await
}

/// Has the controller do it, and waits until it is seen here.
pub(super) async fn apply(
    broker: &Broker,
    of: &Resource,
    changes: &[ConfigChange],
    validate_only: bool,
) -> Result<(), Refused> {
    let altered = broker.controllers.alter_configs(of.topic(), changes, validate_only, WITHIN).await;
    let version = altered.map_err(|e| (controller_code(&e), e.to_string()))?;
    broker.image.at_version(version, WITHIN).await;
    Ok(())
}

/// KIP-339's operations.
fn change(of: &Resource, config: &AlterableConfig) -> Result<ConfigChange, Refused> {
    let name = of.topic_config_name(&config.name)?;
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
