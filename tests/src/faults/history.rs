use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    sync::Mutex,
    time::{Duration, Instant},
};

use serde_json::json;

use super::value::RecordId;

/// What a producer was told about a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing yet. At the end of a run this counts as unknown.
    Pending,
    /// Acknowledged; a duplicate's acknowledgement need not carry an offset.
    Ok(Option<i64>),
    /// It was certainly not written.
    Failed(String),
    /// It may or may not have been written.
    Unknown(String),
}

/// A record that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub id: RecordId,
    pub partition: i32,
    pub outcome: Outcome,
    /// Since the history began.
    pub sent_at: Duration,
    pub done_at: Option<Duration>,
}

/// Everything that was sent, and what came of it. Shared by all producers.
pub struct History {
    begun: Instant,
    records: Mutex<BTreeMap<RecordId, Sent>>,
}

/// How many records have which outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub pending: usize,
    pub acked: usize,
    pub failed: usize,
    pub unknown: usize,
}

impl Default for History {
    fn default() -> Self {
        Self { begun: Instant::now(), records: Mutex::default() }
    }
}

impl History {
    /// Before the record leaves.
    pub fn sends(&self, id: RecordId, partition: i32) {
        let sent_at = self.begun.elapsed();
        let sent = Sent { id, partition, outcome: Outcome::Pending, sent_at, done_at: None };
        self.records.lock().unwrap().insert(id, sent);
    }

    pub fn ends(&self, id: RecordId, outcome: Outcome) {
        let done_at = self.begun.elapsed();
        if let Some(sent) = self.records.lock().unwrap().get_mut(&id) {
            sent.outcome = outcome;
            sent.done_at = Some(done_at);
        }
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for sent in self.records.lock().unwrap().values() {
            match sent.outcome {
                Outcome::Pending => counts.pending += 1,
                Outcome::Ok(_) => counts.acked += 1,
                Outcome::Failed(_) => counts.failed += 1,
                Outcome::Unknown(_) => counts.unknown += 1,
            }
        }
        counts
    }

    /// How many records were still not written at that time, and never were as far as their producers know.
    pub fn unwritten_at(&self, at: Instant) -> usize {
        let at = at.duration_since(self.begun);
        let records = self.records.lock().unwrap();
        let unwritten = records.values().filter(|sent| match sent.outcome {
            Outcome::Pending => true,
            Outcome::Unknown(_) => sent.done_at.is_some_and(|done| done > at),
            _ => false,
        });
        unwritten.count()
    }

    pub fn all(&self) -> Vec<Sent> {
        self.records.lock().unwrap().values().cloned().collect()
    }

    /// One JSON object a line, in the order of the ids.
    pub fn write(&self, path: &Path) -> std::io::Result<()> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        for sent in self.all() {
            let (outcome, offset, reason) = match &sent.outcome {
                Outcome::Pending => ("pending", None, None),
                Outcome::Ok(offset) => ("ok", *offset, None),
                Outcome::Failed(reason) => ("failed", None, Some(reason)),
                Outcome::Unknown(reason) => ("unknown", None, Some(reason)),
            };
            let line = json!({
                "producer": sent.id.producer, "sequence": sent.id.sequence, "partition": sent.partition,
                "sent_ms": sent.sent_at.as_millis() as u64, "done_ms": sent.done_at.map(|d| d.as_millis() as u64),
                "outcome": outcome, "offset": offset, "reason": reason,
            });
            writeln!(file, "{line}")?;
        }
        file.flush()
    }
}
