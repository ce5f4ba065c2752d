//! The sparse indexes of a segment, in Kafka's formats: in memory while the segment is active, in files once it is
//! sealed. They are derived from the log and never trusted: what does not fit is rebuilt.

use std::{fs::File, io, os::unix::fs::FileExt};

use domain::Offset;
use records::BatchHeader;

/// One entry of an `.index` file: the last offset of a batch, relative to the segment's base, and where it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OffsetEntry {
    pub(crate) offset: u32,
    pub(crate) position: u32,
}

/// One entry of a `.timeindex` file: the largest timestamp so far, and the last offset of the first batch that has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: i64,
    pub(crate) offset: u32,
}

/// An entry of fixed size, as it stands in a file.
pub(crate) trait Entry: Sized + Copy {
    const BYTES: usize;
    fn decode(bytes: &[u8]) -> Self;
    fn encode(self, out: &mut Vec<u8>);
}

impl Entry for OffsetEntry {
    const BYTES: usize = 8;

    fn decode(bytes: &[u8]) -> Self {
        Self { offset: u32_at(bytes, 0), position: u32_at(bytes, 4) }
    }

    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.offset.to_be_bytes());
        out.extend_from_slice(&self.position.to_be_bytes());
    }
}

impl Entry for TimeEntry {
    const BYTES: usize = 12;

    fn decode(bytes: &[u8]) -> Self {
        let timestamp = i64::from(u32_at(bytes, 0)) << 32 | i64::from(u32_at(bytes, 4));
        Self { timestamp, offset: u32_at(bytes, 8) }
    }

    fn encode(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.timestamp.to_be_bytes());
        out.extend_from_slice(&self.offset.to_be_bytes());
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// The indexes of the active segment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TailIndex {
    pub(crate) offsets: Vec<OffsetEntry>,
    pub(crate) times: Vec<TimeEntry>,
    /// Bytes of log since the last entry.
    bytes_since_entry: u64,
    /// The largest timestamp in the segment.
    pub(crate) newest: Option<TimeEntry>,
}

