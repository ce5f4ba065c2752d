use std::{collections::BTreeMap, fmt::Write, time::Instant};

use indicatif::{BinaryBytes, HumanCount};

use super::{Place, batch::Batch};

/// How many refused records are named.
const NAMED_MAX: usize = 5;

/// What was acknowledged so far.
pub(super) struct Tally {
    started: Instant,
    pub(super) records: u64,
    /// Of the input, in requests that were answered.
    pub(super) bytes: u64,
    partitions: BTreeMap<i32, u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self { started: Instant::now(), records: 0, bytes: 0, partitions: BTreeMap::new() }
    }

    /// Counts an answer; a text, if some of its records were not acknowledged.
    pub(super) fn add(&mut self, batch: &Batch, places: &[Place]) -> Option<String> {
        let mut refused = Vec::new();
        for (line, place) in (batch.first_line..).zip(places) {
            match (&place.error_code, place.partition) {
                (None, Some(partition)) => {
                    self.records += 1;
                    *self.partitions.entry(partition).or_default() += 1;
                }
                (code, _) => {
                    let reason = place.error.as_deref().unwrap_or("refused without a reason");
                    let code = code.map(|c| format!(" (error {c})")).unwrap_or_default();
                    refused.push(format!("line {line}: {reason}{code}"));
                }
            }
        }
        self.bytes += batch.bytes;
        if places.len() as u64 != batch.records {
            refused.push(format!(
                "{}: {} records were sent and {} answered",
                batch.lines(),
                batch.records,
                places.len()
            ));
        }
        named(&refused)
    }

    pub(super) fn rate(&self) -> String {
        let seconds = self.started.elapsed().as_secs_f64().max(1e-9);
        format!("{} records/s", HumanCount((self.records as f64 / seconds) as u64))
    }

    pub(super) fn summary(&self) -> String {
        let mut text = format!(
            "acknowledged {} records ({}) in {:.2} s, {}\n",
            self.records,
            BinaryBytes(self.bytes),
            self.started.elapsed().as_secs_f64(),
            self.rate(),
        );
        for (partition, records) in &self.partitions {
            let _ = writeln!(text, "  partition {partition}: {records}");
        }
        text
    }
}

/// The first few of many, on one line.
fn named(refused: &[String]) -> Option<String> {
    let first = refused.get(..NAMED_MAX.min(refused.len()))?.join("; ");
    match refused.len() {
        0 => None,
        n if n > NAMED_MAX => Some(format!("{first}; and {} more", n - NAMED_MAX)),
        _ => Some(first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_refusals_are_named_by_their_first_few() {
        let refused: Vec<String> = (1..=7).map(|n| format!("line {n}: no")).collect();
        assert_eq!(named(&refused[..1]).unwrap(), "line 1: no");
        assert!(named(&refused).unwrap().ends_with("line 5: no; and 2 more"));
        assert_eq!(named(&[]), None);
    }
}
