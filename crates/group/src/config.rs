/// How a coordinator behaves: Kafka's `group.*` and `offsets.*` settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupConfig {
    /// What a member of the classic protocol may ask for.
    pub session_timeout_ms_min: i32,
    pub session_timeout_ms_max: i32,
    /// How long the first rebalance of an empty classic group waits for more members.
    pub initial_rebalance_delay_ms: u64,
    /// Members of a classic group.
    pub max_size: usize,
    /// How long a member of the consumer protocol may be silent; the server decides.
    pub consumer_session_timeout_ms: i32,
    pub consumer_session_timeout_ms_min: i32,
    pub consumer_session_timeout_ms_max: i32,
    /// The most that a member of the consumer protocol is told to wait between two heartbeats.
    pub consumer_heartbeat_interval_ms: i32,
    /// Members of a consumer group.
    pub consumer_max_size: usize,
    /// How long a REST consumer may be silent.
    pub rest_session_ms: i32,
    /// How long one that is called upon to give partitions up may take to poll again, which is how it does that.
    pub rest_rebalance_ms: i32,
    /// How long the offsets of an empty group are kept.
    pub offsets_retention_ms: i64,
    /// Every group is looked at once in so many milliseconds.
    pub offsets_retention_check_interval_ms: u64,
    /// Of the text that goes with a committed offset; never more than a record's string can hold.
    pub offset_metadata_bytes_max: usize,
}

impl Default for GroupConfig {
    fn default() -> Self {
        Self {
            session_timeout_ms_min: 6_000,
            session_timeout_ms_max: 1_800_000,
            initial_rebalance_delay_ms: 500,
            max_size: usize::MAX,
            consumer_session_timeout_ms: 45_000,
            consumer_session_timeout_ms_min: 45_000,
            consumer_session_timeout_ms_max: 60_000,
            consumer_heartbeat_interval_ms: 5_000,
            consumer_max_size: usize::MAX,
            rest_session_ms: 300_000,
            rest_rebalance_ms: 60_000,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1000,
            offsets_retention_check_interval_ms: 600_000,
            offset_metadata_bytes_max: 4096,
        }
    }
}
