use std::{collections::BTreeSet, sync::Arc};

use wire::ResponseError;

use crate::{
    ClassicMetadata, Entry, GroupConfig, Topics,
    classic::{CONSUMER, Classic, Phase},
    consumer::{Consumer, Draft, Watches, fence, watch},
    offsets::Offsets,
    session::Sessions,
    turn::Turn,
};

/// What the log says of a group, its offsets apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Kept {
    #[default]
    Nothing,
    Classic(Arc<ClassicMetadata>),
    Consumer(Box<Consumer>),
}

/// One group: what is kept, which only [`Group::replay`] changes, and what is volatile.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) kept: Kept,
    pub(crate) offsets: Offsets,
    /// How the group lives while it is no consumer group.
    pub(crate) classic: Classic,
    /// Of the members while it is one.
    pub(crate) watches: Watches,
    pub(crate) sessions: Sessions,
    /// The deadline under which it stands in the coordinator's list.
    pub(crate) scheduled_ms: Option<u64>,
    /// Of the metadata that it was last compared with.
    pub(crate) topics_version: Option<u64>,
    /// Since 1970, of a consumer group.
    pub(crate) empty_since_ms: Option<i64>,
    /// The last record ended a consumer group of this id.
    was_consumer: bool,
    /// It has just become a classic group, and must bring its members together.
    pub(crate) rebalances_at_once: bool,
}

impl Group {
    pub(crate) fn is_nothing(&self) -> bool {
        self.kept == Kept::Nothing && self.offsets.is_empty() && self.classic.is_idle()
    }

