use std::{sync::Arc, time::Duration};

use serde::Deserialize;
use tokio::{
    sync::{Semaphore, mpsc},
    time::Instant,
};

use super::record::Record;
use crate::rest::{Rest, RestError, V2, V2_BINARY};

/// The most of an answer, in bytes.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// How long a read is repeated that brings no answer.
const RETRY_MAX: Duration = Duration::from_secs(30);
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// So many answers without a record, below an end that there is, mean that what is left there are no records of a client:
/// markers of transactions, or what retention or a compaction has taken away since.
const EMPTY_MAX: u32 = 3;
const OFFSET_OUT_OF_RANGE: u32 = 40003;

#[derive(Clone, Copy, Debug, Deserialize)]
pub(super) struct Offsets {
    pub(super) beginning_offset: i64,
    pub(super) end_offset: i64,
}

pub(super) async fn offsets(rest: &Rest, topic: &str, partition: u32) -> Result<Offsets, RestError> {
    let path = ["topics", topic, "partitions", &partition.to_string(), "offsets"];
    rest.get(&path, &[], V2).await
}

/// What is read of a partition.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) partition: u32,
    pub(super) next: i64,
    /// The offset before which reading ends; never, without one.
    pub(super) end: Option<i64>,
    /// The first record that there is was asked for, not a certain one.
    pub(super) from_beginning: bool,
}

/// A partition could not be read on.
#[derive(Debug, thiserror::Error)]
#[error("partition {partition} at offset {offset}: {error}")]
pub(super) struct ReadFailure {
    partition: u32,
    offset: i64,
    error: RestError,
}

/// Reads one partition, in order.
pub(super) struct PartitionReader {
    pub(super) rest: Rest,
    pub(super) topic: String,
    pub(super) span: Span,
    pub(super) wait: Duration,
    pub(super) turns: Arc<Semaphore>,
}

impl PartitionReader {
    /// Reads until the span ends or nobody takes its records any more.
    pub(super) async fn run(mut self, records: mpsc::Sender<Result<Vec<Record>, ReadFailure>>) {
        let mut empty = 0;
        while !self.span.is_done() {
            let answer = tokio::select! {
                answer = self.read() => answer,
                () = records.closed() => return,
            };
            match answer {
                Ok(answer) => {
                    let answer = self.span.take(answer);
                    empty = if answer.is_empty() { empty + 1 } else { 0 };
                    if self.span.end.is_some() && empty == EMPTY_MAX {
                        return;
                    }
                    if !answer.is_empty() && records.send(Ok(answer)).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let failure =
                        ReadFailure { partition: self.span.partition, offset: self.span.next, error };
                    let _ = records.send(Err(failure)).await;
                    return;
                }
            }
        }
    }

    /// Reading changes nothing, so whatever may be mended by another attempt gets one.
    async fn read(&mut self) -> Result<Vec<Record>, RestError> {
        let give_up = Instant::now() + RETRY_MAX;
        loop {
            let error = match self.ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if error.code() == Some(OFFSET_OUT_OF_RANGE) && self.span.from_beginning {
                // Retention was faster: what is gone was not asked for.
                let now = offsets(&self.rest, &self.topic, self.span.partition).await?;
                if now.beginning_offset > self.span.next {
                    self.span.next = now.beginning_offset;
                    return Ok(Vec::new());
                }
            }
            if !(error.is_retriable() || error.is_unknown()) || Instant::now() >= give_up {
                return Err(error);
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    async fn ask(&self) -> Result<Vec<Record>, RestError> {
        let _turn = self.turns.acquire().await;
        let partition = self.span.partition.to_string();
        let path = ["topics", &self.topic, "partitions", &partition, "records"];
        let query = [
            ("offset", self.span.next.to_string()),
            ("timeout", self.wait.as_millis().to_string()),
            ("max_bytes", ANSWER_BYTES_MAX.to_string()),
        ];
        self.rest.get(&path, &query, V2_BINARY).await
    }
}

impl Span {
    fn is_done(&self) -> bool {
        self.end.is_some_and(|end| self.next >= end)
    }

    /// Goes on behind an answer, and cuts off what lies past the end.
    fn take(&mut self, mut answer: Vec<Record>) -> Vec<Record> {
        if let Some(last) = answer.last() {
            self.next = last.offset + 1;
        }
        if let Some(end) = self.end {
            answer.truncate(answer.partition_point(|record| record.offset < end));
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(offsets: &[i64]) -> Vec<Record> {
        let record = |offset: &i64| Record { offset: *offset, ..Record::default() };
        offsets.iter().map(record).collect()
    }

    #[test]
    fn a_span_ends_where_the_partition_ended_at_the_start() {
        let mut span = Span { partition: 0, next: 3, end: Some(6), from_beginning: false };
        assert_eq!(span.take(answer(&[3, 4])), answer(&[3, 4]));
        assert!(!span.is_done());
        assert_eq!(span.take(answer(&[])), answer(&[]));
        assert_eq!(span.next, 5);
        assert_eq!(span.take(answer(&[5, 6, 7])), answer(&[5]));
        assert!(span.is_done());
    }

    #[test]
    fn what_is_followed_never_ends() {
        let mut span = Span { partition: 0, next: 0, end: None, from_beginning: true };
        assert_eq!(span.take(answer(&[0, 9])).len(), 2);
        assert!(!span.is_done() && span.next == 10);
    }
}
