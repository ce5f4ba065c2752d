use domain::{NodeEpoch, NodeId, Offset, PartitionEpoch};

use crate::{FollowerFetch, LogEnd, PartitionState, Proposal, ReplicaRefusal};

/// A partition as its leader sees it, for as long as one leader epoch lasts.
#[derive(Clone, Debug)]
pub(crate) struct Leader {
    me: NodeId,
    /// Where the log ended when this leadership began.
    pub(crate) epoch_start: Offset,
    own: LogEnd,
    followers: Vec<Follower>,
    pending: Option<Pending>,
    began_ms: u64,
}

/// What the leader knows of a follower from its fetches in this leader epoch; from an earlier one nothing counts.
#[derive(Clone, Copy, Debug)]
struct Follower {
    node: NodeId,
    node_epoch: NodeEpoch,
    end: Offset,
    start: Offset,
    fetched_ms: u64,
    /// The leader's end at that time.
    own_end_then: Offset,
    caught_up_ms: u64,
}

/// Proposals that the controller may or may not have carried out. Until a newer state is adopted, everybody in any of
/// them counts as in sync: the maximal ISR.
#[derive(Clone, Debug)]
struct Pending {
    base: PartitionEpoch,
    proposal: Proposal,
    members: Vec<NodeId>,
}

impl Leader {
    pub(crate) fn new(me: NodeId, now_ms: u64, own: LogEnd) -> Self {
        Self { me, epoch_start: own.end, own, followers: Vec::new(), pending: None, began_ms: now_ms }
    }

    /// Who had everything until now has not begun to lag before now, however long ago it fetched last: a partition
    /// without traffic is not asked for again and again.
    pub(crate) fn appended(&mut self, now_ms: u64, own: LogEnd) {
        for follower in self.followers.iter_mut().filter(|f| f.end >= self.own.counted) {
            follower.caught_up_ms = now_ms;
        }
        self.own = own;
    }

    /// A newer state of the same leader epoch was adopted: what was proposed against an older one is settled.
    pub(crate) fn adopted(&mut self, state: &PartitionState) {
        self.pending = self.pending.take().filter(|p| p.base >= state.epoch);
        self.followers.retain(|f| state.replicas.contains(&f.node));
    }

    /// Whether the follower's log starts elsewhere than was known.
    pub(crate) fn fetched(&mut self, now_ms: u64, fetch: FollowerFetch) -> Result<bool, ReplicaRefusal> {
        let own_end_then = self.own.counted;
        let known = self.followers.iter().position(|f| f.node == fetch.node);
        let before = known.map(|at| self.followers[at]);
        if let Some(known) = before.filter(|k| k.node_epoch > fetch.node_epoch) {
            return Err(ReplicaRefusal::StaleNode {
                node: fetch.node,
                got: fetch.node_epoch,
                current: known.node_epoch,
            });
        }
        let before = before.filter(|k| k.node_epoch == fetch.node_epoch);
        // What it asks for next, it had caught up with when it last asked (KIP-16's definition of lag).
        let caught_up_ms = match before {
            _ if fetch.offset >= own_end_then => now_ms,
            Some(b) if fetch.offset >= b.own_end_then => b.caught_up_ms.max(b.fetched_ms),
            Some(b) => b.caught_up_ms,
            None => self.began_ms,
        };
        let FollowerFetch { node, node_epoch, offset: end, start, .. } = fetch;
        let fetched_ms = now_ms;
        let follower = Follower { node, node_epoch, end, start, fetched_ms, own_end_then, caught_up_ms };
        match known {
            Some(at) => self.followers[at] = follower,
            None => self.followers.push(follower),
        }
        Ok(before.is_none_or(|b| b.start != start))
    }

    /// The end that all of the maximal ISR have reached in this leader epoch; `None` while somebody has not been heard of.
    pub(crate) fn committed(&self, state: &PartitionState) -> Option<Offset> {
        let mut end = self.own.counted;
        let pending = self.pending.iter().flat_map(|p| &p.members);
        for node in state.isr.iter().chain(pending).filter(|n| **n != self.me) {
            end = end.min(self.follower(*node)?.end);
        }
        Some(end)
    }

    /// The lowest start of the in-sync followers' logs, the only ones that may lead next; `None` while somebody has not been
    /// heard of, and [`Offset`]'s maximum where there is none.
    pub(crate) fn low_watermark(&self, state: &PartitionState) -> Option<Offset> {
        let pending = self.pending.iter().flat_map(|p| &p.members);
        let mut in_sync = state.isr.iter().chain(pending).filter(|n| **n != self.me);
        in_sync.try_fold(Offset(i64::MAX), |low, node| Some(low.min(self.follower(*node)?.start)))
    }

    /// Whether a change of the ISR is due, so that [`Leader::propose`] is worth calling.
    pub(crate) fn may_join(&self, state: &PartitionState, node: NodeId, high_watermark: Offset) -> bool {
        self.pending.is_none() && !state.isr.contains(&node) && self.has_caught_up(node, high_watermark)
    }

