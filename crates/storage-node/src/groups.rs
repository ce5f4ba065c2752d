//! The coordinators of consumer groups: one for each partition of `__consumer_offsets` that this node leads.

mod config;
mod hearing;
mod load;
mod shard;
mod topic;
mod topics;
mod widen;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use domain::{LeaderEpoch, NodeId, PartitionIndex};
use futures_util::{StreamExt, stream::FuturesUnordered};
use group::{Answer, Call, Caller, GroupConfig, OFFSETS_TOPIC, Token, partition_of};
use metadata::{Delta, Image};
use parking_lot::Mutex;
use rpc::{ControllerClient, WatchedImage};
use tokio::{sync::Notify, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use wire::ResponseError;

pub(crate) use self::config::group_config;
use self::{hearing::Hearing, shard::Shard, topics::KnownTopics};
use crate::{assurance::Assurance, disk::DiskGuard, store::Store};

/// How long a controller has to answer, and how long one that did not is left alone.
const CONTROLLER_ANSWERS: Duration = Duration::from_secs(5);

/// Who asks for positions, or writes them, waits no longer for them to be read.
const LOADED_WITHIN: Duration = Duration::from_secs(10);

/// All coordinators of this node.
pub(crate) struct Groups {
    pub(crate) context: Context,
    store: Arc<Store>,
    controllers: ControllerClient,
    shards: Mutex<BTreeMap<PartitionIndex, Arc<Shard>>>,
    next_token: AtomicU64,
    /// How many partitions the topic gets when the first group needs it.
    partitions: i32,
}

/// What every coordinator uses.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) image: WatchedImage,
    pub(crate) assurance: Arc<Assurance>,
    pub(crate) disk: Arc<DiskGuard>,
    pub(crate) config: GroupConfig,
    topics: Arc<KnownTopics>,
    /// Some coordinator has loaded, or has ended.
    loaded: Arc<Notify>,
    hearing: Arc<Hearing>,
    /// Members of the consumer protocol, with all coordinators of this node.
    consumers: Arc<AtomicUsize>,
}

/// Where a group is coordinated.
pub(crate) enum Coordinator {
    Here(Arc<Shard>),
    Elsewhere(NodeId),
    /// Nobody leads the partition, or there is no such topic yet.
    Nowhere,
    /// This node leads it, and reads it still.
    Loading,
}

impl Groups {
    pub(crate) fn new(
        image: WatchedImage,
        store: Arc<Store>,
        controllers: ControllerClient,
        assurance: Arc<Assurance>,
        disk: Arc<DiskGuard>,
        (config, partitions): (GroupConfig, i32),
    ) -> Self {
        let context = Context {
            image,
            assurance,
            disk,
            config,
            topics: Arc::default(),
            loaded: Arc::default(),
            hearing: Arc::default(),
            consumers: Arc::default(),
        };
        Self {
            context,
            store,
            controllers,
            shards: Mutex::default(),
            next_token: AtomicU64::new(0),
            partitions,
        }
    }

    /// Takes note of what the controller has decided about topics, before anybody sees the image.
    pub(crate) fn follow(&self, image: &Image, delta: &Delta) {
        self.context.topics.follow(image, delta);
    }

