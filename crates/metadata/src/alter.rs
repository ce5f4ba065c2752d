use std::collections::BTreeSet;

use domain::{LeaderEpoch, NodeEpoch, NodeId};

use crate::{
    AlterRefusal, AlterRefusalKind, Applied, Changes, Image, IsrChange, NodeState, Partition, Refusal,
    ReplicaEnd, ReplicaReport, Topic,
    settle::{Rules, Wish},
};

impl Image {
    /// A leader's proposals, each taken or refused by itself.
    pub(crate) fn alter_partitions(
        &mut self,
        node: NodeId,
        node_epoch: NodeEpoch,
        proposed: &[IsrChange],
        changes: &mut Changes,
    ) -> Result<Applied, Refusal> {
        self.registered(node, node_epoch)?;
        let results = proposed.iter().map(|change| {
            let (topic, before) = self.fit(node, change)?;
            let isr = change.isr.iter().map(|(member, _)| *member).collect();
            let wish = Wish { isr: Some(isr), ..Wish::default() };
            let next = Rules::new(self, topic).settle(before, &wish).unwrap_or_else(|| before.clone());
            let topic = topic.name.clone();
            self.put_partition(&topic, change.partition, next.clone(), changes);
            Ok(next)
        });
        Ok(Applied::Altered(results.collect()))
    }

    /// The partition that the proposal is about, if it may be taken. Compared and set before anything is said
    /// about members: a proposal against an older state is no news about them.
    fn fit(&self, sender: NodeId, change: &IsrChange) -> Result<(&Topic, &Partition), AlterRefusal> {
        let refuse = |kind, message: String| Err(AlterRefusal::new(kind, message));
        let topic = self.topic_by_id(change.topic).map(|t| &**t);
        let Some((topic, partition)) = topic.and_then(|t| Some((t, t.partition(change.partition)?))) else {
            let message = format!("topic {} has no partition {}", change.topic, change.partition);
            return refuse(AlterRefusalKind::UnknownPartition, message);
        };
        let (epoch, now) = (change.leader_epoch, partition.leader_epoch);
        if epoch < now {
            let message = format!("leader epoch {epoch} is stale, the partition is at {now}");
            return refuse(AlterRefusalKind::FencedLeaderEpoch, message);
        }
        if epoch > now {
            let message = format!("leader epoch {epoch} has not begun, the partition is at {now}");
            return refuse(AlterRefusalKind::UnknownLeaderEpoch, message);
        }
        if partition.leader != Some(sender) {
            let message = format!("node {sender} does not lead the partition in leader epoch {now}");
            return refuse(AlterRefusalKind::NotLeader, message);
        }
        if change.partition_epoch != partition.epoch {
            let (epoch, now) = (change.partition_epoch, partition.epoch);
            let message = format!("partition epoch {epoch} is not the partition's, which is at {now}");
            return refuse(AlterRefusalKind::StalePartitionEpoch, message);
        }
        check_members(sender, partition, &change.isr)?;
        for (member, member_epoch) in &change.isr {
            self.check_eligible(sender, *member, *member_epoch)?;
        }
        Ok((topic, partition))
    }

    fn check_eligible(&self, sender: NodeId, member: NodeId, epoch: NodeEpoch) -> Result<(), AlterRefusal> {
        let refuse = |message: String| Err(AlterRefusal::new(AlterRefusalKind::Ineligible, message));
        let Some(node) = self.nodes.get(&member) else {
            return refuse(format!("node {member} never registered"));
        };
        if node.epoch != epoch {
            return refuse(format!("node epoch {epoch} of node {member} is stale, it is at {}", node.epoch));
        }
        let fit = node.state == NodeState::Active || (member == sender && node.state == NodeState::Stopping);
        match fit {
            true => Ok(()),
            false => refuse(format!("node {member} is {}", node.state)),
        }
    }

    /// Notes where a node's logs end, and elects where that was all that was missing. A replica without an end (−1) was
    /// found damaged: it leaves ISR and ELR, and leads no more.
    pub(crate) fn report_replicas(
        &mut self,
        node: NodeId,
        epoch: NodeEpoch,
        ends: &[ReplicaReport],
        changes: &mut Changes,
    ) -> Result<Applied, Refusal> {
        let directory = self.registered(node, epoch)?.directory;
        for report in ends {
            let Some(topic) = self.topic_by_id(report.topic) else { continue };
            let Some(before) = topic.partition(report.partition) else { continue };
            let (log_start, log_end, epochs) = (report.log_start, report.log_end, report.epochs.clone());
            let end = ReplicaEnd { node_epoch: epoch, log_start, log_end, epochs };
            let lost = (!end.is_sound()).then_some((node, directory));
            // A log that is damaged is so in every epoch; one that only leaves says in which.
            let is_now = report.leader_epoch == before.leader_epoch
                || (lost.is_some() && report.leader_epoch == LeaderEpoch::UNKNOWN);
            let end = is_now.then_some((node, end));
            let wish = Wish { lost, end, ..Wish::default() };
            if let Some(next) = Rules::new(self, topic).settle(before, &wish) {
                let topic = topic.name.clone();
                self.put_partition(&topic, report.partition, next, changes);
            }
        }
        Ok(Applied::Done)
    }
}

fn check_members(
    leader: NodeId,
    partition: &Partition,
    isr: &[(NodeId, NodeEpoch)],
) -> Result<(), AlterRefusal> {
    let refuse = |message: String| Err(AlterRefusal::new(AlterRefusalKind::InvalidIsr, message));
    let members: BTreeSet<NodeId> = isr.iter().map(|(member, _)| *member).collect();
    if members.len() != isr.len() {
        return refuse("a member is named twice".to_owned());
    }
    if !members.contains(&leader) {
        return refuse(format!("the leader, node {leader}, is not a member"));
    }
    match members.iter().find(|member| !partition.replicas.contains(member)) {
        None => Ok(()),
        Some(stranger) => refuse(format!("node {stranger} is no replica")),
    }
}
