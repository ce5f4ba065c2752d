use std::collections::{BTreeMap, BTreeSet};

use super::{
    history::{Outcome, Sent},
    value::RecordId,
};

/// What is wrong, one kind each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Acknowledged, and absent at the end or at another offset than was acknowledged.
    Lost,
    /// The same value twice.
    Duplicated,
    /// Acknowledged records of one producer and partition that are not in the order in which they were sent.
    Reordered,
    /// A value that nobody sent, that certainly failed, or that is in another partition.
    Phantom,
    /// Acknowledged, and not delivered to a reader that was there all the time.
    Unseen,
    /// Delivered to a reader, and something else at that offset at the end.
    Vanished,
    /// A reader was given an offset at or below the one before.
    PositionRegression,
    /// A client saw a high watermark below one that it had seen before.
    HighWatermarkRegression,
    /// Acknowledged, and not delivered to any member of a group.
    Skipped,
    /// A group's committed position went back.
    CommittedRegression,
    /// Replicas that differ below their common end, or end at different offsets.
    ReplicaMismatch,
}

impl Kind {
    pub const ALL: [Self; 11] = [
        Self::Lost,
        Self::Duplicated,
        Self::Reordered,
        Self::Phantom,
        Self::Unseen,
        Self::Vanished,
        Self::PositionRegression,
        Self::HighWatermarkRegression,
        Self::Skipped,
        Self::CommittedRegression,
        Self::ReplicaMismatch,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::Reordered => "reordered",
            Self::Phantom => "phantom",
            Self::Unseen => "unseen",
            Self::Vanished => "vanished",
            Self::PositionRegression => "position_regressions",
            Self::HighWatermarkRegression => "hw_regressions",
            Self::Skipped => "skipped",
            Self::CommittedRegression => "committed_regressions",
            Self::ReplicaMismatch => "replica_mismatches",
        }
    }
}

/// One thing that is wrong, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Anomaly {
    pub kind: Kind,
    pub detail: String,
}

impl Anomaly {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into() }
    }
}

/// A partition as it is in the end: each offset's record, `None` for a value that is not of this run.
#[derive(Clone, Debug, Default)]
pub struct FinalLog {
    /// What lies below was removed by retention and is not judged.
    pub start: i64,
    pub records: BTreeMap<i64, Option<RecordId>>,
    /// The epoch of the idempotent producer that wrote each.
    pub producer_epochs: BTreeMap<i64, i16>,
}

/// What one reader was given, in the order in which it came.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    pub name: String,
    pub delivered: BTreeMap<i32, Vec<(i64, Option<RecordId>)>>,
}

/// All that a run knows at its end.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    pub sent: Vec<Sent>,
    pub logs: BTreeMap<i32, FinalLog>,
    pub readers: Vec<Reader>,
    /// What all members of a group together were given; again, where a member began at the last commit.
    pub groups: Vec<Reader>,
}

type Places = BTreeMap<RecordId, Vec<(i32, i64)>>;

/// Everything that the evidence shows to be wrong.
pub fn check(evidence: &Evidence) -> Vec<Anomaly> {
    let sent: BTreeMap<RecordId, &Sent> = evidence.sent.iter().map(|s| (s.id, s)).collect();
    let mut places = Places::new();
    for (partition, log) in &evidence.logs {
        for (offset, id) in &log.records {
            if let Some(id) = id {
                places.entry(*id).or_default().push((*partition, *offset));
            }
        }
    }
    let mut found = phantoms(evidence, &sent);
    found.extend(duplicates(evidence, &places));
    found.extend(losses(evidence, &places));
    found.extend(reorderings(&evidence.sent, &places));
    for reader in &evidence.readers {
        found.extend(position_regressions(reader));
        found.extend(vanished(reader, &evidence.logs));
        found.extend(unseen(reader, evidence));
    }
    for group in &evidence.groups {
        found.extend(vanished(group, &evidence.logs));
        found.extend(skipped(group, evidence));
    }
    found
}

