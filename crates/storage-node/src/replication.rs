//! Replication between storage nodes: what `replica` decides, carried out over Kafka's protocol and the controller's.
//!
//! ```text
//! follower:  fetchers.rs (who fetches what from whom) ─▶ fetcher.rs (one task a leader) ─▶ follow.rs (a log takes it in)
//! leader:    api/replica_fetch.rs ─▶ sessions.rs (which partitions, KIP-227) ─▶ partition.rs
//!            isr.rs (proposals to the controller, batched)
//! ```

mod fetcher;
mod fetchers;
pub(crate) mod follow;
mod isr;
mod report;
mod sessions;

use domain::{NodeEpoch, NodeId, PartitionIndex, TopicId};
use metadata::{Image, NodeState, Partition};
use replica::PartitionState;

pub(crate) use self::{
    fetchers::{CLIENT_ID, FetchConfig, Fetchers},
    isr::IsrKeeper,
    report::Reports,
    sessions::{FollowerSession, Sessions, Slot},
};

/// A partition as the wire names it between nodes.
pub(crate) type Key = (TopicId, PartitionIndex);

/// What `replica` needs of the controller's decision.
pub(crate) fn state_of(partition: &Partition) -> PartitionState {
    PartitionState {
        leader: partition.leader,
        leader_epoch: partition.leader_epoch,
        epoch: partition.epoch,
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
        min_isr: partition.min_isr,
        recovering: partition.recovering,
    }
}

/// The registration of a node that may be in an ISR: it is active (KIP-841). This node may, while it is stopping, too.
pub(crate) fn registered(
    image: &Image,
    me: NodeId,
    my_epoch: NodeEpoch,
) -> impl Fn(NodeId) -> Option<NodeEpoch> {
    move |node| {
        if node == me {
            return Some(my_epoch);
        }
        image.nodes.get(&node).filter(|n| n.state == NodeState::Active).map(|n| n.epoch)
    }
}
