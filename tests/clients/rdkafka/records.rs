//! Producing, and reading by assignment.

use anyhow::Context;
use rdkafka::{
    Message, Offset, Timestamp, TopicPartitionList,
    consumer::{BaseConsumer, Consumer, ConsumerContext},
    error::KafkaError,
    message::{Header, Headers, OwnedHeaders, OwnedMessage},
    producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Driver, POLL, WITHIN, until};

#[derive(Deserialize, Serialize)]
struct Record {
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, Option<String>)>,
    timestamp: Option<i64>,
}

/// Counts what was not delivered.
#[derive(Default)]
struct Deliveries(std::sync::Mutex<Vec<String>>);

impl rdkafka::ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let (Err((error, _)), Ok(mut failed)) = (result, self.0.lock()) {
            failed.push(error.to_string());
        }
    }
}

impl Driver {
    pub(super) fn produce(&self) -> anyhow::Result<Value> {
        let records: Vec<Record> = serde_json::from_value(self.arguments.records.clone())?;
        let mut config = self.config();
        config.set("compression.type", &self.arguments.compression).set("linger.ms", "20");
        config.set("enable.idempotence", self.arguments.idempotent.to_string());
        let producer: BaseProducer<Deliveries> = config.create_with_context(Deliveries::default())?;
        for record in &records {
            producer.send(self.outgoing(record)).map_err(|(error, _)| error)?;
        }
        producer.flush(WITHIN)?;
        let failed = producer.context().0.lock().map(|f| f.clone()).unwrap_or_default();
        anyhow::ensure!(failed.is_empty(), "not delivered: {failed:?}");
        let read = take(&self.assigned(Offset::Beginning)?, records.len())?;
        Ok(json!({"read": read.iter().map(incoming).collect::<Vec<Record>>()}))
    }

    fn outgoing<'a>(&'a self, record: &'a Record) -> BaseRecord<'a, str, str> {
        let mut out = BaseRecord::to(&self.arguments.topic).partition(self.arguments.partition);
        if let Some(key) = &record.key {
            out = out.key(key.as_str());
        }
        if let Some(value) = &record.value {
            out = out.payload(value.as_str());
        }
        if let Some(timestamp) = record.timestamp {
            out = out.timestamp(timestamp);
        }
        let headers = record.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
            headers.insert(Header { key, value: value.as_deref() })
        });
        if record.headers.is_empty() { out } else { out.headers(headers) }
    }

    /// A consumer of the one partition, from there on.
    pub(super) fn assigned(&self, from: Offset) -> anyhow::Result<BaseConsumer> {
        let mut config = self.config();
        // Without one, librdkafka does not take an assignment; nothing is committed.
        config.set("group.id", &self.arguments.group).set("enable.auto.commit", "false");
        config.set("fetch.wait.max.ms", "100").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create()?;
        consumer.assign(&self.place(from)?)?;
        Ok(consumer)
    }

    pub(super) fn place(&self, offset: Offset) -> anyhow::Result<TopicPartitionList> {
        let mut place = TopicPartitionList::new();
        place.add_partition_offset(&self.arguments.topic, self.arguments.partition, offset)?;
        Ok(place)
    }

    pub(super) fn assign(&self) -> anyhow::Result<Value> {
        let (count, offset) = (self.arguments.count, self.arguments.offset);
        let beginning = take(&self.assigned(Offset::Beginning)?, count)?;
        let middle = take(&self.assigned(Offset::Offset(offset))?, count - offset as usize)?;
        let end = self.assigned(Offset::End)?;
        until(
            "it stands at the end",
            &mut false,
            |at_end| *at_end,
            |at_end| {
                *at_end = is_at_end(&end);
                Ok(())
            },
        )?;
        let producer: BaseProducer = self.config().create()?;
        for value in &self.arguments.more {
            let record: BaseRecord<'_, str, str> = BaseRecord::to(&self.arguments.topic);
            producer.send(record.partition(0).payload(value)).map_err(|(error, _)| error)?;
        }
        producer.flush(WITHIN)?;
        let end = take(&end, self.arguments.more.len())?;
        Ok(json!({"beginning": values(&beginning), "offset": values(&middle), "end": values(&end)}))
    }

    pub(super) fn seek_time(&self) -> anyhow::Result<Value> {
        let consumer = self.assigned(Offset::Beginning)?;
        let found = consumer.offsets_for_times(self.place(Offset::Offset(self.arguments.time))?, WITHIN)?;
        let offset = found.elements()[0].offset();
        // A position can be sought once there is one.
        take(&consumer, 1)?;
        consumer.seek(&self.arguments.topic, self.arguments.partition, offset, WITHIN)?;
        let value = values(&take(&consumer, 1)?).remove(0);
        Ok(json!({"offset": offset.to_raw(), "value": value}))
    }
}

/// Polls; whether there is nothing more, for now.
fn is_at_end(consumer: &BaseConsumer) -> bool {
    matches!(consumer.poll(POLL), Some(Err(KafkaError::PartitionEOF(_))))
}

/// The next so many messages.
pub(super) fn take<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    count: usize,
) -> anyhow::Result<Vec<OwnedMessage>> {
    let mut messages = Vec::new();
    until(
        &format!("{count} records are read"),
        &mut messages,
        |messages| messages.len() >= count,
        |messages| {
            match consumer.poll(POLL) {
                None | Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(message) => messages.push(message.context("poll")?.detach()),
            }
            Ok(())
        },
    )?;
    Ok(messages)
}

pub(super) fn values(messages: &[OwnedMessage]) -> Vec<String> {
    messages.iter().map(|m| text(m.payload()).unwrap_or_default()).collect()
}

fn incoming(message: &OwnedMessage) -> Record {
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Record {
        key: text(message.key()),
        value: text(message.payload()),
        headers: headers.map(|h| (h.key.to_owned(), text(h.value))).collect(),
        timestamp: match message.timestamp() {
            Timestamp::CreateTime(ms) => Some(ms),
            _ => None,
        },
    }
}

fn text(bytes: Option<&[u8]>) -> Option<String> {
    bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}
