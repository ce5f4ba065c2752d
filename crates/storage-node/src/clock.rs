use std::{
    sync::LazyLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The wall clock in milliseconds since 1970: what records are stamped with and retention compares.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// Milliseconds since the machine booted, those that it slept included: what a promise of a time is measured with.
pub(crate) fn boot_ms() -> u64 {
    let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    u64::try_from(since.tv_sec * 1_000 + since.tv_nsec / 1_000_000).unwrap_or(0)
}

/// Milliseconds of a monotonic clock: what time limits are measured with.
pub(crate) fn uptime_ms() -> u64 {
    u64::try_from(STARTED.elapsed().as_millis()).unwrap_or(u64::MAX)
}
