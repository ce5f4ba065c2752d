//! The producer against leaders that a test scripts.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use domain::{Offset, PartitionIndex, ProducerId, TopicConfig};
use futures_util::future::BoxFuture;
use records::BatchHeader;
use rpc::ControllerError;
use transport::CallError;
use wire::messages::{
    ProduceRequest, ProduceResponse,
    produce_response::{PartitionProduceResponse, TopicProduceResponse},
};

use super::*;
use crate::{fixture, idempotency::IdempotencyKey, memory::Memory};

/// What the leader does with the next batch.
enum Does {
    Write,
    /// Writes it, and the answer is lost.
    WriteAndLose,
    LoseBoth,
    NotReached,
    Answer(ResponseError),
    Silent,
}

#[derive(Default)]
struct Script {
    next: VecDeque<Does>,
    /// Producer id, base sequence and count of each batch that arrived.
    seen: Vec<(i64, i32, i32)>,
    /// The log: producer id, base sequence, and where the batch begins.
    log: Vec<(i64, i32, i64)>,
    end: i64,
    ids: i64,
}

#[derive(Clone, Default)]
struct Leader(Arc<Mutex<Script>>);

impl Leader {
    fn doing(next: impl IntoIterator<Item = Does>) -> Self {
        let leader = Self::default();
        leader.0.lock().next.extend(next);
        leader
    }

    fn write(script: &mut Script, header: &BatchHeader) -> i64 {
        let (id, sequence) = (header.producer_id.0, header.base_sequence);
        if let Some(known) = script.log.iter().find(|(i, s, _)| (*i, *s) == (id, sequence)) {
            return known.2;
        }
        let base = script.end;
        script.log.push((id, sequence, base));
        script.end += i64::from(header.record_count);
        base
    }

    fn handle(&self, batch: &Bytes, address: &str) -> Option<Result<ProduceResponse, CallError>> {
        let header = BatchHeader::parse(batch).unwrap();
        let mut script = self.0.lock();
        let (address, reason) = (address.to_owned(), "scripted".to_owned());
        let does = script.next.pop_front().unwrap_or(Does::Write);
        if !matches!(does, Does::NotReached) {
            script.seen.push((header.producer_id.0, header.base_sequence, header.record_count));
        }
        Some(match does {
            Does::Write => Ok(answer(0, Self::write(&mut script, &header))),
            Does::WriteAndLose => {
                Self::write(&mut script, &header);
                Err(CallError::Lost { address, reason })
            }
            Does::LoseBoth => Err(CallError::Lost { address, reason }),
            Does::NotReached => Err(CallError::NotSent { address, reason }),
            Does::Answer(code) => Ok(answer(code.code(), -1)),
            Does::Silent => return None,
        })
    }
}

fn answer(code: i16, base: i64) -> ProduceResponse {
    let partition = PartitionProduceResponse::default()
        .with_error_code(code)
        .with_base_offset(base)
        .with_log_append_time_ms(-1);
    let topic = TopicProduceResponse::default().with_partition_responses(vec![partition]);
    ProduceResponse::default().with_responses(vec![topic])
}

impl Upstream for Leader {
    fn produce<'a>(
        &'a self,
        address: &'a str,
        request: ProduceRequest,
        within: Duration,
    ) -> BoxFuture<'a, Result<ProduceResponse, CallError>> {
        Box::pin(async move {
            // A little time passes, so that what is pushed meanwhile gathers.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let batch = request.topic_data[0].partition_data[0].records.clone().unwrap();
            match self.handle(&batch, address) {
                Some(answer) => answer,
                None => {
                    tokio::time::sleep(within).await;
                    let (address, reason) = (address.to_owned(), "no answer in time".to_owned());
                    Err(CallError::Lost { address, reason })
                }
            }
        })
    }

    fn producer_ids(&self, count: i32, _: Duration) -> BoxFuture<'_, Result<ProducerId, ControllerError>> {
        let mut script = self.0.lock();
        let first = script.ids;
        script.ids += i64::from(count);
        Box::pin(async move { Ok(ProducerId(first)) })
    }
}

struct Bench {
    leader: Leader,
    producer: Producer,
    image: Arc<metadata::Image>,
    memory: Memory,
}

impl Bench {
    fn new(next: impl IntoIterator<Item = Does>) -> Self {
        let leader = Leader::doing(next);
        let image = WatchedImage::fixed(fixture::image());
        Self {
            leader: leader.clone(),
            image: image.load(),
            memory: Memory::new(64 << 20),
            producer: Producer::new(leader, image, Duration::from_secs(30)),
        }
    }

    fn push(&self, values: &[&str]) -> Vec<Receipt> {
        self.push_as(None, values)
    }

