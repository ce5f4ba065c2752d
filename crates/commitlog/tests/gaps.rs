//! A follower's log with gaps, as compaction on its leader leaves them.

#![allow(clippy::unwrap_used)]

mod fixture;

use std::os::unix::fs::symlink;

use commitlog::{Log, OpenMode};
use domain::{LeaderEpoch, Offset};
use fixture::*;
use proptest::{prelude::*, sample::Index};

#[test]
fn a_log_goes_on_behind_a_gap_and_begins_a_segment_where_offsets_get_out_of_reach() {
    let far = 5_000_000_000;
    // Empty, with a batch in the active segment, and with an empty active segment behind a sealed one.
    for (there, roll) in [(0, false), (2, false), (2, true)] {
        let fixture = Fixture::new(&[]);
        let mut log = fixture.create();
        for base in 0..there {
            follow(&mut log, &[at(base, 0)]).unwrap();
        }
        if roll {
            log.roll(NOW).unwrap();
        }
        let segments = log.segments();
        follow(&mut log, &[at(10, 1), at(far, 2), at(far + 5, 2)]).unwrap();
        assert_eq!((log.end_offset(), log.segments()), (Offset(far + 6), segments + 1));
        let snapshot = format!("{far:020}.snapshot");
        assert!(fixture.names().contains(&snapshot), "a segment has one where it begins");
        let expected: Vec<i64> = (0..there).chain([10, far, far + 5]).collect();
        assert_eq!(offsets(&read_all(&mut log, Offset(0), 100)), expected);
        assert!(log.truncate_to(Offset(far)).unwrap() == Offset(far), "the file's name remembers it");
        assert_eq!(log.truncate_to(Offset(far - 1)).unwrap(), Offset(11), "nothing remembers a gap");
        follow(&mut log, &[at(far, 2)]).unwrap();
        let epochs = log.epochs().clone();
        drop(log);
        let (mut log, recovery) = fixture.recover(0);
        assert_eq!((log.end_offset(), recovery.truncated_bytes), (Offset(far + 1), 0));
        assert_eq!((log.epochs(), log.start_offset()), (&epochs, Offset(0)));
        assert_eq!(offsets(&read_all(&mut log, Offset(0), 100)), expected[..expected.len() - 1]);
        log.close().unwrap();
        assert_eq!(fixture.open(OpenMode::Clean).0.end_offset(), Offset(far + 1));
    }
    let fixture = Fixture::new(&[]);
    let mut log = fixture.create();
    follow(&mut log, &[at(far, 2), at(far + 5, 2)]).unwrap();
    drop(log);
    let (mut log, _) = fixture.recover(0);
    assert_eq!((log.start_offset(), log.end_offset()), (Offset(0), Offset(far + 6)));
    assert_eq!(offsets(&read_all(&mut log, Offset(0), 100)), [far, far + 5]);
}

#[test]
fn a_segment_that_was_begun_behind_a_gap_is_the_logs_end_even_if_its_first_append_fails() {
    let fixture = Fixture::new(&[]);
    let mut log = fixture.create();
    follow(&mut log, &[at(0, 0)]).unwrap();
    let far = 5_000_000_000;
    symlink("/dev/full", fixture.path(&format!("{far:020}.log"))).unwrap();
    follow(&mut log, &[at(far, 0)]).unwrap_err();
    assert_eq!((log.end_offset(), log.segments()), (Offset(far), 2));
    assert_eq!(offsets(&read_all(&mut log, Offset(0), 100)), [0]);
}

#[derive(Clone, Debug)]
enum GapStep {
    /// Of each batch: the gap before it, its records, whether its epoch is new.
    Follow(Vec<(i64, usize, bool)>),
    Truncate(Index),
    Roll,
    Flush,
    FollowStart(Index),
    BeginAnew(i64),
    CloseAndOpen,
    Crash,
}

fn any_gap_step() -> impl Strategy<Value = GapStep> {
    let gap = || prop_oneof![4 => Just(0), 2 => 1..20i64, 1 => 3_000_000_000..3_000_000_005i64];
    prop_oneof![
        6 => proptest::collection::vec((gap(), 1..4usize, any::<bool>()), 1..6).prop_map(GapStep::Follow),
        3 => any::<Index>().prop_map(GapStep::Truncate),
        1 => Just(GapStep::Roll),
        1 => Just(GapStep::Flush),
        1 => any::<Index>().prop_map(GapStep::FollowStart),
        1 => gap().prop_map(GapStep::BeginAnew),
        1 => Just(GapStep::CloseAndOpen),
        2 => Just(GapStep::Crash),
    ]
}

/// The batches that a log with gaps must hold: first offset, the one after the last, epoch.
#[derive(Default)]
struct GapModel {
    batches: Vec<(i64, i64, i32)>,
    start: i64,
    end: i64,
    epoch: i32,
    flushed: i64,
}

