//! A replica's log: the leader epoch of each record, and what KIP-101 reads from that.

use std::fmt;

use crate::ids::LeaderEpoch;

/// The most records that a log of the model can hold.
pub const RECORDS_MAX: usize = 3;

/// A short log. A record is known by its offset and leader epoch, since one leader epoch has one incarnation (R6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Log {
    len: u8,
    epochs: [LeaderEpoch; RECORDS_MAX],
}

impl Log {
    /// A log of these records.
    #[must_use]
    pub fn of(epochs: &[u8]) -> Self {
        let mut log = Self::default();
        epochs.iter().for_each(|epoch| log.push(LeaderEpoch(*epoch)));
        log
    }

    /// The log end offset.
    #[must_use]
    pub fn end(&self) -> u8 {
        self.len
    }

    /// The leader epoch of each record.
    #[must_use]
    pub fn records(&self) -> &[LeaderEpoch] {
        &self.epochs[..usize::from(self.len)]
    }

    /// The leader epoch of the last record, zero of an empty log.
    #[must_use]
    pub fn last_epoch(&self) -> LeaderEpoch {
        self.records().last().copied().unwrap_or_default()
    }

    /// Appends a record.
    pub fn push(&mut self, epoch: LeaderEpoch) {
        self.epochs[usize::from(self.len)] = epoch;
        self.len += 1;
    }

    /// The records below `end`.
    #[must_use]
    pub fn below(&self, end: u8) -> Self {
        let mut log = Self::default();
        self.records().iter().take(usize::from(end)).for_each(|epoch| log.push(*epoch));
        log
    }

    /// The records from `start` on, as a log of their own.
    #[must_use]
    pub fn above(&self, start: u8) -> Self {
        let mut log = Self::default();
        self.records().iter().skip(usize::from(start)).for_each(|epoch| log.push(*epoch));
        log
    }

    /// How many records both logs begin with.
    #[must_use]
    pub fn agreed(&self, other: &Self) -> u8 {
        self.records().iter().zip(other.records()).take_while(|(own, theirs)| own == theirs).count() as u8
    }

    /// Whether this log begins with all of `prefix`.
    #[must_use]
    pub fn contains(&self, prefix: &Self) -> bool {
        self.agreed(prefix) == prefix.end()
    }

    /// The last epoch at or below `epoch`, with its end: where two replicas stop agreeing (KIP-101, KIP-279).
    #[must_use]
    pub fn end_of(&self, epoch: LeaderEpoch) -> (LeaderEpoch, u8) {
        let below = self.records().iter().take_while(|own| **own <= epoch);
        let (mut last, mut end) = (LeaderEpoch::default(), 0);
        below.for_each(|own| (last, end) = (*own, end + 1));
        (last, end)
    }
}

impl fmt::Display for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let records: Vec<String> = self.records().iter().map(|epoch| epoch.0.to_string()).collect();
        write!(f, "[{}]", records.join(" "))
    }
}
