use std::{os::unix::fs::FileExt, time::Instant};

use bytes::Bytes;
use commitlog::{LogSlice, ReadError};
use domain::{LeaderEpoch, Offset};
use group::{Entry, GroupConfig};
use records::{check_batches, decode_records};

use crate::{errors::PartitionError, partition::LocalPartition};

/// How much is read at once.
const CHUNK_BYTES: u32 = 4 << 20;
/// What one batch may decompress to. Nobody but coordinators writes here, and these do not compress.
const BATCH_BYTES_MAX: usize = 256 << 20;

/// Why the groups of a partition could not be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum LoadError {
    #[error("this node does not lead it any more")]
    Moved,
    #[error(transparent)]
    Partition(#[from] PartitionError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the log could not be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("a batch from offset {at} on is no batch: {reason}")]
    Batch { at: Offset, reason: String },
    #[error("the record at offset {at} cannot be understood: {reason}")]
    Record { at: Offset, reason: String },
}

/// Reads everything that the log has, committed or not, up to its end when this begins (G3), and says where that is.
/// Blocks.
pub(super) fn load(
    partition: &LocalPartition,
    epoch: LeaderEpoch,
    config: &GroupConfig,
) -> Result<(group::Groups, Offset), LoadError> {
    let begun = Instant::now();
    let mut groups = group::Groups::new(config.clone());
    let leads = |partition: &LocalPartition| partition.leads() == Some(epoch);
    let (mut at, end) = partition.as_leader(epoch.0, |log, _| Ok((log.start_offset(), log.end_offset())))?;
    let mut records = 0_u64;
    while at < end {
        let slice = partition.with_log(|log| log.read(at, CHUNK_BYTES, end, true));
        if !leads(partition) {
            return Err(LoadError::Moved);
        }
        let Some(slice) = slice.transpose()?.flatten() else { break };
        records += replay(&mut groups, &read(&slice)?, at)?;
        at = slice.next_offset;
    }
    tracing::info!(
        partition = %partition.name, %epoch, %end, records, ms = begun.elapsed().as_millis(),
        "coordinates groups"
    );
    Ok((groups, end))
}

fn read(slice: &LogSlice) -> Result<Bytes, std::io::Error> {
    let mut bytes = vec![0; slice.bytes as usize];
    slice.file.read_exact_at(&mut bytes, slice.position)?;
    Ok(Bytes::from(bytes))
}

/// Replays what lies at `from` or behind in these batches, and counts it.
fn replay(groups: &mut group::Groups, batches: &Bytes, from: Offset) -> Result<u64, LoadError> {
    let mut count = 0;
    for checked in check_batches(batches) {
        let no_batch = |e: &dyn std::fmt::Display| LoadError::Batch { at: from, reason: e.to_string() };
        let (range, header) = checked.map_err(|e| no_batch(&e))?;
        if header.attributes.is_control() {
            continue;
        }
        for record in decode_records(&batches.slice(range), BATCH_BYTES_MAX).map_err(|e| no_batch(&e))? {
            let Some(key) = record.key.filter(|_| record.offset >= from) else { continue };
            let entry = Entry::decode(&key, record.value.as_deref())
                .map_err(|e| LoadError::Record { at: record.offset, reason: e.to_string() })?;
            if let Some(entry) = entry {
                groups.replay(entry);
                count += 1;
            }
        }
    }
    Ok(count)
}
