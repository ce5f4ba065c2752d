//! Reading by topic, partition and offset. It keeps nothing between two reads, so any gateway serves any of them.

use std::time::Duration;

use bytes::Bytes;
use domain::{Offset, TopicName};
use records::{BatchError, Record, check_batches, decode_records};
use tokio::time::Instant;
use wire::{ResponseError, messages::FetchResponse};

use crate::{
    App,
    fetch_request::{Part, fetch_request},
    leader::{Asked, Nodes, at_leader},
    memory::{Cost, Share},
    routing::{Route, RouteError, Target},
};

/// Why a partition could not be read. A read changes nothing, so each of these may be tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    #[error("offset {offset} lies outside the partition{}", range_text(.range))]
    OutOfRange {
        offset: i64,
        /// The first offset that is there and the one after the last.
        range: Option<(Offset, Offset)>,
    },
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error("the partition's leader did not answer in time: {0}")]
    Unavailable(String),
    #[error("the partition's leader refused: {0}")]
    Refused(ResponseError),
    #[error("the partition's leader sent what is no record batch: {0}")]
    Corrupt(String),
    #[error("{0}")]
    Full(String),
    #[error(
        "the {part} at offset {offset} of {topic}-{partition} is not JSON ({reason}); read it as \
         application/vnd.kafka.binary.v2+json"
    )]
    NotJson {
        part: &'static str,
        topic: TopicName,
        partition: domain::PartitionIndex,
        offset: Offset,
        reason: String,
    },
}

fn range_text(range: &Option<(Offset, Offset)>) -> String {
    range
        .map(|(first, end)| format!(", which has offsets {first} up to but not including {end}"))
        .unwrap_or_default()
}

/// What to read.
#[derive(Clone, Debug)]
pub(crate) struct Read {
    pub(crate) topic: TopicName,
    pub(crate) target: Target,
    pub(crate) offset: Offset,
    /// How long to wait for a first record.
    pub(crate) wait: Duration,
    pub(crate) bytes_max: usize,
}

/// What one batch may decompress to: the largest answer and a batch's slack.
const BATCH_BYTES_MAX: usize = 128 << 20;
/// What takes longer to decode than a task may hold up the others.
const INLINE_BYTES_MAX: usize = 1 << 20;

/// A record is there as it came and as it is shown, which is about two and two thirds of it (see [`crate::page`]).
const COST: Cost = Cost { leaders: 1, shown: SHOWN_COST };
pub(crate) const SHOWN_COST: usize = 3;
/// What is asked for of a leader that has nothing yet: whoever waits holds no memory, and so must bring little.
const WAITING_BYTES: usize = 64 << 10;

/// Reads records from the offset on, at least one if there is one, however large; and the room that there is for them.
pub(crate) async fn read(app: &App, read: &Read) -> Result<(Vec<Record>, Share), ReadError> {
    let deadline = Instant::now() + read.wait;
    let mut at = read.offset;
    // The first look does not wait, so that what is there costs no connection of its own.
    let mut waiting = false;
    let mut least = 0;
    loop {
        let looked = match waiting {
            false => Some(app.memory.share(read.bytes_max, COST, least).await?),
            true => None,
        };
        let bytes_max = looked.as_ref().map_or(WAITING_BYTES.min(read.bytes_max), Share::bytes);
        let fetched = at_leader(&app.image, read.target, |route| {
            let left = deadline.saturating_duration_since(Instant::now());
            fetch(&app.nodes, read, at, bytes_max, if waiting { left } else { Duration::ZERO }, route)
        });
        let bytes = tokio::select! {
            fetched = fetched => fetched?,
            // A poll that waits for records must not hold the shutdown up.
            () = app.stopping.cancelled(), if waiting => return Ok((Vec::new(), app.memory.share(1, COST, 0).await?)),
        };
        let mut share = match looked {
            Some(share) => share,
            None => app.memory.share(read.bytes_max, COST, bytes.len()).await?,
        };
        if !share.covers(bytes.len(), &app.memory) {
            least = bytes.len();
            continue;
        }
        let decoded = decode_aside(bytes, at, share.bytes()).await?;
        // Batches without a record may be passed over when the time is up, too: behind them there may be some.
        let is_over = Instant::now() >= deadline && decoded.next <= at;
        if !decoded.records.is_empty() || is_over || app.stopping.is_cancelled() {
            return Ok((decoded.records, share));
        }
        // Batches without a record for us are passed over; with none at all it is time to wait.
        waiting = decoded.next <= at;
        at = at.max(decoded.next);
    }
}

