use std::{sync::Arc, time::Duration};

use ::metadata::Image;
use domain::{ConfigDefinition, ConfigOverrides, ConfigType, TopicName};
use wire::{
    ResponseError,
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
        config_resource::{BROKER, GROUP, TOPIC},
        create_topics::{SOURCE_DEFAULT, SOURCE_TOPIC},
        text,
    },
    broker::Broker,
    errors::controller_code,
};

const SOURCE_CLUSTER: i8 = 3;
const SOURCE_STATIC: i8 = 4;
const REPLICATION_FACTOR_DEFAULT_MAX: usize = 3;
/// How long the controller is asked; after that, what was last heard of it is the answer.
const WITHIN: Duration = Duration::from_secs(2);

type Refused = (ResponseError, String);
type Described = Vec<DescribeConfigsResourceResult>;

pub(crate) async fn answer(
    broker: Arc<Broker>,
    request: DescribeConfigsRequest,
    _version: i16,
) -> DescribeConfigsResponse {
    let mut results = Vec::with_capacity(request.resources.len());
    for resource in &request.resources {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        results.push(match describe(&broker, resource, &request).await {
            Ok(configs) => result.with_configs(configs),
            Err((code, message)) => {
                result.with_error_code(code.code()).with_error_message(Some(text(message)))
            }
        });
    }
    DescribeConfigsResponse::default().with_results(results)
}

async fn describe(
    broker: &Broker,
    resource: &DescribeConfigsResource,
    request: &DescribeConfigsRequest,
) -> Result<Described, Refused> {
    let name = resource.resource_name.as_str();
    let configs = match resource.resource_type {
        TOPIC => topic_configs(broker, name, request).await?,
        BROKER if name.is_empty() => cluster_configs(&broker.image.load(), request),
        BROKER if name == broker.node.to_string() => node_configs(broker, request),
        GROUP => group_configs(broker, request),
        BROKER => {
            let message = format!("node '{name}' is asked for at node {}", broker.node);
            return Err((ResponseError::InvalidRequest, message));
        }
        other => {
            let message = format!("resource type {other} has no configs here");
            return Err((ResponseError::InvalidRequest, message));
        }
    };
    let wanted = |config: &DescribeConfigsResourceResult| {
        // Null and an empty list both mean all, as in Kafka.
        resource.configuration_keys.as_ref().is_none_or(|keys| keys.is_empty() || keys.contains(&config.name))
    };
    Ok(configs.into_iter().filter(wanted).collect())
}

/// From the controller: who has just altered a topic's settings through another node is to see them here.
async fn topic_configs(
    broker: &Broker,
    name: &str,
    request: &DescribeConfigsRequest,
) -> Result<Described, Refused> {
    let name = TopicName::new(name).map_err(|e| (ResponseError::InvalidTopicException, e.to_string()))?;
    let image = broker.image.load();
    let set = match broker.controllers.describe_topic(&name, WITHIN).await {
        Ok(topic) => topic.configs,
        Err(error) if matches!(error, rpc::ControllerError::Refused(_)) => {
            return Err((controller_code(&error), error.to_string()));
        }
        Err(error) => match image.topics.get(&name) {
            Some(topic) => topic.configs.clone(),
            None => return Err((controller_code(&error), error.to_string())),
        },
    };
    let definitions = domain::topic_config_definitions().iter();
    Ok(definitions.map(|d| config(d.name, d, Some(&set), &image.cluster_configs, request)).collect())
}

