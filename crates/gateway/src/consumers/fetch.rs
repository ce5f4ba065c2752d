//! Reading many partitions at once, each leader asked once for all of its own.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use domain::{Offset, TopicName};
use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use group::TopicPlace;
use metadata::Image;
use tokio::time::Instant;
use wire::{
    ResponseError, StrBytes, WireTopicName,
    messages::{
        FetchRequest, FetchResponse,
        fetch_request::{FetchPartition, FetchTopic},
    },
};

use crate::{
    App,
    routing::{Route, Target, route},
};

/// A partition to read, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct From {
    pub(super) place: TopicPlace,
    pub(super) topic: TopicName,
    pub(super) offset: Offset,
}

/// What a leader had of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// Record batches, none if there is nothing new.
    Batches(Bytes),
    OutOfRange,
    /// Nobody could tell; the reason.
    Nothing(String),
}

/// Reads each partition once, without waiting for anything. The answers stand in the order of `wanted`.
pub(super) async fn read(app: &App, image: &Image, wanted: &[From], bytes_max: usize) -> Vec<Found> {
    let mut found = vec![Found::Nothing("the partition has no leader now".to_owned()); wanted.len()];
    let by_leader = by_leader(image, wanted);
    let asking = by_leader.iter().map(|(address, asked)| async move {
        let request = request(wanted, asked, bytes_max, Duration::ZERO, 1);
        app.nodes.call(address, request, Duration::ZERO).await
    });
    for (asked, answer) in by_leader.values().zip(join_all(asking).await) {
        match answer {
            Ok(answer) => of_leader(answer, wanted, asked, &mut found),
            Err(error) => {
                for (index, _) in asked {
                    found[*index] = Found::Nothing(error.to_string());
                }
            }
        }
    }
    found
}

/// Waits until one of the leaders has news, at least of so many bytes, or the time is up. What there is, the next read tells.
pub(super) async fn wait(
    app: &std::sync::Arc<App>,
    image: &Image,
    wanted: &[From],
    bytes_min: i32,
    until: Instant,
) {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return;
    }
    let mut waiting = FuturesUnordered::new();
    for (address, asked) in by_leader(image, wanted) {
        // Only as much as must be there: the first batch comes whole in any case.
        let request = request(wanted, &asked, bytes_min.max(1) as usize, left.min(SLICE_MAX), bytes_min);
        let app = app.clone();
        // Asked to its end though nobody waits for it any more: the connection can be used again then.
        let task = tokio::spawn(async move {
            let begun = Instant::now();
            let answer = app.nodes.call(&address, request, left.min(SLICE_MAX)).await;
            if answer.is_err() {
                // One that cannot be asked has no news.
                tokio::time::sleep_until(begun + RETRY).await;
            }
            answer.is_ok_and(|answer| has_news(&answer))
        });
        waiting.push(task);
    }
    if waiting.is_empty() {
        return tokio::time::sleep(left.min(RETRY)).await;
    }
    while let Some(news) = waiting.next().await {
        if !matches!(news, Ok(false)) {
            return;
        }
    }
}

/// A node waits no longer than this for news, so that one whom nobody waits for is free again soon.
const SLICE_MAX: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_millis(50);

fn has_news(answer: &FetchResponse) -> bool {
    answer.error_code != 0
        || answer.responses.iter().flat_map(|topic| &topic.partitions).any(|partition| {
            partition.error_code != 0 || partition.records.as_ref().is_some_and(|r| !r.is_empty())
        })
}

/// The places of what each leader is asked for, with the way to it.
type Asked = Vec<(usize, Route)>;

fn by_leader(image: &Image, wanted: &[From]) -> BTreeMap<String, Asked> {
    let mut by_leader: BTreeMap<String, Asked> = BTreeMap::new();
    for (index, from) in wanted.iter().enumerate() {
        let target = Target { topic: from.place.topic, partition: from.place.partition };
        if let Ok(way) = route(image, target) {
            by_leader.entry(way.address.clone()).or_default().push((index, way));
        }
    }
    by_leader
}

fn request(wanted: &[From], asked: &Asked, bytes_max: usize, wait: Duration, bytes_min: i32) -> FetchRequest {
    let bytes_max = i32::try_from(bytes_max).unwrap_or(i32::MAX);
    // A leader fills its answer in the order of the request, so a topic may stand in it many times.
    let topics = asked.iter().map(|(index, way)| {
        let from = &wanted[*index];
        let partition = FetchPartition::default()
            .with_partition(from.place.partition.0)
            .with_current_leader_epoch(way.leader_epoch.0)
            .with_fetch_offset(from.offset.0)
            .with_partition_max_bytes(bytes_max);
        FetchTopic::default()
            .with_topic(WireTopicName(StrBytes::from_string(from.topic.to_string())))
            .with_topic_id(from.place.topic.0)
            .with_partitions(vec![partition])
    });
    FetchRequest::default()
        .with_max_wait_ms(i32::try_from(wait.as_millis()).unwrap_or(i32::MAX))
        .with_min_bytes(bytes_min.max(1))
        .with_max_bytes(bytes_max)
        .with_topics(topics.collect())
}

fn of_leader(answer: FetchResponse, wanted: &[From], asked: &Asked, found: &mut [Found]) {
    if let Some(code) = ResponseError::try_from_code(answer.error_code) {
        for (index, _) in asked {
            found[*index] = Found::Nothing(code.to_string());
        }
        return;
    }
    for topic in answer.responses {
        for partition in topic.partitions {
            let of = asked.iter().find(|(index, _)| {
                let from = &wanted[*index];
                from.place.partition.0 == partition.partition_index
                    && (from.place.topic.0 == topic.topic_id || from.topic.as_str() == topic.topic.as_str())
            });
            let Some((index, _)) = of else { continue };
            found[*index] = match ResponseError::try_from_code(partition.error_code) {
                None => Found::Batches(partition.records.unwrap_or_default()),
                Some(ResponseError::OffsetOutOfRange) => Found::OutOfRange,
                Some(code) => Found::Nothing(code.to_string()),
            };
        }
    }
}
