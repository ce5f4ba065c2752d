use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use transport::{CallError, ClientPool};
use wire::{Request, RequestFrame};

/// Connections to the storage nodes that all clients share.
///
/// A node answers in the order of its requests, so one that may wait for long (a member joins) has a connection to itself,
/// which is used again once its answer is there; so has one whose answer may take a while (offsets by time, many groups).
/// What is handed on and answered at once shares a few: always the same one for a key, so that a group's requests arrive in
/// order, and more than one, so that not all wait behind a slow commit.
pub(crate) struct Upstream {
    prompt: Vec<ClientPool>,
    waiting: Mutex<Vec<ClientPool>>,
}

const CLIENT_ID: &str = "gateway";
const PROMPT: usize = 8;
/// How long a node may take, besides what it was asked to wait.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Connections for waiting that are kept while nobody waits.
const SPARE_MAX: usize = 64;

impl Upstream {
    pub(super) fn new() -> Self {
        let prompt = (0..PROMPT).map(|_| ClientPool::new(CLIENT_ID)).collect();
        Self { prompt, waiting: Mutex::default() }
    }

    /// Asks in the newest version that both sides speak, up to `version_max`. `wait`: for how long the node may be asked to
    /// wait.
    pub(crate) async fn call<R: Request>(
        &self,
        address: &str,
        request: R,
        version_max: i16,
        wait: Duration,
    ) -> Result<R::Response, CallError> {
        let pool = self.for_waiting();
        // Given up in the middle, the pool is dropped, and its connection with the answer that nobody wants.
        let answer = pool.call_up_to(address, request, version_max, wait + ANSWER_MAX).await;
        self.keep(pool, answer.is_ok());
        answer
    }

    /// Hands a client's request on as it came; the answer comes back unread.
    pub(super) async fn forward(
        &self,
        key: &str,
        address: &str,
        frame: &RequestFrame,
        wait: Duration,
    ) -> Result<Bytes, CallError> {
        if wait.is_zero() {
            return self.prompt_by(key).forward(address, frame, ANSWER_MAX).await;
        }
        let pool = self.for_waiting();
        let answer = pool.forward(address, frame, wait + ANSWER_MAX).await;
        self.keep(pool, answer.is_ok());
        answer
    }

    fn prompt_by(&self, key: &str) -> &ClientPool {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        &self.prompt[hasher.finish() as usize % PROMPT]
    }

    fn for_waiting(&self) -> ClientPool {
        self.waiting.lock().pop().unwrap_or_else(|| ClientPool::new(CLIENT_ID))
    }

    fn keep(&self, pool: ClientPool, is_sound: bool) {
        let mut waiting = self.waiting.lock();
        if is_sound && waiting.len() < SPARE_MAX {
            waiting.push(pool);
        }
    }
}
