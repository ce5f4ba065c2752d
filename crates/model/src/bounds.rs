//! How far a run goes: what may happen how often, and where it begins.

use std::fmt;

/// How often each kind of trouble may still happen. Everything else (fetching, adopting, unfencing, electing) is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// Fences of a node by the controller; the process lives on and knows nothing.
    pub fences: u8,
    /// Moves of the leadership to another ISR member.
    pub moves: u8,
    /// Kills with a restart: the page cache survives, and that can be proved.
    pub kills: u8,
    /// Power losses with a restart: any suffix of the log may be gone.
    pub power_cuts: u8,
    /// Restarts on the disk as it was before the last incarnation.
    pub rollbacks: u8,
    /// ISR proposals sent by leaders.
    pub proposals: u8,
    /// Changes of `min.insync.replicas`, from 2 to 1 or back.
    pub min_isr_changes: u8,
}

/// The bounds of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// What the run is called in the table.
    pub name: &'static str,
    /// The longest log, at most [`crate::log::RECORDS_MAX`] records.
    pub records: u8,
    /// `min.insync.replicas` at the start.
    pub min_isr: u8,
    /// How much trouble there may be.
    pub budget: Budget,
}

impl Bounds {
    /// Bounds that the tests can afford: each kind of trouble, alone or with one other.
    #[must_use]
    pub fn quick() -> Vec<Self> {
        let none = Budget::default();
        vec![
            Self::of("leader changes", 2, 2, Budget { fences: 1, moves: 1, proposals: 1, ..none }),
            Self::of("min ISR lowered", 1, 2, Budget { fences: 1, proposals: 2, min_isr_changes: 1, ..none }),
            Self::of("min ISR raised", 1, 1, Budget { fences: 1, proposals: 2, min_isr_changes: 1, ..none }),
            Self::of("kill", 1, 2, Budget { fences: 1, kills: 1, proposals: 2, ..none }),
            Self::of("crashes", 2, 2, Budget { kills: 1, power_cuts: 1, proposals: 1, ..none }),
            Self::of("old disk", 1, 2, Budget { fences: 1, rollbacks: 1, proposals: 1, ..none }),
        ]
    }

    /// The full bounds: minutes, and fewer than ten million different states each.
    #[must_use]
    pub fn full() -> Vec<Self> {
        let none = Budget::default();
        vec![
            Self::of("leader changes", 2, 2, Budget { fences: 1, moves: 1, proposals: 2, ..none }),
            Self::of("hand-overs", 2, 2, Budget { moves: 3, proposals: 1, ..none }),
            Self::of("longer log", 3, 2, Budget { moves: 2, proposals: 1, ..none }),
            Self::of("fences", 1, 2, Budget { fences: 2, moves: 1, proposals: 2, ..none }),
            Self::of("min ISR lowered", 2, 2, Budget { fences: 1, proposals: 2, min_isr_changes: 1, ..none }),
            Self::of("min ISR raised", 2, 1, Budget { fences: 1, proposals: 2, min_isr_changes: 1, ..none }),
            Self::of(
                "min ISR to and fro",
                1,
                1,
                Budget { fences: 2, proposals: 2, min_isr_changes: 2, ..none },
            ),
            Self::of("kill", 2, 2, Budget { fences: 1, kills: 1, proposals: 2, ..none }),
            Self::of("kill and move", 1, 2, Budget { fences: 1, moves: 1, kills: 1, proposals: 2, ..none }),
            Self::of("power cut", 2, 2, Budget { fences: 1, power_cuts: 1, proposals: 2, ..none }),
            Self::of("two power cuts", 1, 2, Budget { power_cuts: 2, proposals: 3, ..none }),
            Self::of("crashes", 1, 2, Budget { fences: 1, kills: 1, power_cuts: 1, proposals: 2, ..none }),
            Self::of("old disk", 2, 2, Budget { fences: 1, rollbacks: 1, proposals: 1, ..none }),
        ]
    }

    fn of(name: &'static str, records: u8, min_isr: u8, budget: Budget) -> Self {
        Self { name, records, min_isr, budget }
    }
}

impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Budget { fences, moves, kills, power_cuts, rollbacks, proposals, min_isr_changes } = self.budget;
        write!(f, "{} records", self.records)?;
        let kinds = [
            (fences, "fences"),
            (moves, "moves"),
            (kills, "kills"),
            (power_cuts, "power cuts"),
            (rollbacks, "rollbacks"),
            (proposals, "proposals"),
            (min_isr_changes, "min ISR changes"),
        ];
        kinds.iter().filter(|(many, _)| *many > 0).try_for_each(|(many, kind)| write!(f, ", {many} {kind}"))
    }
}
