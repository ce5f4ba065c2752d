mod checkpoints;

use bytes::Bytes;
use commitlog::FileCache;
use domain::{NodeEpoch, NodeId, PartitionEpoch, PartitionIndex, TopicName};
use records::{BatchBuilder, Compression};
use replica::{FollowerFetch, ProducerRefusal};

use super::*;
use crate::replication::follow::{Answer, Position, Taken};

const LEADER: NodeId = NodeId(0);
const FOLLOWER: NodeId = NodeId(1);

fn partition(me: NodeId, dir: &std::path::Path, config: TopicConfig) -> LocalPartition {
    let name = TopicPartition::new(TopicName::new("t").unwrap(), PartitionIndex(0));
    let id = TopicId(uuid::Uuid::from_u128(1));
    std::fs::create_dir_all(dir).unwrap();
    let log = Log::create(dir.join(format!("t-{me}")), id, Arc::new(config), FileCache::new(4)).unwrap();
    LocalPartition::new(Arc::new(Home::new(me)), name, log, Offset(0))
}

fn led_by(leader: NodeId, epoch: i32, isr: &[NodeId], min_isr: u32) -> PartitionState {
    PartitionState {
        leader: Some(leader),
        leader_epoch: LeaderEpoch(epoch),
        epoch: PartitionEpoch(epoch),
        replicas: vec![LEADER, FOLLOWER],
        isr: isr.to_vec(),
        min_isr,
        recovering: false,
    }
}

fn alone(dir: &std::path::Path, config: TopicConfig) -> LocalPartition {
    let partition = partition(LEADER, dir, config);
    partition.adopt(&led_by(LEADER, 0, &[LEADER], 1), None);
    partition
}

fn flushing() -> TopicConfig {
    TopicConfig { flush_messages: Some(1), ..TopicConfig::default() }
}

fn batch(value: &[u8]) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.push(1_000, None, Some(value), &[]);
    builder.build()
}

/// A batch of an idempotent producer.
fn sequenced(producer: i64, sequence: i32) -> Bytes {
    let mut builder = BatchBuilder::new(Compression::None);
    builder.producer(domain::ProducerId(producer), domain::ProducerEpoch(0), sequence);
    builder.push(1_000, None, Some(b"x"), &[]);
    builder.build()
}

/// Sends such a batch, and is told where it stands, or why not.
fn send(partition: &LocalPartition, sequence: i32, room: bool) -> Result<Offset, wire::ResponseError> {
    let appended = partition.append(&sequenced(7, sequence), true, room, 2_000);
    appended.map(|here| here.appended.base_offset).map_err(|e| e.code())
}

/// A leader and its follower, in sync, over one folder.
fn pair(dir: &std::path::Path) -> (LocalPartition, LocalPartition) {
    let state = led_by(LEADER, 0, &[LEADER, FOLLOWER], 2);
    let (leader, follower) =
        (partition(LEADER, dir, TopicConfig::default()), partition(FOLLOWER, dir, TopicConfig::default()));
    leader.adopt(&state, None);
    follower.adopt(&state, None);
    (leader, follower)
}

/// One fetch of the follower, answered and taken in.
fn replicate(leader: &LocalPartition, follower: &LocalPartition) -> Taken {
    let asked = follower.position(LEADER).unwrap();
    let answer = answer_to(leader, asked);
    follower.take_answer(LEADER, asked, answer).unwrap()
}

fn answer_to(leader: &LocalPartition, asked: Position) -> Answer {
    let fetch = FollowerFetch {
        node: FOLLOWER,
        node_epoch: NodeEpoch(1),
        leader_epoch: asked.leader_epoch,
        offset: asked.offset,
        start: asked.start,
    };
    let fetched =
        leader.fetch_as_follower(fetch, asked.last_epoch, &mut Began::default(), 1 << 20, true).unwrap();
    if let Some((epoch, end)) = fetched.diverging {
        return Answer::Diverging { epoch, end };
    }
    let batches = fetched.slice.map(|slice| {
        let mut bytes = vec![0; slice.bytes as usize];
        std::os::unix::fs::FileExt::read_exact_at(&*slice.file, &mut bytes, slice.position).unwrap();
        Bytes::from(bytes)
    });
    let (high_watermark, start) = (fetched.high_watermark, fetched.start);
    Answer::Records { batches: batches.unwrap_or_default(), high_watermark, start }
}

fn out_of_range(start: i64, before: Option<LeaderEpoch>, high_watermark: i64) -> Answer {
    Answer::OutOfRange { start: Offset(start), before, high_watermark: Offset(high_watermark) }
}

