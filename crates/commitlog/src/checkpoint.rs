//! Kafka's text checkpoints: a version, a count, and a line an entry.

use std::{collections::BTreeMap, path::Path};

use domain::{LeaderEpoch, Offset, PartitionIndex, TopicName, TopicPartition};
use replica::EpochCache;

/// Which offset of every partition of a folder: one file for all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckpointKind {
    /// Below it everything was flushed: recovery begins here.
    RecoveryPoint,
    /// The first offset that is still wanted.
    LogStart,
    /// The high watermark.
    Replication,
    /// Below it everything was compacted.
    Cleaner,
}

impl CheckpointKind {
    pub fn file_name(self) -> &'static str {
        match self {
            CheckpointKind::RecoveryPoint => "recovery-point-offset-checkpoint",
            CheckpointKind::LogStart => "log-start-offset-checkpoint",
            CheckpointKind::Replication => "replication-offset-checkpoint",
            CheckpointKind::Cleaner => "cleaner-offset-checkpoint",
        }
    }
}

/// The name of a partition's epoch checkpoint, in its folder.
pub(crate) const EPOCHS_FILE_NAME: &str = "leader-epoch-checkpoint";

pub(crate) fn encode_offsets(offsets: &BTreeMap<TopicPartition, Offset>) -> String {
    let lines = offsets.iter().map(|(tp, offset)| format!("{} {} {offset}\n", tp.topic, tp.partition));
    format!("0\n{}\n{}", offsets.len(), lines.collect::<String>())
}

pub(crate) fn decode_offsets(text: &str) -> Result<BTreeMap<TopicPartition, Offset>, String> {
    let mut offsets = BTreeMap::new();
    for line in lines(text)? {
        let entry = || {
            let mut words = line.split_whitespace();
            let topic = TopicName::new(words.next()?).ok()?;
            let partition = PartitionIndex(words.next()?.parse().ok()?);
            let offset = Offset(words.next()?.parse().ok()?);
            words.next().is_none().then_some((TopicPartition::new(topic, partition), offset))
        };
        let (partition, offset) =
            entry().ok_or_else(|| format!("'{line}' is no 'topic partition offset'"))?;
        offsets.insert(partition, offset);
    }
    Ok(offsets)
}

pub(crate) fn encode_epochs(epochs: &EpochCache) -> String {
    let lines = epochs.entries().iter().map(|(epoch, start)| format!("{epoch} {start}\n"));
    format!("0\n{}\n{}", epochs.entries().len(), lines.collect::<String>())
}

/// The stored epochs; `None`, with a warning, if they must be rebuilt from the log.
pub(crate) fn load_epochs(path: &Path) -> std::io::Result<Option<EpochCache>> {
    let Some(content) = crate::crashsafe::read_if_there(path)? else {
        return Ok(None);
    };
    let decoded = decode_epochs(&String::from_utf8_lossy(&content));
    if let Err(reason) = &decoded {
        tracing::warn!(path = %path.display(), reason, "the epoch checkpoint is ill-formed and is rebuilt");
    }
    Ok(decoded.ok())
}

pub(crate) fn decode_epochs(text: &str) -> Result<EpochCache, String> {
    let mut entries = Vec::new();
    for line in lines(text)? {
        let entry = || {
            let (epoch, start) = line.split_once(' ')?;
            Some((LeaderEpoch(epoch.parse().ok()?), Offset(start.trim().parse().ok()?)))
        };
        entries.push(entry().ok_or_else(|| format!("'{line}' is no 'epoch start'"))?);
    }
    EpochCache::from_entries(entries).ok_or_else(|| "epochs do not rise".to_owned())
}

/// The entries' lines, after version and count were found to be right.
fn lines(text: &str) -> Result<Vec<&str>, String> {
    let mut lines = text.lines();
    match lines.next() {
        Some("0") => {}
        Some(other) => return Err(format!("version '{other}' is not known, only 0 is")),
        None => return Err("is empty".to_owned()),
    }
    let count: usize = lines.next().and_then(|line| line.trim().parse().ok()).ok_or("has no count")?;
    let entries: Vec<&str> = lines.filter(|line| !line.trim().is_empty()).collect();
    match entries.len() == count {
        true => Ok(entries),
        false => Err(format!("has {} entries and counts {count}", entries.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tp(topic: &str, partition: i32) -> TopicPartition {
        TopicPartition::new(TopicName::new(topic).unwrap(), PartitionIndex(partition))
    }

    #[test]
    fn an_offset_checkpoint_has_kafkas_text() {
        let offsets = BTreeMap::from([(tp("orders", 0), Offset(42)), (tp("a-b.c", 3), Offset(0))]);
        let text = encode_offsets(&offsets);
        assert_eq!(text, "0\n2\na-b.c 3 0\norders 0 42\n");
        assert_eq!(decode_offsets(&text), Ok(offsets));
    }

    #[test]
    fn an_epoch_checkpoint_has_kafkas_text() {
        let epochs =
            EpochCache::from_entries(vec![(LeaderEpoch(0), Offset(0)), (LeaderEpoch(5), Offset(17))])
                .unwrap();
        let text = encode_epochs(&epochs);
        assert_eq!(text, "0\n2\n0 0\n5 17\n");
        assert_eq!(decode_epochs(&text), Ok(epochs));
    }

    #[test]
    fn what_is_ill_formed_is_named() {
        let error = |text| decode_offsets(text).unwrap_err();
        assert_eq!(error(""), "is empty");
        assert_eq!(error("7\n0\n"), "version '7' is not known, only 0 is");
        assert_eq!(error("0\nmany\n"), "has no count");
        assert_eq!(error("0\n2\na 0 1\n"), "has 1 entries and counts 2");
        assert_eq!(error("0\n1\na 0 x\n"), "'a 0 x' is no 'topic partition offset'");
        assert_eq!(decode_epochs("0\n2\n3 5\n2 9\n").unwrap_err(), "epochs do not rise");
    }
}
