use domain::ProducerId;

use crate::{Applied, Changes, Command, Image, NodeState, Outcome, Refusal, RefusalKind};

/// The most producer ids that are handed out at once.
const PRODUCER_IDS_MAX: i32 = 100_000;

impl Image {
    /// Carries a command out. Total and deterministic: a refused command leaves the image as it was.
    pub fn apply(&mut self, command: &Command) -> Outcome {
        let mut changes = Changes::default();
        let result = self.carry_out(command, &mut changes);
        if result.is_err() {
            changes = Changes::default();
        }
        Outcome { result, changes }
    }

    fn carry_out(&mut self, command: &Command, changes: &mut Changes) -> Result<Applied, Refusal> {
        match command {
            Command::NameCluster { cluster_id } => {
                if self.cluster_id.is_none() {
                    self.cluster_id = Some(*cluster_id);
                    changes.cluster = true;
                }
                Ok(Applied::Done)
            }
            Command::RegisterNode(registration) => self.register(registration, changes),
            Command::FenceNode { node, epoch } => self.set_state(*node, *epoch, NodeState::Fenced, changes),
            Command::FenceNodes { nodes } => Ok(self.fence_all(nodes, changes)),
            Command::UnfenceNode { node, epoch } => self.set_state(*node, *epoch, NodeState::Active, changes),
            Command::StopNode { node, epoch } => self.set_state(*node, *epoch, NodeState::Stopping, changes),
            Command::AlterPartitions { node, node_epoch, changes: proposed } => {
                self.alter_partitions(*node, *node_epoch, proposed, changes)
            }
            Command::ReportReplicas { node, epoch, ends } => {
                self.report_replicas(*node, *epoch, ends, changes)
            }
            Command::ElectLeaders { kind, partitions } => Ok(self.elect_leaders(*kind, partitions, changes)),
            Command::Reassign { changes: wanted } => Ok(self.reassign(wanted, changes)),
            Command::CreateTopic(spec) => self.create_topic(spec, changes),
            Command::DeleteTopic { name } => self.delete_topic(name, changes),
            Command::AddPartitions { topic, count, assignments } => {
                self.add_partitions(topic, *count, assignments, changes)
            }
            Command::AlterConfigs { topic, changes: configs } => {
                self.alter_configs(topic.as_ref(), configs, changes)
            }
            Command::AllocateProducerIds { count } => self.allocate_producer_ids(*count),
            Command::SetDraining { node, draining, scaled_in } => {
                self.set_draining(*node, *draining, *scaled_in, changes)
            }
            Command::RetireNode { node, epoch } => self.retire(*node, *epoch, changes),
            Command::SetRebalance(rebalance) => {
                self.rebalance = *rebalance;
                // An image that nothing changed in is not published.
                changes.cluster = true;
                Ok(Applied::Done)
            }
        }
    }

    fn allocate_producer_ids(&mut self, count: i32) -> Result<Applied, Refusal> {
        if !(1..=PRODUCER_IDS_MAX).contains(&count) {
            let message = format!("{count} producer ids at once are not from 1 to {PRODUCER_IDS_MAX}");
            return Err(Refusal::new(RefusalKind::InvalidRequest, message));
        }
        let first = self.next_producer_id;
        self.next_producer_id = ProducerId(first.0.saturating_add(i64::from(count)));
        Ok(Applied::ProducerIds { first, count })
    }
}
