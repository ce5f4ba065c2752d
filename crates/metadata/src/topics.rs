use std::sync::Arc;

use domain::{ConfigOverrides, NodeId, PartitionIndex, TopicConfig, TopicName};

use crate::{
    Applied, Changes, ConfigChange, ConfigOperation, Image, Partition, Refusal, RefusalKind, Topic,
    TopicSpec, placement::place,
};

/// More partitions than this are not made by one command (as Kafka's limit on excessively large operations).
const PARTITIONS_PER_COMMAND_MAX: i32 = 20_000;

type Answer = Result<Applied, Refusal>;

impl Image {
    pub(crate) fn create_topic(&mut self, spec: &TopicSpec, changes: &mut Changes) -> Answer {
        if let Some(known) = self.topics.get(&spec.name) {
            // The same id: the first answer was lost and this is the same request again.
            return match known.id == spec.id {
                true => Ok(known.created()),
                false => Err(Refusal::new(
                    RefusalKind::TopicExists,
                    format!("topic '{}' already exists", spec.name),
                )),
            };
        }
        if self.topic_names.contains_key(&spec.id) {
            let message = format!("topic id {} belongs to another topic", spec.id);
            return Err(Refusal::new(RefusalKind::InvalidRequest, message));
        }
        self.refuse_colliding_name(&spec.name)?;
        TopicConfig::validate(&spec.configs)
            .map_err(|e| Refusal::new(RefusalKind::InvalidConfig, e.to_string()))?;
        let replicas = self.replicas_for(spec)?;
        let topic = Topic {
            id: spec.id,
            name: spec.name.clone(),
            configs: spec.configs.clone(),
            partitions: Default::default(),
        };
        let topic = self.grow(topic, replicas, changes);
        Ok(topic.created())
    }

    pub(crate) fn delete_topic(&mut self, name: &TopicName, changes: &mut Changes) -> Answer {
        let topic = self.topics.remove(name).ok_or_else(|| unknown_topic(name))?;
        self.topic_names.remove(&topic.id);
        for node in topic.partitions.iter().flat_map(|p| &p.replicas) {
            let count = self.replica_counts.entry(*node).or_insert(0);
            *count = count.saturating_sub(1);
        }
        changes.partitions.remove(name);
        changes.deleted.insert(topic.id, name.clone());
        Ok(Applied::Done)
    }

    pub(crate) fn add_partitions(
        &mut self,
        name: &TopicName,
        count: i32,
        assignments: &[Vec<NodeId>],
        changes: &mut Changes,
    ) -> Answer {
        let topic = self.topics.get(name).ok_or_else(|| unknown_topic(name))?.clone();
        let now = topic.partitions.len() as i32;
        if count <= now {
            let message = format!("topic '{name}' has {now} partitions, {count} is not more");
            return Err(Refusal::new(RefusalKind::InvalidPartitions, message));
        }
        let added = count - now;
        let replicas = match assignments {
            [] => self.place_new(added)?,
            given if given.len() as i32 == added => self.check_assignments(given)?,
            given => {
                let message = format!("{added} partitions are added, {} assignments were given", given.len());
                return Err(Refusal::new(RefusalKind::InvalidReplicaAssignment, message));
            }
        };
        let topic = self.grow(Topic::clone(&topic), replicas, changes);
        Ok(topic.created())
    }

    pub(crate) fn alter_configs(
        &mut self,
        topic: Option<&TopicName>,
        config_changes: &[ConfigChange],
        changes: &mut Changes,
    ) -> Answer {
        let Some(name) = topic else {
            self.cluster_configs = altered(&self.cluster_configs, config_changes)?;
            changes.cluster = true;
            return Ok(Applied::Done);
        };
        let topic = self.topics.get(name).ok_or_else(|| unknown_topic(name))?;
        let configs = altered(&topic.configs, config_changes)?;
        let topic = Topic { configs, ..Topic::clone(topic) };
        self.topics.insert(name.clone(), Arc::new(topic));
        changes.partitions.entry(name.clone()).or_default();
        Ok(Applied::Done)
    }

