//! Asking a partition's leader something that may be asked again.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rpc::WatchedImage;
use tokio::{sync::Semaphore, time::Instant};
use transport::{CallError, ClientPool};
use wire::{Request, ResponseError};

use crate::{
    reader::ReadError,
    routing::{Backoff, Route, RouteError, Target, moved, route},
};

/// What came of asking once.
pub(crate) enum Asked<T> {
    Done(T),
    /// Another leader, or the same one in a moment, may know.
    Elsewhere(String),
    Failed(ReadError),
}

impl<T> From<CallError> for Asked<T> {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unsupported { .. } => {
                Asked::Failed(ReadError::Refused(ResponseError::UnsupportedVersion))
            }
            error => Asked::Elsewhere(error.to_string()),
        }
    }
}

impl<T> From<ResponseError> for Asked<T> {
    fn from(code: ResponseError) -> Self {
        match code.is_retriable() {
            true => Asked::Elsewhere(format!("{code} ({})", code.code())),
            false => Asked::Failed(ReadError::Refused(code)),
        }
    }
}

/// How long a leader is looked for. A failover takes less, even that from a machine that went silent.
const PATIENCE: Duration = Duration::from_secs(8);

/// Asks the partition's leader, and again once the metadata shows another one, for a while.
pub(crate) async fn at_leader<T, F: Future<Output = Asked<T>>>(
    image: &WatchedImage,
    target: Target,
    ask: impl Fn(Route) -> F,
) -> Result<T, ReadError> {
    let deadline = Instant::now() + PATIENCE;
    let mut backoff = Backoff::new();
    loop {
        let way = route(&image.load(), target);
        let failed = match &way {
            Ok(route) => {
                let asked = tokio::select! {
                    biased;
                    asked = ask(route.clone()) => asked,
                    // Nothing is waited for from a leader that was replaced.
                    () = moved(image, target, route) => continue,
                };
                match asked {
                    Asked::Done(answer) => return Ok(answer),
                    Asked::Failed(error) => return Err(error),
                    Asked::Elsewhere(reason) => ReadError::Unavailable(reason),
                }
            }
            Err(RouteError::NoLeader) => ReadError::Route(RouteError::NoLeader),
            Err(error) => return Err(error.clone().into()),
        };
        if Instant::now() >= deadline {
            return Err(failed);
        }
        backoff.wait(image, target, &way, deadline).await;
    }
}

/// Connections to the storage nodes, for reading.
///
/// A node answers in the order of its requests, so a request that waits for records holds up whatever comes after it on the
/// same connection: it gets one of its own, which is used again once its answer is there.
pub(crate) struct Nodes {
    client_id: String,
    prompt: ClientPool,
    /// By a node's address: so many of its answers may be on their way at once. Each may be a whole batch, however little was asked
    /// for, and more of them at once would bring nothing sooner.
    turns: Mutex<HashMap<String, Arc<Semaphore>>>,
    waiting: Mutex<Vec<ClientPool>>,
}

/// How long a node may take, besides what it was asked to wait.
const ANSWER_MAX: Duration = Duration::from_secs(5);
const TURNS: usize = 16;
/// Connections for waiting that are kept while nobody waits.
const SPARE_MAX: usize = 64;

impl Nodes {
    pub(crate) fn new(client_id: &str) -> Self {
        Self {
            client_id: client_id.to_owned(),
            prompt: ClientPool::new(client_id),
            turns: Mutex::default(),
            waiting: Mutex::default(),
        }
    }

    /// `wait`: how long the request asks the node to wait.
    pub(crate) async fn call<R: Request>(
        &self,
        address: &str,
        request: R,
        wait: Duration,
    ) -> Result<R::Response, CallError> {
        if wait.is_zero() {
            let turns = self.turns.lock().entry(address.to_owned()).or_insert_with(turns).clone();
            let not_in_time = |_| CallError::NotSent {
                address: address.to_owned(),
                reason: format!("its earlier answers took {} s", ANSWER_MAX.as_secs()),
            };
            let begun = Instant::now();
            let turn = tokio::time::timeout(ANSWER_MAX, turns.acquire()).await.map_err(not_in_time)?;
            let _turn = turn.ok();
            let left = ANSWER_MAX.saturating_sub(begun.elapsed());
            return self.prompt.call(address, request, left).await;
        }
        let spare = self.waiting.lock().pop();
        let pool = spare.unwrap_or_else(|| ClientPool::new(&self.client_id));
        // Given up in the middle, the pool is dropped, and its connection with the answer that nobody wants.
        let answer = pool.call(address, request, wait + ANSWER_MAX).await;
        if answer.is_ok() {
            let mut waiting = self.waiting.lock();
            if waiting.len() < SPARE_MAX {
                waiting.push(pool);
            }
        }
        answer
    }
}

fn turns() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(TURNS))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use domain::PartitionIndex;

    use super::*;
    use crate::fixture;

    fn watched() -> (WatchedImage, Target) {
        let image = fixture::image();
        let topic = image.topics.get("orders").unwrap().id;
        let target = Target { topic, partition: PartitionIndex(0) };
        (WatchedImage::fixed(image), target)
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_that_moved_is_asked_again() {
        let (image, target) = watched();
        let asked = AtomicU32::new(0);
        let answer = at_leader(&image, target, |route| {
            let times = asked.fetch_add(1, Ordering::Relaxed);
            async move {
                match times {
                    0 => Asked::from(ResponseError::NotLeaderOrFollower),
                    _ => Asked::Done(route.address),
                }
            }
        });
        assert_eq!(answer.await, Ok("node-0.test:9092".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_with_the_last_reason() {
        let (image, target) = watched();
        let answer: Result<(), _> =
            at_leader(&image, target, |_| async { Asked::Elsewhere("moving house".to_owned()) }).await;
        assert_eq!(answer, Err(ReadError::Unavailable("moving house".to_owned())));
    }

    #[tokio::test]
    async fn a_refusal_is_final() {
        let (image, target) = watched();
        let refused = ResponseError::TopicAuthorizationFailed;
        let answer: Result<(), _> = at_leader(&image, target, |_| async move { refused.into() }).await;
        assert_eq!(answer, Err(ReadError::Refused(refused)));
    }
}
