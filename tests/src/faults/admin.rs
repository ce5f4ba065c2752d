use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use bytes::Bytes;
use transport::ClientPool;
use wire::{
    StrBytes, WireTopicName,
    messages::{
        CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, FindCoordinatorRequest, GroupId,
        ListOffsetsRequest, MetadataRequest, MetadataResponse, OffsetFetchRequest,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
        delete_topics_request::DeleteTopicState,
        fetch_request::{FetchPartition, FetchTopic},
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        metadata_request::MetadataRequestTopic,
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    },
};

/// A client of the whole cluster that sees what libraries hide: leader epochs, ISRs, high watermarks.
#[derive(Clone)]
pub struct Admin {
    pool: ClientPool,
    bootstrap: Vec<String>,
}

/// A partition, as the node that knows it best describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionView {
    /// -1: none.
    pub leader: i32,
    pub leader_epoch: i32,
    pub replicas: BTreeSet<i32>,
    pub isr: BTreeSet<i32>,
}

/// One topic.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub partitions: BTreeMap<i32, PartitionView>,
    /// `host:port` by node id.
    pub nodes: BTreeMap<i32, String>,
}

/// What a Fetch says about one partition.
#[derive(Clone, Debug)]
pub struct Fetched {
    pub partition: i32,
    pub error_code: i16,
    pub high_watermark: i64,
    pub records: Bytes,
}

/// Where a partition is asked about: its leader epoch as the client knows it, and an offset or a timestamp.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub partition: i32,
    pub leader_epoch: i32,
    pub at: i64,
}

/// The timestamp that stands for the first offset in ListOffsets.
pub const EARLIEST: i64 = -2;
/// And for the high watermark.
pub const LATEST: i64 = -1;

const WITHIN: Duration = Duration::from_millis(1500);

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

impl View {
    /// Takes in another node's view: the newer leader epoch is right, and of one epoch the smaller ISR is believed.
    pub fn merge(&mut self, other: Self) {
        self.nodes.extend(other.nodes);
        for (index, theirs) in other.partitions {
            match self.partitions.get_mut(&index) {
                Some(ours) if ours.leader_epoch > theirs.leader_epoch => {}
                Some(ours) if ours.leader_epoch == theirs.leader_epoch => {
                    ours.isr = ours.isr.intersection(&theirs.isr).copied().collect();
                    if theirs.leader < 0 {
                        ours.leader = -1;
                    }
                }
                _ => drop(self.partitions.insert(index, theirs)),
            }
        }
    }

    /// Whether every partition has a leader and all its replicas are in sync.
    pub fn is_whole(&self) -> bool {
        !self.partitions.is_empty() && self.partitions.values().all(|p| p.leader >= 0 && p.isr == p.replicas)
    }

    /// Members of ISRs, of all replicas.
    pub fn in_sync(&self) -> (usize, usize) {
        let sum = |count: fn(&PartitionView) -> usize| self.partitions.values().map(count).sum();
        (sum(|p| p.isr.len()), sum(|p| p.replicas.len()))
    }

    /// The partitions of each leader, with its address.
    pub fn by_leader(&self) -> BTreeMap<String, Vec<(i32, i32)>> {
        let mut all: BTreeMap<String, Vec<(i32, i32)>> = BTreeMap::new();
        for (index, partition) in &self.partitions {
            if let Some(address) = self.nodes.get(&partition.leader) {
                all.entry(address.clone()).or_default().push((*index, partition.leader_epoch));
            }
        }
        all
    }

    fn of(answer: MetadataResponse, topic: &str) -> anyhow::Result<Self> {
        let nodes =
            answer.brokers.iter().map(|b| (b.node_id.0, format!("{}:{}", &*b.host, b.port))).collect();
        let found = answer.topics.iter().find(|t| t.name.as_ref().is_some_and(|n| &*n.0 == topic));
        let Some(found) = found else { bail!("the answer does not have the topic") };
        ensure!(found.error_code == 0, "Metadata of {topic}: error {}", found.error_code);
        let partitions = found.partitions.iter().map(|p| {
            let set = |ids: &[wire::BrokerId]| ids.iter().map(|id| id.0).collect();
            let view = PartitionView {
                leader: p.leader_id.0,
                leader_epoch: p.leader_epoch,
                replicas: set(&p.replica_nodes),
                isr: set(&p.isr_nodes),
            };
            (p.partition_index, view)
        });
        Ok(Self { partitions: partitions.collect(), nodes })
    }
}

