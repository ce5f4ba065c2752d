use std::collections::{BTreeMap, BTreeSet};

use domain::{PartitionIndex, TopicId};

/// Which partitions of which topics one member has, or is to have. No topic in it is without partitions.
pub type Partitions = BTreeMap<TopicId, BTreeSet<PartitionIndex>>;
