use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::poll_fn,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use domain::{LeaderEpoch, Offset, PartitionIndex, TopicName};
use metadata::Image;
use records::Record;
use tokio::{sync::watch, time::Instant};
use wire::{
    ResponseError,
    messages::{FetchResponse, fetch_response::PartitionData},
};

use super::{
    Position,
    leader::{Answered, LOOK_BYTES, Leader, Wanted},
};
use crate::{
    App,
    limits::Share,
    offsets::ends,
    reader::{ReadError, decode_aside, payload_bytes},
    routing::{RouteError, Target, route},
};

/// What there is to tell of a partition.
#[derive(Debug)]
pub(crate) enum News {
    Records {
        partition: PartitionIndex,
        records: Vec<Record>,
        /// The memory that they take.
        share: Share,
    },
    /// What should have come next is not there: it was deleted by its age, or was lost.
    Gap { partition: PartitionIndex, from: Offset, to: Offset },
    /// Nothing came for a while.
    Quiet,
    /// The gateway stops.
    End,
}

/// A reader of a topic that never comes to an end.
pub(crate) struct Tail {
    app: Arc<App>,
    name: TopicName,
    /// Where each partition goes on.
    at: Position,
    /// `None`: all of them, and those to come.
    only: Option<BTreeSet<PartitionIndex>>,
    leaders: BTreeMap<String, Leader>,
    changes: watch::Receiver<u64>,
    ready: VecDeque<News>,
    /// When each partition brought something: those that did not for the longest time are asked for first.
    served: BTreeMap<PartitionIndex, u64>,
    answers: u64,
}

type Plan = BTreeMap<String, Vec<(PartitionIndex, LeaderEpoch)>>;

/// A record is held as it came, and once more in the piece that is being written.
const COST: usize = 2;

/// What comes first of: an answer, a change of the metadata, the end of a silence, the end.
enum Event {
    Answered(String, Answered),
    Changed,
    Quiet,
    Stopping,
}

impl Tail {
    pub(crate) fn new(
        app: &Arc<App>,
        name: TopicName,
        at: Position,
        only: Option<BTreeSet<PartitionIndex>>,
    ) -> Self {
        Self {
            app: app.clone(),
            name,
            at,
            only,
            leaders: BTreeMap::new(),
            changes: app.image.changes(),
            ready: VecDeque::new(),
            served: BTreeMap::new(),
            answers: 0,
        }
    }

    /// What comes next; [`News::Quiet`] after a silence of `quiet`.
    pub(crate) async fn next(&mut self, quiet: Duration) -> Result<News, ReadError> {
        let until = Instant::now() + quiet;
        loop {
            if let Some(news) = self.ready.pop_front() {
                return Ok(news);
            }
            self.changes.borrow_and_update();
            let image = self.app.image.load();
            self.follow(&image)?;
            match self.event(until).await {
                Event::Answered(address, answered) => self.take(&address, answered).await?,
                Event::Changed => {}
                Event::Quiet => return Ok(News::Quiet),
                Event::Stopping => return Ok(News::End),
            }
        }
    }

    async fn event(&mut self, until: Instant) -> Event {
        let (leaders, changes) = (&mut self.leaders, &mut self.changes);
        tokio::select! {
            biased;
            () = self.app.stopping.cancelled() => Event::Stopping,
            (address, answered) = first_answer(leaders) => Event::Answered(address, answered),
            () = changed(changes) => Event::Changed,
            () = tokio::time::sleep_until(until) => Event::Quiet,
        }
    }

    /// Asks each leader for what it leads by now, unless that is what it was asked for.
    fn follow(&mut self, image: &Image) -> Result<(), ReadError> {
        let plan = self.plan(image)?;
        // A leader that is dropped, or leads something else, has its fetch given up.
        self.leaders.retain(|address, leader| plan.get(address) == Some(&leader.leads));
        for (address, leads) in plan {
            let leader = self.leaders.entry(address.clone()).or_insert_with(|| Leader::new(leads));
            if leader.asked.is_none() {
                let wanted = wanted(&leader.leads, &self.at, &self.served);
                leader.ask(&self.app, &address, self.at.topic, &self.name, &wanted);
            }
        }
        Ok(())
    }

    /// Who leads what. A partition that was made since the beginning has been missed by nobody, so it is read from its first
    /// record; one that nobody leads is waited for.
    fn plan(&mut self, image: &Image) -> Result<Plan, ReadError> {
        let topic = image.topic_by_id(self.at.topic).ok_or(RouteError::UnknownTopic)?;
        let mut plan = Plan::new();
        for (partition, _) in topic.numbered() {
            if self.only.as_ref().is_some_and(|only| !only.contains(&partition)) {
                continue;
            }
            self.at.offsets.entry(partition).or_insert(Offset(0));
            if let Ok(route) = route(image, self.target(partition)) {
                plan.entry(route.address).or_default().push((partition, route.leader_epoch));
            }
        }
        Ok(plan)
    }

    fn target(&self, partition: PartitionIndex) -> Target {
        Target { topic: self.at.topic, partition }
    }

