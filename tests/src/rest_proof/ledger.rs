use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

/// What a record holds: a JSON string that no other record has, and that tells where the record must lie.
pub(super) fn value_of(partition: i32, offset: i64) -> String {
    format!("\"{:-<98}\"", format!("{partition}:{offset}:"))
}

/// What arrived, by partition and offset, and what is committed.
pub(super) struct Ledger {
    partitions: Vec<Mutex<Partition>>,
    delivered: AtomicU64,
    again: AtomicU64,
    faults: Mutex<Vec<String>>,
}

struct Partition {
    /// How often the record at each offset was delivered.
    times: Vec<u8>,
    /// As it was told last.
    committed: i64,
}

/// What is shown of many faults.
const FAULTS_KEPT: usize = 20;

impl Ledger {
    /// Of partitions that end at these offsets.
    pub(super) fn new(ends: &[i64]) -> Self {
        let partition = |end: &i64| Mutex::new(Partition { times: vec![0; *end as usize], committed: 0 });
        Self {
            partitions: ends.iter().map(partition).collect(),
            delivered: AtomicU64::new(0),
            again: AtomicU64::new(0),
            faults: Mutex::default(),
        }
    }

    pub(super) fn fault(&self, what: String) {
        self.faults.lock().unwrap().push(what);
    }

    /// A client has this record, in full.
    pub(super) fn arrived(&self, partition: i32, offset: i64, value: &str) {
        if value != value_of(partition, offset) {
            return self.fault(format!("{partition}/{offset} came with the value {value:.40}"));
        }
        let mut of = self.partitions[partition as usize].lock().unwrap();
        let Some(times) = of.times.get_mut(offset as usize) else {
            return self.fault(format!("{partition}/{offset} came, which was never written"));
        };
        *times = times.saturating_add(1);
        match *times {
            1 => self.delivered.fetch_add(1, Ordering::Relaxed),
            _ => self.again.fetch_add(1, Ordering::Relaxed),
        };
    }

    /// What the coordinator said after everything that was noted as arrived by now. Whether everything is committed.
    pub(super) fn committed(&self, told: &BTreeMap<i32, i64>) -> bool {
        let mut is_all = true;
        for (partition, of) in (0..).zip(&self.partitions) {
            let mut of = of.lock().unwrap();
            let now = told.get(&partition).copied().unwrap_or(-1).max(0);
            let before = of.committed;
            if now < before {
                self.fault(format!("partition {partition} was committed up to {before}, and is up to {now}"));
            }
            let passed = before.min(now)..now;
            let lost = passed.clone().filter(|o| of.times.get(*o as usize).is_none_or(|times| *times == 0));
            let lost: Vec<i64> = lost.collect();
            if let (Some(first), Some(last)) = (lost.first(), lost.last()) {
                self.fault(format!(
                    "partition {partition} is committed up to {now}, and {} of {first} to {last} came to nobody",
                    lost.len()
                ));
            }
            of.committed = now;
            is_all &= now == of.times.len() as i64;
        }
        is_all
    }

    /// How many records came, and how often one came that had come before.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.delivered.load(Ordering::Relaxed), self.again.load(Ordering::Relaxed))
    }

    pub(super) fn committed_records(&self) -> i64 {
        self.partitions.iter().map(|of| of.lock().unwrap().committed).sum()
    }

    /// How many records came to nobody, and how many more than once.
    pub(super) fn missing_and_repeated(&self) -> (usize, usize) {
        let count = |wanted: fn(u8) -> bool| -> usize {
            let of = |p: &Mutex<Partition>| p.lock().unwrap().times.iter().filter(|t| wanted(**t)).count();
            self.partitions.iter().map(of).sum()
        };
        (count(|times| times == 0), count(|times| times > 1))
    }

    /// Where what is committed does not reach the end.
    pub(super) fn uncommitted(&self) -> Vec<String> {
        let short = (0..).zip(&self.partitions).filter_map(|(partition, of): (i32, _)| {
            let of = of.lock().unwrap();
            let end = of.times.len() as i64;
            (of.committed != end).then(|| format!("{partition}: {} of {end}", of.committed))
        });
        short.collect()
    }

    pub(super) fn fault_count(&self) -> usize {
        self.faults.lock().unwrap().len()
    }

    pub(super) fn faults(&self) -> Vec<String> {
        self.faults.lock().unwrap().iter().take(FAULTS_KEPT).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(offsets: &[i64]) -> Ledger {
        let ledger = Ledger::new(&[3]);
        offsets.iter().for_each(|offset| ledger.arrived(0, *offset, &value_of(0, *offset)));
        ledger
    }

    #[test]
    fn a_commit_may_pass_only_what_came() {
        let ledger = arrived(&[0, 2]);
        assert!(!ledger.committed(&[(0, 1)].into()));
        assert_eq!(ledger.fault_count(), 0);
        assert!(ledger.committed(&[(0, 3)].into()), "all is committed");
        assert_eq!(ledger.faults(), ["partition 0 is committed up to 3, and 1 of 1 to 1 came to nobody"]);
        assert_eq!(ledger.missing_and_repeated(), (1, 0));
    }

    #[test]
    fn a_commit_that_goes_back_is_a_fault_and_a_record_that_comes_again_is_not() {
        let ledger = arrived(&[0, 1, 1, 2]);
        assert!(ledger.committed(&[(0, 3)].into()));
        assert_eq!((ledger.fault_count(), ledger.counts()), (0, (3, 1)));
        assert!(!ledger.committed(&[].into()));
        assert_eq!(ledger.faults(), ["partition 0 was committed up to 3, and is up to 0"]);
    }

    #[test]
    fn a_record_that_nobody_wrote_is_a_fault() {
        let ledger = arrived(&[3]);
        ledger.arrived(0, 0, &value_of(0, 1));
        assert_eq!((ledger.fault_count(), ledger.counts()), (2, (0, 0)));
    }
}
