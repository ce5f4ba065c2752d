use std::{
    collections::VecDeque,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use rpc::WatchedImage;
use tokio::sync::{Notify, watch};

use crate::clock::boot_ms;

/// That nothing was decided over this node's head: a read index (Raft's thesis, §6.4) over the heartbeats. A question that
/// a controller answered after it was put comes with the metadata's version at that moment; whoever has that metadata here,
/// and leads in it, leads.
pub(crate) struct Assurance {
    questions: AtomicU64,
    wanted: Notify,
    heard: watch::Sender<Heard>,
}

/// The last heartbeat that was answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Heard {
    /// The last question before it left.
    question: u64,
    /// When it left.
    left_ms: u64,
    /// The metadata when it was answered.
    version: u64,
}

/// Within this time after a heartbeat that was answered nobody is taken for dead (DESIGN §3: G).
const RECENT_MS: u64 = 200;
/// A question that is not answered for so long will not be.
const PATIENCE: Duration = Duration::from_secs(2);

impl Assurance {
    pub(crate) fn new() -> Self {
        Self {
            questions: AtomicU64::new(0),
            wanted: Notify::new(),
            heard: watch::channel(Heard::default()).0,
        }
    }

    /// Whether this node was not fenced up to now. It does not say that leaderships did not move.
    pub(crate) fn is_recent(&self) -> bool {
        let heard = *self.heard.borrow();
        heard.left_ms != 0 && boot_ms().saturating_sub(heard.left_ms) <= RECENT_MS
    }

    /// Waits until `image` holds everything that was decided before this call. False: that cannot be known now.
    pub(crate) async fn confirm(&self, image: &WatchedImage) -> bool {
        let mine = self.questions.fetch_add(1, Ordering::SeqCst) + 1;
        let mut heard = self.heard.subscribe();
        self.wanted.notify_one();
        let confirmed = async {
            let version = heard.wait_for(|h| h.question >= mine).await.ok()?.version;
            image.wait_for(|i| i.version >= version).await;
            Some(())
        };
        matches!(tokio::time::timeout(PATIENCE, confirmed).await, Ok(Some(())))
    }

    /// Resolves when a heartbeat is wanted at once.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }
}

/// The heartbeats of one stream that wait for their answers, which come in the same order.
pub(crate) struct Asked<'a> {
    assurance: &'a Assurance,
    waiting: VecDeque<(u64, u64)>,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(assurance: &'a Assurance) -> Self {
        Self { assurance, waiting: VecDeque::new() }
    }

    /// What has to be noted of a heartbeat before it leaves.
    pub(crate) fn note(&self) -> (u64, u64) {
        (self.assurance.questions.load(Ordering::SeqCst), boot_ms())
    }

    pub(crate) fn left(&mut self, noted: (u64, u64)) {
        self.waiting.push_back(noted);
    }

    /// Whether every heartbeat is answered: those who ask meanwhile share the next one.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(crate) fn answered(&mut self, version: u64) {
        if let Some((question, left_ms)) = self.waiting.pop_front() {
            self.assurance.heard.send_replace(Heard { question, left_ms, version });
        }
    }
}

#[cfg(test)]
mod tests {
    use metadata::Image;

    use super::*;

    fn image(version: u64) -> WatchedImage {
        let mut image = Image::default();
        image.version = version;
        WatchedImage::fixed(image)
    }

    #[tokio::test]
    async fn only_a_heartbeat_that_left_after_the_question_answers_it() {
        let assurance = Assurance::new();
        let mut asked = Asked::new(&assurance);
        let early = asked.note();
        asked.left(early);
        let image = image(7);
        let confirmed = assurance.confirm(&image);
        tokio::pin!(confirmed);
        assert!(futures_util::poll!(&mut confirmed).is_pending());
        asked.answered(7);
        assert!(futures_util::poll!(&mut confirmed).is_pending(), "it left before");
        let late = asked.note();
        asked.left(late);
        asked.answered(7);
        assert!(confirmed.await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_image_that_lags_behind_confirms_nothing() {
        let assurance = Assurance::new();
        let mut asked = Asked::new(&assurance);
        let image = image(6);
        let confirmed = assurance.confirm(&image);
        tokio::pin!(confirmed);
        assert!(futures_util::poll!(&mut confirmed).is_pending());
        let noted = asked.note();
        asked.left(noted);
        asked.answered(7);
        assert!(!confirmed.await);
    }

    #[test]
    fn an_answer_is_recent_for_a_moment() {
        let assurance = Assurance::new();
        assert!(!assurance.is_recent());
        let mut asked = Asked::new(&assurance);
        asked.left((0, boot_ms()));
        asked.answered(1);
        assert!(assurance.is_recent());
        asked.left((1, boot_ms().saturating_sub(RECENT_MS + 1)));
        asked.answered(1);
        assert!(!assurance.is_recent());
    }
}
