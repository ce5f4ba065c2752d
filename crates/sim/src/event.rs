use std::{fmt, sync::Arc};

use domain::{LeaderEpoch, NodeEpoch, NodeId, Offset, ProducerId};
use group::{Answer, Call};
use metadata::{Applied, Command, Delta, NodeRegistration, Refusal};

use crate::{disk::Batch, groups_ghost::Asked};

/// Everybody who can send or receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Party {
    Node(usize),
    Controller(usize),
    Client(usize),
    /// Of a consumer group.
    Member(usize),
}

impl Party {
    pub(crate) const NODES_MAX: usize = 5;
    pub(crate) const CONTROLLERS: usize = 3;
    pub(crate) const CLIENTS_MAX: usize = 8;
    pub(crate) const MEMBERS_MAX: usize = 6;
    pub(crate) const MAX: usize = Self::NODES_MAX + Self::CONTROLLERS + Self::CLIENTS_MAX + Self::MEMBERS_MAX;

    /// Its row in the network's table.
    pub(crate) fn index(self) -> usize {
        match self {
            Self::Node(n) => n,
            Self::Controller(n) => Self::NODES_MAX + n,
            Self::Client(n) => Self::NODES_MAX + Self::CONTROLLERS + n,
            Self::Member(n) => Self::NODES_MAX + Self::CONTROLLERS + Self::CLIENTS_MAX + n,
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(n) => write!(f, "node-{n}"),
            Self::Controller(n) => write!(f, "controller-{n}"),
            Self::Client(n) => write!(f, "client-{n}"),
            Self::Member(n) => write!(f, "member-{n}"),
        }
    }
}

/// What happens at a moment of simulated time.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A message arrives. To a node it is a connection to one life of its process.
    Deliver {
        from: Party,
        to: Party,
        life: u64,
        message: Message,
    },
    /// A node's own clockwork.
    Tick {
        node: usize,
        life: u64,
    },
    /// A node asks a leader for what comes next.
    FetchDue {
        node: usize,
        life: u64,
        leader: NodeId,
    },
    /// An fdatasync of a partition's log returns; it covers what was there when it began.
    Synced {
        node: usize,
        life: u64,
        partition: usize,
        end: Offset,
    },
    /// The process opens its folder.
    Start {
        node: usize,
        life: u64,
    },
    Wake {
        node: usize,
    },
    /// A majority has the controllers' log up to there.
    Commit {
        term: u64,
        index: usize,
    },
    Elected {
        term: u64,
    },
    OfficeTick {
        term: u64,
    },
    ClientTick {
        client: usize,
    },
    MemberTick {
        member: usize,
    },
    /// A coordinator has read its log.
    Load {
        node: usize,
        life: u64,
        epoch: LeaderEpoch,
    },
    Fault,
    Heal {
        what: Healing,
    },
}

impl Event {
    /// The process that must be awake for it.
    pub(crate) fn node(&self) -> Option<usize> {
        match self {
            Self::Deliver { to: Party::Node(node), .. }
            | Self::Tick { node, .. }
            | Self::FetchDue { node, .. }
            | Self::Load { node, .. }
            | Self::Synced { node, .. } => Some(*node),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Healing {
    Link(Party, Party),
    Clock(usize),
}

/// What one party tells another. Each is sent, delayed and lost by itself.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    Register {
        call: u64,
        life: u64,
        registration: Box<NodeRegistration>,
    },
    /// `noted` comes back with the answer.
    Heartbeat {
        epoch: NodeEpoch,
        goodbye: bool,
        stopping: bool,
        noted: Noted,
    },
    StreamEnded {
        epoch: NodeEpoch,
    },
    Propose {
        call: u64,
        command: Box<Command>,
    },
    Watch {
        session: u64,
        from: u64,
    },

    NotLeader,
    Beat {
        epoch: NodeEpoch,
        may_stop: bool,
        known: bool,
        noted: Noted,
        version: u64,
    },
    Answer {
        call: u64,
        result: Box<Result<Applied, Refusal>>,
    },
    Metadata {
        session: u64,
        delta: Arc<Delta>,
    },

    Fetch(Box<FetchRequest>),
    Fetched(Box<FetchAnswer>),

    Produce(Box<ProduceRequest>),
    Produced {
        call: u64,
        partition: usize,
        epoch: LeaderEpoch,
        result: ProduceResult,
    },
    Consume {
        call: u64,
        partition: usize,
        epoch: LeaderEpoch,
        offset: Offset,
    },
    Consumed(Box<ConsumeAnswer>),

    Ask(Box<GroupCall>),
    Told {
        /// The coordinator's.
        epoch: LeaderEpoch,
        call: u64,
        answer: Box<Answer>,
    },
}

/// What a node notes of a heartbeat when it leaves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Noted {
    /// The last question before it.
    pub(crate) question: u64,
    /// By the node's clock.
    pub(crate) left_ms: u64,
}

/// A group's member asks its coordinator.
#[derive(Clone, Debug)]
pub(crate) struct GroupCall {
    pub(crate) call: u64,
    /// Of this member: what comes on an older connection than the last is not read. `None`: one for this call only.
    pub(crate) connection: Option<u64>,
    pub(crate) version: i16,
    pub(crate) asks: Call,
    /// For the checkers: what was committed when it left.
    pub(crate) asked: Asked,
}

#[derive(Clone, Debug)]
pub(crate) struct FetchRequest {
    pub(crate) id: u64,
    pub(crate) node_epoch: NodeEpoch,
    pub(crate) partitions: Vec<FetchPartition>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct FetchPartition {
    pub(crate) partition: usize,
    pub(crate) leader_epoch: LeaderEpoch,
    /// The epoch of the follower's last record; −1: it has none.
    pub(crate) last: LeaderEpoch,
    pub(crate) offset: Offset,
}

#[derive(Clone, Debug)]
pub(crate) struct FetchAnswer {
    pub(crate) id: u64,
    pub(crate) node_epoch: NodeEpoch,
    pub(crate) partitions: Vec<(FetchPartition, FetchOutcome)>,
}

#[derive(Clone, Debug)]
pub(crate) enum FetchOutcome {
    Records { batches: Vec<Batch>, high_watermark: Offset, log_start: Offset },
    Diverging { epoch: LeaderEpoch, end: Offset, high_watermark: Offset },
    OutOfRange { start: Offset, before: Option<LeaderEpoch> },
    Refused,
}

#[derive(Clone, Debug)]
pub(crate) struct ProduceRequest {
    pub(crate) call: u64,
    /// The connection, and the request's number on it: a connection keeps the order or breaks.
    pub(crate) connection: u64,
    pub(crate) nth: u64,
    pub(crate) partition: usize,
    pub(crate) producer: ProducerId,
    pub(crate) sequence: i32,
    pub(crate) count: i32,
    pub(crate) value: u64,
    pub(crate) acks_all: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProduceResult {
    /// The offset of the first record.
    Done(Offset),
    /// Not appended here, or not known: ask the leader.
    Retry,
    /// The producer's sequence does not fit: records before it were lost.
    OutOfOrder,
}

#[derive(Clone, Debug)]
pub(crate) struct ConsumeAnswer {
    pub(crate) call: u64,
    pub(crate) partition: usize,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) outcome: ConsumeOutcome,
}

#[derive(Clone, Debug)]
pub(crate) enum ConsumeOutcome {
    Records {
        batches: Vec<Batch>,
        high_watermark: Offset,
    },
    OutOfRange {
        start: Offset,
    },
    NotLeader,
    /// A new leader's high watermark is not known to be the old one's yet.
    NotAvailable,
}
