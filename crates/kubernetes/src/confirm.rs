use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use k8s_openapi::api::apps::v1::StatefulSet;
use kube::Api;
use tokio::sync::watch;

use crate::{
    ApiError, Generation, Seen, SetState, Stop, error::within, seen::Taken, set::Told, why_it_stops,
};

/// Reads the StatefulSet itself, beside the watch.
pub(crate) struct FreshRead {
    pub(crate) sets: Api<StatefulSet>,
    pub(crate) name: String,
    pub(crate) seen: watch::Sender<Seen>,
    /// The last answer could not be used, which was logged.
    pub(crate) in_doubt: AtomicBool,
}

/// Why an answer does not count.
#[derive(Debug, thiserror::Error)]
enum Doubt {
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error("the API server answered with generation {0:?} of the StatefulSet, and a newer one was seen")]
    Stale(Option<Generation>),
}

/// A step of a drain waits so long for it.
const CONFIRM_MAX: Duration = Duration::from_secs(2);

impl FreshRead {
    pub(crate) async fn confirm(&self, ordinal: u32) -> Stop {
        match self.read(ordinal).await {
            Ok(stop) => {
                if self.in_doubt.swap(false, Ordering::Relaxed) {
                    tracing::info!(stateful_set = %self.name, "the StatefulSet can be read again");
                }
                stop
            }
            Err(doubt) => {
                if !self.in_doubt.swap(true, Ordering::Relaxed) {
                    tracing::warn!(stateful_set = %self.name, ordinal, %doubt, "it is unknown why a node stops");
                }
                Stop::Unknown
            }
        }
    }

    /// Without a version in the question the API server asks its store, and not its cache.
    async fn read(&self, ordinal: u32) -> Result<Stop, Doubt> {
        // An answer that there is none has no version: it is true of one not before this.
        let asked_at = self.seen.borrow().version();
        let set = within(CONFIRM_MAX, self.sets.get_opt(&self.name)).await?.map(|set| SetState::read(&set));
        let generation = set.as_ref().map(|set| set.generation);
        let told = set.map_or(Told::Absent(asked_at), Told::Present);
        let mut answer = Err(Doubt::Stale(generation));
        self.seen.send_if_modified(|seen| {
            let taken = seen.take(told);
            if taken != Taken::Stale {
                answer = Ok(why_it_stops(seen, ordinal));
            }
            taken == Taken::Changed
        });
        answer
    }
}