    async fn take(&mut self, address: &str, answered: Answered) -> Result<(), ReadError> {
        self.answers += 1;
        let Answered { answer, held, has_waited } = answered;
        let taken = match answer {
            Ok(answer) => self.read(answer).await?,
            Err(transport::CallError::Unsupported { .. }) => {
                return Err(ReadError::Refused(ResponseError::UnsupportedVersion));
            }
            Err(error) => {
                tracing::debug!(%error, "a leader did not answer");
                Taken { failed: true, bytes: 0 }
            }
        };
        // What was held for what came is held by what was kept of it.
        drop(held);
        if let Some(leader) = self.leaders.get_mut(address) {
            // A node that is about to stop answers at once, with nothing.
            match taken.failed || (taken.bytes == 0 && !has_waited) {
                true => leader.failed(),
                false => leader.succeeded(taken.bytes),
            }
        }
        Ok(())
    }

    async fn read(&mut self, answer: FetchResponse) -> Result<Taken, ReadError> {
        let mut taken = Taken { failed: is_retriable(answer.error_code)?, bytes: 0 };
        // However much the answer decompresses to, no more than this is kept of it; the rest is asked for again.
        let mut left = LOOK_BYTES;
        for of_partition in answer.responses.into_iter().flat_map(|topic| topic.partitions) {
            let partition = PartitionIndex(of_partition.partition_index);
            let Some(from) = self.at.offsets.get(&partition).copied() else { continue };
            if of_partition.error_code == ResponseError::OffsetOutOfRange.code() {
                taken.failed |= !self.leap(partition, from).await?;
            } else if is_retriable(of_partition.error_code)? || is_before_commit(&of_partition) {
                taken.failed = true;
            } else if left > 0 {
                let bytes = of_partition.records.unwrap_or_default();
                taken.bytes += bytes.len();
                left = left.saturating_sub(self.keep(partition, from, bytes, left).await?);
            }
        }
        Ok(taken)
    }

    /// Decodes what a partition brought; how many bytes of it are kept.
    async fn keep(
        &mut self,
        partition: PartitionIndex,
        from: Offset,
        bytes: Bytes,
        bytes_max: usize,
    ) -> Result<usize, ReadError> {
        let mut share = self.app.memory.share(bytes_max.min(bytes.len().max(1)), COST).await?;
        let decoded = decode_aside(bytes, from, bytes_max.min(share.bytes())).await?;
        self.at.offsets.insert(partition, decoded.next);
        if decoded.records.is_empty() {
            return Ok(0);
        }
        self.served.insert(partition, self.answers);
        let kept = decoded.records.iter().map(payload_bytes).sum::<usize>();
        share.shrink((kept + decoded.records.len() * size_of::<Record>()).max(1));
        self.ready.push_back(News::Records { partition, records: decoded.records, share });
        Ok(kept)
    }

    /// Goes on where the partition does, which may have lost its beginning or its end meanwhile. `false`: it has what was asked
    /// for, or nobody could tell.
    async fn leap(&mut self, partition: PartitionIndex, from: Offset) -> Result<bool, ReadError> {
        let ends = ends(&self.app.nodes, &self.app.image, &self.name, self.target(partition)).await;
        let to = match ends {
            Ok((begin, _)) if from < begin => begin,
            Ok((_, end)) if from > end => end,
            Ok(_) | Err(ReadError::Unavailable(_) | ReadError::Route(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        self.at.offsets.insert(partition, to);
        self.ready.push_back(News::Gap { partition, from, to });
        Ok(true)
    }
}

/// What a fetch was good for.
struct Taken {
    /// Somebody else, or the same one in a moment, has to be asked.
    failed: bool,
    bytes: usize,
}

/// Whether there is an error that asking again may mend; one that it does not is the end.
fn is_retriable(code: i16) -> Result<bool, ReadError> {
    match ResponseError::try_from_code(code) {
        None => Ok(false),
        Some(code) if code.is_retriable() => Ok(true),
        Some(code) => Err(ReadError::Refused(code)),
    }
}

/// A leader that does not know yet what is committed has nothing to show, which is not the same as having nothing.
fn is_before_commit(of_partition: &PartitionData) -> bool {
    of_partition.high_watermark < 0 && of_partition.records.as_ref().is_none_or(Bytes::is_empty)
}

/// What to ask for. A leader fills its answer in the order in which it is asked.
fn wanted(
    leads: &[(PartitionIndex, LeaderEpoch)],
    at: &Position,
    served: &BTreeMap<PartitionIndex, u64>,
) -> Vec<Wanted> {
    let mut leads = leads.to_vec();
    leads.sort_by_key(|(partition, _)| served.get(partition).copied().unwrap_or_default());
    let wanted = leads.into_iter().filter_map(|(p, epoch)| Some((p, epoch, *at.offsets.get(&p)?)));
    wanted.collect()
}

async fn first_answer(leaders: &mut BTreeMap<String, Leader>) -> (String, Answered) {
    poll_fn(|context| {
        for (address, leader) in leaders.iter_mut() {
            let Some(asked) = &mut leader.asked else { continue };
            if let Poll::Ready(answered) = asked.as_mut().poll(context) {
                leader.asked = None;
                return Poll::Ready((address.clone(), answered));
            }
        }
        Poll::Pending
    })
    .await
}

async fn changed(changes: &mut watch::Receiver<u64>) {
    if changes.changed().await.is_err() {
        // Nobody updates it any more: the process is shutting down.
        std::future::pending::<()>().await;
    }
}
