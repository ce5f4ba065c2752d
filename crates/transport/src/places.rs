use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{connection::Proof, seldom::Seldom};

/// Places beyond those for clients, for the cluster's own nodes: however many clients there are, replication goes on.
///
/// A node shows itself by the client id of its first request. Like everything that a client says of itself in this protocol
/// without authentication, that keeps out who is in the way, and not who means harm.
#[derive(Clone, Copy, Debug)]
pub struct Reserved {
    pub places: usize,
    pub client_id: &'static str,
}

/// The connections that a listener has room for.
pub(crate) struct Places {
    max: usize,
    clients: Arc<Semaphore>,
    reserved: Option<(Reserved, Arc<Semaphore>)>,
    refusals: Mutex<Seldom>,
}

/// One of them; given back when dropped.
pub(crate) struct Place {
    proof: Option<Proof>,
    _permit: OwnedSemaphorePermit,
}

/// How long a connection may hold a place that is set aside before it has shown that it may.
const PROOF_MAX: Duration = Duration::from_secs(3);

impl Places {
    pub(crate) fn new(max: usize, reserved: Option<Reserved>) -> Self {
        let semaphore = |places: usize| Arc::new(Semaphore::new(places.min(Semaphore::MAX_PERMITS)));
        Self {
            max,
            clients: semaphore(max),
            reserved: reserved.map(|reserved| (reserved, semaphore(reserved.places))),
            refusals: Mutex::default(),
        }
    }

    pub(crate) fn take(&self) -> Option<Place> {
        if let Ok(permit) = self.clients.clone().try_acquire_owned() {
            return Some(Place { proof: None, _permit: permit });
        }
        let (reserved, semaphore) = self.reserved.as_ref()?;
        let permit = semaphore.clone().try_acquire_owned().ok()?;
        let proof = Proof { client_id: reserved.client_id, until: tokio::time::Instant::now() + PROOF_MAX };
        Some(Place { proof: Some(proof), _permit: permit })
    }

    /// One line in a while says how many there were: those who try again and again would fill the log.
    pub(crate) fn refused(&self, peer: SocketAddr) {
        metrics::counter!("anabranch_kafka_connections_refused_total").increment(1);
        if let Some(refused) = self.refusals.lock().count(Instant::now()) {
            tracing::warn!(max = self.max, refused, last = %peer, "too many connections, closing further ones");
        }
    }
}

impl Place {
    pub(crate) fn proof(&self) -> Option<Proof> {
        self.proof
    }
}
