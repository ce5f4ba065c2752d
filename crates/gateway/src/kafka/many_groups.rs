use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use transport::{CallError, Reply};
use wire::{FrameError, Request, RequestFrame, ResponseError};

use super::{coordinator::seat, front::Front, reply::later};

/// A request about groups that may live in different places.
pub(super) trait ManyGroups: Request + Send + Sync + 'static {
    type Answered: Clone + Send;

    fn groups(&self) -> Vec<String>;
    /// The same request, about the groups at these places.
    fn about(&self, places: &[usize]) -> Self;
    fn answers(response: Self::Response) -> Vec<Self::Answered>;
    fn group_of(answered: &Self::Answered) -> &str;
    fn refused(&self, place: usize, code: ResponseError) -> Self::Answered;
    fn response(answers: Vec<Self::Answered>) -> Self::Response;
}

pub(super) fn handle<R: ManyGroups>(front: &Arc<Front>, frame: &RequestFrame) -> Result<Reply, FrameError>
where
    R::Response: Send,
{
    let (front, request, version) = (front.clone(), frame.decode_body::<R>()?, frame.version);
    wire::check_group_count(request.groups().len())?;
    later(frame, async move { answer(&front, &request, version).await })
}

/// Asks every coordinator for its own, and puts the answers together in the request's order.
pub(super) async fn answer<R: ManyGroups>(front: &Front, request: &R, version: i16) -> R::Response {
    let groups = request.groups();
    let by_coordinator = by_coordinator(front, &groups);
    let asking = by_coordinator.iter().map(|(address, places)| {
        let about = request.about(places);
        async move {
            let address = address.as_deref()?;
            Some(front.upstream.call(address, about, version, Duration::ZERO).await)
        }
    });
    let came = join_all(asking).await;
    let mut answers: Vec<Option<R::Answered>> = groups.iter().map(|_| None).collect();
    for (places, came) in by_coordinator.values().zip(came) {
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
    let missing = |place| request.refused(place, ResponseError::CoordinatorNotAvailable);
    let answers = answers.into_iter().enumerate().map(|(place, a)| a.unwrap_or_else(|| missing(place)));
    R::response(answers.collect())
}

/// The places of the groups, by the address of their coordinators; those of whom there is none have `None`.
fn by_coordinator(front: &Front, groups: &[String]) -> BTreeMap<Option<String>, Vec<usize>> {
    let image = front.image.load();
    let mut by_coordinator: BTreeMap<Option<String>, Vec<usize>> = BTreeMap::new();
    for (place, group) in groups.iter().enumerate() {
        let address = seat(&image, group).map(|(_, route)| route.address);
        by_coordinator.entry(address).or_default().push(place);
    }
    by_coordinator
}
