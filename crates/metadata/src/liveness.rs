use std::collections::BTreeMap;

use domain::{NodeEpoch, NodeId};

/// The times that decide when a node counts as gone, all in milliseconds of a monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LivenessConfig {
    /// A node that is silent for so long is fenced.
    pub session_timeout_ms: u64,
    /// A node whose stream ended without a goodbye (its process died) is fenced when it has not been heard of for so long,
    /// and has not come back for a quarter of it. It counts from the last heartbeat, as leases do that a node holds by its
    /// heartbeats: so none outlives the fencing.
    pub grace_ms: u64,
}

impl Default for LivenessConfig {
    fn default() -> Self {
        Self { session_timeout_ms: 3_000, grace_ms: 200 }
    }
}

/// The sessions of the storage nodes, as the controller's leader keeps them in memory (DESIGN §3).
#[derive(Debug)]
pub struct Liveness {
    config: LivenessConfig,
    in_office_since_ms: u64,
    /// When the deadlines were looked at last.
    looked_ms: u64,
    sessions: BTreeMap<NodeId, Session>,
}

/// A look that comes so much later than the one before finds the controller itself at fault: it slept (SIGSTOP, a
/// starved machine), and heartbeats wait unread.
const LATE_MS: u64 = 500;

/// With one that is silent for the whole session timeout, those go that lack no more than this part of it.
const TOGETHER: u64 = 6;

#[derive(Debug)]
struct Session {
    epoch: NodeEpoch,
    heard_ms: u64,
    broken_ms: Option<u64>,
}

impl Session {
    /// When the grace of a broken stream is over.
    fn fenced_at_ms(&self, config: &LivenessConfig) -> Option<u64> {
        let broken_ms = self.broken_ms?;
        Some((self.heard_ms + config.grace_ms).max(broken_ms + config.grace_ms / 4))
    }
}

/// A node to be fenced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    pub node: NodeId,
    pub epoch: NodeEpoch,
    pub reason: FenceReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FenceReason {
    /// The stream ended and the node did not come back within the grace.
    StreamEnded,
    /// Nothing was heard for the session timeout.
    Silent,
}

impl Liveness {
    /// A new leader knows no deadlines: every node that is not fenced gets a whole session from now.
    pub fn take_office(
        config: LivenessConfig,
        now_ms: u64,
        nodes: impl IntoIterator<Item = (NodeId, NodeEpoch)>,
    ) -> Self {
        let session = |epoch| Session { epoch, heard_ms: now_ms, broken_ms: None };
        let sessions = nodes.into_iter().map(|(node, epoch)| (node, session(epoch))).collect();
        Self { config, in_office_since_ms: now_ms, looked_ms: now_ms, sessions }
    }

    /// A heartbeat came. An older incarnation's is ignored.
    pub fn heard(&mut self, now_ms: u64, node: NodeId, epoch: NodeEpoch) {
        if self.sessions.get(&node).is_none_or(|s| s.epoch <= epoch) {
            self.sessions.insert(node, Session { epoch, heard_ms: now_ms, broken_ms: None });
        }
    }

    /// The node's stream ended without a goodbye.
    pub fn stream_ended(&mut self, now_ms: u64, node: NodeId, epoch: NodeEpoch) {
        if let Some(session) = self.sessions.get_mut(&node).filter(|s| s.epoch == epoch) {
            session.broken_ms.get_or_insert(now_ms);
        }
    }

    /// Every node that is not fenced has a deadline: one that was forgotten, and that a late heartbeat brought back after its
    /// goodbye, would count as active for good, and its place be taken.
    pub fn expect(&mut self, now_ms: u64, nodes: impl IntoIterator<Item = (NodeId, NodeEpoch)>) {
        for (node, epoch) in nodes {
            if self.sessions.get(&node).is_none_or(|s| s.epoch < epoch) {
                self.sessions.insert(node, Session { epoch, heard_ms: now_ms, broken_ms: None });
            }
        }
    }

    /// The node was fenced or said goodbye; it has no deadline until it is heard of again.
    pub fn forget(&mut self, node: NodeId, epoch: NodeEpoch) {
        if self.sessions.get(&node).is_some_and(|s| s.epoch == epoch) {
            self.sessions.remove(&node);
        }
    }

