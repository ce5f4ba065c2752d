use std::collections::BTreeMap;

use domain::{LeaderEpoch, NodeEpoch, NodeId, Offset, PartitionEpoch};
use metadata::{Image, Partition};
use replica::{LogEnd, PartitionState, Proposal, Replica};

use crate::{
    disk::{Disk, Log, Proof},
    event::Event,
};

/// A machine with a disk, and the storage node's process on it while it runs.
#[derive(Debug)]
pub struct Node {
    /// Counts processes: connections and timers belong to one.
    pub life: u64,
    /// Counts the machine's boots.
    pub boot: u64,
    pub disk: Disk,
    /// A copy of the folder that somebody made while the node was down.
    pub copy: Option<Disk>,
    pub process: Option<Process>,
    pub paused: bool,
    /// What came while the process was paused.
    pub held: Vec<Event>,
    pub clock: Clock,
}

/// A monotonic clock that may run at a wrong rate or stand still, but never goes back.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    shown_us: u64,
    since_us: u64,
    rate_per_mille: u64,
}

impl Clock {
    pub fn new() -> Self {
        Self { shown_us: 0, since_us: 0, rate_per_mille: 1_000 }
    }

    pub fn now_ms(&self, at_us: u64) -> u64 {
        (self.shown_us + (at_us - self.since_us) * self.rate_per_mille / 1_000) / 1_000
    }

    pub fn set_rate(&mut self, at_us: u64, rate_per_mille: u64) {
        self.shown_us += (at_us - self.since_us) * self.rate_per_mille / 1_000;
        (self.since_us, self.rate_per_mille) = (at_us, rate_per_mille);
    }
}

/// What a process has in memory: all of it is gone when it dies.
#[derive(Debug)]
pub struct Process {
    pub proof: Proof,
    /// This incarnation, once it is registered and the disk remembers it.
    pub epoch: Option<NodeEpoch>,
    /// Whether the image has this incarnation's registration, so that its states are followed.
    pub in_image: bool,
    pub image: Image,
    /// The watch that is open, and when it last told something.
    pub watch: u64,
    pub watch_heard_us: u64,
    /// The controller that it takes for the leader, and when that last answered.
    pub controller: usize,
    pub controller_heard_us: u64,
    pub beat_due_us: u64,
    pub registering: Option<Call>,
    pub altering: Option<(Call, Vec<(usize, Proposal)>)>,
    pub reporting: Option<Call>,
    /// A controlled shutdown was asked for; when it is over in any case.
    pub stopping_until_us: Option<u64>,
    pub fetchers: BTreeMap<NodeId, Fetcher>,
    /// For each connection that produces the number of the request that comes next.
    pub connections: BTreeMap<u64, u64>,
    pub locals: Vec<Option<Local>>,
}

/// A request without an answer yet.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub id: u64,
    pub until_us: u64,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Fetcher {
    /// The request under way and when it is given up.
    pub asked: Option<Call>,
    pub idle_us: u64,
    /// A `FetchDue` is in the queue.
    pub due: bool,
}

/// One partition in a process.
#[derive(Debug)]
pub struct Local {
    pub replica: Replica,
    pub waiting: Vec<Waiting>,
    /// The high watermark that the checkers have seen.
    pub checked: Offset,
    pub flushing: bool,
    /// Followers' last fetches under any leader epoch, for mutations.
    pub fetches: BTreeMap<NodeId, (NodeEpoch, Offset)>,
}

/// An append whose acknowledgement waits.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    pub client: usize,
    pub call: u64,
    pub epoch: LeaderEpoch,
    pub base: Offset,
    pub end: Offset,
    /// Else for this replica's flush only.
    pub for_all: bool,
}

impl Node {
    pub fn new(disk: Disk) -> Self {
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

    pub fn local(&self, partition: usize) -> Option<&Local> {
        self.process.as_ref()?.locals[partition].as_ref()
    }

    /// A partition in memory and on disk.
    pub fn both(&mut self, partition: usize) -> Option<(&mut Local, &mut Log)> {
        let local = self.process.as_mut()?.locals[partition].as_mut()?;
        Some((local, self.disk.logs[partition].as_mut()?))
    }

    pub fn epoch(&self) -> Option<NodeEpoch> {
        self.process.as_ref()?.epoch
    }
}

impl Process {
    pub fn new(me: NodeId, proof: Proof, disk: &Disk, controller: usize, now_us: u64) -> Self {
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
            altering: None,
            reporting: None,
            stopping_until_us: None,
            fetchers: BTreeMap::new(),
            connections: BTreeMap::new(),
            locals: disk.logs.iter().zip(&disk.high_watermarks).map(local).collect(),
        }
    }
}

impl Local {
    pub fn new(me: NodeId, high_watermark: Offset) -> Self {
        Self {
            replica: Replica::new(me, high_watermark),
            waiting: Vec::new(),
            checked: high_watermark,
            flushing: false,
            fetches: BTreeMap::new(),
        }
    }

    pub fn partition_epoch(&self) -> Option<PartitionEpoch> {
        self.replica.state().map(|s| s.epoch)
    }
}

/// A log's end, as far as it counts.
pub fn log_end(log: &Log, flush: bool) -> LogEnd {
    match flush {
        true => LogEnd { end: log.end(), counted: log.synced() },
        false => LogEnd::all(log.end()),
    }
}

/// The controller's state of a partition, as a replica adopts it.
pub fn state_of(partition: &Partition) -> PartitionState {
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
