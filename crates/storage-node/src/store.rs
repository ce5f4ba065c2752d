use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use commitlog::{CheckpointKind, DataDir, DataDirError, FileCache, Log};
use domain::{NodeEpoch, NodeId, Offset, PartitionIndex, TopicConfig, TopicId, TopicName, TopicPartition};
use metadata::{Delta, Image, NodeState, Partition, Topic};
use parking_lot::{Mutex, RwLock};
use replica::{Adopted, PartitionState};

use crate::{
    home::Home,
    partition::{LocalPartition, Points},
    replication::{Fetchers, IsrKeeper, Reports, state_of},
};

/// The partitions of this node, kept in step with the metadata.
pub(crate) struct Store {
    pub(crate) node: NodeId,
    pub(crate) home: Arc<Home>,
    pub(crate) dir: DataDir,
    files: Arc<FileCache>,
    /// The registration of this incarnation; leaderships of others are not taken up.
    epoch: AtomicI64,
    pub(crate) fetchers: Arc<Fetchers>,
    pub(crate) isr: Arc<IsrKeeper>,
    pub(crate) reports: Arc<Reports>,
    topics: RwLock<HashMap<TopicName, Partitions>>,
    /// Partitions that could not be made (a full disk, no descriptor left), to be tried again.
    missing: Mutex<BTreeSet<TopicPartition>>,
    /// Held by whoever makes and drops partitions.
    following: Mutex<()>,
    /// Dropped since the checkpoints were written: these still speak of them, and must not speak for a new partition
    /// of the same name.
    dropped: Mutex<BTreeSet<TopicPartition>>,
}

type Partitions = HashMap<PartitionIndex, Arc<LocalPartition>>;

impl Store {
    pub(crate) fn new(
        home: Arc<Home>,
        dir: DataDir,
        files: Arc<FileCache>,
        found: Vec<LocalPartition>,
        fetchers: Fetchers,
    ) -> Self {
        let store = Self {
            node: home.node,
            home,
            dir,
            files,
            epoch: AtomicI64::new(-1),
            fetchers: Arc::new(fetchers),
            isr: Arc::default(),
            reports: Arc::default(),
            topics: RwLock::default(),
            missing: Mutex::default(),
            following: Mutex::default(),
            dropped: Mutex::default(),
        };
        for partition in found {
            store.insert(Arc::new(partition));
        }
        store
    }

    fn insert(&self, partition: Arc<LocalPartition>) {
        let TopicPartition { topic, partition: number } = partition.name.clone();
        self.topics.write().entry(topic).or_default().insert(number, partition);
    }

    /// This incarnation's registration; called before the metadata that knows it arrives.
    pub(crate) fn set_epoch(&self, epoch: NodeEpoch) {
        self.epoch.store(epoch.0, Ordering::SeqCst);
    }

    pub(crate) fn epoch(&self) -> NodeEpoch {
        NodeEpoch(self.epoch.load(Ordering::SeqCst))
    }

