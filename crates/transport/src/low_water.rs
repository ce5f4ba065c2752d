//! `SO_RCVLOWAT`: a socket that holds less than so many bytes does not wake its reader.
//!
//! While the rest of a large frame is on its way nothing can be done with a part of it, and a wake-up for each 64 KiB that
//! arrives costs more than reading them. No safe wrapper in our dependencies sets this option.
//!
//! # Soundness
//! `setsockopt` reads one `c_int` behind the pointer that it is given, during the call; the descriptor is borrowed for as
//! long.
#![allow(unsafe_code)]

use std::{
    ffi::{c_int, c_void},
    os::fd::{AsFd, AsRawFd},
};

/// What a socket's reader waits for.
#[derive(Debug)]
pub(crate) struct LowWater {
    bytes: usize,
}

/// A shorter rest is not worth a system call.
const WORTH_BYTES: usize = 32 << 10;
/// More than this must not wait in the socket: its buffer is to keep room for what comes meanwhile.
const BYTES_MAX: usize = 256 << 10;

impl Default for LowWater {
    fn default() -> Self {
        Self { bytes: 1 }
    }
}

impl LowWater {
    /// From now on the reader is woken when `missing` bytes are there, or a good part of them; when it is less than
    /// [`WORTH_BYTES`], for any. An end of the stream wakes it always. A failure costs wake-ups and nothing else.
    pub(crate) fn wait_for(&mut self, socket: &impl AsFd, missing: usize) {
        let bytes = if missing < WORTH_BYTES { 1 } else { missing.min(BYTES_MAX) };
        if bytes == self.bytes {
            return;
        }
        let value = bytes as c_int;
        // SAFETY: see the head of this file.
        let failed = unsafe {
            libc::setsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVLOWAT,
                (&raw const value).cast::<c_void>(),
                size_of::<c_int>() as libc::socklen_t,
            )
        };
        if failed == 0 {
            self.bytes = bytes;
        }
    }
}
