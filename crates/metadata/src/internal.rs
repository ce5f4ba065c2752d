//! What nobody may do to the topic that groups keep their positions in, whichever way they come: all positions of all groups
//! would be gone at once, or elsewhere than where they are looked for.

use domain::{ConfigOverrides, OFFSETS_TOPIC, TopicConfig, TopicName};

use crate::{Refusal, RefusalKind};

/// It is not deleted.
pub(crate) fn refuse_deletion(name: &TopicName) -> Result<(), Refusal> {
    refuse(name, "cannot be deleted: the positions of all consumer groups are in it")
}

/// It does not grow: a group's partition follows from its name and their number.
pub(crate) fn refuse_growth(name: &TopicName) -> Result<(), Refusal> {
    refuse(name, "cannot get more partitions: consumer groups would be looked for in others than they are in")
}

/// It is compacted, and nothing is deleted because of its age: a position is the last record of its key however old it is.
pub(crate) fn check_configs(name: &TopicName, configs: &ConfigOverrides) -> Result<(), Refusal> {
    if name.as_str() != OFFSETS_TOPIC {
        return Ok(());
    }
    // What the cluster's defaults are may change later.
    let policy = TopicConfig::effective(configs, &ConfigOverrides::new()).cleanup_policy;
    match policy.compact && !policy.delete {
        true => Ok(()),
        false => Err(Refusal::new(
            RefusalKind::InvalidConfig,
            format!(
                "topic '{name}' needs cleanup.policy=compact: the positions of all consumer groups are in it"
            ),
        )),
    }
}

fn refuse(name: &TopicName, why: &str) -> Result<(), Refusal> {
    match name.as_str() == OFFSETS_TOPIC {
        true => Err(Refusal::new(RefusalKind::PolicyViolation, format!("topic '{name}' {why}"))),
        false => Ok(()),
    }
}
