use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use domain::{Offset, PartitionIndex};
use records::Record;
use wire::{
    ResponseError,
    messages::{FetchResponse, fetch_response::PartitionData},
};

use super::leader::{LOOK_BYTES, Wanted};
use crate::{
    memory::{Cost, Memory, Share},
    reader::{Decoded, ReadError, decode_aside, payload_bytes},
};

/// What a leader's answer comes to. The answer itself is gone by then: a reader may take as long as it likes, and most of what
/// was sent may not be for it.
#[derive(Default)]
pub(super) struct Came {
    /// Of each partition, with the offset from which it was asked for.
    pub(super) partitions: Vec<(PartitionIndex, Offset, OfPartition)>,
    /// Somebody else, or the same one in a moment, has to be asked.
    pub(super) failed: bool,
    /// How much it was.
    pub(super) bytes: usize,
}

pub(super) enum OfPartition {
    Records {
        records: Vec<Record>,
        next: Offset,
        /// The memory that they take, with those of the answer's other partitions.
        share: Arc<Share>,
    },
    OutOfRange,
}

/// A record is held as it came, and once more in the piece that is being written.
const COST: Cost = Cost { leaders: 1, shown: 1 };

impl Came {
    pub(super) fn failed() -> Self {
        Self { failed: true, ..Self::default() }
    }

    /// So much came, and has to be asked for again.
    fn no_room(bytes: usize) -> Self {
        Self { bytes, ..Self::failed() }
    }

    /// However much the answer decompresses to, no more of it is kept than there is room for, but at least one record; the rest is
    /// asked for again.
    ///
    /// # Errors
    /// A leader's error that asking again does not mend, or records that are none.
    pub(super) async fn of(
        answer: FetchResponse,
        wanted: &[Wanted],
        memory: &Memory,
    ) -> Result<Self, ReadError> {
        let mut came = Self { failed: is_retriable(answer.error_code)?, ..Self::default() };
        let partitions: Vec<PartitionData> =
            answer.responses.into_iter().flat_map(|topic| topic.partitions).collect();
        let sent = partitions.iter().filter_map(|p| p.records.as_ref()).map(Bytes::len).sum::<usize>();
        // It may be more once it is decompressed.
        let mut share = match memory.share(LOOK_BYTES, COST, sent).await {
            Ok(share) => share,
            Err(ReadError::Full(_)) if memory.may_hold(COST.takes(1, sent)) => {
                return Ok(Self::no_room(sent));
            }
            Err(error) => return Err(error),
        };
        // Of records that are small, what they are kept in is most of it.
        let mut left = 2 * share.bytes();
        let (mut read, mut kept) = (Vec::new(), 0);
        for of_partition in partitions {
            let partition = PartitionIndex(of_partition.partition_index);
            let Some((_, _, from)) = wanted.iter().find(|(of, ..)| *of == partition).copied() else {
                continue;
            };
            if of_partition.error_code == ResponseError::OffsetOutOfRange.code() {
                came.partitions.push((partition, from, OfPartition::OutOfRange));
            } else if is_retriable(of_partition.error_code)? || is_before_commit(&of_partition) {
                came.failed = true;
            } else if left > 0 {
                let bytes = of_partition.records.unwrap_or_default();
                came.bytes += bytes.len();
                let mut decoded = decode_aside(bytes, from, left).await?;
                let takes = cut(&mut decoded, left);
                compact(&mut decoded.records);
                left = left.saturating_sub(takes);
                kept += takes;
                read.push((partition, from, decoded));
            }
        }
        if !share.resize(kept, memory) {
            return match memory.may_hold(kept) {
                true => Ok(Self::no_room(sent)),
                false => Err(ReadError::Full(memory.short_of(kept).message)),
            };
        }
        let share = Arc::new(share);
        came.partitions.extend(read.into_iter().map(|(partition, from, decoded)| {
            let share = share.clone();
            (partition, from, OfPartition::Records { records: decoded.records, next: decoded.next, share })
        }));
        Ok(came)
    }
}

/// Keeps as many records as there is room for, but at least one; what they take. They are there once more in the piece that is
/// being written.
fn cut(decoded: &mut Decoded, room: usize) -> usize {
    let mut takes = 0;
    for (index, record) in decoded.records.iter().enumerate() {
        let more = 2 * payload_bytes(record) + size_of::<Record>();
        if index > 0 && takes + more > room {
            decoded.next = record.offset;
            decoded.records.truncate(index);
            break;
        }
        takes += more;
    }
    takes
}

/// Copies what the records have, so that they do not keep the batches that they are from: a few of them may be the whole of a
/// large one.
fn compact(records: &mut [Record]) {
    let mut all = BytesMut::with_capacity(records.iter().map(payload_bytes).sum());
    let mut copied = |bytes: &mut Bytes| {
        all.put_slice(bytes);
        *bytes = all.split().freeze();
    };
    for record in records {
        record.key.iter_mut().chain(&mut record.value).for_each(&mut copied);
        for (name, value) in &mut record.headers {
            copied(name);
            value.iter_mut().for_each(&mut copied);
        }
    }
}

