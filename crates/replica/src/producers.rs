mod keyed;

use std::collections::BTreeMap;

use domain::{Offset, ProducerEpoch, ProducerId};
use records::{BatchHeader, sequence_after};

use self::keyed::Keyed;
pub use self::keyed::{KEYED_BATCHES_MAX, KEYED_WINDOW_MS};

/// How many batches of a producer are remembered, to answer duplicates: a client keeps at most five in flight.
pub const PRODUCER_BATCHES_KEPT: usize = 5;
/// A producer that wrote nothing for a day is forgotten (Kafka's `producer.id.expiration.ms`).
pub const PRODUCER_EXPIRATION_MS: i64 = 86_400_000;

/// What producers had under way when a leader changed has come to the new one by then.
const SETTLES_MS: u64 = 5_000;

/// The idempotent producers of one partition (KIP-98, KIP-360): what each wrote last.
///
/// Everything here follows from the log, in log order. It is flat, a few words a producer, because a partition may have
/// hundreds of thousands of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producers {
    by_id: BTreeMap<ProducerId, ProducerState>,
    keyed: Keyed,
}

/// A batch of a producer that is in the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProducerBatch {
    pub last_sequence: i32,
    /// Last minus first, of the offsets as of the sequences.
    pub offset_delta: i32,
    pub last_offset: Offset,
    /// The batch's largest timestamp.
    pub timestamp: i64,
}

impl ProducerBatch {
    pub fn first_sequence(&self) -> i32 {
        back(self.last_sequence, self.offset_delta)
    }

    pub fn base_offset(&self) -> Offset {
        self.last_offset.plus(-i64::from(self.offset_delta))
    }

    fn has_range_of(&self, header: &BatchHeader) -> bool {
        (self.first_sequence(), self.last_sequence) == (header.base_sequence, header.last_sequence())
    }

    fn as_duplicate(&self) -> SequenceCheck {
        let (base_offset, last_offset) = (self.base_offset(), self.last_offset);
        SequenceCheck::Duplicate { base_offset, last_offset, timestamp: self.timestamp }
    }

    fn of(header: &BatchHeader) -> Self {
        Self {
            last_sequence: header.last_sequence(),
            offset_delta: header.last_offset_delta,
            last_offset: header.last_offset(),
            timestamp: header.max_timestamp,
        }
    }
}

/// What is known of one producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerState {
    epoch: ProducerEpoch,
    /// How many of `batches` are in use, oldest first.
    kept: u8,
    batches: [ProducerBatch; PRODUCER_BATCHES_KEPT],
    /// The first sequence of those that were remembered once, or −1: a batch between it and the oldest one kept was
    /// certainly appended.
    forgotten_from: i32,
    last_seen_ms: i64,
}

/// What a batch's sequence means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceCheck {
    /// It is the next one: append it.
    Append,
    /// It is in the log already, here: answer with that.
    Duplicate { base_offset: Offset, last_offset: Offset, timestamp: i64 },
}

/// Why a producer's batch must not be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerRefusal {
    /// Kafka's OUT_OF_ORDER_SEQUENCE_NUMBER.
    #[error("producer {producer}: sequence {got} is out of order, {expected} comes next")]
    OutOfOrderSequence { producer: ProducerId, expected: i32, got: i32 },
    /// Kafka's INVALID_PRODUCER_EPOCH: the sender was fenced.
    #[error("producer {producer}: epoch {got} is stale, the producer is at {current}")]
    StaleEpoch { producer: ProducerId, current: ProducerEpoch, got: ProducerEpoch },
    /// Kafka's DUPLICATE_SEQUENCE_NUMBER: appended long ago, its offset is not remembered.
    #[error("producer {producer}: sequence {got} was appended before the oldest remembered, {oldest}")]
    DuplicateSequence { producer: ProducerId, oldest: i32, got: i32 },
    /// An idempotency key came with other records before. On the wire OUT_OF_ORDER_SEQUENCE_NUMBER.
    #[error("producer {producer}: its idempotency key came with other records before")]
    KeyReused { producer: ProducerId },
}