/// A setting as it is in force, under that name: a topic's own, the cluster's, or the default.
fn config(
    name: &'static str,
    definition: &ConfigDefinition,
    topic: Option<&ConfigOverrides>,
    cluster: &ConfigOverrides,
    request: &DescribeConfigsRequest,
) -> DescribeConfigsResourceResult {
    let synonym = |name: &'static str, value: &str, source| {
        DescribeConfigsSynonym::default()
            .with_name(text(name))
            .with_value(Some(text(value)))
            .with_source(source)
    };
    let broker = definition.broker_name();
    let own = topic.and_then(|set| set.get(definition.name));
    let own = own.map(|value| synonym(definition.name, value, SOURCE_TOPIC));
    let cluster = cluster.get(definition.name).map(|value| synonym(broker, value, SOURCE_CLUSTER));
    let default = Some(synonym(broker, definition.default, SOURCE_DEFAULT));
    // The one in force first.
    let synonyms: Vec<DescribeConfigsSynonym> = own.into_iter().chain(cluster).chain(default).collect();
    let in_force = synonyms.first().cloned().unwrap_or_default();
    let documentation = request.include_documentation.then(|| text(definition.documentation));
    DescribeConfigsResourceResult::default()
        .with_name(text(name))
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

/// What somebody set for all topics; not what nobody did.
fn cluster_configs(image: &Image, request: &DescribeConfigsRequest) -> Described {
    let definitions = domain::topic_config_definitions().iter();
    let set = definitions.filter(|d| image.cluster_configs.contains_key(d.name));
    set.map(|d| config(d.broker_name(), d, None, &image.cluster_configs, request)).collect()
}

/// What this node was started with, and what holds for topics that say nothing else.
fn node_configs(broker: &Broker, request: &DescribeConfigsRequest) -> Described {
    let image = broker.image.load();
    // What the controller gives a topic that asks for nothing.
    let factor = image.active_nodes().count().clamp(1, REPLICATION_FACTOR_DEFAULT_MAX);
    let node = broker.node.to_string();
    let dir = broker.store.dir.path().display().to_string();
    let own = [
        ("broker.id", node.clone(), ConfigType::Int, "The node's id."),
        (
            "default.replication.factor",
            factor.to_string(),
            ConfigType::Int,
            "What a topic gets that asks for no number of replicas.",
        ),
        ("log.dirs", dir, ConfigType::String, "Where the node keeps its replicas."),
        ("node.id", node, ConfigType::Int, "The node's id."),
        (
            "num.partitions",
            1.to_string(),
            ConfigType::Int,
            "What a topic gets that asks for no number of them.",
        ),
    ];
    let own = own.into_iter().map(|(name, value, config_type, documentation)| {
        fixed(name, &value, config_type, documentation, request)
    });
    let of_topics = domain::topic_config_definitions()
        .iter()
        .map(|d| config(d.broker_name(), d, None, &image.cluster_configs, request));
    own.chain(of_topics).collect()
}

/// What holds for every group: a single one has no settings of its own.
fn group_configs(broker: &Broker, request: &DescribeConfigsRequest) -> Described {
    let config = broker.groups.config();
    let timings = [
        (
            "consumer.heartbeat.interval.ms",
            config.consumer_heartbeat_interval_ms.to_string(),
            "How often a member of the consumer protocol is heard, at least.",
        ),
        (
            "consumer.session.timeout.ms",
            config.consumer_session_timeout_ms.to_string(),
            "A member of the consumer protocol that is silent for so long is out.",
        ),
    ];
    let timings = timings.iter();
    timings
        .map(|(name, value, documentation)| fixed(name, value, ConfigType::Int, documentation, request))
        .collect()
}

/// A setting that a node was started with.
fn fixed(
    name: &'static str,
    value: &str,
    config_type: ConfigType,
    documentation: &'static str,
    request: &DescribeConfigsRequest,
) -> DescribeConfigsResourceResult {
    let synonym = DescribeConfigsSynonym::default()
        .with_name(text(name))
        .with_value(Some(text(value)))
        .with_source(SOURCE_STATIC);
    DescribeConfigsResourceResult::default()
        .with_name(text(name))
        .with_value(Some(text(value)))
        .with_read_only(true)
        .with_config_source(SOURCE_STATIC)
        .with_config_type(type_code(config_type))
        .with_documentation(request.include_documentation.then(|| text(documentation)))
        .with_synonyms(if request.include_synonyms { vec![synonym] } else { Vec::new() })
}