fn end(partition: &LocalPartition) -> Offset {
    partition.with_log(|log| log.end_offset()).unwrap()
}

/// Whoever waited behind a failed sync was told that it had succeeded.
#[test]
fn a_flush_of_a_log_that_is_gone_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let partition = alone(dir.path(), flushing());
    let here = partition.append(&batch(b"x"), true, true, 2_000).unwrap();
    assert!(here.flush_first);
    drop(partition.take_log());
    let flushed = partition.flush(here.appended.last_offset.plus(1));
    assert!(matches!(flushed, Err(PartitionError::Offline)), "{flushed:?}");
}

#[test]
fn a_record_is_seen_once_it_is_flushed_where_the_topic_flushes() {
    let dir = tempfile::tempdir().unwrap();
    let partition = alone(dir.path(), flushing());
    assert!(!partition.append(&batch(b"x"), true, true, 2_000).unwrap().committed);
    assert_eq!(partition.committed_end(), Some(Offset(0)));
    partition.flush(Offset(1)).unwrap();
    assert_eq!(partition.committed_end(), Some(Offset(1)));
}

#[test]
fn an_epoch_that_is_not_the_leaders_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let partition = alone(dir.path(), TopicConfig::default());
    partition.adopt(&led_by(LEADER, 3, &[LEADER], 1), None);
    let code = |epoch| partition.high_watermark(epoch).map(|(hw, _)| hw).map_err(|e| e.code());
    assert_eq!(code(3), Ok(Offset(0)));
    assert_eq!(code(-1), Ok(Offset(0)));
    assert_eq!(code(2), Err(wire::ResponseError::FencedLeaderEpoch));
    assert_eq!(code(4), Err(wire::ResponseError::UnknownLeaderEpoch));
    partition.resign();
    assert_eq!(code(3), Err(wire::ResponseError::NotLeaderOrFollower));
}

#[test]
fn a_record_is_committed_once_the_follower_asks_for_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (leader, follower) = pair(dir.path());
    let here = leader.append(&batch(b"x"), true, true, 2_000).unwrap();
    assert!(!here.committed);
    replicate(&leader, &follower);
    assert_eq!(leader.commit(here.epoch, Offset(1)).unwrap(), Commit::Pending);
    replicate(&leader, &follower);
    assert_eq!(leader.commit(here.epoch, Offset(1)).unwrap(), Commit::Done);
    assert_eq!((end(&follower), follower.committed_end()), (Offset(1), Some(Offset(1))));
}

#[test]
fn acks_all_is_refused_before_the_append_with_too_few_in_sync() {
    let dir = tempfile::tempdir().unwrap();
    let (leader, _) = pair(dir.path());
    leader.adopt(&led_by(LEADER, 1, &[LEADER], 2), None);
    let refused = leader.append(&batch(b"x"), true, true, 2_000).err().map(|e| e.code());
    assert_eq!(refused, Some(wire::ResponseError::NotEnoughReplicas));
    assert_eq!(end(&leader), Offset(0));
    leader.append(&batch(b"x"), false, true, 2_000).unwrap();
    assert_eq!((end(&leader), leader.committed_end()), (Offset(1), Some(Offset(0))));
}

#[test]
fn a_deposed_leader_truncates_to_where_the_logs_agree() {
    let dir = tempfile::tempdir().unwrap();
    let (old, new) = pair(dir.path());
    old.append(&batch(b"both"), true, true, 2_000).unwrap();
    replicate(&old, &new);
    old.append(&batch(b"lost"), false, true, 2_000).unwrap();
    old.append(&batch(b"lost, too"), false, true, 2_000).unwrap();
    // Node 1 takes over and writes something else.
    new.adopt(&led_by(FOLLOWER, 1, &[FOLLOWER], 1), None);
    new.append(&batch(b"kept"), true, true, 3_000).unwrap();
    old.adopt(&led_by(FOLLOWER, 1, &[FOLLOWER], 1), None);
    let asked = old.position(FOLLOWER).unwrap();
    let fetch = FollowerFetch {
        node: LEADER,
        node_epoch: NodeEpoch(0),
        leader_epoch: asked.leader_epoch,
        offset: asked.offset,
        start: asked.start,
    };
    let fetched =
        new.fetch_as_follower(fetch, asked.last_epoch, &mut Began::default(), 1 << 20, true).unwrap();
    assert_eq!(fetched.diverging, Some((LeaderEpoch(0), Offset(1))));
    let answer = Answer::Diverging { epoch: LeaderEpoch(0), end: Offset(1) };
    assert_eq!(old.take_answer(FOLLOWER, asked, answer).unwrap(), Taken::Done);
    assert_eq!(end(&old), Offset(1));
}

