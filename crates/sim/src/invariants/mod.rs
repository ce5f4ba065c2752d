//! What must always hold (INVARIANTS.md), a file each. C3 and C4 are about SQLite's files and are tested in `quorum`.

use std::fmt;

pub mod c1;
pub mod c2;
pub mod r1;
pub mod r10;
pub mod r11;
pub mod r12;
pub mod r13;
pub mod r2;
pub mod r3;
pub mod r4;
pub mod r5;
pub mod r6;
pub mod r7;
pub mod r8;
pub mod r9;

/// Something that must never be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// As INVARIANTS.md numbers it.
    pub invariant: &'static str,
    pub message: String,
}

pub type Checked = Result<(), Violation>;

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
