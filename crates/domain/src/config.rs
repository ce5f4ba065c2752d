use std::collections::BTreeMap;

/// Settings of a topic as they were set by somebody: Kafka's names, values as text. What is missing has its default.
pub type ConfigOverrides = BTreeMap<String, String>;

/// Why a setting was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("unknown topic config '{0}'")]
    Unknown(String),
    #[error("topic config {name}: '{value}' is not {expected}")]
    Invalid { name: &'static str, value: String, expected: String },
}

/// The type of a setting's value, as DescribeConfigs names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigType {
    Boolean,
    Int,
    Long,
    String,
    List,
    Double,
}

/// One setting that a topic can have.
#[derive(Clone, Copy, Debug)]
pub struct ConfigDefinition {
    pub name: &'static str,
    pub default: &'static str,
    pub config_type: ConfigType,
    pub documentation: &'static str,
    check: Check,
}

#[derive(Clone, Copy, Debug)]
enum Check {
    Integer {
        min: i64,
        max: i64,
    },
    /// A number from 0 to 1.
    Ratio,
    OneOf(&'static [&'static str]),
    ListOf(&'static [&'static str]),
}

/// What happens to records that are no longer wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CleanupPolicy {
    pub delete: bool,
    pub compact: bool,
}

/// Whose clock stamps a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// The settings of a topic in force: overrides over defaults, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    pub cleanup_policy: CleanupPolicy,
    /// A segment rolls before it grows past this.
    pub segment_bytes: u32,
    /// A segment rolls when its first record is older than this.
    pub segment_ms: i64,
    /// A log is compacted once so many millionths of it are dirty.
    pub min_cleanable_dirty_ppm: u32,
    /// Records younger than this are not compacted.
    pub min_compaction_lag_ms: i64,
    /// Records older than this are compacted, however little of the log is dirty.
    pub max_compaction_lag_ms: i64,
    /// How long a record without a value outlives the compaction that found it first.
    pub delete_retention_ms: i64,
    /// Segments whose newest record is older than this go; `None`: kept forever.
    pub retention_ms: Option<i64>,
    /// The oldest segments go while the partition is larger than this; `None`: no limit.
    pub retention_bytes: Option<i64>,
    /// Bytes of log between two entries of the sparse index.
    pub index_interval_bytes: u32,
    /// The largest batch that is taken, with its 12-byte log overhead.
    pub max_message_bytes: u32,
    pub min_insync_replicas: i32,
    pub timestamp_type: TimestampType,
    /// `fdatasync` after so many records; `None`: never for this reason.
    pub flush_messages: Option<i64>,
    /// `fdatasync` at the latest after so long; `None`: never for this reason.
    pub flush_ms: Option<i64>,
    pub unclean_leader_election: bool,
    /// How long a deleted segment's file stays.
    pub file_delete_delay_ms: i64,
    /// How far ahead of the broker's clock a record's timestamp may lie, in milliseconds.
    pub message_timestamp_after_max_ms: i64,
}

const MAX: i64 = i64::MAX;
const BOOLEAN: Check = Check::OneOf(&["true", "false"]);

const fn long(
    name: &'static str,
    default: &'static str,
    min: i64,
    documentation: &'static str,
) -> ConfigDefinition {
    ConfigDefinition {
        name,
        default,
        config_type: ConfigType::Long,
        documentation,
        check: Check::Integer { min, max: MAX },
    }
}

const fn int(
    name: &'static str,
    default: &'static str,
    min: i64,
    documentation: &'static str,
) -> ConfigDefinition {
    let check = Check::Integer { min, max: i32::MAX as i64 };
    ConfigDefinition { name, default, config_type: ConfigType::Int, documentation, check }
}

const DAY_MS: &str = "86400000";

