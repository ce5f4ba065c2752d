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
    admin::{NO_BROKERS, Refused, as_asked, ask},
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
    let names = request.resources.iter().map(|r| (r.resource_type, r.resource_name.clone()));
    let names: Vec<_> = names.collect();
    let node = front.backend.image.load().active_nodes().next().map(|node| text(node.id));
    let mut results = Vec::with_capacity(names.len());
    let mut asked = Vec::new();
    for resource in &request.resources {
        match (resource.resource_type, resource.resource_name.as_str(), &node) {
            (BROKER, VIRTUAL_NAME, Some(node)) => {
                asked.push(resource.clone().with_resource_name(node.clone()));
            }
            (BROKER, name, _) if !name.is_empty() && name != VIRTUAL_NAME => {
                let why = (ResponseError::InvalidRequest, format!("broker {name}: {NO_BROKERS}"));
                results.push(failed(resource, &why));
            }
            _ => asked.push(resource.clone()),
        }
    }
    if !asked.is_empty() {
        let request = request.with_resources(asked);
        match ask(&front, &request, version, None).await {
            Ok(response) => results.extend(response.results),
            Err(why) => results.extend(request.resources.iter().map(|resource| failed(resource, &why))),
        }
    }
    let of_node = |r: &&mut DescribeConfigsResult| {
        r.resource_type == BROKER && node.as_ref().is_some_and(|node| *node == r.resource_name)
    };
    results.iter_mut().filter(of_node).for_each(make_virtual);
    as_asked(&mut results, names, |r| (r.resource_type, r.resource_name.clone()));
    DescribeConfigsResponse::default().with_results(results)
}

/// Makes of what a node says of itself what is true of all of them.
fn make_virtual(result: &mut DescribeConfigsResult) {
    result.resource_name = text(VIRTUAL_NAME);
    result.configs.retain(|config| config.name.as_str() != NODES_OWN);
    for config in result.configs.iter_mut().filter(|c| IDS.contains(&c.name.as_str())) {
        rename(config);
    }
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
