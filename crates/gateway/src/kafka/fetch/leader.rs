use std::time::Duration;

use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::Instant;
use transport::{CallError, Client};
use wire::{
    FrameError, StrBytes,
    messages::{FetchRequest, FetchResponse, fetch_request::FetchTopic},
};

use super::{
    answer::{check, weigh},
    pace::{Pace, waiting_bytes},
    plan::same,
};
use crate::kafka::budget::{Budget, HeldBytes};

/// What a connection has with one leader: at most one fetch that is wanted, under way or answered and not handed out yet.
#[derive(Default)]
pub(super) struct Leader {
    asked: Option<Asked>,
    /// How it is asked next.
    pace: Pace,
    /// For the next fetch.
    spare: Option<Client>,
    /// Fetches that nobody wants any more, while their connections are busy with them.
    abandoned: Vec<Exchange>,
}

struct Asked {
    isolation_level: i8,
    topics: Vec<FetchTopic>,
    pace: Pace,
    state: Progress,
}

enum Progress {
    UnderWay(Exchange),
    Answered(Result<FetchResponse, CallError>, Option<HeldBytes>),
}

type Exchange = BoxFuture<'static, Ended>;

/// How a fetch has ended.
pub(super) struct Ended {
    pub(super) answer: Result<FetchResponse, CallError>,
    client: Option<Client>,
    held: Option<HeldBytes>,
}

/// What a leader has answered, to be handed out.
pub(super) struct Taken {
    pub(super) asked: Vec<FetchTopic>,
    pub(super) answer: Result<FetchResponse, CallError>,
    pub(super) held: Option<HeldBytes>,
}

/// Who is asked for what.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) address: &'a str,
    pub(super) client_id: &'a StrBytes,
    pub(super) isolation_level: i8,
    pub(super) topics: &'a [FetchTopic],
}

/// How it is asked: see [`Pace`].
pub(super) enum Terms {
    Look { bytes_max: i32, share: HeldBytes },
    Wait { enough: i32, wait: Duration },
}

impl Terms {
    /// A look for no more than the client takes at once.
    pub(super) fn look(client_max: i32, share: HeldBytes) -> Self {
        let share_max = i32::try_from(share.bytes()).unwrap_or(i32::MAX);
        Self::Look { bytes_max: share_max.min(client_max.max(0)), share }
    }
}

/// The first version that names topics by their ids; later ones tell a consumer nothing more.
const VERSION: i16 = 13;
/// How long a node may take, besides what it was asked to wait.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// More connections than this are not kept for a node that is slow to let go.
const ABANDONED_MAX: usize = 2;

impl Leader {
    /// Wants these: what was asked before stays, if it is the same; else it is abandoned.
    pub(super) fn want(&mut self, isolation_level: i8, topics: &[FetchTopic]) {
        let is_same = |asked: &Asked| asked.isolation_level == isolation_level && same(&asked.topics, topics);
        if !self.asked.as_ref().is_some_and(is_same) {
            self.abandon();
        }
    }

    /// How it is to be asked, unless it has been.
    pub(super) fn to_be_asked(&self) -> Option<Pace> {
        self.asked.is_none().then_some(self.pace)
    }

    /// Asks, where nothing is asked.
    pub(super) fn ask(&mut self, question: Question<'_>, terms: Terms) {
        let pace = match terms {
            Terms::Look { .. } => Pace::Look,
            Terms::Wait { .. } => Pace::Wait,
        };
        let (address, client_id) = (question.address.to_owned(), question.client_id.clone());
        let request = request(&question, &terms);
        let topics = question.topics.to_vec();
        let exchange = exchange(self.connection(), address, client_id, request, terms).boxed();
        let state = Progress::UnderWay(exchange);
        self.asked = Some(Asked { isolation_level: question.isolation_level, topics, pace, state });
    }

    /// There is no time to wait: what is there is asked for.
    pub(super) fn look_next(&mut self) {
        self.pace = Pace::Look;
    }

    /// What a look has found is not enough: it is let go, and comes again with what is waited for.
    pub(super) fn wait_for_more(&mut self) -> bool {
        let is_look = |asked: &mut Asked| {
            asked.pace == Pace::Look && matches!(asked.state, Progress::Answered(Ok(_), _))
        };
        let was_look = self.asked.take_if(is_look).is_some();
        if was_look {
            self.pace = Pace::Wait;
        }
        was_look
    }

    /// Nothing is wanted of this leader any more, or something else.
    pub(super) fn abandon(&mut self) {
        let Some(Asked { state: Progress::UnderWay(exchange), .. }) = self.asked.take() else { return };
        if self.abandoned.len() >= ABANDONED_MAX {
            drop(self.abandoned.remove(0));
        }
        self.abandoned.push(exchange);
    }

