use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use crate::{
    incoming::{Front, Incoming, READ_BYTES, READ_BYTES_MAX},
    room::{Held, Lease, Room},
};

/// The bytes of requests that a listener's connections may have in this process together (KIP-72): of those being read, and of
/// those with records until they are answered.
///
/// Records have most of it. What brings none has a part of its own, and holds it only until it was read and handed over: a
/// follower's fetch must never wait for the very records whose acknowledgement waits for it, nor behind polls that wait
/// for news. As there, small requests without records are read in any case.
pub(crate) struct Rooms {
    records: Arc<Room>,
    recordless: Arc<Room>,
}

/// One of so many parts is for what brings no records.
const RECORDLESS_PART: usize = 4;
/// So much of any frame is read without asking, and a frame without records that is no larger is taken so.
const FREE_BYTES: usize = READ_BYTES;
/// The first piece of a large frame that is asked for; more is asked for as it comes.
const PIECE_BYTES: usize = 256 << 10;
/// From a client that sent as large a frame before, so much is believed at once.
const BELIEVED_BYTES_MAX: usize = 4 << 20;
/// What a frame that was let in has to bring, unless its rest is less, within the time that is set.
const PACE_BYTES: usize = 64 << 10;

/// How a connection's requests find room.
pub(crate) struct Intake {
    rooms: Arc<Rooms>,
    /// The place of the frame at the front, once it had to ask.
    lease: Option<Lease>,
    trickle_max: Duration,
    pace: Option<Pace>,
}

/// How a frame that was let in comes.
#[derive(Clone, Copy)]
struct Pace {
    bytes: usize,
    until: Instant,
}

impl Rooms {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        let recordless = bytes_max / RECORDLESS_PART;
        Arc::new(Self { records: Room::new(bytes_max - recordless), recordless: Room::new(recordless) })
    }

    /// The room that the frame needs, if it does.
    fn of(&self, front: &Front) -> Option<&Arc<Room>> {
        match front.has_records {
            true => Some(&self.records),
            false => (front.bytes > FREE_BYTES).then_some(&self.recordless),
        }
    }
}

impl Intake {
    pub(crate) fn new(rooms: Arc<Rooms>, trickle_max: Duration) -> Self {
        Self { rooms, lease: None, trickle_max, pace: None }
    }

    /// How many bytes may be read now; none while the frame at the front waits for its turn.
    pub(crate) fn allowance(&mut self, incoming: &Incoming) -> usize {
        let free = |bytes: usize| bytes.saturating_sub(incoming.len());
        let Some(front) = incoming.front().filter(|front| front.bytes > FREE_BYTES) else {
            // Small ones are read many at a time, unless all that is here already has to wait.
            let most = if self.rooms.records.is_contended() { FREE_BYTES } else { READ_BYTES_MAX };
            return if incoming.is_whole() { 0 } else { free(most) };
        };
        if front.come >= front.bytes {
            return 0;
        }
        let Some(room) = self.rooms.of(&front).filter(|_| front.come >= FREE_BYTES) else {
            return free(FREE_BYTES);
        };
        let lease = self.lease.get_or_insert_with(|| room.lease());
        if lease.granted() <= front.come {
            let believed = incoming.frame_bytes_last().min(BELIEVED_BYTES_MAX);
            let piece = (front.come * 2).max(PIECE_BYTES).max(believed).min(front.bytes);
            lease.ask(piece, front.bytes);
        }
        let allowed = lease.granted().saturating_sub(front.come);
        match allowed {
            0 => self.pace = None,
            _ => self.keep_pace(front.come),
        }
        allowed
    }

    fn keep_pace(&mut self, come: usize) {
        if self.pace.is_none_or(|pace| come >= pace.bytes + PACE_BYTES) {
            self.pace = Some(Pace { bytes: come, until: Instant::now() + self.trickle_max });
        }
    }

    /// Nothing is read for another reason: the client's pace is not to be judged by that.
    pub(crate) fn pause(&mut self) {
        self.pace = None;
    }

    /// The room of the frame that stands whole at the front; `None` while it waits for its turn.
    pub(crate) fn admit(&mut self, front: &Front) -> Option<Held> {
        let Some(room) = self.rooms.of(front) else { return Some(Held::nothing()) };
        let unasked = self.lease.is_none().then(|| room.try_hold(front.bytes)).flatten();
        let held = match unasked {
            Some(held) => held,
            None => {
                let lease = self.lease.get_or_insert_with(|| room.lease());
                lease.ask(front.bytes, front.bytes);
                if lease.granted() < front.bytes {
                    return None;
                }
                self.lease.take()?.hold()
            }
        };
        self.pace = None;
        Some(if front.has_records { held } else { Held::nothing() })
    }

    /// Whether the frame at the front waits for its turn.
    pub(crate) fn waits(&self) -> bool {
        self.lease.as_ref().is_some_and(Lease::waits)
    }

    /// Waits until it is this connection's turn.
    pub(crate) async fn turn(&self) {
        match &self.lease {
            Some(lease) => lease.changed().await,
            None => std::future::pending().await,
        }
    }

    /// Waits until a frame that was let in should have brought more.
    pub(crate) async fn trickled(&self) {
        match self.pace {
            Some(pace) => tokio::time::sleep_until(pace.until).await,
            None => std::future::pending().await,
        }
    }

    /// Nothing more is read on this connection.
    pub(crate) fn end(&mut self) {
        self.lease = None;
    }
}
