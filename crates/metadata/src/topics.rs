use std::{collections::BTreeSet, sync::Arc};

use domain::{LeaderEpoch, NodeId, PartitionIndex, TopicConfig, TopicName};

use crate::{
    Applied, Changes, Image, Partition, Refusal, RefusalKind, Topic, TopicSpec, internal,
    placement::{Load, Site, place},
    settle::{Rules, Wish},
};

/// More partitions than this are not made by one command (as Kafka's limit on excessively large operations).
const PARTITIONS_PER_COMMAND_MAX: i32 = 20_000;
/// What a topic gets that asks for no replication factor, if there are as many active nodes.
pub const REPLICATION_FACTOR_DEFAULT: usize = 3;

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
        internal::check_configs(&spec.name, &spec.configs)?;
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
        internal::refuse_deletion(name)?;
        let topic = self.topics.remove(name).ok_or_else(|| unknown_topic(name))?;
        self.topic_names.remove(&topic.id);
        for partition in &topic.partitions {
            self.count_replicas(&partition.replicas, Load::less);
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
        internal::refuse_growth(name)?;
        let topic = self.topics.get(name).ok_or_else(|| unknown_topic(name))?.clone();
        let now = topic.partitions.len() as i32;
        if count <= now {
            let message = format!("topic '{name}' has {now} partitions, {count} is not more");
            return Err(Refusal::new(RefusalKind::InvalidPartitions, message));
        }
        let added = count - now;
        let replicas = match assignments {
            [] => self.place_new(added, topic.replication_factor(), Some(&topic))?,
            given if given.len() as i32 == added => {
                self.check_assignments(given, Some(topic.replication_factor()))?
            }
            given => {
                let message = format!("{added} partitions are added, {} assignments were given", given.len());
                return Err(Refusal::new(RefusalKind::InvalidReplicaAssignment, message));
            }
        };
        let topic = self.grow(Topic::clone(&topic), replicas, changes);
        Ok(topic.created())
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
            return self.check_assignments(&spec.assignments, None);
        }
        let active = self.placeable_nodes().count();
        let factor = match spec.replication_factor {
            None | Some(-1) => active.clamp(1, REPLICATION_FACTOR_DEFAULT),
            Some(factor) => usize::try_from(factor).ok().filter(|f| *f > 0).ok_or_else(|| {
                let message = format!("replication factor {factor} is not positive");
                Refusal::new(RefusalKind::InvalidReplicationFactor, message)
            })?,
        };
        self.place_new(spec.partitions.unwrap_or(1), factor, None)
    }

    /// Places new partitions, of the topic if it exists already.
    fn place_new(
        &self,
        count: i32,
        factor: usize,
        topic: Option<&Topic>,
    ) -> Result<Vec<Vec<NodeId>>, Refusal> {
        within_limits(count)?;
        let leads = |node: NodeId| {
            let partitions = topic.into_iter().flat_map(|t| &t.partitions);
            partitions.filter(|p| p.replicas.first() == Some(&node)).count() as u32
        };
        let site =
            |n: &Arc<crate::Node>| Site { node: n.id, rack: n.rack.clone(), preferred_here: leads(n.id) };
        let sites: Vec<Site> = self.placeable_nodes().map(site).collect();
        if sites.len() < factor {
            let message = format!(
                "replication factor {factor} needs {factor} active storage nodes, there are {}",
                sites.len()
            );
            return Err(Refusal::new(RefusalKind::InvalidReplicationFactor, message));
        }
        Ok(place(&sites, &self.loads, count as usize, factor))
    }

    /// The replica lists as they were given, if they fit: active nodes, each named once, all lists of one
    /// length.
    fn check_assignments(
        &self,
        assignments: &[Vec<NodeId>],
        factor: Option<usize>,
    ) -> Result<Vec<Vec<NodeId>>, Refusal> {
        within_limits(i32::try_from(assignments.len()).unwrap_or(i32::MAX))?;
        let refuse = |message: String| Err(Refusal::new(RefusalKind::InvalidReplicaAssignment, message));
        let factor = factor.or_else(|| assignments.first().map(Vec::len)).unwrap_or(0);
        for replicas in assignments {
            if replicas.is_empty() {
                return refuse("replica assignment names no node".to_owned());
            }
            if replicas.len() != factor {
                return refuse(format!(
                    "replica assignment names {} nodes, not {factor} as the others",
                    replicas.len()
                ));
            }
            if replicas.iter().collect::<BTreeSet<_>>().len() != replicas.len() {
                return refuse("replica assignment names a node twice".to_owned());
            }
            if let Some(unknown) = replicas.iter().find(|n| !self.is_active(**n)) {
                return refuse(format!("replica assignment names node {unknown}, which is not active"));
            }
        }
        Ok(assignments.to_vec())
    }

    fn grow(&mut self, topic: Topic, replicas: Vec<Vec<NodeId>>, changes: &mut Changes) -> Arc<Topic> {
        changes.partitions.entry(topic.name.clone()).or_default();
        let rules = Rules::new(self, &topic);
        let partitions: Vec<Partition> = replicas.into_iter().map(|r| first_state(&rules, r)).collect();
        let mut topic = topic;
        for partition in partitions {
            self.count_replicas(&partition.replicas, Load::more);
            changes.partition(&topic.name, PartitionIndex(topic.partitions.len() as i32));
            topic.partitions.push_back(partition);
        }
        let topic = Arc::new(topic);
        self.topic_names.insert(topic.id, topic.name.clone());
        self.topics.insert(topic.name.clone(), topic.clone());
        topic
    }
}

/// A partition that nobody has led yet: all its replicas are empty, so all are in sync.
fn first_state(rules: &Rules<'_>, replicas: Vec<NodeId>) -> Partition {
    let unled = Partition {
        isr: replicas.clone(),
        replicas,
        leader_epoch: LeaderEpoch::UNKNOWN,
        ..Partition::default()
    };
    let wish = Wish { reconfigured: true, ..Wish::default() };
    rules.settle(&unled, &wish).unwrap_or(unled)
}

impl Topic {
    /// Partition 0's, as it will be when a reassignment of it is complete.
    fn replication_factor(&self) -> usize {
        self.partitions.get(0).map_or(0, |p| p.target_replicas().len())
    }

    fn created(&self) -> Applied {
        Applied::TopicCreated {
            id: self.id,
            partitions: self.partitions.len() as i32,
            replication_factor: i16::try_from(self.replication_factor()).unwrap_or(i16::MAX),
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

pub(crate) fn unknown_topic(name: &TopicName) -> Refusal {
    Refusal::new(RefusalKind::UnknownTopic, format!("topic '{name}' does not exist"))
}
