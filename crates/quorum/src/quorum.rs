use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use metadata::{Command, Delta, Image};
use openraft::{ChangeMembers, Config, ServerState, SnapshotPolicy};
use serde::Serialize;
use tokio::{
    sync::{broadcast, mpsc, oneshot, watch},
    task::JoinHandle,
};

use crate::{
    Member, PeerError, Peers, ProposeError, QuorumError, RaftId, RaftRpc,
    log_store::LogStore,
    machine::{Machine, Published},
    network::{Network, SnapshotMessage},
    propose::{Proposal, Proposed, write_batches},
    sqlite::{Clock, Database},
    types::{Raft, Types},
};

/// What a member needs to know of itself.
#[derive(Clone, Debug)]
pub struct QuorumConfig {
    pub dir: PathBuf,
    pub ordinal: u32,
    pub heartbeat_interval_ms: u64,
    /// A follower that hears nothing for a random time between these stands for election.
    pub election_timeout_ms_min: u64,
    pub election_timeout_ms_max: u64,
    /// A snapshot is made after so many entries.
    pub snapshot_every: u64,
}

/// Who leads, as this member knows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    pub term: u64,
    pub leader: Option<RaftId>,
    /// This member leads and a majority has confirmed it.
    pub is_me: bool,
}

/// One member of the controller group.
pub struct Quorum {
    raft: Raft,
    id: RaftId,
    ordinal: u32,
    published: Published,
    proposals: mpsc::Sender<Proposal>,
    leadership: watch::Receiver<Leadership>,
    tasks: [JoinHandle<()>; 2],
}

/// How long a proposal waits for a majority before its outcome counts as unknown.
pub(crate) const COMMIT_WAIT_MAX: Duration = Duration::from_secs(4);

impl QuorumConfig {
    pub fn new(dir: PathBuf, ordinal: u32) -> Self {
        Self {
            dir,
            ordinal,
            heartbeat_interval_ms: 100,
            election_timeout_ms_min: 500,
            election_timeout_ms_max: 1_000,
            snapshot_every: 1_000,
        }
    }
}

impl Quorum {
    /// Opens the store and starts raft. `fresh_id` becomes this member's id if the folder is empty.
    ///
    /// # Errors
    /// The folder is another controller's, in use, of an unknown format, or its snapshot cannot be read.
    pub async fn open(
        config: QuorumConfig,
        fresh_id: RaftId,
        peers: Arc<dyn Peers>,
    ) -> Result<Self, QuorumError> {
        Self::open_on(Clock::Real, config, fresh_id, peers).await
    }

    /// As [`Quorum::open`], for a simulation on tokio's paused clock: it stands still while SQLite works.
    ///
    /// # Errors
    /// As [`Quorum::open`].
    #[doc(hidden)]
    pub async fn open_simulated(
        config: QuorumConfig,
        fresh_id: RaftId,
        peers: Arc<dyn Peers>,
    ) -> Result<Self, QuorumError> {
        Self::open_on(Clock::Simulated, config, fresh_id, peers).await
    }

