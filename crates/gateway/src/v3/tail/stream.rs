use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use domain::{Offset, PartitionIndex};
use records::Record;

use super::{event, query::Format};
use crate::{
    ApiError,
    limits::InFlight,
    memory::Share,
    tail::{News, Position, Tail},
};

/// What is sent to one reader, piece by piece. Only what the connection takes is written, so a slow reader holds what was
/// read, and one piece of text.
pub(super) struct Events {
    tail: Tail,
    /// What the reader has been sent: behind what the tail has read.
    sent: Position,
    format: Format,
    writing: Option<Writing>,
    state: State,
    _in_flight: InFlight,
}

/// Records that are being written.
struct Writing {
    partition: PartitionIndex,
    records: std::vec::IntoIter<Record>,
    _share: Arc<Share>,
}

enum State {
    Begin,
    Open,
    Over,
}

/// A comment after such a silence: less than what proxies wait.
const QUIET: Duration = Duration::from_secs(15);
/// A piece of text is about so long, or one event.
const PIECE_BYTES: usize = 64 << 10;

impl Events {
    pub(super) fn new(tail: Tail, sent: Position, format: Format, in_flight: InFlight) -> Self {
        Self { tail, sent, format, writing: None, state: State::Begin, _in_flight: in_flight }
    }

    pub(super) async fn next(&mut self) -> Option<Bytes> {
        match self.state {
            // Who has seen no event yet can come back to where it began.
            State::Begin => {
                self.state = State::Open;
                return Some(event::begin(&self.sent).into());
            }
            State::Open => {}
            State::Over => return None,
        }
        loop {
            if let Some(piece) = self.write() {
                return Some(piece);
            }
            match self.tail.next(QUIET).await {
                Ok(News::Records { partition, records, share }) => {
                    metrics::counter!("anabranch_gateway_records_read_total").increment(records.len() as u64);
                    self.writing = Some(Writing { partition, records: records.into_iter(), _share: share });
                }
                Ok(News::Gap { partition, from, to }) => {
                    self.sent.offsets.insert(partition, to);
                    return Some(event::gap(&self.sent, partition, from, to).into());
                }
                Ok(News::Quiet) => return Some(event::comment("nothing new").into()),
                Ok(News::End) => {
                    self.state = State::Over;
                    return Some(event::comment("the gateway is shutting down").into());
                }
                Err(error) => {
                    self.state = State::Over;
                    return Some(event::error(&ApiError::from(error)).into());
                }
            }
        }
    }

    /// The next piece of what is being written, if something is.
    fn write(&mut self) -> Option<Bytes> {
        let writing = self.writing.as_mut()?;
        let mut piece = Vec::new();
        for record in writing.records.by_ref() {
            self.sent.offsets.insert(writing.partition, Offset(record.offset.0 + 1));
            event::record(&mut piece, &self.sent, writing.partition, &record, self.format);
            if piece.len() >= PIECE_BYTES {
                return Some(piece.into());
            }
        }
        self.writing = None;
        (!piece.is_empty()).then(|| piece.into())
    }
}
