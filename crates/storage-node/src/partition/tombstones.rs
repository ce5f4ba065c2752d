use commitlog::Log;
use domain::Offset;

/// When a follower's log began with nothing: what it has is from after that.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Began(Option<Beginning>);

#[derive(Clone, Copy, Debug)]
struct Beginning {
    at_ms: u64,
    /// Below which offset tombstones were gone by then.
    removed: Offset,
}

impl Began {
    /// Whether a follower that asks from `offset` on may hold records whose tombstones are gone here: then it would keep
    /// them for good. To be asked at each of its fetches.
    ///
    /// One that began at the log's start not longer ago than `delete.retention.ms` holds none: what is gone since then was
    /// compacted before, and with it what it deleted. Nor does one that has all that is committed: of that nothing is gone.
    pub(super) fn lacks_tombstones(
        &mut self,
        log: &Log,
        offset: Offset,
        committed: Offset,
        now_ms: u64,
    ) -> bool {
        let removed = log.removed_tombstones().min(committed);
        if offset <= log.start_offset() {
            self.0 = Some(Beginning { at_ms: now_ms, removed });
            return false;
        }
        let retention_ms = u64::try_from(log.config().delete_retention_ms).unwrap_or(0);
        let is_fresh =
            |began: Beginning| removed <= began.removed || now_ms.saturating_sub(began.at_ms) < retention_ms;
        offset < removed && !self.0.is_some_and(is_fresh)
    }
}