    pub(crate) fn get(&self, topic: &str, partition: PartitionIndex) -> Option<Arc<LocalPartition>> {
        self.topics.read().get(topic)?.get(&partition).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<LocalPartition>> {
        self.topics.read().values().flat_map(|t| t.values().cloned()).collect()
    }

    /// Replicas that nothing can be served from.
    pub(crate) fn damaged(&self) -> Vec<(TopicId, PartitionIndex)> {
        let damaged = self.all().into_iter().filter(|p| p.is_offline());
        damaged.map(|p| (p.topic_id, p.name.partition)).collect()
    }

    /// Makes, drops and leads partitions as the image says. Blocks: it makes folders.
    pub(crate) fn follow(&self, image: &Image, delta: &Delta) {
        let _alone = self.following.lock();
        if !self.is_registered_in(image) {
            return;
        }
        let everything =
            delta.snapshot || delta.cluster.is_some() || delta.nodes.iter().any(|n| n.id == self.node);
        if everything {
            self.drop_unknown(image);
            for topic in image.topics.values() {
                self.follow_topic(image, topic, topic.numbered());
            }
            return;
        }
        if delta.nodes.iter().any(|n| n.state == NodeState::Active) {
            // One that has caught up before it was active may join now.
            self.all().iter().filter(|p| p.leads_others()).for_each(|p| self.isr.consider(p));
        }
        for (id, name) in &delta.deleted {
            self.drop_topic(name, *id);
        }
        for changed in &delta.topics {
            let Some(topic) = image.topics.get(&changed.name) else {
                continue;
            };
            match changed.partitions.is_empty() {
                // Only the settings changed: they concern every partition.
                true => self.follow_topic(image, topic, topic.numbered()),
                false => self.follow_topic(image, topic, changed.partitions.iter().map(|(n, p)| (*n, p))),
            }
        }
    }

    /// An image from before this incarnation's registration says what an earlier one led (R6).
    fn is_registered_in(&self, image: &Image) -> bool {
        image.nodes.get(&self.node).is_some_and(|n| n.epoch == self.epoch())
    }

    fn follow_topic<'a>(
        &self,
        image: &Image,
        topic: &Topic,
        partitions: impl Iterator<Item = (PartitionIndex, &'a Partition)>,
    ) {
        let config = Arc::new(image.topic_config(topic));
        for (number, partition) in partitions {
            let local = self.get(topic.name.as_str(), number);
            // Deleted and made again while this node was away, or reassigned to others.
            let (local, stale) = match local {
                Some(local) if local.topic_id == topic.id && partition.replicas.contains(&self.node) => {
                    (Some(local), None)
                }
                other => (None, other),
            };
            if let Some(stale) = stale {
                self.drop_partition(&stale);
            }
            if !partition.replicas.contains(&self.node) {
                continue;
            }
            let decided = state_of(partition);
            match local.filter(|local| !self.begins_anew(local, partition)) {
                Some(local) => self.adopt(&local, &decided, partition, Some(&config)),
                None => {
                    let name = TopicPartition::new(topic.name.clone(), number);
                    if let Some(local) = self.make(name, topic.id, &config, &decided) {
                        self.report_if_asked(&local, partition);
                    }
                }
            }
        }
    }

    fn adopt(
        &self,
        local: &Arc<LocalPartition>,
        decided: &PartitionState,
        partition: &Partition,
        config: Option<&Arc<TopicConfig>>,
    ) {
        if let Adopted::Leads(epoch) = local.adopt(decided, config) {
            tracing::debug!(partition = %local.name, %epoch, isr = ?decided.isr, "leading");
            if decided.recovering {
                self.isr.consider(local);
            }
        }
        self.fetchers.assign(local);
        self.flush_if_due(local);
        self.report_if_asked(local, partition);
    }

    /// What was not synced before the topic wanted that, or came while this node followed: nothing of it is committed, or
    /// can be asked for the rest of, before it is.
    fn flush_if_due(&self, local: &Arc<LocalPartition>) {
        if !local.waits_for_flush() || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (local, fetchers) = (local.clone(), self.fetchers.clone());
        tokio::task::spawn_blocking(move || match local.flush_all() {
            Ok(()) => fetchers.assign(&local),
            Err(error) => tracing::error!(partition = %local.name, %error, "flush failed"),
        });
    }

    /// Offline replicas, looked at again: what nobody counts on is fetched anew, and what somebody does is reported (again).
    pub(crate) fn renew_offline(&self, image: &Image) {
        let _alone = self.following.lock();
        for local in self.all().iter().filter(|local| local.is_offline()) {
            let Some(topic) = image.topic_by_id(local.topic_id) else { continue };
            let Some(partition) = topic.partition(local.name.partition) else { continue };
            let counted_on = partition.isr.contains(&self.node) || partition.elr.contains(&self.node);
            match counted_on && partition.isr.len() > 1 {
                true => self.reports.add(local),
                false => self.follow_topic(image, topic, std::iter::once((local.name.partition, partition))),
            }
        }
    }

    /// Nobody leads, and the last members of the ISR say what they have, so that the longest log does (R13).
    fn report_if_asked(&self, local: &Arc<LocalPartition>, partition: &Partition) {
        // Another disk that this node once had may be waited for, too.
        let mut mine = partition.last_known.iter().filter(|known| known.node == self.node).peekable();
        let asked = mine.peek().is_some();
        let told = mine.any(|known| known.position.as_ref().is_some_and(|p| p.node_epoch == self.epoch()));
        if asked && !told && partition.leader.is_none() {
            local.cut_false_epochs();
            self.reports.add(local);
        }
    }

    /// A damaged replica is put aside and fetched again, once another node leads and nobody counts on this one.
    fn begins_anew(&self, local: &LocalPartition, partition: &Partition) -> bool {
        let counted_on = partition.isr.contains(&self.node)
            || partition.elr.contains(&self.node)
            || partition.last_known.iter().any(|known| known.node == self.node);
        let led_elsewhere = partition.leader.is_some_and(|leader| leader != self.node);
        if !local.is_offline() || counted_on || !led_elsewhere {
            return false;
        }
        self.dropped.lock().insert(local.name.clone());
        match self.dir.quarantine_partition(&local.name, uuid::Uuid::new_v4()) {
            Ok(to) => {
                // What it was known by must not go into the checkpoints again.
                self.remove(&local.name);
                metrics::counter!("anabranch_storage_quarantined_partitions_total").increment(1);
                tracing::warn!(partition = %local.name, to = %to.display(), "put a damaged replica aside; fetching it again");
                true
            }
            Err(error) => {
                tracing::error!(partition = %local.name, %error, "a damaged replica could not be put aside");
                false
            }
        }
    }

    /// A new, empty replica; `None` if it could not be made and will be tried again.
    fn make(
        &self,
        name: TopicPartition,
        topic: TopicId,
        config: &Arc<TopicConfig>,
        decided: &PartitionState,
    ) -> Option<Arc<LocalPartition>> {
        let was_dropped = self.dropped.lock().contains(&name);
        if was_dropped && let Err(error) = self.write_checkpoints() {
            tracing::error!(partition = %name, %error, "checkpoints were not written");
            self.missing.lock().insert(name);
            return None;
        }
        let dir = self.dir.partition_path(&name);
        match Log::create(dir, topic, config.clone(), self.files.clone()) {
            Ok(log) => {
                let local = Arc::new(LocalPartition::new(self.home.clone(), name, log, Offset(0)));
                local.adopt(decided, Some(config));
                self.insert(local.clone());
                self.fetchers.assign(&local);
                Some(local)
            }
            Err(error) => {
                tracing::error!(partition = %name, %error, "a partition could not be made, to be tried again");
                self.missing.lock().insert(name);
                None
            }
        }
    }

    /// Tries again what could not be made, as the image has it by now.
    pub(crate) fn make_missing(&self, image: &Image) {
        let _alone = self.following.lock();
        if !self.is_registered_in(image) {
            return;
        }
        for name in std::mem::take(&mut *self.missing.lock()) {
            let Some(topic) = image.topics.get(&name.topic) else { continue };
            let Some(partition) = topic.partition(name.partition) else { continue };
            if self.get(name.topic.as_str(), name.partition).is_none() {
                self.follow_topic(image, topic, std::iter::once((name.partition, partition)));
            }
        }
    }

    /// Leads nothing any more: another process has this node's place.
    pub(crate) fn resign(&self) {
        self.all().iter().for_each(|p| p.resign());
    }

    /// Whether there is anything that this node leads and another one could.
    pub(crate) fn leads_for_others(&self) -> bool {
        self.all().iter().any(|p| p.leads_for_others_in_sync())
    }

    /// Drops what the cluster has deleted while this node was away.
    fn drop_unknown(&self, image: &Image) {
        for partition in self.all().iter().filter(|p| image.topic_by_id(p.topic_id).is_none()) {
            tracing::info!(partition = %partition.name, "dropping a partition whose topic was deleted meanwhile");
            self.drop_partition(partition);
        }
    }

    fn drop_topic(&self, name: &TopicName, id: TopicId) {
        let partitions: Vec<_> =
            self.topics.read().get(name).into_iter().flat_map(|t| t.values().cloned()).collect();
        partitions.iter().filter(|p| p.topic_id == id).for_each(|p| self.drop_partition(p));
    }

    fn remove(&self, name: &TopicPartition) {
        let mut topics = self.topics.write();
        if let Some(known) = topics.get_mut(&name.topic) {
            known.remove(&name.partition);
            if known.is_empty() {
                topics.remove(&name.topic);
            }
        }
    }

    fn drop_partition(&self, partition: &LocalPartition) {
        self.remove(&partition.name);
        self.fetchers.forget(partition);
        self.dropped.lock().insert(partition.name.clone());
        drop(partition.take_log());
        if let Err(error) = self.dir.retire_partition(&partition.name, uuid::Uuid::new_v4()) {
            tracing::error!(partition = %partition.name, %error, "a deleted partition's folder stays");
        }
    }

    /// Writes where recovery begins and where each log starts.
    pub(crate) fn write_checkpoints(&self) -> Result<(), DataDirError> {
        let mut points = Checkpoints::default();
        // One at a time: an older checkpoint must not replace a newer one.
        let mut dropped = self.dropped.lock();
        let mut written = Vec::new();
        for partition in self.all() {
            if let Some(point) = partition.points() {
                points.add(&partition.name, point);
                written.push((partition, point));
            }
        }
        points.write(&self.dir)?;
        dropped.clear();
        written.iter().for_each(|(partition, point)| partition.checkpointed(*point));

        Ok(())
    }
}

/// Where recovery begins, where each log starts, and what is known to be committed: one file each for all partitions.
#[derive(Default)]
pub(crate) struct Checkpoints {
    recovery: BTreeMap<TopicPartition, Offset>,
    starts: BTreeMap<TopicPartition, Offset>,
    high_watermarks: BTreeMap<TopicPartition, Offset>,
    cleaned: BTreeMap<TopicPartition, Offset>,
}

impl Checkpoints {
    pub(crate) fn add(&mut self, partition: &TopicPartition, points: Points) {
        let note = |offsets: &mut BTreeMap<_, _>, offset: Offset| {
            // What is missing from a checkpoint counts as 0.
            if offset > Offset(0) {
                offsets.insert(partition.clone(), offset);
            }
        };
        note(&mut self.recovery, points.recovery);
        note(&mut self.starts, points.start);
        note(&mut self.high_watermarks, points.high_watermark);
        note(&mut self.cleaned, points.clean);
    }

    pub(crate) fn write(&self, dir: &DataDir) -> Result<(), DataDirError> {
        dir.write_checkpoint(CheckpointKind::RecoveryPoint, &self.recovery)?;
        dir.write_checkpoint(CheckpointKind::LogStart, &self.starts)?;
        dir.write_checkpoint(CheckpointKind::Replication, &self.high_watermarks)?;
        // Most nodes compact nothing: then there is no file, and no wait for it.
        match self.cleaned.is_empty() && !dir.path().join(CheckpointKind::Cleaner.file_name()).exists() {
            true => Ok(()),
            false => dir.write_checkpoint(CheckpointKind::Cleaner, &self.cleaned),
        }
    }
}