fn phantoms(evidence: &Evidence, sent: &BTreeMap<RecordId, &Sent>) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for (partition, log) in &evidence.logs {
        for (offset, id) in &log.records {
            let why = match id.map(|id| (id, sent.get(&id))) {
                None => "a value that nobody sent".to_owned(),
                Some((id, None)) => format!("record {id}, which was never sent"),
                Some((id, Some(s))) if s.partition != *partition => {
                    format!("record {id}, which was sent to partition {}", s.partition)
                }
                Some((id, Some(Sent { outcome: Outcome::Failed(reason), .. }))) => {
                    format!("record {id}, which failed for certain: {reason}")
                }
                Some(_) => continue,
            };
            found.push(Anomaly::new(Kind::Phantom, format!("partition {partition} offset {offset}: {why}")));
        }
    }
    found
}

/// A record is there once for each epoch of its producer. A new epoch excuses nothing by itself: a server that gives a client
/// cause to begin one has it send again what is there. But librdkafka begins one by itself whenever it has given a record
/// up (`drain_epoch_bump`), with all that it has under way elsewhere.
fn duplicates(evidence: &Evidence, places: &Places) -> Vec<Anomaly> {
    let unknown = evidence.sent.iter().filter(|s| matches!(s.outcome, Outcome::Unknown(_)));
    let gave_up: BTreeSet<u32> = unknown.map(|s| s.id.producer).collect();
    let epoch_at = |(partition, offset): &(i32, i64)| {
        evidence.logs.get(partition).and_then(|log| log.producer_epochs.get(offset)).copied()
    };
    let twice = places.iter().filter(|(id, at)| {
        let epochs: BTreeSet<Option<i16>> = at.iter().map(epoch_at).collect();
        at.len() > 1 && !(gave_up.contains(&id.producer) && epochs.len() == at.len())
    });
    twice.map(|(id, at)| Anomaly::new(Kind::Duplicated, format!("record {id} is at {at:?}"))).collect()
}

fn losses(evidence: &Evidence, places: &Places) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for sent in &evidence.sent {
        let Outcome::Ok(offset) = sent.outcome else { continue };
        let start = evidence.logs.get(&sent.partition).map_or(0, |log| log.start);
        if offset.is_some_and(|offset| offset < start) {
            continue;
        }
        let at = places.get(&sent.id).map(Vec::as_slice).unwrap_or_default();
        let there = at.iter().any(|(p, o)| *p == sent.partition && offset.is_none_or(|offset| offset == *o));
        if !there {
            let (id, partition, ms) = (sent.id, sent.partition, sent.done_at.unwrap_or_default().as_millis());
            let detail = format!(
                "record {id}, acknowledged in partition {partition} at offset {offset:?} {ms} ms into the run, is at {at:?}"
            );
            found.push(Anomaly::new(Kind::Lost, detail));
        }
    }
    found
}

fn reorderings(sent: &[Sent], places: &Places) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let mut last: BTreeMap<(u32, i32), (RecordId, i64)> = BTreeMap::new();
    let mut in_order: Vec<&Sent> = sent.iter().filter(|s| matches!(s.outcome, Outcome::Ok(_))).collect();
    in_order.sort_by_key(|s| s.id);
    for sent in in_order {
        let at = places.get(&sent.id).into_iter().flatten().find(|(p, _)| *p == sent.partition);
        let Some((partition, offset)) = at.copied() else { continue };
        let before = last.insert((sent.id.producer, partition), (sent.id, offset));
        if let Some((id, earlier)) = before.filter(|(_, earlier)| *earlier >= offset) {
            let detail = format!(
                "partition {partition}: {id} is at {earlier}, and {}, sent after it, at {offset}",
                sent.id
            );
            found.push(Anomaly::new(Kind::Reordered, detail));
        }
    }
    found
}

fn position_regressions(reader: &Reader) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for (partition, delivered) in &reader.delivered {
        for pair in delivered.windows(2).filter(|pair| pair[1].0 <= pair[0].0) {
            let detail = format!(
                "{}: partition {partition} offset {} came after {}",
                reader.name, pair[1].0, pair[0].0
            );
            found.push(Anomaly::new(Kind::PositionRegression, detail));
        }
    }
    found
}

fn vanished(reader: &Reader, logs: &BTreeMap<i32, FinalLog>) -> Vec<Anomaly> {
    let mut found = Vec::new();
    for (partition, delivered) in &reader.delivered {
        let Some(log) = logs.get(partition) else { continue };
        for (offset, id) in delivered.iter().filter(|(offset, _)| *offset >= log.start) {
            let now = log.records.get(offset);
            if now != Some(id) {
                let detail = format!(
                    "{}: partition {partition} offset {offset} was {id:?} and is {now:?}",
                    reader.name
                );
                found.push(Anomaly::new(Kind::Vanished, detail));
            }
        }
    }
    found
}

