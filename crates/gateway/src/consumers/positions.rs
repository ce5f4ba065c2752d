use domain::Offset;
use futures_util::future::try_join_all;
use group::{OffsetReset, TopicPlace};
use metadata::Image;

use super::ConsumerError;
use crate::{
    App,
    offsets::{Place, offset_at},
    reader::ReadError,
    routing::{RouteError, Target},
};

/// Where one of its ends is, of each of these.
pub(crate) async fn ends(
    app: &App,
    image: &Image,
    places: &[TopicPlace],
    end: Place,
) -> Result<Vec<(TopicPlace, Offset)>, ConsumerError> {
    let ends = places.iter().map(|place| async move {
        let topic = image.topic_by_id(place.topic).ok_or(ReadError::Route(RouteError::UnknownTopic))?;
        let target = Target { topic: place.topic, partition: place.partition };
        let offset = offset_at(&app.nodes, &app.image, &topic.name, target, end).await?;
        Ok::<_, ConsumerError>((*place, offset))
    });
    try_join_all(ends).await
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
