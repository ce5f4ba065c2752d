use std::{sync::Arc, time::Duration};

use domain::Offset;
use futures_util::future::try_join_all;
use group::{
    BeginPoll, EndPoll, PollBegun, Range, RecordFormat, SessionError, SessionOp, SessionReply, TopicPlace,
};
use records::Record;
use tokio::time::Instant;

use super::{
    Consumer, ConsumerError,
    delivery::Delivery,
    fetch::{self, Found, From},
    positions,
};
use crate::{
    App,
    memory::{Cost, Memory, Share},
    negotiate::Embedded,
    page::Page,
    reader::{self, Read, ReadError, SHOWN_COST},
    routing::{RouteError, Target},
};

/// What a client asks for.
#[derive(Clone, Debug)]
pub(crate) struct Poll {
    /// `None`: the consumer's own, whatever it is.
    pub(crate) format: Option<RecordFormat>,
    pub(crate) request: Option<String>,
    /// It can only be shorter than what the consumer was made with.
    pub(crate) timeout: Option<Duration>,
    pub(crate) bytes_max: usize,
}

pub(crate) struct Polled {
    pub(crate) format: RecordFormat,
    pub(crate) page: Page,
    /// Of records that come back if they do not arrive.
    pub(crate) delivery: Option<Delivery>,
}

/// A consumer that has nothing to read asks so often whether it has by now.
const IDLE_PAUSE: Duration = Duration::from_millis(200);

/// A record that cannot be shown in the consumer's form ends what is delivered of its partition; if there is nothing else, it is
/// the error.
pub(crate) async fn poll(
    app: &Arc<App>,
    consumer: &Consumer,
    wanted: &Poll,
) -> Result<Polled, ConsumerError> {
    let arrived = Instant::now();
    let mut begun = begin(app, consumer, wanted, None).await?;
    let format = begun.options.format;
    if !begun.replay.is_empty() {
        let page = replay(app, &begun.replay, format, wanted.bytes_max).await?;
        let delivery = Some(Delivery::new(app, consumer, begun.poll));
        return Ok(Polled { format, page, delivery });
    }
    let longest = Duration::from_millis(u64::try_from(begun.options.request_timeout_ms).unwrap_or(0));
    let until = arrived + wanted.timeout.unwrap_or(longest).min(longest);
    loop {
        let nothing = Polled { format, page: Page::default(), delivery: None };
        let read = match read_some(app, &begun, wanted.bytes_max, until).await {
            // Partitions of a topic that was deleted are taken away in a moment.
            Err(ConsumerError::Read(ReadError::Route(
                RouteError::UnknownTopic | RouteError::UnknownPartition(_),
            ))) if Instant::now() < until => {
                tokio::time::sleep(IDLE_PAUSE.min(until - Instant::now())).await;
                ReadSome::default()
            }
            read => read?,
        };
        if read.began.is_empty() && read.delivered.is_empty() {
            if Instant::now() >= until || app.stopping.is_cancelled() {
                return Ok(nothing);
            }
        } else {
            let delivers = !read.delivered.is_empty();
            // From here on it may be that the coordinator takes them for delivered.
            let delivery = Delivery::new(app, consumer, begun.poll);
            let end = EndPoll { poll: begun.poll, began: read.began, delivered: read.delivered };
            match app.coordinators.call(&app.backend, consumer, SessionOp::EndPoll(end)).await {
                Ok(_) if delivers => {
                    return Ok(Polled { format, page: read.page, delivery: Some(delivery) });
                }
                Ok(_) if Instant::now() >= until => {
                    delivery.over();
                    return Ok(nothing);
                }
                Ok(_) => delivery.over(),
                // Another poll of the same consumer has the word now. Nothing was delivered by this one.
                Err(ConsumerError::Session(SessionError::Superseded)) => {
                    delivery.over();
                    return Ok(nothing);
                }
                Err(ConsumerError::Session(SessionError::Moved)) => delivery.over(),
                Err(error) => return Err(error),
            }
        }
        begun = match begin(app, consumer, wanted, Some(begun.poll)).await {
            Err(ConsumerError::Session(SessionError::Superseded)) => return Ok(nothing),
            begun => begun?,
        };
    }
}

async fn begin(
    app: &App,
    consumer: &Consumer,
    wanted: &Poll,
    again: Option<u64>,
) -> Result<PollBegun, ConsumerError> {
    let begin = BeginPoll { request: wanted.request.clone(), format: wanted.format, again };
    let op = SessionOp::BeginPoll(begin);
    match app.coordinators.call(&app.backend, consumer, op).await? {
        SessionReply::PollBegun(begun) => Ok(begun),
        other => Err(ConsumerError::Unknown(format!("the coordinator answered {other:?}"))),
    }
}

#[derive(Debug, Default)]
struct ReadSome {
    /// Where reading began that had no position.
    began: Vec<(TopicPlace, Offset)>,
    delivered: Vec<Range>,
    page: Page,
}

