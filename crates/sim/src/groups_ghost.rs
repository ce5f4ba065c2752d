use std::collections::{BTreeMap, BTreeSet};

use assign::Partitions;
use group::{CommittedOffset, CurrentAssignment, Entry};

use crate::{
    disk::Batch,
    ghost::GhostPartition,
    invariants::{Checked, g4, g5},
};

/// What the committed log of groups says, and said: made from C alone, without the crate that is tested.
#[derive(Debug, Default)]
pub(crate) struct GroupsGhost {
    /// Batches of C that are in it, and the losses that they were read after.
    applied: usize,
    losses: usize,
    pub(crate) members: BTreeMap<(String, String), CurrentAssignment>,
    pub(crate) positions: BTreeMap<(String, i32), CommittedOffset>,
    /// Every position, with the number of batches from which on it was the one.
    pub(crate) history: BTreeMap<(String, i32), Vec<(usize, i64)>>,
    /// Every epoch that a member was ever in.
    pub(crate) epochs: BTreeSet<(String, String, i32)>,
    /// Positions that were forgotten.
    pub(crate) expired: u64,
}

/// What was committed when somebody asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) applied: usize,
    pub(crate) losses: usize,
}

impl GroupsGhost {
    /// Takes over what was committed since. After a loss it begins anew.
    pub(crate) fn catch_up(
        &mut self,
        log: &GhostPartition,
        entries: &BTreeMap<u64, Vec<Entry>>,
        now_ms: i64,
        retention_ms: i64,
    ) -> Checked {
        let rebuilds = log.losses.len() != self.losses;
        if rebuilds {
            *self = Self { losses: log.losses.len(), ..Self::default() };
        }
        let mut checked = Ok(());
        while self.applied < log.len() {
            let batch = *log.nth(self.applied);
            self.applied += 1;
            let result = self.take(&batch, entries, now_ms, retention_ms);
            // What was found before the loss is not found again.
            if !rebuilds {
                checked = checked.and(result);
            }
        }
        checked
    }

    pub(crate) fn asked(&self) -> Asked {
        Asked { applied: self.applied, losses: self.losses }
    }

    fn take(
        &mut self,
        batch: &Batch,
        entries: &BTreeMap<u64, Vec<Entry>>,
        now_ms: i64,
        retention_ms: i64,
    ) -> Checked {
        let mut checked = Ok(());
        for entry in entries.get(&batch.value).into_iter().flatten() {
            if let Entry::OffsetCommit { group, partition, value: None, .. } = entry {
                checked = checked.and(g5::forgotten(self, group, partition.0, now_ms, retention_ms));
            }
            self.replay(entry.clone());
        }
        checked.and(g4::assigned(self))
    }

    fn replay(&mut self, entry: Entry) {
        match entry {
            Entry::ConsumerCurrent { group, member, value: Some(value) } => {
                self.epochs.insert((group.clone(), member.clone(), value.epoch));
                self.members.insert((group, member), value);
            }
            Entry::ConsumerCurrent { group, member, value: None } => {
                self.members.remove(&(group, member));
            }
            Entry::OffsetCommit { group, partition, value, .. } => {
                let key = (group, partition.0);
                let position = value.as_ref().map_or(-1, |value| value.offset.0);
                self.history.entry(key.clone()).or_default().push((self.applied, position));
                match value {
                    Some(value) => drop(self.positions.insert(key, value)),
                    None => self.expired += u64::from(self.positions.remove(&key).is_some()),
                }
            }
            _ => {}
        }
    }

    pub(crate) fn is_member(&self, group: &str, member: &str) -> bool {
        self.members.contains_key(&(group.to_owned(), member.to_owned()))
    }

    pub(crate) fn members_of(&self, group: &str) -> impl Iterator<Item = (&str, &CurrentAssignment)> {
        self.members.iter().filter(move |((of, _), _)| of == group).map(|((_, id), m)| (id.as_str(), m))
    }

    /// Whether a commit under this epoch must be refused.
    pub(crate) fn is_fenced(&self, group: &str, member: &str, epoch: i32) -> bool {
        let current = self.members.get(&(group.to_owned(), member.to_owned()));
        current.is_none_or(|current| current.epoch > epoch)
    }

    /// Whether this was the position at some moment since somebody asked.
    pub(crate) fn was_position(&self, group: &str, partition: i32, asked: Asked, position: i64) -> bool {
        let none = Vec::new();
        let history = self.history.get(&(group.to_owned(), partition)).unwrap_or(&none);
        let later = history.partition_point(|(from, _)| *from <= asked.applied);
        let at_first = match later {
            0 => -1,
            later => history[later - 1].1,
        };
        at_first == position || history[later..].iter().any(|(_, then)| *then == position)
    }

    pub(crate) fn was_committed(&self, group: &str, partition: i32, position: i64) -> bool {
        let history = self.history.get(&(group.to_owned(), partition));
        history.is_some_and(|history| history.iter().any(|(_, then)| *then == position))
    }
}

/// All partitions of an assignment.
pub(crate) fn numbers(partitions: &Partitions) -> impl Iterator<Item = i32> {
    partitions.values().flatten().map(|partition| partition.0)
}
