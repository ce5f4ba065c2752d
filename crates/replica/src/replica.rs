use domain::{LeaderEpoch, NodeEpoch, NodeId, Offset};

use crate::{FollowerFetch, LogEnd, PartitionState, Proposal, ReplicaRefusal, leader::Leader};

/// One partition on one node: its role, its high watermark and, while it leads, the ISR (KIP-101, 279, 320, 497, 841,
/// 903, 966). It decides; whoever owns it has the log and the network.
#[derive(Clone, Debug)]
pub struct Replica {
    me: NodeId,
    state: Option<PartitionState>,
    role: Role,
    high_watermark: Offset,
}

#[derive(Clone, Debug)]
enum Role {
    /// The partition has no leader, or none that is known.
    Leaderless,
    Leader(Leader),
    Follower {
        leader: NodeId,
    },
}

/// What adopting a state came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adopted {
    /// It was no newer than the one held.
    Nothing,
    /// This node leads in a new epoch. Before anything else the log notes where that begins (KAFKA-7415).
    Leads(LeaderEpoch),
    /// This node leads on; the ISR or the minimum may be others.
    LeadsOn { high_watermark_advanced: bool },
    /// This node fetches from another, from the start of a new leader epoch if that is `new`.
    Follows { leader: NodeId, new: bool },
    /// Nobody leads, or this node holds no replica any more.
    Leaderless,
}

impl Replica {
    /// A replica that knows nothing yet. `high_watermark` is a lower bound of it, from the checkpoint.
    pub fn new(me: NodeId, high_watermark: Offset) -> Self {
        Self { me, state: None, role: Role::Leaderless, high_watermark }
    }

    /// Takes over a newer state of the partition, from the metadata or from the answer to a proposal: whichever comes
    /// first; an older one changes nothing.
    pub fn adopt(&mut self, now_ms: u64, state: &PartitionState, own: LogEnd) -> Adopted {
        let held = self.state.as_ref();
        if held.is_some_and(|held| state.epoch <= held.epoch || state.leader_epoch < held.leader_epoch) {
            return Adopted::Nothing;
        }
        let new_epoch = held.is_none_or(|held| held.leader_epoch < state.leader_epoch);
        self.state = Some(state.clone());
        match (state.leader, &mut self.role) {
            (Some(leader), Role::Leader(role)) if leader == self.me && !new_epoch => {
                role.adopted(state);
                role.appended(now_ms, own);
                Adopted::LeadsOn { high_watermark_advanced: self.advance() }
            }
            // Resigned in this very epoch: only a new one brings the leadership back.
            (Some(leader), _) if leader == self.me && !new_epoch => Adopted::Nothing,
            (Some(leader), role) if leader == self.me => {
                *role = Role::Leader(Leader::new(self.me, now_ms, own));
                // The only member of an ISR has nobody to wait for.
                self.advance();
                Adopted::Leads(state.leader_epoch)
            }
            (Some(leader), role) if state.replicas.contains(&self.me) => {
                *role = Role::Follower { leader };
                Adopted::Follows { leader, new: new_epoch }
            }
            // Who holds no replica any more asks nobody: its fetch, come late, could speak for an empty log when it
            // is added again.
            (_, role) => {
                *role = Role::Leaderless;
                Adopted::Leaderless
            }
        }
    }

    /// Leads no more, until a state of a newer epoch says so: this incarnation's registration is in doubt (R6).
    pub fn resign(&mut self) {
        if matches!(self.role, Role::Leader(_)) {
            self.role = Role::Leaderless;
        }
    }

    pub fn state(&self) -> Option<&PartitionState> {
        self.state.as_ref()
    }

    /// Everything below it is committed: on every member of the ISR, and never to be truncated.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The high watermark as clients may see it. A new leader's own is behind the one that its predecessor showed, until
    /// it has passed the start of the epoch (KIP-207): `None` until then, so that what is seen never goes back (R4).
    pub fn visible_high_watermark(&self) -> Option<Offset> {
        match &self.role {
            Role::Leader(leader) if self.high_watermark < leader.epoch_start => None,
            _ => Some(self.high_watermark),
        }
    }

