use bytes::{Buf, Bytes, BytesMut};
use wire::{ApiKey, FRAME_BYTES_MIN};

/// What has come of a connection's requests and was not taken yet: frames, each behind its length.
///
/// What a client only claims takes no memory: the room doubles with what has come, unless this client has sent as large a
/// frame before.
pub struct Incoming {
    bytes: BytesMut,
    frame_bytes_max: usize,
    /// For frames that bring no records: see [`Incoming::of_requests`].
    recordless_bytes_max: usize,
    /// The size of the last frame: the next read makes room for one like it.
    frame_bytes_last: usize,
    /// How much is read at once, at least.
    read_room: usize,
}

/// A length that no frame has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request claims {claimed} bytes, allowed are {FRAME_BYTES_MIN} to {max}")]
pub struct LengthError {
    pub claimed: i32,
    pub max: usize,
}

/// The frame that has begun, once it is known what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Front {
    /// All of it, with its length.
    pub(crate) bytes: usize,
    /// How much of it is here.
    pub(crate) come: usize,
    pub(crate) has_records: bool,
}

/// Room for a read when nothing is known yet.
pub(crate) const READ_BYTES: usize = 64 << 10;
/// What it grows to while the reads fill it.
pub(crate) const READ_BYTES_MAX: usize = 256 << 10;
/// Room is made for a large frame at once up to this; beyond, it grows as the bytes come.
const READ_AHEAD_BYTES_MAX: usize = 4 << 20;

/// The largest request that brings no records. What it is made of takes up to 32 bytes for each that came; the largest that
/// are known, the assignments of a classic group of thousands, come to a few MiB.
const RECORDLESS_BYTES_MAX: usize = 16 << 20;

impl Incoming {
    /// Frames of any kind.
    pub fn new(frame_bytes_max: usize) -> Self {
        Self {
            bytes: BytesMut::new(),
            frame_bytes_max,
            recordless_bytes_max: frame_bytes_max,
            frame_bytes_last: 0,
            read_room: READ_BYTES,
        }
    }

    /// Requests: only one that brings records may be as large as `frame_bytes_max`, others have 16 MiB at most.
    pub fn of_requests(frame_bytes_max: usize) -> Self {
        Self { recordless_bytes_max: frame_bytes_max.min(RECORDLESS_BYTES_MAX), ..Self::new(frame_bytes_max) }
    }

