use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{TopicName, number};

number! {
    /// A storage node's id: its ordinal, and the broker id that Kafka clients see.
    NodeId(i32)
}
number! {
    /// A partition's number in its topic, from 0.
    PartitionIndex(i32)
}
number! {
    /// A record's place in its partition, from 0.
    Offset(i64)
}
number! {
    /// The id of an idempotent producer (KIP-98). -1 means none.
    ProducerId(i64)
}
number! {
    /// Fences older incarnations that hold the same producer id (KIP-98). -1 means none.
    ProducerEpoch(i16)
}

impl Offset {
    /// The offset `records` further on.
    pub fn plus(self, records: i64) -> Offset {
        Offset(self.0.saturating_add(records))
    }
}

impl ProducerId {
    /// A batch without a producer id is not idempotent.
    pub const NONE: ProducerId = ProducerId(-1);

    /// Ids from here on are not handed out by the controllers.
    const FIRST_OF_KEYS: i64 = 1 << 62;

    /// The id under which what is sent with an idempotency key is written, of a hash of that key.
    pub const fn of_key(hash: u64) -> Self {
        Self(Self::FIRST_OF_KEYS | (hash >> 2) as i64)
    }

    /// Whether the id was made of a key: then it has one batch in a partition, and no other.
    pub const fn is_of_key(self) -> bool {
        self.0 >= Self::FIRST_OF_KEYS
    }
}

/// One partition of one topic, by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TopicPartition {
    pub topic: TopicName,
    pub partition: PartitionIndex,
}

impl TopicPartition {
    pub fn new(topic: TopicName, partition: PartitionIndex) -> Self {
        Self { topic, partition }
    }
}

/// As Kafka names the partition's folder: `topic-3`.
impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
