use std::{
    any::Any,
    collections::VecDeque,
    fs::File,
    io::{self, IoSlice},
    sync::Arc,
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{io::Interest, net::TcpStream};
use wire::Encoded;

/// Bytes of a file that leave without being read into this process.
#[derive(Clone, Debug)]
pub struct FileSlice {
    pub file: Arc<File>,
    pub position: u64,
    pub bytes: usize,
}

/// A response frame: encoded bytes, and file slices where its cuts are.
#[derive(Debug, Default)]
pub struct Response {
    pieces: Vec<Piece>,
    closes: bool,
}

#[derive(Debug)]
enum Piece {
    Bytes(Bytes),
    File(FileSlice),
    Held(#[expect(dead_code, reason = "held for its drop")] Box<dyn Any + Send + Sync>),
}

impl Piece {
    fn len(&self) -> usize {
        match self {
            Piece::Bytes(bytes) => bytes.len(),
            Piece::File(slice) => slice.bytes,
            Piece::Held(_) => 0,
        }
    }
}

/// What waits to be written to one connection.
#[derive(Default)]
pub(crate) struct Outgoing {
    pieces: VecDeque<Piece>,
    bytes: usize,
}

/// More slices than this are not written by one call.
const SLICES_MAX: usize = 64;

impl Response {
    /// Joins an encoded message with the slices for its cuts, in their order; the lengths must agree.
    pub fn new(encoded: Encoded, files: Vec<FileSlice>) -> Self {
        Self::joined(encoded, files.into_iter().map(Piece::File).collect())
    }

    /// The same, with bytes that are in memory for the cuts.
    pub fn around(encoded: Encoded, slices: Vec<Bytes>) -> Self {
        Self::joined(encoded, slices.into_iter().map(Piece::Bytes).collect())
    }

    /// Another server's answer to a request that was handed on: the same but for the correlation id.
    pub fn forwarded(mut answer: Bytes, correlation_id: i32) -> Self {
        let length = i32::try_from(answer.len()).unwrap_or(i32::MAX);
        answer.advance(answer.len().min(4));
        let head = [length.to_be_bytes(), correlation_id.to_be_bytes()].concat();
        Self { pieces: vec![Piece::Bytes(head.into()), Piece::Bytes(answer)], closes: false }
    }

    /// No bytes at all: the request wants no answer, and it only now turned out that it was carried out (acks=0).
    pub fn nothing() -> Self {
        Self::default()
    }

    /// No bytes, and the connection's end: the request wants no answer, and it failed (acks=0).
    pub fn close() -> Self {
        Self { closes: true, ..Self::default() }
    }

    /// The same, and `held` is dropped once all of it has left, or the connection has ended.
    pub fn holding(mut self, held: impl Any + Send + Sync) -> Self {
        self.pieces.push(Piece::Held(Box::new(held)));
        self
    }

    fn joined(encoded: Encoded, between: Vec<Piece>) -> Self {
        debug_assert_eq!(
            encoded.cuts.iter().map(|c| c.bytes).collect::<Vec<_>>(),
            between.iter().map(Piece::len).collect::<Vec<_>>()
        );
        let mut pieces = Vec::with_capacity(between.len() * 2 + 1);
        let mut rest = encoded.bytes;
        let mut at = 0;
        for (cut, piece) in encoded.cuts.iter().zip(between) {
            pieces.push(Piece::Bytes(rest.split_to(cut.at - at)));
            pieces.push(piece);
            at = cut.at;
        }
        pieces.push(Piece::Bytes(rest));
        Self { pieces, closes: false }
    }

    pub(crate) fn closes(&self) -> bool {
        self.closes
    }

    pub(crate) fn len(&self) -> usize {
        self.pieces.iter().map(Piece::len).sum()
    }
}

impl From<Encoded> for Response {
    fn from(encoded: Encoded) -> Self {
        Self::new(encoded, Vec::new())
    }
}

impl Outgoing {
    pub(crate) fn push(&mut self, response: Response) {
        self.bytes += response.len();
        self.pieces.extend(response.pieces);
    }

    /// How much waits; file slices count, although they take no memory.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Writes everything, waiting for the socket where it must, but no longer than `stall_max` without progress. May be
    /// dropped while it waits, and called again.
    pub(crate) async fn flush(&mut self, stream: &TcpStream, stall_max: Duration) -> io::Result<()> {
        while let Some(first) = self.pieces.front_mut() {
            let written = match first {
                Piece::File(slice) if slice.bytes == 0 => Ok(0),
                Piece::File(slice) => send_file(stream, slice),
                Piece::Held(_) => Ok(0),
                Piece::Bytes(_) => self.write_bytes(stream),
            };
            match written {
                Ok(written) => self.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let stalled =
                        |_| io::Error::new(io::ErrorKind::TimedOut, "the client does not read its answers");
                    tokio::time::timeout(stall_max, stream.writable()).await.map_err(stalled)??;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_bytes(&self, stream: &TcpStream) -> io::Result<usize> {
        let bytes = self.pieces.iter().map_while(|piece| match piece {
            Piece::Bytes(bytes) => Some(IoSlice::new(bytes)),
            Piece::File(_) | Piece::Held(_) => None,
        });
        let slices: Vec<IoSlice<'_>> = bytes.take(SLICES_MAX).collect();
        if slices.iter().all(|s| s.is_empty()) {
            return Ok(0);
        }
        match stream.try_write_vectored(&slices)? {
            0 => Err(io::ErrorKind::WriteZero.into()),
            written => Ok(written),
        }
    }

    fn advance(&mut self, mut written: usize) {
        self.bytes -= written;
        while let Some(first) = self.pieces.front_mut() {
            let left = first.len();
            if written < left {
                match first {
                    Piece::Bytes(bytes) => bytes.advance(written),
                    Piece::File(slice) => {
                        slice.position += written as u64;
                        slice.bytes -= written;
                    }
                    Piece::Held(_) => {}
                }
                return;
            }
            written -= left;
            self.pieces.pop_front();
        }
    }
}

fn send_file(stream: &TcpStream, slice: &FileSlice) -> io::Result<usize> {
    let sent = stream.try_io(Interest::WRITABLE, || {
        let mut position = slice.position;
        Ok(rustix::fs::sendfile(stream, &*slice.file, Some(&mut position), slice.bytes)?)
    })?;
    match sent {
        // The file is shorter than the answer says: the frame cannot be completed.
        0 => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a segment ended before its slice did")),
        sent => Ok(sent),
    }
}