    fn push_as(&self, once: Option<Once>, values: &[&str]) -> Vec<Receipt> {
        let topic = self.image.topics.get("orders").unwrap();
        let target = Target { topic: topic.id, partition: PartitionIndex(0) };
        let records: Vec<OutRecord<'_>> = values
            .iter()
            .map(|value| OutRecord {
                timestamp: 0,
                key: None,
                value: Some(value.as_bytes().into()),
                headers: Vec::new(),
            })
            .collect();
        let held = self.memory.try_take(records.iter().map(OutRecord::bytes_bound).sum()).unwrap();
        let rules = TopicRules::new(&TopicConfig::default());
        match once {
            Some(once) => self.producer.push_once(topic, target, &records, held, once),
            None => self.producer.push(topic, target, &rules, &records, held),
        }
    }

    async fn send(&self, value: &str) -> Result<i64, ProduceError> {
        let receipt = self.push(&[value]).remove(0);
        receipt.wait().await.map(|(Offset(offset), _)| offset)
    }

    fn seen(&self) -> Vec<(i64, i32, i32)> {
        self.leader.0.lock().seen.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn what_comes_while_a_batch_is_under_way_goes_with_the_next() {
    let bench = Bench::new([]);
    let first = bench.push(&["a", "b"]);
    tokio::task::yield_now().await;
    let second = [bench.push(&["c"]), bench.push(&["d", "e"])].concat();
    let mut offsets = Vec::new();
    for receipt in first.iter().chain(&second) {
        offsets.push(receipt.wait().await.unwrap().0.0);
    }
    assert_eq!(offsets, [0, 1, 2, 3, 4]);
    assert_eq!(bench.seen(), [(0, 0, 2), (0, 2, 3)]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_asked_for_again_and_nothing_is_written_twice() {
    let bench = Bench::new([Does::WriteAndLose]);
    assert_eq!(bench.send("a").await, Ok(0));
    assert_eq!(bench.send("b").await, Ok(1));
    assert_eq!(bench.seen(), [(0, 0, 1), (0, 0, 1), (0, 1, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_never_left_is_definitely_not_written_and_its_sequence_is_used_again() {
    let bench = Bench::new((0..500).map(|_| Does::NotReached));
    let error = bench.send("a").await.unwrap_err();
    assert!(matches!(error, ProduceError::NotWritten(_)), "{error}");
    bench.leader.0.lock().next.clear();
    assert_eq!(bench.send("b").await, Ok(0));
    assert_eq!(bench.seen(), [(0, 0, 1)]);
}

fn once(key: &'static str, content: &[u8]) -> Once {
    let headers = [("idempotency-key".parse().unwrap(), axum::http::HeaderValue::from_static(key))];
    IdempotencyKey::of(&axum::http::HeaderMap::from_iter(headers)).unwrap().unwrap().request(&[content])
}

#[tokio::test(start_paused = true)]
async fn what_comes_under_a_key_is_a_batch_of_its_own_and_waits_for_nobody() {
    let bench = Bench::new([Does::Write, Does::WriteAndLose]);
    let first = bench.push(&["a"]);
    tokio::task::yield_now().await;
    let others = [first, bench.push(&["b"])].concat();
    let once = once("k", b"c d");
    let keyed = bench.push_as(Some(once), &["c", "d"]);
    let (id, sequence) = (once.producer.0, once.sequence);
    let place = keyed[1].wait().await.map(|(offset, _)| offset);
    for receipt in &others {
        assert!(receipt.wait().await.is_ok());
    }
    let seen = bench.seen();
    assert_eq!(seen[..2], [(0, 0, 1), (id, sequence, 2)], "the second is not kept back by the first");
    assert_eq!(seen.iter().filter(|batch| **batch == (id, sequence, 2)).count(), 2, "{seen:?}");
    assert_eq!(place, Ok(Offset(2)));
    // Another gateway, say, sends them once more.
    let again = bench.push_as(Some(once), &["c", "d"]);
    assert_eq!(again[1].wait().await.map(|(offset, _)| offset), place);
    assert_eq!(bench.send("e").await, Ok(4));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_came_with_another_request_is_refused_even_after_an_unknown_attempt() {
    let reused = || Does::Answer(ResponseError::OutOfOrderSequenceNumber);
    let bench = Bench::new([reused(), Does::LoseBoth, reused()]);
    for _ in 0..2 {
        let receipts = bench.push_as(Some(once("k", b"x")), &["x"]);
        assert_eq!(receipts[0].wait().await, Err(ProduceError::KeyReused));
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_outcome_is_called_unknown_and_the_next_batch_is_from_somebody_else() {
    let bench = Bench::new(std::iter::once(Does::LoseBoth).chain((0..500).map(|_| Does::NotReached)));
    let error = bench.send("a").await.unwrap_err();
    assert!(matches!(error, ProduceError::Unknown(_)), "{error}");
    bench.leader.0.lock().next.clear();
    assert_eq!(bench.send("b").await, Ok(0));
    assert_eq!(bench.seen(), [(0, 0, 1), (1, 0, 1)]);
}

#[tokio::test(start_paused = true)]
async fn a_silent_leader_is_asked_again_and_given_up_in_time() {
    let bench = Bench::new((0..500).map(|_| Does::Silent));
    let start = Instant::now();
    let error = bench.send("a").await.unwrap_err();
    assert!(matches!(error, ProduceError::Unknown(_)), "{error}");
    assert!(start.elapsed() <= Duration::from_millis(30_001), "{:?}", start.elapsed());
    assert_eq!(bench.seen().len(), 3, "10 s an attempt");
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_producer_comes_back_under_a_new_id_if_nothing_can_be_there_twice() {
    let stranger = || Does::Answer(ResponseError::UnknownProducerId);
    let bench = Bench::new([Does::Write, stranger()]);
    assert_eq!(bench.send("a").await, Ok(0));
    assert_eq!(bench.send("b").await, Ok(1));
    assert_eq!(bench.seen(), [(0, 0, 1), (0, 1, 1), (1, 0, 1)]);
    let bench = Bench::new([Does::LoseBoth, stranger()]);
    assert!(matches!(bench.send("a").await, Err(ProduceError::Unknown(_))));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_definite_unless_an_earlier_attempt_may_have_been_written() {
    let refusal = || Does::Answer(ResponseError::InvalidRecord);
    let bench = Bench::new([refusal(), Does::LoseBoth, refusal()]);
    assert!(matches!(bench.send("a").await, Err(ProduceError::Refused { .. })));
    assert!(matches!(bench.send("b").await, Err(ProduceError::Unknown(_))));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_only_fails_is_given_up_early_with_an_unknown_outcome() {
    let failing = || Does::Answer(ResponseError::KafkaStorageError);
    let bench = Bench::new((0..500).map(|_| failing()));
    let start = Instant::now();
    let error = bench.send("a").await.unwrap_err();
    let took = start.elapsed();
    assert!(matches!(error, ProduceError::Unknown(_)), "{error}");
    assert!(error.to_string().contains("keeps failing") && error.to_string().contains("(56)"), "{error}");
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(4), "{took:?}");
    assert!(bench.seen().len() >= 3);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_recovers_is_not_given_up() {
    let failing = || Does::Answer(ResponseError::KafkaStorageError);
    let bench = Bench::new([failing(), failing(), Does::NotReached, failing(), failing()]);
    assert_eq!(bench.send("a").await, Ok(0));
    assert_eq!(bench.seen().len(), 5, "the same producer and sequence: {:?}", bench.seen());
    // What is no failure of the disk begins the count anew.
    let mixed = (0..500).map(|i| match i % 4 {
        3 => Does::Answer(ResponseError::NotEnoughReplicas),
        _ => failing(),
    });
    let start = Instant::now();
    let error = Bench::new(mixed).send("a").await.unwrap_err();
    assert!(
        matches!(error, ProduceError::Unknown(_)) && start.elapsed() > Duration::from_secs(29),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn closing_waits_for_what_is_under_way_but_not_forever() {
    let bench = Bench::new([]);
    let receipt = bench.push(&["a"]).remove(0);
    bench.producer.close(Duration::from_secs(10)).await;
    assert!(receipt.wait().await.is_ok());
    let bench = Bench::new([Does::Silent]);
    let receipts = [bench.push(&["a"]), bench.push(&["b"])].concat();
    bench.producer.close(Duration::from_secs(1)).await;
    for receipt in receipts {
        assert!(matches!(receipt.wait().await, Err(ProduceError::Unknown(_))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_larger_than_a_batch_goes_alone() {
    let bench = Bench::new([]);
    let large = "x".repeat((1 << 20) + 1);
    let receipts = bench.push(&["a", &large, "b"]);
    for (index, receipt) in receipts.iter().enumerate() {
        assert_eq!(receipt.wait().await, Ok((Offset(index as i64), None)));
    }
    assert_eq!(bench.seen(), [(0, 0, 1), (0, 1, 1), (0, 2, 1)]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_queue_is_forgotten_after_a_while() {
    let bench = Bench::new([]);
    assert_eq!(bench.send("a").await, Ok(0));
    tokio::time::sleep(IDLE_MAX + Duration::from_secs(1)).await;
    assert_eq!(bench.send("b").await, Ok(1));
    assert_eq!(bench.seen(), [(0, 0, 1), (1, 0, 1)], "another producer id");
}
