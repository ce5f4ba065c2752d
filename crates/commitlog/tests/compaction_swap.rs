//! How compacted segments come into their place: a crash, or a change meanwhile, leaves the old ones or the new one.

#![allow(clippy::unwrap_used)]

mod fixture;

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
};

use commitlog::{CompactionError, CompactionLimits, Log, OpenMode, SharedLog, Torn};
use domain::Offset;
use fixture::{keyed::*, *};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in names(from) {
        fs::copy(from.join(&name), to.join(&name)).unwrap();
    }
}

type Event = Box<dyn FnOnce(&mut Log)>;
/// What a crash finds done.
type FileStep = Box<dyn Fn(&Path)>;

/// A log whose lock is taken again and again, and to which something happens before one of these.
struct Disturbed<'l> {
    log: RefCell<&'l mut Log>,
    before: RefCell<Vec<Option<Event>>>,
}

impl SharedLog for Disturbed<'_> {
    fn with_log<T>(&self, keep: impl FnOnce(&mut Log) -> T) -> Option<T> {
        let mut log = self.log.borrow_mut();
        if let Some(Some(happens)) = self.before.borrow_mut().pop() {
            happens(&mut log);
        }
        Some(keep(&mut log))
    }
}

#[test]
fn a_log_that_was_changed_meanwhile_is_left_alone() {
    let events: [fn(&mut Log); 3] = [
        |log| _ = log.truncate_to(Offset(1)).unwrap(),
        |log| log.begin_anew_at(Offset(2), None).unwrap(),
        |log| {
            log.advance_start(Offset(3));
            log.apply_retention(NOW, Offset(3)).unwrap();
        },
    ];
    for (case, event) in events.into_iter().enumerate() {
        for swap in [false, true] {
            let fixture = compacted(&[]);
            let mut log = fixture.create();
            (0..3).for_each(|_| put(&mut log, &[("k", Some("v"))]));
            log.roll(NOW).unwrap();
            let event: Option<Event> = Some(Box::new(event));
            // The lock is taken to plan, to swap, and to say how far it came.
            let before = if swap { vec![event, None] } else { vec![event, None, None] };
            let shared = Disturbed { log: RefCell::new(&mut log), before: RefCell::new(before) };
            let ended =
                commitlog::compact(&shared, Offset(3), NOW, CompactionLimits::default(), &mut |_| true);
            match (swap, case) {
                (false, 2) => _ = ended.unwrap(),
                _ => assert!(matches!(ended, Err(CompactionError::Changed)), "case {case}: {ended:?}"),
            }
            assert!(log.first_dirty() <= log.end_offset(), "case {case}");
            put(&mut log, &[("k", Some("w"))]);
            let kept = contents(&mut log);
            assert!(!kept.is_empty());
            let start = log.start_offset();
            drop(log);
            let mode = OpenMode::Recover { recovery_point: Offset(0) };
            let (dir, files) = (fixture.dir(), fixture.files.clone());
            let (mut log, _) = Log::open(dir, fixture.config.clone(), files, mode, start, NOW).unwrap();
            assert_eq!(contents(&mut log), kept, "case {case}");
        }
    }
}

#[test]
fn a_compaction_that_is_told_to_stop_leaves_nothing_behind() {
    let fixture = compacted(&[]);
    let mut log = fixture.create();
    (0..3).for_each(|_| put(&mut log, &[("k", Some("v"))]));
    log.roll(NOW).unwrap();
    for steps in 0..6 {
        let shared = Disturbed { log: RefCell::new(&mut log), before: RefCell::default() };
        let mut left = steps;
        let mut pace = |_| {
            left -= 1;
            left >= 0
        };
        let ended = commitlog::compact(&shared, Offset(3), NOW, CompactionLimits::default(), &mut pace);
        assert!(matches!(ended, Err(CompactionError::Stopped)), "{ended:?}");
        assert_eq!(offsets(&everything(&mut log)), [0, 1, 2]);
        assert!(!fixture.names().iter().any(|name| name.contains("cleaned")));
    }
}

