//! REST consumers: what a client of the other protocols keeps itself, the coordinator keeps for them.
//!
//! A consumer that subscribes is a member like any other (KIP-848), whose part in the protocol is played here. Its heartbeat is
//! each of its requests. What it may be working on, it gives up when it polls again; what it is not working on moves at once.

mod call;
mod lease;
mod member;
mod poll;
mod positions;

pub use self::call::{
    BeginPoll, Commit, Described, EndPoll, PollBegun, Range, SessionCall, SessionError, SessionOp,
    SessionReply, Subscribed, TopicPlace,
};

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use assign::Partitions;
use domain::Offset;
use wire::ResponseError;

use crate::{Caller, Entry, SessionOptions, SessionRecord, Wanted, group::Group, text::fit, turn::Turn};

/// The REST consumers of one group: what is kept of them, and what is volatile.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    pub(crate) kept: BTreeMap<Arc<str>, Arc<SessionRecord>>,
    /// Also of those whose records may never come into the log.
    live: BTreeMap<Arc<str>, Live>,
}

/// What need not survive its coordinator: without it a consumer reads on from what was committed.
#[derive(Debug)]
struct Live {
    /// Until then something must be heard of it.
    until_ms: u64,
    spots: BTreeMap<TopicPlace, Spot>,
    poll: Option<Poll>,
    /// When to write what was acknowledged.
    commit_ms: Option<u64>,
    /// Another coordinator was polled last: what its client may be working on is not known.
    is_inherited: bool,
}

/// How far a consumer is in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spot {
    /// After the last record that was delivered.
    next: Offset,
    /// After the last that a later poll acknowledged.
    acknowledged: Offset,
}

/// The last poll.
#[derive(Debug)]
struct Poll {
    number: u64,
    request: Option<String>,
    delivered: Vec<Range>,
}

impl Sessions {
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty() && self.live.is_empty()
    }

    /// Takes over a record.
    pub(crate) fn replay(&mut self, instance: String, value: Option<SessionRecord>) {
        match value {
            Some(value) => drop(self.kept.insert(instance.into(), Arc::new(value))),
            None => {
                self.kept.remove(instance.as_str());
                self.live.remove(instance.as_str());
            }
        }
    }

    /// Something was committed, or the offset was forgotten: where somebody began is not what counts any more.
    pub(crate) fn committed(&mut self, topic: &str, partition: domain::PartitionIndex) {
        let with_positions = self.kept.values_mut().filter(|record| !record.positions.is_empty());
        for record in with_positions {
            let key = (topic.to_owned(), partition);
            if record.positions.contains_key(&key) {
                Arc::make_mut(record).positions.remove(&key);
            }
        }
    }
}

impl Group {
    pub(crate) fn session(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        call: &SessionCall,
    ) -> Result<SessionReply, SessionError> {
        let instance = call.instance.as_str();
        if let SessionOp::Create { options, member } = &call.op {
            return self.create_session(turn, instance, options, member);
        }
        let record = self.sessions.kept.get(instance).cloned().ok_or(SessionError::Unknown)?;
        self.renew_lease(turn, instance, &record);
        match &call.op {
            SessionOp::Create { .. } => Err(SessionError::Exists),
            SessionOp::Delete => {
                self.leave_group(turn, instance, &record);
                turn.record(tombstone(turn.group, instance));
                Ok(SessionReply::Done)
            }
            SessionOp::Describe => Ok(SessionReply::Described(Box::new(Described {
                options: record.options.clone(),
                wanted: record.wanted.clone(),
                positions: self.positions(turn, instance, &record, &self.owned(turn, &record)),
            }))),
            SessionOp::Subscribe(wanted) => self.subscribe(turn, caller, instance, &record, wanted),
            SessionOp::Unsubscribe => {
                self.leave_group(turn, instance, &record);
                self.want(turn, instance, &record, Wanted::Nothing);
                Ok(SessionReply::Done)
            }
            SessionOp::Assign(partitions) => self.assign(turn, instance, &record, partitions),
            SessionOp::Seek(positions) => self.seek(turn, instance, &record, positions),
            SessionOp::BeginPoll(begin) => self.begin_poll(turn, caller, instance, &record, begin),
            SessionOp::EndPoll(end) => self.end_poll(turn, instance, &record, end),
            SessionOp::Undelivered { poll } => {
                self.undelivered(instance, *poll);
                Ok(SessionReply::Done)
            }
            SessionOp::Commit(commit) => self.commit_session(turn, instance, &record, commit),
            SessionOp::Committed(places) => {
                self.commit_acknowledged(turn, instance, &record);
                Ok(SessionReply::Committed(self.committed_of(turn, places)))
            }
        }
    }

