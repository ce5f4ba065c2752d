use std::{collections::BTreeMap, fmt, str::FromStr};

use domain::{Offset, PartitionIndex, TopicId};

/// How far a reader has got in each partition: the offset that comes next. As a text it is the id of an event, by which a
/// browser comes back: `TOPIC_ID:0=15,1=20`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    /// A topic that was deleted and made again is another one.
    pub(crate) topic: TopicId,
    pub(crate) offsets: BTreeMap<PartitionIndex, Offset>,
}

/// A text that no event had for its id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not the id of an event of this stream")]
pub(crate) struct PositionError(String);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.topic)?;
        for (index, (partition, offset)) in self.offsets.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{partition}={offset}")?;
        }
        Ok(())
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        parse(text).ok_or_else(|| PositionError(text.chars().take(SHOWN_MAX).collect()))
    }
}

/// A wrong id may be of any length.
const SHOWN_MAX: usize = 100;

fn parse(text: &str) -> Option<Position> {
    let (topic, places) = text.split_once(':')?;
    let mut offsets = BTreeMap::new();
    for place in places.split(',').filter(|place| !place.is_empty()) {
        let (partition, offset) = place.split_once('=')?;
        let partition: i32 = partition.parse().ok().filter(|p| *p >= 0)?;
        let offset: i64 = offset.parse().ok().filter(|o| *o >= 0)?;
        if offsets.insert(PartitionIndex(partition), Offset(offset)).is_some() {
            return None;
        }
    }
    Some(Position { topic: topic.parse().ok()?, offsets })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn an_events_id_says_what_comes_next_in_each_partition() {
        let position = Position {
            topic: TopicId(Uuid::from_u128(7)),
            offsets: [(0, 15), (1, 20)].map(|(p, o)| (PartitionIndex(p), Offset(o))).into(),
        };
        assert_eq!(position.to_string(), "AAAAAAAAAAAAAAAAAAAABw:0=15,1=20");
        for text in [
            "",
            "5",
            ":0=1",
            "AAAAAAAAAAAAAAAAAAAABw",
            "AAAAAAAAAAAAAAAAAAAABw:0",
            "AAAAAAAAAAAAAAAAAAAABw:0=-1",
            "AAAAAAAAAAAAAAAAAAAABw:-1=0",
            "AAAAAAAAAAAAAAAAAAAABw:0=1,0=2",
            "AAAAAAAAAAAAAAAAAAAABw:0=x",
        ] {
            assert!(text.parse::<Position>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_position_comes_back(topic: u128, offsets in prop::collection::btree_map(0..i32::MAX, 0..i64::MAX, 0..9)) {
            let offsets = offsets.into_iter().map(|(p, o)| (PartitionIndex(p), Offset(o))).collect();
            let position = Position { topic: TopicId(Uuid::from_u128(topic)), offsets };
            prop_assert_eq!(position.to_string().parse(), Ok(position));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = text.parse::<Position>();
        }
    }
}