    /// Begins and ends coordinators as leaderships come and go, until the token is cancelled.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut changes = self.context.image.changes();
        let mut running = JoinSet::new();
        let listening = self.context.hearing.clone().run(stop.clone());
        tokio::pin!(listening);
        let mut widening = JoinSet::new();
        loop {
            changes.borrow_and_update();
            self.take_up(&mut running, &stop);
            if widening.is_empty() {
                self.widen(&mut widening);
            }
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = widening.join_next(), if !widening.is_empty() => {}
                () = &mut listening => break,
                changed = changes.changed() => if changed.is_err() { break },
                Some(ended) = running.join_next(), if !running.is_empty() => {
                    if let Err(error) = ended {
                        tracing::error!(%error, "a group coordinator panicked");
                    }
                }
            }
        }
        self.shards.lock().values().for_each(|shard| shard.end());
        while running.join_next().await.is_some() {}
    }

    fn take_up(&self, running: &mut JoinSet<()>, stop: &CancellationToken) {
        let led = self.led();
        let mut shards = self.shards.lock();
        shards.retain(|number, shard| {
            let stays = led.get(number).is_some_and(|epoch| *epoch == shard.epoch) && !shard.has_ended();
            if !stays {
                shard.end();
            }
            stays
        });
        let changed = self.context.topics.version();
        for (number, epoch) in led {
            if let Some(shard) = shards.get(&number) {
                shard.topics_may_have_changed(changed);
                continue;
            }
            let Some(partition) = self.store.get(OFFSETS_TOPIC, number) else { continue };
            let shard = Arc::new(Shard::new(partition, epoch, self.context.clone()));
            shards.insert(number, shard.clone());
            running.spawn(shard.run(stop.clone()));
        }
    }

    /// Sees to it that the topic has as many replicas as there are nodes for by now. The node that leads its first partition
    /// does that.
    fn widen(&self, widening: &mut JoinSet<()>) {
        let image = self.context.image.load();
        let leads = |p: &metadata::Partition| p.leader == Some(self.store.node);
        if !image.partition(OFFSETS_TOPIC, PartitionIndex(0)).is_some_and(leads) {
            return;
        }
        let wider = widen::wider(&image);
        if wider.is_empty() {
            return;
        }
        let (controllers, image) = (self.controllers.clone(), self.context.image.clone());
        widening.spawn(async move {
            match controllers.reassign(&wider, CONTROLLER_ANSWERS).await {
                Ok(items) => {
                    tracing::info!(partitions = wider.len(), "gives groups more replicas");
                    image.at_version(items.version, CONTROLLER_ANSWERS).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "groups did not get more replicas yet");
                    tokio::time::sleep(CONTROLLER_ANSWERS).await;
                }
            }
        });
    }

    /// What of the topic this node leads, as its replicas know it.
    fn led(&self) -> BTreeMap<PartitionIndex, LeaderEpoch> {
        let image = self.context.image.load();
        let Some(topic) = image.topics.get(OFFSETS_TOPIC) else { return BTreeMap::new() };
        let mine = topic.numbered().filter(|(_, p)| p.leader == Some(self.store.node));
        mine.filter_map(|(n, _)| Some((n, self.store.get(OFFSETS_TOPIC, n)?.leads()?))).collect()
    }

    /// Where the group is coordinated, as far as is known here.
    pub(crate) fn coordinator(&self, group: &str) -> Coordinator {
        let image = self.context.image.load();
        let Some(topic) = image.topics.get(OFFSETS_TOPIC) else { return Coordinator::Nowhere };
        let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        let number = PartitionIndex(partition_of(group, partitions));
        match topic.partition(number).and_then(|p| p.leader) {
            None => Coordinator::Nowhere,
            Some(leader) if leader != self.store.node => Coordinator::Elsewhere(leader),
            Some(_) => match self.shards.lock().get(&number) {
                Some(shard) if shard.is_loaded() => Coordinator::Here(shard.clone()),
                _ => Coordinator::Loading,
            },
        }
    }

    /// Asks the coordinator of `group`. `None`: the connection had better end, since no answer is known.
    pub(crate) async fn call(&self, group: &str, caller: Caller, call: Call) -> Option<Answer> {
        match self.coordinator_for(group, &call).await {
            Coordinator::Here(shard) => shard.call(caller, call, self.token()).await,
            Coordinator::Loading => Some(call.refused(ResponseError::CoordinatorLoadInProgress)),
            Coordinator::Elsewhere(_) => Some(call.refused(ResponseError::NotCoordinator)),
            Coordinator::Nowhere => Some(call.refused(ResponseError::CoordinatorNotAvailable)),
        }
    }

    /// Who asks for positions waits while they are read: see [`group::offset_fetch::has_moved`]. So does whoever writes them:
    /// not every administrator asks again.
    async fn coordinator_for(&self, group: &str, call: &Call) -> Coordinator {
        let deadline = Instant::now() + LOADED_WITHIN;
        loop {
            let loaded = self.context.loaded.notified();
            tokio::pin!(loaded);
            loaded.as_mut().enable();
            let found = self.coordinator(group);
            let waits = matches!(
                call,
                Call::OffsetFetch(_) | Call::OffsetCommit(_) | Call::OffsetDelete(_) | Call::Session(_)
            ) && matches!(found, Coordinator::Loading);
            if !waits || tokio::time::timeout_at(deadline, loaded).await.is_err() {
                return found;
            }
        }
    }

    /// Asks all coordinators here.
    pub(crate) async fn call_all(&self, caller: &Caller, call: &Call) -> Vec<Answer> {
        let shards: Vec<Arc<Shard>> = self.shards.lock().values().cloned().collect();
        let calls: FuturesUnordered<_> = shards
            .iter()
            .map(|shard| async {
                match shard.is_loaded() {
                    true => shard.call(caller.clone(), call.clone(), self.token()).await,
                    false => Some(call.refused(ResponseError::CoordinatorLoadInProgress)),
                }
            })
            .collect();
        calls.filter_map(std::future::ready).collect().await
    }

    pub(crate) fn config(&self) -> &GroupConfig {
        &self.context.config
    }

    fn token(&self) -> Token {
        Token(self.next_token.fetch_add(1, Ordering::Relaxed))
    }
}
