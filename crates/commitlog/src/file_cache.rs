use std::{
    collections::HashMap,
    fs::File,
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

/// The open descriptors of all logs of a node: opened on first use, the least recently used closed past a capacity. So
/// ten thousand partitions do not need ten thousand descriptors.
///
/// A file that is handed out stays usable after it has left the cache.
#[derive(Debug)]
pub struct FileCache {
    capacity: usize,
    next_id: AtomicU64,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    files: HashMap<(u64, FileKind), (Arc<File>, u64)>,
    /// Counts uses; a file's number is its last use.
    clock: u64,
}

/// Which of a segment's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum FileKind {
    Log,
    Index,
    TimeIndex,
}

impl FileCache {
    /// A cache of at most `capacity` descriptors, at least 8.
    pub fn new(capacity: usize) -> Arc<Self> {
        Arc::new(Self { capacity: capacity.max(8), next_id: AtomicU64::new(0), open: Mutex::default() })
    }

    /// How many descriptors are open now, apart from those that are in use only.
    pub fn open_files(&self) -> usize {
        self.open.lock().files.len()
    }

    fn get(&self, key: (u64, FileKind), open: impl FnOnce() -> io::Result<File>) -> io::Result<Arc<File>> {
        {
            let mut cached = self.open.lock();
            cached.clock += 1;
            let clock = cached.clock;
            if let Some((file, used)) = cached.files.get_mut(&key) {
                *used = clock;
                return Ok(file.clone());
            }
        }
        // Opened outside the lock: a slow disk holds up nobody else.
        let file = Arc::new(open()?);
        let closed = self.open.lock().insert(key, file.clone(), self.capacity);
        drop(closed);
        Ok(file)
    }
}

impl Open {
    /// Returns the files that had to go, for the caller to close outside the lock.
    fn insert(&mut self, key: (u64, FileKind), file: Arc<File>, capacity: usize) -> Vec<Arc<File>> {
        let mut closed = Vec::new();
        if self.files.len() >= capacity {
            // An eighth at a time, so that the search for the oldest is paid for by many insertions.
            let mut uses: Vec<u64> = self.files.values().map(|(_, used)| *used).collect();
            let oldest = uses.len() / 8;
            let (_, limit, _) = uses.select_nth_unstable(oldest);
            let limit = *limit;
            closed.extend(self.files.extract_if(|_, (_, used)| *used <= limit).map(|(_, (file, _))| file));
        }
        self.files.insert(key, (file, self.clock));
        closed
    }
}

/// A segment's claim on the cache; what it opened is closed with it.
#[derive(Debug)]
pub(crate) struct Handle {
    id: u64,
    cache: Arc<FileCache>,
}

impl Handle {
    pub(crate) fn new(cache: &Arc<FileCache>) -> Self {
        Self { id: cache.next_id.fetch_add(1, Ordering::Relaxed), cache: cache.clone() }
    }

    pub(crate) fn get(
        &self,
        kind: FileKind,
        open: impl FnOnce() -> io::Result<File>,
    ) -> io::Result<Arc<File>> {
        self.cache.get((self.id, kind), open)
    }

    /// Closes what is open, because the files change or go.
    pub(crate) fn close(&self, kind: FileKind) {
        let closed = self.cache.open.lock().files.remove(&(self.id, kind));
        drop(closed);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        for kind in [FileKind::Log, FileKind::Index, FileKind::TimeIndex] {
            self.close(kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_are_closed_past_the_capacity() {
        let cache = FileCache::new(16);
        let handles: Vec<_> = (0..40).map(|_| Handle::new(&cache)).collect();
        let open = |n: usize| handles[n].get(FileKind::Log, || File::open("/dev/null")).unwrap();
        let kept = open(0);
        for n in 1..40 {
            open(n);
            assert!(Arc::ptr_eq(&kept, &open(0)), "used all the time, never closed");
            assert!(cache.open_files() <= 16);
        }
        drop(handles);
        assert_eq!(cache.open_files(), 0);
    }
}
