use std::sync::{
    Arc, Weak,
    atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Requests that wait for a partition to change; each is woken once.
#[derive(Default)]
pub(crate) struct Watchers {
    waiting: Mutex<Vec<Weak<Notify>>>,
    /// Spares an append the lock when nobody waits.
    any: AtomicBool,
}

impl Watchers {
    /// Has `waiter` woken by the next [`Watchers::wake`].
    pub(crate) fn watch(&self, waiter: &Arc<Notify>) {
        let mut waiting = self.waiting.lock();
        // Requests that gave up leave their entries behind; they go before the list grows.
        if waiting.len() == waiting.capacity() {
            waiting.retain(|w| w.strong_count() > 0);
        }
        waiting.push(Arc::downgrade(waiter));
        self.any.store(true, Ordering::SeqCst);
    }

    pub(crate) fn wake(&self) {
        if !self.any.swap(false, Ordering::SeqCst) {
            return;
        }
        let waiting = std::mem::take(&mut *self.waiting.lock());
        waiting.iter().filter_map(Weak::upgrade).for_each(|w| w.notify_one());
    }
}

/// The slots of a follower's fetch session in which there is news, so that a fetch looks at those only, however many
/// partitions the session has (KIP-227).
#[derive(Default)]
pub(crate) struct News {
    slots: Mutex<Slots>,
    pub(crate) arrived: Notify,
}

#[derive(Default)]
struct Slots {
    flagged: Vec<bool>,
    queue: Vec<u32>,
}

impl News {
    /// `worth_waking`: a waiting fetch returns for it; else it is told with whatever comes next.
    pub(crate) fn mark(&self, slot: u32, worth_waking: bool) {
        {
            let mut slots = self.slots.lock();
            let at = slot as usize;
            if slots.flagged.len() <= at {
                slots.flagged.resize(at + 1, false);
            }
            if !std::mem::replace(&mut slots.flagged[at], true) {
                slots.queue.push(slot);
            }
        }
        if worth_waking {
            self.arrived.notify_one();
        }
    }

    pub(crate) fn take(&self) -> Vec<u32> {
        let mut slots = self.slots.lock();
        let queue = std::mem::take(&mut slots.queue);
        for slot in &queue {
            slots.flagged[*slot as usize] = false;
        }
        queue
    }
}

/// The followers' sessions that a partition is in.
#[derive(Default)]
pub(crate) struct Subscribers {
    sessions: Mutex<Vec<(Weak<News>, u32)>>,
    any: AtomicBool,
}

impl Subscribers {
    /// From now on the session hears of news in this slot, until it is dropped or unsubscribes.
    pub(crate) fn subscribe(&self, news: &Arc<News>, slot: u32) {
        let mut sessions = self.sessions.lock();
        sessions.retain(|(other, at)| {
            other.strong_count() > 0 && !(std::ptr::eq(other.as_ptr(), Arc::as_ptr(news)) && *at == slot)
        });
        sessions.push((Arc::downgrade(news), slot));
        self.any.store(true, Ordering::SeqCst);
    }

    pub(crate) fn unsubscribe(&self, news: &Arc<News>) {
        self.sessions.lock().retain(|(other, _)| !std::ptr::eq(other.as_ptr(), Arc::as_ptr(news)));
    }

    pub(crate) fn tell(&self, worth_waking: bool) {
        if !self.any.load(Ordering::SeqCst) {
            return;
        }
        for (news, slot) in self.sessions.lock().iter() {
            if let Some(news) = news.upgrade() {
                news.mark(*slot, worth_waking);
            }
        }
    }
}
