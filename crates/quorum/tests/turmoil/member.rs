use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use domain::ClusterId;
use metadata::Command;
use quorum::{Member, Quorum, QuorumConfig, QuorumError, RaftId};

use crate::{
    history::History,
    network::{Wire, address},
    seed::Seed,
};

/// What the test and the members know of each other.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<State>>);

pub(crate) struct State {
    pub(crate) seats: Vec<Seat>,
    pub(crate) history: History,
    /// Nobody proposes but the leader, now and then, so that the members can come to the same.
    pub(crate) settling: bool,
}

/// One member's place: what its next incarnation starts with, and the one that runs.
pub(crate) struct Seat {
    pub(crate) dir: PathBuf,
    pub(crate) fresh_id: RaftId,
    /// Its folder was wiped: it must be taken in.
    pub(crate) joins: bool,
    pub(crate) snapshot_every: u64,
    pub(crate) incarnation: u32,
    pub(crate) seed: Seed,
    pub(crate) running: Option<Arc<Quorum>>,
    /// Why it could not start.
    pub(crate) stopped: Option<String>,
    pub(crate) snapshot_wanted: bool,
}

impl Shared {
    pub(crate) fn new(seats: Vec<Seat>) -> Self {
        Self(Arc::new(Mutex::new(State { seats, history: History::default(), settling: false })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

/// A member's life until it is crashed.
pub(crate) async fn run(ordinal: u32, shared: Shared) -> turmoil::Result {
    // As a task of the runtime, not of turmoil's local set: a crash ends the runtime's tasks first, and with them
    // what holds the clock while SQLite works.
    Ok(tokio::spawn(live(ordinal, shared)).await??)
}

async fn live(ordinal: u32, shared: Shared) -> std::io::Result<()> {
    let (config, fresh_id, joins, incarnation, mut seed) = {
        let mut state = shared.lock();
        let seat = &mut state.seats[ordinal as usize];
        seat.incarnation += 1;
        // With one possible value openraft's own dice are no matter: the seed throws them.
        let election_timeout_ms = seat.seed.between(500, 1_000);
        let config = QuorumConfig {
            election_timeout_ms_min: election_timeout_ms,
            election_timeout_ms_max: election_timeout_ms + 1,
            snapshot_every: seat.snapshot_every,
            ..QuorumConfig::new(seat.dir.clone(), ordinal)
        };
        (config, seat.fresh_id, seat.joins, seat.incarnation, seat.seed.fork())
    };
    let wire = Wire::bind(incarnation).await?;
    let quorum = loop {
        match Quorum::open_simulated(config.clone(), fresh_id, wire.clone()).await {
            Ok(quorum) => break Arc::new(quorum),
            // SQLite's thread of the incarnation that crashed is not through yet.
            Err(QuorumError::InUse { .. }) => {}
            Err(error) => {
                shared.lock().seats[ordinal as usize].stopped = Some(error.to_string());
                // A host that has ended is not run on, and what it held would never be let go.
                return std::future::pending().await;
            }
        }
    };
    shared.lock().seats[ordinal as usize].running = Some(quorum.clone());
    tokio::spawn(wire.clone().serve(quorum.clone()));
    enter(&quorum, &wire, joins, &shared).await;
    for _ in 0..2 {
        tokio::spawn(propose(quorum.clone(), shared.clone(), seed.fork()));
    }
    look(&quorum, &shared, seed).await;
    Ok(())
}

/// Forms the group, or has itself taken in.
async fn enter(quorum: &Quorum, wire: &Wire, joins: bool, shared: &Shared) {
    let seats: Vec<RaftId> = shared.lock().seats.iter().map(|s| s.fresh_id).collect();
    let member = |ordinal: u32| Member { ordinal, address: address(ordinal) };
    let members = (0..).zip(seats).map(|(ordinal, id)| (id, member(ordinal)));
    let own = member(quorum.ordinal());
    if !joins {
        if !quorum.is_initialized().await.unwrap_or(true) {
            // Another may have formed it meanwhile.
            let _ = quorum.initialize(members.collect()).await;
        }
        return;
    }
    let others: Vec<Member> = members.map(|(_, m)| m).filter(|m| *m != own).collect();
    // As the controller does, but also until the one that it replaces is gone.
    let replaces =
        |quorum: &Quorum| quorum.members().values().filter(|m| m.ordinal == own.ordinal).count() > 1;
    while !quorum.voters().contains(&quorum.id()) || replaces(quorum) {
        for other in &others {
            // Only the leader does it; who refuses or is silent is asked again.
            let _ = wire.join(&other.address, quorum.id(), &own).await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Proposes one command after the other, mostly while it leads.
async fn propose(quorum: Arc<Quorum>, shared: Shared, mut seed: Seed) {
    loop {
        tokio::time::sleep(Duration::from_millis(seed.between(5, 150))).await;
        let leads = quorum.leadership().borrow().is_me;
        let settling = shared.lock().settling;
        if settling {
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
        if !leads && (settling || !seed.percent(5)) {
            continue;
        }
        if quorum.image().cluster_id.is_none() {
            // Refused or not, the next look tells.
            let cluster_id = ClusterId(uuid::Uuid::from_u128(7));
            let _ = quorum.propose(Command::NameCluster { cluster_id }).await;
            continue;
        }
        let attempt = {
            let history = &mut shared.lock().history;
            if settling || seed.percent(80) { history.register() } else { history.producer_id() }
        };
        let answer = quorum.propose(attempt.command.clone()).await;
        shared.lock().history.answered(&attempt, answer);
    }
}

/// Asks again and again whether it leads, and makes the snapshots that the test wishes.
async fn look(quorum: &Quorum, shared: &Shared, mut seed: Seed) {
    loop {
        tokio::time::sleep(Duration::from_millis(seed.between(20, 300))).await;
        let (wanted, before) = {
            let mut state = shared.lock();
            let wanted = std::mem::take(&mut state.seats[quorum.ordinal() as usize].snapshot_wanted);
            (wanted, state.history.acknowledged())
        };
        if wanted {
            // It may have nothing to put into one.
            let _ = quorum.snapshot().await;
        }
        if quorum.confirm_leadership().await {
            shared.lock().history.confirmed(quorum.id(), before, &quorum.image());
        }
    }
}
