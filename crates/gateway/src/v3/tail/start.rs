//! Where a reader begins.

use std::collections::BTreeMap;

use domain::{Offset, PartitionIndex};
use metadata::Topic;

use super::query::{From, Wanted};
use crate::{
    ApiError,
    offsets::{Place, ends, offsets_at},
    place::At,
    reader::ReadError,
    routing::Target,
    tail::Position,
};

/// The partitions that were asked for.
fn partitions(topic: &Topic, wanted: &Wanted) -> Result<Vec<PartitionIndex>, ApiError> {
    let all = || topic.numbered().map(|(partition, _)| partition).collect();
    let Some(named) = &wanted.partitions else { return Ok(all()) };
    match named.iter().find(|partition| topic.partition(**partition).is_none()) {
        Some(missing) => Err(ApiError::no_such_partition(topic.name.as_str(), *missing)),
        None => Ok(named.iter().copied().collect()),
    }
}

/// After the event with this id. A partition that it does not name was made since: all of it is news.
pub(super) fn again(topic: &Topic, wanted: &Wanted, id: &str) -> Result<Position, ApiError> {
    let before: Position = id.parse().map_err(|e| ApiError::bad_request(format!("Last-Event-ID: {e}")))?;
    if before.topic != topic.id {
        let message =
            format!("topic '{}' was deleted and made again since; what there was is gone", topic.name);
        return Err(ApiError { message, ..ApiError::unknown_topic(topic.name.as_str()) });
    }
    let place = |partition| (partition, before.offsets.get(&partition).copied().unwrap_or(Offset(0)));
    Ok(Position { topic: topic.id, offsets: partitions(topic, wanted)?.into_iter().map(place).collect() })
}

/// Where the query says.
pub(super) async fn at(at: &At, topic: &Topic, wanted: &Wanted) -> Result<Position, ApiError> {
    let partitions = partitions(topic, wanted)?;
    let offsets = match wanted.from {
        From::Offset(offset) => {
            let mut offsets = BTreeMap::new();
            for partition in partitions {
                offsets.insert(partition, within(at, topic, partition, offset).await?);
            }
            offsets
        }
        From::Earliest => looked_up(at, topic, &partitions, Place::Earliest).await?,
        From::Latest => looked_up(at, topic, &partitions, Place::Latest).await?,
    };
    Ok(Position { topic: topic.id, offsets })
}

async fn within(
    at: &At,
    topic: &Topic,
    partition: PartitionIndex,
    offset: Offset,
) -> Result<Offset, ApiError> {
    let target = Target { topic: topic.id, partition };
    let range = ends(&at.app.nodes, &at.app.image, &topic.name, target).await?;
    match range.0 <= offset && offset <= range.1 {
        true => Ok(offset),
        false => Err(ReadError::OutOfRange { offset: offset.0, range: Some(range) }.into()),
    }
}

async fn looked_up(
    at: &At,
    topic: &Topic,
    partitions: &[PartitionIndex],
    place: Place,
) -> Result<BTreeMap<PartitionIndex, Offset>, ApiError> {
    let asked = partitions.iter().map(|partition| (topic.name.as_str(), *partition));
    let answers = offsets_at(&at.app.backend, asked, place).await;
    let offsets = answers.into_iter().map(|((_, partition), answer)| match answer {
        Ok(offset) => Ok((partition, offset)),
        Err(code) if code.is_retriable() => {
            let message = format!("where {}-{partition} begins and ends is unknown ({code})", topic.name);
            Err(ApiError::unchanged(message))
        }
        Err(code) => Err(ReadError::Refused(code).into()),
    });
    offsets.collect()
}
