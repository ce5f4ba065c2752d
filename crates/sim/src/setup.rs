use metadata::LivenessConfig;

use crate::{event::Party, groups_setup::GroupsSetup, random::Random};

/// What a seed decides before anything happens: the cluster, its clients, and which faults it is given. Times are in
/// microseconds and short, so that a thousand steps see many of them run out.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) nodes: usize,
    pub(crate) partitions: Vec<PartitionSetup>,
    pub(crate) producers: usize,
    pub(crate) consumers: usize,
    /// In flight for a producer and a partition.
    pub(crate) in_flight: usize,
    /// Producers send requests under idempotency keys as well.
    pub(crate) keyed: bool,
    pub(crate) liveness: LivenessConfig,
    pub(crate) heartbeat_us: u64,
    pub(crate) lag_max_ms: u64,
    pub(crate) delay_us: (u64, u64),
    pub(crate) commit_us: (u64, u64),
    pub(crate) produce_us: u64,
    pub(crate) faults: Faults,
    pub(crate) groups: Option<GroupsSetup>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct PartitionSetup {
    pub(crate) min_isr: u32,
    /// Flush before acknowledgement (R12).
    pub(crate) flush: bool,
    pub(crate) unclean: bool,
}

/// Chances in a thousand, zero where the seed has none of the kind. The weights are for each fault that is due.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) every_us: u64,
    pub(crate) loss: u64,
    pub(crate) slow: u64,
    pub(crate) kill: u64,
    pub(crate) power_cut: u64,
    pub(crate) power_cut_all: u64,
    pub(crate) wipe: u64,
    pub(crate) old_copy: u64,
    pub(crate) pause: u64,
    pub(crate) clock: u64,
    pub(crate) partition: u64,
    pub(crate) controller: u64,
    pub(crate) stop: u64,
    pub(crate) min_isr: u64,
    pub(crate) preferred: u64,
    pub(crate) reassign: u64,
    pub(crate) unclean: u64,
    /// Chance of a tick to move a log's start.
    pub(crate) retention: u64,
}

impl Setup {
    pub(crate) fn draw(random: &mut Random) -> Self {
        let nodes = random.range(3, Party::NODES_MAX as u64) as usize;
        let all_flush = random.chance(250);
        let unclean = random.chance(80);
        let partition = |random: &mut Random| PartitionSetup {
            min_isr: [1, 2, 2, 2, 3][random.index(5)],
            flush: all_flush || random.chance(150),
            unclean: unclean && random.chance(500),
        };
        let partitions = (0..random.range(2, 4)).map(|_| partition(random)).collect();
        let session_ms = random.range(120, 500);
        let slowest = random.range(500, 6_000);
        Self {
            nodes,
            partitions,
            producers: random.range(1, 3) as usize,
            consumers: random.range(1, 2) as usize,
            in_flight: random.range(1, 4) as usize,
            keyed: false,
            liveness: LivenessConfig { session_timeout_ms: session_ms, grace_ms: random.range(5, 60) },
            heartbeat_us: session_ms * 1_000 / random.range(3, 6),
            lag_max_ms: random.range(30, 300),
            delay_us: (random.range(50, 500), slowest),
            commit_us: (200, random.range(1_000, 8_000)),
            produce_us: random.range(3_000, 30_000),
            faults: Faults::draw(random, unclean),
            groups: None,
        }
    }

    /// The same without anything that excuses a loss: unclean elections, power cuts where nobody flushes, old copies.
    pub(crate) fn lossless(mut self) -> Self {
        let cuts = self.faults.power_cut + self.faults.power_cut_all > 0;
        for partition in &mut self.partitions {
            (partition.unclean, partition.flush) = (false, partition.flush || cuts);
        }
        (self.faults.unclean, self.faults.old_copy) = (0, 0);
        self
    }
}

impl Faults {
    fn draw(random: &mut Random, unclean: bool) -> Self {
        let mut weight = |most: u64| if random.chance(550) { random.range(1, most) } else { 0 };
        Self {
            loss: weight(60),
            slow: weight(40),
            kill: weight(100).max(5),
            power_cut: weight(60),
            power_cut_all: weight(20),
            wipe: weight(15) / 2,
            old_copy: weight(15),
            pause: weight(80),
            clock: weight(40),
            partition: weight(120),
            controller: weight(60),
            stop: weight(40),
            min_isr: weight(60),
            preferred: weight(40),
            reassign: weight(30),
            unclean: if unclean { 20 } else { 0 },
            retention: weight(20),
            every_us: random.range(15_000, 120_000),
        }
    }
}
