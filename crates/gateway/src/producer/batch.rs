use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{Offset, ProducerEpoch, ProducerId};
use records::{BatchBuilder, BatchError, Compression, decode_records};
use tokio::{sync::SetOnce, time::Instant};

use super::{OutRecord, ProduceError};
use crate::memory::Held;

/// How a batch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) base: Offset,
    /// The leader's time in the place of the records' own, where the topic wants that.
    pub(crate) appended_at: Option<i64>,
}

type Outcome = SetOnce<Result<Written, ProduceError>>;

/// What one record's producer waits on.
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    outcome: Arc<Outcome>,
    /// The record's place in its batch.
    index: i32,
}

impl Receipt {
    /// The record's offset, and its time if the leader gave it one.
    pub(crate) async fn wait(&self) -> Result<(Offset, Option<i64>), ProduceError> {
        let written = self.outcome.wait().await.clone()?;
        Ok((written.base.plus(self.index.into()), written.appended_at))
    }
}

/// Who a batch is from, as its leader tells duplicates by (KIP-98).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) producer: ProducerId,
    pub(super) next_sequence: i32,
}

impl Identity {
    pub(super) fn new(producer: ProducerId) -> Self {
        Self { producer, next_sequence: 0 }
    }

    /// Once so many records were written.
    pub(super) fn after(self, records: i32) -> Self {
        Self { next_sequence: records::sequence_after(self.next_sequence, records), ..self }
    }
}

/// Records of any number of requests for one partition.
#[derive(Debug)]
pub(super) struct Batch {
    builder: BatchBuilder,
    pub(super) opened: Instant,
    pub(super) records: i32,
    outcome: Arc<Outcome>,
    held: Option<Held>,
}

/// Larger batches gain nothing; a single larger record still goes, if its topic takes it.
const BATCH_BYTES_MAX: usize = 1 << 20;

impl Batch {
    pub(super) fn new(opened: Instant) -> Self {
        Self {
            builder: BatchBuilder::new(Compression::None),
            opened,
            records: 0,
            outcome: Arc::default(),
            held: None,
        }
    }

    /// Whether the record may join. A batch that waited for long takes no more, or the last to come would be given up
    /// with the first.
    pub(super) fn takes(
        &self,
        record: &OutRecord<'_>,
        batch_bytes_max: usize,
        now: Instant,
        age_max: Duration,
    ) -> bool {
        let bytes = self.builder.encoded_bytes() + record.bytes_bound();
        bytes <= batch_bytes_max.min(BATCH_BYTES_MAX) && now < self.opened + age_max
    }

    pub(super) fn push(&mut self, record: &OutRecord<'_>, held: Option<Held>) -> Receipt {
        record.add_to(&mut self.builder);
        match (&mut self.held, held) {
            (Some(all), Some(more)) => all.merge(more),
            (all @ None, more) => *all = more,
            (Some(_), None) => {}
        }
        let receipt = Receipt { outcome: self.outcome.clone(), index: self.records };
        self.records += 1;
        receipt
    }

    /// The bytes to send; once.
    pub(super) fn encode(&mut self, identity: Identity) -> Bytes {
        self.builder.producer(identity.producer, ProducerEpoch(0), identity.next_sequence);
        self.builder.build()
    }

    pub(super) fn end(self, outcome: Result<Written, ProduceError>) {
        // Set by nobody else: `Drop` comes after this.
        let _ = self.outcome.set(outcome);
    }
}

impl Drop for Batch {
    /// Nobody may wait forever: a batch that is let go without an end (the gateway stops, a task panics) may have left.
    fn drop(&mut self) {
        let message = "the gateway let go of the batch".to_owned();
        // Already set, as a rule.
        let _ = self.outcome.set(Err(ProduceError::Unknown(message)));
    }
}

/// The same records from another producer.
pub(super) fn with_identity(batch: &Bytes, identity: Identity) -> Result<Bytes, BatchError> {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.producer(identity.producer, ProducerEpoch(0), identity.next_sequence);
    for record in decode_records(batch, usize::MAX)? {
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            record.headers.iter().map(|(name, value)| (name.as_ref(), value.as_deref())).collect();
        builder.push(record.timestamp, record.key.as_deref(), record.value.as_deref(), &headers);
    }
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use records::BatchHeader;

    use super::*;

    fn record(value: &[u8]) -> OutRecord<'_> {
        OutRecord {
            timestamp: 5,
            key: Some(b"k"[..].into()),
            value: Some(value.into()),
            headers: vec![("h".into(), Some(vec![1]))],
        }
    }

    #[tokio::test]
    async fn each_record_learns_its_own_offset() {
        let mut batch = Batch::new(Instant::now());
        let receipts = [batch.push(&record(b"a"), None), batch.push(&record(b"b"), None)];
        batch.end(Ok(Written { base: Offset(7), appended_at: None }));
        assert_eq!(receipts[0].wait().await, Ok((Offset(7), None)));
        assert_eq!(receipts[1].wait().await, Ok((Offset(8), None)));
    }

    #[tokio::test]
    async fn a_batch_that_is_let_go_has_an_unknown_outcome() {
        let mut batch = Batch::new(Instant::now());
        let receipt = batch.push(&record(b"a"), None);
        drop(batch);
        assert!(matches!(receipt.wait().await, Err(ProduceError::Unknown(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_or_an_old_batch_takes_no_more() {
        let now = Instant::now();
        let age = Duration::from_secs(15);
        let mut batch = Batch::new(now);
        let value = vec![0; 600 << 10];
        assert!(batch.takes(&record(&value), 1 << 20, now, age));
        batch.push(&record(&value), None);
        assert!(!batch.takes(&record(&value), 8 << 20, now, age), "over 1 MiB");
        assert!(batch.takes(&record(b"a"), 1 << 20, now, age));
        assert!(!batch.takes(&record(b"a"), 600 << 10, now, age), "the topic takes less");
        assert!(!batch.takes(&record(b"a"), 1 << 20, now + age, age), "too old");
    }

    #[test]
    fn a_new_identity_changes_nothing_else() {
        let (first, second) = (Identity::new(ProducerId(1)).after(40), Identity::new(ProducerId(2)));
        let mut batch = Batch::new(Instant::now());
        batch.push(&record(b"a"), None);
        batch.push(&record(b"b"), None);
        let sent = batch.encode(first);
        let again = with_identity(&sent, second).unwrap();
        let (old, new) = (BatchHeader::parse(&sent).unwrap(), BatchHeader::parse(&again).unwrap());
        assert_eq!((old.producer_id, old.base_sequence), (ProducerId(1), 40));
        assert_eq!((new.producer_id, new.base_sequence), (ProducerId(2), 0));
        assert_eq!(decode_records(&sent, 1_000).unwrap(), decode_records(&again, 1_000).unwrap());
    }
}
