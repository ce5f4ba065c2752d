//! What can happen in a state.

use std::fmt;

use crate::{
    bounds::Bounds,
    ids::{LeaderEpoch, NodeId, NodeSet},
    mutation::Mutation,
    replica::{Fetch, Lead, Role},
    state::State,
};

/// One step. `elect` is the controller's choice among the nodes that may lead, none if it has none to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A leader appends a record.
    Append(NodeId),
    /// A follower's fetch request reaches its leader.
    Fetch(NodeId),
    /// A follower takes the answer to its fetch.
    Take(NodeId),
    /// Under `Mutation::NoEpochFencing`: a follower takes the answer of an earlier leader.
    TakeLate(NodeId),
    /// A request of an earlier incarnation or epoch of this follower reaches the leader.
    LateFetch(NodeId),
    /// A node adopts the controller's present state, whatever it missed.
    Adopt(NodeId),
    /// Under `Mutation::OlderStateAfterRestart`: a restarted node adopts the state under the leader before.
    AdoptPast(NodeId),
    /// A leader adopts the answer to its proposal.
    AdoptAnswer(NodeId),
    /// Under `Mutation::MinIsrApart`: the config message arrives.
    AdoptMinIsr(NodeId),
    /// A leader proposes an ISR.
    Propose(NodeId, NodeSet),
    /// A proposal reaches the controller; `usize` is its place in the network.
    Decide(usize),
    /// The controller fences a node that may well be alive.
    Fence(NodeId, Option<NodeId>),
    /// The controller unfences a node.
    Unfence(NodeId, Option<NodeId>),
    /// The leadership goes to another ISR member.
    HandOver(NodeId),
    /// Killed and restarted; the disk is proven intact.
    Kill(NodeId, Option<NodeId>),
    /// Lost power and restarted with what was synced: the records below the offset.
    PowerCut(NodeId, u8, Option<NodeId>),
    /// Restarted on the disk as it was before the last incarnation, on the same boot.
    Rollback(NodeId, Option<NodeId>),
    /// `min.insync.replicas` changes.
    SetMinIsr(u8),
}

/// Every step that might be possible; those that are not lead nowhere.
pub(crate) fn actions(bounds: &Bounds, state: &State, mutation: Option<Mutation>, into: &mut Vec<Action>) {
    let choices = || [None].into_iter().chain(NodeId::all().map(Some));
    let left = &state.left;
    for node in NodeId::all() {
        let at = &state.nodes[node.index()];
        match at.role {
            Role::Leader(lead) => {
                if at.log.end() < bounds.records {
                    into.push(Action::Append(node));
                }
                if left.proposals > 0 {
                    into.extend(proposable(&lead, node).map(|isr| Action::Propose(node, isr)));
                }
                if state.answer.is_some() {
                    into.push(Action::AdoptAnswer(node));
                }
            }
            Role::Follower(_) if at.fetch == Fetch::Requested => into.push(Action::Fetch(node)),
            _ => {}
        }
        if matches!(at.fetch, Fetch::Answered(_)) {
            into.push(Action::Take(node));
        }
        if at.late_answer.is_some() {
            into.push(Action::TakeLate(node));
        }
        if at.late.is_some() {
            into.push(Action::LateFetch(node));
        }
        into.push(Action::Adopt(node));
        if state.controller.past.is_some() && at.epoch == LeaderEpoch::default() {
            into.push(Action::AdoptPast(node));
        }
        if mutation == Some(Mutation::MinIsrApart) {
            into.push(Action::AdoptMinIsr(node));
        }
        let fenced = state.controller.fenced.contains(node);
        for elect in choices() {
            if fenced {
                into.push(Action::Unfence(node, elect));
            } else if left.fences > 0 {
                into.push(Action::Fence(node, elect));
            }
            if left.kills > 0 {
                into.push(Action::Kill(node, elect));
            }
            if left.power_cuts > 0 {
                into.extend((0..at.log.end().max(1)).map(|end| Action::PowerCut(node, end, elect)));
            }
            if left.rollbacks > 0 {
                into.push(Action::Rollback(node, elect));
            }
        }
        if left.moves > 0 {
            into.push(Action::HandOver(node));
        }
    }
    into.extend((0..state.proposals.len()).filter(|at| state.proposals[*at].is_some()).map(Action::Decide));
    if left.min_isr_changes > 0 {
        into.push(Action::SetMinIsr(3 - state.controller.partition.min_isr));
    }
}

/// One member more, one less, or the same again to outrun an older proposal.
fn proposable(lead: &Lead, own: NodeId) -> impl Iterator<Item = NodeSet> {
    let (isr, again) = (lead.isr, lead.maximal != lead.isr);
    let others = NodeId::all().filter(move |node| *node != own);
    let changed = others.map(move |node| if isr.contains(node) { isr.without(node) } else { isr.with(node) });
    changed.chain(again.then_some(isr))
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let choice = |elect: &Option<NodeId>| {
            elect.map_or(String::new(), |node| format!(", and {} is elected", node.0))
        };
        match self {
            Self::Append(node) => write!(f, "{} appends", node.0),
            Self::Fetch(node) => write!(f, "the fetch of {} arrives", node.0),
            Self::Take(node) => write!(f, "{} takes the answer to its fetch", node.0),
            Self::TakeLate(node) => write!(f, "{} takes the answer of an earlier leader", node.0),
            Self::LateFetch(node) => write!(f, "a late fetch of {} arrives", node.0),
            Self::Adopt(node) => write!(f, "{} adopts the controller's state", node.0),
            Self::AdoptPast(node) => write!(f, "{} adopts the state under the leader before", node.0),
            Self::AdoptAnswer(node) => write!(f, "{} adopts a late answer", node.0),
            Self::AdoptMinIsr(node) => write!(f, "{} hears of min ISR", node.0),
            Self::Propose(node, isr) => write!(f, "{} proposes the ISR {isr}", node.0),
            Self::Decide(at) => write!(f, "proposal {at} arrives"),
            Self::Fence(node, elect) => write!(f, "{} is fenced{}", node.0, choice(elect)),
            Self::Unfence(node, elect) => write!(f, "{} is unfenced{}", node.0, choice(elect)),
            Self::HandOver(node) => write!(f, "the leadership goes to {}", node.0),
            Self::Kill(node, elect) => write!(f, "{} is killed and restarts{}", node.0, choice(elect)),
            Self::PowerCut(node, end, elect) => {
                write!(f, "{} loses power, keeps {end} records and restarts{}", node.0, choice(elect))
            }
            Self::Rollback(node, elect) => {
                write!(f, "{} restarts on an older image of its disk{}", node.0, choice(elect))
            }
            Self::SetMinIsr(min_isr) => write!(f, "min ISR becomes {min_isr}"),
        }
    }
}
