use crate::ConfigDefinition;

/// What a setting of topics is called where it is set for all of them, which is a setting of brokers in Kafka. The others
/// have one name.
const BROKER_NAMES: [(&str, &str); 17] = [
    ("compression.type", "compression.type"),
    ("log.cleaner.delete.retention.ms", "delete.retention.ms"),
    ("log.cleaner.max.compaction.lag.ms", "max.compaction.lag.ms"),
    ("log.cleaner.min.cleanable.ratio", "min.cleanable.dirty.ratio"),
    ("log.cleaner.min.compaction.lag.ms", "min.compaction.lag.ms"),
    ("log.cleanup.policy", "cleanup.policy"),
    ("log.flush.interval.messages", "flush.messages"),
    ("log.flush.interval.ms", "flush.ms"),
    ("log.index.interval.bytes", "index.interval.bytes"),
    ("log.message.timestamp.after.max.ms", "message.timestamp.after.max.ms"),
    ("log.message.timestamp.type", "message.timestamp.type"),
    ("log.retention.bytes", "retention.bytes"),
    ("log.retention.ms", "retention.ms"),
    ("log.roll.ms", "segment.ms"),
    ("log.segment.bytes", "segment.bytes"),
    ("log.segment.delete.delay.ms", "file.delete.delay.ms"),
    ("message.max.bytes", "max.message.bytes"),
];

impl ConfigDefinition {
    /// What brokers call it.
    pub fn broker_name(&self) -> &'static str {
        BROKER_NAMES.iter().find(|(_, topic)| *topic == self.name).map_or(self.name, |(broker, _)| broker)
    }

    /// By either name.
    pub fn find_for_brokers(name: &str) -> Option<&'static ConfigDefinition> {
        let topic = BROKER_NAMES.iter().find(|(broker, _)| *broker == name).map_or(name, |(_, topic)| topic);
        Self::find(topic)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_has_names_of_its_own_for_the_settings_of_topics() {
        let broker_name = |name| ConfigDefinition::find(name).unwrap().broker_name();
        assert_eq!(broker_name("max.message.bytes"), "message.max.bytes");
        assert_eq!(broker_name("min.insync.replicas"), "min.insync.replicas");
        let topic_name = |name| ConfigDefinition::find_for_brokers(name).map(|d| d.name);
        assert_eq!(topic_name("log.retention.ms"), Some("retention.ms"));
        assert_eq!(topic_name("retention.ms"), Some("retention.ms"));
        assert_eq!(topic_name("log.retention"), None);
        for (_, topic) in BROKER_NAMES {
            assert!(ConfigDefinition::find(topic).is_some(), "{topic}");
        }
    }
}
