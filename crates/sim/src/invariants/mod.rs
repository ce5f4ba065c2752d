//! What must always hold (INVARIANTS.md), a file each. C3 and C4 are about SQLite's files and are tested in `quorum`.

use std::fmt;

pub(crate) mod c1;
pub(crate) mod c2;
pub(crate) mod g1;
pub(crate) mod g2;
pub(crate) mod g3;
pub(crate) mod g4;
pub(crate) mod g5;
pub(crate) mod r1;
pub(crate) mod r10;
pub(crate) mod r11;
pub(crate) mod r12;
pub(crate) mod r13;
pub(crate) mod r2;
pub(crate) mod r3;
pub(crate) mod r4;
pub(crate) mod r5;
pub(crate) mod r6;
pub(crate) mod r7;
pub(crate) mod r8;
pub(crate) mod r9;

/// Something that must never be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// As INVARIANTS.md numbers it.
    pub invariant: &'static str,
    pub message: String,
}

pub(crate) type Checked = Result<(), Violation>;

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.message)
    }
}

/// Holds, or is a violation that says how.
pub(crate) fn hold(invariant: &'static str, holds: bool, message: impl FnOnce() -> String) -> Checked {
    match holds {
        true => Ok(()),
        false => Err(Violation { invariant, message: message() }),
    }
}
