use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use crate::clock::uptime_ms;

/// Notices when this process has not run for a while (SIGSTOP, a machine without a free core): what members said
/// meanwhile was not heard, so their silence means nothing.
#[derive(Default)]
pub(crate) struct Hearing {
    ticked_ms: AtomicU64,
    /// When the last deafness ended.
    woke_ms: AtomicU64,
}

const TICK: Duration = Duration::from_millis(250);
/// A tick that is later than this was a deafness.
const LATE_MS: u64 = 1_000;

impl Hearing {
    pub(super) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {
                    let now_ms = uptime_ms();
                    if self.is_late(now_ms) {
                        self.woke_ms.store(now_ms, Ordering::SeqCst);
                    }
                    self.ticked_ms.store(now_ms.max(1), Ordering::SeqCst);
                }
            }
        }
    }

    /// When this process could last hear again; now, if nobody has noticed yet that it could not.
    pub(super) fn deaf_until(&self, now_ms: u64) -> u64 {
        match self.is_late(now_ms) {
            true => now_ms,
            false => self.woke_ms.load(Ordering::SeqCst),
        }
    }

    fn is_late(&self, now_ms: u64) -> bool {
        let ticked_ms = self.ticked_ms.load(Ordering::SeqCst);
        ticked_ms != 0 && now_ms.saturating_sub(ticked_ms) > LATE_MS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_tick_is_a_deafness_that_lasts_until_now() {
        let hearing = Hearing::default();
        assert_eq!(hearing.deaf_until(5_000), 0, "it has not begun to listen");
        hearing.ticked_ms.store(5_000, Ordering::SeqCst);
        assert_eq!(hearing.deaf_until(5_900), 0);
        assert_eq!(hearing.deaf_until(6_100), 6_100);
        hearing.woke_ms.store(6_100, Ordering::SeqCst);
        hearing.ticked_ms.store(6_100, Ordering::SeqCst);
        assert_eq!(hearing.deaf_until(6_200), 6_100);
    }
}
