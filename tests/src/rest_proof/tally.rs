use std::{collections::BTreeMap, fmt, sync::Mutex};

/// What happened how often, by its name.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    pub(super) fn count(&self, what: impl Into<String>) {
        self.add(what, 1);
    }

    pub(super) fn add(&self, what: impl Into<String>, times: u64) {
        *self.0.lock().unwrap().entry(what.into()).or_default() += times;
    }

    pub(super) fn of(&self, what: &str) -> u64 {
        self.0.lock().unwrap().get(what).copied().unwrap_or_default()
    }

    /// All whose names begin so.
    pub(super) fn beginning(&self, prefix: &str) -> u64 {
        self.0.lock().unwrap().iter().filter(|(what, _)| what.starts_with(prefix)).map(|(_, n)| n).sum()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.0.lock().unwrap();
        all.iter().try_for_each(|(what, times)| writeln!(out, "  {times:>9}  {what}"))
    }
}