async fn fetch(
    nodes: &Nodes,
    read: &Read,
    offset: Offset,
    bytes_max: usize,
    wait: Duration,
    route: Route,
) -> Asked<Bytes> {
    let part = Part {
        topic: read.target.topic,
        name: &read.topic,
        partition: read.target.partition,
        leader_epoch: route.leader_epoch,
        offset,
    };
    let request = fetch_request([part], wait, 1, bytes_max);
    match nodes.call(&route.address, request, wait).await {
        Ok(answer) => records_of(answer, read, offset),
        Err(error) => error.into(),
    }
}

fn records_of(answer: FetchResponse, read: &Read, offset: Offset) -> Asked<Bytes> {
    if let Some(code) = ResponseError::try_from_code(answer.error_code) {
        return code.into();
    }
    let of_partition = answer
        .responses
        .into_iter()
        .flat_map(|topic| topic.partitions)
        .find(|p| p.partition_index == read.target.partition.0);
    let Some(partition) = of_partition else {
        return Asked::Elsewhere("the answer does not name the partition".to_owned());
    };
    match ResponseError::try_from_code(partition.error_code) {
        // A leader that does not know yet what is committed has nothing to show, which is not the same as having nothing.
        None if partition.high_watermark < 0 && partition.records.as_ref().is_none_or(Bytes::is_empty) => {
            ResponseError::OffsetNotAvailable.into()
        }
        None => Asked::Done(partition.records.unwrap_or_default()),
        Some(ResponseError::OffsetOutOfRange) => {
            Asked::Failed(ReadError::OutOfRange { offset: offset.0, range: None })
        }
        Some(code) => code.into(),
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) records: Vec<Record>,
    /// Where to go on reading.
    pub(crate) next: Offset,
}

/// The records from the offset on, up to `bytes_max` of keys, values and headers, but at least one.
pub(crate) async fn decode_aside(bytes: Bytes, from: Offset, bytes_max: usize) -> Result<Decoded, ReadError> {
    if bytes.len() <= INLINE_BYTES_MAX {
        return decode(&bytes, from, bytes_max);
    }
    let decoded = tokio::task::spawn_blocking(move || decode(&bytes, from, bytes_max)).await;
    decoded.unwrap_or_else(|e| Err(ReadError::Corrupt(e.to_string())))
}

fn decode(bytes: &Bytes, from: Offset, bytes_max: usize) -> Result<Decoded, ReadError> {
    let mut decoded = Decoded { records: Vec::new(), next: from };
    let corrupt = |error: BatchError| ReadError::Corrupt(error.to_string());
    let mut taken = 0usize;
    for (index, batch) in check_batches(bytes).enumerate() {
        let (range, header) = match batch {
            Ok(batch) => batch,
            // A leader cuts an answer at its limit, in the middle of a batch; the first one is always whole.
            Err(BatchError::Truncated { .. }) if index > 0 => break,
            Err(error) => return Err(corrupt(error)),
        };
        // An answer begins with the batch that holds the offset, which may begin before it.
        if header.next_offset() <= from {
            continue;
        }
        if !header.is_control() {
            for record in decode_records(&bytes.slice(range), BATCH_BYTES_MAX).map_err(corrupt)? {
                if record.offset < from {
                    continue;
                }
                taken = taken.saturating_add(payload_bytes(&record));
                if taken > bytes_max && !decoded.records.is_empty() {
                    return Ok(decoded);
                }
                decoded.next = record.offset.plus(1);
                decoded.records.push(record);
            }
        }
        decoded.next = header.next_offset();
    }
    Ok(decoded)
}

pub(crate) fn payload_bytes(record: &Record) -> usize {
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + length(value)).sum();
    length(&record.key) + length(&record.value) + headers
}

