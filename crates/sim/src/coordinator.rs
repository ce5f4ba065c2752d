use std::collections::{BTreeMap, VecDeque};

use domain::{LeaderEpoch, Offset};
use group::{Answer, Groups, Token};

use crate::{event::Noted, groups_ghost::Asked};

/// The groups of one leadership, in the process that leads the partition where they are kept.
#[derive(Debug)]
pub(crate) struct Coordinator {
    pub(crate) epoch: LeaderEpoch,
    /// `None` until the log is read.
    pub(crate) groups: Option<Groups>,
    /// The log's end as this coordinator knows it: nothing is answered before all of it is committed.
    pub(crate) end: Offset,
    pub(crate) pending: VecDeque<PendingStep>,
    /// Who waits for an answer.
    pub(crate) askers: BTreeMap<Token, Asker>,
    /// Answers that leave once it is certain that this node led when they were asked for.
    pub(crate) unsure: Vec<Unsure>,
}

/// Answers that wait until the log is committed up to `until`.
#[derive(Debug)]
pub(crate) struct PendingStep {
    pub(crate) since_ms: u64,
    pub(crate) until: Offset,
    pub(crate) wrote: bool,
    pub(crate) answers: Vec<(Token, Answer)>,
}

#[derive(Debug)]
pub(crate) struct Unsure {
    pub(crate) since_ms: u64,
    /// Answered by a heartbeat that left afterwards.
    pub(crate) question: u64,
    pub(crate) token: Token,
    pub(crate) answer: Answer,
}

/// A member that asked, and what the checkers know of its question.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    pub(crate) member: usize,
    pub(crate) asked: Asked,
    /// What it wants to be committed.
    pub(crate) commits: Vec<(i32, i64)>,
    /// By what was committed when its call was decided, it may not commit.
    pub(crate) fenced: bool,
}

/// What a process heard last of the controllers, by a heartbeat (storage-node's `assurance.rs`).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    /// The last question before it left.
    pub(crate) question: u64,
    /// When it left, by the node's clock.
    pub(crate) left_ms: u64,
    /// The metadata when it was answered.
    pub(crate) version: u64,
}

impl Coordinator {
    pub(crate) fn new(epoch: LeaderEpoch) -> Self {
        Self {
            epoch,
            groups: None,
            end: Offset(0),
            pending: VecDeque::new(),
            askers: BTreeMap::new(),
            unsure: Vec::new(),
        }
    }
}

impl Heard {
    /// An answer to a heartbeat; it may come later than one to a later heartbeat.
    pub(crate) fn later(self, noted: Noted, version: u64) -> Self {
        let Noted { question, left_ms } = noted;
        match left_ms >= self.left_ms && question >= self.question {
            true => Self { question, left_ms, version: version.max(self.version) },
            false => self,
        }
    }
}
