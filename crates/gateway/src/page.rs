//! Records as v2's JSON, written once, as they were read.

use std::{
    borrow::Cow,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::body::Body;
use bytes::Bytes;
use domain::{PartitionIndex, TopicName};
use hyper::body::{Frame, SizeHint};
use records::Record;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    ApiError,
    memory::{Held, Memory, Share, kept},
    negotiate::Embedded,
    reader::ReadError,
    v2::embedded::Out,
};

/// A JSON array of records, with the memory that it takes.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Without the closing bracket.
    json: Vec<u8>,
    records: usize,
    held: Option<Held>,
    /// The room that it has. Without it takes whatever it needs, or is refused.
    share: Option<Share>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = V2Record)]
pub(crate) struct RecordView<'a> {
    #[schema(value_type = String)]
    topic: &'a str,
    #[schema(value_type = Value)]
    key: Option<Out<'a>>,
    #[schema(value_type = Value)]
    value: Option<Out<'a>>,
    partition: i32,
    offset: i64,
    timestamp: i64,
    #[schema(value_type = Vec<HeaderView<'static>>)]
    headers: Vec<HeaderView<'a>>,
}

/// As v3 writes them. A name that is not UTF-8 is shown as well as it can be.
#[derive(Serialize, ToSchema)]
#[schema(as = V2Header)]
pub(crate) struct HeaderView<'a> {
    #[schema(value_type = String)]
    name: Cow<'a, str>,
    #[schema(value_type = Value)]
    value: Option<Out<'a>>,
}

/// What takes longer to write than a task may hold up the others.
const INLINE_BYTES_MAX: usize = 1 << 20;

impl Page {
    pub(crate) fn records(&self) -> usize {
        self.records
    }

    /// One that ends where its room does, but not before its first record.
    pub(crate) fn within(share: Share) -> Self {
        Self { share: Some(share), ..Self::default() }
    }

    /// Adds records of one partition, in order. One that cannot be shown in this form ends them before its turn: so many were
    /// added, and why not more. Fewer are added, too, when there is no more room.
    pub(crate) async fn add(
        mut self,
        memory: &Memory,
        form: Embedded,
        (topic, partition): (&TopicName, PartitionIndex),
        mut records: Vec<Record>,
    ) -> Result<(Self, usize, Option<ReadError>), ApiError> {
        let mut more = self.room(memory, &mut records)?;
        let bytes: usize = records.iter().map(embedded_bytes).sum();
        let topic = topic.clone();
        let write = move || {
            let (added, why) = self.write(form, &topic, partition, &records);
            (self, added, why)
        };
        let (mut page, added, why) = match bytes > INLINE_BYTES_MAX {
            false => write(),
            true => tokio::task::spawn_blocking(write)
                .await
                .map_err(|e| ApiError::from(ReadError::Corrupt(e.to_string())))?,
        };
        drop(more.split(bytes));
        match &mut page.held {
            Some(held) => held.merge(more),
            None => page.held = Some(more),
        }
        Ok((page, added, why))
    }

    /// For these, or for as many of them as there is room for. The records and the answer are there at the same time for a moment.
    fn room(&mut self, memory: &Memory, records: &mut Vec<Record>) -> Result<Held, ApiError> {
        let needed = |records: &[Record]| (2 * records.iter().map(embedded_bytes).sum::<usize>()).max(2);
        let wanted = needed(records);
        let Some(share) = &mut self.share else {
            return memory.try_take_whole(wanted);
        };
        if share.held().bytes() < wanted
            && let Some(more) = memory.try_take_spare(wanted - share.held().bytes())
        {
            share.held().merge(more);
        }
        let mut room = share.held().bytes();
        let fitting = records.iter().take_while(|record| {
            let needed = 2 * embedded_bytes(record);
            let fits = needed <= room;
            room = room.saturating_sub(needed);
            fits
        });
        let fitting = fitting.count();
        let first = usize::from(self.records == 0);
        records.truncate(fitting.max(first));
        let wanted = needed(records);
        if share.held().bytes() < wanted {
            let more = memory.try_take(wanted - share.held().bytes())?;
            share.held().merge(more);
        }
        share.held().split(wanted).ok_or_else(|| memory.short_of(wanted))
    }

