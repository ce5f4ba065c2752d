use domain::Offset;

/// Remembers where in the segment files some recent offsets start: of the last appends, and of where the last reads
/// ended. A consumer that keeps up, or reads on where it stopped, then needs neither index nor walk.
///
/// An entry (offset, position) means: in the segment that covers the offset, the first batch that reaches it starts at
/// the position. That stays true until a truncation or a compaction.
#[derive(Debug)]
pub(crate) struct Boundaries {
    appends: Ring<8>,
    reads: Ring<8>,
}

#[derive(Debug)]
struct Ring<const N: usize> {
    entries: [(Offset, u32); N],
    next: u8,
}

impl Boundaries {
    pub(crate) const fn new() -> Self {
        Self { appends: Ring::new(), reads: Ring::new() }
    }

    pub(crate) fn get(&self, offset: Offset) -> Option<u32> {
        self.appends.get(offset).or_else(|| self.reads.get(offset))
    }

    pub(crate) fn appended_up_to(&mut self, offset: Offset, position: u32) {
        self.appends.push(offset, position);
    }

    /// Also of one that an append left: the next appends make that be forgotten before the reader comes back.
    pub(crate) fn read_up_to(&mut self, offset: Offset, position: u32) {
        if self.reads.get(offset).is_none() {
            self.reads.push(offset, position);
        }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }
}

impl<const N: usize> Ring<N> {
    const fn new() -> Self {
        Self { entries: [(Offset(-1), 0); N], next: 0 }
    }

    fn get(&self, offset: Offset) -> Option<u32> {
        self.entries.iter().find(|(known, _)| *known == offset).map(|(_, position)| *position)
    }

    fn push(&mut self, offset: Offset, position: u32) {
        self.entries[usize::from(self.next) % N] = (offset, position);
        self.next = (self.next + 1) % N as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_read_ended_outlives_the_appends_that_follow_it() {
        let mut boundaries = Boundaries::new();
        boundaries.appended_up_to(Offset(10), 500);
        boundaries.read_up_to(Offset(10), 500);
        boundaries.read_up_to(Offset(10), 500);
        (11..40).for_each(|offset| boundaries.appended_up_to(Offset(offset), 501));
        assert_eq!(boundaries.get(Offset(10)), Some(500));
        assert_eq!(boundaries.get(Offset(20)), None);
    }
}
