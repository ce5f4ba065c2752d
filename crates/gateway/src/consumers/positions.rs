use domain::{Offset, TopicName};
use futures_util::future::try_join_all;
use group::{OffsetReset, TopicPlace};
use metadata::Image;

use super::ConsumerError;
use crate::{
    App,
    offsets::{Place, offset_at, offsets_at},
    reader::ReadError,
    routing::{RouteError, Target},
};

/// Where one of its ends is, of each of these: each leader is asked once for all of its own, and again, one by one, for what it
/// could not tell.
pub(crate) async fn ends(
    app: &App,
    image: &Image,
    places: &[TopicPlace],
    end: Place,
) -> Result<Vec<(TopicPlace, Offset)>, ConsumerError> {
    let unknown = || ConsumerError::Read(ReadError::Route(RouteError::UnknownTopic));
    let named = places.iter().map(|place| {
        let topic = image.topic_by_id(place.topic).ok_or_else(unknown)?;
        Ok((*place, &topic.name))
    });
    let named: Vec<(TopicPlace, &TopicName)> = named.collect::<Result<_, ConsumerError>>()?;
    let asked = named.iter().map(|(place, name)| (name.as_str(), place.partition));
    let known = offsets_at(&app.backend, asked, end).await;
    let known = &known;
    let found = named.into_iter().map(|(place, name)| async move {
        let offset = match known.get(&(name.to_string(), place.partition)) {
            Some(Ok(offset)) => *offset,
            _ => {
                let target = Target { topic: place.topic, partition: place.partition };
                offset_at(&app.nodes, &app.image, name, target, end).await?
            }
        };
        Ok::<_, ConsumerError>((place, offset))
    });
    try_join_all(found).await
}

/// The first offset at or after a time, milliseconds since 1970; the end, if there is none.
pub(crate) async fn at_time(
    app: &App,
    image: &Image,
    place: TopicPlace,
    timestamp_ms: i64,
) -> Result<Offset, ConsumerError> {
    let found = ends(app, image, &[place], Place::At(timestamp_ms)).await?;
    match found.first() {
        Some((_, offset)) if offset.0 >= 0 => Ok(*offset),
        _ => {
            let ends = ends(app, image, &[place], Place::Latest).await?;
            Ok(ends.first().map_or(Offset(0), |(_, offset)| *offset))
        }
    }
}

/// Where to begin in partitions that have no position, or one that is not there any more.
pub(super) async fn begun(
    app: &App,
    image: &Image,
    places: &[TopicPlace],
    reset: OffsetReset,
) -> Result<Vec<(TopicPlace, Offset)>, ConsumerError> {
    let end = match (reset, places.first()) {
        (OffsetReset::Earliest, _) => Place::Earliest,
        (OffsetReset::Latest, _) => Place::Latest,
        (OffsetReset::None, None) => return Ok(Vec::new()),
        (OffsetReset::None, Some(place)) => {
            let topic = image.topic_by_id(place.topic).ok_or(ReadError::Route(RouteError::UnknownTopic))?;
            return Err(ConsumerError::NoPosition { topic: topic.name.clone(), partition: place.partition });
        }
    };
    ends(app, image, places, end).await
}
