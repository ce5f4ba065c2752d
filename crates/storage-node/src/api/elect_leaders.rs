use std::{collections::BTreeMap, sync::Arc};

use ::metadata::{ElectionKind, Image};
use domain::{PartitionIndex, TopicName};
use wire::{
    ResponseError, StrBytes, WireTopicName,
    messages::{
        ElectLeadersRequest, ElectLeadersResponse,
        elect_leaders_response::{PartitionResult, ReplicaElectionResult},
    },
};

use crate::{
    api::{patience, text},
    broker::Broker,
    errors::{controller_code, elect_code},
};

/// The answer has a code of its own from this version on.
const WITH_CODE: i16 = 1;

type Wanted = Vec<(TopicName, PartitionIndex)>;

/// Elects leaders at an operator's word (KIP-460).
pub(crate) async fn answer(
    broker: Arc<Broker>,
    request: ElectLeadersRequest,
    version: i16,
) -> ElectLeadersResponse {
    let kind = match request.election_type {
        0 => ElectionKind::Preferred,
        1 => ElectionKind::Unclean,
        _ => return failed(ResponseError::InvalidRequest, version),
    };
    let mut results = Results::default();
    let wanted = match &request.topic_partitions {
        None => all(&broker.image.load(), kind),
        Some(topics) => {
            let named = topics.iter().flat_map(|t| t.partitions.iter().map(|p| (&t.topic, *p)));
            let mut wanted = Wanted::new();
            for (topic, partition) in named {
                match TopicName::new(topic) {
                    Ok(name) => wanted.push((name, PartitionIndex(partition))),
                    Err(error) => {
                        let refused = (ResponseError::UnknownTopicOrPartition, error.to_string());
                        results.add(topic, partition, Some(refused));
                    }
                }
            }
            wanted
        }
    };
    if wanted.is_empty() {
        return results.response();
    }
    let within = patience(request.timeout_ms);
    let elected = match broker.controllers.elect_leaders(kind, &wanted, within).await {
        Ok(elected) => elected,
        Err(error) => {
            tracing::warn!(%error, "leaders were not elected");
            return failed(controller_code(&error), version);
        }
    };
    broker.image.at_version(elected.version, within).await;
    for ((topic, partition), result) in wanted.iter().zip(elected.results) {
        let refused = result.err().map(|refusal| (elect_code(refusal.kind), refusal.message));
        results.add(topic.as_str(), partition.0, refused);
    }
    results.response()
}

/// Every partition that such an election would change: asked for all, Kafka does not name the others either.
fn all(image: &Image, kind: ElectionKind) -> Wanted {
    let partitions = image.topics.values().flat_map(|t| t.numbered().map(|(n, p)| (t.name.clone(), n, p)));
    let needed = partitions.filter(|(_, _, partition)| match kind {
        ElectionKind::Preferred => partition.leader != partition.replicas.first().copied(),
        ElectionKind::Unclean => partition.leader.is_none(),
    });
    needed.map(|(topic, number, _)| (topic, number)).collect()
}

fn failed(code: ResponseError, version: i16) -> ElectLeadersResponse {
    let code = if version >= WITH_CODE { code.code() } else { 0 };
    ElectLeadersResponse::default().with_error_code(code)
}

/// What each partition came to, by topic.
#[derive(Default)]
struct Results(BTreeMap<String, Vec<PartitionResult>>);

impl Results {
    fn add(&mut self, topic: &str, partition: i32, refused: Option<(ResponseError, String)>) {
        let result = PartitionResult::default().with_partition_id(partition).with_error_message(None);
        let result = match refused {
            None => result,
            Some((code, message)) => {
                result.with_error_code(code.code()).with_error_message(Some(text(message)))
            }
        };
        self.0.entry(topic.to_owned()).or_default().push(result);
    }

    fn response(self) -> ElectLeadersResponse {
        let topics = self.0.into_iter().map(|(topic, results)| {
            ReplicaElectionResult::default()
                .with_topic(WireTopicName(StrBytes::from_string(topic)))
                .with_partition_result(results)
        });
        ElectLeadersResponse::default().with_replica_election_results(topics.collect())
    }
}
