use std::{collections::BTreeMap, fmt::Write, time::Instant};

use indicatif::{BinaryBytes, HumanCount};

use super::{Place, batch::Batch};

/// How many reasons of refused records are told.
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
        let mut refused = Refused::default();
        for (line, place) in (batch.first_line..).zip(places) {
            match (&place.error_code, place.partition) {
                (None, Some(partition)) => {
                    self.records += 1;
                    *self.partitions.entry(partition).or_default() += 1;
                }
                (code, _) => {
                    let reason = place.error.as_deref().unwrap_or("refused without a reason");
                    let code = code.map(|c| format!(" (error {c})")).unwrap_or_default();
                    refused.add(line, format!("{reason}{code}"));
                }
            }
        }
        self.bytes += batch.bytes;
        let mut told: Vec<String> = refused.told().into_iter().collect();
        if places.len() as u64 != batch.records {
            told.push(format!(
                "{}: {} records were sent and {} answered",
                batch.lines(),
                batch.records,
                places.len()
            ));
        }
        (!told.is_empty()).then(|| told.join("; "))
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

/// Refused records by their reason, in the order of their first lines.
#[derive(Default)]
struct Refused(Vec<Reason>);

struct Reason {
    text: String,
    first_line: u64,
    records: u64,
}

impl Refused {
    fn add(&mut self, line: u64, text: String) {
        // A batch has few reasons, and the last one is the likeliest.
        match self.0.iter_mut().rev().find(|reason| reason.text == text) {
            Some(reason) => reason.records += 1,
            None => self.0.push(Reason { text, first_line: line, records: 1 }),
        }
    }

    /// Each reason once, and no more than a few; `None`: nothing was refused.
    fn told(&self) -> Option<String> {
        let named = &self.0[..NAMED_MAX.min(self.0.len())];
        let mut told: Vec<String> = named.iter().map(Reason::told).collect();
        match self.0[named.len()..].iter().map(|reason| reason.records).sum() {
            0 => {}
            more => told.push(format!("and {more} records more for other reasons")),
        }
        (!told.is_empty()).then(|| told.join("; "))
    }
}

impl Reason {
    fn told(&self) -> String {
        let first = format!("line {}: {}", self.first_line, self.text);
        match self.records - 1 {
            0 => first,
            1 => format!("{first}, and 1 more record for the same reason"),
            more => format!("{first}, and {more} more records for the same reason"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(reasons: impl IntoIterator<Item = &'static str>) -> Option<String> {
        let mut refused = Refused::default();
        for (line, reason) in (1..).zip(reasons) {
            refused.add(line, reason.to_owned());
        }
        refused.told()
    }

    #[test]
    fn each_reason_is_told_once_with_the_number_of_its_records() {
        assert_eq!(told([]), None);
        assert_eq!(told(["no"]).unwrap(), "line 1: no");
        assert_eq!(
            told(["full", "no", "full", "full"]).unwrap(),
            "line 1: full, and 2 more records for the same reason; line 2: no"
        );
        assert_eq!(
            told(std::iter::repeat_n("full", 995)).unwrap(),
            "line 1: full, and 994 more records for the same reason"
        );
    }

    #[test]
    fn many_reasons_are_told_by_their_first_few() {
        let many = told(["a", "b", "c", "d", "e", "f", "g", "f"]).unwrap();
        assert!(many.ends_with("line 5: e; and 3 records more for other reasons"), "{many}");
    }
}
