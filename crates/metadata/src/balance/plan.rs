use std::{collections::BTreeMap, fmt};

use domain::{NodeId, PartitionIndex, TopicId, TopicName};

use super::{
    BalanceConfig, Usage, disks::even_disks, layout::Layout, leaders::even_leaders, racks::spread_racks,
    replicas::even_replicas, steps::steps, vacate::vacate,
};
use crate::Image;

/// What is left to do until nothing needs to move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The most urgent first. A partition that needs several moves is named several times, one after the other.
    pub moves: Vec<Move>,
    pub stuck: Vec<Stuck>,
}

/// Other replicas for a partition, one of them at a time, or another order of the same ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub topic: TopicName,
    pub topic_id: TopicId,
    pub partition: PartitionIndex,
    pub from: Vec<NodeId>,
    /// What `Command::Reassign` is to be given.
    pub to: Vec<NodeId>,
    /// How much has to be copied, as far as it is known.
    pub bytes: u64,
    pub why: Why,
}

/// What a move is good for, the most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Its node is to be emptied.
    Drain,
    /// The partition is in fewer racks than it could be.
    Racks,
    /// Its node has more replicas than others.
    Replicas,
    /// Its node's disk is fuller than others.
    Disk,
    /// Its node is the preferred leader of more partitions than others. Nothing is copied.
    Leaders,
}

/// A replica that should leave its node and cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    pub topic: TopicName,
    pub topic_id: TopicId,
    pub partition: PartitionIndex,
    /// The node that is to be emptied.
    pub node: NodeId,
    pub reason: StuckReason,
}

/// Why a replica cannot leave its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StuckReason {
    /// Every node that takes replicas has one already.
    NoNode,
    /// The disks of the nodes that could take it are too full.
    NoRoom { bytes: u64 },
    /// The partition has no leader to copy from.
    NoLeader,
}

/// What moves make possible is planned at once, but not for ever.
const ROUNDS_MAX: usize = 8;

impl Image {
    /// The moves that are left from here, the most urgent first; reassignments under way count as done. Each goal keeps what
    /// the ones before it reached, and each move brings its goal nearer: so planning and moving in turn comes to an end.
    pub fn plan(&self, usage: &Usage, config: &BalanceConfig) -> Plan {
        let mut layout = Layout::new(self, usage, None);
        let mut plan = Plan::default();
        for _ in 0..ROUNDS_MAX {
            plan.stuck = vacate(&mut layout);
            spread_racks(&mut layout);
            even_replicas(&mut layout);
            even_disks(&mut layout, usage, config);
            let moves = steps(&layout);
            if moves.is_empty() {
                break;
            }
            plan.append(moves);
            layout.settle();
        }
        even_leaders(&mut layout);
        plan.lead(steps(&layout));
        plan
    }
}

impl Plan {
    /// What another round found builds on what is planned already, so it is no more urgent.
    fn append(&mut self, moves: Vec<Move>) {
        let least = self.moves.last().map_or(Why::Drain, |last| last.why);
        self.moves.extend(moves.into_iter().map(|next| Move { why: next.why.max(least), ..next }));
    }

    /// A partition that moves anyway gets its order with its last move.
    fn lead(&mut self, orders: Vec<Move>) {
        let mut orders: BTreeMap<_, _> = orders.into_iter().map(|m| ((m.topic_id, m.partition), m)).collect();
        for last in self.moves.iter_mut().rev() {
            if let Some(order) = orders.remove(&(last.topic_id, last.partition)) {
                last.to = order.to;
            }
        }
        self.moves.extend(orders.into_values());
    }
}

impl Move {
    /// The nodes that have to copy the partition.
    pub fn added(&self) -> impl Iterator<Item = NodeId> {
        self.to.iter().copied().filter(|n| !self.from.contains(n))
    }

    /// The nodes that give it up.
    pub fn removed(&self) -> impl Iterator<Item = NodeId> {
        self.from.iter().copied().filter(|n| !self.to.contains(n))
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Drain => "drain",
            Why::Racks => "racks",
            Why::Replicas => "replicas",
            Why::Disk => "disk",
            Why::Leaders => "leaders",
        })
    }
}

impl fmt::Display for StuckReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StuckReason::NoNode => f.write_str("every node that takes replicas has one of it already"),
            StuckReason::NoRoom { bytes } => write!(f, "no other node has room for its {bytes} bytes"),
            StuckReason::NoLeader => f.write_str("it has no leader to copy it from"),
        }
    }
}
