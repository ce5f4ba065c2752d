use std::{collections::VecDeque, sync::Arc};

use metadata::{Delta, Image};
use parking_lot::Mutex;
use quorum::Quorum;
use rpc::pb;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;

/// Hands metadata to watchers: every delta is encoded once, and the recent ones are kept for those who come back.
pub(crate) struct Hub {
    state: Mutex<State>,
    events: broadcast::Sender<Arc<Event>>,
}

struct State {
    image: Image,
    recent: VecDeque<Arc<Event>>,
    recent_bytes: usize,
    /// The encoded snapshot of `image`, once somebody asked for it.
    snapshot: Option<Arc<Event>>,
}

/// One encoded step from one version to the next.
pub(crate) struct Event {
    from: u64,
    pub(crate) version: u64,
    pub(crate) message: pb::MetadataEvent,
}

/// Deltas that are kept for watchers that resume.
const RECENT_MAX: usize = 1_024;
const RECENT_BYTES_MAX: usize = 32 << 20;

impl Hub {
    pub(crate) fn new() -> Self {
        let state =
            State { image: Image::default(), recent: VecDeque::new(), recent_bytes: 0, snapshot: None };
        Self { state: Mutex::new(state), events: broadcast::channel(RECENT_MAX).0 }
    }

    /// Follows the member's image until the token is cancelled.
    pub(crate) async fn run(self: Arc<Self>, quorum: Arc<Quorum>, stop: CancellationToken) {
        let (image, mut deltas) = quorum.subscribe();
        self.take(&image.snapshot());
        loop {
            let delta = tokio::select! {
                () = stop.cancelled() => return,
                delta = deltas.recv() => delta,
            };
            match delta {
                Ok(delta) => self.take(&delta),
                // Too far behind: start from the image again, as any watcher would.
                Err(broadcast::error::RecvError::Lagged(_)) => {
                    let (image, fresh) = quorum.subscribe();
                    deltas = fresh;
                    self.take(&image.snapshot());
                }
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    fn take(&self, delta: &Delta) {
        let mut state = self.state.lock();
        // A subscription may overlap the image that it came with.
        if !delta.snapshot && delta.version <= state.image.version {
            return;
        }
        let from = if delta.snapshot { 0 } else { state.image.version };
        let event = Arc::new(Event { from, version: delta.version, message: rpc::encode_delta(delta) });
        state.image.adopt(delta);
        state.snapshot = None;
        if delta.snapshot {
            state.recent.clear();
            state.recent_bytes = 0;
        } else {
            state.recent_bytes += event.message.delta.len();
            state.recent.push_back(event.clone());
            while state.recent.len() > RECENT_MAX || state.recent_bytes > RECENT_BYTES_MAX {
                let Some(oldest) = state.recent.pop_front() else {
                    break;
                };
                state.recent_bytes -= oldest.message.delta.len();
            }
        }
        // Sent under the lock, so that a new watcher misses nothing and sees nothing twice.
        let _ = self.events.send(event);
    }

    pub(crate) fn version(&self) -> u64 {
        self.state.lock().image.version
    }

    /// What a watcher at version `from` needs now, and where everything later comes from.
    pub(crate) fn watch(&self, from: u64) -> (Vec<Arc<Event>>, broadcast::Receiver<Arc<Event>>) {
        let mut state = self.state.lock();
        let later = self.events.subscribe();
        if from > 0 && from == state.image.version {
            return (Vec::new(), later);
        }
        let resumable = from > 0 && state.recent.front().is_some_and(|oldest| oldest.from <= from);
        if resumable && from < state.image.version {
            let missed = state.recent.iter().filter(|e| e.version > from).cloned();
            return (missed.collect(), later);
        }
        let image = &state.image;
        let event = state.snapshot.clone().unwrap_or_else(|| {
            let message = rpc::encode_delta(&image.snapshot());
            Arc::new(Event { from: 0, version: image.version, message })
        });
        state.snapshot = Some(event.clone());
        (vec![event], later)
    }
}

#[cfg(test)]
mod tests {
    use domain::ClusterId;
    use metadata::Command;

    use super::*;

    fn hub_at(versions: u64) -> Hub {
        let hub = Hub::new();
        let mut image = Image::default();
        image.apply(&Command::NameCluster { cluster_id: ClusterId(uuid::Uuid::from_u128(1)) });
        image.version = 1;
        hub.take(&image.snapshot());
        for version in 2..=versions {
            hub.take(&Delta { version, ..Delta::default() });
        }
        hub
    }

    fn versions(events: &[Arc<Event>]) -> Vec<(bool, u64)> {
        let decoded = |e: &Arc<Event>| rpc::decode_delta(&e.message).unwrap();
        events.iter().map(|e| (decoded(e).snapshot, e.version)).collect()
    }

    #[test]
    fn a_new_watcher_gets_a_snapshot_and_one_that_comes_back_what_it_missed() {
        let hub = hub_at(5);
        assert_eq!(versions(&hub.watch(0).0), [(true, 5)]);
        assert_eq!(versions(&hub.watch(3).0), [(false, 4), (false, 5)]);
        assert_eq!(versions(&hub.watch(5).0), []);
    }

    #[test]
    fn a_watcher_that_was_away_too_long_starts_again() {
        let hub = hub_at(RECENT_MAX as u64 + 10);
        assert_eq!(versions(&hub.watch(2).0), [(true, RECENT_MAX as u64 + 10)]);
    }

    #[test]
    fn a_delta_that_the_image_has_already_is_not_sent_again() {
        let hub = hub_at(3);
        let (_, mut later) = hub.watch(3);
        hub.take(&Delta { version: 3, ..Delta::default() });
        hub.take(&Delta { version: 4, ..Delta::default() });
        assert_eq!(later.try_recv().unwrap().version, 4);
    }
}
