use std::sync::atomic::{AtomicBool, Ordering};

use commitlog::DataDir;

/// Keeps a reserve of the disk free: below it producers are refused, while reading, deleting and replication go on.
pub(crate) struct DiskGuard {
    /// `None`: a twentieth of the file system, and at most [`RESERVE_BYTES_MAX`].
    reserve_bytes: Option<u64>,
    low: AtomicBool,
}

const RESERVE_BYTES_MAX: u64 = 1 << 30;
/// The default reserve is the file system's size divided by this.
const RESERVE_PART: u64 = 20;

impl DiskGuard {
    pub(crate) fn new(reserve_bytes: Option<u64>) -> Self {
        Self { reserve_bytes, low: AtomicBool::new(false) }
    }

    /// Whether producers are refused.
    pub(crate) fn is_low(&self) -> bool {
        self.low.load(Ordering::Relaxed)
    }

    /// A write found no room: producers are refused at once, until the next look.
    pub(crate) fn is_full(&self) {
        if !self.low.swap(true, Ordering::Relaxed) {
            tracing::error!("the disk is full: producers are refused");
        }
    }

    /// Looks at the disk. It is low below the reserve, and stays low until there is a tenth more.
    pub(crate) fn check(&self, dir: &DataDir) -> std::io::Result<()> {
        let disk = rustix::fs::statvfs(dir.path())?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        let (free, total) = (bytes(disk.f_bavail), bytes(disk.f_blocks));
        let reserve = self.reserve_bytes.unwrap_or_else(|| (total / RESERVE_PART).min(RESERVE_BYTES_MAX));
        let was_low = self.is_low();
        let low = is_low(was_low, free, reserve);
        metrics::gauge!("anabranch_storage_disk_free_bytes").set(free as f64);
        metrics::gauge!("anabranch_storage_disk_low").set(f64::from(u8::from(low)));
        if low != was_low {
            self.low.store(low, Ordering::Relaxed);
            match low {
                true => tracing::error!(free, reserve, "the disk is almost full: producers are refused"),
                false => tracing::info!(free, reserve, "the disk has room again"),
            }
        }
        Ok(())
    }
}

fn is_low(was_low: bool, free: u64, reserve: u64) -> bool {
    free < if was_low { reserve.saturating_add(reserve / 10) } else { reserve }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guard_does_not_flutter_at_its_limit() {
        assert!(!is_low(false, 100, 100));
        assert!(is_low(false, 99, 100));
        assert!(is_low(true, 105, 100), "not yet a tenth more");
        assert!(!is_low(true, 110, 100));
    }
}