impl TailIndex {
    /// Takes note of a batch that was appended at `position` of the segment that begins at `base`.
    pub(crate) fn note(&mut self, header: &BatchHeader, base: Offset, position: u32, interval_bytes: u32) {
        let offset = relative(header.last_offset(), base);
        // What compaction has emptied has no record of that time any more.
        if header.max_timestamp >= 0
            && header.record_count > 0
            && self.newest.is_none_or(|newest| newest.timestamp < header.max_timestamp)
        {
            self.newest = Some(TimeEntry { timestamp: header.max_timestamp, offset });
        }
        if self.bytes_since_entry > u64::from(interval_bytes) {
            self.offsets.push(OffsetEntry { offset, position });
            self.times.extend(self.pending_time());
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry += header.total_bytes() as u64;
    }

    /// The newest timestamp, if the time index does not have it yet.
    fn pending_time(&self) -> Option<TimeEntry> {
        let known = self.times.last().map(|entry| entry.timestamp);
        self.newest.filter(|newest| known.is_none_or(|known| known < newest.timestamp))
    }

    /// The content of the `.index` file.
    pub(crate) fn encode_offsets(&self) -> Vec<u8> {
        encode(self.offsets.iter().copied())
    }

    /// The content of the `.timeindex` file, which ends with the segment's newest timestamp.
    pub(crate) fn encode_times(&self) -> Vec<u8> {
        encode(self.times.iter().copied().chain(self.pending_time()))
    }

    /// From the content of both files, as far as entries lie below `below` (relative): where to go on scanning, namely at
    /// the last entry's batch. `None` if the files are ill-formed.
    pub(crate) fn decode(offsets: &[u8], times: &[u8], size: u32, below: u32) -> Option<Self> {
        let mut offsets: Vec<OffsetEntry> = decode(offsets)?;
        let mut times: Vec<TimeEntry> = decode(times)?;
        let rising = offsets
            .windows(2)
            .all(|pair| pair[0].offset < pair[1].offset && pair[0].position < pair[1].position)
            && times
                .windows(2)
                .all(|pair| pair[0].timestamp < pair[1].timestamp && pair[0].offset < pair[1].offset);
        if !rising {
            return None;
        }
        offsets.truncate(offsets.partition_point(|entry| entry.offset < below && entry.position < size));
        // What the scan will meet again must not be there twice.
        let scanned_from = offsets.last().map_or(0, |entry| entry.offset);
        match offsets.is_empty() {
            true => times.clear(),
            false => times.truncate(times.partition_point(|entry| entry.offset <= scanned_from)),
        }
        let newest = times.last().copied();
        Some(Self { offsets, times, bytes_since_entry: 0, newest })
    }
}

/// Whether the files of a sealed segment of `size` bytes can be its indexes, by their sizes and ends alone.
pub(crate) fn look_sane(offsets: &File, times: &File, size: u32, interval_bytes: u32) -> io::Result<bool> {
    let (Some(_), Some(_)) = (entries::<OffsetEntry>(offsets)?, entries::<TimeEntry>(times)?) else {
        return Ok(false);
    };
    // A power cut may leave nothing of a file, and Kafka's preallocated indexes end in zeros after a crash.
    let offsets_fit = match last::<OffsetEntry>(offsets)? {
        Some(entry) => entry.position > 0 && entry.position < size,
        None => size <= interval_bytes,
    };
    let times_fit = match last::<TimeEntry>(times)? {
        Some(entry) => entry.timestamp > 0 || entry.offset > 0,
        None => size == 0,
    };
    Ok(offsets_fit && times_fit)
}

/// How many entries a file holds; `None` if it does not hold whole ones.
fn entries<E: Entry>(file: &File) -> io::Result<Option<u64>> {
    let bytes = file.metadata()?.len();
    Ok(bytes.is_multiple_of(E::BYTES as u64).then_some(bytes / E::BYTES as u64))
}

/// The last entry of a sealed index.
pub(crate) fn last<E: Entry>(file: &File) -> io::Result<Option<E>> {
    last_where(file, |_| true)
}

/// The last entry for which `holds`, which is true for entries up to some place and false behind it.
pub(crate) fn last_where<E: Entry>(file: &File, holds: impl Fn(&E) -> bool) -> io::Result<Option<E>> {
    /// So many entries are fetched at once when the search has come near.
    const NEAR: u64 = 256;
    let (mut low, mut high) = (0, file.metadata()?.len() / E::BYTES as u64);
    let mut bytes = vec![0; E::BYTES];
    // Invariant: entries before `low` hold, entries from `high` on do not.
    while high - low > NEAR {
        let middle = low + (high - low) / 2;
        file.read_exact_at(&mut bytes, middle * E::BYTES as u64)?;
        match holds(&E::decode(&bytes)) {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    // One entry before `low`, because it may be the answer.
    let start = low.saturating_sub(1);
    bytes.resize((high - start) as usize * E::BYTES, 0);
    file.read_exact_at(&mut bytes, start * E::BYTES as u64)?;
    Ok(bytes.chunks_exact(E::BYTES).map(E::decode).take_while(holds).last())
}

/// An offset relative to a segment's base, which fits 31 bits because the segment rolls before it does not.
pub(crate) fn relative(offset: Offset, base: Offset) -> u32 {
    (offset.0 - base.0).clamp(0, i64::from(u32::MAX)) as u32
}

fn encode<E: Entry>(entries: impl Iterator<Item = E>) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.size_hint().0 * E::BYTES);
    entries.for_each(|entry| entry.encode(&mut out));
    out
}

fn decode<E: Entry>(bytes: &[u8]) -> Option<Vec<E>> {
    bytes.len().is_multiple_of(E::BYTES).then(|| bytes.chunks_exact(E::BYTES).map(E::decode).collect())
}
