use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use tokio::time::Instant;
use transport::{CallError, Reply};
use wire::{FrameError, Request, RequestFrame, ResponseError};

use super::{
    backend::Backend,
    coordinator::{replaced, seat},
    front::Front,
    reply::later,
};
use crate::routing::{Route, Target};

/// A request about groups that may live in different places.
pub(crate) trait ManyGroups: Request + Send + Sync + 'static {
    type Answered: Clone + Send;

    fn groups(&self) -> Vec<String>;
    /// The same request, about the groups at these places.
    fn about(&self, places: &[usize]) -> Self;
    fn answers(response: Self::Response) -> Vec<Self::Answered>;
    fn group_of(answered: &Self::Answered) -> &str;
    fn refused(&self, place: usize, code: ResponseError) -> Self::Answered;
    fn response(answers: Vec<Self::Answered>) -> Self::Response;
}

/// Who may ask again is asked for so long.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two rounds of asking.
const PAUSE: Duration = Duration::from_millis(50);

pub(super) fn handle<R: ManyGroups>(front: &Arc<Front>, frame: &RequestFrame) -> Result<Reply, FrameError>
where
    R::Response: Send,
{
    let (front, request, version) = (front.clone(), frame.decode_body::<R>()?, frame.version);
    wire::check_group_count(request.groups().len())?;
    later(frame, async move { answer(&front.backend, &request, version).await })
}

/// Asks every coordinator for its own, and puts the answers together in the request's order.
async fn answer<R: ManyGroups>(backend: &Backend, request: &R, version: i16) -> R::Response {
    let groups = request.groups();
    let all: Vec<usize> = (0..groups.len()).collect();
    let mut answers: Vec<Option<R::Answered>> = vec![None; groups.len()];
    ask(backend, request, version, &groups, &all, &mut answers).await;
    whole(request, answers)
}

/// The same of what changes nothing: groups whose coordinator is gone are asked about until it has a successor. `None`: it has
/// none in time.
pub(crate) async fn answer_at_last<R: ManyGroups>(
    backend: &Backend,
    request: &R,
    version: i16,
    is_elsewhere: impl Fn(&R::Answered) -> bool,
) -> Option<R::Response> {
    let groups = request.groups();
    let mut open: Vec<usize> = (0..groups.len()).collect();
    let mut answers: Vec<Option<R::Answered>> = vec![None; groups.len()];
    let deadline = Instant::now() + PATIENCE;
    loop {
        ask(backend, request, version, &groups, &open, &mut answers).await;
        open.retain(|place| answers[*place].as_ref().is_none_or(&is_elsewhere));
        if open.is_empty() {
            return Some(whole(request, answers));
        }
        if Instant::now() >= deadline || backend.stopping.is_cancelled() {
            return None;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn whole<R: ManyGroups>(request: &R, answers: Vec<Option<R::Answered>>) -> R::Response {
    let missing = |place| request.refused(place, ResponseError::CoordinatorNotAvailable);
    let answers = answers.into_iter().enumerate().map(|(place, a)| a.unwrap_or_else(|| missing(place)));
    R::response(answers.collect())
}

/// Asks about the groups at these places.
async fn ask<R: ManyGroups>(
    backend: &Backend,
    request: &R,
    version: i16,
    groups: &[String],
    places: &[usize],
    answers: &mut [Option<R::Answered>],
) {
    let by_coordinator = by_coordinator(backend, groups, places);
    let asking = by_coordinator.values().map(|Seated { seat, places }| {
        let about = request.about(places);
        async move {
            let (target, route) = seat.as_ref()?;
            tokio::select! {
                biased;
                answer = backend.upstream.call(&route.address, about, version, Duration::ZERO) => Some(answer),
                () = replaced(backend, *target, route) => None,
            }
        }
    });
    let came = join_all(asking).await;
    for (Seated { places, .. }, came) in by_coordinator.values().zip(came) {
        let code = match came {
            Some(Ok(response)) => {
                let mut of_these: HashMap<String, VecDeque<R::Answered>> = HashMap::new();
                for answer in R::answers(response) {
                    of_these.entry(R::group_of(&answer).to_owned()).or_default().push_back(answer);
                }
                for place in places {
                    answers[*place] = of_these.get_mut(&groups[*place]).and_then(VecDeque::pop_front);
                }
                continue;
            }
            Some(Err(CallError::Unsupported { .. })) => ResponseError::UnsupportedVersion,
            Some(Err(error)) => {
                tracing::debug!(%error, "a coordinator did not answer");
                ResponseError::CoordinatorNotAvailable
            }
            None => ResponseError::CoordinatorNotAvailable,
        };
        for place in places {
            answers[*place] = Some(request.refused(*place, code));
        }
    }
}

/// Groups with the same coordinator.
#[derive(Default)]
struct Seated {
    /// Of the first of them; `None`: nobody coordinates them.
    seat: Option<(Target, Route)>,
    places: Vec<usize>,
}

/// The places of the groups, by the address of their coordinators; those of whom there is none have `None`.
fn by_coordinator(
    backend: &Backend,
    groups: &[String],
    places: &[usize],
) -> BTreeMap<Option<String>, Seated> {
    let image = backend.image.load();
    let mut by_coordinator: BTreeMap<Option<String>, Seated> = BTreeMap::new();
    for place in places {
        let seat = seat(&image, &groups[*place]);
        let address = seat.as_ref().map(|(_, route)| route.address.clone());
        let seated = by_coordinator.entry(address).or_insert_with(|| Seated { seat, places: Vec::new() });
        seated.places.push(*place);
    }
    by_coordinator
}
