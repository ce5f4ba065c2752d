use std::time::Duration;

use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::Instant;
use transport::{CallError, Client};
use wire::{
    BrokerId, StrBytes,
    messages::{FetchRequest, FetchResponse, fetch_request::FetchTopic},
};

use super::plan::same;

/// What a connection has with one leader: at most one fetch that is wanted, under way or answered and not handed out yet.
#[derive(Default)]
pub(super) struct Leader {
    asked: Option<Asked>,
    /// For the next fetch.
    spare: Option<Client>,
    /// Fetches that nobody wants any more, while their connections are busy with them.
    abandoned: Vec<Exchange>,
}

struct Asked {
    isolation_level: i8,
    topics: Vec<FetchTopic>,
    state: Progress,
}

enum Progress {
    UnderWay(Exchange),
    Answered(Result<FetchResponse, CallError>),
}

type Exchange = BoxFuture<'static, (Option<Client>, Result<FetchResponse, CallError>)>;

/// What a fetch says beside its partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    pub(super) min_bytes: i32,
    pub(super) max_bytes: i32,
    pub(super) isolation_level: i8,
}

/// The first version that names topics by their ids; later ones tell a consumer nothing more.
const VERSION: i16 = 13;
/// How long a node may take, besides what it was asked to wait.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// More connections than this are not kept for a node that is slow to let go.
const ABANDONED_MAX: usize = 2;

impl Leader {
    /// Wants these: what was asked before stays, if it is the same; else it is abandoned, and this is asked.
    pub(super) fn want(
        &mut self,
        address: &str,
        client_id: &StrBytes,
        limits: Limits,
        topics: &[FetchTopic],
        wait: Duration,
    ) {
        let is_same =
            |asked: &Asked| asked.isolation_level == limits.isolation_level && same(&asked.topics, topics);
        if self.asked.as_ref().is_some_and(is_same) {
            return;
        }
        self.abandon();
        let client = self.connection();
        let topics = topics.to_vec();
        let exchange = exchange(client, address.to_owned(), client_id.clone(), limits, topics.clone(), wait);
        let state = Progress::UnderWay(exchange.boxed());
        self.asked = Some(Asked { isolation_level: limits.isolation_level, topics, state });
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

    /// A connection that is free: the last one, or one whose abandoned fetch was answered meanwhile.
    fn connection(&mut self) -> Option<Client> {
        if let Some(client) = self.spare.take().filter(|client| !client.has_ended()) {
            return Some(client);
        }
        let mut free = None;
        self.abandoned.retain_mut(|exchange| match exchange.now_or_never() {
            Some((client, _)) => {
                free = client.filter(|client| !client.has_ended()).or(free.take());
                false
            }
            None => true,
        });
        free
    }

    /// The fetch that is under way.
    pub(super) fn under_way(&mut self) -> Option<&mut Exchange> {
        match &mut self.asked.as_mut()?.state {
            Progress::UnderWay(exchange) => Some(exchange),
            Progress::Answered(_) => None,
        }
    }

    /// The fetch that was under way has ended so.
    pub(super) fn ended(&mut self, (client, answer): (Option<Client>, Result<FetchResponse, CallError>)) {
        self.spare = client;
        if let Some(asked) = &mut self.asked {
            asked.state = Progress::Answered(answer);
        }
    }

    pub(super) fn answered(&self) -> Option<&Result<FetchResponse, CallError>> {
        match &self.asked.as_ref()?.state {
            Progress::Answered(answer) => Some(answer),
            Progress::UnderWay(_) => None,
        }
    }

    /// Takes the answer, which leaves nothing asked.
    pub(super) fn take(&mut self) -> Option<(Vec<FetchTopic>, Result<FetchResponse, CallError>)> {
        match self.asked.take() {
            Some(Asked { topics, state: Progress::Answered(answer), .. }) => Some((topics, answer)),
            asked => {
                self.asked = asked;
                None
            }
        }
    }
}

async fn exchange(
    client: Option<Client>,
    address: String,
    client_id: StrBytes,
    limits: Limits,
    topics: Vec<FetchTopic>,
    wait: Duration,
) -> (Option<Client>, Result<FetchResponse, CallError>) {
    let client = match client {
        Some(client) => client,
        None => match Client::connect(&address, &client_id).await {
            Ok(client) => client,
            Err(error) => return (None, Err(error)),
        },
    };
    let request = FetchRequest::default()
        .with_replica_id(BrokerId(-1))
        .with_max_wait_ms(i32::try_from(wait.as_millis()).unwrap_or(i32::MAX))
        .with_min_bytes(limits.min_bytes)
        .with_max_bytes(limits.max_bytes)
        .with_isolation_level(limits.isolation_level)
        // Without a session, and without a rack, which would have it name another node to read from.
        .with_session_epoch(-1)
        .with_topics(topics);
    let answer = match client.begin(&request, VERSION, Vec::new()).await {
        Ok(pending) => pending.answer(Instant::now() + wait + ANSWER_MAX).await,
        Err(error) => Err(error),
    };
    // A connection on which an answer is still to come would hold up the next one.
    let is_free = answer.is_ok();
    (Some(client).filter(|_| is_free), answer)
}