/// Reads what there is, and if there is nothing waits for it.
async fn read_some(
    app: &Arc<App>,
    begun: &PollBegun,
    bytes_max: usize,
    until: Instant,
) -> Result<ReadSome, ConsumerError> {
    let image = app.image.load();
    if begun.positions.is_empty() {
        pause(app, IDLE_PAUSE, until).await;
        return Ok(ReadSome::default());
    }
    let nowhere: Vec<TopicPlace> =
        begun.positions.iter().filter(|(_, offset)| offset.is_none()).map(|(place, _)| *place).collect();
    let mut began = positions::begun(app, &image, &nowhere, begun.options.reset).await?;
    let known = begun.positions.iter().filter_map(|(place, offset)| Some((*place, (*offset)?)));
    let mut from = known
        .chain(began.iter().copied())
        .map(|(place, offset)| {
            let topic = image.topic_by_id(place.topic).ok_or(ReadError::Route(RouteError::UnknownTopic))?;
            Ok(From { place, topic: topic.name.clone(), offset })
        })
        .collect::<Result<Vec<From>, ConsumerError>>()?;
    // Whose turn it is to come first is as good as random.
    let first = usize::try_from(begun.poll % from.len().max(1) as u64).unwrap_or(0);
    from.rotate_left(first);
    let bytes_min = begun.options.fetch_bytes_min.min(i32::try_from(bytes_max).unwrap_or(i32::MAX));
    // A leader had that much: what of it comes is taken, though batches may not fit the answer to the last byte.
    let mut has_come = false;
    let mut least = 0;
    loop {
        let image = app.image.load();
        let cost = Cost { leaders: fetch::leaders(&image, &from), shown: SHOWN_COST };
        let mut share = app.memory.share(bytes_max, cost, least).await?;
        let found = fetch::read(app, &image, &from, share.bytes()).await;
        let there: usize = found.iter().map(Found::bytes).sum();
        if !share.covers(there, &app.memory) {
            least = there;
            continue;
        }
        let is_out = |(_, found): &(&From, &Found)| **found == Found::OutOfRange;
        let out: Vec<TopicPlace> =
            from.iter().zip(&found).filter(is_out).map(|(from, _)| from.place).collect();
        for (place, offset) in positions::begun(app, &image, &out, begun.options.reset).await? {
            began.retain(|(of, _)| *of != place);
            began.push((place, offset));
        }
        let enough = usize::try_from(bytes_min).unwrap_or(1).min(share.bytes());
        let is_enough = there > 0 && (has_come || there >= enough);
        let is_over = Instant::now() >= until || app.stopping.is_cancelled();
        // Where reading begins is written down before anything is waited for, or it would begin anew if this gateway dies.
        if is_enough || is_over || !began.is_empty() {
            let found = from.iter().zip(found);
            let form = embedded(begun.options.format);
            let read = shown(&app.memory, share, found, form, began).await?;
            if is_over || !read.delivered.is_empty() || !read.began.is_empty() {
                return Ok(read);
            }
            began = read.began;
        } else {
            // Nobody holds memory while there is nothing.
            drop(share);
        }
        has_come = tokio::select! {
            has_come = fetch::wait(app, &image, &from, bytes_min, until) => has_come,
            () = app.stopping.cancelled() => false,
        };
    }
}

async fn pause(app: &App, pause: Duration, until: Instant) {
    tokio::select! {
        () = tokio::time::sleep_until(until.min(Instant::now() + pause)) => {}
        () = app.stopping.cancelled() => {}
    }
}

impl Found {
    fn bytes(&self) -> usize {
        match self {
            Found::Batches(bytes) => bytes.len(),
            Found::OutOfRange | Found::Nothing => 0,
        }
    }
}

fn embedded(format: RecordFormat) -> Embedded {
    match format {
        RecordFormat::Binary => Embedded::Binary,
        RecordFormat::Json => Embedded::Json,
    }
}

/// The records of what was found, as many as there is room for, but at least one.
async fn shown<'a>(
    memory: &Memory,
    share: Share,
    found: impl Iterator<Item = (&'a From, Found)>,
    form: Embedded,
    began: Vec<(TopicPlace, Offset)>,
) -> Result<ReadSome, ConsumerError> {
    let mut left = share.bytes();
    let mut read = ReadSome { began, page: Page::within(share), ..Default::default() };
    let mut not_shown = None;
    for (from, found) in found {
        let Found::Batches(bytes) = found else { continue };
        if bytes.is_empty() || (left == 0 && !read.delivered.is_empty()) {
            continue;
        }
        let decoded = reader::decode_aside(bytes, from.offset, left.max(1)).await?;
        let records = decoded.records;
        if records.is_empty() && decoded.next > from.offset {
            // Nothing for consumers stands here: it is read on after it.
            read.began.retain(|(of, _)| *of != from.place);
            read.began.push((from.place, decoded.next));
            continue;
        }
        let ends: Vec<(Offset, usize)> =
            records.iter().map(|r| (r.offset.plus(1), reader::payload_bytes(r))).collect();
        let first = records.first().map_or(from.offset, |record| record.offset);
        let part = (&from.topic, from.place.partition);
        let (page, added, why) = read.page.add(memory, form, part, records).await?;
        read.page = page;
        not_shown = not_shown.or(why);
        if let Some((to, _)) = added.checked_sub(1).and_then(|last| ends.get(last)) {
            left = left.saturating_sub(ends[..added].iter().map(|(_, bytes)| bytes).sum());
            read.delivered.push(Range { place: from.place, from: first, to: *to });
        }
    }
    match not_shown {
        Some(error) if read.delivered.is_empty() => Err(error.into()),
        _ => Ok(read),
    }
}