    fn write(
        &mut self,
        form: Embedded,
        topic: &TopicName,
        partition: PartitionIndex,
        records: &[Record],
    ) -> (usize, Option<ReadError>) {
        self.json.reserve(records.iter().map(embedded_bytes).sum::<usize>() + 2);
        for (index, record) in records.iter().enumerate() {
            let view = match view(record, topic, partition, form) {
                Ok(view) => view,
                Err(error) => return (index, Some(error)),
            };
            let length = self.json.len();
            self.json.push(if self.records == 0 { b'[' } else { b',' });
            if let Err(error) = serde_json::to_writer(&mut self.json, &view) {
                self.json.truncate(length);
                return (index, Some(ReadError::Corrupt(error.to_string())));
            }
            self.records += 1;
        }
        (records.len(), None)
    }

    /// The whole array. Its memory is held until the client has taken it, and counts as a share until then.
    pub(crate) fn into_json(mut self) -> Bytes {
        if self.records == 0 {
            self.json.push(b'[');
        }
        self.json.push(b']');
        if let Some(share) = &mut self.share {
            share.shrink(0);
        }
        match self.held {
            Some(held) => kept(self.json, (held, self.share)),
            None => self.json.into(),
        }
    }

    pub(crate) fn into_body(self) -> Body {
        pieces(self.into_json())
    }
}

/// About what a record takes in the answer.
fn embedded_bytes(record: &Record) -> usize {
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, |b| b.len());
    let headers: usize = record.headers.iter().map(|(name, value)| name.len() + length(value) + 32).sum();
    let payload = length(&record.key) + length(&record.value) + headers;
    payload + payload / 3 + 128
}

fn view<'a>(
    record: &'a Record,
    topic: &'a TopicName,
    partition: PartitionIndex,
    form: Embedded,
) -> Result<RecordView<'a>, ReadError> {
    let out = |part: &'static str, bytes: &'a Option<Bytes>| {
        let out = bytes.as_ref().map(|bytes| Out::new(form, bytes));
        out.transpose().map_err(|reason| ReadError::NotJson {
            part,
            topic: topic.clone(),
            partition,
            offset: record.offset,
            reason,
        })
    };
    let headers = record.headers.iter().map(|(name, value)| HeaderView {
        name: String::from_utf8_lossy(name),
        value: value.as_deref().map(Out::Base64),
    });
    Ok(RecordView {
        topic: topic.as_str(),
        key: out("key", &record.key)?,
        value: out("value", &record.value)?,
        partition: partition.0,
        offset: record.offset.0,
        timestamp: record.timestamp,
        headers: headers.collect(),
    })
}

/// A body that is handed to the connection piece by piece: what was not handed over certainly did not arrive.
struct Pieces(Bytes);

/// Small, since what was handed over counts as delivered, though a client that goes away gets no more of it.
const PIECE_BYTES: usize = 64 << 10;

