use std::{borrow::Cow, collections::HashMap};

use assign::{PartitionError, Partitioner, StickyLimits, StickyRoundRobin};
use domain::{PartitionIndex, TopicId};
use metadata::{Image, Partition, Topic};
use parking_lot::Mutex;

use super::OutRecord;
use crate::idempotency::Once;

/// The partitioners of the topics that are produced to. Losing them changes nothing but whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    partitioners: Mutex<HashMap<TopicId, Partitioner>>,
}

/// Before topics that are gone are looked for.
const SPARE: usize = 64;

impl Choice {
    /// The partition of each record, in their order; the first that names one that is not there is the error. What comes under
    /// an idempotency key goes where it goes when it is repeated, whoever leads there.
    pub(crate) fn partitions<'r, 'a: 'r>(
        &self,
        image: &Image,
        topic: &Topic,
        once: Option<Once>,
        records: impl Iterator<Item = (Option<PartitionIndex>, &'r OutRecord<'a>)>,
    ) -> Result<Vec<PartitionIndex>, PartitionError> {
        let count = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
        // Only with enough replicas in sync is a record acknowledged: one without a key goes where that is so.
        let takes = |partition: PartitionIndex| {
            let takes = |p: &Partition| p.leader.is_some() && p.isr.len() >= p.min_isr as usize;
            topic.partition(partition).is_some_and(takes)
        };
        let mut partitioners = self.partitioners.lock();
        if partitioners.len() > image.topics.len() + SPARE {
            partitioners.retain(|id, _| image.topic_names.contains_key(id));
        }
        let partitioner = partitioners.entry(topic.id).or_insert_with(|| {
            // Gateways begin at different partitions, by chance.
            let start = uuid::Uuid::new_v4().as_u64_pair().0 as u32;
            Partitioner::new(StickyRoundRobin::new(start, StickyLimits::default()))
        });
        records
            .map(|(explicit, record)| {
                let key = record.key.as_ref().map(Cow::as_ref);
                let fixed = once.filter(|_| key.is_none()).map(|once| once.partition(topic.partitions.len()));
                partitioner.partition(explicit.or(fixed), key, record.bytes_bound(), count, takes)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    fn record(key: Option<&str>) -> OutRecord<'_> {
        OutRecord { timestamp: 0, key: key.map(|k| k.as_bytes().into()), value: None, headers: Vec::new() }
    }

    #[test]
    fn a_name_a_key_or_a_turn_decides() {
        let image = fixture::image();
        let topic = image.topics.get("orders").unwrap();
        let choice = Choice::default();
        let (keyed, keyless) = (record(Some("foobar")), record(None));
        let given = [(Some(PartitionIndex(3)), &keyed), (None, &keyed), (None, &keyless), (None, &keyless)];
        let chosen = choice.partitions(&image, topic, None, given.into_iter()).unwrap();
        assert_eq!((chosen[0].0, chosen[1].0), (3, 1_357_151_166 % 4));
        assert_eq!(chosen[2], chosen[3]);
        let error = choice.partitions(&image, topic, None, [(Some(PartitionIndex(4)), &keyed)].into_iter());
        assert_eq!(error.unwrap_err().partition, PartitionIndex(4));
    }
}
