use std::sync::Arc;

use domain::{NodeEpoch, NodeId, ProducerId};

use crate::{
    Applied, Changes, Command, Image, Node, NodeRegistration, NodeState, Outcome, Refusal, RefusalKind,
};

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
            Command::UnfenceNode { node, epoch } => self.set_state(*node, *epoch, NodeState::Active, changes),
            Command::CreateTopic(spec) => self.create_topic(spec, changes),
            Command::DeleteTopic { name } => self.delete_topic(name, changes),
            Command::AddPartitions { topic, count, assignments } => {
                self.add_partitions(topic, *count, assignments, changes)
            }
            Command::AlterConfigs { topic, changes: configs } => {
                self.alter_configs(topic.as_ref(), configs, changes)
            }
            Command::AllocateProducerIds { count } => self.allocate_producer_ids(*count),
        }
    }

    fn register(
        &mut self,
        registration: &NodeRegistration,
        changes: &mut Changes,
    ) -> Result<Applied, Refusal> {
        let refuse = |kind, message: String| Err(Refusal::new(kind, message));
        let Some(cluster_id) = self.cluster_id else {
            return refuse(RefusalKind::InvalidRequest, "the cluster has no id yet".to_owned());
        };
        let id = registration.node;
        if let Some(other) = registration.cluster_id.filter(|c| *c != cluster_id) {
            return refuse(
                RefusalKind::WrongCluster,
                format!("node {id}'s data folder belongs to cluster {other}, this is cluster {cluster_id}"),
            );
        }
        if let Some(known) = self.nodes.get(&id).filter(|n| n.directory != registration.directory) {
            if known.state == NodeState::Active {
                return refuse(
                    RefusalKind::NodeIdInUse,
                    format!("node id {id} is in use by the running node at {}", known.kafka),
                );
            }
            // Its data is on the disk that it had; an empty one must not become leader in its place.
            let sole = self.sole_isr_count(id);
            if sole > 0 {
                return refuse(
                    RefusalKind::DirectoryMissing,
                    format!(
                        "node {id} came with data folder {} instead of {}, which holds the only in-sync replica of {sole} partitions",
                        registration.directory, known.directory
                    ),
                );
            }
        }
        let epoch = self.next_node_epoch;
        self.next_node_epoch = NodeEpoch(epoch.0.saturating_add(1));
        let node = Node {
            id,
            epoch,
            state: NodeState::Fenced,
            directory: registration.directory,
            kafka: registration.kafka.clone(),
            http: registration.http.clone(),
            rack: registration.rack.clone(),
        };
        self.nodes.insert(id, Arc::new(node));
        changes.nodes.insert(id);
        self.reelect_around(id, true, changes);
        Ok(Applied::Registered { epoch, cluster_id })
    }

    fn set_state(
        &mut self,
        id: NodeId,
        epoch: NodeEpoch,
        state: NodeState,
        changes: &mut Changes,
    ) -> Result<Applied, Refusal> {
        let node = self
            .nodes
            .get(&id)
            .ok_or_else(|| Refusal::new(RefusalKind::UnknownNode, format!("node {id} never registered")))?;
        if node.epoch != epoch {
            let message = format!("node epoch {epoch} of node {id} is stale, it is at {}", node.epoch);
            return Err(Refusal::new(RefusalKind::StaleNodeEpoch, message));
        }
        if node.state != state {
            self.nodes.insert(id, Arc::new(Node { state, ..Node::clone(node) }));
            changes.nodes.insert(id);
            self.reelect_around(id, false, changes);
        }
        Ok(Applied::Done)
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