impl Admin {
    pub fn new(bootstrap: Vec<String>) -> Self {
        Self { pool: ClientPool::new("faults"), bootstrap }
    }

    pub fn bootstrap(&self) -> String {
        self.bootstrap.join(",")
    }

    /// Creates a topic and waits until every partition has a leader and a full ISR.
    ///
    /// # Errors
    /// It was refused, or is not whole within 60 s.
    pub async fn create_topic(
        &self,
        topic: &str,
        partitions: i32,
        replication_factor: i16,
        configs: &[(&str, String)],
    ) -> anyhow::Result<View> {
        let config = |(key, value): &(&str, String)| {
            CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
        };
        let wanted = CreatableTopic::default()
            .with_name(WireTopicName(text(topic)))
            .with_num_partitions(partitions)
            .with_replication_factor(replication_factor)
            .with_configs(configs.iter().map(config).collect());
        let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(60_000);
        let answer = self.pool.call(&self.bootstrap[0], request, Duration::from_secs(60)).await?;
        let answer = &answer.topics[0];
        let said = answer.error_message.as_ref().map(|m| m.to_string()).unwrap_or_default();
        ensure!(answer.error_code == 0, "creating {topic}: error {} {said}", answer.error_code);
        self.whole(topic, Duration::from_secs(60)).await
    }

    /// # Errors
    /// It was refused.
    pub async fn delete_topic(&self, topic: &str) -> anyhow::Result<()> {
        let named = DeleteTopicState::default().with_name(Some(WireTopicName(text(topic))));
        let request = DeleteTopicsRequest::default().with_timeout_ms(30_000).with_topics(vec![named]);
        let answer = self.pool.call(&self.bootstrap[0], request, Duration::from_secs(30)).await?;
        ensure!(answer.responses[0].error_code == 0, "deleting {topic}: {}", answer.responses[0].error_code);
        Ok(())
    }

    /// What all nodes that answer know of a topic.
    ///
    /// # Errors
    /// None answers.
    pub async fn view(&self, topic: &str) -> anyhow::Result<View> {
        let asked: Vec<_> = self
            .bootstrap
            .iter()
            .map(|address| {
                let (pool, address, topic) = (self.pool.clone(), address.clone(), topic.to_owned());
                tokio::spawn(async move {
                    let named = MetadataRequestTopic::default().with_name(Some(WireTopicName(text(&topic))));
                    let request = MetadataRequest::default()
                        .with_topics(Some(vec![named]))
                        .with_allow_auto_topic_creation(false);
                    let answer = pool.call_up_to(&address, request, 9, WITHIN).await?;
                    View::of(answer, &topic)
                })
            })
            .collect();
        let mut all = View::default();
        let mut last = None;
        for asked in asked {
            match asked.await? {
                Ok(view) => all.merge(view),
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) if all.partitions.is_empty() => Err(error),
            _ => Ok(all),
        }
    }