/// Each step of a swap, as file operations, with the crash before the next one.
#[test]
fn a_crash_at_any_step_leaves_the_old_segments_or_the_new_one() {
    let fixture = compacted(&[("segment.bytes", "150"), ("file.delete.delay.ms", "0")]);
    let mut log = fixture.create();
    for key in ["a", "b", "a", "b", "c", "a"] {
        put(&mut log, &[(key, Some("a value of some length"))]);
    }
    log.roll(NOW).unwrap();
    let old = contents(&mut log);
    let (epochs, producers) = (log.epochs().clone(), log.producers().clone());
    log.flush().unwrap();
    let before = fixture.folder.path().join("before");
    copy(&fixture.dir(), &before);
    log.set_config(config(&[COMPACT, ("segment.bytes", "1000"), ("index.interval.bytes", "60")]));
    let done = compact(&mut log, NOW);
    assert_eq!((done.segments, done.segments_after, log.segments()), (6, 1, 2));
    let new = contents(&mut log);
    assert_eq!(offsets(&everything(&mut log)), [3, 4, 5]);

    let name = |base: i64, suffix: &str| format!("{base:020}.{suffix}");
    let suffixes = ["log", "index", "timeindex"];
    let after = fixture.dir();
    // What a crash finds, step by step.
    let mut steps: Vec<FileStep> = Vec::new();
    let torn = (0..1).map(|_| -> FileStep {
        Box::new(|dir| fs::write(dir.join(format!("{:020}.log.cleaned", 0)), b"half").unwrap())
    });
    steps.extend(torn);
    for suffix in suffixes {
        let (from, to) = (after.join(name(0, suffix)), name(0, &format!("{suffix}.cleaned")));
        steps.push(Box::new(move |dir| _ = fs::copy(&from, dir.join(&to)).unwrap()));
    }
    let renames = [(0, "log.cleaned", "log.swap")].into_iter();
    let renames = renames.chain((1..6).flat_map(|base| {
        [
            (base, "log", "log.deleted"),
            (base, "index", "index.deleted"),
            (base, "timeindex", "timeindex.deleted"),
        ]
    }));
    for (base, from, to) in renames {
        let (from, to) = (name(base, from), name(base, to));
        steps.push(Box::new(move |dir| fs::rename(dir.join(&from), dir.join(&to)).unwrap()));
    }
    for suffix in ["index", "timeindex"] {
        let path = name(0, suffix);
        steps.push(Box::new(move |dir| fs::remove_file(dir.join(&path)).unwrap()));
    }
    for (from, to) in [("log.swap", "log"), ("index.cleaned", "index"), ("timeindex.cleaned", "timeindex")] {
        let (from, to) = (name(0, from), name(0, to));
        steps.push(Box::new(move |dir| fs::rename(dir.join(&from), dir.join(&to)).unwrap()));
    }
    let committed_after = 4;
    for done in 0..=steps.len() {
        for recovery_point in [0, 6] {
            let dir: PathBuf = fixture.folder.path().join("crashed-0");
            _ = fs::remove_dir_all(&dir);
            copy(&before, &dir);
            steps[..done].iter().for_each(|step| step(&dir));
            let mode = OpenMode::Recover { recovery_point: Offset(recovery_point) };
            let files = fixture.files.clone();
            let (mut log, recovery) =
                Log::open(dir.clone(), fixture.config.clone(), files, mode, Offset(0), NOW).unwrap();
            let expected = if done > committed_after { &new } else { &old };
            assert_eq!(&contents(&mut log), expected, "after step {done}");
            assert_eq!((recovery.truncated_bytes, recovery.torn), (0, Torn::No), "after step {done}");
            assert_eq!((log.end_offset(), log.epochs(), log.producers()), (Offset(6), &epochs, &producers));
            let left = names(&dir);
            let leftover =
                |name: &&String| [".cleaned", ".swap", ".deleted"].iter().any(|end| name.ends_with(end));
            assert_eq!(left.iter().find(leftover), None, "after step {done}");
            // And it is compacted again.
            log.set_config(config(&[COMPACT]));
            compact(&mut log, NOW);
            assert_eq!(&contents(&mut log), &new, "after step {done}");
        }
    }
}

#[test]
fn removed_segments_files_wait_for_their_removal_and_their_snapshots_are_gone() {
    let fixture = compacted(&[("segment.bytes", "150"), ("file.delete.delay.ms", "100")]);
    let mut log = fixture.create();
    (0..3).for_each(|n| _ = append(&mut log, &of_producer(1, n, "key of some length")));
    log.set_config(config(&[COMPACT, ("file.delete.delay.ms", "100")]));
    compact(&mut log, NOW);
    assert_eq!((log.segments(), log.has_deleted()), (2, true));
    assert_eq!(fixture.names().iter().filter(|name| name.ends_with(".log.deleted")).count(), 2);
    assert_eq!(log.remove_deleted(NOW + 99).unwrap(), 0);
    assert_eq!(log.remove_deleted(NOW + 100).unwrap(), 2);
    let snapshots: Vec<_> = fixture.names().into_iter().filter(|name| name.ends_with(".snapshot")).collect();
    assert_eq!(snapshots, [format!("{:020}.snapshot", 3)]);
}
