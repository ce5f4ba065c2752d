//! Fetch: one fetch to each leader at most, and an answer as soon as there is enough from any of them.

mod answer;
mod leader;
#[cfg(test)]
mod memory_tests;
mod pace;
mod plan;
mod session;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    FutureExt,
    future::{BoxFuture, OptionFuture, select_all},
};
use tokio::{sync::Mutex, time::Instant};
use tokio_util::sync::CancellationToken;
use transport::{Reply, Response};
use wire::{
    FrameError, RequestFrame, StrBytes,
    messages::{FetchRequest, FetchResponse},
};

use self::{
    answer::{Gathered, Known, weigh},
    leader::{Leader, Question, Terms},
    pace::{Pace, enough},
    plan::Plan,
    session::{ClientSession, Form},
};
use super::{budget::HeldBytes, front::Front, reply::encoded};

/// What a connection has of fetching.
#[derive(Default)]
pub(super) struct Fetching {
    leaders: HashMap<String, Leader>,
    known: Known,
    session: Option<ClientSession>,
    /// How many fetches there were.
    count: usize,
    /// Whether somebody looks after what is kept for the next fetch.
    is_watched: bool,
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
/// A fetch for which there is no room is answered without records, this late at most.
const ROOM_WAIT: Duration = Duration::from_secs(1);
/// What was not handed out is kept for the next fetch for so long, twice that at most, and so are connections.
const KEPT: Duration = Duration::from_secs(5);

pub(super) fn handle(
    front: &Arc<Front>,
    fetching: &Arc<Mutex<Fetching>>,
    frame: &RequestFrame,
) -> Result<Reply, FrameError> {
    let request: FetchRequest = frame.decode_body()?;
    let form = (frame.version, frame.correlation_id);
    let (front, fetching) = (front.clone(), fetching.clone());
    let client_id = frame.client_id.clone().unwrap_or_default();
    let began = Instant::now();
    let answer = async move {
        let mut locked = fetching.lock().await;
        if !std::mem::replace(&mut locked.is_watched, true) {
            tokio::spawn(let_go_of_the_idle(Arc::downgrade(&fetching), front.backend.stopping.clone()));
        }
        locked.count = locked.count.wrapping_add(1);
        locked.answer(&front, &client_id, request, form, began).await
    };
    Ok(Reply::Later(answer.boxed()))
}

/// A client that fetches no more, for now, has nothing kept for it: it would take from those that do.
async fn let_go_of_the_idle(fetching: Weak<Mutex<Fetching>>, stopping: CancellationToken) {
    let mut seen = None;
    while stopping.run_until_cancelled(tokio::time::sleep(KEPT)).await.is_some() {
        let Some(fetching) = fetching.upgrade() else { return };
        // Locked, it is in the middle of a fetch.
        let Ok(mut fetching) = fetching.try_lock() else { continue };
        if seen == Some(fetching.count) {
            fetching.leaders.clear();
            fetching.is_watched = false;
            return;
        }
        seen = Some(fetching.count);
    }
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
        let plan = Plan::new(&front.backend.image.load(), &request);
        self.gather(front, client_id, &plan, &request, began).await;
        let (gathered, held) = self.hand_out(&request);
        let (mut response, records) = gathered.respond(front, &plan, &self.known, &request, version);
        if let (Some(session), Form::Whole | Form::Changes) = (&mut self.session, form) {
            session.tell(&mut response, form);
        }
        let bytes = records.iter().map(Bytes::len).sum::<usize>();
        front.traffic.fetched_bytes.increment(bytes as u64);
        let encoded = wire::encode_response(&response, version, correlation_id)?;
        Ok(Response::around(encoded, records).holding(held))
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
        let until = began + wait;
        let mut patience = Patience { deadline: until, grace: GRACE };
        if plan.has_refusals() {
            patience.shorten();
        }
        self.known.trim(request.topics.iter().map(|t| t.partitions.len()).sum());
        self.want(plan, request.isolation_level);
        if wait <= WORTH_ASKING {
            self.leaders.values_mut().for_each(Leader::look_next);
        }
        let enough = enough(request.min_bytes);
        let mut room: Option<BoxFuture<'_, Vec<HeldBytes>>> = None;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left > WORTH_ASKING {
                self.ask(plan, client_id, request, Pace::Wait, || Some(Terms::Wait { enough, wait: left }));
            }
            let (bytes, urgent) = self.weigh();
            let is_enough = i32::try_from(bytes).is_ok_and(|bytes| bytes >= enough);
            if urgent || is_enough || front.backend.stopping.is_cancelled() {
                break;
            }
            let unseen = plan.by_leader.keys().filter(|address| self.is_to_be_looked_at(address)).count();
            if unseen == 0 {
                room = None;
                if left > WORTH_ASKING && self.wait_for_more() {
                    continue;
                }
            } else if room.is_none() {
                let wanted = usize::try_from(request.max_bytes).unwrap_or(0);
                room = Some(front.budget.shares(wanted, unseen).boxed());
            }
            match self.next(&patience, bytes > 0, &mut room, front).await {
                Next::Nothing => break,
                Next::Failed => patience.shorten(),
                Next::Answer => {}
                Next::Room(shares) => {
                    room = None;
                    let mut shares = shares.into_iter();
                    let look = || shares.next().map(|share| Terms::look(request.max_bytes, share));
                    self.ask(plan, client_id, request, Pace::Look, look);
                }
            }
        }
    }

    /// What has come, as far as the client takes it at once, and the memory that it takes.
    fn hand_out(&mut self, request: &FetchRequest) -> (Gathered, Vec<HeldBytes>) {
        let (mut gathered, mut held) = (Gathered::default(), Vec::new());
        let mut left = usize::try_from(request.max_bytes).unwrap_or(0);
        for leader in self.leaders.values_mut() {
            let Some(answer) = leader.answered() else { continue };
            let (bytes, urgent) = weigh(answer);
            // The first one fits always; what does not is there for the next request.
            if bytes > left && left < usize::try_from(request.max_bytes).unwrap_or(0) && !urgent {
                continue;
            }
            left = left.saturating_sub(bytes);
            if let Some(taken) = leader.take() {
                held.extend(taken.held);
                gathered.add(taken.asked, taken.answer);
            }
        }
        (gathered, held)
    }

    /// Takes note of what is wanted of whom. What was asked of other leaders is not wanted now, but their connections are
    /// kept: a consumer that has enough of one partition leaves it out for a while.
    fn want(&mut self, plan: &Plan, isolation_level: i8) {
        self.leaders.retain(|address, leader| {
            let is_wanted = plan.by_leader.contains_key(address);
            if !is_wanted {
                leader.abandon();
            }
            leader.clear_up();
            is_wanted || leader.is_connected()
        });
        for (address, topics) in &plan.by_leader {
            // The address is copied only for a leader that is new.
            match self.leaders.get_mut(address) {
                Some(leader) => leader.want(isolation_level, topics),
                None => {
                    self.leaders.insert(address.clone(), Leader::default());
                }
            }
        }
    }

    fn is_to_be_looked_at(&self, address: &String) -> bool {
        self.leaders.get(address).and_then(Leader::to_be_asked) == Some(Pace::Look)
    }

    /// Asks the leaders that are to be asked in this way, as long as there are terms for it. Another one is the first each
    /// time: while there is little room, all get their turn.
    fn ask(
        &mut self,
        plan: &Plan,
        client_id: &StrBytes,
        request: &FetchRequest,
        pace: Pace,
        mut terms: impl FnMut() -> Option<Terms>,
    ) {
        let leaders = plan.by_leader.len();
        let first = self.count % leaders.max(1);
        for (address, topics) in plan.by_leader.iter().cycle().skip(first).take(leaders) {
            let Some(leader) = self.leaders.get_mut(address) else { continue };
            if leader.to_be_asked() != Some(pace) {
                continue;
            }
            let Some(terms) = terms() else { return };
            let isolation_level = request.isolation_level;
            leader.ask(Question { address, client_id, isolation_level, topics }, terms);
        }
    }

    /// Once all leaders have been looked at, and all that they have is not enough, it is waited for.
    fn wait_for_more(&mut self) -> bool {
        // All of them, and not only the first.
        !self.leaders.values().any(Leader::is_looked_at)
            && self.leaders.values_mut().map(Leader::wait_for_more).filter(|waits| *waits).count() > 0
    }

    /// What has come: bytes of records, and whether there is something that cannot wait.
    fn weigh(&self) -> (usize, bool) {
        let answers = self.leaders.values().filter_map(Leader::answered).map(weigh);
        answers.fold((0, false), |(bytes, urgent), (more, also)| (bytes + more, urgent || also))
    }

    /// Waits for one more answer, or for room for one. What is there already is not held back once the time is up; if nothing
    /// is, leaders may be about to say so.
    async fn next(
        &mut self,
        patience: &Patience,
        has_some: bool,
        room: &mut Option<BoxFuture<'_, Vec<HeldBytes>>>,
        front: &Front,
    ) -> Next {
        let (addresses, exchanges): (Vec<_>, Vec<_>) = self
            .leaders
            .iter_mut()
            .filter_map(|(address, leader)| Some((address.clone(), leader.under_way()?)))
            .unzip();
        let grace = match (has_some, room.is_some(), exchanges.is_empty()) {
            (true, ..) | (false, false, true) => Duration::ZERO,
            (false, true, _) => ROOM_WAIT,
            (false, false, false) => patience.grace,
        };
        // Even if nobody was asked: at once, the client would ask again at once.
        let time_is_up = tokio::time::sleep_until(patience.deadline + grace);
        let answer = OptionFuture::from((!exchanges.is_empty()).then(|| select_all(exchanges)));
        let (ended, index) = tokio::select! {
            biased;
            Some((ended, index, _)) = answer => (ended, index),
            Some(shares) = OptionFuture::from(room.as_mut()) => return Next::Room(shares),
            () = time_is_up => return Next::Nothing,
            () = front.backend.stopping.cancelled() => return Next::Nothing,
        };
        let next = match &ended.answer {
            Ok(response) => {
                self.known.learn(response);
                Next::Answer
            }
            Err(_) => Next::Failed,
        };
        if let Some(leader) = self.leaders.get_mut(&addresses[index]) {
            leader.ended(ended, &front.budget);
        }
        next
    }
}

/// What came of waiting.
enum Next {
    Answer,
    /// A leader was not reached, or its answer was lost.
    Failed,
    /// There is room for so many leaders' answers.
    Room(Vec<HeldBytes>),
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