    /// The change of the ISR that is due now, if any: who lags leaves, who has caught up joins. `registered` tells the
    /// epoch of a node that is active; nobody else may join (KIP-841), nor an earlier incarnation (KIP-903).
    pub(crate) fn propose(
        &mut self,
        now_ms: u64,
        lag_max_ms: u64,
        state: &PartitionState,
        high_watermark: Offset,
        registered: impl Fn(NodeId) -> Option<NodeEpoch>,
    ) -> Option<Proposal> {
        if self.pending.is_some() {
            return None;
        }
        let joins = |node: NodeId| {
            self.has_caught_up(node, high_watermark)
                && self.follower(node).is_some_and(|f| registered(node) == Some(f.node_epoch))
        };
        let stays = |node: NodeId| node == self.me || !self.lags(node, now_ms, lag_max_ms);
        let isr: Vec<NodeId> = state
            .replicas
            .iter()
            .copied()
            .filter(|n| if state.isr.contains(n) { stays(*n) } else { joins(*n) })
            .collect();
        let same = isr.len() == state.isr.len() && isr.iter().all(|n| state.isr.contains(n));
        if same && !state.recovering {
            return None;
        }
        let proposal = self.proposal(state, isr, registered)?;
        let members = proposal.isr.iter().map(|(node, _)| *node).collect();
        self.pending = Some(Pending { base: state.epoch, proposal: proposal.clone(), members });
        Some(proposal)
    }

    /// The proposal whose outcome is not known yet, to be sent again: comparing and setting makes that harmless.
    pub(crate) fn outstanding(&self) -> Option<&Proposal> {
        self.pending.as_ref().map(|p| &p.proposal)
    }

    /// The controller refused the proposal for good. An earlier copy of it may still be on its way, so its members count
    /// until the partition epoch has moved: the ISR as it is, proposed again, moves it.
    pub(crate) fn refused(
        &mut self,
        state: &PartitionState,
        registered: impl Fn(NodeId) -> Option<NodeEpoch>,
    ) -> Option<Proposal> {
        let unchanged = self.proposal(state, state.isr.clone(), registered)?;
        let pending = self.pending.as_mut().filter(|p| p.base == state.epoch)?;
        pending.proposal = unchanged;
        Some(pending.proposal.clone())
    }

    pub(crate) fn forget_proposal(&mut self) {
        self.pending = None;
    }

    /// `None` if a member's registration is not known here; the metadata will tell.
    fn proposal(
        &self,
        state: &PartitionState,
        isr: Vec<NodeId>,
        registered: impl Fn(NodeId) -> Option<NodeEpoch>,
    ) -> Option<Proposal> {
        let members = isr.into_iter().map(|node| Some((node, registered(node)?)));
        Some(Proposal {
            leader_epoch: state.leader_epoch,
            partition_epoch: state.epoch,
            isr: members.collect::<Option<_>>()?,
        })
    }

    fn has_caught_up(&self, node: NodeId, high_watermark: Offset) -> bool {
        self.follower(node).is_some_and(|f| f.end >= high_watermark && f.end >= self.epoch_start)
    }

    fn lags(&self, node: NodeId, now_ms: u64, lag_max_ms: u64) -> bool {
        let (caught_up_ms, end) = match self.follower(node) {
            Some(f) => (f.caught_up_ms, Some(f.end)),
            None => (self.began_ms, None),
        };
        // One that has more on disk than this leader is ahead.
        end.is_none_or(|end| end < self.own.counted) && now_ms.saturating_sub(caught_up_ms) > lag_max_ms
    }

    /// The follower fetches no more: where its log ended counts for nothing from now on.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.followers.retain(|f| f.node != node);
    }

    fn follower(&self, node: NodeId) -> Option<&Follower> {
        self.followers.iter().find(|f| f.node == node)
    }

    /// Of the nodes in question, the in-sync follower that has `offset` and the most beyond it (KIP-392).
    pub(crate) fn closest(
        &self,
        state: &PartitionState,
        offset: Offset,
        near: impl Fn(NodeId) -> bool,
    ) -> Option<NodeId> {
        let candidates = self.followers.iter().filter(|f| state.isr.contains(&f.node) && f.end >= offset);
        candidates.filter(|f| near(f.node)).max_by_key(|f| f.end).map(|f| f.node)
    }

    /// The end that a follower's last fetch in this leader epoch told.
    pub(crate) fn end_of(&self, node: NodeId) -> Option<Offset> {
        self.follower(node).map(|f| f.end)
    }

    /// Everybody who may be in sync: the adopted ISR and those proposed since.
    pub(crate) fn maximal_isr(&self, state: &PartitionState) -> Vec<NodeId> {
        let mut members = state.isr.clone();
        for node in self.pending.iter().flat_map(|p| &p.members) {
            if !members.contains(node) {
                members.push(*node);
            }
        }
        members
    }
}