    async fn open_on(
        clock: Clock,
        config: QuorumConfig,
        fresh_id: RaftId,
        peers: Arc<dyn Peers>,
    ) -> Result<Self, QuorumError> {
        let (database, id) = Database::open(&config.dir, config.ordinal, fresh_id, clock).await?;
        let published = Published::new();
        let machine = Machine::open(database.clone(), published.clone()).await.map_err(|e| {
            QuorumError::Store { path: config.dir.join("controller.sqlite"), reason: e.to_string() }
        })?;
        let raft_config = Config {
            cluster_name: "anabranch".to_owned(),
            heartbeat_interval: config.heartbeat_interval_ms,
            election_timeout_min: config.election_timeout_ms_min,
            election_timeout_max: config.election_timeout_ms_max,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(config.snapshot_every),
            max_in_snapshot_log_to_keep: config.snapshot_every / 2,
            ..Config::default()
        };
        let raft_config = raft_config.validate().map_err(|e| QuorumError::Raft(e.to_string()))?;
        let raft = Raft::new(id, Arc::new(raft_config), Network(peers), LogStore { database }, machine)
            .await
            .map_err(|e| QuorumError::Raft(e.to_string()))?;
        let (proposals, waiting) = mpsc::channel(4_096);
        let writer = tokio::spawn(write_batches(raft.clone(), waiting));
        let (leads, leadership) = watch::channel(Leadership::default());
        let tasks = [writer, tokio::spawn(follow_leadership(raft.clone(), id, leads))];
        let quorum = Self { raft, id, ordinal: config.ordinal, published, proposals, leadership, tasks };
        if quorum.voters().len() == 1 && quorum.voters().contains(&id) {
            // Nobody else could win: waiting for a timeout would only delay the start.
            let _ = quorum.raft.trigger().elect().await;
        }
        Ok(quorum)
    }

    pub fn id(&self) -> RaftId {
        self.id
    }

    pub fn ordinal(&self) -> u32 {
        self.ordinal
    }

    /// Whether this member belongs to a group yet.
    ///
    /// # Errors
    /// Raft has stopped.
    pub async fn is_initialized(&self) -> Result<bool, QuorumError> {
        self.raft.is_initialized().await.map_err(|e| QuorumError::Raft(e.to_string()))
    }

    /// Forms the group; every seed calls it with the same members.
    pub async fn initialize(&self, members: BTreeMap<RaftId, Member>) -> Result<(), QuorumError> {
        self.raft.initialize(members).await.map_err(|e| QuorumError::Raft(e.to_string()))?;
        if self.voters().len() == 1 {
            let _ = self.raft.trigger().elect().await;
        }
        Ok(())
    }

    /// Takes a new member in: as a learner until it has caught up, then as a voter in place of the one that had its
    /// ordinal. Only on the leader.
    pub async fn take_in(&self, id: RaftId, member: Member) -> Result<(), QuorumError> {
        let failed = |e: &dyn std::fmt::Display| QuorumError::Raft(e.to_string());
        let known = self.members();
        let replaced: BTreeSet<RaftId> =
            known.iter().filter(|(k, m)| **k != id && m.ordinal == member.ordinal).map(|(k, _)| *k).collect();
        // With the replaced one still there a leader died between the two steps of the change: it is finished here.
        if known.get(&id) == Some(&member) && self.voters().contains(&id) && replaced.is_empty() {
            return Ok(());
        }
        self.raft.add_learner(id, member, true).await.map_err(|e| match e.forward_to_leader() {
            Some(forward) => QuorumError::NotLeader(forward.leader_node.as_ref().map(|m| m.address.clone())),
            None => failed(&e),
        })?;
        let voters: BTreeSet<RaftId> =
            self.voters().into_iter().filter(|v| !replaced.contains(v)).chain([id]).collect();
        self.raft
            .change_membership(ChangeMembers::ReplaceAllVoters(voters), false)
            .await
            .map_err(|e| failed(&e))?;
        Ok(())
    }