/// The same records again, as far as they are still there: all of them, since the next poll acknowledges them all.
async fn replay(
    app: &App,
    ranges: &[Range],
    format: RecordFormat,
    bytes_max: usize,
) -> Result<Page, ConsumerError> {
    let image = app.image.load();
    let image = &image;
    let read = ranges.iter().map(|range| async move {
        let unknown = ConsumerError::Read(ReadError::Route(RouteError::UnknownTopic));
        let topic = image.topic_by_id(range.place.topic).ok_or(unknown)?.name.clone();
        let target = Target { topic: range.place.topic, partition: range.place.partition };
        let (mut records, mut shares): (Vec<Record>, Vec<Share>) = Default::default();
        let mut offset = range.from;
        while offset < range.to {
            let read = Read {
                topic: topic.clone(),
                target,
                offset,
                wait: Duration::ZERO,
                bytes_max: bytes_max.max(1),
            };
            let (more, share) = match reader::read(app, &read).await {
                // The retention took them.
                Err(ReadError::OutOfRange { .. }) => break,
                more => more?,
            };
            let Some(last) = more.last() else {
                if app.stopping.is_cancelled() {
                    let message = "the gateway stops, and cannot read again what it delivered".to_owned();
                    return Err(ConsumerError::Read(ReadError::Unavailable(message)));
                }
                break;
            };
            shares.push(share);
            offset = last.offset.plus(1);
            records.extend(more.into_iter().filter(|record| record.offset < range.to));
        }
        Ok::<_, ConsumerError>((topic, range.place.partition, records, shares))
    });
    let mut page = Page::default();
    for (topic, partition, records, _shares) in try_join_all(read).await? {
        (page, _, _) = page.add(&app.memory, embedded(format), (&topic, partition), records).await?;
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use domain::{PartitionIndex, TopicId, TopicName};
    use records::{BatchBuilder, Compression};
    use uuid::Uuid;

    use super::*;

    fn from(partition: i32) -> From {
        let place = TopicPlace { topic: TopicId(Uuid::nil()), partition: PartitionIndex(partition) };
        From { place, topic: TopicName::new("t").unwrap(), offset: Offset(0) }
    }

    fn batch(values: &[&str]) -> Found {
        let mut builder = BatchBuilder::new(Compression::None);
        for value in values {
            builder.push(1, None, Some(value.as_bytes()), &[]);
        }
        Found::Batches(builder.build())
    }

    async fn delivered(found: Vec<Found>, bytes_max: usize) -> Result<Vec<(i32, i64)>, ConsumerError> {
        let wanted: Vec<From> = (0..).map(from).take(found.len()).collect();
        let memory = Memory::new(1 << 20);
        let share = memory.share(bytes_max, Cost { leaders: 1, shown: 0 }, 0).await.unwrap();
        let read = shown(&memory, share, wanted.iter().zip(found), Embedded::Json, Vec::new()).await?;
        Ok(read.delivered.iter().map(|range| (range.place.partition.0, range.to.0)).collect())
    }

    #[tokio::test]
    async fn what_cannot_be_shown_ends_its_partition_and_no_other() {
        let found = vec![batch(&["1", "bad", "3"]), batch(&["bad"]), batch(&["4"])];
        assert_eq!(delivered(found, 100).await, Ok(vec![(0, 1), (2, 1)]));
        let only = delivered(vec![batch(&["bad"]), Found::OutOfRange], 100).await;
        assert!(matches!(only, Err(ConsumerError::Read(ReadError::NotJson { .. }))), "{only:?}");
    }

    #[tokio::test]
    async fn an_answer_is_bounded_over_all_partitions_but_has_at_least_one_record() {
        let found = || vec![batch(&["1111", "2222"]), batch(&["3333"])];
        assert_eq!(delivered(found(), 4).await, Ok(vec![(0, 1)]));
        assert_eq!(delivered(found(), 1).await, Ok(vec![(0, 1)]));
        assert_eq!(delivered(found(), 12).await, Ok(vec![(0, 2), (1, 1)]));
        let empty = Found::Batches(Bytes::new());
        assert_eq!(delivered(vec![empty, batch(&["1"])], 10).await, Ok(vec![(1, 1)]));
    }
}
