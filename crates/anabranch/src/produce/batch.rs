use std::{io, mem};

use base64::{Engine, engine::general_purpose::STANDARD};
use tokio::sync::mpsc;

use super::lines::{Block, lines};

/// A request's body, in bytes, past which no record is added: a quarter of what a gateway takes by default.
const BODY_BYTES_MAX: usize = 4 << 20;

/// Records in the form of a request's body (v2, binary).
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch {
    body: String,
    /// The number of the input's line that the first record was, from 1.
    pub(super) first_line: u64,
    pub(super) records: u64,
    /// In the input, newlines included.
    pub(super) bytes: u64,
}

/// Why the input cannot be produced any further. All lines before were.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InputError {
    #[error("cannot read line {line} on: {source}")]
    Read { line: u64, source: io::Error },
    #[error("line {line} has no key: '{separator}' is not in it; the lines before were written")]
    NoKey { line: u64, separator: String },
}

const OPENING: &str = "{\"records\":[";

impl Batch {
    fn new(first_line: u64) -> Self {
        Self { body: OPENING.to_owned(), first_line, records: 0, bytes: 0 }
    }

    fn push(&mut self, key: Option<&[u8]>, value: &[u8]) {
        let body = &mut self.body;
        body.push_str(if self.records > 0 { ",{" } else { "{" });
        if let Some(key) = key {
            body.push_str("\"key\":\"");
            STANDARD.encode_string(key, body);
            body.push_str("\",");
        }
        body.push_str("\"value\":\"");
        STANDARD.encode_string(value, body);
        body.push_str("\"}");
        self.records += 1;
    }

    pub(super) fn body(&self) -> Vec<u8> {
        format!("{}]}}", self.body).into_bytes()
    }

    /// Which lines these are, for an error.
    pub(super) fn lines(&self) -> String {
        match self.records {
            0 | 1 => format!("line {}", self.first_line),
            more => format!("lines {} to {}", self.first_line, self.first_line + more - 1),
        }
    }
}

/// Makes batches of lines.
pub(super) struct Packer {
    separator: Option<String>,
    records_max: u64,
    batch: Batch,
}

impl Packer {
    pub(super) fn new(separator: Option<&str>, records_max: u32) -> Self {
        Self {
            separator: separator.map(str::to_owned),
            records_max: records_max.into(),
            batch: Batch::new(1),
        }
    }

    /// Packs until the input ends or nobody takes batches any more. A batch leaves when it is full, or when there is
    /// nothing to add and somebody to take it: what comes while a request is in flight travels together in the next.
    pub(super) async fn run(
        mut self,
        mut blocks: mpsc::Receiver<io::Result<Block>>,
        packed: mpsc::Sender<Batch>,
    ) -> Result<(), InputError> {
        loop {
            let block = match self.batch.records {
                0 => blocks.recv().await,
                _ => tokio::select! {
                    biased;
                    block = blocks.recv() => block,
                    room = packed.reserve() => {
                        let Ok(room) = room else { return Ok(()) };
                        room.send(self.take());
                        continue;
                    }
                },
            };
            let added = match block {
                None => break,
                Some(Ok(block)) => self.add(&block, &packed).await,
                Some(Err(source)) => Err(InputError::Read { line: self.line(), source }),
            };
            if let Err(error) = added {
                self.send(&packed).await;
                return Err(error);
            }
        }
        self.send(&packed).await;
        Ok(())
    }

    async fn add(&mut self, block: &[u8], packed: &mpsc::Sender<Batch>) -> Result<(), InputError> {
        for line in lines(block) {
            self.push(line)?;
            if self.is_full() {
                self.send(packed).await;
            }
        }
        Ok(())
    }

    fn push(&mut self, line: &[u8]) -> Result<(), InputError> {
        let (key, value) = match &self.separator {
            None => (None, line),
            Some(separator) => {
                let split = split_key(line, separator.as_bytes())
                    .ok_or_else(|| InputError::NoKey { line: self.line(), separator: separator.clone() })?;
                (Some(split.0), split.1)
            }
        };
        self.batch.push(key, value);
        self.batch.bytes += line.len() as u64 + 1;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.batch.records >= self.records_max || self.batch.body.len() >= BODY_BYTES_MAX
    }

    /// The line that comes next.
    fn line(&self) -> u64 {
        self.batch.first_line + self.batch.records
    }

