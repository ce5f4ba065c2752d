use domain::{DirectoryId, LeaderEpoch, NodeEpoch, NodeId, Offset, PartitionEpoch, PartitionIndex};
use metadata::{LastKnown, Partition, ReplicaEnd};

use crate::{
    convert::{Result, uuid, uuid_bytes},
    pb,
};

pub(crate) fn partition_to_pb(number: PartitionIndex, partition: &Partition) -> pb::Partition {
    let unproven = partition.unproven.iter();
    pb::Partition {
        number: number.0,
        replicas: ids(&partition.replicas),
        isr: ids(&partition.isr),
        leader: partition.leader.map_or(-1, |n| n.0),
        leader_epoch: partition.leader_epoch.0,
        partition_epoch: partition.epoch.0,
        elr: ids(&partition.elr),
        last_known: partition.last_known.iter().map(last_known_to_pb).collect(),
        unproven: unproven.map(|(node, directory)| member_to_pb(*node, *directory, None)).collect(),
        min_isr: partition.min_isr,
        recovering: partition.recovering,
        adding: ids(&partition.adding),
        removing: ids(&partition.removing),
    }
}

pub(crate) fn partition_from_pb(message: pb::Partition) -> Result<(PartitionIndex, Partition)> {
    let unproven = message.unproven.into_iter().map(last_known_from_pb);
    let partition = Partition {
        replicas: nodes(message.replicas),
        isr: nodes(message.isr),
        elr: nodes(message.elr),
        last_known: message.last_known.into_iter().map(last_known_from_pb).collect::<Result<_>>()?,
        unproven: unproven.map(|k| k.map(|k| (k.node, k.directory))).collect::<Result<_>>()?,
        leader: (message.leader >= 0).then_some(NodeId(message.leader)),
        leader_epoch: LeaderEpoch(message.leader_epoch),
        epoch: PartitionEpoch(message.partition_epoch),
        min_isr: message.min_isr,
        recovering: message.recovering,
        adding: nodes(message.adding),
        removing: nodes(message.removing),
    };
    Ok((PartitionIndex(message.number), partition))
}

fn ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|n| n.0).collect()
}

fn nodes(ids: Vec<i32>) -> Vec<NodeId> {
    ids.into_iter().map(NodeId).collect()
}

fn last_known_to_pb(member: &LastKnown) -> pb::LastKnown {
    member_to_pb(member.node, member.directory, member.position)
}

fn member_to_pb(node: NodeId, directory: DirectoryId, position: Option<ReplicaEnd>) -> pb::LastKnown {
    let position = position.map(|end| pb::ReplicaEnd {
        node_epoch: end.node_epoch.0,
        last_epoch: end.last_epoch.0,
        log_end: end.log_end.0,
    });
    pb::LastKnown { node: node.0, directory_id: uuid_bytes(directory.0), position }
}

fn last_known_from_pb(message: pb::LastKnown) -> Result<LastKnown> {
    let position = message.position.map(|end| ReplicaEnd {
        node_epoch: NodeEpoch(end.node_epoch),
        last_epoch: LeaderEpoch(end.last_epoch),
        log_end: Offset(end.log_end),
    });
    let directory = DirectoryId(uuid("last_known.directory_id", &message.directory_id)?);
    Ok(LastKnown { node: NodeId(message.node), directory, position })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn every_field_of_a_partition_survives_the_journey() {
        let directory = DirectoryId(Uuid::from_u128(4));
        let end = ReplicaEnd { node_epoch: NodeEpoch(5), last_epoch: LeaderEpoch(6), log_end: Offset(7) };
        let partition = Partition {
            replicas: nodes(vec![1, 2, 3]),
            isr: nodes(vec![1]),
            elr: nodes(vec![2]),
            last_known: vec![
                LastKnown { node: NodeId(3), directory, position: Some(end) },
                LastKnown { node: NodeId(2), directory, position: None },
            ],
            unproven: vec![(NodeId(3), directory)],
            leader: Some(NodeId(1)),
            leader_epoch: LeaderEpoch(8),
            epoch: PartitionEpoch(9),
            min_isr: 2,
            recovering: true,
            adding: nodes(vec![3]),
            removing: nodes(vec![1]),
        };
        let sent = partition_to_pb(PartitionIndex(11), &partition);
        assert_eq!(partition_from_pb(sent), Ok((PartitionIndex(11), partition)));
    }
}
