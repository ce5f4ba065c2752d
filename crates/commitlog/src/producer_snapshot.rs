//! What producers wrote last, as of an offset: Kafka's `.snapshot` with one batch a producer, and beside it a file of
//! our own with the rest of the last five. Both are derived from the log; one that cannot be read is passed over.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use crc_fast::{CrcAlgorithm, checksum};
use domain::{Offset, ProducerEpoch, ProducerId};
use replica::{ProducerBatch, Producers};

use crate::segment::{SNAPSHOT, SNAPSHOT_BATCHES, file_path};

/// Both files begin with a version and the CRC-32C of what follows.
const VERSION: i16 = 1;
const HEAD_BYTES: usize = 6;
/// A producer in Kafka's file.
const ENTRY_BYTES: usize = 46;
/// Kafka's marks for "no transaction".
const NO_COORDINATOR_EPOCH: i32 = -1;
const NO_TRANSACTION: i64 = -1;

/// Writes both files. They are not synced: a flush does that.
pub(crate) fn write(dir: &Path, offset: Offset, producers: &Producers) -> io::Result<()> {
    // The snapshot comes last: without it the batches count for nothing, but a full disk must not leave it without them.
    if !producers.is_empty() {
        fs::write(file_path(dir, offset, SNAPSHOT_BATCHES), encode_batches(producers))?;
    }
    fs::write(file_path(dir, offset, SNAPSHOT), encode(producers))
}

/// Reads both files; `None` if there is no snapshot at the offset that can be understood.
pub(crate) fn read(dir: &Path, offset: Offset) -> io::Result<Option<Producers>> {
    let path = file_path(dir, offset, SNAPSHOT);
    let Some(content) = crate::crashsafe::read_if_there(&path)? else {
        return Ok(None);
    };
    let batches = crate::crashsafe::read_if_there(&file_path(dir, offset, SNAPSHOT_BATCHES))?;
    let decoded = decode(&content, batches.as_deref().and_then(decode_batches));
    if decoded.is_none() {
        tracing::warn!(path = %path.display(), "the producer snapshot is ill-formed; the log is replayed instead");
    }
    Ok(decoded)
}