    /// Whether there is nothing to remember either: time-outs may be those of members whose records are not here yet.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_nothing() && self.watches.is_empty() && self.sessions.is_empty()
    }

    /// Whether nobody is in it, nor on the way.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.kept {
            Kept::Consumer(group) => group.members.is_empty() && self.classic.is_idle(),
            Kept::Nothing | Kept::Classic(_) => self.classic.is_idle(),
        }
    }

    pub(crate) fn consumers(&self) -> usize {
        match &self.kept {
            Kept::Consumer(group) => group.members.len(),
            Kept::Nothing | Kept::Classic(_) => 0,
        }
    }

    /// Takes over one record. Total: whatever a log says, it can be read.
    pub(crate) fn replay(&mut self, entry: Entry) {
        match entry {
            Entry::OffsetCommit { topic, partition, value, .. } => {
                self.sessions.committed(&topic, partition);
                self.offsets.replay(topic, partition, value)
            }
            Entry::Session { instance, value, .. } => self.sessions.replay(instance, value),
            Entry::ClassicGroup { value: Some(value), .. } => self.replay_classic(value),
            Entry::ClassicGroup { value: None, .. } => self.end_classic(),
            entry => self.replay_consumer(entry),
        }
    }

    fn replay_classic(&mut self, value: ClassicMetadata) {
        if !self.classic.is_of(&value) {
            self.classic = Classic::of(&value, 0);
            // Sessions go on; after loading all begin anyway.
            for (id, member) in &mut self.classic.members {
                member.deadline_ms = self.watches.get(id).map_or(0, |watch| watch.session_ms);
            }
            self.rebalances_at_once = self.was_consumer && !value.members.is_empty();
        }
        self.watches.clear();
        self.was_consumer = false;
        self.kept = Kept::Classic(Arc::new(value));
    }

    fn end_classic(&mut self) {
        if !matches!(self.kept, Kept::Classic(_)) {
            return;
        }
        self.kept = Kept::Nothing;
        // Who was given an id may still come with it, if the group was empty. Else it is a consumer group now.
        self.rebalances_at_once = false;
        let pending = match self.classic.phase {
            Phase::Empty => std::mem::take(&mut self.classic.pending),
            _ => Default::default(),
        };
        self.classic = Classic { pending, ..Default::default() };
    }

    fn replay_consumer(&mut self, entry: Entry) {
        let makes = match &entry {
            Entry::ConsumerGroup { value, .. } => value.is_some(),
            Entry::ConsumerMember { value, .. } => value.is_some(),
            Entry::ConsumerTarget { value, .. } => value.is_some(),
            Entry::ConsumerTargetMember { value, .. } => value.is_some(),
            Entry::ConsumerCurrent { value, .. } => value.is_some(),
            Entry::ConsumerRegex { value, .. } => value.is_some(),
            Entry::OffsetCommit { .. }
            | Entry::ClassicGroup { .. }
            | Entry::ConsumerPartitions { .. }
            | Entry::Session { .. } => false,
        };
        if makes && !matches!(self.kept, Kept::Consumer(_)) {
            self.kept = Kept::Consumer(Default::default());
            self.classic = Classic::default();
            self.rebalances_at_once = false;
        }
        let Kept::Consumer(group) = &mut self.kept else { return };
        let ends = matches!(entry, Entry::ConsumerGroup { value: None, .. });
        group.replay(entry);
        if ends {
            self.was_consumer = true;
        }
        if group.is_nothing() {
            self.kept = Kept::Nothing;
        }
    }

    /// Does what is due.
    pub(crate) fn on_time(&mut self, turn: &mut Turn<'_>) {
        if self.sessions_on_time(turn) {
            let at_ms = turn.now_ms().saturating_add(1);
            return turn.wake(at_ms);
        }
        match &self.kept {
            Kept::Consumer(group) => {
                self.watches.retain(|id, _| group.members.contains_key(id.as_str()));
                let now_ms = turn.now_ms();
                let is_over = |id: &str, watch: &watch::Watch| {
                    group.members.get(id).is_some_and(|member| watch.is_over(member, now_ms))
                };
                let over: Vec<&str> =
                    self.watches.iter().filter(|(id, w)| is_over(id, w)).map(|(id, _)| id.as_str()).collect();
                if !over.is_empty() {
                    let mut draft = Draft::of(turn.group, group);
                    fence(&mut draft, turn, over);
                    if draft.members.is_empty() {
                        self.empty_since_ms = Some(turn.moment.wall_ms);
                    }
                    turn.step.records.extend(draft.into_records());
                }
                self.end_empty_consumer(turn);
            }
            Kept::Nothing | Kept::Classic(_) => {
                self.watches.clear();
                if std::mem::take(&mut self.rebalances_at_once) && self.classic.phase == Phase::Stable {
                    self.classic.prepare(turn);
                }
                self.classic.on_time(turn);
            }
        }
    }

    /// A consumer group without members makes room for members of the classic protocol.
    pub(crate) fn end_empty_consumer(&self, turn: &mut Turn<'_>) {
        if let Kept::Consumer(group) = &self.kept
            && group.members.is_empty()
            && !self.classic.is_idle()
        {
            let mut draft = Draft::of(turn.group, group);
            draft.remove_group();
            turn.step.records.extend(draft.into_records());
        }
    }

    /// Of what is not due yet.
    pub(crate) fn next_deadline(&self, now_ms: u64) -> Option<u64> {
        let next = match &self.kept {
            Kept::Consumer(_) => self.watches.values().filter_map(|w| w.next_ms(now_ms)).min(),
            Kept::Nothing | Kept::Classic(_) => self.classic.next_deadline(),
        };
        let of_sessions = self.next_session_deadline(now_ms);
        next.into_iter().chain(of_sessions).chain(self.rebalances_at_once.then_some(now_ms)).min()
    }

    /// All time-outs begin anew.
    pub(crate) fn renew(&mut self, now_ms: u64, config: &GroupConfig) {
        self.classic.renew(now_ms);
        if let Kept::Consumer(group) = &self.kept {
            self.watches = watch::begin_all(group, now_ms, config);
        }
        self.renew_sessions(now_ms, config);
    }

    /// Records of the group itself did not come into the log. When to look at it again.
    pub(crate) fn not_appended(&mut self, now_ms: u64, retry_ms: u64) -> Option<u64> {
        self.topics_version = None;
        let kept = match &self.kept {
            Kept::Consumer(_) => return Some(now_ms.saturating_add(retry_ms)),
            Kept::Classic(kept) => Some(&**kept),
            Kept::Nothing => None,
        };
        let was_empty = kept.is_none_or(|kept| kept.members.is_empty());
        let nothing_was = was_empty && self.classic.members.is_empty() && self.classic.phase == Phase::Empty;
        let again_ms = (!nothing_was).then(|| self.classic.begin_again(kept, now_ms));
        let of_sessions = (!self.sessions.is_empty()).then(|| now_ms.saturating_add(retry_ms));
        again_ms.into_iter().chain(of_sessions).min()
    }

    /// Ends the group, which has no members.
    pub(crate) fn forget_group(&self, turn: &mut Turn<'_>) {
        match &self.kept {
            Kept::Nothing => {}
            Kept::Classic(_) => {
                turn.record(Entry::ClassicGroup { group: turn.group.to_owned(), value: None });
            }
            Kept::Consumer(group) => {
                let mut draft = Draft::of(turn.group, group);
                draft.remove_group();
                turn.step.records.extend(draft.into_records());
            }
        }
    }

    /// The topics that members subscribe to. A group whose members are not consumers does not say.
    pub(crate) fn subscribed(&self, turn: &mut Turn<'_>) -> Result<BTreeSet<String>, ResponseError> {
        match &self.kept {
            Kept::Consumer(group) => Ok(subscribed(group, turn)),
            _ if self.classic.members.is_empty() => Ok(BTreeSet::new()),
            _ if self.classic.protocol_type.as_deref() != Some(CONSUMER) => Err(ResponseError::NonEmptyGroup),
            // What cannot be read may be anything.
            _ => self.classic.subscribed().ok_or(ResponseError::RebalanceInProgress),
        }
    }

    /// As the lists call it.
    pub(crate) fn state(&self) -> &'static str {
        match &self.kept {
            Kept::Consumer(group) => group.state(),
            Kept::Nothing | Kept::Classic(_) => self.classic.phase.name(),
        }
    }
}

fn subscribed(group: &Consumer, turn: &mut Turn<'_>) -> BTreeSet<String> {
    let mut topics = BTreeSet::new();
    for member in group.members.values() {
        topics.extend(member.subscription.topics.iter().cloned());
        if let Some(regex) = &member.subscription.regex {
            let found = turn.patterns.resolve(regex, turn.topics as &dyn Topics);
            topics.extend(found.iter().map(|name| name.as_str().to_owned()));
        }
    }
    topics
}