    fn take(&mut self) -> Batch {
        let next = Batch::new(self.line());
        mem::replace(&mut self.batch, next)
    }

    /// Whoever does not take batches any more has said why.
    async fn send(&mut self, packed: &mpsc::Sender<Batch>) {
        if self.batch.records > 0 {
            let batch = self.take();
            let _ = packed.send(batch).await;
        }
    }
}

/// What stands before the first separator, and what after it.
fn split_key<'a>(line: &'a [u8], separator: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let at = line.windows(separator.len()).position(|w| w == separator)?;
    Some((&line[..at], &line[at + separator.len()..]))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::produce) fn one_record() -> Batch {
        let mut batch = Batch::new(1);
        batch.push(None, b"v");
        batch
    }

    async fn packed(
        blocks: Vec<&'static [u8]>,
        separator: Option<&str>,
        records_max: u32,
    ) -> (Vec<Batch>, Result<(), InputError>) {
        let (to_pack, input) = mpsc::channel(blocks.len().max(1));
        for block in blocks {
            to_pack.send(Ok(block.to_vec())).await.unwrap();
        }
        drop(to_pack);
        let (packed, mut output) = mpsc::channel(100);
        let ended = Packer::new(separator, records_max).run(input, packed).await;
        let mut batches = Vec::new();
        while let Some(batch) = output.recv().await {
            batches.push(batch);
        }
        (batches, ended)
    }

    fn bodies(batches: &[Batch]) -> Vec<String> {
        batches.iter().map(|b| String::from_utf8(b.body()).unwrap()).collect()
    }

    #[test]
    fn a_line_is_split_at_the_first_separator() {
        assert_eq!(split_key(b"k::v::w", b"::"), Some((&b"k"[..], &b"v::w"[..])));
        assert_eq!(split_key(b":v", b":"), Some((&b""[..], &b"v"[..])));
        assert_eq!(split_key(b"k:", b":"), Some((&b"k"[..], &b""[..])));
        assert_eq!(split_key(b"k", b":"), None);
        assert_eq!(split_key(b":", b"::"), None);
    }

    #[tokio::test]
    async fn lines_become_records_and_empty_ones_stay() {
        let (batches, ended) = packed(vec![b"hi\n\n", b"\xff\n"], None, 10).await;
        ended.unwrap();
        assert_eq!(bodies(&batches), [r#"{"records":[{"value":"aGk="},{"value":""},{"value":"/w=="}]}"#]);
        assert_eq!((batches[0].first_line, batches[0].records, batches[0].bytes), (1, 3, 6));
    }

    #[tokio::test]
    async fn a_full_batch_leaves_and_the_next_knows_its_line() {
        let (batches, _) = packed(vec![b"a\nb\nc\n"], None, 2).await;
        let spans: Vec<_> = batches.iter().map(Batch::lines).collect();
        assert_eq!(spans, ["lines 1 to 2", "line 3"]);
    }

    #[tokio::test]
    async fn a_batch_is_bounded_in_bytes() {
        let long: &'static [u8] = Box::leak(vec![b'x'; BODY_BYTES_MAX].into_boxed_slice());
        let (batches, _) = packed(vec![long, b"\na\n"], None, 10).await;
        assert_eq!(batches.iter().map(|b| b.records).collect::<Vec<_>>(), [1, 2]);
    }

    #[tokio::test]
    async fn a_line_without_its_key_ends_the_input_after_the_lines_before() {
        let (batches, ended) = packed(vec![b"k=v\n", b"l=w\nno\nm=x\n"], Some("="), 10).await;
        assert_eq!(
            ended.unwrap_err().to_string(),
            "line 3 has no key: '=' is not in it; the lines before were written"
        );
        assert_eq!(
            bodies(&batches),
            [r#"{"records":[{"key":"aw==","value":"dg=="},{"key":"bA==","value":"dw=="}]}"#]
        );
    }

    #[tokio::test]
    async fn what_came_while_nobody_took_a_batch_travels_together() {
        let (to_pack, input) = mpsc::channel(8);
        let (packed, mut output) = mpsc::channel(1);
        let packing = tokio::spawn(Packer::new(None, 10).run(input, packed));
        to_pack.send(Ok(b"a\n".to_vec())).await.unwrap();
        let first = output.recv().await.unwrap();
        assert_eq!(first.records, 1, "nobody waits for a second line");
        drop(to_pack);
        packing.await.unwrap().unwrap();
    }
}
