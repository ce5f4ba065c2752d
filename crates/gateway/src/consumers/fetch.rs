//! Reading many partitions at once, each leader asked once for all of its own.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{Offset, TopicName};
use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
use group::TopicPlace;
use metadata::Image;
use tokio::time::Instant;
use wire::{
    ResponseError,
    messages::{FetchRequest, FetchResponse},
};

use crate::{
    App,
    fetch_request::{Part, fetch_request},
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
    /// Nobody could tell.
    Nothing,
}

/// How many leaders are asked for these.
pub(super) fn leaders(image: &Image, wanted: &[From]) -> usize {
    by_leader(image, wanted).len()
}

/// Reads each partition once, without waiting for anything. The answers stand in the order of `wanted`.
pub(super) async fn read(app: &App, image: &Image, wanted: &[From], bytes_max: usize) -> Vec<Found> {
    let mut found = vec![Found::Nothing; wanted.len()];
    let by_leader = by_leader(image, wanted);
    let asking = by_leader.iter().map(|(address, asked)| async move {
        let request = request(wanted, asked, Duration::ZERO, 1, bytes_max);
        app.nodes.call(address, request, Duration::ZERO).await
    });
    for (asked, answer) in by_leader.values().zip(join_all(asking).await) {
        match answer {
            Ok(answer) => of_leader(answer, wanted, asked, &mut found),
            Err(error) => tracing::debug!(%error, "a leader did not answer"),
        }
    }
    found
}

/// Waits until one of the leaders has at least so many bytes, or the time is up; whether one has. What there is, the next read
/// tells.
pub(super) async fn wait(
    app: &Arc<App>,
    image: &Image,
    wanted: &[From],
    bytes_min: i32,
    until: Instant,
) -> bool {
    let left = until.saturating_duration_since(Instant::now());
    let mut waiting = FuturesUnordered::new();
    for (address, asked) in by_leader(image, wanted) {
        // Only as much as must be there: the first batch comes whole in any case.
        let bytes_max = usize::try_from(bytes_min).unwrap_or(1).max(1);
        let wait = left.min(SLICE_MAX);
        let request = request(wanted, &asked, wait, bytes_min, bytes_max);
        let app = app.clone();
        // Asked to its end though nobody waits for it any more: the connection can be used again then.
        waiting.push(tokio::spawn(async move {
            let begun = Instant::now();
            let answer = app.nodes.call(&address, request, wait).await;
            let has_news = answer.is_ok_and(|answer| has_news(&answer, bytes_max));
            if !has_news {
                // One that answers at once and has nothing (it leads no more, or stops) is not asked again at once.
                tokio::time::sleep_until(begun + RETRY).await;
            }
            has_news
        }));
    }
    if waiting.is_empty() {
        tokio::time::sleep(left.min(RETRY)).await;
    }
    while let Some(has_news) = waiting.next().await {
        if has_news.unwrap_or(false) {
            return true;
        }
    }
    false
}

/// A node waits no longer than this for news, so that one whom nobody waits for is free again soon.
const SLICE_MAX: Duration = Duration::from_millis(500);
const RETRY: Duration = Duration::from_millis(50);

fn has_news(answer: &FetchResponse, bytes_min: usize) -> bool {
    let partitions = || answer.responses.iter().flat_map(|topic| &topic.partitions);
    let bytes: usize = partitions().filter_map(|p| p.records.as_ref()).map(Bytes::len).sum();
    bytes >= bytes_min || partitions().any(|p| p.error_code == ResponseError::OffsetOutOfRange.code())
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

fn request(wanted: &[From], asked: &Asked, wait: Duration, bytes_min: i32, bytes_max: usize) -> FetchRequest {
    let parts = asked.iter().map(|(index, way)| {
        let From { place, topic, offset } = &wanted[*index];
        Part {
            topic: place.topic,
            name: topic,
            partition: place.partition,
            leader_epoch: way.leader_epoch,
            offset: *offset,
        }
    });
    fetch_request(parts, wait, bytes_min, bytes_max)
}

fn of_leader(answer: FetchResponse, wanted: &[From], asked: &Asked, found: &mut [Found]) {
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
                Some(_) => Found::Nothing,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use domain::PartitionIndex;
    use rpc::WatchedImage;
    use settings::LimitSettings;
    use tokio_util::sync::CancellationToken;
    use transport::Reply;
    use wire::{
        RequestFrame,
        messages::fetch_response::{FetchableTopicResponse, PartitionData},
    };

    use super::*;
    use crate::{
        fixture,
        kafka::fake_node::{in_front_of, says},
    };

    /// How often a node is asked by one who has nothing to read for 600 ms, if it always answers at once, with this.
    async fn asked(error: Option<ResponseError>) -> usize {
        let count = Arc::new(AtomicUsize::new(0));
        let node = {
            let count = count.clone();
            move |frame: RequestFrame| {
                count.fetch_add(1, Ordering::Relaxed);
                let request: FetchRequest = frame.decode_body().unwrap();
                let code = error.map_or(0, |error| error.code());
                let topic = FetchableTopicResponse::default()
                    .with_topic_id(request.topics[0].topic_id)
                    .with_partitions(vec![PartitionData::default().with_error_code(code)]);
                Reply::Now(says(&frame, &FetchResponse::default().with_responses(vec![topic])))
            }
        };
        let stop = CancellationToken::new();
        let image = in_front_of(fixture::image(), node, &stop).await;
        let topic = image.topics.get("orders").unwrap().clone();
        let place = TopicPlace { topic: topic.id, partition: PartitionIndex(0) };
        let wanted = [From { place, topic: topic.name.clone(), offset: Offset(0) }];
        let app = fixture::app(WatchedImage::fixed(image.clone()), LimitSettings::default());
        let until = Instant::now() + Duration::from_millis(600);
        while Instant::now() < until {
            read(&app, &image, &wanted, 100).await;
            wait(&app, &image, &wanted, 1, until).await;
        }
        stop.cancel();
        count.load(Ordering::Relaxed)
    }

    /// A leader that was just replaced, or one that is about to stop.
    #[tokio::test]
    async fn a_node_that_answers_at_once_without_records_is_not_asked_without_a_pause() {
        for error in [Some(ResponseError::NotLeaderOrFollower), None] {
            let asked = asked(error).await;
            assert!((2..=30).contains(&asked), "{error:?}: asked {asked} times in 600 ms");
        }
    }
}
