use std::{collections::BTreeMap, sync::Arc};

use ::metadata::{ConfigChange, ConfigOperation};
use wire::{
    ResponseError,
    messages::{
        AlterConfigsRequest, AlterConfigsResponse, alter_configs_request::AlterConfigsResource,
        alter_configs_response::AlterConfigsResourceResponse,
    },
};

use crate::{
    api::{config_resource::Resource, incremental_alter_configs::apply, text},
    broker::Broker,
};

/// The older way: what is given is all that is set from then on.
pub(crate) async fn answer(
    broker: Arc<Broker>,
    request: AlterConfigsRequest,
    _version: i16,
) -> AlterConfigsResponse {
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
    AlterConfigsResponse::default().with_responses(responses)
}

async fn alter(
    broker: &Broker,
    resource: &AlterConfigsResource,
    validate_only: bool,
) -> Result<(), (ResponseError, String)> {
    let of = Resource::altered(resource.resource_type, &resource.resource_name)?;
    let mut given = BTreeMap::new();
    for config in &resource.configs {
        let name = of.topic_config_name(&config.name)?;
        // Null is the default, as in Kafka.
        let Some(value) = &config.value else { continue };
        if given.insert(name, value.to_string()).is_some() {
            let message = format!("config {} is given twice", &*config.name);
            return Err((ResponseError::InvalidRequest, message));
        }
    }
    apply(broker, &of, &replacing(given), validate_only).await
}

/// Every setting there is goes, or becomes what is given: in one step, whatever is set now.
fn replacing(mut given: BTreeMap<String, String>) -> Vec<ConfigChange> {
    let change = |(name, operation)| ConfigChange { name, operation };
    let all = domain::topic_config_definitions().iter().map(|d| {
        let operation = given.remove(d.name).map_or(ConfigOperation::Delete, ConfigOperation::Set);
        change((d.name.to_owned(), operation))
    });
    let mut changes: Vec<ConfigChange> = all.collect();
    // What is left has no such name: the controller says so.
    changes.extend(given.into_iter().map(|(name, value)| change((name, ConfigOperation::Set(value)))));
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_is_set_no_more() {
        let given = BTreeMap::from([("retention.ms".to_owned(), "5".to_owned())]);
        let changes = replacing(given);
        assert_eq!(changes.len(), domain::topic_config_definitions().len());
        let set: Vec<&ConfigChange> =
            changes.iter().filter(|c| c.operation != ConfigOperation::Delete).collect();
        assert_eq!((set.len(), set[0].name.as_str()), (1, "retention.ms"));
    }

    #[test]
    fn an_unknown_name_is_left_to_the_controller_to_refuse() {
        let given = BTreeMap::from([("retention.sm".to_owned(), "5".to_owned())]);
        assert_eq!(replacing(given).last().unwrap().name, "retention.sm");
    }
}
