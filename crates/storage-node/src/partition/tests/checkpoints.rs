//! What the checkpoints say of a partition, and what of its log may be cut.

use super::*;

fn flush_and_checkpoint(partition: &LocalPartition) {
    partition.flush_all().unwrap();
    partition.checkpointed(partition.points().unwrap());
}

/// A leader, and a follower that has its one record and has flushed it.
fn pair_with_a_record(dir: &std::path::Path) -> (LocalPartition, LocalPartition) {
    let (leader, follower) = pair(dir);
    leader.append(&batch(b"x"), false, true, 2_000).unwrap();
    replicate(&leader, &follower);
    flush_and_checkpoint(&follower);
    (leader, follower)
}

/// After a crash the next start would have taken the shorter log for a damaged one.
#[test]
fn a_cut_below_the_checkpointed_recovery_point_is_checkpointed_first() {
    let dir = tempfile::tempdir().unwrap();
    let (_, follower) = pair_with_a_record(dir.path());
    follower.adopt(&led_by(LEADER, 1, &[LEADER, FOLLOWER], 2), None);
    let asked = follower.position(LEADER).unwrap();
    let diverging = || Answer::Diverging { epoch: LeaderEpoch(0), end: Offset(0) };
    assert_eq!(follower.take_answer(LEADER, asked, diverging()).unwrap(), Taken::CheckpointFirst);
    assert_eq!((end(&follower), follower.points().unwrap().recovery), (Offset(1), Offset(0)));
    follower.checkpointed(follower.points().unwrap());
    assert_eq!(follower.take_answer(LEADER, asked, diverging()).unwrap(), Taken::Done);
    assert_eq!(end(&follower), Offset(0));
}

/// A log that nobody counted on said that it ended in epoch 16391, and would have led before longer ones (R13).
#[test]
fn what_no_leader_wrote_is_cut_before_a_log_says_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let cut = |checkpointed: bool| {
        let partition = partition(LEADER, &dir.path().join(checkpointed.to_string()), TopicConfig::default());
        partition.adopt(&led_by(LEADER, 3, &[LEADER], 1), None);
        partition.append(&batch(b"x"), true, true, 2_000).unwrap();
        partition
            .with_log(|log| log.append_as_leader(&batch(b"y"), LeaderEpoch(16391), 2_000))
            .unwrap()
            .unwrap();
        if checkpointed {
            flush_and_checkpoint(&partition);
        }
        partition.cut_false_epochs();
        partition
    };
    let reported = cut(false).to_report().unwrap();
    assert_eq!((reported.log_end, reported.epochs), (Offset(1), vec![(LeaderEpoch(3), Offset(0))]));
    let damaged = cut(true);
    assert!(damaged.is_offline() && damaged.to_report().is_none());
}

/// Where a topic flushes everything, nothing seemed to be left to write down.
#[test]
fn what_is_committed_is_checkpointed_though_it_is_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let (leader, follower) = pair_with_a_record(dir.path());
    assert!(!follower.outgrew_checkpoint());
    replicate(&leader, &follower);
    replicate(&leader, &follower);
    assert!(follower.outgrew_checkpoint());
}

/// The checkpoint had what the log lost to a power cut; once the log had grown again, what was new counted as committed.
#[test]
fn a_high_watermark_beyond_the_log_is_forgotten_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = partition(LEADER, dir.path(), TopicConfig::default()).take_log().unwrap();
    let name = TopicPartition::new(TopicName::new("t").unwrap(), PartitionIndex(0));
    let reopened = LocalPartition::new(Arc::new(Home::new(LEADER)), name, log, Offset(50));
    assert_eq!(reopened.points().unwrap().high_watermark, Offset(0));
}
