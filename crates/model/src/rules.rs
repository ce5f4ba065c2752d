//! What must hold in every state (INVARIANTS.md), and what must happen somewhere.

use std::fmt;

use crate::{
    ids::NodeId,
    replica::{Lead, Role},
    state::State,
};

/// An invariant of INVARIANTS.md, as far as the model can see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// R1: no committed record changes, every current leader holds C, and no high watermark shows anything else.
    CommittedPrefix,
    /// R2: every member of ISR ∪ ELR holds C.
    MembersHoldCommitted,
    /// R3: a current leader with |ISR| ≥ min ISR has M ⊇ the controller's ISR ∪ ELR.
    MaximalIsr,
    /// R4: the high watermark moves only with |ISR| ≥ min ISR and after all of M fetched past it in this leader epoch.
    HighWatermarkMoves,
    /// R4: once a current leader's high watermark is past its epoch's start, clients see none of C vanish.
    HighWatermarkSeen,
    /// R5: who joins the ISR is registered under the epoch it fetched with and not fenced, and no fenced node stays in.
    IsrJoin,
    /// R6: one leader for each leader epoch.
    OneLeader,
    /// R7: no replica truncates below its own high watermark, and no member of ISR ∪ ELR cuts a committed record.
    Truncation,
}

/// Rules that one step broke. Only what cannot be read from a state is noted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Breaches(pub(crate) u8);

/// Something worth reaching: a model in which it never happens proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Another node leads.
    LeaderChanged,
    /// A leader came from the ELR.
    ElrElected,
    /// A follower truncated a diverged suffix.
    Truncated,
    /// A record was committed.
    Committed,
    /// A node whose log was cut by a power loss came back into the ISR.
    UncleanRejoined,
    /// A proposal lost against another change of the partition.
    ProposalOutrun,
    /// A leader that does not know it was deposed committed a record.
    DeposedCommitted,
    /// A leader adopted an answer after the controller had moved on.
    StaleAnswer,
    /// A fetch of an earlier incarnation or leader epoch arrived at a leader.
    LateFetch,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 8] = [
        Self::CommittedPrefix,
        Self::MembersHoldCommitted,
        Self::MaximalIsr,
        Self::HighWatermarkMoves,
        Self::HighWatermarkSeen,
        Self::IsrJoin,
        Self::OneLeader,
        Self::Truncation,
    ];

    /// Its name in INVARIANTS.md and what it says, in short.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CommittedPrefix => "R1 committed records stay",
            Self::MembersHoldCommitted => "R2 ISR and ELR hold C",
            Self::MaximalIsr => "R3 M covers ISR and ELR",
            Self::HighWatermarkMoves => "R4 high watermark moves",
            Self::HighWatermarkSeen => "R4 high watermark seen",
            Self::IsrJoin => "R5 joining the ISR",
            Self::OneLeader => "R6 one leader an epoch",
            Self::Truncation => "R7 truncation spares C",
        }
    }

    /// Whether `state` obeys the rule.
    #[must_use]
    pub fn holds(self, state: &State) -> bool {
        !state.breaches.contains(self) && self.readable_in(state)
    }

    fn readable_in(self, state: &State) -> bool {
        let (partition, committed) = (&state.controller.partition, &state.committed);
        let members = partition.isr.union(partition.elr);
        match self {
            Self::CommittedPrefix => {
                let seen_is_committed =
                    state.nodes.iter().all(|node| committed.contains(&node.log.below(node.high_watermark)));
                let leader = current_leader(state).map(|leader| &state.nodes[leader.index()].log);
                seen_is_committed && leader.is_none_or(|log| log.contains(committed))
            }
            Self::MembersHoldCommitted => {
                members.iter().all(|node| state.nodes[node.index()].log.contains(committed))
            }
            Self::MaximalIsr => leadership(state)
                .is_none_or(|(_, lead)| lead.isr.len() < lead.min_isr || members.is_subset(lead.maximal)),
            Self::HighWatermarkSeen => leadership(state).is_none_or(|(leader, lead)| {
                let seen = state.nodes[leader.index()].high_watermark;
                seen < lead.start || seen >= committed.end()
            }),
            Self::IsrJoin => partition.isr.intersection(state.controller.fenced).is_empty(),
            Self::OneLeader => {
                let leads =
                    |epoch| state.nodes.iter().filter(|n| n.lead().is_some() && n.epoch == epoch).count();
                state.nodes.iter().all(|node| leads(node.epoch) <= 1)
            }
            Self::HighWatermarkMoves | Self::Truncation => true,
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The controller's leader, once it knows and leads.
fn current_leader(state: &State) -> Option<NodeId> {
    leadership(state).map(|(leader, _)| leader)
}

fn leadership(state: &State) -> Option<(NodeId, &Lead)> {
    let partition = &state.controller.partition;
    let leader = partition.leader?;
    let node = &state.nodes[leader.index()];
    match &node.role {
        Role::Leader(lead) if node.epoch == partition.leader_epoch => Some((leader, lead)),
        _ => None,
    }
}

impl Breaches {
    /// Notes that this step broke `rule`.
    pub(crate) fn note(&mut self, rule: Rule) {
        self.0 |= rule.bit();
    }

    fn contains(self, rule: Rule) -> bool {
        self.0 & rule.bit() != 0
    }
}

impl Event {
    /// Every event.
    pub const ALL: [Self; 9] = [
        Self::LeaderChanged,
        Self::ElrElected,
        Self::Truncated,
        Self::Committed,
        Self::UncleanRejoined,
        Self::ProposalOutrun,
        Self::DeposedCommitted,
        Self::StaleAnswer,
        Self::LateFetch,
    ];

    /// What happened.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LeaderChanged => "another node leads",
            Self::ElrElected => "a leader comes from the ELR",
            Self::Truncated => "a follower truncates",
            Self::Committed => "a record is committed",
            Self::UncleanRejoined => "a node rejoins after a power loss",
            Self::ProposalOutrun => "a proposal is outrun",
            Self::DeposedCommitted => "a deposed leader commits",
            Self::StaleAnswer => "an answer arrives late",
            Self::LateFetch => "a fetch arrives late",
        }
    }
}

impl fmt::Display for Breaches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let broken = Rule::ALL.into_iter().filter(|rule| self.contains(*rule)).map(Rule::name);
        f.write_str(&broken.collect::<Vec<_>>().join(", "))
    }
}
