use bytes::Bytes;
use wire::{ResponseError, messages::SyncGroupResponse};

use super::join;
use crate::{Answer, ClassicProtocol, Token, turn::Turn};

/// One member of a classic group.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) instance: Option<String>,
    pub(crate) client_id: String,
    pub(crate) client_host: String,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    /// In the order of the member's preference.
    pub(crate) protocols: Vec<ClassicProtocol>,
    pub(crate) assignment: Bytes,
    /// Until then it must be heard of.
    pub(crate) deadline_ms: u64,
    /// It does not know its id before its first join is answered, so nothing is heard of it until then.
    pub(crate) is_new: bool,
    pub(crate) unsynced: bool,
    pub(crate) joining: Option<Waiting>,
    pub(crate) syncing: Option<Waiting>,
}

/// A call that waits for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Waiting {
    pub(crate) token: Token,
    pub(crate) version: i16,
}

impl Member {
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let supported = self.protocols.iter().find(|supported| supported.name == protocol);
        supported.map(|supported| supported.metadata.clone()).unwrap_or_default()
    }

    pub(crate) fn supports(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|supported| supported.name == protocol)
    }

    /// Whether its silence counts: it does not while its call waits here.
    pub(crate) fn is_watched(&self) -> bool {
        self.is_new || (self.joining.is_none() && self.syncing.is_none())
    }

    pub(crate) fn heard(&mut self, turn: &mut Turn<'_>) {
        self.deadline_ms = turn.after(self.session_timeout_ms);
    }

    /// Answers what waits with an error.
    pub(crate) fn refuse(&mut self, id: &str, error: ResponseError, turn: &mut Turn<'_>) {
        self.waiting(id, error).into_iter().for_each(|(token, answer)| turn.answer(token, answer));
    }

    pub(crate) fn waiting(&mut self, id: &str, error: ResponseError) -> Vec<(Token, Answer)> {
        let mut answers = Vec::new();
        if let Some(Waiting { token, version }) = self.joining.take() {
            answers.push((token, Answer::Join(join::refused(id, error, version))));
        }
        if let Some(Waiting { token, .. }) = self.syncing.take() {
            answers.push((token, Answer::Sync(SyncGroupResponse::default().with_error_code(error.code()))));
        }
        answers
    }
}
