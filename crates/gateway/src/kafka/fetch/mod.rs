//! Fetch: one fetch to each leader at most, and an answer as soon as there is enough from any of them.

mod answer;
mod leader;
mod plan;
mod session;

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{FutureExt, future::select_all};
use tokio::time::Instant;
use transport::{Reply, Response};
use wire::{
    FrameError, RequestFrame, StrBytes,
    messages::{FetchRequest, FetchResponse},
};

use self::{
    answer::{Gathered, Known, weigh},
    leader::{Leader, Limits},
    plan::Plan,
    session::{ClientSession, Form},
};
use super::{front::Front, reply::encoded};

/// What a connection has of fetching.
#[derive(Default)]
pub(super) struct Fetching {
    leaders: HashMap<String, Leader>,
    known: Known,
    session: Option<ClientSession>,
}

/// A fetch waits no longer than this, whatever it asks for.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// Leaders that were asked to wait as long as the client does answer a little later. One that does not answer at all holds
/// up the others' partitions no longer than this.
const GRACE: Duration = Duration::from_millis(200);
/// Where a partition has no leader, or not one that answers, the client hears of it this late.
const NO_LEADER_WAIT: Duration = Duration::from_millis(100);
/// Too little time to be worth asking a leader again.
const WORTH_ASKING: Duration = Duration::from_millis(5);
/// However many leaders share what a client takes at once.
const LEADER_BYTES_MIN: i32 = 1 << 20;

pub(super) fn handle(
    front: &Arc<Front>,
    fetching: &Arc<tokio::sync::Mutex<Fetching>>,
    frame: &RequestFrame,
) -> Result<Reply, FrameError> {
    let request: FetchRequest = frame.decode_body()?;
    let form = (frame.version, frame.correlation_id);
    let (front, fetching) = (front.clone(), fetching.clone());
    let client_id = frame.client_id.clone().unwrap_or_default();
    let began = Instant::now();
    let answer = async move {
        let fetching = &mut *fetching.lock().await;
        fetching.answer(&front, &client_id, request, form, began).await
    };
    Ok(Reply::Later(answer.boxed()))
}

impl Fetching {
    async fn answer(
        &mut self,
        front: &Front,
        client_id: &StrBytes,
        mut request: FetchRequest,
        (version, correlation_id): (i16, i32),
        began: Instant,
    ) -> Result<Response, FrameError> {
        let form = match session::take_in(&mut self.session, &mut request, new_session_id) {
            Ok(form) => form,
            Err(code) => {
                let refused = FetchResponse::default().with_error_code(code.code());
                return encoded(&refused, version, correlation_id);
            }
        };
        // An answer may have less than was asked for (KIP-74).
        request.max_bytes = front.budget.share(request.max_bytes);
        let plan = Plan::new(&front.image.load(), &request);
        self.gather(front, client_id, &plan, &request, began).await;
        let (mut response, records) =
            self.hand_out(&request).respond(front, &plan, &self.known, &request, version);
        if let (Some(session), Form::Whole | Form::Changes) = (&mut self.session, form) {
            session.tell(&mut response, form);
        }
        let bytes = records.iter().map(Bytes::len).sum::<usize>();
        front.traffic.fetched_bytes.increment(bytes as u64);
        let encoded = wire::encode_response(&response, version, correlation_id)?;
        Ok(Response::around(encoded, records).holding(front.budget.hold(bytes)))
    }

    /// Asks whoever is not asked yet, and waits until there is enough.
    async fn gather(
        &mut self,
        front: &Front,
        client_id: &StrBytes,
        plan: &Plan,
        request: &FetchRequest,
        began: Instant,
    ) {
        // Who wants nothing in particular waits for nothing.
        let waits = if request.min_bytes > 0 { request.max_wait_ms } else { 0 };
        let wait = Duration::from_millis(u64::try_from(waits).unwrap_or(0)).min(WAIT_MAX);
        let mut patience = Patience { deadline: began + wait, grace: GRACE };
        if plan.has_refusals() {
            patience.shorten();
        }
        self.leave_others(plan);
        self.known.trim(request.topics.iter().map(|t| t.partitions.len()).sum());
        let limits = limits(request, plan.by_leader.len());
        self.ask(plan, client_id, limits, wait);
        loop {
            let (bytes, urgent) = self.weigh();
            let is_enough = bytes >= usize::try_from(request.min_bytes).unwrap_or(0).max(1);
            if urgent || is_enough || front.stopping.is_cancelled() {
                break;
            }
            match self.next_answer(&patience, bytes > 0, front).await {
                Next::Nothing => break,
                Next::Failed => patience.shorten(),
                Next::Answer => {
                    let left = patience.deadline.saturating_duration_since(Instant::now());
                    if left > WORTH_ASKING {
                        self.ask(plan, client_id, limits, left);
                    }
                }
            }
        }
    }