    /// Whether it holds a connection that may be of use again.
    pub(super) fn is_connected(&self) -> bool {
        !self.abandoned.is_empty() || self.spare.as_ref().is_some_and(|client| !client.has_ended())
    }

    /// Lets go of what was abandoned and has been answered since; a connection of these is kept.
    pub(super) fn clear_up(&mut self) {
        let spare = &mut self.spare;
        self.abandoned.retain_mut(|exchange| match exchange.now_or_never() {
            Some(ended) => {
                *spare = ended.client.filter(|client| !client.has_ended()).or(spare.take());
                false
            }
            None => true,
        });
    }

    /// A connection that is free: the last one, or one whose abandoned fetch was answered meanwhile.
    fn connection(&mut self) -> Option<Client> {
        self.clear_up();
        self.spare.take().filter(|client| !client.has_ended())
    }

    /// Whether a look is under way.
    pub(super) fn is_looked_at(&self) -> bool {
        let is_look =
            |asked: &Asked| asked.pace == Pace::Look && matches!(asked.state, Progress::UnderWay(_));
        self.asked.as_ref().is_some_and(is_look)
    }

    /// The fetch that is under way.
    pub(super) fn under_way(&mut self) -> Option<&mut Exchange> {
        match &mut self.asked.as_mut()?.state {
            Progress::UnderWay(exchange) => Some(exchange),
            Progress::Answered(..) => None,
        }
    }

    /// The fetch that was under way has ended so. An answer that says nothing, or that there is no room for, leaves nothing
    /// asked.
    pub(super) fn ended(&mut self, ended: Ended, budget: &Budget) {
        self.spare = ended.client;
        let (bytes, urgent) = weigh(&ended.answer);
        let held = ended.held.or_else(|| budget.try_hold(bytes));
        let has_room = held.is_some() || bytes == 0;
        // A leader that does not answer gets no share of the budget for the next time, either.
        self.pace = if has_room { Pace::after(bytes) } else { Pace::Look };
        let is_kept = has_room && (bytes > 0 || urgent || ended.answer.is_err());
        match &mut self.asked {
            Some(asked) if is_kept => asked.state = Progress::Answered(ended.answer, held),
            asked => *asked = None,
        }
    }

    pub(super) fn answered(&self) -> Option<&Result<FetchResponse, CallError>> {
        match &self.asked.as_ref()?.state {
            Progress::Answered(answer, _) => Some(answer),
            Progress::UnderWay(_) => None,
        }
    }

    /// Takes the answer, which leaves nothing asked.
    pub(super) fn take(&mut self) -> Option<Taken> {
        match self.asked.take() {
            Some(Asked { topics: asked, state: Progress::Answered(answer, held), .. }) => {
                Some(Taken { asked, answer, held })
            }
            asked => {
                self.asked = asked;
                None
            }
        }
    }
}

/// Without a session, and without a rack, which would have it name another node to read from.
fn request(question: &Question<'_>, terms: &Terms) -> FetchRequest {
    let (wait, min_bytes, bytes_max) = match terms {
        Terms::Look { bytes_max, .. } => (Duration::ZERO, 0, *bytes_max),
        Terms::Wait { enough, wait } => (*wait, *enough, waiting_bytes(*enough)),
    };
    FetchRequest::default()
        .with_max_wait_ms(i32::try_from(wait.as_millis()).unwrap_or(i32::MAX))
        .with_min_bytes(min_bytes)
        .with_max_bytes(bytes_max)
        .with_isolation_level(question.isolation_level)
        .with_session_epoch(-1)
        .with_topics(question.topics.to_vec())
}

async fn exchange(
    client: Option<Client>,
    address: String,
    client_id: StrBytes,
    request: FetchRequest,
    terms: Terms,
) -> Ended {
    let (held, wait) = match terms {
        Terms::Look { share, .. } => (Some(share), Duration::ZERO),
        Terms::Wait { wait, .. } => (None, wait),
    };
    let client = match client {
        Some(client) => Ok(client),
        None => Client::connect(&address, &client_id).await,
    };
    let client = match client {
        Ok(client) => client,
        Err(error) => return Ended { answer: Err(error), client: None, held },
    };
    let answer = match client.begin(&request, VERSION, Vec::new()).await {
        Ok(pending) => pending.answer(Instant::now() + wait + ANSWER_MAX).await,
        Err(error) => Err(error),
    };
    let answer = answer.and_then(|response| match check(&response) {
        Ok(()) => Ok(response),
        Err(error) => {
            tracing::warn!(%address, %error, "a node sent records that are none");
            let reason = error.to_string();
            Err(CallError::Broken(FrameError::Malformed { part: "records", reason }))
        }
    });
    let held = held.map(|mut held| {
        held.settle(weigh(&answer).0);
        held
    });
    // A connection on which an answer is still to come would hold up the next one.
    let client = Some(client).filter(|_| answer.is_ok());
    Ended { answer, client, held }
}
