use std::collections::BTreeMap;

use domain::{LeaderEpoch, NodeEpoch, NodeId, Offset, PartitionEpoch};
use metadata::{Image, Partition};
use replica::{LogEnd, PartitionState, Proposal, Replica};

use crate::{
    coordinator::{Coordinator, Heard},
    disk::{Disk, Log, Proof},
    event::Event,
};

/// A machine with a disk, and the storage node's process on it while it runs.
#[derive(Debug)]
pub(crate) struct Node {
    /// Counts processes: connections and timers belong to one.
    pub(crate) life: u64,
    /// Counts the machine's boots.
    pub(crate) boot: u64,
    pub(crate) disk: Disk,
    /// A copy of the folder that somebody made while the node was down.
    pub(crate) copy: Option<Disk>,
    pub(crate) process: Option<Process>,
    pub(crate) paused: bool,
    /// What came while the process was paused.
    pub(crate) held: Vec<Event>,
    pub(crate) clock: Clock,
}

/// A monotonic clock that may run at a wrong rate or stand still, but never goes back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    shown_us: u64,
    since_us: u64,
    rate_per_mille: u64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { shown_us: 0, since_us: 0, rate_per_mille: 1_000 }
    }

    pub(crate) fn now_ms(&self, at_us: u64) -> u64 {
        (self.shown_us + (at_us - self.since_us) * self.rate_per_mille / 1_000) / 1_000
    }

    pub(crate) fn set_rate(&mut self, at_us: u64, rate_per_mille: u64) {
        self.shown_us += (at_us - self.since_us) * self.rate_per_mille / 1_000;
        (self.since_us, self.rate_per_mille) = (at_us, rate_per_mille);
    }
}

/// What a process has in memory: all of it is gone when it dies.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) proof: Proof,
    /// This incarnation, once it is registered and the disk remembers it.
    pub(crate) epoch: Option<NodeEpoch>,
    /// Whether the image has this incarnation's registration, so that its states are followed.
    pub(crate) in_image: bool,
    pub(crate) image: Image,
    /// The watch that is open, and when it last told something.
    pub(crate) watch: u64,
    pub(crate) watch_heard_us: u64,
    /// The controller that it takes for the leader, and when that last answered.
    pub(crate) controller: usize,
    pub(crate) controller_heard_us: u64,
    pub(crate) beat_due_us: u64,
    pub(crate) registering: Option<Call>,
    /// What its registration is told by until it is answered.
    pub(crate) incarnation: Option<uuid::Uuid>,
    pub(crate) altering: Option<(Call, Vec<(usize, Proposal)>)>,
    pub(crate) reporting: Option<Call>,
    /// A controlled shutdown was asked for; when it is over in any case.
    pub(crate) stopping_until_us: Option<u64>,
    /// The minimum of each topic's configs as of the last tick, for a mutation.
    pub(crate) configured_min: Vec<Option<u32>>,
    pub(crate) fetchers: BTreeMap<NodeId, Fetcher>,
    /// For each connection that produces the number of the request that comes next.
    pub(crate) connections: BTreeMap<u64, u64>,
    pub(crate) locals: Vec<Option<Local>>,
    pub(crate) coordinator: Option<Coordinator>,
    pub(crate) heard: Heard,
    /// Put to the controllers so far, whether they answered or not.
    pub(crate) questions: u64,
    /// The newest connection of each group's member.
    pub(crate) members: BTreeMap<usize, u64>,
    /// When its clockwork ran last, by the node's clock.
    pub(crate) ticked_ms: Option<u64>,
}

/// A request without an answer yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) id: u64,
    pub(crate) until_us: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fetcher {
    /// The request under way and when it is given up.
    pub(crate) asked: Option<Call>,
    pub(crate) idle_us: u64,
    /// A `FetchDue` is in the queue.
    pub(crate) due: bool,
}

/// One partition in a process.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) replica: Replica,
    pub(crate) waiting: Vec<Waiting>,
    /// The high watermark that the checkers have seen.
    pub(crate) checked: Offset,
    pub(crate) flushing: bool,
    /// Followers' last fetches under any leader epoch, for mutations.
    pub(crate) fetches: BTreeMap<NodeId, (NodeEpoch, Offset)>,
}

/// An append whose acknowledgement waits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) client: usize,
    pub(crate) call: u64,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) base: Offset,
    pub(crate) end: Offset,
    /// Else for this replica's flush only.
    pub(crate) for_all: bool,
}

impl Node {
    pub(crate) fn new(disk: Disk) -> Self {
        Self {
            life: 0,
            boot: 0,
            disk,
            copy: None,
            process: None,
            paused: false,
            held: Vec::new(),
            clock: Clock::new(),
        }
    }

    pub(crate) fn local(&self, partition: usize) -> Option<&Local> {
        self.process.as_ref()?.locals[partition].as_ref()
    }

    /// A partition in memory and on disk.
    pub(crate) fn both(&mut self, partition: usize) -> Option<(&mut Local, &mut Log)> {
        let local = self.process.as_mut()?.locals[partition].as_mut()?;
        Some((local, self.disk.logs[partition].as_mut()?))
    }

    pub(crate) fn epoch(&self) -> Option<NodeEpoch> {
        self.process.as_ref()?.epoch
    }
}

impl Process {
    pub(crate) fn new(me: NodeId, proof: Proof, disk: &Disk, controller: usize, now_us: u64) -> Self {
        let local = |(log, hw): (&Option<Log>, &Offset)| log.as_ref().map(|_| Local::new(me, *hw));
        Self {
            proof,
            epoch: None,
            in_image: false,
            image: Image::default(),
            watch: 0,
            watch_heard_us: now_us,
            controller,
            controller_heard_us: now_us,
            beat_due_us: now_us,
            registering: None,
            incarnation: None,
            altering: None,
            reporting: None,
            stopping_until_us: None,
            configured_min: vec![None; disk.logs.len()],
            fetchers: BTreeMap::new(),
            connections: BTreeMap::new(),
            locals: disk.logs.iter().zip(&disk.high_watermarks).map(local).collect(),
            coordinator: None,
            heard: Heard::default(),
            questions: 0,
            members: BTreeMap::new(),
            ticked_ms: None,
        }
    }
}

impl Local {
    pub(crate) fn new(me: NodeId, high_watermark: Offset) -> Self {
        Self {
            replica: Replica::new(me, high_watermark),
            waiting: Vec::new(),
            checked: high_watermark,
            flushing: false,
            fetches: BTreeMap::new(),
        }
    }

    pub(crate) fn partition_epoch(&self) -> Option<PartitionEpoch> {
        self.replica.state().map(|s| s.epoch)
    }
}

/// A log's end, as far as it counts.
pub(crate) fn log_end(log: &Log, flush: bool) -> LogEnd {
    match flush {
        true => LogEnd { end: log.end(), counted: log.synced() },
        false => LogEnd::all(log.end()),
    }
}

/// The controller's state of a partition, as a replica adopts it.
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
