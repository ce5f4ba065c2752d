use std::{sync::Arc, time::Duration};

use domain::{LeaderEpoch, Offset, PartitionIndex, TopicId, TopicName};
use tokio_util::task::AbortOnDropHandle;
use transport::CallError;
use wire::ResponseError;

use super::answer::Came;
use crate::{
    App,
    fetch_request::{Part, fetch_request},
    memory::Held,
    reader::ReadError,
};

/// What a leader is asked for: a partition, the epoch in which it leads it, and where to go on.
pub(super) type Wanted = (PartitionIndex, LeaderEpoch, Offset);

/// A leader of some of the partitions, with at most one fetch under way.
pub(super) struct Leader {
    /// What it leads, in the order of the partitions.
    pub(super) leads: Vec<(PartitionIndex, LeaderEpoch)>,
    /// It goes on though nobody waits for it, so that what comes is not kept as it came until somebody does.
    pub(super) asked: Option<AbortOnDropHandle<Answered>>,
    /// Answers without news in a row that came sooner than they should have.
    failures: u32,
    /// There was much the last time, so there may be more; or nothing is known. What it brings would be there at once for any number
    /// of readers, so it is asked for on the connection that all share, where answers come one after the other.
    is_behind: bool,
}

/// What became of a fetch.
pub(super) struct Answered {
    pub(super) came: Result<Came, ReadError>,
    /// It took about as long as a leader waits that has no news, or was not asked to wait.
    pub(super) has_waited: bool,
}

/// How long a leader waits for news.
pub(super) const WAIT: Duration = Duration::from_secs(10);
/// What a fetch asks for that waits: it holds no memory meanwhile, since thousands of idle readers may have one each.
const WAITING_BYTES: usize = 64 << 10;
/// What is asked for where there is much.
pub(super) const LOOK_BYTES: usize = 1 << 20;
/// After a failure; twice as long after the next.
const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(500);

impl Leader {
    pub(super) fn new(leads: Vec<(PartitionIndex, LeaderEpoch)>) -> Self {
        Self { leads, asked: None, failures: 0, is_behind: true }
    }

    /// Asks for what there is, or for news, after a pause if the last answers were none.
    pub(super) fn ask(
        &mut self,
        app: &Arc<App>,
        address: &str,
        topic: TopicId,
        name: &TopicName,
        wanted: Vec<Wanted>,
    ) {
        let held = self.is_behind.then(|| app.memory.try_take_spare(LOOK_BYTES)).flatten();
        let bytes = held.as_ref().map_or(0, Held::bytes).max(WAITING_BYTES);
        let parts = wanted.iter().map(|(partition, leader_epoch, offset)| Part {
            topic,
            name,
            partition: *partition,
            leader_epoch: *leader_epoch,
            offset: *offset,
        });
        let wait = if self.is_behind { Duration::ZERO } else { WAIT };
        let request = fetch_request(parts, wait, 1, bytes);
        let (app, address, pause) = (app.clone(), address.to_owned(), self.pause());
        let asked = async move {
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            let begun = tokio::time::Instant::now();
            let answer = app.nodes.call(&address, request, wait).await;
            let has_waited = begun.elapsed() >= wait / 2;
            // What comes has a share of its own.
            drop(held);
            let came = match answer {
                Ok(answer) => Came::of(answer, &wanted, &app.memory).await,
                Err(CallError::Unsupported { .. }) => {
                    Err(ReadError::Refused(ResponseError::UnsupportedVersion))
                }
                Err(error) => {
                    tracing::debug!(%error, "a leader did not answer");
                    Ok(Came::failed())
                }
            };
            Answered { came, has_waited }
        };
        self.asked = Some(AbortOnDropHandle::new(tokio::spawn(asked)));
    }

    fn pause(&self) -> Duration {
        match self.failures {
            0 => Duration::ZERO,
            failures => (PAUSE_MIN * (1 << (failures - 1).min(10))).min(PAUSE_MAX),
        }
    }

    /// What came was of use, or took its time.
    pub(super) fn succeeded(&mut self, bytes: usize) {
        self.failures = 0;
        self.is_behind = bytes >= WAITING_BYTES / 2;
    }

    /// So much came nevertheless.
    pub(super) fn failed(&mut self, bytes: usize) {
        self.failures = self.failures.saturating_add(1);
        self.is_behind = bytes > 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_with_each_failure_and_end_with_a_success() {
        let mut leader = Leader::new(Vec::new());
        let pauses = (0..8).map(|_| {
            leader.failed(0);
            leader.pause().as_millis()
        });
        assert_eq!(pauses.collect::<Vec<_>>(), [10, 20, 40, 80, 160, 320, 500, 500]);
        leader.succeeded(0);
        assert_eq!(leader.pause(), Duration::ZERO);
        leader.failures = u32::MAX;
        leader.failed(0);
        assert_eq!(leader.pause(), PAUSE_MAX);
    }
}