    /// Kafka's metric names turn `.` into `_`, so it refuses names that differ in nothing else; so do we.
    fn refuse_colliding_name(&self, name: &TopicName) -> Result<(), Refusal> {
        if !name.as_str().contains(['.', '_']) {
            return Ok(());
        }
        let folded = |n: &TopicName| n.as_str().replace('.', "_");
        match self.topics.keys().find(|known| folded(known) == folded(name)) {
            None => Ok(()),
            Some(known) => Err(Refusal::new(
                RefusalKind::InvalidTopicName,
                format!("topic '{name}' collides with existing topic '{known}': only '.' and '_' differ"),
            )),
        }
    }

    fn replicas_for(&self, spec: &TopicSpec) -> Result<Vec<Vec<NodeId>>, Refusal> {
        if !spec.assignments.is_empty() {
            if spec.partitions.is_some() || spec.replication_factor.is_some() {
                let message =
                    "replica assignments were given together with a partition count or replication factor";
                return Err(Refusal::new(RefusalKind::InvalidRequest, message));
            }
            return self.check_assignments(&spec.assignments);
        }
        let factor = spec.replication_factor.unwrap_or(1);
        if factor != 1 {
            return Err(wrong_factor(factor.into()));
        }
        self.place_new(spec.partitions.unwrap_or(1))
    }

    fn place_new(&self, count: i32) -> Result<Vec<Vec<NodeId>>, Refusal> {
        within_limits(count)?;
        let active: Vec<NodeId> = self.active_nodes().map(|n| n.id).collect();
        if active.is_empty() {
            let message = "replication factor 1 needs 1 active storage node, there is none";
            return Err(Refusal::new(RefusalKind::InvalidReplicationFactor, message));
        }
        Ok(place(&active, &self.replica_counts, count as usize))
    }

    fn check_assignments(&self, assignments: &[Vec<NodeId>]) -> Result<Vec<Vec<NodeId>>, Refusal> {
        within_limits(i32::try_from(assignments.len()).unwrap_or(i32::MAX))?;
        for replicas in assignments {
            if replicas.len() != 1 {
                return Err(wrong_factor(replicas.len() as i64));
            }
            if let Some(unknown) = replicas.iter().find(|n| !self.is_active(**n)) {
                let message = format!("replica assignment names node {unknown}, which is not active");
                return Err(Refusal::new(RefusalKind::InvalidReplicaAssignment, message));
            }
        }
        Ok(assignments.to_vec())
    }

    fn grow(&mut self, mut topic: Topic, replicas: Vec<Vec<NodeId>>, changes: &mut Changes) -> Arc<Topic> {
        let active: Vec<NodeId> = self.active_nodes().map(|n| n.id).collect();
        changes.partitions.entry(topic.name.clone()).or_default();
        for replicas in replicas {
            for node in &replicas {
                *self.replica_counts.entry(*node).or_insert(0) += 1;
            }
            let mut partition = Partition::new(replicas);
            partition.elect(&active);
            changes.partition(&topic.name, PartitionIndex(topic.partitions.len() as i32));
            topic.partitions.push_back(partition);
        }
        let topic = Arc::new(topic);
        self.topic_names.insert(topic.id, topic.name.clone());
        self.topics.insert(topic.name.clone(), topic.clone());
        topic
    }
}

impl Topic {
    fn created(&self) -> Applied {
        Applied::TopicCreated {
            id: self.id,
            partitions: self.partitions.len() as i32,
            replication_factor: self.partitions.get(0).map_or(0, |p| p.replicas.len() as i16),
        }
    }
}

fn within_limits(count: i32) -> Result<(), Refusal> {
    if count < 1 {
        let message = format!("partition count {count} is not positive");
        return Err(Refusal::new(RefusalKind::InvalidPartitions, message));
    }
    if count > PARTITIONS_PER_COMMAND_MAX {
        let message = format!("{count} partitions at once are more than {PARTITIONS_PER_COMMAND_MAX}");
        return Err(Refusal::new(RefusalKind::PolicyViolation, message));
    }
    Ok(())
}

fn wrong_factor(factor: i64) -> Refusal {
    let message = format!("replication factor {factor} is not 1, the only one supported so far");
    Refusal::new(RefusalKind::InvalidReplicationFactor, message)
}

fn unknown_topic(name: &TopicName) -> Refusal {
    Refusal::new(RefusalKind::UnknownTopic, format!("topic '{name}' does not exist"))
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
