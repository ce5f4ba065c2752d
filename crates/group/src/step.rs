use crate::{Answer, Entry, Token};

/// What comes of one input. Nothing of `records` has happened yet: the driver appends them, all or none, and
/// hands each to [`crate::Groups::replay`] once that succeeded, or calls [`crate::Groups::not_appended`].
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct Step {
    /// To be appended in this order, as one batch where they fit.
    pub records: Vec<Entry>,
    /// They leave once `records`, and all that this coordinator appended before, are committed (INVARIANTS G1). If
    /// they never are, [`Answer::failed`] leaves instead.
    pub answers: Vec<(Token, Answer)>,
}
