use std::collections::HashSet;

use ::metadata::{Image, Topic};
use domain::{NodeId, PartitionIndex};
use wire::{
    BrokerId,
    messages::{
        ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
        list_partition_reassignments_response::{OngoingPartitionReassignment, OngoingTopicReassignment},
    },
};

use crate::{api::wire_name, broker::Broker};

/// What is being reassigned, of the partitions asked for or of all (KIP-455). What is not, or does not exist, is left out.
pub(crate) fn answer(
    broker: &Broker,
    request: &ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let image: &Image = &broker.image.load();
    let topics = match &request.topics {
        None => image.topics.values().filter_map(|t| ongoing(t, |_| true)).collect(),
        Some(asked) => asked
            .iter()
            .filter_map(|asked| {
                let topic = image.topics.get(asked.name.as_str())?;
                let wanted: HashSet<i32> = asked.partition_indexes.iter().copied().collect();
                ongoing(topic, |number| wanted.contains(&number.0))
            })
            .collect(),
    };
    ListPartitionReassignmentsResponse::default().with_error_message(None).with_topics(topics)
}

fn ongoing(topic: &Topic, wanted: impl Fn(PartitionIndex) -> bool) -> Option<OngoingTopicReassignment> {
    let ids = |nodes: &[NodeId]| nodes.iter().map(|n| BrokerId(n.0)).collect();
    let partitions: Vec<OngoingPartitionReassignment> = topic
        .numbered()
        .filter(|(number, partition)| partition.is_reassigning() && wanted(*number))
        .map(|(number, partition)| {
            OngoingPartitionReassignment::default()
                .with_partition_index(number.0)
                .with_replicas(ids(&partition.replicas))
                .with_adding_replicas(ids(&partition.adding))
                .with_removing_replicas(ids(&partition.removing))
        })
        .collect();
    let name = wire_name(&topic.name);
    let some = !partitions.is_empty();
    some.then(|| OngoingTopicReassignment::default().with_name(name).with_partitions(partitions))
}