    /// The epoch in which this node leads, if it does.
    pub fn leads(&self) -> Option<LeaderEpoch> {
        matches!(self.role, Role::Leader(_)).then(|| self.epoch())
    }

    /// From whom and in which epoch this node fetches, if it does.
    pub fn follows(&self) -> Option<(NodeId, LeaderEpoch)> {
        match self.role {
            Role::Follower { leader } => Some((leader, self.epoch())),
            _ => None,
        }
    }

    /// Checks that this node leads, and that the caller's idea of the leader epoch, if it has one, is the same (R6).
    pub fn check_leads(&self, got: Option<LeaderEpoch>) -> Result<LeaderEpoch, ReplicaRefusal> {
        let current = self.check_epoch(got)?;
        self.leads().map(|_| current).ok_or(ReplicaRefusal::NotLeader)
    }

    /// As [`Replica::check_leads`], for what a follower may answer, too (KIP-392).
    pub fn check_serves(&self, got: Option<LeaderEpoch>) -> Result<LeaderEpoch, ReplicaRefusal> {
        let current = self.check_epoch(got)?;
        match self.role {
            Role::Leaderless => Err(ReplicaRefusal::NotLeader),
            Role::Leader(_) | Role::Follower { .. } => Ok(current),
        }
    }

    fn check_epoch(&self, got: Option<LeaderEpoch>) -> Result<LeaderEpoch, ReplicaRefusal> {
        let current = self.epoch();
        match got {
            Some(got) if got < current => Err(ReplicaRefusal::FencedEpoch { got, current }),
            Some(got) if got > current => Err(ReplicaRefusal::UnknownEpoch { got, current }),
            _ => Ok(current),
        }
    }

    fn epoch(&self) -> LeaderEpoch {
        self.state.as_ref().map_or(LeaderEpoch::UNKNOWN, |s| s.leader_epoch)
    }

    /// Whether acks=all can be promised now; to be asked before the append.
    pub fn check_enough_in_sync(&self) -> Result<(), ReplicaRefusal> {
        let Some(state) = &self.state else { return Err(ReplicaRefusal::NotLeader) };
        match enough(state) {
            true => Ok(()),
            false => Err(ReplicaRefusal::NotEnoughReplicas { isr: state.isr.len(), min: state.min_isr }),
        }
    }

    /// The leader's own log has grown or was flushed; whether the high watermark advanced.
    pub fn appended(&mut self, now_ms: u64, own: LogEnd) -> bool {
        let Role::Leader(leader) = &mut self.role else { return false };
        leader.appended(now_ms, own);
        self.advance()
    }

    /// A follower asks for what comes after its end, which agrees with this log (see
    /// [`crate::EpochCache::divergence`]). Whether the high watermark advanced, and whether the follower may join.
    pub fn fetched(&mut self, now_ms: u64, fetch: FollowerFetch) -> Result<Fetched, ReplicaRefusal> {
        self.check_leads(Some(fetch.leader_epoch))?;
        let (Some(state), Role::Leader(leader)) = (&self.state, &mut self.role) else {
            return Err(ReplicaRefusal::NotLeader);
        };
        if !state.replicas.contains(&fetch.node) {
            return Err(ReplicaRefusal::NotReplica(fetch.node));
        }
        let start_moved = leader.fetched(now_ms, fetch)?;
        let may_join = leader.may_join(state, fetch.node, self.high_watermark);
        Ok(Fetched { high_watermark_advanced: self.advance(), start_moved, may_join })
    }

    /// Below which offset nobody who may lead next has any record: how far records are deleted for good (KIP-107). `own` is
    /// where the leader's log starts. `None` unless this node leads and has heard of all of the ISR.
    pub fn low_watermark(&self, own: Offset) -> Option<Offset> {
        let (Some(state), Role::Leader(leader)) = (&self.state, &self.role) else { return None };
        Some(own.min(leader.low_watermark(state)?))
    }

    /// A follower has told that it fetches this partition no more. It joins no ISR before it fetches again, and lags if it is
    /// in one.
    pub fn left(&mut self, node: NodeId) {
        if let Role::Leader(leader) = &mut self.role {
            leader.forget(node);
        }
    }

