use std::collections::{BTreeMap, BTreeSet};

use super::checker::{Anomaly, Kind};

type Place = (&'static str, i32);

/// What is known of groups' committed positions, and where one went back.
///
/// A commit whose answer did not come may be carried out later than its member gave it up, behind a newer one that came by
/// another connection: no broker can know better, since both are of the same member. The same goes for the first copy of one
/// that the client sent twice: the network may hold it for seconds after the connection was closed. Such a step back is
/// counted, and excused.
#[derive(Debug, Default)]
pub struct Positions {
    /// The highest that was acknowledged to a member, or told to the watcher.
    highest: BTreeMap<Place, i64>,
    uncertain: BTreeMap<Place, BTreeSet<i64>>,
    pub regressions: Vec<Anomaly>,
    pub commits: usize,
    pub uncertain_commits: usize,
    pub looks: usize,
    pub excused: usize,
}

impl Positions {
    /// A member was told that its commit succeeded, or it was told nothing of that kind.
    pub fn committed(&mut self, group: &'static str, partition: i32, offset: i64, certain: bool) {
        let place = (group, partition);
        match certain {
            true => {
                self.commits += 1;
                let highest = self.highest.entry(place).or_insert(offset);
                *highest = (*highest).max(offset);
            }
            false => {
                self.uncertain_commits += 1;
                self.uncertain.entry(place).or_default().insert(offset);
            }
        }
    }

    /// A commit that was answered may have been sent before, on a connection that is gone.
    pub fn copied(&mut self, group: &'static str, partition: i32, offset: i64) {
        self.uncertain.entry((group, partition)).or_default().insert(offset);
    }

    /// What a question that leaves now must at least be answered with, by partition.
    pub fn floor(&self, group: &str) -> BTreeMap<i32, i64> {
        let of_group = self.highest.iter().filter(|((name, _), _)| *name == group);
        of_group.map(|((_, partition), offset)| (*partition, *offset)).collect()
    }

    /// An answer to a question that left when `floor` was taken.
    pub fn observe(&mut self, group: &'static str, floor: &BTreeMap<i32, i64>, told: &BTreeMap<i32, i64>) {
        self.looks += 1;
        for (partition, offset) in told {
            let place = (group, *partition);
            let least = floor.get(partition).copied().unwrap_or(-1);
            if *offset < least {
                match self.uncertain.get(&place).is_some_and(|late| late.contains(offset)) {
                    true => self.excused += 1,
                    false => {
                        let detail =
                            format!("{group}: partition {partition} stands at {offset} after {least}");
                        self.regressions.push(Anomaly::new(Kind::CommittedRegression, detail));
                    }
                }
                // Each step back counts once.
                self.highest.insert(place, *offset);
            } else {
                let highest = self.highest.entry(place).or_insert(*offset);
                *highest = (*highest).max(*offset);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(offset: i64) -> BTreeMap<i32, i64> {
        BTreeMap::from([(0, offset)])
    }

    #[test]
    fn a_position_behind_an_acknowledged_one_is_a_regression_once() {
        let mut positions = Positions::default();
        positions.committed("g", 0, 5, true);
        let floor = positions.floor("g");
        positions.observe("g", &floor, &told(4));
        assert_eq!(positions.regressions.len(), 1);
        let floor = positions.floor("g");
        positions.observe("g", &floor, &told(4));
        assert_eq!(positions.regressions.len(), 1);
    }

    #[test]
    fn an_answer_that_left_before_the_commit_may_not_have_it() {
        let mut positions = Positions::default();
        positions.committed("g", 0, 5, true);
        let floor = positions.floor("g");
        positions.committed("g", 0, 9, true);
        positions.observe("g", &floor, &told(5));
        assert!(positions.regressions.is_empty());
        assert_eq!(positions.floor("g"), told(9));
    }

    /// A node was deaf for seven seconds: the kernel delivered the first copy six seconds later, when the node coordinated
    /// again and the member had committed more.
    #[test]
    fn the_first_copy_of_a_commit_that_was_sent_twice_may_come_late() {
        let mut positions = Positions::default();
        positions.committed("g", 0, 3, true);
        positions.copied("g", 0, 3);
        positions.committed("g", 0, 5, true);
        let floor = positions.floor("g");
        positions.observe("g", &floor, &told(3));
        assert_eq!((positions.regressions.len(), positions.excused), (0, 1));
    }

    #[test]
    fn a_commit_that_was_given_up_may_come_late() {
        let mut positions = Positions::default();
        positions.committed("g", 0, 3, false);
        positions.committed("g", 0, 5, true);
        let floor = positions.floor("g");
        positions.observe("g", &floor, &told(3));
        assert_eq!((positions.regressions.len(), positions.excused), (0, 1));
    }
}
