use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::turns::{Ticket, Turns};

/// Bytes that the connections of a listener share. While nobody waits, a frame that is here costs an atomic or two; only
/// who waits, and large frames on their way, take the lock. Who takes what is for [`Turns`] to say.
pub(crate) struct Room {
    bytes_max: usize,
    /// Of whole frames under way, and what was granted to those on their way.
    used: AtomicUsize,
    /// How many wait, as of the last look under the lock.
    waiting: AtomicUsize,
    turns: Mutex<Turns<Arc<Turn>>>,
}

/// What a frame on its way was granted.
#[derive(Default)]
struct Turn {
    granted: AtomicUsize,
    changed: Notify,
}

/// A frame on its way, and its part of the room; given back when dropped.
pub(crate) struct Lease {
    room: Arc<Room>,
    ticket: Ticket,
    turn: Arc<Turn>,
    asked: usize,
}

/// The part of the room of a frame that is whole; given back when dropped.
pub(crate) struct Held {
    room: Option<Arc<Room>>,
    bytes: usize,
}

impl Room {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        let turns = Mutex::new(Turns::new(bytes_max));
        Arc::new(Self { bytes_max, used: AtomicUsize::new(0), waiting: AtomicUsize::new(0), turns })
    }

    /// Whether the room is full, or somebody waits for it.
    pub(crate) fn is_contended(&self) -> bool {
        self.waiting.load(SeqCst) > 0 || self.used.load(SeqCst) >= self.bytes_max
    }

    /// Room for a frame that is here, unless it is contended: then a [`Lease`] waits for its turn.
    pub(crate) fn try_hold(self: &Arc<Self>, bytes: usize) -> Option<Held> {
        if self.waiting.load(SeqCst) > 0 {
            return None;
        }
        let more = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.bytes_max);
        self.used.fetch_update(SeqCst, SeqCst, more).ok()?;
        Some(Held { room: Some(self.clone()), bytes })
    }

    /// A place in the order of those that come.
    pub(crate) fn lease(self: &Arc<Self>) -> Lease {
        let ticket = self.turns.lock().ticket();
        Lease { room: self.clone(), ticket, turn: Arc::default(), asked: 0 }
    }

    /// Those who give back look at `waiting` after they have changed `used`; those who wait, the other way round. So one of
    /// both sees the other.
    fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, SeqCst);
        if self.waiting.load(SeqCst) > 0 {
            self.settle(&mut self.turns.lock());
        }
    }

    fn settle(&self, turns: &mut Turns<Arc<Turn>>) {
        self.waiting.store(turns.waiting(), SeqCst);
        for grant in turns.grant(self.used.load(SeqCst)) {
            self.used.fetch_add(grant.bytes, SeqCst);
            grant.wake.granted.fetch_add(grant.bytes, SeqCst);
            grant.wake.changed.notify_one();
        }
        self.waiting.store(turns.waiting(), SeqCst);
    }
}

impl Lease {
    pub(crate) fn granted(&self) -> usize {
        self.turn.granted.load(SeqCst)
    }

    /// Whether less was granted than was asked for.
    pub(crate) fn waits(&self) -> bool {
        self.granted() < self.asked
    }

    /// Asks for `up_to` of the frame's `length` bytes, unless an earlier question still waits.
    pub(crate) fn ask(&mut self, up_to: usize, length: usize) {
        let granted = self.granted();
        if granted < self.asked || up_to <= granted {
            return;
        }
        self.asked = up_to;
        let mut turns = self.room.turns.lock();
        turns.ask(self.ticket, up_to - granted, length - granted, self.turn.clone());
        self.room.settle(&mut turns);
        drop(turns);
        if self.waits() {
            metrics::counter!("anabranch_kafka_request_waits_total").increment(1);
        }
    }

    /// Waits until something was granted.
    pub(crate) async fn changed(&self) {
        while self.waits() {
            self.turn.changed.notified().await;
        }
    }

    /// The frame is whole: what was granted stays with it.
    pub(crate) fn hold(self) -> Held {
        let mut turns = self.room.turns.lock();
        let bytes = self.turn.granted.swap(0, SeqCst);
        turns.leave(self.ticket, bytes);
        drop(turns);
        let room = Some(self.room.clone());
        // What drops now has nothing any more, and waits for nothing.
        Held { room, bytes }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut turns = self.room.turns.lock();
        let bytes = self.turn.granted.load(SeqCst);
        turns.leave(self.ticket, bytes);
        self.room.used.fetch_sub(bytes, SeqCst);
        self.room.settle(&mut turns);
    }
}

impl Held {
    /// Of a frame that needs no room.
    pub(crate) fn nothing() -> Self {
        Self { room: None, bytes: 0 }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(room) = &self.room {
            room.release(self.bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_held_is_given_back_once() {
        let room = Room::new(100);
        let held = room.try_hold(60).expect("the room is empty");
        assert!(room.try_hold(41).is_none());
        let mut lease = room.lease();
        lease.ask(41, 41);
        assert!(lease.waits() && room.is_contended());
        assert!(room.try_hold(1).is_none(), "nobody overtakes who waits");
        drop(held);
        assert_eq!(lease.granted(), 41);
        let held = lease.hold();
        assert_eq!(room.used.load(SeqCst), 41);
        drop(held);
        assert_eq!(room.used.load(SeqCst), 0);
    }

    /// Wake-ups must not get lost between who gives back and who begins to wait.
    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn nobody_is_forgotten_while_many_come_and_go() {
        let room = Room::new(100);
        let tasks: Vec<_> = (1..=16)
            .map(|n| {
                let room = room.clone();
                tokio::spawn(async move {
                    for round in 0..2_000 {
                        let bytes = 1 + (n * 7 + round) % 60;
                        let held = match room.try_hold(bytes) {
                            Some(held) => held,
                            None => {
                                let mut lease = room.lease();
                                lease.ask(bytes.div_ceil(2), bytes);
                                lease.changed().await;
                                lease.ask(bytes, bytes);
                                lease.changed().await;
                                lease.hold()
                            }
                        };
                        tokio::task::yield_now().await;
                        drop(held);
                    }
                })
            })
            .collect();
        for task in tasks {
            tokio::time::timeout(Duration::from_secs(60), task).await.expect("everybody has a turn").unwrap();
        }
        assert_eq!((room.used.load(SeqCst), room.waiting.load(SeqCst)), (0, 0));
    }
}
