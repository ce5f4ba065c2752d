//! The rules that can be left out, one at a time: each must turn the model red.

use std::fmt;

use crate::{
    bounds::{Bounds, Budget},
    rules::Rule,
};

/// A rule of the protocol that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// R6: a fetch is answered, and an answer taken, whatever leader epoch it names.
    NoEpochFencing,
    /// R4 and R5: follower ends that were learned in an earlier leadership count in the present one.
    NoFetchInEpochCheck,
    /// KIP-841: a fenced node is taken into the ISR.
    FencedNodeJoins,
    /// KIP-903: a proposal may name a node epoch that is not the registered one.
    StaleNodeEpochJoins,
    /// R4: the high watermark asks the adopted ISR only, not those who may already have joined it.
    NoMaximalIsr,
    /// R7: a new follower truncates to its high watermark, and divergence is not looked at (before KIP-101).
    TruncateToHighWatermark,
    /// R10: a node that lost power stays among the eligible leader replicas.
    UncleanElrMember,
    /// R5: the controller compares the leader epoch of a proposal, but not its partition epoch.
    NoPartitionEpochCheck,
    /// KAFKA-16540: the leader's min ISR comes from a config message that travels apart from the partition's state.
    MinIsrApart,
    /// R10: the boot id alone is proof.
    ///
    /// An incarnation records its node epoch before its first append, so an older record on the disk means an older
    /// disk: a volume snapshot, a mirror or a copy of the folder (same directory uuid), taken between two incarnations
    /// and put back without a reboot. The boot id is the same and the file system is sound, yet everything that the
    /// last incarnation fetched is gone. Only the node epoch tells. (An image taken *within* the last incarnation
    /// carries the last node epoch too; neither rule can tell, and the model does not take such images.)
    BootIdOnly,
    /// R5: a follower below the start of the leader's epoch may join. Not in the list.
    JoinBelowEpochStart,
    /// R7: a restarted node adopts a state older than its registration, say from a controller that lags behind, and
    /// follows a leader that was deposed long ago. Not in the list.
    OlderStateAfterRestart,
    /// R4 and KIP-903: a late fetch of an earlier incarnation overwrites what a newer one said. Not in the list.
    OlderIncarnationFetches,
}

impl Mutation {
    /// Every mutation, the ten of the issue first.
    pub const ALL: [Self; 13] = [
        Self::NoEpochFencing,
        Self::NoFetchInEpochCheck,
        Self::FencedNodeJoins,
        Self::StaleNodeEpochJoins,
        Self::NoMaximalIsr,
        Self::TruncateToHighWatermark,
        Self::UncleanElrMember,
        Self::NoPartitionEpochCheck,
        Self::MinIsrApart,
        Self::BootIdOnly,
        Self::JoinBelowEpochStart,
        Self::OlderStateAfterRestart,
        Self::OlderIncarnationFetches,
    ];

    /// The smallest bounds known to show the damage.
    #[must_use]
    pub fn bounds(self) -> Bounds {
        let none = Budget::default();
        let (records, min_isr, budget) = match self {
            Self::NoEpochFencing => (1, 2, Budget { moves: 2, ..none }),
            Self::NoFetchInEpochCheck => (2, 2, Budget { moves: 2, proposals: 1, ..none }),
            Self::FencedNodeJoins => (1, 2, Budget { fences: 1, proposals: 1, ..none }),
            Self::StaleNodeEpochJoins | Self::OlderIncarnationFetches => {
                (1, 2, Budget { power_cuts: 1, proposals: 1, ..none })
            }
            Self::NoMaximalIsr => (1, 2, Budget { fences: 1, proposals: 1, ..none }),
            Self::TruncateToHighWatermark => (1, 2, Budget { moves: 1, ..none }),
            Self::UncleanElrMember => (1, 2, Budget { fences: 1, power_cuts: 1, ..none }),
            Self::NoPartitionEpochCheck => (1, 2, Budget { fences: 1, proposals: 2, ..none }),
            Self::MinIsrApart => (1, 1, Budget { fences: 2, min_isr_changes: 1, ..none }),
            Self::BootIdOnly => (1, 2, Budget { fences: 1, rollbacks: 1, ..none }),
            Self::OlderStateAfterRestart => (1, 2, Budget { fences: 1, kills: 1, ..none }),
            Self::JoinBelowEpochStart => (1, 2, Budget { fences: 1, moves: 1, proposals: 1, ..none }),
        };
        Bounds { name: "mutation", records, min_isr, budget }
    }

    /// The rules of which one must be seen broken. Where the damage is lost data, only lost data counts: that a step
    /// went against the letter of R4 or R5 would be found by definition.
    #[must_use]
    pub fn must_break(self) -> &'static [Rule] {
        match self {
            Self::FencedNodeJoins => &[Rule::IsrJoin],
            _ => &[Rule::CommittedPrefix, Rule::MembersHoldCommitted],
        }
    }
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoEpochFencing => "no epoch fencing",
            Self::NoFetchInEpochCheck => "no fetch-in-epoch check",
            Self::FencedNodeJoins => "no KIP-841",
            Self::StaleNodeEpochJoins => "no KIP-903",
            Self::NoMaximalIsr => "high watermark without the maximal ISR",
            Self::TruncateToHighWatermark => "truncation to the high watermark",
            Self::UncleanElrMember => "unclean ELR member",
            Self::NoPartitionEpochCheck => "missing partition-epoch check",
            Self::MinIsrApart => "min ISR adopted apart from its state",
            Self::BootIdOnly => "boot id without the node epoch",
            Self::JoinBelowEpochStart => "join below the epoch's start",
            Self::OlderStateAfterRestart => "older state after a restart",
            Self::OlderIncarnationFetches => "fetch of an older incarnation counts",
        })
    }
}
