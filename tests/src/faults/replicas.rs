use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use anyhow::Context;
use bytes::Bytes;

use super::checker::{Anomaly, Kind};

/// One replica of a partition, as its files are.
#[derive(Clone, Debug, Default)]
pub struct ReplicaLog {
    pub name: String,
    pub start: i64,
    /// One past the last offset.
    pub end: i64,
    /// By base offset.
    pub batches: BTreeMap<i64, Bytes>,
    /// What cannot be read as a batch, and where.
    pub broken: Option<String>,
}

/// The segment files of a partition's folder, by base offset.
pub fn segments(folder: &Path) -> Vec<(i64, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(i64, PathBuf)> = entries
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "log"))
        .filter_map(|p| Some((p.file_stem()?.to_str()?.parse().ok()?, p)))
        .collect();
    found.sort();
    found
}

impl ReplicaLog {
    /// Reads all segments of a partition's folder. The log starts where its first segment does.
    pub fn read(name: &str, folder: &Path) -> anyhow::Result<Self> {
        let segments = segments(folder);
        let start = segments.first().map_or(0, |(base, _)| *base);
        let mut log = Self { name: name.to_owned(), start, end: start, ..Self::default() };
        for (_, path) in segments {
            let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
            log.take(&path.display().to_string(), Bytes::from(bytes));
        }
        Ok(log)
    }

    fn take(&mut self, place: &str, bytes: Bytes) {
        for batch in records::check_batches(&bytes) {
            match batch {
                Ok((range, header)) => {
                    self.end = header.next_offset().0;
                    self.batches.insert(header.base_offset.0, bytes.slice(range));
                }
                Err(error) => {
                    self.broken.get_or_insert(format!("{place} after offset {}: {error}", self.end));
                }
            }
        }
    }
}

/// Compares the replicas of one partition: whole, of one end, and byte for byte the same where more than one has them.
pub fn compare(partition: i32, replicas: &[ReplicaLog]) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let mut wrong = |detail: String| {
        found.push(Anomaly::new(Kind::ReplicaMismatch, format!("partition {partition}: {detail}")));
    };
    for replica in replicas {
        if let Some(broken) = &replica.broken {
            wrong(format!("{} is broken: {broken}", replica.name));
        }
    }
    let Some(longest) = replicas.iter().max_by_key(|r| r.end) else { return found };
    for replica in replicas.iter().filter(|r| r.end < longest.end) {
        wrong(format!("{} ends at {}, {} at {}", replica.name, replica.end, longest.name, longest.end));
    }
    let start = replicas.iter().map(|r| r.start).max().unwrap_or_default();
    let end = replicas.iter().map(|r| r.end).min().unwrap_or_default();
    let offsets: BTreeSet<i64> =
        replicas.iter().flat_map(|r| r.batches.range(start..end.max(start))).map(|(o, _)| *o).collect();
    for other in replicas.iter().skip(1) {
        // One line a replica is enough: after the first difference most offsets differ.
        let differs = offsets.iter().find(|o| replicas[0].batches.get(o) != other.batches.get(o));
        if let Some(offset) = differs {
            let of = |replica: &ReplicaLog| replica.batches.get(offset).map(|bytes| described(bytes));
            let (one, two) = (of(&replicas[0]), of(other));
            wrong(format!("offset {offset} differs: {} {one:?}, {} {two:?}", replicas[0].name, other.name));
        }
    }
    found
}

fn described(batch: &[u8]) -> String {
    match records::BatchHeader::parse(batch) {
        Ok(h) => format!(
            "leader epoch {}, {} records to {}, {} bytes, crc {:08x}",
            h.leader_epoch,
            h.record_count,
            h.last_offset(),
            batch.len(),
            h.crc
        ),
        Err(error) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use domain::{LeaderEpoch, Offset};
    use records::{BatchBuilder, Compression};

    use super::*;

    fn batch(offset: i64, epoch: i32, value: &str) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(1, None, Some(value.as_bytes()), &[]);
        let mut bytes = builder.build().to_vec();
        let mut header = records::BatchHeader::parse(&bytes).unwrap();
        header.base_offset = Offset(offset);
        header.leader_epoch = LeaderEpoch(epoch);
        bytes[..16].copy_from_slice(&header.encode()[..16]);
        bytes
    }

    fn replica(name: &str, batches: &[Vec<u8>]) -> ReplicaLog {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(format!("{:020}.log", 0)), batches.concat()).unwrap();
        std::fs::write(folder.path().join(format!("{:020}.index", 0)), "no log").unwrap();
        ReplicaLog::read(name, folder.path()).unwrap()
    }

    fn details(replicas: &[ReplicaLog]) -> Vec<String> {
        compare(0, replicas).into_iter().map(|a| a.detail).collect()
    }

    #[test]
    fn equal_replicas_are_found_equal() {
        let log = [batch(0, 1, "a"), batch(1, 2, "b")];
        let replicas = [replica("x", &log), replica("y", &log)];
        assert_eq!((replicas[0].start, replicas[0].end), (0, 2));
        assert_eq!(details(&replicas), [""; 0]);
    }

    #[test]
    fn another_record_or_epoch_at_an_offset_is_a_mismatch() {
        let one = replica("x", &[batch(0, 1, "a"), batch(1, 1, "b")]);
        let other = replica("y", &[batch(0, 1, "a"), batch(1, 1, "c")]);
        assert!(details(&[one.clone(), other])[0].starts_with("partition 0: offset 1 differs"));
        let epoch = replica("y", &[batch(0, 1, "a"), batch(1, 2, "b")]);
        assert!(details(&[one, epoch])[0].contains("leader epoch 2"));
    }

    #[test]
    fn a_shorter_replica_is_a_mismatch() {
        let long = replica("x", &[batch(0, 1, "a"), batch(1, 1, "b")]);
        let short = replica("y", &[batch(0, 1, "a")]);
        assert_eq!(details(&[long, short]), ["partition 0: y ends at 1, x at 2"]);
    }

    #[test]
    fn a_flipped_bit_is_a_mismatch() {
        let mut flipped = batch(0, 1, "a");
        *flipped.last_mut().unwrap() ^= 4;
        let replicas = [replica("x", &[batch(0, 1, "a")]), replica("y", &[flipped])];
        assert!(details(&replicas)[0].contains("y is broken"));
    }

    #[test]
    fn what_only_one_replica_still_has_is_not_compared() {
        let whole = replica("x", &[batch(0, 1, "a"), batch(1, 1, "b")]);
        let mut trimmed = replica("y", &[batch(1, 1, "b")]);
        trimmed.start = 1;
        assert_eq!(details(&[whole, trimmed]), [""; 0]);
    }
}
