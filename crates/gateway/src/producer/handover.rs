use std::collections::BTreeMap;

use domain::PartitionIndex;
use metadata::Topic;

use super::{OutRecord, ProduceError, Receipt, TopicRules, now_ms};
use crate::{ApiError, App, idempotency::Once, routing::Target};

/// Hands the records of one request over to the producer, all of them or, after an error, none; the answers are in their
/// order. One that its topic does not take is refused alone.
///
/// `once`: the request may be repeated, and is carried out once. Its records for a partition go as one batch, as they do
/// when they come again; so where its topic does not take one, which may be another one then, it takes none.
pub(crate) fn hand_over(
    app: &App,
    topic: &Topic,
    rules: &TopicRules,
    records: Vec<(PartitionIndex, OutRecord<'_>)>,
    once: Option<Once>,
) -> Result<Vec<Result<Receipt, ProduceError>>, ApiError> {
    // Many small records take more as structures than as bytes.
    let size = |record: &OutRecord<'_>| record.bytes_bound() + size_of::<OutRecord<'_>>();
    let mut held = app.memory.try_take(records.iter().map(|(_, r)| size(r)).sum())?;
    let now = now_ms();
    let mut outcomes: Vec<Option<Result<Receipt, ProduceError>>> = Vec::with_capacity(records.len());
    let mut groups: BTreeMap<PartitionIndex, (Vec<usize>, Vec<OutRecord<'_>>)> = BTreeMap::new();
    for (index, (partition, record)) in records.into_iter().enumerate() {
        outcomes.push(match rules.check(&record, now) {
            Err(error) => Some(Err(error)),
            Ok(()) => {
                let group = groups.entry(partition).or_default();
                group.0.push(index);
                group.1.push(record);
                None
            }
        });
    }
    if once.is_some() {
        if outcomes.iter().any(Option::is_some) {
            let refused = || Err(ProduceError::Forbidden(REFUSED_WITH_ANOTHER.to_owned()));
            return Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(refused)).collect());
        }
        for (partition, (_, records)) in &groups {
            rules.fits(records).map_err(|(bytes, max)| too_large(*partition, bytes, max))?;
        }
    }
    for (partition, (indexes, records)) in groups {
        let target = Target { topic: topic.id, partition };
        let share = held
            .split(records.iter().map(OutRecord::bytes_bound).sum())
            .ok_or_else(|| ApiError::overloaded("the gateway holds too much at once"))?;
        let receipts = match once {
            Some(once) => app.producer.push_once(topic, target, &records, share, once),
            None => app.producer.push(topic, target, rules, &records, share),
        };
        for (index, receipt) in indexes.into_iter().zip(receipts) {
            outcomes[index] = Some(Ok(receipt));
        }
    }
    Ok(outcomes.into_iter().flatten().collect())
}

const REFUSED_WITH_ANOTHER: &str = "not written: the topic does not take another record of the request, and under an Idempotency-Key all are written or none";

fn too_large(partition: PartitionIndex, bytes: usize, max: usize) -> ApiError {
    ApiError::too_large(format!(
        "the records for partition {partition} take {bytes} bytes; under an Idempotency-Key they are one batch, of which \
         the topic's max.message.bytes allows {max}"
    ))
}
