use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    future::{Future, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use domain::{LeaderEpoch, Offset, PartitionIndex, TopicName};
use metadata::Image;
use records::Record;
use tokio::{sync::watch, time::Instant};

use super::{
    Position,
    answer::{Came, OfPartition},
    leader::{Answered, Leader, Wanted},
};
use crate::{
    App,
    memory::Share,
    offsets::ends,
    reader::ReadError,
    routing::{RouteError, Target, route},
};

/// What there is to tell of a partition.
#[derive(Debug)]
pub(crate) enum News {
    Records {
        partition: PartitionIndex,
        records: Vec<Record>,
        /// The memory that they take.
        share: Arc<Share>,
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
                leader.ask(&self.app, &address, self.at.topic, &self.name, wanted);
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
        let Answered { came, has_waited } = answered;
        let Came { partitions, mut failed, bytes } = came?;
        for (partition, from, of_partition) in partitions {
            if self.at.offsets.get(&partition) != Some(&from) {
                continue;
            }
            match of_partition {
                OfPartition::OutOfRange => failed |= !self.leap(partition, from).await?,
                OfPartition::Records { records, next, share } => {
                    self.at.offsets.insert(partition, next);
                    if !records.is_empty() {
                        self.served.insert(partition, self.answers);
                        self.ready.push_back(News::Records { partition, records, share });
                    }
                }
            }
        }
        if let Some(leader) = self.leaders.get_mut(address) {
            // A node that is about to stop answers at once, with nothing.
            match failed || (bytes == 0 && !has_waited) {
                true => leader.failed(bytes),
                false => leader.succeeded(bytes),
            }
        }
        Ok(())
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
            if let Poll::Ready(answered) = Pin::new(asked).poll(context) {
                leader.asked = None;
                let answered = answered.unwrap_or_else(|e| Answered {
                    came: Err(ReadError::Corrupt(e.to_string())),
                    has_waited: false,
                });
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
