//! Administration: any storage node takes it to the controller, so one is asked, and another if that one was not reached.

use std::{collections::HashMap, hash::Hash, sync::Arc, time::Duration};

use transport::{CallError, Reply};
use wire::{FrameError, Request, RequestFrame, ResponseError};

use super::{front::Front, reply::later};

/// Why there is no answer, for the answer's own form.
pub(super) type Refused = (ResponseError, String);

/// Said to whoever names a broker by its id.
pub(super) const NO_BROKERS: &str = "the brokers behind a gateway are not visible through it: ask a storage node, or leave the placement to the cluster";

/// For what has no time-out of its own.
const WITHIN: Duration = Duration::from_secs(15);

pub(super) fn handle<R, F>(
    front: &Arc<Front>,
    frame: &RequestFrame,
    answer: impl FnOnce(Arc<Front>, R, i16) -> F,
) -> Result<Reply, FrameError>
where
    R: Request,
    F: Future<Output = R::Response> + Send + 'static,
{
    later(frame, answer(front.clone(), frame.decode_body()?, frame.version))
}

/// How long a request may take: what the client allows, within reason.
pub(super) fn patience(timeout_ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0).clamp(100, 60_000))
}

/// Always the same node, so that who changes something and then looks sees it: other nodes may hear of it later.
pub(super) async fn ask<R: Request + Clone>(
    front: &Front,
    request: &R,
    version: i16,
    within: Option<Duration>,
) -> Result<R::Response, Refused> {
    let image = front.backend.image.load();
    let mut refused = (ResponseError::BrokerNotAvailable, "no storage node is active".to_owned());
    for node in image.active_nodes() {
        let address = node.kafka.to_string();
        match front.backend.upstream.call(&address, request.clone(), version, within.unwrap_or(WITHIN)).await
        {
            Ok(response) => return Ok(response),
            // Nothing was asked of that one.
            Err(error @ CallError::NotSent { .. }) => {
                refused = (ResponseError::BrokerNotAvailable, error.to_string());
            }
            Err(error @ CallError::Unsupported { .. }) => {
                return Err((ResponseError::UnsupportedVersion, error.to_string()));
            }
            Err(error) => return Err((ResponseError::RequestTimedOut, error.to_string())),
        }
    }
    Err(refused)
}

/// Puts `answers` as they were asked for: what a node answers and what is refused here belong together.
pub(super) fn as_asked<A, K: Eq + Hash>(
    answers: &mut [A],
    asked: impl IntoIterator<Item = K>,
    of: impl Fn(&A) -> K,
) {
    let places: HashMap<K, usize> = asked.into_iter().enumerate().map(|(at, key)| (key, at)).collect();
    answers.sort_by_cached_key(|answer| places.get(&of(answer)).copied());
}

/// Waits until this gateway's own metadata has a change that was made, so that the client's next request here sees it.
pub(super) async fn settled(front: &Front, within: Duration, has_it: impl Fn(&metadata::Image) -> bool) {
    let _ = tokio::time::timeout(within, front.backend.image.wait_for(has_it)).await;
}
