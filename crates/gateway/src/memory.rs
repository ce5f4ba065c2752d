//! The bytes that a gateway may hold at once, and how readers share them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use crate::{ApiError, reader::ReadError};

/// A budget of bytes that all requests share.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    free: Arc<Semaphore>,
    total: usize,
    shares: Arc<AtomicUsize>,
}

/// Bytes that are taken from the budget until this is dropped.
#[derive(Debug)]
pub(crate) struct Held(OwnedSemaphorePermit);

impl Memory {
    pub(crate) fn new(bytes: usize) -> Self {
        let total = bytes.min(u32::MAX as usize).min(Semaphore::MAX_PERMITS);
        Self { free: Arc::new(Semaphore::new(total)), total, shares: Arc::default() }
    }

    /// Takes bytes if they are there now.
    pub(crate) fn try_take(&self, bytes: usize) -> Result<Held, ApiError> {
        let permit = self.free.clone().try_acquire_many_owned(self.count(bytes)?);
        permit.map(Held).map_err(|_| self.short_of(bytes))
    }

    /// Takes bytes for what has to be whole: if it is much, not the last that is free.
    pub(crate) fn try_take_whole(&self, bytes: usize) -> Result<Held, ApiError> {
        let left = self.free.available_permits().saturating_sub(bytes);
        match bytes > WHOLE_BYTES_ALWAYS && left < self.total / WHOLE_LEAVES_PART {
            true => Err(self.short_of(bytes)),
            false => self.try_take(bytes),
        }
    }

    /// Takes up to so many bytes for what would do without, too: half of all stays free.
    pub(crate) fn try_take_spare(&self, bytes: usize) -> Option<Held> {
        let spare = self.free.available_permits().saturating_sub(self.total / 2);
        (spare > 0).then(|| self.try_take(bytes.min(spare)).ok()).flatten()
    }

    /// Room for an answer of up to `wanted` bytes of records. It is taken before leaders are asked, since what they send comes
    /// whether there is room or not; `cost` says how often the records are there. Where it is known that `least` bytes will come,
    /// that much.
    ///
    /// The more answers wait for their clients to take them, the smaller is the next one, so that any number of clients that take
    /// nothing leaves something for the others.
    pub(crate) async fn share(&self, wanted: usize, cost: Cost, least: usize) -> Result<Share, ReadError> {
        let until = Instant::now() + SHARE_WITHIN;
        loop {
            let free = self.free.available_permits();
            let shares = self.shares.load(Ordering::Relaxed);
            let most = part_of(free, self.total, shares) / (cost.leaders + cost.shown);
            // What comes whole, however much it is, leaves no room for more than a part of it to be shown.
            let beside = self.total.saturating_sub(least) / cost.shown.max(1);
            let bytes = wanted.clamp(1, most.min(beside).max(1));
            let takes = cost.takes(bytes, least);
            if let Ok(held) = self.try_take(takes) {
                return Ok(Share { held, bytes, cost, _counted: Counted::new(&self.shares) });
            }
            // Nobody waits in line for it: who waits there for much would leave nothing to those who want little.
            if Instant::now() >= until || !self.may_hold(takes) {
                return Err(ReadError::Full(self.short_of(takes).message));
            }
            tokio::time::sleep(SHARE_PAUSE).await;
        }
    }

    /// Takes bytes as soon as they are there, in the order of asking.
    pub(crate) async fn take(&self, bytes: usize, within: Duration) -> Result<Held, ApiError> {
        let permit = self.free.clone().acquire_many_owned(self.count(bytes)?);
        match tokio::time::timeout(within, permit).await {
            Ok(Ok(permit)) => Ok(Held(permit)),
            _ => Err(self.short_of(bytes)),
        }
    }

    /// Whether there is ever room for so much.
    pub(crate) fn may_hold(&self, bytes: usize) -> bool {
        bytes <= self.total
    }