/// Acknowledged records that this reader has not been given.
pub fn unseen(reader: &Reader, evidence: &Evidence) -> Vec<Anomaly> {
    not_given(Kind::Unseen, reader, evidence)
}

/// Acknowledged records that no member of this group has been given.
pub fn skipped(group: &Reader, evidence: &Evidence) -> Vec<Anomaly> {
    not_given(Kind::Skipped, group, evidence)
}

fn not_given(kind: Kind, reader: &Reader, evidence: &Evidence) -> Vec<Anomaly> {
    let seen: BTreeSet<RecordId> = reader.delivered.values().flatten().filter_map(|(_, id)| *id).collect();
    let missing =
        evidence.sent.iter().filter(|s| matches!(s.outcome, Outcome::Ok(_)) && !seen.contains(&s.id));
    missing
        .map(|s| {
            let detail =
                format!("{}: record {} of partition {} at {:?}", reader.name, s.id, s.partition, s.outcome);
            Anomaly::new(kind, detail)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn id(sequence: u32) -> RecordId {
        RecordId { producer: 1, sequence }
    }

    fn sent(sequence: u32, outcome: Outcome) -> Sent {
        Sent { id: id(sequence), partition: 0, outcome, sent_at: Duration::ZERO, done_at: None }
    }

    /// Three acknowledged records, all where they belong, and a reader that was given them.
    fn sound() -> Evidence {
        let all = [(0, Some(id(0))), (1, Some(id(1))), (2, Some(id(2)))];
        let reader = Reader { name: "reader".to_owned(), delivered: BTreeMap::from([(0, all.to_vec())]) };
        Evidence {
            sent: (0..3).map(|n| sent(n, Outcome::Ok(Some(i64::from(n))))).collect(),
            logs: BTreeMap::from([(0, FinalLog { records: all.into(), ..FinalLog::default() })]),
            readers: vec![reader],
            groups: Vec::new(),
        }
    }

    /// A group whose members were given all of a sound run, one record again after a member that died.
    fn sound_with_group() -> Evidence {
        let mut evidence = sound();
        let mut group = evidence.readers[0].clone();
        group.delivered.get_mut(&0).unwrap().push((1, Some(id(1))));
        evidence.groups.push(group);
        evidence
    }

    fn kinds(evidence: &Evidence) -> Vec<Kind> {
        check(evidence).into_iter().map(|a| a.kind).collect()
    }

    fn log(evidence: &mut Evidence) -> &mut BTreeMap<i64, Option<RecordId>> {
        &mut evidence.logs.get_mut(&0).unwrap().records
    }

    #[test]
    fn nothing_is_wrong_with_a_sound_run() {
        assert_eq!(check(&sound()), []);
    }

    #[test]
    fn an_acknowledged_record_that_is_gone_is_lost_and_vanished() {
        let mut evidence = sound();
        log(&mut evidence).remove(&2);
        assert_eq!(kinds(&evidence), [Kind::Lost, Kind::Vanished]);
    }

    #[test]
    fn an_acknowledged_record_at_another_offset_is_lost() {
        let mut evidence = sound();
        evidence.sent[2].outcome = Outcome::Ok(Some(5));
        assert_eq!(kinds(&evidence), [Kind::Lost]);
    }

    #[test]
    fn an_acknowledgement_without_an_offset_needs_the_record_anywhere() {
        let mut evidence = sound();
        evidence.sent[2].outcome = Outcome::Ok(None);
        assert_eq!(check(&evidence), []);
        log(&mut evidence).remove(&2);
        assert!(kinds(&evidence).contains(&Kind::Lost));
    }

    #[test]
    fn a_value_that_is_there_twice_is_duplicated() {
        let mut evidence = sound();
        log(&mut evidence).insert(3, Some(id(1)));
        assert_eq!(kinds(&evidence), [Kind::Duplicated]);
    }

    #[test]
    fn a_client_that_gave_something_up_may_send_the_rest_again_under_a_new_epoch() {
        let mut evidence = sound();
        log(&mut evidence).insert(3, Some(id(1)));
        evidence.readers[0].delivered.get_mut(&0).unwrap().push((3, Some(id(1))));
        let mut epochs = |of: [i16; 4]| {
            let log = evidence.logs.get_mut(&0).unwrap();
            log.producer_epochs = (0..).zip(of).collect();
            let before = kinds(&evidence);
            let outcome = Outcome::Unknown("timed out".to_owned());
            let former = std::mem::replace(&mut evidence.sent[2].outcome, outcome);
            let after = kinds(&evidence);
            evidence.sent[2].outcome = former;
            (before, after)
        };
        assert_eq!(epochs([0, 0, 0, 1]), (vec![Kind::Duplicated], vec![]));
        assert_eq!(epochs([0, 1, 1, 1]), (vec![Kind::Duplicated], vec![Kind::Duplicated]));
    }

    #[test]
    fn acknowledged_records_in_another_order_are_reordered() {
        let mut evidence = sound();
        evidence.sent[0].outcome = Outcome::Ok(Some(1));
        evidence.sent[1].outcome = Outcome::Ok(Some(0));
        let swapped = [(0, Some(id(1))), (1, Some(id(0))), (2, Some(id(2)))];
        *log(&mut evidence) = swapped.into();
        evidence.readers[0].delivered.insert(0, swapped.to_vec());
        assert_eq!(kinds(&evidence), [Kind::Reordered]);
    }

    #[test]
    fn a_record_of_unknown_outcome_may_be_there_or_not_and_in_any_order() {
        let mut evidence = sound();
        evidence.sent[1].outcome = Outcome::Unknown("timed out".to_owned());
        assert_eq!(check(&evidence), []);
        log(&mut evidence).remove(&1);
        evidence.readers[0].delivered.get_mut(&0).unwrap().remove(1);
        assert_eq!(check(&evidence), []);
    }

    #[test]
    fn strange_failed_and_misplaced_values_are_phantoms() {
        let mut evidence = sound();
        log(&mut evidence).insert(3, None);
        assert_eq!(kinds(&evidence), [Kind::Phantom]);
        let mut evidence = sound();
        log(&mut evidence).insert(3, Some(id(9)));
        assert_eq!(kinds(&evidence), [Kind::Phantom]);
        let mut evidence = sound();
        evidence.sent[1].outcome = Outcome::Failed("refused".to_owned());
        assert_eq!(kinds(&evidence), [Kind::Phantom]);
        let mut evidence = sound();
        evidence.sent[1].partition = 4;
        assert_eq!(kinds(&evidence), [Kind::Phantom, Kind::Lost]);
    }

    #[test]
    fn an_acknowledged_record_that_a_reader_never_got_is_unseen() {
        let mut evidence = sound();
        evidence.readers[0].delivered.get_mut(&0).unwrap().pop();
        assert_eq!(kinds(&evidence), [Kind::Unseen]);
    }

    #[test]
    fn a_reader_that_is_sent_back_is_a_position_regression() {
        let mut evidence = sound();
        evidence.readers[0].delivered.get_mut(&0).unwrap().push((1, Some(id(1))));
        assert_eq!(kinds(&evidence), [Kind::PositionRegression]);
    }

    #[test]
    fn a_reader_that_saw_another_record_at_an_offset_saw_one_that_vanished() {
        let mut evidence = sound();
        evidence.sent.push(sent(7, Outcome::Unknown("timed out".to_owned())));
        evidence.readers[0].delivered.get_mut(&0).unwrap().push((3, Some(id(7))));
        assert_eq!(kinds(&evidence), [Kind::Vanished]);
    }

    #[test]
    fn a_group_may_be_given_a_record_again_and_none_may_be_skipped() {
        let mut evidence = sound_with_group();
        assert_eq!(check(&evidence), []);
        evidence.groups[0].delivered.get_mut(&0).unwrap().remove(2);
        assert_eq!(kinds(&evidence), [Kind::Skipped]);
    }

    #[test]
    fn a_group_that_was_given_another_record_saw_one_that_vanished() {
        let mut evidence = sound_with_group();
        evidence.groups[0].delivered.get_mut(&0).unwrap().push((2, Some(id(0))));
        assert_eq!(kinds(&evidence), [Kind::Vanished]);
    }

    #[test]
    fn what_retention_removed_is_not_judged() {
        let mut evidence = sound();
        evidence.logs.get_mut(&0).unwrap().start = 1;
        log(&mut evidence).remove(&0);
        assert_eq!(check(&evidence), []);
    }
}