/// In the order of their names. Defaults are Kafka's.
static DEFINITIONS: &[ConfigDefinition] = &[
    ConfigDefinition {
        name: "cleanup.policy",
        default: "delete",
        config_type: ConfigType::List,
        documentation: "What happens to old records: delete by age or size, or compact by key.",
        check: Check::ListOf(&["delete", "compact"]),
    },
    ConfigDefinition {
        name: "compression.type",
        default: "producer",
        config_type: ConfigType::String,
        documentation: "Batches stay as the producer compressed them.",
        check: Check::OneOf(&["producer"]),
    },
    long(
        "delete.retention.ms",
        DAY_MS,
        0,
        "How long a record without a value outlives the compaction that found it first, in milliseconds.",
    ),
    long(
        "file.delete.delay.ms",
        "60000",
        0,
        "How long the file of a deleted segment stays, in milliseconds.",
    ),
    long(
        "flush.messages",
        "9223372036854775807",
        1,
        "fdatasync after so many records, before they are acknowledged.",
    ),
    long("flush.ms", "9223372036854775807", 0, "fdatasync at the latest after so many milliseconds."),
    int("index.interval.bytes", "4096", 0, "Bytes of log between two entries of the sparse index."),
    long(
        "max.compaction.lag.ms",
        "9223372036854775807",
        1,
        "Records older than so many milliseconds are compacted, however little of the log is dirty.",
    ),
    int("max.message.bytes", "1048588", 0, "The largest record batch that is taken, in bytes."),
    long(
        "message.timestamp.after.max.ms",
        "9223372036854775807",
        0,
        "How far ahead of the broker's clock a record's timestamp may lie, in milliseconds.",
    ),
    ConfigDefinition {
        name: "message.timestamp.type",
        default: "CreateTime",
        config_type: ConfigType::String,
        documentation: "Whose clock stamps a record: the producer's or the broker's.",
        check: Check::OneOf(&["CreateTime", "LogAppendTime"]),
    },
    ConfigDefinition {
        name: "min.cleanable.dirty.ratio",
        default: "0.5",
        config_type: ConfigType::Double,
        documentation: "A log is compacted once more than this part of it is dirty.",
        check: Check::Ratio,
    },
    long("min.compaction.lag.ms", "0", 0, "Records younger than so many milliseconds are not compacted."),
    int("min.insync.replicas", "1", 1, "With acks=all, so many replicas must be in sync."),
    long(
        "retention.bytes",
        "-1",
        -1,
        "The oldest segments go while the partition is larger than this; -1: no limit.",
    ),
    long(
        "retention.ms",
        "604800000",
        -1,
        "Segments whose newest record is older than this go; -1: kept forever.",
    ),
    int("segment.bytes", "1073741824", 14, "A segment rolls before it grows past so many bytes."),
    long(
        "segment.ms",
        "604800000",
        1,
        "A segment rolls when its first record is older than so many milliseconds.",
    ),
    ConfigDefinition {
        name: "unclean.leader.election.enable",
        default: "false",
        config_type: ConfigType::Boolean,
        documentation: "Whether a replica that may lack committed records may lead when no other is left.",
        check: BOOLEAN,
    },
];

/// Every setting that a topic can have, in the order of their names.
pub fn topic_config_definitions() -> &'static [ConfigDefinition] {
    DEFINITIONS
}

impl ConfigDefinition {
    pub fn find(name: &str) -> Option<&'static ConfigDefinition> {
        DEFINITIONS.iter().find(|d| d.name == name)
    }

    /// Checks one value against the setting's type and range.
    pub fn validate(&self, value: &str) -> Result<(), ConfigError> {
        let (ok, expected) = match self.check {
            Check::Integer { min, max } => (
                value.trim().parse::<i64>().is_ok_and(|v| v >= min && v <= max),
                format!("a whole number from {min} to {max}"),
            ),
            Check::Ratio => (
                value.trim().parse::<f64>().is_ok_and(|v| (0.0..=1.0).contains(&v)),
                "a number from 0 to 1".to_owned(),
            ),
            Check::OneOf(allowed) => (allowed.contains(&value), format!("one of {}", allowed.join(", "))),
            Check::ListOf(allowed) => (
                !value.is_empty() && value.split(',').all(|v| allowed.contains(&v.trim())),
                format!("a list of {}", allowed.join(", ")),
            ),
        };
        match ok {
            true => Ok(()),
            false => Err(ConfigError::Invalid { name: self.name, value: value.to_owned(), expected }),
        }
    }
}

impl Default for TopicConfig {
    fn default() -> Self {
        Self::effective(&BTreeMap::new(), &BTreeMap::new())
    }
}

impl TopicConfig {
    /// Refuses an unknown name or an illegal value.
    pub fn validate(overrides: &ConfigOverrides) -> Result<(), ConfigError> {
        for (name, value) in overrides {
            ConfigDefinition::find(name)
                .ok_or_else(|| ConfigError::Unknown(name.clone()))?
                .validate(value)?;
        }
        let config = Self::effective(overrides, &BTreeMap::new());
        match config.min_compaction_lag_ms > config.max_compaction_lag_ms {
            true => Err(ConfigError::Invalid {
                name: "max.compaction.lag.ms",
                value: config.max_compaction_lag_ms.to_string(),
                expected: format!("at least min.compaction.lag.ms, {}", config.min_compaction_lag_ms),
            }),
            false => Ok(()),
        }
    }

    /// A segment rolls when its first record is older than this: in time for its compaction, where there is one.
    pub fn segment_age_ms_max(&self) -> i64 {
        match self.cleanup_policy.compact {
            true => self.segment_ms.min(self.max_compaction_lag_ms),
            false => self.segment_ms,
        }
    }

