use std::collections::HashMap;

use domain::Offset;

/// The last offset of each key in a part of a log. The keys themselves are held, not digests of them: two keys that are
/// taken for one would cost a record.
#[derive(Debug)]
pub(crate) struct OffsetMap {
    last: HashMap<Box<[u8]>, Offset>,
    bytes: usize,
    bytes_max: usize,
}

/// What an entry takes beside its key: the pointer, the length, the offset, the allocation's own, the table's spare room.
const ENTRY_BYTES: usize = 72;

impl OffsetMap {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { last: HashMap::new(), bytes: 0, bytes_max }
    }

    pub(crate) fn note(&mut self, key: &[u8], offset: Offset) {
        match self.last.get_mut(key) {
            Some(last) => *last = offset,
            None => {
                self.bytes += key.len() + ENTRY_BYTES;
                self.last.insert(key.into(), offset);
            }
        }
    }

    /// Whether no more should be noted; never before there is something, however little is allowed.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes > 0 && self.bytes >= self.bytes_max
    }

    /// Whether no later record with the key was noted.
    pub(crate) fn is_last(&self, key: &[u8], offset: Offset) -> bool {
        self.last.get(key).is_none_or(|last| *last <= offset)
    }
}
