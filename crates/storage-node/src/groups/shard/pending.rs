use std::collections::{HashMap, VecDeque};

use domain::Offset;
use group::{Answer, Token};
use tokio::sync::oneshot;

/// Those who wait for an answer.
#[derive(Default)]
pub(super) struct Waiting {
    senders: HashMap<Token, oneshot::Sender<Released>>,
}

/// An answer that may leave once what it rests on holds.
pub(super) struct Released {
    pub(super) answer: Answer,
    pub(super) rests_on: RestsOn,
}

/// Why an answer is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RestsOn {
    /// It was written, and that is committed; or it says that nothing was done.
    Commit,
    /// Nothing was written. It is no harm if the leadership has moved a moment ago.
    Session,
    /// What it tells must be what the group has at this moment (offsets).
    Leadership,
}

/// Answers in the order of the log's ends that they wait for.
#[derive(Default)]
pub(super) struct Pending {
    steps: VecDeque<PendingStep>,
}

struct PendingStep {
    since_ms: u64,
    until: Offset,
    wrote: bool,
    answers: Vec<(Token, Answer)>,
}

impl Waiting {
    pub(super) fn add(&mut self, token: Token) -> oneshot::Receiver<Released> {
        let (sender, receiver) = oneshot::channel();
        self.senders.insert(token, sender);
        receiver
    }

    pub(super) fn release(&mut self, token: Token, released: Released) {
        if let Some(sender) = self.senders.remove(&token) {
            // Whoever asked may have gone.
            let _ = sender.send(released);
        }
    }
}

impl Released {
    /// An error: it promises nothing.
    pub(super) fn certain(answer: Answer) -> Self {
        Self { answer, rests_on: RestsOn::Commit }
    }
}

impl RestsOn {
    fn of(answer: &Answer, wrote: bool) -> Self {
        match answer {
            _ if wrote => RestsOn::Commit,
            Answer::OffsetFetch(_) | Answer::Describe(_) | Answer::ConsumerDescribe(_) | Answer::List(_) => {
                RestsOn::Leadership
            }
            _ => RestsOn::Session,
        }
    }
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(super) fn add(&mut self, now_ms: u64, until: Offset, wrote: bool, answers: Vec<(Token, Answer)>) {
        if !answers.is_empty() {
            self.steps.push_back(PendingStep { since_ms: now_ms, until, wrote, answers });
        }
    }

    /// The end that the first ones wait for.
    pub(super) fn next(&self) -> Option<Offset> {
        self.steps.front().map(|step| step.until)
    }

    pub(super) fn oldest_ms(&self) -> Option<u64> {
        self.steps.front().map(|step| step.since_ms)
    }

    /// The first ones.
    pub(super) fn pop(&mut self) -> impl Iterator<Item = (Token, Released)> {
        self.steps.pop_front().into_iter().flat_map(|step| {
            let wrote = step.wrote;
            let released = move |(token, answer): (Token, Answer)| {
                let rests_on = RestsOn::of(&answer, wrote);
                (token, Released { answer, rests_on })
            };
            step.answers.into_iter().map(released)
        })
    }

    pub(super) fn take_all(&mut self) -> impl Iterator<Item = (Token, Answer)> {
        std::mem::take(&mut self.steps).into_iter().flat_map(|step| step.answers)
    }
}

#[cfg(test)]
mod tests {
    use wire::messages::{HeartbeatResponse, OffsetFetchResponse};

    use super::*;

    fn heartbeat() -> Answer {
        Answer::Heartbeat(HeartbeatResponse::default())
    }

    #[test]
    fn answers_leave_in_the_order_of_the_log() {
        let mut pending = Pending::default();
        pending.add(1, Offset(5), true, vec![(Token(1), heartbeat())]);
        pending.add(2, Offset(5), false, vec![]);
        pending.add(3, Offset(7), false, vec![(Token(2), heartbeat())]);
        assert_eq!((pending.next(), pending.oldest_ms()), (Some(Offset(5)), Some(1)));
        let first: Vec<Token> = pending.pop().map(|(token, _)| token).collect();
        assert_eq!(first, [Token(1)]);
        assert_eq!(pending.next(), Some(Offset(7)));
        assert_eq!(pending.take_all().count(), 1);
        assert!(pending.is_empty());
    }

    #[test]
    fn positions_are_read_only_by_who_still_leads() {
        let fetched = Answer::OffsetFetch(OffsetFetchResponse::default());
        assert_eq!(RestsOn::of(&fetched, false), RestsOn::Leadership);
        assert_eq!(RestsOn::of(&heartbeat(), false), RestsOn::Session);
        assert_eq!(RestsOn::of(&heartbeat(), true), RestsOn::Commit);
    }
}