/// Whether there is an error that asking again may mend; one that it does not is the end.
fn is_retriable(code: i16) -> Result<bool, ReadError> {
    match ResponseError::try_from_code(code) {
        None => Ok(false),
        Some(code) if code.is_retriable() => Ok(true),
        Some(code) => Err(ReadError::Refused(code)),
    }
}

/// A leader that does not know yet what is committed has nothing to show, which is not the same as having nothing.
fn is_before_commit(of_partition: &PartitionData) -> bool {
    of_partition.high_watermark < 0 && of_partition.records.as_ref().is_none_or(Bytes::is_empty)
}

#[cfg(test)]
mod tests {
    use domain::LeaderEpoch;
    use records::{BatchBuilder, Compression};
    use wire::messages::fetch_response::FetchableTopicResponse;

    use super::*;

    const RECORD_BYTES: usize = 10_000;

    /// A batch of 40 such records in each of the partitions.
    fn answer(partitions: i32, compression: Compression) -> FetchResponse {
        let mut builder = BatchBuilder::new(compression);
        for n in 0..40 {
            builder.push(1, None, Some(&[n; RECORD_BYTES]), &[]);
        }
        let batch = builder.build();
        let partition = |index| {
            PartitionData::default()
                .with_partition_index(index)
                .with_high_watermark(40)
                .with_records(Some(batch.clone()))
        };
        let topic =
            FetchableTopicResponse::default().with_partitions((0..partitions).map(partition).collect());
        FetchResponse::default().with_responses(vec![topic])
    }

    async fn came(answer: FetchResponse, memory: &Memory) -> Vec<(i32, usize)> {
        let wanted: Vec<Wanted> =
            (0..9).map(|index| (PartitionIndex(index), LeaderEpoch(0), Offset(0))).collect();
        let came = Came::of(answer, &wanted, memory).await.unwrap();
        let held = came.partitions.iter().find_map(|(_, _, of)| match of {
            OfPartition::Records { share, .. } => Some(share.held_bytes()),
            OfPartition::OutOfRange => None,
        });
        let of = |(partition, _, of): &(PartitionIndex, Offset, OfPartition)| match of {
            OfPartition::Records { records, next, .. } => {
                assert_eq!(next.0, records.len() as i64);
                let values = records.iter().map(|record| record.value.as_ref().unwrap());
                values.enumerate().for_each(|(n, value)| assert_eq!(value[..], [n as u8; RECORD_BYTES]));
                (partition.0, records.len())
            }
            OfPartition::OutOfRange => (partition.0, 0),
        };
        let counts: Vec<_> = came.partitions.iter().map(of).collect();
        let records: usize = counts.iter().map(|(_, records)| records).sum();
        assert_eq!(came.failed, records == 0);
        assert_eq!(held.unwrap_or_default(), records * (2 * RECORD_BYTES + size_of::<Record>()));
        counts
    }

    #[test]
    fn small_records_are_counted_with_what_they_are_kept_in() {
        let record = |offset| Record {
            offset: Offset(offset),
            timestamp: 1,
            key: None,
            value: Some(Bytes::from_static(b"x")),
            headers: Vec::new(),
        };
        let decoded = || Decoded { records: (0..100).map(record).collect(), next: Offset(100) };
        let one = size_of::<Record>() + 2;
        for (room, kept) in [(0, 1), (one * 7, 7), (one * 8 - 1, 7), (one * 100, 100)] {
            let mut decoded = decoded();
            assert_eq!(cut(&mut decoded, room), kept * one);
            assert_eq!((decoded.records.len(), decoded.next), (kept, Offset(kept as i64)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn as_much_is_kept_as_there_is_room_for_and_the_rest_is_let_go() {
        assert_eq!(came(answer(2, Compression::None), &Memory::new(100 << 20)).await, [(0, 40), (1, 40)]);
        let memory = Memory::new(5 << 20);
        let taken = memory.try_take(3 << 20).unwrap();
        // A hundredth of it is for this one.
        for compression in [Compression::None, Compression::Zstd] {
            assert_eq!(came(answer(2, compression), &memory).await, [(0, 1), (1, 1)]);
        }
        let more = memory.try_take(1_500_000).unwrap();
        assert_eq!(
            came(answer(2, Compression::None), &memory).await,
            [],
            "there is no room for it on the way"
        );
        drop((taken, more));
        let can_never = Came::of(answer(2, Compression::None), &[], &Memory::new(400_000)).await;
        assert!(matches!(can_never, Err(ReadError::Full(_))));
    }
}
