use std::{collections::VecDeque, time::Duration};

use domain::TopicName;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{
    OutRecord,
    batch::{Batch, Identity, Receipt},
    deliver::Destination,
};
use crate::{memory::Held, routing::Target};

/// What waits for one partition. At most one batch of it is on its way, so the order of arrival is the order in the log.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) destination: Destination,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Batch>,
    /// Whether somebody sends what waits.
    draining: bool,
    identity: Option<Identity>,
    used: Instant,
}

impl Queue {
    pub(super) fn new(target: Target, topic: TopicName) -> Self {
        Self {
            destination: Destination { target, topic },
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                draining: false,
                identity: None,
                used: Instant::now(),
            }),
        }
    }

    /// Adds the records of one request. True: nobody sends, so the caller must see to it.
    pub(super) fn push(
        &self,
        records: &[OutRecord<'_>],
        batch_bytes_max: usize,
        age_max: Duration,
        mut held: Held,
    ) -> (Vec<Receipt>, bool) {
        let now = Instant::now();
        let mut state = self.state.lock();
        state.used = now;
        let receipts = records
            .iter()
            .map(|record| {
                let part = held.split(record.bytes_bound());
                match state.waiting.back_mut() {
                    Some(batch) if batch.takes(record, batch_bytes_max, now, age_max) => {
                        batch.push(record, part)
                    }
                    _ => {
                        let mut batch = Batch::new(now);
                        let receipt = batch.push(record, part);
                        state.waiting.push_back(batch);
                        receipt
                    }
                }
            })
            .collect();
        let idle = !std::mem::replace(&mut state.draining, true);
        (receipts, idle)
    }

    /// The next batch to send and who it is from. `None` ends the sending.
    pub(super) fn take(&self) -> Option<(Batch, Option<Identity>)> {
        let mut state = self.state.lock();
        match state.waiting.pop_front() {
            Some(batch) => Some((batch, state.identity.take())),
            None => {
                state.draining = false;
                None
            }
        }
    }

    /// Who the next batch is from.
    pub(super) fn keep(&self, identity: Option<Identity>) {
        let mut state = self.state.lock();
        state.identity = identity;
        state.used = Instant::now();
    }

    /// Lets everything go: whoever sent it is gone.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        let waiting = std::mem::take(&mut state.waiting);
        (state.draining, state.identity) = (false, None);
        drop(state);
        drop(waiting);
    }

    pub(super) fn idle_for(&self, at_least: Duration, now: Instant) -> bool {
        let state = self.state.lock();
        !state.draining && now.saturating_duration_since(state.used) >= at_least
    }
}
