use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{Mutex, Notify};

/// The memory for what leaders answer to fetches: from when they are asked until the client has been sent it.
///
/// What a leader may send is held when it is asked, since it comes whether there is room or not. A fetch gets a part of what
/// is free, so that a few fast readers get much and many get less each; when not even a batch's room is free, it waits behind
/// those that came before it. Nobody holds a share and waits for another one longer than its client waits, so that there is
/// always one who gives back.
pub(super) struct Budget {
    ledger: Arc<Ledger>,
    /// Who has it is the first of those that wait for a share.
    turn: Mutex<()>,
}

struct Ledger {
    bytes_max: usize,
    held: AtomicUsize,
    freed: Notify,
}

/// Memory that may be used, until it is dropped.
pub(super) struct HeldBytes {
    bytes: usize,
    ledger: Arc<Ledger>,
}

/// One fetch gets this part of what is free.
const PART: usize = 8;
/// A leader sends a batch however little it is asked for (KIP-74): so much is held for it at least, which is the longest
/// that a batch may be unless a topic says otherwise.
const BATCH_BYTES: usize = 1 << 20;

/// How many leaders a fetch may ask now, and for how much each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shares {
    leaders: usize,
    bytes_each: usize,
}

/// What a fetch gets that would take `wanted` bytes of all these leaders together; `None`: there is no room for a batch.
fn shares(free: usize, bytes_max: usize, wanted: usize, leaders: usize) -> Option<Shares> {
    let least = BATCH_BYTES.min(bytes_max).max(1);
    let bytes_each = (wanted.min(free / PART) / leaders.max(1)).max(least);
    let leaders = leaders.min(free / bytes_each);
    (leaders > 0).then_some(Shares { leaders, bytes_each })
}

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Self {
        let ledger = Ledger { bytes_max, held: AtomicUsize::new(0), freed: Notify::new() };
        Self { ledger: Arc::new(ledger), turn: Mutex::new(()) }
    }

    /// A share for each leader that may be asked now, and for one at least: waits for that, however long it takes.
    pub(super) async fn shares(&self, wanted: usize, leaders: usize) -> Vec<HeldBytes> {
        let _turn = self.turn.lock().await;
        loop {
            if let Some(shares) = shares(self.free(), self.ledger.bytes_max, wanted, leaders) {
                return (0..shares.leaders).map(|_| self.hold(shares.bytes_each)).collect();
            }
            self.ledger.freed.notified().await;
        }
    }

    /// For what has come already; `None` if there is no room for it, or others wait for room.
    pub(super) fn try_hold(&self, bytes: usize) -> Option<HeldBytes> {
        let _turn = self.turn.try_lock().ok()?;
        (bytes <= self.free()).then(|| self.hold(bytes))
    }

    fn free(&self) -> usize {
        self.ledger.bytes_max.saturating_sub(self.ledger.held.load(Ordering::Relaxed))
    }

    fn hold(&self, bytes: usize) -> HeldBytes {
        self.ledger.held.fetch_add(bytes, Ordering::Relaxed);
        HeldBytes { bytes, ledger: self.ledger.clone() }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.ledger.held.load(Ordering::Relaxed)
    }
}

impl HeldBytes {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// So many have come: what is not needed goes back, and what a batch is longer than was thought is held, too.
    pub(super) fn settle(&mut self, bytes: usize) {
        match bytes.checked_sub(self.bytes) {
            Some(more) => {
                self.ledger.held.fetch_add(more, Ordering::Relaxed);
            }
            None => self.ledger.give_back(self.bytes - bytes),
        }
        self.bytes = bytes;
    }
}

impl Ledger {
    fn give_back(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
        // Only the one whose turn it is waits for it.
        self.freed.notify_one();
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.ledger.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const MIB: usize = 1 << 20;

    fn of(free: usize, wanted: usize, leaders: usize) -> Option<(usize, usize)> {
        let shares = shares(free * MIB, 256 * MIB, wanted * MIB, leaders)?;
        assert!(shares.leaders * shares.bytes_each <= free * MIB, "more than there is");
        Some((shares.leaders, shares.bytes_each / MIB))
    }

    #[test]
    fn the_less_is_free_the_less_a_fetch_gets_but_it_gets_a_batch() {
        assert_eq!(of(256, 50, 1), Some((1, 32)));
        assert_eq!(of(256, 20, 1), Some((1, 20)));
        assert_eq!(of(64, 50, 1), Some((1, 8)));
        assert_eq!(of(1, 50, 1), Some((1, 1)));
        assert_eq!(of(256, 0, 1), Some((1, 1)), "a batch comes however little is asked for");
        assert_eq!(of(0, 50, 1), None);
    }

    #[test]
    fn leaders_share_what_a_fetch_gets_and_not_all_are_asked_when_it_is_too_little() {
        assert_eq!(of(256, 50, 4), Some((4, 8)));
        assert_eq!(of(256, 3, 100), Some((100, 1)));
        assert_eq!(of(5, 50, 100), Some((5, 1)));
    }

    #[test]
    fn a_budget_that_is_smaller_than_a_batch_is_for_one_fetch_at_a_time() {
        assert_eq!(shares(1_000, 1_000, 5_000, 2), Some(Shares { leaders: 1, bytes_each: 1_000 }));
        assert_eq!(shares(999, 1_000, 5_000, 2), None);
    }

    #[tokio::test]
    async fn who_waits_for_room_is_served_in_turn_and_before_anybody_else() {
        let budget = Budget::new(2 * MIB);
        let all = budget.shares(MIB, 2).await;
        assert_eq!((all.len(), budget.held()), (2, 2 * MIB));
        let mut first = budget.shares(MIB, 1).boxed();
        let mut second = budget.shares(MIB, 1).boxed();
        assert!((&mut first).now_or_never().is_none());
        assert!((&mut second).now_or_never().is_none());
        drop(all);
        assert!(budget.try_hold(1).is_none(), "two are before it");
        assert!((&mut second).now_or_never().is_none(), "one is before it");
        let held = first.await;
        assert_eq!(second.await.len(), 1);
        drop(held);
        assert_eq!(budget.held(), 0);
    }

    #[tokio::test]
    async fn who_gives_up_waiting_does_not_hold_up_the_next() {
        let budget = Budget::new(MIB);
        let all = budget.shares(MIB, 1).await;
        let mut first = budget.shares(MIB, 1).boxed();
        let mut second = budget.shares(MIB, 1).boxed();
        assert!((&mut first).now_or_never().is_none());
        assert!((&mut second).now_or_never().is_none());
        drop((first, all));
        assert_eq!(second.await.len(), 1);
    }

    #[tokio::test]
    async fn what_did_not_come_goes_back_and_a_long_batch_counts() {
        let budget = Budget::new(64 * MIB);
        let mut held = budget.shares(4 * MIB, 1).await.remove(0);
        assert_eq!(budget.held(), 4 * MIB);
        held.settle(10);
        assert_eq!(budget.held(), 10);
        held.settle(70 * MIB);
        assert!(budget.try_hold(1).is_none());
        drop(held);
        assert_eq!(budget.held(), 0);
    }
}