    /// Waits until every partition has a leader and a full ISR.
    ///
    /// # Errors
    /// Not within the time; which are not.
    pub async fn whole(&self, topic: &str, within: Duration) -> anyhow::Result<View> {
        let deadline = Instant::now() + within;
        loop {
            let view = self.view(topic).await;
            if let Ok(view) = view.as_ref()
                && view.is_whole()
            {
                return Ok(view.clone());
            }
            if Instant::now() >= deadline {
                let view = view?;
                let lacking = view.partitions.iter().filter(|(_, p)| p.leader < 0 || p.isr != p.replicas);
                let lacking: Vec<String> = lacking
                    .map(|(n, p)| format!("{n}: leader {} isr {:?} of {:?}", p.leader, p.isr, p.replicas))
                    .collect();
                bail!("not whole after {within:?}: partition {}", lacking.join("; partition "));
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// The committed positions of a group, from whichever node says that it coordinates it.
    ///
    /// # Errors
    /// None does.
    pub async fn committed(
        &self,
        group: &str,
        topic: &str,
        partitions: i32,
    ) -> anyhow::Result<BTreeMap<i32, i64>> {
        for address in &self.bootstrap {
            let asked = OffsetFetchRequestTopics::default()
                .with_name(WireTopicName(text(topic)))
                .with_partition_indexes((0..partitions).collect());
            let of_group = OffsetFetchRequestGroup::default()
                .with_group_id(GroupId(text(group)))
                .with_member_epoch(-1)
                .with_topics(Some(vec![asked]));
            let request = OffsetFetchRequest::default().with_groups(vec![of_group]);
            let Ok(answer) = self.pool.call(address, request, WITHIN).await else { continue };
            let Some(told) = answer.groups.into_iter().next().filter(|g| g.error_code == 0) else { continue };
            let partitions = told.topics.into_iter().flat_map(|t| t.partitions);
            return Ok(partitions.map(|p| (p.partition_index, p.committed_offset)).collect());
        }
        bail!("nobody says that it coordinates {group}")
    }

    /// The node that coordinates a group, as the first one says that knows.
    pub async fn coordinator(&self, group: &str) -> Option<i32> {
        for address in &self.bootstrap {
            let request = FindCoordinatorRequest::default().with_coordinator_keys(vec![text(group)]);
            let Ok(answer) = self.pool.call(address, request, WITHIN).await else { continue };
            if let Some(found) = answer.coordinators.first().filter(|c| c.error_code == 0) {
                return Some(found.node_id.0);
            }
        }
        None
    }

    /// The offset for the timestamp in `at`, or the error code, of each partition.
    ///
    /// # Errors
    /// No answer.
    pub async fn list_offsets(
        &self,
        address: &str,
        topic: &str,
        places: &[Place],
    ) -> anyhow::Result<Vec<(i32, Result<i64, i16>)>> {
        let partition = |place: &Place| {
            ListOffsetsPartition::default()
                .with_partition_index(place.partition)
                .with_current_leader_epoch(place.leader_epoch)
                .with_timestamp(place.at)
        };
        let topic = ListOffsetsTopic::default()
            .with_name(WireTopicName(text(topic)))
            .with_partitions(places.iter().map(partition).collect());
        let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
        let answer = self.pool.call(address, request, WITHIN).await?;
        let partitions = answer.topics.into_iter().flat_map(|t| t.partitions);
        let told = partitions.map(|p| match p.error_code {
            0 => (p.partition_index, Ok(p.offset)),
            code => (p.partition_index, Err(code)),
        });
        Ok(told.collect())
    }

    /// One fetch without a session, of what is there now.
    ///
    /// # Errors
    /// No answer.
    pub async fn fetch(
        &self,
        address: &str,
        topic: &str,
        places: &[Place],
        bytes_max: i32,
    ) -> anyhow::Result<Vec<Fetched>> {
        let partition = |place: &Place| {
            FetchPartition::default()
                .with_partition(place.partition)
                .with_fetch_offset(place.at)
                .with_current_leader_epoch(place.leader_epoch)
                .with_partition_max_bytes(bytes_max)
        };
        let topic = FetchTopic::default()
            .with_topic(WireTopicName(text(topic)))
            .with_partitions(places.iter().map(partition).collect());
        let request = FetchRequest::default()
            .with_max_wait_ms(0)
            .with_max_bytes(bytes_max)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        // By name: newer versions go by topic id.
        let answer = self.pool.call_up_to(address, request, 12, Duration::from_secs(5)).await?;
        ensure!(answer.error_code == 0, "fetch from {address}: error {}", answer.error_code);
        let partitions = answer.responses.into_iter().flat_map(|t| t.partitions);
        let fetched = partitions.map(|p| Fetched {
            partition: p.partition_index,
            error_code: p.error_code,
            high_watermark: p.high_watermark,
            records: p.records.unwrap_or_default(),
        });
        Ok(fetched.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(leader: i32, leader_epoch: i32, isr: &[i32]) -> View {
        let (replicas, isr) = ([0, 1, 2].into(), isr.iter().copied().collect());
        let partition = PartitionView { leader, leader_epoch, replicas, isr };
        View { partitions: BTreeMap::from([(0, partition)]), nodes: BTreeMap::new() }
    }

    fn merged(one: View, other: View) -> PartitionView {
        let mut view = one;
        view.merge(other);
        view.partitions.remove(&0).unwrap()
    }

    #[test]
    fn a_newer_leader_epoch_is_believed_whoever_says_it() {
        for (one, other) in
            [(view(0, 1, &[0, 1, 2]), view(1, 2, &[1])), (view(1, 2, &[1]), view(0, 1, &[0, 1, 2]))]
        {
            let partition = merged(one, other);
            assert_eq!((partition.leader, partition.isr), (1, [1].into()));
        }
    }

    #[test]
    fn of_one_epoch_the_smaller_isr_is_believed() {
        assert_eq!(merged(view(0, 1, &[0, 1, 2]), view(0, 1, &[0, 2])).isr, [0, 2].into());
        assert!(view(0, 1, &[0, 1, 2]).is_whole());
        assert!(!view(0, 1, &[0, 1]).is_whole());
        assert!(!view(-1, 1, &[0, 1, 2]).is_whole());
    }
}
