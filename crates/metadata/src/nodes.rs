use std::{collections::BTreeSet, sync::Arc};

use domain::{NodeEpoch, NodeId, TopicId};

use crate::{
    Applied, Changes, Image, Node, NodeRegistration, NodeState, Partition, Refusal, RefusalKind, Standing,
    Topic, settle::Wish,
};

impl Image {
    pub(crate) fn register(
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
        if self.retired.contains(&registration.directory) {
            let directory = registration.directory;
            return refuse(
                RefusalKind::RetiredDirectory,
                format!("data folder {directory} was drained and retired, it has to be formatted anew"),
            );
        }
        let known = self.nodes.get(&id).cloned();
        if let Some(known) = &known
            && known.directory != registration.directory
            && known.state != NodeState::Fenced
        {
            return refuse(
                RefusalKind::NodeIdInUse,
                format!("node id {id} is in use by the running node at {}", known.kafka),
            );
        }
        if let (Some(known), Some((incarnation, standing))) = (&known, self.registrations.get(&id))
            && registration.incarnation == Some(*incarnation)
        {
            // The answer to it was lost.
            return Ok(Applied::Registered { epoch: known.epoch, cluster_id, standing: *standing });
        }
        let standing = standing(known.as_deref(), registration);
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
            draining: known.as_ref().is_some_and(|known| known.draining),
            scaled_in: known.as_ref().is_some_and(|known| known.scaled_in),
        };
        self.nodes.insert(id, Arc::new(node));
        match registration.incarnation {
            Some(incarnation) => self.registrations.insert(id, (incarnation, standing)),
            None => self.registrations.remove(&id),
        };
        changes.nodes.insert(id);
        // It is fenced until it has caught up, so every leadership that it had ends here.
        let directory = known.map(|n| n.directory);
        let lost = |topic: TopicId, number| {
            let damaged = registration.damaged.contains(&(topic, number));
            directory.filter(|_| damaged || standing != Standing::Kept).map(|directory| (id, directory))
        };
        let wish = |topic: &Topic, number| Wish { lost: lost(topic.id, number), ..Wish::default() };
        self.settle_where(|t, n, partition| partition.replicas.contains(&id).then(|| wish(t, n)), changes);
        Ok(Applied::Registered { epoch, cluster_id, standing })
    }

    /// Fences, unfences or stops a node. Only a fenced node is unfenced, and only an active one stops.
    pub(crate) fn set_state(
        &mut self,
        id: NodeId,
        epoch: NodeEpoch,
        state: NodeState,
        changes: &mut Changes,
    ) -> Result<Applied, Refusal> {
        let node = self.registered(id, epoch)?;
        let moves = match state {
            NodeState::Fenced => node.state != NodeState::Fenced,
            NodeState::Active => node.state == NodeState::Fenced,
            NodeState::Stopping => node.state == NodeState::Active,
        };
        if moves {
            let node = Node { state, ..Node::clone(node) };
            self.nodes.insert(id, Arc::new(node));
            changes.nodes.insert(id);
            let concerned = |partition: &Partition| partition.replicas.contains(&id);
            self.settle_where(|_, _, partition| concerned(partition).then(Wish::default), changes);
        }
        Ok(Applied::Done)
    }

    /// Fences those of the nodes that are registered in these epochs and not fenced.
    pub(crate) fn fence_all(&mut self, nodes: &[(NodeId, NodeEpoch)], changes: &mut Changes) -> Applied {
        let mut fenced = BTreeSet::new();
        for (id, epoch) in nodes {
            let known = self.registered(*id, *epoch).ok().filter(|n| n.state != NodeState::Fenced);
            let Some(node) = known.map(|n| Node { state: NodeState::Fenced, ..Node::clone(n) }) else {
                continue;
            };
            self.nodes.insert(*id, Arc::new(node));
            changes.nodes.insert(*id);
            fenced.insert(*id);
        }
        let concerned = |partition: &Partition| partition.replicas.iter().any(|n| fenced.contains(n));
        self.settle_where(|_, _, partition| concerned(partition).then(Wish::default), changes);
        Applied::Done
    }

    /// The node, if this incarnation of it is the registered one.
    pub(crate) fn registered(&self, id: NodeId, epoch: NodeEpoch) -> Result<&Arc<Node>, Refusal> {
        let unknown = || Refusal::new(RefusalKind::UnknownNode, format!("node {id} never registered"));
        let node = self.nodes.get(&id).ok_or_else(unknown)?;
        if node.epoch != epoch {
            let message = format!("node epoch {epoch} of node {id} is stale, it is at {}", node.epoch);
            return Err(Refusal::new(RefusalKind::StaleNodeEpoch, message));
        }
        Ok(node)
    }
}

/// The proof of INVARIANTS R10: a boot id or a clean mark alone says nothing when another incarnation came
/// between.
fn standing(known: Option<&Node>, registration: &NodeRegistration) -> Standing {
    let Some(known) = known else { return Standing::New };
    if known.directory != registration.directory {
        return Standing::OtherDirectory;
    }
    if registration.previous_epoch != Some(known.epoch) {
        return Standing::OtherEpoch { recorded: registration.previous_epoch, handed_out: known.epoch };
    }
    match registration.intact {
        true => Standing::Kept,
        false => Standing::NotIntact,
    }
}