/// The files of a snapshot that are there, to be synced.
pub(crate) fn open(dir: &Path, offset: Offset) -> io::Result<Vec<File>> {
    let mut files = Vec::new();
    for suffix in [SNAPSHOT, SNAPSHOT_BATCHES] {
        match File::open(file_path(dir, offset, suffix)) {
            Ok(file) => files.push(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(files)
}

pub(crate) fn remove(dir: &Path, offset: Offset) -> io::Result<()> {
    for suffix in [SNAPSHOT, SNAPSHOT_BATCHES] {
        crate::crashsafe::remove_if_there(&file_path(dir, offset, suffix))?;
    }
    Ok(())
}

/// A snapshot that was read, as it would be written.
pub(crate) fn rewritten(content: &[u8]) -> Option<Vec<u8>> {
    decode(content, None).map(|producers| encode(&producers))
}

/// The same of the file beside it.
pub(crate) fn rewritten_batches(content: &[u8]) -> Option<Vec<u8>> {
    let mut producers = Producers::new();
    for (id, batches) in decode_batches(content)? {
        producers.restore(id, ProducerEpoch(0), batches, 0);
    }
    Some(encode_batches(&producers))
}

fn encode(producers: &Producers) -> Vec<u8> {
    let mut body = Vec::with_capacity(4 + producers.len() * ENTRY_BYTES);
    body.extend_from_slice(&(producers.len() as i32).to_be_bytes());
    for (id, state) in producers.iter() {
        let none = ProducerBatch { last_sequence: -1, last_offset: Offset(-1), ..ProducerBatch::default() };
        let last = state.batches().last().copied().unwrap_or(none);
        body.extend_from_slice(&id.0.to_be_bytes());
        body.extend_from_slice(&state.epoch().0.to_be_bytes());
        body.extend_from_slice(&last.last_sequence.to_be_bytes());
        body.extend_from_slice(&last.last_offset.0.to_be_bytes());
        body.extend_from_slice(&last.offset_delta.to_be_bytes());
        body.extend_from_slice(&state.last_seen_ms().to_be_bytes());
        body.extend_from_slice(&NO_COORDINATOR_EPOCH.to_be_bytes());
        body.extend_from_slice(&NO_TRANSACTION.to_be_bytes());
    }
    with_head(body)
}

/// For each producer in order: id, number of batches, and the batches, oldest first.
fn encode_batches(producers: &Producers) -> Vec<u8> {
    let mut body = Vec::new();
    for (id, state) in producers.iter() {
        body.extend_from_slice(&id.0.to_be_bytes());
        body.push(state.batches().len() as u8);
        for batch in state.batches() {
            body.extend_from_slice(&batch.last_sequence.to_be_bytes());
            body.extend_from_slice(&batch.offset_delta.to_be_bytes());
            body.extend_from_slice(&batch.last_offset.0.to_be_bytes());
            body.extend_from_slice(&batch.timestamp.to_be_bytes());
        }
    }
    with_head(body)
}

fn with_head(body: Vec<u8>) -> Vec<u8> {
    let crc = checksum(CrcAlgorithm::Crc32Iscsi, &body) as u32;
    [&VERSION.to_be_bytes()[..], &crc.to_be_bytes(), &body].concat()
}

fn without_head(content: &[u8]) -> Option<Fields<'_>> {
    let mut head = Fields(content.get(..HEAD_BYTES)?);
    let body = &content[HEAD_BYTES..];
    let (version, crc) = (i16::from_be_bytes(head.take()?), u32::from_be_bytes(head.take()?));
    let right = version == VERSION && crc == checksum(CrcAlgorithm::Crc32Iscsi, body) as u32;
    right.then_some(Fields(body))
}

type Batches = Vec<(ProducerId, Vec<ProducerBatch>)>;

/// `batches` count only where they go with the snapshot's own batch.
fn decode(content: &[u8], batches: Option<Batches>) -> Option<Producers> {
    let mut fields = without_head(content)?;
    let count = usize::try_from(i32::from_be_bytes(fields.take()?)).ok()?;
    if fields.0.len() != count.checked_mul(ENTRY_BYTES)? {
        return None;
    }
    let batches = batches.unwrap_or_default();
    let mut producers = Producers::new();
    for _ in 0..count {
        let id = ProducerId(i64::from_be_bytes(fields.take()?));
        let epoch = ProducerEpoch(i16::from_be_bytes(fields.take()?));
        let last_sequence = i32::from_be_bytes(fields.take()?);
        let last_offset = Offset(i64::from_be_bytes(fields.take()?));
        let offset_delta = i32::from_be_bytes(fields.take()?);
        let timestamp = i64::from_be_bytes(fields.take()?);
        // Transactions are not kept yet.
        fields.take::<12>()?;
        let last = ProducerBatch { last_sequence, offset_delta, last_offset, timestamp };
        let sidecar = batches.binary_search_by_key(&id, |(id, _)| *id).ok().map(|index| &batches[index].1);
        let known =
            sidecar.filter(|known| known.last().is_some_and(|known| known.last_offset == last_offset));
        match known {
            Some(known) => producers.restore(id, epoch, known.iter().copied(), timestamp),
            None => producers.restore(id, epoch, (last_sequence >= 0).then_some(last), timestamp),
        }
    }
    Some(producers)
}

fn decode_batches(content: &[u8]) -> Option<Batches> {
    let mut fields = without_head(content)?;
    let mut found = Batches::new();
    while !fields.0.is_empty() {
        let id = ProducerId(i64::from_be_bytes(fields.take()?));
        let mut batches = Vec::new();
        for _ in 0..fields.take::<1>()?[0] {
            batches.push(ProducerBatch {
                last_sequence: i32::from_be_bytes(fields.take()?),
                offset_delta: i32::from_be_bytes(fields.take()?),
                last_offset: Offset(i64::from_be_bytes(fields.take()?)),
                timestamp: i64::from_be_bytes(fields.take()?),
            });
        }
        found.push((id, batches));
    }
    Some(found)
}

/// Takes fields of fixed size from the front of some bytes.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn producers() -> Producers {
        let batch = |n: i32| ProducerBatch {
            last_sequence: n,
            offset_delta: 0,
            last_offset: Offset(100 + i64::from(n)),
            timestamp: 7,
        };
        let mut producers = Producers::new();
        producers.restore(ProducerId(1), ProducerEpoch(2), (0..5).map(batch), 99);
        producers.restore(ProducerId(4), ProducerEpoch(0), [batch(9)], 98);
        producers.restore(ProducerId(5), ProducerEpoch(3), [], 97);
        producers.restore(ProducerId::of_key(9), ProducerEpoch(0), [batch(8)], 96);
        producers
    }

    #[test]
    fn the_snapshot_has_kafkas_bytes() {
        let mut producers = Producers::new();
        let batch =
            ProducerBatch { last_sequence: 5, offset_delta: 2, last_offset: Offset(77), timestamp: 1 };
        producers.restore(ProducerId(1), ProducerEpoch(2), [batch], 0x1234);
        #[rustfmt::skip]
        let body = [
            0, 0, 0, 1,
            0, 0, 0, 0, 0, 0, 0, 1, // producer id
            0, 2, // epoch
            0, 0, 0, 5, // last sequence
            0, 0, 0, 0, 0, 0, 0, 77, // last offset
            0, 0, 0, 2, // offset delta
            0, 0, 0, 0, 0, 0, 0x12, 0x34, // timestamp
            0xff, 0xff, 0xff, 0xff, // coordinator epoch
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // no transaction
        ];
        let crc = checksum(CrcAlgorithm::Crc32Iscsi, &body) as u32;
        assert_eq!(encode(&producers), [&[0, 1][..], &crc.to_be_bytes(), &body].concat());
    }

    #[test]
    fn all_five_batches_survive_and_one_does_without_the_sidecar() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), Offset(110), &producers()).unwrap();
        assert_eq!(read(dir.path(), Offset(110)).unwrap(), Some(producers()));
        fs::remove_file(file_path(dir.path(), Offset(110), SNAPSHOT_BATCHES)).unwrap();
        let kept = read(dir.path(), Offset(110)).unwrap().unwrap();
        assert_eq!(kept.get(ProducerId(1)).unwrap().batches().len(), 1);
        assert_eq!(read(dir.path(), Offset(111)).unwrap(), None);
    }

    proptest! {
        #[test]
        fn a_damaged_snapshot_is_passed_over(at: prop::sample::Index, value: u8, cut: Option<prop::sample::Index>) {
            for content in [encode(&producers()), encode_batches(&producers())] {
                let mut hurt = content.clone();
                let at = at.index(hurt.len());
                hurt[at] = value;
                if let Some(cut) = cut {
                    hurt.truncate(cut.index(hurt.len()));
                }
                if hurt != content {
                    prop_assert_eq!(decode(&hurt, None), None);
                    prop_assert_eq!(decode_batches(&hurt), None);
                }
            }
        }

        #[test]
        fn any_body_under_a_right_checksum_is_read_without_panic(body: Vec<u8>) {
            let content = with_head(body);
            let _ = decode(&content, decode_batches(&content));
        }
    }
}