impl ProducerRefusal {
    /// Whether it may be owed to a change of leaders `led_ms` ago. A new leader sees gaps that are none: the batch before was
    /// sent while it did not lead yet, and was refused, or it went to the former leader. A client that is told "out of
    /// order" then takes it for a loss, begins a new epoch, and sends again what is there already.
    pub fn may_be_under_way(&self, led_ms: u64) -> bool {
        matches!(self, Self::OutOfOrderSequence { .. }) && led_ms < SETTLES_MS
    }
}

impl Producers {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> usize {
        self.by_id.len() + self.keyed.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn get(&self, id: ProducerId) -> Option<ProducerState> {
        if id.is_of_key() { self.keyed.get(id) } else { self.by_id.get(&id).copied() }
    }

    /// In the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (ProducerId, ProducerState)> {
        self.by_id.iter().map(|(id, state)| (*id, *state)).chain(self.keyed.iter())
    }

    /// Whether the batch is its producer's next one. A batch without a producer id always is; a producer that is not
    /// known, or was silent for longer than [`PRODUCER_EXPIRATION_MS`], may start at any sequence. Of an idempotency key
    /// there is one batch only.
    pub fn check(&self, header: &BatchHeader, now_ms: i64) -> Result<SequenceCheck, ProducerRefusal> {
        if header.producer_id.is_of_key() {
            return self.keyed.check(header, now_ms);
        }
        match self.by_id.get(&header.producer_id) {
            Some(state) if header.has_producer_id() && !state.is_expired(now_ms, PRODUCER_EXPIRATION_MS) => {
                state.check(header)
            }
            _ => Ok(SequenceCheck::Append),
        }
    }

    /// To a leader that began `led_ms` ago, a producer that it does not know must come with its first batch: another one may
    /// have been sent before, and refused when this node did not lead yet. A client whose later batch is acknowledged holds
    /// the earlier one for acknowledged as well (librdkafka does), and it would be lost. Five seconds later a
    /// producer may start anywhere (KIP-360).
    pub fn check_first(&self, header: &BatchHeader, now_ms: i64, led_ms: u64) -> Result<(), ProducerRefusal> {
        let (producer, got) = (header.producer_id, header.base_sequence);
        let known = |state: &ProducerState| !state.is_expired(now_ms, PRODUCER_EXPIRATION_MS);
        let begins = !header.has_producer_id() || got <= 0 || producer.is_of_key();
        match led_ms >= SETTLES_MS || begins || self.by_id.get(&producer).is_some_and(known) {
            true => Ok(()),
            false => Err(ProducerRefusal::OutOfOrderSequence { producer, expected: 0, got }),
        }
    }

    /// Remembers a batch that is in the log, with its final offsets. `seen_ms` is when it was appended, as nearly as
    /// is known.
    pub fn record(&mut self, header: &BatchHeader, seen_ms: i64) {
        if !header.has_producer_id() {
            return;
        }
        if header.producer_id.is_of_key() {
            return self.keyed.record(header.producer_id, ProducerBatch::of(header), seen_ms);
        }
        let fresh = ProducerState::new(header.producer_epoch, seen_ms);
        let state = self.by_id.entry(header.producer_id).or_insert(fresh);
        let has_sequence = !header.is_control() && header.base_sequence >= 0;
        // A producer that was forgotten and came back may go on anywhere: what is kept has no gaps.
        let goes_on = !has_sequence || state.next_sequence().is_none_or(|next| next == header.base_sequence);
        if state.epoch != header.producer_epoch || !goes_on {
            *state = fresh;
        }
        state.last_seen_ms = seen_ms.max(state.last_seen_ms);
        // A transaction marker has no sequence: it only fences.
        if has_sequence {
            state.push(ProducerBatch::of(header));
        }
    }

    /// Puts back a producer as a snapshot has it: its batches, oldest first, of which the last five count.
    pub fn restore(
        &mut self,
        id: ProducerId,
        epoch: ProducerEpoch,
        batches: impl IntoIterator<Item = ProducerBatch>,
        last_seen_ms: i64,
    ) {
        if id.is_of_key() {
            if let Some(batch) = batches.into_iter().last() {
                self.keyed.record(id, batch, last_seen_ms);
            }
            return;
        }
        let mut state = ProducerState::new(epoch, last_seen_ms);
        batches.into_iter().for_each(|batch| state.push(batch));
        state.forgotten_from = -1;
        self.by_id.insert(id, state);
    }