    /// Who is to be fenced by now. A broken stream counts only for a leader longer in office than the session
    /// timeout, and not when over a quarter of the nodes (and more than one) broke at once: then the fault is more
    /// likely on the controller's side, and silence decides. To be called every few dozen milliseconds: a longer time
    /// between two calls is nobody's silence.
    pub fn due(&mut self, now_ms: u64) -> Vec<Fence> {
        let slept_ms = now_ms.saturating_sub(self.looked_ms);
        self.looked_ms = now_ms;
        if slept_ms >= LATE_MS {
            for session in self.sessions.values_mut() {
                session.heard_ms = now_ms.min(session.heard_ms.saturating_add(slept_ms));
                session.broken_ms = session.broken_ms.map(|at| now_ms.min(at.saturating_add(slept_ms)));
            }
        }
        let settled = now_ms.saturating_sub(self.in_office_since_ms) > self.config.session_timeout_ms;
        let broken = self.sessions.values().filter(|s| s.broken_ms.is_some()).count();
        let few = broken <= 1 || broken * 4 <= self.sessions.len();
        // Machines that lose their power together are silent for nearly as long; one that is fenced a moment later would
        // be taken for the last that had everything.
        let timeout_ms = self.config.session_timeout_ms;
        let silence_ms = |session: &Session| now_ms.saturating_sub(session.heard_ms);
        let one_is_silent = self.sessions.values().any(|s| silence_ms(s) >= timeout_ms);
        let silent_ms = if one_is_silent { timeout_ms - timeout_ms / TOGETHER } else { timeout_ms };
        self.sessions
            .iter()
            .filter_map(|(node, session)| {
                let broken = session.fenced_at_ms(&self.config).is_some_and(|at| now_ms >= at);
                let silent = silence_ms(session) >= silent_ms;
                let reason = match (broken && settled && few, silent) {
                    (true, _) => FenceReason::StreamEnded,
                    (_, true) => FenceReason::Silent,
                    _ => return None,
                };
                Some(Fence { node: *node, epoch: session.epoch, reason })
            })
            .collect()
    }

