use std::sync::Arc;

use wire::{
    ResponseError,
    messages::{
        DescribeConfigsRequest, DescribeConfigsResponse,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult},
    },
};

use super::{
    admin::{NO_BROKERS, Refused, ask},
    front::Front,
    text,
};

const BROKER: i8 = 4;
/// The one broker's id as the name of a resource.
const VIRTUAL_NAME: &str = "0";
/// Settings of the one broker that are its id.
const IDS: [&str; 2] = ["broker.id", "node.id"];
/// What is one node's alone.
const NODES_OWN: &str = "log.dirs";

pub(super) async fn answer(
    front: Arc<Front>,
    request: DescribeConfigsRequest,
    version: i16,
) -> DescribeConfigsResponse {
    let mut results = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let result = match (resource.resource_type, resource.resource_name.as_str()) {
            (BROKER, VIRTUAL_NAME) => virtual_broker(&front, &request, resource, version).await,
            (BROKER, name) if !name.is_empty() => {
                Err((ResponseError::InvalidRequest, format!("broker {name}: {NO_BROKERS}")))
            }
            _ => describe(&front, &request, resource.clone(), version).await,
        };
        results.push(result.unwrap_or_else(|why| failed(resource, &why)));
    }
    DescribeConfigsResponse::default().with_results(results)
}

async fn describe(
    front: &Front,
    request: &DescribeConfigsRequest,
    resource: DescribeConfigsResource,
    version: i16,
) -> Result<DescribeConfigsResult, Refused> {
    let request = request.clone().with_resources(vec![resource]);
    let missing = || (ResponseError::UnknownServerError, "the node's answer lacks the resource".to_owned());
    ask(front, &request, version, None).await?.results.pop().ok_or_else(missing)
}

/// What a node says of itself, but for what is not true of all of them.
async fn virtual_broker(
    front: &Front,
    request: &DescribeConfigsRequest,
    resource: &DescribeConfigsResource,
    version: i16,
) -> Result<DescribeConfigsResult, Refused> {
    let image = front.image.load();
    let none = || (ResponseError::BrokerNotAvailable, "no storage node is active".to_owned());
    let node = image.active_nodes().next().ok_or_else(none)?;
    let of_node = resource.clone().with_resource_name(text(node.id));
    let mut result = describe(front, request, of_node, version).await?;
    result.resource_name = resource.resource_name.clone();
    result.configs.retain(|config| config.name.as_str() != NODES_OWN);
    for config in result.configs.iter_mut().filter(|c| IDS.contains(&c.name.as_str())) {
        rename(config);
    }
    Ok(result)
}

fn rename(config: &mut DescribeConfigsResourceResult) {
    config.value = Some(text(VIRTUAL_NAME));
    for synonym in &mut config.synonyms {
        synonym.value = Some(text(VIRTUAL_NAME));
    }
}

fn failed(resource: &DescribeConfigsResource, (code, message): &Refused) -> DescribeConfigsResult {
    DescribeConfigsResult::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name.clone())
        .with_error_code(code.code())
        .with_error_message(Some(text(message)))
}