/// The leader answered once its own start had moved; if it died then, the next one brought the deleted records back.
#[test]
fn records_are_deleted_once_those_in_sync_have_moved_their_start() {
    let dir = tempfile::tempdir().unwrap();
    let (leader, follower) = pair(dir.path());
    leader.append(&batch(b"x"), true, true, 2_000).unwrap();
    replicate(&leader, &follower);
    replicate(&leader, &follower);
    let (start, epoch) = leader.delete_before(None).unwrap();
    assert_eq!(start, Offset(1));
    assert_eq!(leader.low_watermark(epoch).unwrap(), Some(Offset(0)));
    replicate(&leader, &follower);
    assert_eq!(leader.low_watermark(epoch).unwrap(), Some(Offset(0)), "it has not said so yet");
    replicate(&leader, &follower);
    assert_eq!(leader.low_watermark(epoch).unwrap(), Some(Offset(1)));
    leader.adopt(&led_by(FOLLOWER, 1, &[FOLLOWER], 1), None);
    assert!(leader.low_watermark(epoch).is_err());
}

#[test]
fn an_answer_to_an_earlier_position_or_epoch_means_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (leader, follower) = pair(dir.path());
    leader.append(&batch(b"x"), false, true, 2_000).unwrap();
    let asked = follower.position(LEADER).unwrap();
    let (first, again) = (answer_to(&leader, asked), answer_to(&leader, asked));
    follower.take_answer(LEADER, asked, first).unwrap();
    assert_eq!(follower.take_answer(LEADER, asked, again).unwrap(), Taken::Stale);
    assert_eq!(end(&follower), Offset(1));
    follower.adopt(&led_by(LEADER, 1, &[LEADER, FOLLOWER], 2), None);
    let late = Answer::Records { batches: Bytes::new(), high_watermark: Offset(1), start: Offset(0) };
    let asked = Position { offset: Offset(1), ..asked };
    assert_eq!(follower.take_answer(LEADER, asked, late).unwrap(), Taken::Stale);
    assert_eq!(follower.committed_end(), Some(Offset(0)));
}

/// The leader's file was cut and written anew while its answer was on its way: records of a later epoch came in an
/// answer to a fetch in an earlier one, behind records that the later leader never had.
#[test]
fn records_of_a_later_epoch_than_asked_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (leader, follower) = pair(dir.path());
    leader.adopt(&led_by(LEADER, 1, &[LEADER, FOLLOWER], 2), None);
    leader.append(&batch(b"x"), false, true, 2_000).unwrap();
    let asked = follower.position(LEADER).unwrap();
    assert_eq!(asked.leader_epoch, LeaderEpoch(0));
    let of_epoch_1 = answer_to(&leader, Position { leader_epoch: LeaderEpoch(1), ..asked });
    assert!(follower.take_answer(LEADER, asked, of_epoch_1).is_err());
    assert_eq!(end(&follower), Offset(0));
}

#[test]
fn what_a_follower_begins_anew_behind_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let (_, follower) = pair(dir.path());
    let asked = follower.position(LEADER).unwrap();
    let taken = follower.take_answer(LEADER, asked, out_of_range(7, Some(LeaderEpoch(0)), -1)).unwrap();
    assert_eq!((taken, end(&follower), follower.committed_end()), (Taken::Done, Offset(7), Some(Offset(7))));
}

/// The metadata went on while the logs were being closed, took them for damaged, and put healthy ones aside.
#[test]
fn a_closed_log_is_not_taken_for_a_damaged_one() {
    let dir = tempfile::tempdir().unwrap();
    let (_, follower) = pair(dir.path());
    drop(follower.take_log());
    assert!(!follower.is_offline());
    let (_, damaged) = pair(tempfile::tempdir().unwrap().path());
    damaged.take_offline();
    assert!(damaged.is_offline());
}

/// A client that is told "no room", and of its next batch "out of order", takes the latter for a loss.
#[test]
fn what_was_pipelined_behind_a_refused_batch_is_refused_like_it() {
    let dir = tempfile::tempdir().unwrap();
    let partition = alone(dir.path(), TopicConfig::default());
    let send = |sequence, room| send(&partition, sequence, room);
    assert_eq!(send(0, true), Ok(Offset(0)));
    assert_eq!(send(1, false), Err(wire::ResponseError::KafkaStorageError));
    assert_eq!(send(2, true), Err(wire::ResponseError::KafkaStorageError), "there is room again");
    assert_eq!(send(1, true), Ok(Offset(1)));
    assert_eq!(send(2, true), Ok(Offset(2)));
}