    /// When the first grace that is running now is over: [`Liveness::due`] is to be called then, and not at the next tick.
    pub fn grace_over_ms(&self) -> Option<u64> {
        self.sessions.values().filter_map(|s| s.fenced_at_ms(&self.config)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: NodeEpoch = NodeEpoch(7);

    fn office(nodes: i32) -> Liveness {
        Liveness::take_office(LivenessConfig::default(), 0, (0..nodes).map(|n| (NodeId(n), EPOCH)))
    }

    fn fence(node: i32, reason: FenceReason) -> Fence {
        Fence { node: NodeId(node), epoch: EPOCH, reason }
    }

    fn all_heard(liveness: &mut Liveness, now_ms: u64, nodes: i32) {
        (0..nodes).for_each(|n| liveness.heard(now_ms, NodeId(n), EPOCH));
    }

    /// Looks every 50 ms, as the controller does, and returns what the last look found.
    fn due_at(liveness: &mut Liveness, now_ms: u64) -> Vec<Fence> {
        while liveness.looked_ms + 50 < now_ms {
            liveness.due(liveness.looked_ms + 50);
        }
        liveness.due(now_ms)
    }

    /// All nodes were fenced when the controller's leader was stopped for longer than the session timeout and went on.
    #[test]
    fn a_controller_that_slept_does_not_blame_the_nodes() {
        let mut liveness = office(2);
        assert_eq!(due_at(&mut liveness, 1_000), []);
        assert_eq!(liveness.due(9_000), []);
        liveness.heard(9_010, NodeId(1), EPOCH);
        assert_eq!(due_at(&mut liveness, 10_999), []);
        assert_eq!(due_at(&mut liveness, 11_000), [fence(0, FenceReason::Silent)]);
    }

    #[test]
    fn a_silent_node_is_fenced_after_the_session_timeout() {
        let mut liveness = office(2);
        liveness.heard(1_000, NodeId(1), EPOCH);
        assert_eq!(due_at(&mut liveness, 2_999), []);
        assert_eq!(due_at(&mut liveness, 3_000), [fence(0, FenceReason::Silent)]);
    }

    /// Their last heartbeats came at different times; whoever was fenced last would be taken for the last in sync.
    #[test]
    fn machines_that_lose_their_power_together_are_fenced_together() {
        let mut liveness = office(3);
        for (node, heard_ms) in [(0, 5_000), (1, 5_090), (2, 5_501)] {
            liveness.heard(heard_ms, NodeId(node), EPOCH);
        }
        assert_eq!(due_at(&mut liveness, 7_999), []);
        let together = [fence(0, FenceReason::Silent), fence(1, FenceReason::Silent)];
        assert_eq!(due_at(&mut liveness, 8_000), together, "the third may only be slow");
    }

    #[test]
    fn an_ended_stream_is_fenced_after_the_grace() {
        let mut liveness = office(1);
        all_heard(&mut liveness, 5_000, 1);
        liveness.stream_ended(5_010, NodeId(0), EPOCH);
        assert_eq!(liveness.grace_over_ms(), Some(5_200));
        assert_eq!(due_at(&mut liveness, 5_199), []);
        assert_eq!(due_at(&mut liveness, 5_200), [fence(0, FenceReason::StreamEnded)]);
    }

    #[test]
    fn a_node_whose_stream_broke_long_after_its_last_heartbeat_may_still_come_back() {
        let mut liveness = office(1);
        all_heard(&mut liveness, 5_000, 1);
        liveness.stream_ended(6_000, NodeId(0), EPOCH);
        assert_eq!(due_at(&mut liveness, 6_049), []);
        assert_eq!(due_at(&mut liveness, 6_050), [fence(0, FenceReason::StreamEnded)]);
    }

    #[test]
    fn a_node_that_comes_back_within_the_grace_stays() {
        let mut liveness = office(1);
        all_heard(&mut liveness, 5_000, 1);
        liveness.stream_ended(5_010, NodeId(0), EPOCH);
        liveness.heard(5_100, NodeId(0), EPOCH);
        assert_eq!(due_at(&mut liveness, 5_500), []);
    }

    #[test]
    fn a_new_leader_does_not_trust_ended_streams() {
        let mut liveness = office(1);
        liveness.heard(100, NodeId(0), EPOCH);
        liveness.stream_ended(110, NodeId(0), EPOCH);
        assert_eq!(due_at(&mut liveness, 400), []);
    }

    /// Seed 3536573: unfenced by a heartbeat that came behind its goodbye, a node that was gone was active for ever.
    #[test]
    fn a_node_that_was_forgotten_and_is_active_is_fenced_when_it_is_silent() {
        let mut liveness = office(1);
        liveness.forget(NodeId(0), EPOCH);
        assert_eq!(due_at(&mut liveness, 4_000), []);
        liveness.expect(4_000, [(NodeId(0), EPOCH)]);
        liveness.expect(6_000, [(NodeId(0), EPOCH)]);
        assert_eq!(due_at(&mut liveness, 6_999), []);
        assert_eq!(due_at(&mut liveness, 7_000), [fence(0, FenceReason::Silent)]);
    }

    #[test]
    fn many_streams_ending_at_once_are_the_controllers_fault() {
        let mut liveness = office(4);
        all_heard(&mut liveness, 5_000, 4);
        liveness.stream_ended(5_010, NodeId(0), EPOCH);
        liveness.stream_ended(5_010, NodeId(1), EPOCH);
        assert_eq!(due_at(&mut liveness, 6_000), []);
    }

    #[test]
    fn an_older_incarnation_changes_nothing() {
        let mut liveness = office(1);
        liveness.heard(5_000, NodeId(0), NodeEpoch(8));
        liveness.stream_ended(5_010, NodeId(0), EPOCH);
        liveness.heard(9_000, NodeId(0), EPOCH);
        assert_eq!(due_at(&mut liveness, 7_999), []);
        assert_eq!(due_at(&mut liveness, 8_000).len(), 1);
    }
}