pub(crate) fn pieces(bytes: Bytes) -> Body {
    Body::new(Pieces(bytes))
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.len().min(PIECE_BYTES);
        Poll::Ready((piece > 0).then(|| Ok(Frame::data(self.0.split_to(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, pin::Pin};

    use axum::body::HttpBody;
    use domain::Offset;

    use super::*;
    use crate::memory::Cost;

    fn record(offset: i64, value: Option<&'static [u8]>) -> Record {
        Record {
            offset: Offset(offset),
            timestamp: 7,
            key: None,
            value: value.map(Bytes::from_static),
            headers: vec![(Bytes::from_static(b"h"), Some(Bytes::from_static(b"x")))],
        }
    }

    async fn json(records: Vec<Record>, form: Embedded) -> (String, usize, Option<ReadError>) {
        let memory = Memory::new(10_000);
        let orders = TopicName::new("orders").unwrap();
        let added = Page::default().add(&memory, form, (&orders, PartitionIndex(2)), records).await;
        let (page, added, why) = added.unwrap();
        assert_eq!(page.records(), added);
        (String::from_utf8(page.into_json().to_vec()).unwrap(), added, why)
    }

    #[tokio::test]
    async fn a_record_has_its_place_its_time_and_its_headers() {
        assert_eq!(
            json(vec![record(5, Some(b"hi")), record(6, None)], Embedded::Binary).await.0,
            r#"[{"topic":"orders","key":null,"value":"aGk=","partition":2,"offset":5,"timestamp":7,"headers":[{"name":"h","value":"eA=="}]},{"topic":"orders","key":null,"value":null,"partition":2,"offset":6,"timestamp":7,"headers":[{"name":"h","value":"eA=="}]}]"#
        );
        assert_eq!(json(vec![], Embedded::Json).await.0, "[]");
    }

    #[tokio::test]
    async fn what_is_not_json_is_named_when_its_turn_comes() {
        let records = vec![record(5, Some(b"{\"a\":1}")), record(6, Some(b"hi"))];
        let (first, added, why) = json(records, Embedded::Json).await;
        assert!(first.contains(r#""value":{"a":1}"#) && !first.contains(r#""offset":6"#));
        let why = why.unwrap().to_string();
        assert_eq!(added, 1);
        assert!(why.starts_with("the value at offset 6 of orders-2 is not JSON"), "{why}");
        assert_eq!(json(vec![record(6, Some(b"hi"))], Embedded::Json).await.0, "[]");
    }

    /// It was handed over whole, so that a client that went away after its first bytes counted as one that had all of them.
    #[tokio::test]
    async fn a_page_is_handed_over_piece_by_piece() {
        let memory = Memory::new(1 << 20);
        let orders = TopicName::new("orders").unwrap();
        let part = (&orders, PartitionIndex(0));
        let records = (0..3).map(|offset| record(offset, Some(&[b'x'; 50_000]))).collect();
        let (page, _, _) = Page::default().add(&memory, Embedded::Binary, part, records).await.unwrap();
        let mut body = page.into_body();
        let whole = HttpBody::size_hint(&body).exact().unwrap();
        let first = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await.unwrap().unwrap();
        let length = first.data_ref().unwrap().len() as u64;
        assert!(length < whole / 2 && !body.is_end_stream(), "{length} of {whole}");
        let rest = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        assert_eq!(rest.len() as u64 + length, whole);
    }

    /// Of small records most of a page is what stands around them.
    #[tokio::test]
    async fn a_page_of_small_records_leaves_half_of_the_memory_to_others() {
        let memory = Memory::new(1 << 20);
        let orders = TopicName::new("orders").unwrap();
        let part = (&orders, PartitionIndex(0));
        let records = (0..10_000).map(|offset| record(offset, None)).collect();
        let share = memory.share(1_000, Cost { leaders: 1, shown: 3 }, 0).await.unwrap();
        let (page, added, _) =
            Page::within(share).add(&memory, Embedded::Binary, part, records).await.unwrap();
        assert!((100..9_999).contains(&added), "{added}");
        assert!(memory.try_take(1 << 19).is_ok());
        drop(page);
    }

    #[tokio::test]
    async fn a_page_holds_memory_for_what_is_in_it() {
        let memory = Memory::new(2_000);
        let orders = TopicName::new("orders").unwrap();
        let part = (&orders, PartitionIndex(0));
        let records = || vec![record(0, Some(b"hi")), record(1, Some(b"hi"))];
        let (page, _, _) = Page::default().add(&memory, Embedded::Binary, part, records()).await.unwrap();
        let (page, _, _) = page.add(&memory, Embedded::Binary, part, records()).await.unwrap();
        assert!(memory.try_take(2_000).is_err());
        drop(page);
        assert!(memory.try_take(2_000).is_ok());
    }
}