impl GapModel {
    /// An offset at or near a batch, or in a gap.
    fn offset(&self, index: Index) -> i64 {
        let near =
            self.batches.iter().flat_map(|(base, next, _)| [*base - 1, *base, *base + 1, *next, *next + 1]);
        let near: Vec<_> =
            near.chain([self.start, self.end]).filter(|n| (self.start..=self.end).contains(n)).collect();
        near[index.index(near.len())]
    }

    fn open(&self, fixture: &Fixture, mode: OpenMode) -> Log {
        let files = fixture.files.clone();
        let (log, recovery) =
            Log::open(fixture.dir(), fixture.config.clone(), files, mode, Offset(self.start), NOW).unwrap();
        assert_eq!(recovery.truncated_bytes, 0);
        log
    }

    fn step(&mut self, fixture: &Fixture, mut log: Log, step: GapStep) -> Log {
        match step {
            GapStep::Follow(batches) => {
                let mut all = Vec::new();
                for (gap, records, is_new) in batches {
                    self.epoch += i32::from(is_new);
                    let base = self.end + gap;
                    all.push(placed(&batch(records, NOW, 30), base, self.epoch));
                    self.end = base + records as i64;
                    self.batches.push((base, self.end, self.epoch));
                }
                assert_eq!(follow(&mut log, &all).unwrap().end, Offset(self.end));
            }
            GapStep::Truncate(to) => {
                let to = self.offset(to);
                self.batches.retain(|(_, next, _)| *next <= to);
                let end = log.truncate_to(Offset(to)).unwrap().0;
                let last = self.batches.last().map_or(0, |(_, next, _)| *next);
                assert!((last..=to).contains(&end), "{last} <= {end} <= {to}");
                self.end = end;
                self.start = self.start.min(end);
                self.flushed = self.flushed.min(end);
            }
            GapStep::Roll => log.roll(NOW).unwrap(),
            GapStep::Flush => self.flushed = log.flush().unwrap().0,
            GapStep::FollowStart(to) => {
                self.start = self.offset(to);
                assert_eq!(log.follow_start(Offset(self.start), NOW).unwrap().log_start, Offset(self.start));
            }
            GapStep::BeginAnew(gap) => {
                let at = self.end + gap;
                log.begin_anew_at(Offset(at), None).unwrap();
                self.batches.clear();
                (self.start, self.end, self.flushed) = (at, at, at);
            }
            GapStep::CloseAndOpen => {
                assert_eq!(log.close().unwrap(), Offset(self.end));
                self.flushed = self.end;
                log = self.open(fixture, OpenMode::Clean);
            }
            GapStep::Crash => {
                drop(log);
                log = self.open(fixture, OpenMode::Recover { recovery_point: Offset(self.flushed) });
            }
        }
        log
    }

    fn check(&self, log: &mut Log) {
        assert_eq!((log.start_offset(), log.end_offset()), (Offset(self.start), Offset(self.end)));
        let found = offsets(&read_all(log, Offset(self.start), 200));
        let expected: Vec<_> = self
            .batches
            .iter()
            .flat_map(|(base, next, _)| *base..*next)
            .filter(|n| *n >= self.start)
            .collect();
        assert_eq!(found, expected);
        let live = self.batches.iter().filter(|(base, ..)| *base >= self.start);
        for (base, _, epoch) in live.clone() {
            assert_eq!(log.epochs().epoch_at(Offset(*base)), Some(LeaderEpoch(*epoch)), "at {base}");
        }
        if let Some((.., epoch)) = live.clone().next_back() {
            assert_eq!(log.epochs().latest().unwrap().0, LeaderEpoch(*epoch));
        }
        for (base, ..) in live {
            let from = (*base - 1).max(self.start);
            let slice = log.read(Offset(from), 1, Offset(self.end), true).unwrap().unwrap();
            let first = self.batches.iter().find(|(_, next, _)| *next > from).unwrap();
            assert_eq!(headers_of(&slice)[0].base_offset, Offset(first.0));
            let below = log.read(Offset(self.start), 1 << 20, Offset(*base - 1), true).unwrap();
            assert!(
                below.is_none_or(|slice| slice.next_offset < Offset(*base)),
                "no further than {base} - 1"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 3000, ..ProptestConfig::default() })]

    #[test]
    fn a_log_with_gaps_holds_what_the_model_holds(steps in proptest::collection::vec(any_gap_step(), 1..40)) {
        let fixture = Fixture::new(&[("segment.bytes", "500"), ("index.interval.bytes", "120")]);
        let (mut model, mut log) = (GapModel::default(), fixture.create());
        for one in steps {
            log = model.step(&fixture, log, one);
            model.check(&mut log);
        }
    }
}
