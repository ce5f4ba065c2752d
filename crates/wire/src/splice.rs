//! A buffer to encode into that leaves out placeholders and remembers where they stood.
//!
//! A placeholder is a slice of one static region of zeros that nobody ever touches, so it costs no memory; only its
//! address and its length matter. The encoder writes the length and hands over the slice; we see by its address that
//! it is a placeholder and note a cut instead of copying. The bytes that go there leave through `sendfile`.
//!
//! # Soundness of the `unsafe impl`
//! `BufMut` is unsafe to implement because callers write through `chunk_mut` and then call `advance_mut`. All three
//! required methods are `BytesMut`'s own, on the one buffer that this type holds; the override of `put_slice` is safe
//! code.
#![allow(unsafe_code)]

use std::{num::TryFromIntError, ops::Range};

use bytes::{BufMut, Bytes, BytesMut, buf::UninitSlice};
use kafka_protocol::protocol::buf::ByteBufMut;

use crate::Encoded;

/// The longest placeholder, and so the most records of one partition in one answer: 128 MiB.
pub const PLACEHOLDER_BYTES_MAX: usize = 128 << 20;

/// Lies in `.bss`: address space, not memory.
static REGION: [u8; PLACEHOLDER_BYTES_MAX] = [0; PLACEHOLDER_BYTES_MAX];

/// Where something of this length goes between the encoded bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The place in the encoded bytes.
    pub at: usize,
    pub bytes: usize,
}

/// Stands in a message for as many bytes (at most [`PLACEHOLDER_BYTES_MAX`]) that are put in when it is sent.
pub fn placeholder(bytes: usize) -> Bytes {
    Bytes::from_static(&REGION[..bytes.min(PLACEHOLDER_BYTES_MAX)])
}

/// Puts a placeholder in the place of bytes that are to be sent without being copied, and notes them in order.
pub fn cut_out(bytes: Bytes, cut: &mut Vec<Bytes>) -> Bytes {
    if bytes.is_empty() || bytes.len() > PLACEHOLDER_BYTES_MAX {
        return bytes;
    }
    let stands_for = placeholder(bytes.len());
    cut.push(bytes);
    stands_for
}

fn is_placeholder(slice: &[u8]) -> bool {
    !slice.is_empty() && REGION.as_ptr_range().contains(&slice.as_ptr())
}

pub(crate) struct SpliceBuf {
    bytes: BytesMut,
    cuts: Vec<Cut>,
}

impl SpliceBuf {
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self { bytes: BytesMut::with_capacity(capacity), cuts: Vec::new() }
    }

    /// The frame that was encoded behind four bytes for its length.
    pub(crate) fn into_frame(mut self) -> Result<Encoded, TryFromIntError> {
        let length = self.bytes.len() - 4 + self.cuts.iter().map(|c| c.bytes).sum::<usize>();
        let length = i32::try_from(length)?;
        self.bytes[..4].copy_from_slice(&length.to_be_bytes());
        Ok(Encoded { bytes: self.bytes.freeze(), cuts: self.cuts })
    }
}

// SAFETY: see the head of this file.
unsafe impl BufMut for SpliceBuf {
    fn remaining_mut(&self) -> usize {
        self.bytes.remaining_mut()
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        // SAFETY: the caller's promise is the one that `BytesMut` asks for.
        unsafe { self.bytes.advance_mut(count) }
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        self.bytes.chunk_mut()
    }

    fn put_slice(&mut self, slice: &[u8]) {
        match is_placeholder(slice) {
            true => self.cuts.push(Cut { at: self.bytes.len(), bytes: slice.len() }),
            false => self.bytes.extend_from_slice(slice),
        }
    }
}

impl ByteBufMut for SpliceBuf {
    fn offset(&self) -> usize {
        self.bytes.len()
    }

    fn seek(&mut self, offset: usize) {
        self.bytes.resize(offset, 0);
    }

    fn range(&mut self, range: Range<usize>) -> &mut [u8] {
        &mut self.bytes[range]
    }
}