/// librdkafka, whose first batch had reached a node before it led, was told of the second one that it is out of order, began a
/// new epoch, and what it had under way elsewhere was written twice.
#[test]
fn a_gap_at_a_new_leader_is_a_batch_that_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let partition = alone(dir.path(), TopicConfig::default());
    let send = |sequence| send(&partition, sequence, true);
    assert_eq!(send(0), Ok(Offset(0)));
    partition.adopt(&led_by(FOLLOWER, 1, &[LEADER, FOLLOWER], 1), None);
    assert_eq!(send(1), Err(wire::ResponseError::NotLeaderOrFollower));
    partition.adopt(&led_by(LEADER, 2, &[LEADER], 1), None);
    assert_eq!(send(2), Err(wire::ResponseError::NotLeaderOrFollower));
    assert_eq!(send(1), Ok(Offset(1)));
    assert_eq!(send(2), Ok(Offset(2)));
    // A leader that has been one for a while knows a gap when it sees it.
    let (producer, expected, got) = (domain::ProducerId(7), 3, 4);
    let gap = ProducerRefusal::OutOfOrderSequence { producer, expected, got };
    assert_eq!((gap.may_be_under_way(4_999), gap.may_be_under_way(5_000)), (true, false));
}

/// A producer's first batch reached a node before it led, and was refused; the second one came a moment later, and was taken:
/// an unknown producer may start anywhere. librdkafka, which knows that its batches are taken in order, then held the first one
/// for acknowledged as well.
#[test]
fn a_new_leader_takes_no_producers_second_batch_before_its_first() {
    let dir = tempfile::tempdir().unwrap();
    let partition = alone(dir.path(), TopicConfig::default());
    let send = |sequence| send(&partition, sequence, true);
    partition.adopt(&led_by(FOLLOWER, 1, &[LEADER, FOLLOWER], 1), None);
    assert_eq!(send(0), Err(wire::ResponseError::NotLeaderOrFollower));
    partition.adopt(&led_by(LEADER, 2, &[LEADER], 1), None);
    assert_eq!(send(1), Err(wire::ResponseError::NotLeaderOrFollower));
    assert_eq!(send(0), Ok(Offset(0)));
    assert_eq!(send(1), Ok(Offset(1)));
    // One that was forgotten goes on where it was, once nothing before it can be under way.
    let midway = sequenced(8, 5);
    let header = records::BatchHeader::parse(&midway).unwrap();
    let checked = |led_ms| partition.with_log(|log| log.producers().check_first(&header, 0, led_ms).is_ok());
    assert_eq!((checked(4_999), checked(5_000)), (Some(false), Some(true)));
}

