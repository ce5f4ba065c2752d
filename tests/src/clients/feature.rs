/// What a client is asked to do, as a row of the matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    ProduceNone,
    ProduceGzip,
    ProduceSnappy,
    ProduceLz4,
    ProduceZstd,
    Idempotent,
    Headers,
    Keys,
    Timestamps,
    Assign,
    SeekTime,
    Group,
    Rebalance,
    Cooperative,
    Commit,
    CreateTopic,
    DescribeTopics,
    Configs,
    CreatePartitions,
    DeleteRecords,
    DeleteTopic,
    ListGroups,
    DescribeGroups,
    DeleteGroups,
    ListOffsets,
    AlterOffsets,
    DeleteOffsets,
}

use Feature::*;

impl Feature {
    pub const ALL: [Feature; 27] = [
        ProduceNone,
        ProduceGzip,
        ProduceSnappy,
        ProduceLz4,
        ProduceZstd,
        Idempotent,
        Headers,
        Keys,
        Timestamps,
        Assign,
        SeekTime,
        Group,
        Rebalance,
        Cooperative,
        Commit,
        CreateTopic,
        DescribeTopics,
        Configs,
        CreatePartitions,
        DeleteRecords,
        DeleteTopic,
        ListGroups,
        DescribeGroups,
        DeleteGroups,
        ListOffsets,
        AlterOffsets,
        DeleteOffsets,
    ];

    /// What the drivers call it.
    pub fn name(self) -> &'static str {
        match self {
            ProduceNone => "produce-none",
            ProduceGzip => "produce-gzip",
            ProduceSnappy => "produce-snappy",
            ProduceLz4 => "produce-lz4",
            ProduceZstd => "produce-zstd",
            Idempotent => "idempotent",
            Headers => "headers",
            Keys => "keys",
            Timestamps => "timestamps",
            Assign => "assign",
            SeekTime => "seek-time",
            Group => "group",
            Rebalance => "rebalance",
            Cooperative => "cooperative",
            Commit => "commit",
            CreateTopic => "create-topic",
            DescribeTopics => "describe-topics",
            Configs => "configs",
            CreatePartitions => "create-partitions",
            DeleteRecords => "delete-records",
            DeleteTopic => "delete-topic",
            ListGroups => "list-groups",
            DescribeGroups => "describe-groups",
            DeleteGroups => "delete-groups",
            ListOffsets => "list-offsets",
            AlterOffsets => "alter-offsets",
            DeleteOffsets => "delete-offsets",
        }
    }

    /// What a reader of the table sees.
    pub fn title(self) -> &'static str {
        match self {
            ProduceNone => "produce, read back by it and by kcat",
            ProduceGzip => "the same with gzip",
            ProduceSnappy => "… snappy",
            ProduceLz4 => "… lz4",
            ProduceZstd => "… zstd",
            Idempotent => "idempotent producer",
            Headers => "headers",
            Keys => "keys: null, empty; tombstones",
            Timestamps => "timestamps of its own",
            Assign => "read by assignment: beginning, offset, end",
            SeekTime => "seek by time",
            Group => "a group shares, each record once",
            Rebalance => "rebalance while consuming: one joins, one leaves",
            Cooperative => "the same, cooperative: what stays is not revoked",
            Commit => "commit and resume",
            CreateTopic => "create a topic",
            DescribeTopics => "list and describe topics",
            Configs => "describe, alter and reset configs",
            CreatePartitions => "create partitions",
            DeleteRecords => "delete records",
            DeleteTopic => "delete a topic",
            ListGroups => "list groups",
            DescribeGroups => "describe groups",
            DeleteGroups => "delete groups",
            ListOffsets => "list a group's offsets",
            AlterOffsets => "alter (reset) a group's offsets",
            DeleteOffsets => "delete a group's offsets",
        }
    }

    /// About how long it takes.
    pub(super) fn seconds(self) -> u32 {
        match self {
            Rebalance | Cooperative => 20,
            Group | Commit => 10,
            ListGroups | DescribeGroups | DeleteGroups => 8,
            _ => 1,
        }
    }
}
