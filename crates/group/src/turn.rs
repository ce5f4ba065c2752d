use uuid::Uuid;
use wire::ResponseError;

use crate::{Answer, Entry, GroupConfig, Step, Token, Topics, consumer::Patterns};

/// When something happens.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Monotonic; for time-outs.
    pub now_ms: u64,
    /// Since 1970; for commit timestamps and retention.
    pub wall_ms: i64,
    /// A new random id, used if a member id must be made.
    pub fresh: Uuid,
    /// Members of the consumer protocol with the other coordinators of this process, which has to hear them all.
    pub members_elsewhere: usize,
}

/// What one group has at hand while it decides, and where its decisions go.
pub(crate) struct Turn<'a> {
    pub(crate) group: &'a str,
    pub(crate) config: &'a GroupConfig,
    pub(crate) moment: Moment,
    pub(crate) topics: &'a dyn Topics,
    pub(crate) patterns: &'a mut Patterns,
    /// Of the consumer protocol, in all groups of this coordinator and those beside it.
    pub(crate) members_total: usize,
    pub(crate) step: &'a mut Step,
    /// When the group wants its next turn, if that is earlier than what it has said before.
    pub(crate) wake_ms: Option<u64>,
}

impl Turn<'_> {
    pub(crate) fn now_ms(&self) -> u64 {
        self.moment.now_ms
    }

    pub(crate) fn wake(&mut self, at_ms: u64) {
        self.wake_ms = Some(self.wake_ms.map_or(at_ms, |earlier| earlier.min(at_ms)));
    }

    /// A deadline, which also wakes the group.
    pub(crate) fn after(&mut self, timeout_ms: i32) -> u64 {
        let at_ms = deadline(self.now_ms(), timeout_ms);
        self.wake(at_ms);
        at_ms
    }

    pub(crate) fn record(&mut self, entry: Entry) {
        self.step.records.push(entry);
    }

    pub(crate) fn answer(&mut self, token: Token, answer: Answer) {
        self.step.answers.push((token, answer));
    }
}

/// A negative time-out is one that the client did not send; it has passed at once.
pub(crate) fn deadline(now_ms: u64, timeout_ms: i32) -> u64 {
    now_ms.saturating_add(u64::try_from(timeout_ms).unwrap_or(0))
}

/// Why a call is refused.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) error: ResponseError,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(error: ResponseError, message: impl Into<String>) -> Self {
        Self { error, message: message.into() }
    }
}