    /// The settings in force: the topic's over the cluster's over the defaults. An illegal override, which
    /// [`TopicConfig::validate`] would have refused, counts as not set.
    pub fn effective(topic: &ConfigOverrides, cluster: &ConfigOverrides) -> Self {
        let text = |name: &str| -> &str {
            let definition = ConfigDefinition::find(name).expect("asked for by its name in this file");
            [topic.get(name), cluster.get(name)]
                .into_iter()
                .flatten()
                .find(|v| definition.validate(v).is_ok())
                .map_or(definition.default, |v| v.trim())
        };
        let long = |name: &str| text(name).parse::<i64>().expect("validated");
        let ratio = |name: &str| text(name).parse::<f64>().expect("validated");
        let small = |name: &str| u32::try_from(long(name)).expect("validated");
        let unless_max = |name: &str| Some(long(name)).filter(|v| *v != i64::MAX);
        let unless_negative = |name: &str| Some(long(name)).filter(|v| *v >= 0);
        let policy = text("cleanup.policy");
        Self {
            cleanup_policy: CleanupPolicy {
                delete: policy.split(',').any(|p| p.trim() == "delete"),
                compact: policy.split(',').any(|p| p.trim() == "compact"),
            },
            segment_bytes: small("segment.bytes"),
            segment_ms: long("segment.ms"),
            min_cleanable_dirty_ppm: (ratio("min.cleanable.dirty.ratio") * 1_000_000.0) as u32,
            min_compaction_lag_ms: long("min.compaction.lag.ms"),
            max_compaction_lag_ms: long("max.compaction.lag.ms"),
            delete_retention_ms: long("delete.retention.ms"),
            retention_ms: unless_negative("retention.ms"),
            retention_bytes: unless_negative("retention.bytes"),
            index_interval_bytes: small("index.interval.bytes"),
            max_message_bytes: small("max.message.bytes"),
            min_insync_replicas: i32::try_from(long("min.insync.replicas")).expect("validated"),
            timestamp_type: match text("message.timestamp.type") {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            flush_messages: unless_max("flush.messages"),
            flush_ms: unless_max("flush.ms"),
            unclean_leader_election: text("unclean.leader.election.enable") == "true",
            file_delete_delay_ms: long("file.delete.delay.ms"),
            message_timestamp_after_max_ms: long("message.timestamp.after.max.ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(&str, &str)]) -> ConfigOverrides {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn defaults_pass_their_own_checks_and_stand_in_order() {
        for definition in topic_config_definitions() {
            assert_eq!(definition.validate(definition.default), Ok(()), "{}", definition.name);
        }
        assert!(topic_config_definitions().windows(2).all(|w| w[0].name < w[1].name));
    }

    #[test]
    fn a_topic_overrides_the_cluster_which_overrides_the_default() {
        let config = TopicConfig::effective(
            &set(&[("retention.ms", "-1")]),
            &set(&[("retention.ms", "5"), ("segment.bytes", "1000")]),
        );
        assert_eq!((config.retention_ms, config.segment_bytes, config.segment_ms), (None, 1000, 604_800_000));
    }

    #[test]
    fn a_wrong_setting_is_named() {
        assert_eq!(
            TopicConfig::validate(&set(&[("retention.sm", "1")])).unwrap_err().to_string(),
            "unknown topic config 'retention.sm'"
        );
        assert_eq!(
            TopicConfig::validate(&set(&[("segment.bytes", "ten")])).unwrap_err().to_string(),
            "topic config segment.bytes: 'ten' is not a whole number from 14 to 2147483647"
        );
        assert!(TopicConfig::validate(&set(&[("cleanup.policy", "compact, delete")])).is_ok());
        assert!(TopicConfig::validate(&set(&[("cleanup.policy", "shred")])).is_err());
        for ratio in ["1.5", "-0.1", "NaN", "much"] {
            assert!(TopicConfig::validate(&set(&[("min.cleanable.dirty.ratio", ratio)])).is_err(), "{ratio}");
        }
        let lags = set(&[("min.compaction.lag.ms", "11"), ("max.compaction.lag.ms", "10")]);
        assert_eq!(
            TopicConfig::validate(&lags).unwrap_err().to_string(),
            "topic config max.compaction.lag.ms: '10' is not at least min.compaction.lag.ms, 11"
        );
    }

    #[test]
    fn only_a_compacted_topics_segments_roll_for_their_compaction() {
        let lag = ("max.compaction.lag.ms", "1000");
        let of = |pairs: &[_]| TopicConfig::effective(&set(pairs), &BTreeMap::new()).segment_age_ms_max();
        assert_eq!(of(&[lag]), 604_800_000);
        assert_eq!(of(&[lag, ("cleanup.policy", "compact")]), 1_000);
        let config = TopicConfig::effective(&set(&[("min.cleanable.dirty.ratio", "0.01")]), &BTreeMap::new());
        assert_eq!(config.min_cleanable_dirty_ppm, 10_000);
    }
}
