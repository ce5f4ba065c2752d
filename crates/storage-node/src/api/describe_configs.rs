use ::metadata::Topic;
use domain::{ConfigDefinition, ConfigType, TopicName};
use wire::{
    ResponseError, StrBytes,
    messages::{
        DescribeConfigsRequest, DescribeConfigsResponse,
        describe_configs_request::DescribeConfigsResource,
        describe_configs_response::{
            DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
        },
    },
};

use crate::{
    api::{
        create_topics::{SOURCE_DEFAULT, SOURCE_TOPIC},
        text,
    },
    broker::Broker,
};

/// Kinds of resources that have settings.
pub(super) const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SOURCE_CLUSTER: i8 = 3;
const SOURCE_STATIC: i8 = 4;
const REPLICATION_FACTOR_DEFAULT_MAX: usize = 3;

pub(crate) fn answer(broker: &Broker, request: &DescribeConfigsRequest) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match describe(broker, resource, request) {
            Ok(configs) => result.with_configs(configs),
            Err((code, message)) => {
                result.with_error_code(code.code()).with_error_message(Some(text(message)))
            }
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn describe(
    broker: &Broker,
    resource: &DescribeConfigsResource,
    request: &DescribeConfigsRequest,
) -> Result<Vec<DescribeConfigsResourceResult>, (ResponseError, String)> {
    let configs = match resource.resource_type {
        TOPIC => {
            let name = TopicName::new(&resource.resource_name)
                .map_err(|e| (ResponseError::InvalidTopicException, e.to_string()))?;
            let image = broker.image.load();
            let unknown =
                || (ResponseError::UnknownTopicOrPartition, format!("topic '{name}' does not exist"));
            let topic = image.topics.get(&name).ok_or_else(unknown)?;
            let definitions = domain::topic_config_definitions().iter();
            definitions.map(|d| topic_config(&image, topic, d, request)).collect()
        }
        BROKER if resource.resource_name.as_str() == broker.node.to_string() => node_configs(broker),
        BROKER => {
            let message = format!("node '{}' is asked for at node {}", &*resource.resource_name, broker.node);
            return Err((ResponseError::InvalidRequest, message));
        }
        other => {
            return Err((
                ResponseError::InvalidRequest,
                format!("resource type {other} has no configs here"),
            ));
        }
    };
    let wanted = |config: &DescribeConfigsResourceResult| {
        // Null and an empty list both mean all, as in Kafka.
        resource.configuration_keys.as_ref().is_none_or(|keys| keys.is_empty() || keys.contains(&config.name))
    };
    Ok(configs.into_iter().filter(wanted).collect())
}

fn topic_config(
    image: &::metadata::Image,
    topic: &Topic,
    definition: &ConfigDefinition,
    request: &DescribeConfigsRequest,
) -> DescribeConfigsResourceResult {
    let synonym = |value: &str, source| {
        DescribeConfigsSynonym::default()
            .with_name(text(definition.name))
            .with_value(Some(text(value)))
            .with_source(source)
    };
    let set = topic.configs.get(definition.name).map(|v| synonym(v, SOURCE_TOPIC));
    let cluster = image.cluster_configs.get(definition.name).map(|v| synonym(v, SOURCE_CLUSTER));
    let default = Some(synonym(definition.default, SOURCE_DEFAULT));
    // The one in force first.
    let synonyms: Vec<DescribeConfigsSynonym> = set.into_iter().chain(cluster).chain(default).collect();
    let in_force = synonyms.first().cloned().unwrap_or_default();
    let documentation = request.include_documentation.then(|| text(definition.documentation));
    DescribeConfigsResourceResult::default()
        .with_name(text(definition.name))
        .with_value(in_force.value)
        .with_config_source(in_force.source)
        .with_config_type(type_code(definition.config_type))
        .with_documentation(documentation)
        .with_synonyms(if request.include_synonyms { synonyms } else { Vec::new() })
}

/// KIP-569's numbers.
fn type_code(config_type: ConfigType) -> i8 {
    match config_type {
        ConfigType::Boolean => 1,
        ConfigType::String => 2,
        ConfigType::Int => 3,
        ConfigType::Long => 5,
        ConfigType::Double => 6,
        ConfigType::List => 7,
    }
}

fn node_configs(broker: &Broker) -> Vec<DescribeConfigsResourceResult> {
    let one = |name: &'static str, value: StrBytes| {
        DescribeConfigsResourceResult::default()
            .with_name(StrBytes::from_static_str(name))
            .with_value(Some(value))
            .with_read_only(true)
            .with_config_source(SOURCE_STATIC)
    };
    // What the controller gives a topic that asks for nothing.
    let factor = broker.image.load().active_nodes().count().clamp(1, REPLICATION_FACTOR_DEFAULT_MAX);
    vec![
        one("broker.id", text(broker.node)),
        one("default.replication.factor", text(factor)),
        one("log.dirs", text(broker.store.dir.path().display())),
        one("node.id", text(broker.node)),
        one("num.partitions", text(1)),
    ]
}