    fn create_session(
        &mut self,
        turn: &mut Turn<'_>,
        instance: &str,
        options: &SessionOptions,
        member: &str,
    ) -> Result<SessionReply, SessionError> {
        match self.sessions.kept.get(instance) {
            // Its answer was lost.
            Some(record) if record.member == member => return Ok(SessionReply::Done),
            Some(_) => return Err(SessionError::Exists),
            None => {}
        }
        if instance.is_empty() || member.is_empty() || !fit([instance, member]) {
            let message = "the consumer's name is empty or longer than 32767 bytes";
            return Err(SessionError::refused(ResponseError::InvalidRequest, message));
        }
        let record =
            SessionRecord { member: member.to_owned(), options: options.clone(), ..Default::default() };
        self.renew_lease(turn, instance, &record);
        turn.record(record_of(turn.group, instance, record));
        Ok(SessionReply::Done)
    }

    /// Keeps what it wants to read from now on. Where it was to begin was said of what it wanted before.
    fn want(&mut self, turn: &mut Turn<'_>, instance: &str, record: &SessionRecord, wanted: Wanted) {
        let mut record = record.clone();
        let stays = match &wanted {
            Wanted::Partitions(partitions) => places_of(partitions),
            Wanted::Nothing | Wanted::Topics(_) | Wanted::Pattern(_) => BTreeSet::new(),
        };
        record.positions.retain(|(_, partition), position| {
            stays.contains(&TopicPlace { topic: position.topic, partition: *partition })
        });
        record.wanted = wanted;
        if let Some(live) = self.sessions.live.get_mut(instance) {
            live.spots.retain(|place, _| stays.contains(place));
            live.poll = None;
        }
        turn.record(record_of(turn.group, instance, record));
    }

    fn assign(
        &mut self,
        turn: &mut Turn<'_>,
        instance: &str,
        record: &SessionRecord,
        partitions: &Partitions,
    ) -> Result<SessionReply, SessionError> {
        match record.wanted {
            Wanted::Topics(_) | Wanted::Pattern(_) => return Err(SessionError::Subscribed),
            Wanted::Nothing | Wanted::Partitions(_) => {}
        }
        self.commit_acknowledged(turn, instance, record);
        let wanted = match partitions.is_empty() {
            true => Wanted::Nothing,
            false => Wanted::Partitions(partitions.clone()),
        };
        self.want(turn, instance, record, wanted);
        Ok(SessionReply::Done)
    }
}

fn record_of(group: &str, instance: &str, value: SessionRecord) -> Entry {
    Entry::Session { group: group.to_owned(), instance: instance.to_owned(), value: Some(value) }
}

fn tombstone(group: &str, instance: &str) -> Entry {
    Entry::Session { group: group.to_owned(), instance: instance.to_owned(), value: None }
}

fn places_of(partitions: &Partitions) -> BTreeSet<TopicPlace> {
    let of = |(topic, partitions): (&domain::TopicId, &BTreeSet<domain::PartitionIndex>)| {
        let topic = *topic;
        partitions
            .iter()
            .map(move |partition| TopicPlace { topic, partition: *partition })
            .collect::<Vec<_>>()
    };
    partitions.iter().flat_map(of).collect()
}