    /// Forgets what lies at or above `end`, and says whether there was anything. If so, the caller replays the log from
    /// a snapshot: what the forgotten batches had displaced (older batches, an older epoch) is not here any more.
    pub fn truncate_to(&mut self, end: Offset) -> bool {
        let mut changed = self.keyed.truncate_to(end);
        self.by_id.retain(|_, state| {
            let below = state.batches().iter().take_while(|batch| batch.last_offset < end).count();
            let cut = below < state.batches().len();
            state.kept = below as u8;
            changed |= cut;
            !(cut && below == 0)
        });
        changed
    }

    /// Forgets producers that were silent for `expiration_ms`, and keys whose window is over; how many.
    pub fn expire(&mut self, now_ms: i64, expiration_ms: i64) -> usize {
        let before = self.by_id.len();
        self.by_id.retain(|_, state| !state.is_expired(now_ms, expiration_ms));
        before - self.by_id.len() + self.keyed.expire(now_ms)
    }

    pub fn clear(&mut self) {
        *self = Self::new();
    }
}

impl ProducerState {
    fn new(epoch: ProducerEpoch, last_seen_ms: i64) -> Self {
        let batches = [ProducerBatch::default(); PRODUCER_BATCHES_KEPT];
        Self { epoch, kept: 0, batches, forgotten_from: -1, last_seen_ms }
    }

    pub fn epoch(&self) -> ProducerEpoch {
        self.epoch
    }

    /// The last batches, oldest first, at most five.
    pub fn batches(&self) -> &[ProducerBatch] {
        &self.batches[..usize::from(self.kept)]
    }

    /// When the producer's last batch was appended, as nearly as is known.
    pub fn last_seen_ms(&self) -> i64 {
        self.last_seen_ms
    }

    fn next_sequence(&self) -> Option<i32> {
        self.batches().last().map(|last| sequence_after(last.last_sequence, 1))
    }

    fn is_expired(&self, now_ms: i64, expiration_ms: i64) -> bool {
        now_ms.saturating_sub(self.last_seen_ms) >= expiration_ms
    }

    fn push(&mut self, batch: ProducerBatch) {
        if usize::from(self.kept) == PRODUCER_BATCHES_KEPT {
            if self.forgotten_from < 0 {
                self.forgotten_from = self.batches[0].first_sequence();
            }
            self.batches.rotate_left(1);
            self.kept -= 1;
        }
        self.batches[usize::from(self.kept)] = batch;
        self.kept += 1;
    }

    fn check(&self, header: &BatchHeader) -> Result<SequenceCheck, ProducerRefusal> {
        let (producer, got) = (header.producer_id, header.base_sequence);
        if header.producer_epoch < self.epoch {
            return Err(ProducerRefusal::StaleEpoch {
                producer,
                current: self.epoch,
                got: header.producer_epoch,
            });
        }
        let same_epoch = header.producer_epoch == self.epoch;
        // A new epoch, or one of which only a marker was written, begins at 0.
        let expected = self.next_sequence().filter(|_| same_epoch).unwrap_or(0);
        if got == expected {
            return Ok(SequenceCheck::Append);
        }
        if same_epoch {
            if let Some(known) = self.duplicate_of(header) {
                return Ok(known.as_duplicate());
            }
            if let Some(oldest) = self.batches().first().map(ProducerBatch::first_sequence)
                && self.was_forgotten(got, oldest)
            {
                return Err(ProducerRefusal::DuplicateSequence { producer, oldest, got });
            }
        }
        Err(ProducerRefusal::OutOfOrderSequence { producer, expected, got })
    }

    fn duplicate_of(&self, header: &BatchHeader) -> Option<&ProducerBatch> {
        self.batches().iter().find(|batch| batch.has_range_of(header))
    }

    /// Clients take "duplicate" for success, so it is only said of what was certainly appended: not of everything
    /// below the oldest, because an unknown producer may have started anywhere.
    fn was_forgotten(&self, sequence: i32, oldest: i32) -> bool {
        self.forgotten_from >= 0
            && sequence >= 0
            && back(sequence, self.forgotten_from) < back(oldest, self.forgotten_from)
    }
}

/// The sequence `steps` before `sequence`; also how far `steps` is behind it on the circle of sequences.
fn back(sequence: i32, steps: i32) -> i32 {
    ((i64::from(sequence) - i64::from(steps)) & i64::from(i32::MAX)) as i32
}

#[cfg(test)]
mod tests;
