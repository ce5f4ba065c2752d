use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// What the answers take together that clients have not read yet. The fuller it is, the less a fetch asks for; it always
/// gets a batch, so that a client that reads is never stopped by those that do not.
pub(super) struct Budget {
    bytes_max: usize,
    held: Arc<AtomicUsize>,
}

/// Bytes of an answer, until it has left.
pub(super) struct HeldBytes {
    bytes: usize,
    held: Arc<AtomicUsize>,
}

/// One fetch gets this part of what is free.
const SHARE: usize = 8;
/// It gets so much at least.
const BYTES_MIN: usize = 64 << 10;

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, held: Arc::default() }
    }

    /// How much a fetch may ask for now that would take `wanted`.
    pub(super) fn share(&self, wanted: i32) -> i32 {
        let free = self.bytes_max.saturating_sub(self.held.load(Ordering::Relaxed));
        let share = (free / SHARE).max(BYTES_MIN);
        wanted.min(i32::try_from(share).unwrap_or(i32::MAX))
    }

    pub(super) fn hold(&self, bytes: usize) -> HeldBytes {
        self.held.fetch_add(bytes, Ordering::Relaxed);
        HeldBytes { bytes, held: self.held.clone() }
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_read_leaves_less_for_the_next_and_never_nothing() {
        let budget = Budget::new(80 << 20);
        assert_eq!(budget.share(50 << 20), 10 << 20);
        assert_eq!(budget.share(1_000), 1_000);
        let held: Vec<HeldBytes> = (0..100).map(|_| budget.hold(budget.share(50 << 20) as usize)).collect();
        assert!(budget.held.load(Ordering::Relaxed) < 90 << 20);
        assert_eq!(budget.share(50 << 20), 64 << 10);
        drop(held);
        assert_eq!(budget.share(50 << 20), 10 << 20);
    }
}