/// Retention had removed the leader's older epochs, so that nothing spoke against a follower whose foreign records ended
/// exactly at the leader's log start: it joined the ISR with them.
#[test]
fn a_follower_that_ends_where_the_leaders_log_begins_begins_anew() {
    let dir = tempfile::tempdir().unwrap();
    let (leader, follower) = pair(dir.path());
    follower
        .with_log(|log| log.append_as_leader(&batch(b"foreign"), LeaderEpoch(0), 2_000))
        .unwrap()
        .unwrap();
    leader.adopt(&led_by(LEADER, 3, &[LEADER], 1), None);
    leader.append(&batch(b"removed"), true, true, 2_000).unwrap();
    leader.append(&batch(b"kept"), true, true, 2_000).unwrap();
    leader.with_log(|log| log.advance_start(Offset(1))).unwrap();
    follower.adopt(&led_by(LEADER, 3, &[LEADER], 1), None);
    let asked = follower.position(LEADER).unwrap();
    assert_eq!((asked.offset, asked.last_epoch), (Offset(1), LeaderEpoch(0)));
    let fetch = FollowerFetch {
        node: FOLLOWER,
        node_epoch: NodeEpoch(1),
        leader_epoch: asked.leader_epoch,
        offset: asked.offset,
        start: asked.start,
    };
    let fetched =
        leader.fetch_as_follower(fetch, asked.last_epoch, &mut Began::default(), 1 << 20, true).unwrap();
    assert_eq!(
        fetched.diverging,
        Some((LeaderEpoch(0), Offset(0))),
        "its record before the start is of epoch 3"
    );
    let answer = Answer::Diverging { epoch: LeaderEpoch(0), end: Offset(0) };
    follower.take_answer(LEADER, asked, answer).unwrap();
    let asked = follower.position(LEADER).unwrap();
    assert_eq!((asked.offset, asked.last_epoch), (Offset(0), LeaderEpoch::UNKNOWN));
    let fetch = FollowerFetch { offset: asked.offset, ..fetch };
    let refused =
        leader.fetch_as_follower(fetch, asked.last_epoch, &mut Began::default(), 1 << 20, true).err();
    let Some(PartitionError::FollowerOutOfRange { start, before, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((start, before), (Offset(1), Some(LeaderEpoch(3))));
    follower.take_answer(LEADER, asked, out_of_range(start.0, before, -1)).unwrap();
    let asked = follower.position(LEADER).unwrap();
    assert_eq!((asked.offset, asked.last_epoch), (Offset(1), LeaderEpoch(3)));
}

/// A replica that was away while a tombstone came and went would have kept for good what that deleted.
#[test]
fn a_follower_that_missed_removed_tombstones_begins_anew_and_then_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let of = |delete_retention_ms| TopicConfig {
        cleanup_policy: domain::CleanupPolicy { compact: true, delete: false },
        delete_retention_ms,
        ..TopicConfig::default()
    };
    let keyed = |key: &[u8], value: Option<&[u8]>| {
        let mut builder = BatchBuilder::new(Compression::None);
        builder.push(1_000, Some(key), value, &[]);
        builder.build()
    };
    let (leader, follower) = (partition(LEADER, dir.path(), of(0)), partition(FOLLOWER, dir.path(), of(0)));
    let put = |key: &[u8], value: Option<&[u8]>| {
        leader.append(&keyed(key, value), false, true, 2_000).unwrap();
    };
    let both = led_by(LEADER, 0, &[LEADER, FOLLOWER], 1);
    leader.adopt(&both, None);
    follower.adopt(&both, None);
    (0..2).for_each(|n| put(&[n], Some(b"v")));
    replicate(&leader, &follower);
    replicate(&leader, &follower);
    assert_eq!(end(&follower), Offset(2));
    leader.adopt(&led_by(LEADER, 1, &[LEADER], 1), None);
    follower.adopt(&led_by(LEADER, 1, &[LEADER], 1), None);
    put(&[0], None);
    put(&[2], Some(b"v"));
    for _ in 0..2 {
        // The first one finds the tombstone, the second one removes it.
        let committed = leader.committed_end().unwrap();
        leader.with_log(|log| {
            log.roll(2_000).unwrap();
            log.compact(committed, 2_000, commitlog::CompactionLimits::default()).unwrap();
        });
        put(&[3], Some(b"v"));
    }
    assert_eq!(leader.with_log(|log| log.removed_tombstones()), Some(Offset(3)));

    let mut began = Began::default();
    let mut fetch = |asked: Position, bytes_max| {
        let fetch = FollowerFetch {
            node: FOLLOWER,
            node_epoch: NodeEpoch(1),
            leader_epoch: asked.leader_epoch,
            offset: asked.offset,
            start: asked.start,
        };
        leader.fetch_as_follower(fetch, asked.last_epoch, &mut began, bytes_max, true)
    };
    let asked = follower.position(LEADER).unwrap();
    let refused = fetch(asked, 1).err();
    let Some(PartitionError::FollowerOutOfRange { start, before, committed, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!((start, committed >= asked.offset), (Offset(0), true));
    let answer = out_of_range(start.0, before, committed.0);
    if follower.take_answer(LEADER, asked, answer.clone()).unwrap() == Taken::CheckpointFirst {
        follower.checkpointed(follower.points().unwrap());
        assert_eq!(follower.take_answer(LEADER, asked, answer).unwrap(), Taken::Done);
    }
    assert_eq!(end(&follower), Offset(0));
    // Batch by batch, through what was compacted: it is not sent back again.
    while end(&follower) < end(&leader) {
        let asked = follower.position(LEADER).unwrap();
        let slice = fetch(asked, 1).unwrap().slice.unwrap();
        let mut bytes = vec![0; slice.bytes as usize];
        std::os::unix::fs::FileExt::read_exact_at(&*slice.file, &mut bytes, slice.position).unwrap();
        let (batches, high_watermark) = (Bytes::from(bytes), Offset(0));
        follower.take_answer(LEADER, asked, Answer::Records { batches, high_watermark, start }).unwrap();
    }
    let slice = follower.with_log(|log| log.read(Offset(0), 1 << 20, log.end_offset(), true)).unwrap();
    assert_eq!(slice.unwrap().unwrap().base_offset, Offset(0));
}
