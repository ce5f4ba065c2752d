//! A replica on a node: its log, its role, and for a leader what it knows of its followers.

use crate::{
    controller::Partition,
    ids::{LeaderEpoch, NodeEpoch, NodeId, NodeSet, PartitionEpoch, REPLICAS},
    log::Log,
};

/// A node's process and disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its log.
    pub log: Log,
    /// Its high watermark; zero after a restart.
    pub high_watermark: u8,
    /// The leader epoch that it adopted last.
    pub epoch: LeaderEpoch,
    /// What it does in that epoch.
    pub role: Role,
    /// As a leader: what the followers' fetches told.
    pub ends: [Option<Known>; REPLICAS],
    /// As a follower: where its one outstanding fetch is.
    pub fetch: Fetch,
    /// A request of an earlier incarnation or leader epoch that is still on its way.
    pub late: Option<Request>,
    /// An answer of an earlier leader; without fencing it would still be taken, with it there is nothing to keep.
    pub late_answer: Option<Answer>,
    /// The disk as it was before the present incarnation; kept only where disks may go back.
    pub image: Log,
    /// min ISR by the config message; differs from the partition state's only under `Mutation::MinIsrApart`.
    pub config_min_isr: u8,
}

/// What a node is for the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing adopted since the start, or nobody leads.
    Idle,
    /// Fetches from this leader.
    Follower(NodeId),
    /// Leads.
    Leader(Lead),
}

/// A leader's view of the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead {
    /// The adopted ISR.
    pub isr: NodeSet,
    /// M: the adopted ISR and every ISR proposed since at this partition epoch.
    pub maximal: NodeSet,
    /// The adopted partition epoch.
    pub partition_epoch: PartitionEpoch,
    /// The min ISR of the adopted state.
    pub min_isr: u8,
    /// The log end when the leadership began.
    pub start: u8,
}

/// A follower's log end, as one of its fetches told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// The log end.
    pub end: u8,
    /// The node epoch of the incarnation that fetched.
    pub node_epoch: NodeEpoch,
    /// The leader epoch in which it was learned.
    pub learned_in: LeaderEpoch,
}

/// A follower has one fetch outstanding at any time. The request says what the follower is when it arrives, since
/// nothing else changes a follower meanwhile; a request that is overtaken by a change becomes [`Node::late`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetch {
    /// The request is on its way or waits at the leader.
    Requested,
    /// The answer is on its way.
    Answered(Answer),
}

/// A fetch request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The leader it goes to.
    pub leader: NodeId,
    /// The leader epoch that the follower is in.
    pub epoch: LeaderEpoch,
    /// The incarnation that fetches.
    pub node_epoch: NodeEpoch,
    /// The follower's log end, and where it wants to read.
    pub end: u8,
    /// The epoch of its last record.
    pub last_epoch: LeaderEpoch,
}

/// A fetch answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The leader epoch of the leader that answered.
    pub epoch: LeaderEpoch,
    /// What it says.
    pub body: Body,
}

/// What a fetch answer carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// The logs part after this epoch's end at the leader.
    Diverging(LeaderEpoch, u8),
    /// Records from the requested offset on, and the leader's high watermark.
    Records {
        /// The requested offset.
        from: u8,
        /// All that the leader has from there.
        records: Log,
        /// The leader's high watermark.
        high_watermark: u8,
    },
}

impl Node {
    /// What it knows as a leader.
    #[must_use]
    pub fn lead(&self) -> Option<&Lead> {
        match &self.role {
            Role::Leader(lead) => Some(lead),
            _ => None,
        }
    }

    /// The request that a follower has outstanding.
    #[must_use]
    pub fn request(&self, node_epoch: NodeEpoch) -> Option<Request> {
        match (self.role, self.fetch) {
            (Role::Follower(leader), Fetch::Requested) => Some(Request {
                leader,
                epoch: self.epoch,
                node_epoch,
                end: self.log.end(),
                last_epoch: self.log.last_epoch(),
            }),
            _ => None,
        }
    }

    /// Where a follower's log parts from this one, if it does (KIP-320).
    #[must_use]
    pub fn diverging(&self, request: &Request) -> Option<(LeaderEpoch, u8)> {
        let (epoch, end) = self.log.end_of(request.last_epoch);
        (request.end > 0 && (epoch < request.last_epoch || end < request.end)).then_some((epoch, end))
    }

    /// Where a follower cuts its log on being told of a divergence (KIP-101).
    #[must_use]
    pub fn truncation(&self, epoch: LeaderEpoch, end: u8) -> u8 {
        self.log.end_of(epoch).1.min(end)
    }

    /// The smallest log end that `counted` is known to have reached; the leader is `own`.
    #[must_use]
    pub fn reached_by(&self, own: NodeId, counted: NodeSet) -> u8 {
        let end = |node: NodeId| match self.ends[node.index()] {
            _ if node == own => self.log.end(),
            known => known.map_or(0, |known| known.end),
        };
        counted.iter().map(end).min().unwrap_or(0)
    }

    /// Cuts the log, and the high watermark with it.
    pub(crate) fn truncate(&mut self, end: u8) {
        self.log = self.log.below(end);
        self.high_watermark = self.high_watermark.min(end);
    }
}

impl Lead {
    /// The beginning of a leadership, or the next state within it.
    pub(crate) fn of(partition: &Partition, start: u8) -> Self {
        let Partition { isr, partition_epoch, min_isr, .. } = *partition;
        Self { isr, maximal: isr, partition_epoch, min_isr, start }
    }
}
