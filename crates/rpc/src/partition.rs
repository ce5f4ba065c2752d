use domain::{DirectoryId, LeaderEpoch, NodeEpoch, NodeId, Offset, PartitionEpoch, PartitionIndex};
use metadata::{LastKnown, Partition, ReplicaEnd};

use crate::{
    convert::{Result, uuid, uuid_bytes},
    pb,
};

pub(crate) fn partition_to_pb(number: PartitionIndex, partition: &Partition) -> pb::Partition {
    let members = |known: &[(NodeId, DirectoryId)]| {
        known.iter().map(|(node, directory)| member_to_pb(*node, *directory, None)).collect()
    };
    pb::Partition {
        number: number.0,
        replicas: ids(&partition.replicas),
        isr: ids(&partition.isr),
        leader: partition.leader.map_or(-1, |n| n.0),
        leader_epoch: partition.leader_epoch.0,
        partition_epoch: partition.epoch.0,
        elr: ids(&partition.elr),
        last_known: partition.last_known.iter().map(last_known_to_pb).collect(),
        unproven: members(&partition.unproven),
        former: members(&partition.former),
        min_isr: partition.min_isr,
        recovering: partition.recovering,
        adding: ids(&partition.adding),
        removing: ids(&partition.removing),
    }
}

pub(crate) fn partition_from_pb(message: pb::Partition) -> Result<(PartitionIndex, Partition)> {
    let members = |known: Vec<pb::LastKnown>| {
        let member = |known| last_known_from_pb(known).map(|k| (k.node, k.directory));
        known.into_iter().map(member).collect::<Result<Vec<_>>>()
    };
    let partition = Partition {
        replicas: nodes(message.replicas),
        isr: nodes(message.isr),
        elr: nodes(message.elr),
        last_known: message.last_known.into_iter().map(last_known_from_pb).collect::<Result<_>>()?,
        unproven: members(message.unproven)?,
        former: members(message.former)?,
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
    pb::LastKnown {
        waited_for: member.waited_for,
        to_the_end: member.to_the_end,
        ..member_to_pb(member.node, member.directory, member.position.as_ref())
    }
}

fn member_to_pb(node: NodeId, directory: DirectoryId, position: Option<&ReplicaEnd>) -> pb::LastKnown {
    let position = position.map(|end| pb::ReplicaEnd {
        node_epoch: end.node_epoch.0,
        log_start: end.log_start.0,
        log_end: end.log_end.0,
        epochs: epochs_to_pb(&end.epochs),
    });
    let directory_id = uuid_bytes(directory.0);
    pb::LastKnown { node: node.0, directory_id, position, waited_for: false, to_the_end: false }
}

fn last_known_from_pb(message: pb::LastKnown) -> Result<LastKnown> {
    let position = message.position.map(|end| ReplicaEnd {
        node_epoch: NodeEpoch(end.node_epoch),
        log_start: Offset(end.log_start),
        log_end: Offset(end.log_end),
        epochs: epochs_from_pb(end.epochs),
    });
    let directory = DirectoryId(uuid("last_known.directory_id", &message.directory_id)?);
    let (waited_for, to_the_end) = (message.waited_for, message.to_the_end);
    Ok(LastKnown { node: NodeId(message.node), directory, position, waited_for, to_the_end })
}

pub(crate) fn epochs_to_pb(epochs: &[(LeaderEpoch, Offset)]) -> Vec<pb::EpochStart> {
    epochs.iter().map(|(epoch, start)| pb::EpochStart { epoch: epoch.0, start: start.0 }).collect()
}

pub(crate) fn epochs_from_pb(epochs: Vec<pb::EpochStart>) -> Vec<(LeaderEpoch, Offset)> {
    epochs.into_iter().map(|e| (LeaderEpoch(e.epoch), Offset(e.start))).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn every_field_of_a_partition_survives_the_journey() {
        let directory = DirectoryId(Uuid::from_u128(4));
        let epochs = vec![(LeaderEpoch(2), Offset(0)), (LeaderEpoch(6), Offset(5))];
        let (log_start, log_end) = (Offset(3), Offset(7));
        let end = ReplicaEnd { node_epoch: NodeEpoch(5), log_start, log_end, epochs };
        let partition = Partition {
            replicas: nodes(vec![1, 2, 3]),
            isr: nodes(vec![1]),
            elr: nodes(vec![2]),
            last_known: vec![
                LastKnown {
                    node: NodeId(3),
                    directory,
                    position: Some(end),
                    waited_for: true,
                    to_the_end: false,
                },
                LastKnown { node: NodeId(2), directory, position: None, waited_for: false, to_the_end: true },
            ],
            unproven: vec![(NodeId(3), directory)],
            former: vec![(NodeId(1), directory)],
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
