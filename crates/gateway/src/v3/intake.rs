use std::sync::Arc;

use domain::{ClusterId, PartitionIndex};
use metadata::{Image, Topic};
use serde::Serialize;
use utoipa::ToSchema;

use super::record::{Asked, Size};
use crate::{
    ApiError, App,
    idempotency::Once,
    memory::Held,
    place::At,
    producer::{Receipt, TopicRules, hand_over},
    routing::Target,
    time::rfc3339,
};

/// Hands the records of one request to the producer, one by one.
pub(super) struct Intake {
    app: Arc<App>,
    cluster: ClusterId,
    topic: Arc<str>,
    /// The topic with its rules, in the image where they were looked up.
    known: Option<(Arc<Image>, Arc<Topic>, TopicRules)>,
}

/// A record that was handed over.
pub(super) struct Taken {
    cluster: ClusterId,
    topic: Arc<str>,
    partition: PartitionIndex,
    timestamp: i64,
    receipt: Receipt,
    key: Option<Size>,
    value: Option<Size>,
}

/// A record that is in the log.
#[derive(Serialize, ToSchema)]
#[schema(as = ProduceReport)]
pub(super) struct Report {
    error_code: u16,
    cluster_id: String,
    #[schema(value_type = String)]
    topic_name: Arc<str>,
    #[schema(value_type = i32)]
    partition_id: PartitionIndex,
    offset: i64,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Size>,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Size>,
}

impl Intake {
    pub(super) fn new(at: &At) -> Self {
        Self { app: at.app.clone(), cluster: at.cluster, topic: at.param("topic").into(), known: None }
    }

    /// One record of a stream. `held` is the memory that it takes.
    pub(super) fn take(
        &mut self,
        asked: Asked<'_>,
        held: Held,
        now: i64,
        once: Option<Once>,
    ) -> Result<Taken, ApiError> {
        let (image, topic, rules) = self.known()?;
        let (partition, Asked { record, key, value, .. }) =
            (self.partition(&image, &topic, &asked, once)?, asked);
        rules.check(&record, now)?;
        let target = Target { topic: topic.id, partition };
        let timestamp = record.timestamp;
        let producer = &self.app.producer;
        let receipts = match once {
            Some(once) => producer.push_once(&topic, target, &[record], held, once),
            None => producer.push(&topic, target, &rules, &[record], held),
        };
        let receipt = receipts.into_iter().next();
        let receipt = receipt.ok_or_else(|| ApiError::overloaded("the record was not taken"))?;
        Ok(self.taken(partition, timestamp, receipt, (key, value)))
    }

    /// All records of a request, so that they may share a batch on their way to the leader. An error in their place in the
    /// answer is theirs alone; else it is the whole request's, and none was taken.
    pub(super) fn take_all(
        &mut self,
        entries: Vec<Result<Asked<'_>, ApiError>>,
        once: Option<Once>,
    ) -> Result<Vec<Result<Taken, ApiError>>, ApiError> {
        let (image, topic, rules) = self.known()?;
        let (mut places, mut records) =
            (Vec::with_capacity(entries.len()), Vec::with_capacity(entries.len()));
        for entry in entries {
            let placed = entry.and_then(|asked| Ok((self.partition(&image, &topic, &asked, once)?, asked)));
            places.push(placed.map(|(partition, Asked { record, key, value, .. })| {
                let timestamp = record.timestamp;
                records.push((partition, record));
                (partition, timestamp, (key, value))
            }));
        }
        let mut receipts = hand_over(&self.app, &topic, &rules, records, once)?.into_iter();
        let mut taken = |place: Result<_, ApiError>| {
            let (partition, timestamp, sizes) = place?;
            let receipt =
                receipts.next().ok_or_else(|| ApiError::overloaded("the record was not taken"))??;
            Ok(self.taken(partition, timestamp, receipt, sizes))
        };
        Ok(places.into_iter().map(&mut taken).collect())
    }

    fn partition(
        &self,
        image: &Image,
        topic: &Topic,
        asked: &Asked<'_>,
        once: Option<Once>,
    ) -> Result<PartitionIndex, ApiError> {
        let record = std::iter::once((asked.partition, &asked.record));
        let chosen = self.app.choice.partitions(image, topic, once, record);
        let chosen = chosen.map_err(|e| ApiError::no_such_partition(topic.name.as_str(), e.partition))?;
        Ok(chosen.first().copied().unwrap_or_default())
    }

    fn taken(
        &self,
        partition: PartitionIndex,
        timestamp: i64,
        receipt: Receipt,
        (key, value): (Option<Size>, Option<Size>),
    ) -> Taken {
        let (cluster, topic) = (self.cluster, self.topic.clone());
        Taken { cluster, topic, partition, timestamp, receipt, key, value }
    }

    /// The topic as it is now. It may be deleted, or made again, in the middle of a stream.
    fn known(&mut self) -> Result<(Arc<Image>, Arc<Topic>, TopicRules), ApiError> {
        let image = self.app.image.load();
        if let Some((known, topic, rules)) = &self.known
            && Arc::ptr_eq(known, &image)
        {
            return Ok((image, topic.clone(), *rules));
        }
        let topic = image.topics.get(&*self.topic);
        let topic = topic.ok_or_else(|| ApiError::unknown_topic(&self.topic))?.clone();
        let rules = TopicRules::new(&image.topic_config(&topic));
        self.known = Some((image.clone(), topic.clone(), rules));
        Ok((image, topic, rules))
    }
}

impl Taken {
    pub(super) fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Waits for the acknowledgement.
    pub(super) async fn report(self) -> Result<Report, ApiError> {
        let (offset, appended_at) = self.receipt.wait().await?;
        Ok(Report {
            error_code: 200,
            cluster_id: self.cluster.to_string(),
            topic_name: self.topic,
            partition_id: self.partition,
            offset: offset.0,
            timestamp: rfc3339(appended_at.unwrap_or(self.timestamp)),
            key: self.key,
            value: self.value,
        })
    }
}
