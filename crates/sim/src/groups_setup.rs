use domain::{TopicId, TopicName};
use group::{GroupConfig, Topics};
use uuid::Uuid;

use crate::{
    event::Party,
    random::Random,
    setup::{PartitionSetup, Setup},
};

/// The consumer groups of a seed: times are as short as those of replication.
#[derive(Clone, Debug)]
pub(crate) struct GroupsSetup {
    /// Where they are kept.
    pub(crate) partition: usize,
    pub(crate) groups: usize,
    pub(crate) members: usize,
    pub(crate) topics: ReadTopics,
    pub(crate) session_ms: u64,
    pub(crate) rebalance_ms: u64,
    pub(crate) heartbeat_ms: u64,
    pub(crate) retention_ms: u64,
    /// How long a new coordinator reads its log.
    pub(crate) load_us: u64,
}

/// The topic that all groups read. It is nobody's log: what it holds does not matter to them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadTopics {
    pub(crate) partitions: i32,
}

pub(crate) const READ_TOPIC: &str = "read";
const READ_ID: TopicId = TopicId(Uuid::from_u128(0x7ead));

impl Setup {
    /// With groups, and one more partition for them.
    pub(crate) fn with_groups(mut self, random: &mut Random) -> Self {
        let partition = self.partitions.len();
        let unclean = self.partitions.iter().any(|p| p.unclean) && random.chance(300);
        let flush = self.partitions.iter().all(|p| p.flush) || random.chance(200);
        self.partitions.push(PartitionSetup { min_isr: [1, 2, 2, 2][random.index(4)], flush, unclean });
        let session_ms = self.heartbeat_us / 1_000 * 2 + random.range(100, 400);
        self.groups = Some(GroupsSetup {
            partition,
            groups: random.range(1, 2) as usize,
            members: random.range(2, Party::MEMBERS_MAX as u64) as usize,
            topics: ReadTopics { partitions: random.range(1, 6) as i32 },
            session_ms,
            rebalance_ms: random.range(session_ms / 2, session_ms * 2),
            heartbeat_ms: session_ms / random.range(4, 8),
            retention_ms: random.range(100, 1_000),
            load_us: random.range(100, 30_000),
        });
        self
    }

    pub(crate) fn group_partition(&self) -> Option<usize> {
        self.groups.as_ref().map(|groups| groups.partition)
    }

    /// The partitions that producers write to.
    pub(crate) fn data_partitions(&self) -> usize {
        self.group_partition().unwrap_or(self.partitions.len())
    }
}

impl GroupsSetup {
    pub(crate) fn config(&self) -> GroupConfig {
        GroupConfig {
            session_timeout_ms_min: 1,
            initial_rebalance_delay_ms: 10,
            consumer_session_timeout_ms: self.session_ms as i32,
            consumer_session_timeout_ms_min: 1,
            consumer_heartbeat_interval_ms: self.heartbeat_ms as i32,
            offsets_retention_ms: self.retention_ms as i64,
            offsets_retention_check_interval_ms: 50,
            ..GroupConfig::default()
        }
    }
}

impl Topics for ReadTopics {
    fn by_name(&self, name: &str) -> Option<(TopicId, i32)> {
        (name == READ_TOPIC).then_some((READ_ID, self.partitions))
    }

    fn by_id(&self, id: TopicId) -> Option<(TopicName, i32)> {
        let name = TopicName::new(READ_TOPIC).ok()?;
        (id == READ_ID).then_some((name, self.partitions))
    }

    fn names(&self) -> Vec<TopicName> {
        TopicName::new(READ_TOPIC).into_iter().collect()
    }

    fn version(&self) -> u64 {
        1
    }
}
