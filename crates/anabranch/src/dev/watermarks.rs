use std::{collections::BTreeMap, time::Duration};

use domain::{NodeId, PartitionIndex, TopicName};
use metadata::Image;
use transport::ClientPool;
use wire::{
    BrokerId, ResponseError, StrBytes, WireTopicName,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    },
};

/// The offset behind the last record that consumers see (KIP-79).
const LATEST: i64 = -1;
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// The partitions of one leader, by topic.
type Led<'a> = BTreeMap<&'a TopicName, Vec<PartitionIndex>>;

/// Asks every leader for the end of what it leads. A new leader cannot tell until its followers have been heard of
/// (KIP-207), and whoever starts to read meanwhile would be refused. What is still missing, if anything is.
pub(super) async fn missing(image: &Image, nodes: &ClientPool) -> Option<String> {
    for (leader, topics) in by_leader(image) {
        let node = image.nodes.get(&leader)?;
        match nodes.call(&node.kafka.to_string(), request(&topics), ANSWER_MAX).await {
            Ok(answer) => {
                if let Some(missing) = not_known(&answer) {
                    return Some(missing);
                }
            }
            Err(error) => return Some(error.to_string()),
        }
    }
    None
}

fn by_leader(image: &Image) -> BTreeMap<NodeId, Led<'_>> {
    let mut leaders: BTreeMap<NodeId, Led<'_>> = BTreeMap::new();
    for topic in image.topics.values() {
        for (number, partition) in topic.numbered() {
            if let Some(leader) = partition.leader {
                leaders.entry(leader).or_default().entry(&topic.name).or_default().push(number);
            }
        }
    }
    leaders
}

fn request(topics: &Led<'_>) -> ListOffsetsRequest {
    let partition = |number: &PartitionIndex| {
        ListOffsetsPartition::default()
            .with_partition_index(number.0)
            .with_current_leader_epoch(-1)
            .with_timestamp(LATEST)
    };
    let topics = topics.iter().map(|(name, numbers)| {
        ListOffsetsTopic::default()
            .with_name(WireTopicName(StrBytes::from_string(name.to_string())))
            .with_partitions(numbers.iter().map(partition).collect())
    });
    ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics.collect())
}

fn not_known(answer: &ListOffsetsResponse) -> Option<String> {
    let partitions = answer.topics.iter().flat_map(|t| t.partitions.iter().map(|p| (&t.name, p)));
    let mut refused = partitions.filter_map(|(topic, p)| {
        let code = ResponseError::try_from_code(p.error_code)?;
        Some(format!("{}-{}: {code}", topic.as_str(), p.partition_index))
    });
    let first = refused.next()?;
    Some(format!("{} partitions do not know their high watermark yet, such as {first}", refused.count() + 1))
}

#[cfg(test)]
mod tests {
    use wire::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};

    use super::*;

    #[test]
    fn a_leader_that_does_not_know_its_high_watermark_is_named() {
        let partition = |index, code| {
            ListOffsetsPartitionResponse::default().with_partition_index(index).with_error_code(code)
        };
        let topic = ListOffsetsTopicResponse::default()
            .with_name(WireTopicName(StrBytes::from_static_str("orders")))
            .with_partitions(vec![partition(0, 0), partition(1, ResponseError::OffsetNotAvailable.code())]);
        let answer = ListOffsetsResponse::default().with_topics(vec![topic]);
        let told = not_known(&answer).unwrap();
        assert!(
            told.starts_with("1 partitions do not know their high watermark yet, such as orders-1: "),
            "{told}"
        );
        assert_eq!(not_known(&ListOffsetsResponse::default()), None);
    }
}