    /// What can never be had is too large, not too early.
    fn count(&self, bytes: usize) -> Result<u32, ApiError> {
        match u32::try_from(bytes) {
            Ok(count) if bytes <= self.total => Ok(count),
            _ => Err(ApiError::too_large(format!(
                "{bytes} bytes are more than the {} that this gateway holds at once",
                self.total
            ))),
        }
    }

    pub(crate) fn short_of(&self, bytes: usize) -> ApiError {
        ApiError::overloaded(format!(
            "the gateway holds too much at once: {bytes} bytes more are over its limit of {}",
            self.total
        ))
    }
}

/// How often what is read is there at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Each of so many leaders may send as much as is asked for.
    pub(crate) leaders: usize,
    /// What comes of a byte of records besides.
    pub(crate) shown: usize,
}

impl Cost {
    pub(crate) fn takes(self, bytes: usize, least: usize) -> usize {
        (bytes * self.leaders).max(least) + bytes * self.shown
    }
}

/// Room for an answer that is not there yet, or that its client has not taken.
#[derive(Debug)]
pub(crate) struct Share {
    held: Held,
    bytes: usize,
    cost: Cost,
    _counted: Counted,
}

/// One of those among whom memory is shared, until it is dropped.
#[derive(Debug)]
struct Counted(Arc<AtomicUsize>);

/// So much may be taken at once however little is free.
const WHOLE_BYTES_ALWAYS: usize = 256 << 10;
/// What is larger leaves this part of all.
const WHOLE_LEAVES_PART: usize = 8;
const SHARE_WITHIN: Duration = Duration::from_secs(1);
const SHARE_PAUSE: Duration = Duration::from_millis(20);
/// While more than half is free, an answer gets this part of what is above the half.
const PLENTY_PART: usize = 2;
/// Of the other half each gets a part that is the smaller, the more there are. The sum of 1/(n + 16) over 4,096 of them, which are
/// as many as are served at once, is below 6: an eighth of the half stays free for those that write.
const SCARCE_PART: usize = 7;
const SCARCE_FROM: usize = 16;

/// What the next answer may take, if so many have a share.
fn part_of(free: usize, total: usize, shares: usize) -> usize {
    let half = total / 2;
    (free.saturating_sub(half) / PLENTY_PART).max(half / (SCARCE_PART * (shares + SCARCE_FROM)))
}