    /// Has the command carried out by the group; answers once a majority holds it and it was applied here.
    pub async fn propose(&self, command: Command) -> Result<Proposed, ProposeError> {
        let (answer, answered) = oneshot::channel();
        self.proposals.send(Proposal { command, answer }).await.map_err(|_| ProposeError::Stopped)?;
        match tokio::time::timeout(COMMIT_WAIT_MAX, answered).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(ProposeError::Unknown("the controller is shutting down".to_owned())),
            Err(_) => Err(ProposeError::Unknown("no majority confirmed it in time".to_owned())),
        }
    }

    /// Whether a majority still confirms this member as its leader, asked now. If so, the image has all that was
    /// committed before.
    pub async fn confirm_leadership(&self) -> bool {
        // A leader that restarts goes on in its term, and openraft waits only for what it knows to be committed: that
        // is not known after a restart. All that is committed is in the log of whoever leads.
        let confirmed = async {
            self.raft.ensure_linearizable().await.ok()?;
            let last = self.raft.metrics().borrow().last_log_index;
            self.raft.wait(None).applied_index_at_least(last, "the log is applied").await.ok()
        };
        tokio::time::timeout(COMMIT_WAIT_MAX, confirmed).await.is_ok_and(|applied| applied.is_some())
    }

    /// The image with every command that was applied here.
    pub fn image(&self) -> Arc<Image> {
        self.published.image.borrow().clone()
    }

    /// Every delta from now on, and the image before the first of them.
    pub fn subscribe(&self) -> (Arc<Image>, broadcast::Receiver<Arc<Delta>>) {
        let deltas = self.published.deltas.subscribe();
        (self.image(), deltas)
    }

    /// Who leads, now and whenever it changes.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    pub fn members(&self) -> BTreeMap<RaftId, Member> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.nodes().map(|(id, member)| (*id, member.clone())).collect()
    }

    pub fn voters(&self) -> BTreeSet<RaftId> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.voter_ids().collect()
    }

    /// Where the leader is, if one is known.
    pub fn leader_address(&self) -> Option<String> {
        let leader = self.leadership.borrow().leader?;
        self.members().get(&leader).map(|m| m.address.clone())
    }

    /// The index of the last entry that was applied here.
    pub fn applied_index(&self) -> Option<u64> {
        self.raft.metrics().borrow().last_applied.map(|id| id.index)
    }

    /// Makes a snapshot now.
    pub async fn snapshot(&self) -> Result<(), QuorumError> {
        self.raft.trigger().snapshot().await.map_err(|e| QuorumError::Raft(e.to_string()))
    }

    /// Answers a raft call of another member.
    ///
    /// # Errors
    /// The payload cannot be read.
    pub async fn answer(&self, rpc: RaftRpc, payload: &[u8]) -> Result<Vec<u8>, PeerError> {
        let broken = |e: serde_json::Error| PeerError(format!("raft message cannot be read: {e}"));
        match rpc {
            RaftRpc::AppendEntries => {
                let request = serde_json::from_slice(payload).map_err(broken)?;
                encoded(&self.raft.append_entries(request).await)
            }
            RaftRpc::Vote => {
                let request = serde_json::from_slice(payload).map_err(broken)?;
                encoded(&self.raft.vote(request).await)
            }
            RaftRpc::InstallSnapshot => {
                let message: SnapshotMessage = serde_json::from_slice(payload).map_err(broken)?;
                let snapshot = openraft::Snapshot::<Types> {
                    meta: message.meta,
                    snapshot: Box::new(message.data.into_bytes()),
                };
                let installed = self.raft.install_full_snapshot(message.vote, snapshot).await;
                encoded(&installed.map_err(openraft::error::RaftError::<RaftId>::Fatal))
            }
        }
    }

    /// Stops raft and waits for it.
    pub async fn shutdown(&self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(%error, "raft did not stop cleanly");
        }
    }
}

fn encoded<T: Serialize>(answer: &T) -> Result<Vec<u8>, PeerError> {
    serde_json::to_vec(answer).map_err(|e| PeerError(format!("raft answer cannot be written: {e}")))
}

async fn follow_leadership(raft: Raft, id: RaftId, leads: watch::Sender<Leadership>) {
    let mut metrics = raft.metrics();
    loop {
        let now = {
            let metrics = metrics.borrow_and_update();
            Leadership {
                term: metrics.current_term,
                leader: metrics.current_leader,
                is_me: metrics.state == ServerState::Leader && metrics.current_leader == Some(id),
            }
        };
        leads.send_if_modified(|known| std::mem::replace(known, now.clone()) != now);
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
