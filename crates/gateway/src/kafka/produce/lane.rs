use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use transport::{CallError, Client, Pending};
use wire::{StrBytes, messages::ProduceRequest};

use super::order::LaneId;

/// The pipelines of one connection, one for each leader.
#[derive(Default)]
pub(super) struct Lanes {
    by_address: HashMap<String, Lane>,
    last_id: u64,
}

/// One connection to a leader, whose requests leave in their order. It is never made anew: what was under way when it ended
/// must be known to have failed before anything goes another way.
#[derive(Clone)]
pub(super) struct Lane {
    pub(super) id: LaneId,
    jobs: mpsc::UnboundedSender<Job>,
    connected: Arc<OnceLock<Option<Client>>>,
}

struct Job {
    request: ProduceRequest,
    slices: Vec<Bytes>,
    begun: oneshot::Sender<Begun>,
}

pub(super) type Begun = Result<Pending<ProduceRequest>, CallError>;

/// Names topics by their ids: what goes by a name would be written to the topic that has it by now.
const VERSION: i16 = 13;

impl Lanes {
    /// The lane to this leader.
    pub(super) fn to(&mut self, address: &str, client_id: &StrBytes) -> Lane {
        if let Some(lane) = self.by_address.get(address).filter(|lane| !lane.has_ended()) {
            return lane.clone();
        }
        // Leaders that are gone are forgotten, too.
        self.by_address.retain(|_, lane| !lane.has_ended());
        self.last_id += 1;
        let lane = Lane::open(LaneId(self.last_id), address.to_owned(), client_id.clone());
        self.by_address.insert(address.to_owned(), lane.clone());
        lane
    }
}

impl Lane {
    /// Puts a request, whose placeholders stand for the slices, behind those that were sent on this lane before.
    pub(super) fn send(&self, request: ProduceRequest, slices: Vec<Bytes>) -> oneshot::Receiver<Begun> {
        let (begun, begins) = oneshot::channel();
        // A lane that has ended drops it, which says that it was not sent.
        let _ = self.jobs.send(Job { request, slices, begun });
        begins
    }

    fn open(id: LaneId, address: String, client_id: StrBytes) -> Self {
        let (jobs, incoming) = mpsc::unbounded_channel();
        let connected = Arc::new(OnceLock::new());
        tokio::spawn(run(address, client_id, incoming, connected.clone()));
        Self { id, jobs, connected }
    }

    fn has_ended(&self) -> bool {
        let connected = self.connected.get();
        connected.is_some_and(|client| client.as_ref().is_none_or(Client::has_ended)) || self.jobs.is_closed()
    }
}

async fn run(
    address: String,
    client_id: StrBytes,
    mut jobs: mpsc::UnboundedReceiver<Job>,
    connected: Arc<OnceLock<Option<Client>>>,
) {
    let client = Client::connect(&address, &client_id).await;
    drop(client_id);
    let _ = connected.set(client.as_ref().ok().cloned());
    let client = match client {
        Ok(client) => client,
        Err(error) => return fail(jobs, error).await,
    };
    while let Some(job) = jobs.recv().await {
        let begun = client.begin(&job.request, VERSION, job.slices).await;
        let failed = begun.as_ref().err().cloned();
        let _ = job.begun.send(begun);
        // What is wrong with one request only is not wrong with the connection.
        if let Some(error @ (CallError::NotSent { .. } | CallError::Lost { .. })) = failed {
            return fail(jobs, error).await;
        }
    }
}

async fn fail(mut jobs: mpsc::UnboundedReceiver<Job>, error: CallError) {
    jobs.close();
    while let Some(job) = jobs.recv().await {
        let _ = job.begun.send(Err(error.clone()));
    }
}