    /// The change of the ISR that is due, to be sent to the controller; at most one is outstanding. `registered` tells
    /// the node epoch of a node that is active. Times in milliseconds.
    pub fn propose(
        &mut self,
        now_ms: u64,
        lag_max_ms: u64,
        registered: impl Fn(NodeId) -> Option<NodeEpoch>,
    ) -> Option<Proposal> {
        let (Some(state), Role::Leader(leader)) = (&self.state, &mut self.role) else { return None };
        leader.propose(now_ms, lag_max_ms, state, self.high_watermark, registered)
    }

    /// The proposal without an answer, to be sent again.
    pub fn outstanding(&self) -> Option<&Proposal> {
        match &self.role {
            Role::Leader(leader) => leader.outstanding(),
            _ => None,
        }
    }

    /// The controller refused a proposal though it was based on the newest state (a member is not eligible). What to
    /// propose instead: the ISR as it is, which rules out that a late copy is still carried out.
    pub fn refused(&mut self, registered: impl Fn(NodeId) -> Option<NodeEpoch>) -> Option<Proposal> {
        let (Some(state), Role::Leader(leader)) = (&self.state, &mut self.role) else { return None };
        leader.refused(state, registered)
    }

    /// Takes the outstanding proposal for settled, which it is not: for the simulation, to see that found.
    #[doc(hidden)]
    pub fn forget_proposal(&mut self) {
        if let Role::Leader(leader) = &mut self.role {
            leader.forget_proposal();
        }
    }

    /// A follower appended, in the epoch `asked`, what its leader answered; `high_watermark` is the leader's. To be called
    /// only after an answer without divergence, so after every truncation (KAFKA-14704). Whether it advanced.
    pub fn answered(&mut self, asked: LeaderEpoch, high_watermark: Offset, own: LogEnd) -> bool {
        if self.follows().is_none_or(|(_, epoch)| epoch != asked) {
            return false;
        }
        let known = high_watermark.min(own.end);
        let advanced = known > self.high_watermark;
        self.high_watermark = self.high_watermark.max(known);
        advanced
    }

    /// The log was cut; whether that took committed records, which only an unclean election can make right.
    pub fn truncated(&mut self, end: Offset) -> bool {
        let below = end < self.high_watermark;
        self.high_watermark = self.high_watermark.min(end);
        below
    }

    /// The follower that a consumer in its place should read from: in sync, near, with the offset (KIP-392).
    pub fn closest(&self, offset: Offset, near: impl Fn(NodeId) -> bool) -> Option<NodeId> {
        match (&self.state, &self.role) {
            (Some(state), Role::Leader(leader)) => leader.closest(state, offset, near),
            _ => None,
        }
    }

    /// Everybody who may be in sync: the adopted ISR and those proposed since. Empty where this node does not lead.
    pub fn maximal_isr(&self) -> Vec<NodeId> {
        match (&self.state, &self.role) {
            (Some(state), Role::Leader(leader)) => leader.maximal_isr(state),
            _ => Vec::new(),
        }
    }

    /// Where a follower's log ends, as its fetches in this leader epoch told.
    pub fn end_of(&self, node: NodeId) -> Option<Offset> {
        match &self.role {
            Role::Leader(leader) => leader.end_of(node),
            _ => None,
        }
    }

    /// R4: it stands still while too few are in sync, and waits for the whole maximal ISR.
    fn advance(&mut self) -> bool {
        let (Some(state), Role::Leader(leader)) = (&self.state, &self.role) else { return false };
        let committed = leader.committed(state).filter(|_| enough(state));
        let advanced = committed.filter(|end| *end > self.high_watermark);
        self.high_watermark = advanced.unwrap_or(self.high_watermark);
        advanced.is_some()
    }
}

/// What a follower's fetch changed at the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    pub high_watermark_advanced: bool,
    /// The follower's log starts elsewhere than was known: see [`Replica::low_watermark`].
    pub start_moved: bool,
    /// It has caught up and is not in the ISR: time for [`Replica::propose`].
    pub may_join: bool,
}

fn enough(state: &PartitionState) -> bool {
    state.isr.len() >= usize::try_from(state.min_isr).unwrap_or(usize::MAX)
}
