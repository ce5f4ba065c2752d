//! Members of groups of the consumer protocol that do nothing but to say that they are there.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use domain::PartitionIndex;
use group::{OFFSETS_TOPIC, partition_of};
use rpc::WatchedImage;
use tokio::sync::Semaphore;
use transport::ClientPool;
use wire::{
    ResponseError, StrBytes, WireTopicName,
    messages::{
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, GroupId,
        consumer_group_heartbeat_request::TopicPartitions,
    },
};

use super::pauses::now_ns;

/// What all members share.
pub struct Heartbeats {
    image: WatchedImage,
    pools: Vec<ClientPool>,
    /// So many join at once.
    joining: Semaphore,
    topic: String,
    members: Vec<Member>,
    pub answered: AtomicU64,
    /// By what: answers that say something else than that all is well, and calls without an answer.
    pub refused: AtomicU64,
    pub unanswered: AtomicU64,
    /// Whoever joined again, because it was told that it is no member.
    pub joined_again: AtomicU64,
    /// Whether answer times are kept.
    times: AtomicBool,
    micros: Mutex<Vec<u32>>,
}

#[derive(Default)]
struct Member {
    group: String,
    /// The group's partition of `__consumer_offsets`.
    home: i32,
    owned: AtomicU32,
    interval_ms: AtomicU32,
    answered_ns: AtomicU64,
}

const CALL_MAX: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(100);
const REBALANCE_MS_MAX: i32 = 60_000;

impl Heartbeats {
    /// `groups` groups of `each` members, which use so many connections to each node.
    pub fn new(
        image: WatchedImage,
        topic: &str,
        groups: usize,
        each: usize,
        connections: usize,
    ) -> Arc<Self> {
        let homes = image.load().topics.get(OFFSETS_TOPIC).map_or(1, |t| t.partitions.len() as i32);
        let member = |n: usize| {
            let group = format!("group-{:05}", n / each);
            Member { home: partition_of(&group, homes), group, ..Member::default() }
        };
        Arc::new(Self {
            image,
            pools: (0..connections).map(|_| ClientPool::new("groups-bench")).collect(),
            joining: Semaphore::new(256),
            topic: topic.to_owned(),
            members: (0..groups * each).map(member).collect(),
            answered: AtomicU64::default(),
            refused: AtomicU64::default(),
            unanswered: AtomicU64::default(),
            joined_again: AtomicU64::default(),
            times: AtomicBool::default(),
            micros: Mutex::default(),
        })
    }

    pub fn start(self: &Arc<Self>) -> tokio::task::JoinSet<()> {
        (0..self.members.len()).map(|n| self.clone().live(n)).collect()
    }

    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// How many own this many partitions.
    pub fn owning(&self, partitions: u32) -> usize {
        self.members.iter().filter(|m| m.owned.load(Ordering::Relaxed) == partitions).count()
    }

    /// How often members were told to come, in ms.
    pub fn intervals_ms(&self) -> Vec<f64> {
        self.members.iter().map(|m| f64::from(m.interval_ms.load(Ordering::Relaxed))).collect()
    }

    /// Members whose groups this node coordinates.
    pub fn coordinated_by(&self, node: i32) -> Vec<usize> {
        let image = self.image.load();
        let led =
            |home: i32| image.leader_of(OFFSETS_TOPIC, PartitionIndex(home)).is_some_and(|n| n.id.0 == node);
        (0..self.members.len()).filter(|n| led(self.members[*n].home)).collect()
    }

    /// When each of these was last told that all is well.
    pub fn answered_ns(&self, members: &[usize]) -> Vec<u64> {
        members.iter().map(|n| self.members[*n].answered_ns.load(Ordering::Relaxed)).collect()
    }

    pub fn keep_times(&self, keep: bool) {
        self.times.store(keep, Ordering::Relaxed);
    }