    /// What has come, as far as the client takes it at once.
    fn hand_out(&mut self, request: &FetchRequest) -> Gathered {
        let mut gathered = Gathered::default();
        let mut left = usize::try_from(request.max_bytes).unwrap_or(0);
        for leader in self.leaders.values_mut() {
            let Some(answer) = leader.answered() else { continue };
            let (bytes, urgent) = weigh(answer);
            // The first one fits always; what does not is there for the next request.
            if bytes > left && left < usize::try_from(request.max_bytes).unwrap_or(0) && !urgent {
                continue;
            }
            left = left.saturating_sub(bytes);
            if let Some((asked, answer)) = leader.take() {
                gathered.add(asked, answer);
            }
        }
        gathered
    }

    /// What was asked of other leaders is not wanted now. Their connections are kept: a consumer that has enough of one
    /// partition leaves it out for a while.
    fn leave_others(&mut self, plan: &Plan) {
        self.leaders.retain(|address, leader| {
            let is_wanted = plan.by_leader.contains_key(address);
            if !is_wanted {
                leader.abandon();
            }
            is_wanted || leader.is_connected()
        });
    }

    /// Asks every leader of whom this is not asked yet.
    fn ask(&mut self, plan: &Plan, client_id: &StrBytes, limits: Limits, wait: Duration) {
        for (address, topics) in &plan.by_leader {
            // The address is copied only for a leader that is new.
            match self.leaders.get_mut(address) {
                Some(leader) => leader.want(address, client_id, limits, topics, wait),
                None => {
                    let leader = self.leaders.entry(address.clone()).or_default();
                    leader.want(address, client_id, limits, topics, wait);
                }
            }
        }
    }

    /// What has come: bytes of records, and whether there is something that cannot wait.
    fn weigh(&self) -> (usize, bool) {
        let answers = self.leaders.values().filter_map(Leader::answered).map(weigh);
        answers.fold((0, false), |(bytes, urgent), (more, also)| (bytes + more, urgent || also))
    }

    /// Waits for one more answer. What is there already is not held back once the time is up; if nothing is, leaders may be
    /// about to say so.
    async fn next_answer(&mut self, patience: &Patience, has_some: bool, front: &Front) -> Next {
        let (addresses, exchanges): (Vec<_>, Vec<_>) = self
            .leaders
            .iter_mut()
            .filter_map(|(address, leader)| Some((address.clone(), leader.under_way()?)))
            .unzip();
        let grace = if has_some || exchanges.is_empty() { Duration::ZERO } else { patience.grace };
        let time_is_up = tokio::time::sleep_until(patience.deadline + grace);
        if exchanges.is_empty() {
            // Not at once: the client would ask again at once.
            tokio::select! {
                () = time_is_up => {}
                () = front.stopping.cancelled() => {}
            }
            return Next::Nothing;
        }
        let (ended, index) = tokio::select! {
            biased;
            (ended, index, _) = select_all(exchanges) => (ended, index),
            () = time_is_up => return Next::Nothing,
            () = front.stopping.cancelled() => return Next::Nothing,
        };
        let next = match &ended.1 {
            Ok(response) => {
                self.known.learn(response);
                Next::Answer
            }
            Err(_) => Next::Failed,
        };
        if let Some(leader) = self.leaders.get_mut(&addresses[index]) {
            let is_empty = ended.1.is_ok() && weigh(&ended.1) == (0, false);
            leader.ended(ended);
            if is_empty {
                leader.take();
            }
        }
        next
    }
}

/// What came of waiting.
enum Next {
    Answer,
    /// A leader was not reached, or its answer was lost.
    Failed,
    Nothing,
}

/// How long a client is kept waiting.
struct Patience {
    deadline: Instant,
    grace: Duration,
}

impl Patience {
    /// There is bad news: soon, but not at once, since the client asks again at once.
    fn shorten(&mut self) {
        self.deadline = self.deadline.min(Instant::now() + NO_LEADER_WAIT);
        self.grace = Duration::ZERO;
    }
}

/// Positive, and not one that a client may still hold from elsewhere.
fn new_session_id() -> i32 {
    let (high, _) = uuid::Uuid::new_v4().as_u64_pair();
    ((high as i32) & i32::MAX).max(1)
}

/// What each leader is asked for: together not much more than the client takes.
fn limits(request: &FetchRequest, leaders: usize) -> Limits {
    let leaders = i32::try_from(leaders).unwrap_or(i32::MAX).max(1);
    Limits {
        min_bytes: request.min_bytes,
        max_bytes: request.max_bytes.min((request.max_bytes / leaders).max(LEADER_BYTES_MIN)),
        isolation_level: request.isolation_level,
    }
}
