use std::{
    pin::pin,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{
    Api,
    api::{ListParams, WatchEvent, WatchParams},
};
use tokio::sync::watch;

use crate::{
    ApiError, ResourceVersion, Seen, SetSeen, SetState, error::within, pause::Pauses, seen::Taken, set::Told,
};

/// Keeps [`Seen`] up to date with one StatefulSet for as long as it runs.
///
/// kube's own `watcher` is not used: it does not tell when a watch that was lost is open again, and it opens one that ends at
/// once again without a pause.
pub(crate) struct Follower {
    pub(crate) sets: Api<StatefulSet>,
    pub(crate) name: String,
    pub(crate) seen: watch::Sender<Seen>,
    /// The loss was logged, so the return will be.
    pub(crate) lost: bool,
}

/// The API server ends a watch after so long; a connection that is silent for longer is dead.
const WATCH_S: u32 = 60;
const SILENCE_MAX: Duration = Duration::from_secs(WATCH_S as u64 + 5);
/// For the answer to a list, or the beginning of the one to a watch.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A watch that lasted so long did not fail at once.
const LASTING: Duration = Duration::from_secs(5);

impl Follower {
    pub(crate) async fn run(mut self) {
        let mut from = None;
        let mut pauses = Pauses::default();
        loop {
            let begun = Instant::now();
            if let Err(error) = self.follow(&mut from).await {
                self.lose(&error);
                if let ApiError::Refused { .. } = error {
                    // Most often 410: the versions since then are forgotten. Of another version than it knows a server says 504.
                    from = None;
                }
            }
            if begun.elapsed() >= LASTING {
                pauses.reset();
            }
            pauses.wait().await;
        }
    }

    /// Lists if it has to, then watches until the API server ends that. `from` is where the next watch goes on.
    async fn follow(&mut self, from: &mut Option<String>) -> Result<(), ApiError> {
        let version = match from.clone() {
            Some(version) => version,
            None => self.list().await?,
        };
        let only_this = format!("metadata.name={}", self.name);
        let watched = WatchParams::default().fields(&only_this).timeout(WATCH_S);
        let events = within(ANSWER_MAX, self.sets.watch(&watched, &version)).await?;
        *from = Some(version);
        self.regain();
        let mut events = pin!(events);
        loop {
            let event = tokio::time::timeout(SILENCE_MAX, events.next()).await;
            let Some(event) = event.map_err(|_| ApiError::Silent(SILENCE_MAX))? else { return Ok(()) };
            match event? {
                WatchEvent::Added(set) | WatchEvent::Modified(set) => {
                    *from = set.metadata.resource_version.clone();
                    self.take(Told::Present(SetState::read(&set)));
                }
                WatchEvent::Deleted(set) => {
                    *from = set.metadata.resource_version.clone();
                    self.take(Told::Absent(ResourceVersion::read(from.as_ref())));
                }
                WatchEvent::Bookmark(bookmark) => *from = Some(bookmark.metadata.resource_version),
                WatchEvent::Error(status) => return Err((*status).into()),
            }
        }
    }

    /// Reads what there is now, and the version from which to watch on. Without a version in the question, the answer is the
    /// newest.
    async fn list(&self) -> Result<String, ApiError> {
        let only_this = ListParams::default().fields(&format!("metadata.name={}", self.name));
        let listed = within(ANSWER_MAX, self.sets.list(&only_this)).await?;
        let at = ResourceVersion::read(listed.metadata.resource_version.as_ref());
        let told = match listed.items.first() {
            Some(set) => Told::Present(SetState::read(set)),
            None => Told::Absent(at),
        };
        if self.take(told) == Taken::Changed && self.seen.borrow().set == SetSeen::Absent {
            tracing::warn!(stateful_set = %self.name, "there is no such StatefulSet: every stop counts as a restart");
        }
        Ok(listed.metadata.resource_version.unwrap_or_default())
    }

    fn take(&self, told: Told) -> Taken {
        let mut taken = Taken::Unchanged;
        self.seen.send_if_modified(|seen| {
            taken = seen.take(told);
            taken == Taken::Changed
        });
        if taken == Taken::Stale {
            tracing::debug!(stateful_set = %self.name, "passed over what is older than what is known");
        }
        taken
    }

    fn lose(&mut self, error: &ApiError) {
        self.seen.send_if_modified(|seen| {
            let lost = seen.unwatched_since.is_none();
            seen.unwatched_since.get_or_insert_with(Instant::now);
            lost
        });
        let forgotten = matches!(error, ApiError::Refused { code: 410, .. });
        if !self.lost && !forgotten {
            tracing::warn!(stateful_set = %self.name, %error, "the StatefulSet cannot be watched: trying again");
            self.lost = true;
        }
    }

    fn regain(&mut self) {
        let mut away = None;
        self.seen.send_if_modified(|seen| {
            away = seen.unwatched_since.take();
            away.is_some()
        });
        if std::mem::take(&mut self.lost) {
            let lost_for = away.map(|since| since.elapsed());
            tracing::info!(stateful_set = %self.name, ?lost_for, "the StatefulSet is watched again");
        }
    }
}
