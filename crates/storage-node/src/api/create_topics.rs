use std::{collections::BTreeMap, sync::Arc};

use ::metadata::TopicSpec;
use domain::{NodeId, TopicConfig, TopicId, TopicName};
use wire::{
    ResponseError,
    messages::{
        CreateTopicsRequest, CreateTopicsResponse,
        create_topics_request::CreatableTopic,
        create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
    },
};

use crate::{
    api::{patience, text},
    broker::Broker,
    errors::controller_code,
};

/// "The default", for partitions and replication factor (KIP-464).
const DEFAULT: i16 = -1;
/// Where a setting's value comes from, in answers.
pub(super) const SOURCE_TOPIC: i8 = 1;
pub(super) const SOURCE_DEFAULT: i8 = 5;

type Refused = (ResponseError, String);

pub(crate) async fn answer(
    broker: Arc<Broker>,
    request: CreateTopicsRequest,
    _version: i16,
) -> CreateTopicsResponse {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in &request.topics {
        let twice = request.topics.iter().filter(|t| t.name == topic.name).count() > 1;
        let created = match twice {
            true => {
                Err((ResponseError::InvalidRequest, "the topic is named twice in the request".to_owned()))
            }
            false => create(&broker, topic, request.validate_only, request.timeout_ms).await,
        };
        topics.push(created.unwrap_or_else(|(code, message)| {
            CreatableTopicResult::default()
                .with_name(topic.name.clone())
                .with_error_code(code.code())
                .with_error_message(Some(text(message)))
        }));
    }
    CreateTopicsResponse::default().with_topics(topics)
}

async fn create(
    broker: &Broker,
    topic: &CreatableTopic,
    validate_only: bool,
    timeout_ms: i32,
) -> Result<CreatableTopicResult, Refused> {
    let spec = spec(topic)?;
    let within = patience(timeout_ms);
    let created = broker.controllers.create_topic(&spec, validate_only, within).await;
    let created = created.map_err(|e| (controller_code(&e), e.to_string()))?;
    if !validate_only {
        broker.image.at_version(created.version, within).await;
    }
    let config = |definition: &domain::ConfigDefinition| {
        let set = spec.configs.get(definition.name);
        CreatableTopicConfigs::default()
            .with_name(text(definition.name))
            .with_value(Some(text(set.map_or(definition.default, String::as_str))))
            .with_config_source(if set.is_some() { SOURCE_TOPIC } else { SOURCE_DEFAULT })
    };
    let id = if validate_only { uuid::Uuid::nil() } else { spec.id.0 };
    Ok(CreatableTopicResult::default()
        .with_name(topic.name.clone())
        .with_topic_id(id)
        .with_num_partitions(created.partitions)
        .with_replication_factor(i16::try_from(created.replication_factor).unwrap_or(i16::MAX))
        .with_configs(Some(domain::topic_config_definitions().iter().map(config).collect())))
}

fn spec(topic: &CreatableTopic) -> Result<TopicSpec, Refused> {
    let name =
        TopicName::new(&topic.name).map_err(|e| (ResponseError::InvalidTopicException, e.to_string()))?;
    let configs: BTreeMap<String, String> = topic
        .configs
        .iter()
        .filter_map(|c| Some((c.name.to_string(), c.value.as_ref()?.to_string())))
        .collect();
    TopicConfig::validate(&configs).map_err(|e| (ResponseError::InvalidConfig, e.to_string()))?;
    let mut placed: BTreeMap<i32, Vec<NodeId>> = BTreeMap::new();
    for assignment in &topic.assignments {
        placed
            .insert(assignment.partition_index, assignment.broker_ids.iter().map(|b| NodeId(b.0)).collect());
    }
    let gapless =
        placed.keys().copied().eq(0..placed.len() as i32) && placed.len() == topic.assignments.len();
    if !gapless {
        let message = "the assignment's partitions are not 0 to n - 1, each once".to_owned();
        return Err((ResponseError::InvalidReplicaAssignment, message));
    }
    let unless_default = |number: i32| (number != i32::from(DEFAULT)).then_some(number);
    Ok(TopicSpec {
        id: TopicId(uuid::Uuid::new_v4()),
        name,
        partitions: unless_default(topic.num_partitions),
        replication_factor: (topic.replication_factor != DEFAULT).then_some(topic.replication_factor),
        assignments: placed.into_values().collect(),
        configs,
    })
}