impl Counted {
    fn new(all: &Arc<AtomicUsize>) -> Self {
        all.fetch_add(1, Ordering::Relaxed);
        Self(all.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Share {
    /// So many bytes of records may be asked for.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether there is room for the bytes that came, which are more than were asked for where a batch is larger (KIP-74). What
    /// there is no room for is to be let go, and asked for again with a share of at least as much.
    pub(crate) fn covers(&mut self, came: usize, memory: &Memory) -> bool {
        let takes = self.cost.takes(self.bytes, came).max(self.held.bytes());
        self.resize(takes, memory)
    }

    /// Holds so many bytes from now on, if there are as many.
    pub(crate) fn resize(&mut self, bytes: usize, memory: &Memory) -> bool {
        match bytes.checked_sub(self.held.bytes()) {
            None | Some(0) => self.shrink(bytes),
            Some(more) => match memory.try_take(more) {
                Ok(more) => self.held.merge(more),
                Err(_) => return false,
            },
        }
        true
    }

    #[cfg(test)]
    pub(crate) fn held_bytes(&self) -> usize {
        self.held.bytes()
    }

    /// What is in it; it counts as a share as long as it lives.
    pub(crate) fn held(&mut self) -> &mut Held {
        &mut self.held
    }

    /// No more than so many bytes are needed.
    pub(crate) fn shrink(&mut self, bytes: usize) {
        let more = self.held.bytes().saturating_sub(bytes);
        drop(self.held.split(more));
    }
}

impl Held {
    /// Takes `bytes` of these out, or all.
    pub(crate) fn split(&mut self, bytes: usize) -> Option<Held> {
        let bytes = bytes.min(self.0.num_permits());
        self.0.split(bytes).map(Held)
    }

    pub(crate) fn merge(&mut self, more: Held) {
        self.0.merge(more.0);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.num_permits()
    }
}

/// Bytes with the memory that they take, which is given back with the last part of them: a connection keeps what its client has
/// not taken yet, long after it was handed over.
struct Kept<H> {
    bytes: Vec<u8>,
    _held: H,
}

impl<H> AsRef<[u8]> for Kept<H> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

pub(crate) fn kept<H: Send + 'static>(bytes: Vec<u8>, held: H) -> Bytes {
    Bytes::from_owner(Kept { bytes, _held: held })
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: Cost = Cost { leaders: 1, shown: 3 };

    #[test]
    fn what_is_held_is_given_back() {
        let memory = Memory::new(100);
        let mut held = memory.try_take(70).unwrap();
        assert_eq!(memory.try_take(40).unwrap_err().status.as_u16(), 503);
        let part = held.split(50).unwrap();
        drop(held);
        let other = memory.try_take(50).unwrap();
        assert!(memory.try_take(1).is_err());
        drop(part);
        assert!(memory.try_take_spare(1).is_none(), "half of it is taken");
        drop(other);
        assert_eq!(memory.try_take_spare(100).unwrap().bytes(), 50);
        assert_eq!(memory.try_take_spare(30).unwrap().bytes(), 30);
    }

    #[test]
    fn bytes_hold_their_memory_until_the_last_part_of_them_is_gone() {
        let memory = Memory::new(1 << 20);
        let mut bytes = kept(vec![7; 600_000], memory.try_take(1 << 20).unwrap());
        let last = bytes.split_off(599_999);
        drop(bytes);
        assert!(memory.try_take(1).is_err());
        drop(last);
        assert!(memory.try_take(1 << 20).is_ok());
    }

    #[test]
    fn what_can_never_be_held_is_too_large() {
        assert_eq!(Memory::new(100).try_take(101).unwrap_err().status.as_u16(), 413);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_for_memory_ends_in_an_error() {
        let memory = Memory::new(10);
        let _held = memory.try_take(10).unwrap();
        let error = memory.take(1, Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(error.status.as_u16(), 503);
    }

    #[tokio::test(start_paused = true)]
    async fn however_many_take_nothing_the_next_one_gets_something() {
        let memory = Memory::new(256 << 20);
        let mut all = Vec::new();
        for n in 0..4_096 {
            let share = memory.share(64 << 20, COST, 0).await.unwrap();
            assert!(share.bytes() >= if n < 600 { 4 << 10 } else { 1 << 10 }, "{n}: {}", share.bytes());
            all.push(share);
        }
        assert!(all[0].bytes() >= 16 << 20, "the first one has {}", all[0].bytes());
        assert!(memory.try_take(16 << 20).is_ok(), "and who writes, too");
        all.clear();
        assert_eq!(memory.share(64 << 20, COST, 0).await.unwrap().bytes(), 16 << 20);
    }

    /// A leader sends a batch whole, however little was asked for.
    #[tokio::test(start_paused = true)]
    async fn what_is_larger_than_its_share_takes_more_or_is_let_go_and_waited_for() {
        let memory = Memory::new(1_000_000);
        let mut share = memory.share(1_000, COST, 0).await.unwrap();
        assert!(share.covers(1_000, &memory) && memory.try_take(996_001).is_err());
        assert!(share.covers(500_000, &memory));
        assert_eq!((share.bytes(), share.held().bytes()), (1_000, 503_000));
        let mut other = memory.share(1_000, COST, 0).await.unwrap();
        assert!(!other.covers(500_000, &memory));
        drop(other);
        let again = async { memory.share(1_000, COST, 500_000).await };
        let freed = async {
            tokio::time::sleep(Duration::from_millis(500)).await;
            drop(share);
        };
        let (again, ()) = tokio::join!(again, freed);
        assert_eq!(again.unwrap().held().bytes(), 503_000);
    }
}