    /// Reads once, by `read` into the room that was made for it, and says how much that was. Zero is the end.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn read<E>(&mut self, read: impl FnOnce(&mut BytesMut) -> Result<usize, E>) -> Result<usize, E> {
        let earned = self.read_room.max(self.bytes.len()).max(self.frame_bytes_last);
        let room = self.missing().clamp(self.read_room, earned.min(READ_AHEAD_BYTES_MAX));
        self.bytes.reserve(room);
        let count = read(&mut self.bytes)?;
        if count > 0 && self.bytes.len() == self.bytes.capacity() {
            // There was more than fitted: a client that pipelines is read in larger pieces.
            self.read_room = (self.read_room * 2).min(READ_BYTES_MAX);
        }
        Ok(count)
    }

    /// Whether another read is worth it before anything is done with what the last one brought: of a large frame.
    pub(crate) fn wants_more(&self, read: usize) -> bool {
        self.missing() > 0 && self.bytes.len() >= READ_BYTES && read >= READ_BYTES
    }

    /// Takes the frame that stands whole at the front, without its length.
    ///
    /// # Errors
    /// There will never be one.
    pub fn take_frame(&mut self) -> Result<Option<Bytes>, LengthError> {
        let Some(length) = self.whole_frame()? else { return Ok(None) };
        self.bytes.advance(4);
        self.frame_bytes_last = length + 4;
        Ok(Some(self.bytes.split_to(length).freeze()))
    }

    pub(crate) fn has_frame(&self) -> Result<bool, LengthError> {
        Ok(self.whole_frame()?.is_some())
    }

    pub(crate) fn front(&self) -> Option<Front> {
        let claimed = usize::try_from(self.claimed_length()?).unwrap_or(0);
        let has_records = is_produce(self.bytes.get(4..6)?);
        let bytes = claimed.min(self.frame_bytes_max) + 4;
        Some(Front { bytes, come: self.bytes.len().min(bytes), has_records })
    }

    /// Whether a frame stands whole at the front.
    pub(crate) fn is_whole(&self) -> bool {
        self.front().is_some_and(|front| front.come == front.bytes)
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn frame_bytes_last(&self) -> usize {
        self.frame_bytes_last
    }

    /// The length of the frame that stands whole at the front.
    fn whole_frame(&self) -> Result<Option<usize>, LengthError> {
        let Some(claimed) = self.claimed_length() else { return Ok(None) };
        let max = self.allowed();
        let length = usize::try_from(claimed)
            .ok()
            .filter(|l| (FRAME_BYTES_MIN..=max).contains(l))
            .ok_or(LengthError { claimed, max })?;
        Ok((self.bytes.len() >= length + 4).then_some(length))
    }

    /// How large the frame at the front may be, as far as it has come.
    fn allowed(&self) -> usize {
        match self.bytes.get(4..6) {
            Some(key) if !is_produce(key) => self.recordless_bytes_max,
            _ => self.frame_bytes_max,
        }
    }

    /// How many bytes of the frame that has begun are not here yet; a guess while not even its length is.
    fn missing(&self) -> usize {
        match self.claimed_length() {
            None => self.frame_bytes_last,
            Some(claimed) => {
                let claimed = usize::try_from(claimed).unwrap_or(0).min(self.allowed());
                (claimed + 4).saturating_sub(self.bytes.len())
            }
        }
    }

    /// How many bytes are missing of a frame whose length is known.
    pub(crate) fn rest(&self) -> usize {
        if self.claimed_length().is_some() { self.missing() } else { 0 }
    }

    fn claimed_length(&self) -> Option<i32> {
        self.bytes.first_chunk::<4>().map(|b| i32::from_be_bytes(*b))
    }

    pub(crate) fn holds_idle_buffer(&self) -> bool {
        self.bytes.is_empty() && self.bytes.capacity() > 0
    }

    pub(crate) fn release(&mut self) {
        let recordless_bytes_max = self.recordless_bytes_max;
        *self = Self { recordless_bytes_max, ..Self::new(self.frame_bytes_max) };
    }
}

fn is_produce(key: &[u8]) -> bool {
    key == (ApiKey::Produce as i16).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAIMED: i32 = 20 << 20;

    fn begun(mut incoming: Incoming, api: ApiKey) -> Result<Option<Bytes>, LengthError> {
        incoming.bytes.extend_from_slice(&CLAIMED.to_be_bytes());
        assert_eq!(incoming.take_frame(), Ok(None), "not even the kind of it is known");
        incoming.bytes.extend_from_slice(&(api as i16).to_be_bytes());
        incoming.take_frame()
    }

    #[test]
    fn only_a_request_with_records_may_be_as_large_as_is_set() {
        let refused = Err(LengthError { claimed: CLAIMED, max: RECORDLESS_BYTES_MAX });
        assert_eq!(begun(Incoming::of_requests(100 << 20), ApiKey::Produce), Ok(None));
        assert_eq!(begun(Incoming::of_requests(100 << 20), ApiKey::Metadata), refused);
        // An answer does not begin with what it is.
        assert_eq!(begun(Incoming::new(100 << 20), ApiKey::Metadata), Ok(None));
    }

    #[test]
    fn a_smaller_setting_holds_for_every_request() {
        let refused = Err(LengthError { claimed: CLAIMED, max: 1 << 20 });
        for api in [ApiKey::Produce, ApiKey::Fetch] {
            let mut incoming = Incoming::of_requests(1 << 20);
            incoming.bytes.extend_from_slice(&CLAIMED.to_be_bytes());
            incoming.bytes.extend_from_slice(&(api as i16).to_be_bytes());
            assert_eq!(incoming.take_frame(), refused);
        }
    }
}