#[cfg(test)]
mod tests {
    use domain::LeaderEpoch;
    use records::{BatchBuilder, BatchHeader, Compression, patched_prefix};
    use wire::messages::fetch_response::{FetchableTopicResponse, PartitionData};

    use super::*;

    fn batch(base: i64, values: &[&str], control: bool) -> Vec<u8> {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.control(control);
        for value in values {
            builder.push(1, None, Some(value.as_bytes()), &[]);
        }
        let bytes = builder.build();
        let header = BatchHeader::parse(&bytes).unwrap();
        [&patched_prefix(&header, Offset(base), LeaderEpoch(0))[..], &bytes[16..]].concat()
    }

    fn offsets(decoded: &Decoded) -> Vec<i64> {
        decoded.records.iter().map(|r| r.offset.0).collect()
    }

    #[test]
    fn reading_begins_at_the_offset_in_the_middle_of_a_batch() {
        let bytes = Bytes::from([batch(5, &["a", "b", "c"], false), batch(8, &["d"], false)].concat());
        let decoded = decode(&bytes, Offset(6), 100).unwrap();
        assert_eq!((offsets(&decoded), decoded.next), (vec![6, 7, 8], Offset(9)));
    }

    #[test]
    fn an_answer_is_bounded_but_has_at_least_one_record() {
        let bytes = Bytes::from(batch(0, &["aaaa", "bbbb", "cccc"], false));
        let decoded = decode(&bytes, Offset(0), 8).unwrap();
        assert_eq!((offsets(&decoded), decoded.next), (vec![0, 1], Offset(2)));
        let decoded = decode(&bytes, Offset(1), 1).unwrap();
        assert_eq!((offsets(&decoded), decoded.next), (vec![1], Offset(2)));
    }

    #[test]
    fn control_batches_are_passed_over() {
        let bytes = Bytes::from([batch(0, &["marker"], true), batch(1, &["a"], false)].concat());
        assert_eq!(offsets(&decode(&bytes, Offset(0), 100).unwrap()), [1]);
        let only = Bytes::from(batch(0, &["marker"], true));
        let decoded = decode(&only, Offset(0), 100).unwrap();
        assert_eq!((offsets(&decoded), decoded.next), (vec![], Offset(1)));
    }

    #[test]
    fn a_cut_last_batch_is_left_for_the_next_read() {
        let whole = [batch(0, &["a"], false), batch(1, &["b"], false)].concat();
        let cut = Bytes::copy_from_slice(&whole[..whole.len() - 1]);
        assert_eq!(offsets(&decode(&cut, Offset(0), 100).unwrap()), [0]);
        let none = Bytes::copy_from_slice(&whole[..30]);
        assert!(matches!(decode(&none, Offset(0), 100), Err(ReadError::Corrupt(_))));
        assert_eq!(decode(&Bytes::new(), Offset(3), 100).unwrap().next, Offset(3));
    }

    /// A leader that was killed while it was alone, for one: what was committed it knows again only with the others.
    #[test]
    fn an_empty_answer_without_a_high_watermark_says_nothing() {
        let target =
            Target { topic: domain::TopicId(uuid::Uuid::nil()), partition: domain::PartitionIndex(0) };
        let topic = TopicName::new("t").unwrap();
        let read = Read { topic, target, offset: Offset(0), wait: Duration::ZERO, bytes_max: 100 };
        let answer = |high_watermark: i64, records: Bytes| {
            let data =
                PartitionData::default().with_high_watermark(high_watermark).with_records(Some(records));
            let topic = FetchableTopicResponse::default().with_partitions(vec![data]);
            records_of(FetchResponse::default().with_responses(vec![topic]), &read, Offset(0))
        };
        assert!(matches!(answer(-1, Bytes::new()), Asked::Elsewhere(_)));
        assert!(matches!(answer(0, Bytes::new()), Asked::Done(_)));
        assert!(matches!(answer(-1, batch(0, &["a"], false).into()), Asked::Done(_)));
    }

    #[test]
    fn a_flipped_bit_is_an_error() {
        let mut bytes = batch(0, &["a"], false);
        *bytes.last_mut().unwrap() ^= 1;
        assert!(matches!(decode(&bytes.into(), Offset(0), 100), Err(ReadError::Corrupt(_))));
    }
}