    /// Answer times since they are kept, in ms.
    pub fn take_times_ms(&self) -> Vec<f64> {
        std::mem::take(&mut *self.micros.lock().unwrap()).iter().map(|us| f64::from(*us) / 1e3).collect()
    }

    async fn live(self: Arc<Self>, number: usize) {
        let member = &self.members[number];
        let id = StrBytes::from_string(uuid::Uuid::new_v4().to_string());
        let (mut epoch, mut owned, mut tell) = (0, Vec::new(), true);
        loop {
            let request = self.request(member, &id, epoch, tell.then(|| owned.clone()));
            let answer = {
                // A member that is in says so at once; those that join come one after the other.
                let _turn = match epoch {
                    0 => Some(self.joining.acquire().await.expect("nobody closes it")),
                    _ => None,
                };
                self.call(member, number, request).await
            };
            let Some(answer) = answer else {
                tokio::time::sleep(PAUSE).await;
                // What was lost may have been an assignment.
                tell = true;
                continue;
            };
            epoch = answer.member_epoch;
            tell = false;
            if let Some(assignment) = answer.assignment {
                owned = assignment
                    .topic_partitions
                    .into_iter()
                    .map(|t| {
                        TopicPartitions::default().with_topic_id(t.topic_id).with_partitions(t.partitions)
                    })
                    .collect();
                let count = owned.iter().map(|t| t.partitions.len()).sum::<usize>();
                member.owned.store(count as u32, Ordering::Relaxed);
                // It is where it was told to be, and says so at once, as clients do.
                tell = true;
                continue;
            }
            if epoch == 0 {
                continue;
            }
            tokio::time::sleep(Duration::from_millis(answer.heartbeat_interval_ms as u64)).await;
        }
    }

    fn request(
        &self,
        member: &Member,
        id: &StrBytes,
        epoch: i32,
        owned: Option<Vec<TopicPartitions>>,
    ) -> ConsumerGroupHeartbeatRequest {
        let request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(GroupId(StrBytes::from_string(member.group.clone())))
            .with_member_id(id.clone())
            .with_member_epoch(epoch)
            .with_rebalance_timeout_ms(-1)
            .with_topic_partitions(owned);
        if epoch != 0 {
            return request;
        }
        let topic = WireTopicName(StrBytes::from_string(self.topic.clone()));
        request
            .with_rebalance_timeout_ms(REBALANCE_MS_MAX)
            .with_subscribed_topic_names(Some(vec![topic]))
            .with_topic_partitions(Some(Vec::new()))
    }

    /// An answer that says that all is well; one with epoch 0 if the member is to join again. `None`: try again.
    async fn call(
        &self,
        member: &Member,
        number: usize,
        request: ConsumerGroupHeartbeatRequest,
    ) -> Option<ConsumerGroupHeartbeatResponse> {
        let image = self.image.load();
        let node = image.leader_of(OFFSETS_TOPIC, PartitionIndex(member.home))?;
        let address = format!("{}:{}", node.kafka.host, node.kafka.port);
        let begun = Instant::now();
        let pool = &self.pools[number % self.pools.len()];
        let Ok(answer) = pool.call(&address, request, CALL_MAX).await else {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let error = ResponseError::try_from_code(answer.error_code);
        match error {
            None => {}
            Some(ResponseError::UnknownMemberId | ResponseError::FencedMemberEpoch) => {
                self.joined_again.fetch_add(1, Ordering::Relaxed);
                return Some(ConsumerGroupHeartbeatResponse::default());
            }
            Some(_) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return None;
            }
        }
        self.answered.fetch_add(1, Ordering::Relaxed);
        member.answered_ns.store(now_ns(), Ordering::Relaxed);
        member.interval_ms.store(answer.heartbeat_interval_ms as u32, Ordering::Relaxed);
        if self.times.load(Ordering::Relaxed) {
            self.micros.lock().unwrap().push(begun.elapsed().as_micros() as u32);
        }
        Some(answer)
    }
}
