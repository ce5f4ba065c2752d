use std::sync::Arc;

use domain::{ConfigOverrides, TopicName};

use crate::{
    Applied, Changes, ConfigChange, ConfigOperation, Image, Refusal, RefusalKind, Topic, internal,
    settle::Wish, topics::unknown_topic,
};

impl Image {
    /// Changes settings, and in the same step what they decide of partitions: the smallest ISR, and who may
    /// lead.
    pub(crate) fn alter_configs(
        &mut self,
        topic: Option<&TopicName>,
        config_changes: &[ConfigChange],
        changes: &mut Changes,
    ) -> Result<Applied, Refusal> {
        let Some(name) = topic else {
            self.cluster_configs = altered(&self.cluster_configs, config_changes)?;
            changes.cluster = true;
            self.settle_where(|_, _, _| Some(reconfigured()), changes);
            return Ok(Applied::Done);
        };
        let topic = self.topics.get(name).ok_or_else(|| unknown_topic(name))?;
        let configs = altered(&topic.configs, config_changes)?;
        internal::check_configs(name, &configs)?;
        let topic = Topic { configs, ..Topic::clone(topic) };
        self.topics.insert(name.clone(), Arc::new(topic));
        changes.partitions.entry(name.clone()).or_default();
        self.settle_where(|topic, _, _| (topic.name == *name).then(reconfigured), changes);
        Ok(Applied::Done)
    }
}

fn reconfigured() -> Wish {
    Wish { reconfigured: true, ..Wish::default() }
}

/// All changes or none.
fn altered(configs: &ConfigOverrides, changes: &[ConfigChange]) -> Result<ConfigOverrides, Refusal> {
    let invalid = |message: String| Refusal::new(RefusalKind::InvalidConfig, message);
    let mut configs = configs.clone();
    for change in changes {
        let definition = domain::ConfigDefinition::find(&change.name)
            .ok_or_else(|| invalid(format!("unknown topic config '{}'", change.name)))?;
        let listed = |configs: &ConfigOverrides| -> Vec<String> {
            let now = configs.get(&change.name).map_or(definition.default, String::as_str);
            now.split(',').map(|v| v.trim().to_owned()).filter(|v| !v.is_empty()).collect()
        };
        let value = match &change.operation {
            ConfigOperation::Delete => {
                configs.remove(&change.name);
                continue;
            }
            ConfigOperation::Set(value) => value.clone(),
            ConfigOperation::Append(_) | ConfigOperation::Subtract(_)
                if definition.config_type != domain::ConfigType::List =>
            {
                return Err(invalid(format!("topic config {} is not a list", change.name)));
            }
            ConfigOperation::Append(value) => {
                let mut list = listed(&configs);
                list.extend(
                    value
                        .split(',')
                        .map(|v| v.trim().to_owned())
                        .filter(|v| !list.contains(v))
                        .collect::<Vec<_>>(),
                );
                list.join(",")
            }
            ConfigOperation::Subtract(value) => {
                let gone: Vec<&str> = value.split(',').map(str::trim).collect();
                listed(&configs)
                    .into_iter()
                    .filter(|v| !gone.contains(&v.as_str()))
                    .collect::<Vec<_>>()
                    .join(",")
            }
        };
        definition.validate(&value).map_err(|e| invalid(e.to_string()))?;
        configs.insert(change.name.clone(), value);
    }
    Ok(configs)
}
