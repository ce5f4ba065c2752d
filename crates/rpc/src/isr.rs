//! What leaders and last known members tell the controller, and what they are told back.

use domain::{LeaderEpoch, NodeEpoch, NodeId, Offset, PartitionEpoch, PartitionIndex, TopicId};
use metadata::{AlterRefusal, AlterRefusalKind, IsrChange, Partition, ReplicaReport};

use crate::{
    convert::{ConversionError, Result, invalid, uuid, uuid_bytes},
    partition::{epochs_from_pb, epochs_to_pb, partition_from_pb, partition_to_pb},
    pb,
};

pub fn isr_change_to_pb(change: &IsrChange) -> pb::IsrChange {
    let members = change.isr.iter();
    pb::IsrChange {
        topic_id: uuid_bytes(change.topic.0),
        partition: change.partition.0,
        leader_epoch: change.leader_epoch.0,
        partition_epoch: change.partition_epoch.0,
        isr: members.map(|(node, epoch)| pb::IsrMember { node: node.0, node_epoch: epoch.0 }).collect(),
    }
}

pub fn isr_change_from_pb(message: pb::IsrChange) -> Result<IsrChange> {
    let members = message.isr.into_iter();
    Ok(IsrChange {
        topic: TopicId(uuid("topic_id", &message.topic_id)?),
        partition: PartitionIndex(message.partition),
        leader_epoch: LeaderEpoch(message.leader_epoch),
        partition_epoch: PartitionEpoch(message.partition_epoch),
        isr: members.map(|m| (NodeId(m.node), NodeEpoch(m.node_epoch))).collect(),
    })
}

/// The answer for one partition, with the number that the proposal had.
pub fn altered_to_pb(
    number: PartitionIndex,
    result: &std::result::Result<Partition, AlterRefusal>,
) -> pb::AlterPartitionResult {
    use pb::alter_partition_result::Outcome;
    let outcome = match result {
        Ok(partition) => Outcome::Partition(partition_to_pb(number, partition)),
        Err(refusal) => Outcome::Refusal(pb::ItemRefusal {
            kind: refusal.kind.to_string(),
            message: refusal.message.clone(),
        }),
    };
    pb::AlterPartitionResult { outcome: Some(outcome) }
}

pub fn altered_from_pb(
    message: pb::AlterPartitionResult,
) -> Result<std::result::Result<Partition, AlterRefusal>> {
    use pb::alter_partition_result::Outcome;
    match message.outcome.ok_or(ConversionError::Missing("outcome"))? {
        Outcome::Partition(partition) => Ok(Ok(partition_from_pb(partition)?.1)),
        Outcome::Refusal(refusal) => {
            let kind = AlterRefusalKind::parse(&refusal.kind)
                .ok_or_else(|| invalid("refusal.kind", format!("'{}' is not known", refusal.kind)))?;
            Ok(Err(AlterRefusal::new(kind, refusal.message)))
        }
    }
}

/// Where one log ends: the leader epoch of its last batch and its log end.
pub fn log_end_to_pb(report: &ReplicaReport) -> pb::LogEnd {
    pb::LogEnd {
        topic_id: uuid_bytes(report.topic.0),
        partition: report.partition.0,
        leader_epoch: report.leader_epoch.0,
        log_start: report.log_start.0,
        log_end: report.log_end.0,
        epochs: epochs_to_pb(&report.epochs),
    }
}

pub fn log_end_from_pb(message: pb::LogEnd) -> Result<ReplicaReport> {
    Ok(ReplicaReport {
        topic: TopicId(uuid("topic_id", &message.topic_id)?),
        partition: PartitionIndex(message.partition),
        leader_epoch: LeaderEpoch(message.leader_epoch),
        log_start: Offset(message.log_start),
        log_end: Offset(message.log_end),
        epochs: epochs_from_pb(message.epochs),
    })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_proposal_and_its_answers_survive_the_journey() {
        let change = IsrChange {
            topic: TopicId(Uuid::from_u128(7)),
            partition: PartitionIndex(3),
            leader_epoch: LeaderEpoch(4),
            partition_epoch: PartitionEpoch(5),
            isr: vec![(NodeId(1), NodeEpoch(10)), (NodeId(2), NodeEpoch(11))],
        };
        assert_eq!(isr_change_from_pb(isr_change_to_pb(&change)), Ok(change));
        let refused = Err(AlterRefusal::new(AlterRefusalKind::Ineligible, "node 2 is fenced"));
        for result in [refused, Ok(Partition { min_isr: 2, ..Partition::default() })] {
            assert_eq!(altered_from_pb(altered_to_pb(PartitionIndex(3), &result)), Ok(result));
        }
        let end = ReplicaReport {
            topic: TopicId(Uuid::from_u128(7)),
            partition: PartitionIndex(3),
            leader_epoch: LeaderEpoch(6),
            log_start: Offset(80),
            log_end: Offset(99),
            epochs: vec![(LeaderEpoch(4), Offset(90))],
        };
        assert_eq!(log_end_from_pb(log_end_to_pb(&end)), Ok(end));
    }
}
