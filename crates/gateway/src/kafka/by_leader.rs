use std::{collections::BTreeMap, sync::Arc, time::Duration};

use domain::PartitionIndex;
use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};
use transport::{CallError, Reply};
use wire::{FrameError, Request, RequestFrame, ResponseError};

use super::{
    backend::Backend,
    front::Front,
    reply::later,
    split::{ByTopic, Split},
};
use crate::routing::{Route, RouteError, Target, moved, route};

/// A request that may be made twice, about partitions of which each one's leader knows.
pub(crate) trait ByLeader: Request + Sized {
    type Asked: Clone + Send + Sync;
    type Answered: Send;

    /// For how long a leader may be asked to wait.
    fn waits(&self) -> Duration {
        Duration::ZERO
    }

    fn take_apart(&mut self) -> ByTopic<Self::Asked>;
    /// The same request, about these.
    fn about(&self, topics: ByTopic<Self::Asked>) -> Self;
    fn answers(response: Self::Response) -> ByTopic<Self::Answered>;
    fn response(topics: ByTopic<Self::Answered>) -> Self::Response;

    fn number(asked: &Self::Asked) -> i32;
    /// Which partition it is about, and its error code.
    fn answered(answered: &Self::Answered) -> (i32, i16);
    fn refused(asked: &Self::Asked, code: ResponseError) -> Self::Answered;
}

/// How long news of another leader is waited for before the one other try.
const NEWS_MAX: Duration = Duration::from_secs(2);
/// A leader that was replaced may still have the answer on its way.
const GRACE: Duration = Duration::from_millis(200);

pub(super) fn handle<R: ByLeader + Send + Sync + 'static>(
    front: &Arc<Front>,
    frame: &RequestFrame,
) -> Result<Reply, FrameError>
where
    R::Response: Send,
{
    let (request, version) = (frame.decode_body::<R>()?, frame.version);
    let front = front.clone();
    later(frame, async move { answer(&front.backend, request, version).await })
}

/// The places of one leader in a [`Split`].
struct Part {
    route: Route,
    target: Target,
    places: Vec<usize>,
}

/// Asks each leader for its own, and puts the answers together in the request's order.
pub(crate) async fn answer<R: ByLeader>(backend: &Backend, mut request: R, version: i16) -> R::Response {
    let mut split: Split<R::Asked, R::Answered> = Split::new(request.take_apart());
    let first = ask(backend, &request, &mut split, version, true).await;
    if !first.is_empty() {
        // Once more, where another leader is, or the same one that leads by now.
        let news = backend.image.wait_for(|image| {
            first
                .iter()
                .all(|(target, asked)| route(image, *target).is_ok_and(|now| asked.as_ref() != Some(&now)))
        });
        let _ = timeout_at(Instant::now() + NEWS_MAX, news).await;
    }
    if !split.open().is_empty() {
        ask(backend, &request, &mut split, version, false).await;
    }
    R::response(split.together(|asked| R::refused(asked, ResponseError::NotLeaderOrFollower)))
}

/// Asks the leaders of all that is open. With `again` to come, what another leader may know stays open, and who was asked
/// is told.
async fn ask<R: ByLeader>(
    backend: &Backend,
    request: &R,
    split: &mut Split<R::Asked, R::Answered>,
    version: i16,
    again: bool,
) -> Vec<(Target, Option<Route>)> {
    let (parts, mut elsewhere) = parts::<R>(backend, split);
    let asking = parts.iter().map(|part| {
        let about = request.about(split.part(&part.places));
        async move {
            tokio::select! {
                biased;
                answer = backend.upstream.call(&part.route.address, about, version, request.waits()) => answer,
                () = replaced(backend, part) => Err(CallError::Lost {
                    address: part.route.address.clone(),
                    reason: "another node leads".to_owned(),
                }),
            }
        }
    });
    let answers = join_all(asking).await;
    for (part, answer) in parts.into_iter().zip(answers) {
        let mut is_elsewhere = false;
        match answer {
            Ok(response) => {
                let mut answers = R::answers(response);
                for (_, partitions) in &mut answers {
                    let before = partitions.len();
                    partitions.retain(|a| !(again && is_not_leader(R::answered(a).1)));
                    is_elsewhere |= partitions.len() < before;
                }
                split.take_in(&part.places, answers, |asked, a| R::number(asked) == R::answered(a).0);
            }
            Err(CallError::Unsupported { .. }) => {
                for place in part.places {
                    let refused = R::refused(split.at(place).1, ResponseError::UnsupportedVersion);
                    split.answer(place, refused);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "a leader did not answer");
                is_elsewhere = true;
            }
        }
        if is_elsewhere {
            elsewhere.push((part.target, Some(part.route)));
        }
    }
    elsewhere
}

async fn replaced(backend: &Backend, part: &Part) {
    moved(&backend.image, part.target, &part.route).await;
    tokio::time::sleep(GRACE).await;
}

fn is_not_leader(code: i16) -> bool {
    code == ResponseError::NotLeaderOrFollower.code()
}

/// What is open, by leader, and what has none. What is not there is answered.
fn parts<R: ByLeader>(
    backend: &Backend,
    split: &mut Split<R::Asked, R::Answered>,
) -> (Vec<Part>, Vec<(Target, Option<Route>)>) {
    let image = backend.image.load();
    let mut parts: BTreeMap<String, Part> = BTreeMap::new();
    let mut leaderless = Vec::new();
    for place in split.open() {
        let (name, asked) = split.at(place);
        let refused = R::refused(asked, ResponseError::UnknownTopicOrPartition);
        let Some(topic) = image.topics.get(name.as_str()) else {
            split.answer(place, refused);
            continue;
        };
        let target = Target { topic: topic.id, partition: PartitionIndex(R::number(asked)) };
        match route(&image, target) {
            Ok(route) => {
                let part = parts.entry(route.address.clone());
                part.or_insert(Part { route, target, places: Vec::new() }).places.push(place);
            }
            Err(RouteError::NoLeader) => leaderless.push((target, None)),
            Err(_) => split.answer(place, refused),
        }
    }
    (parts.into_values().collect(), leaderless)
}
