use std::sync::Arc;

use super::{
    BeginPoll, EndPoll, Live, Poll, PollBegun, SessionError, SessionReply, Spot, places_of, record_of,
};
use crate::{Caller, KeptPosition, SessionRecord, Wanted, group::Group, turn::Turn};

/// So long what was acknowledged may wait to be written: a replicated write for every poll would be ruinous.
const AUTO_COMMIT_MS: u64 = 1000;

impl Group {
    pub(super) fn begin_poll(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        instance: &str,
        record: &Arc<SessionRecord>,
        begin: &BeginPoll,
    ) -> Result<SessionReply, SessionError> {
        if begin.format.is_some_and(|format| format != record.options.format) {
            return Err(SessionError::OtherFormat(record.options.format));
        }
        let Some(live) = self.sessions.live.get_mut(instance) else { return Err(SessionError::Unknown) };
        match (&mut live.poll, begin.again) {
            (Some(poll), Some(again)) if poll.number != again => return Err(SessionError::Superseded),
            (Some(_), Some(_)) => {}
            (Some(poll), None) => {
                if begin.request.is_some() && poll.request == begin.request && !poll.delivered.is_empty() {
                    // Whoever gave up the poll before it has no say in this one.
                    poll.number = turn.moment.fresh.as_u64_pair().1;
                    return Ok(SessionReply::PollBegun(PollBegun {
                        poll: poll.number,
                        options: record.options.clone(),
                        positions: Vec::new(),
                        replay: poll.delivered.clone(),
                    }));
                }
                live.acknowledge();
            }
            // Another coordinator had it: what it delivered was not acknowledged, and is delivered again.
            (None, _) => {}
        }
        let number = turn.moment.fresh.as_u64_pair().1;
        live.is_inherited = false;
        live.poll = Some(Poll { number, request: begin.request.clone(), delivered: Vec::new() });
        if record.options.auto_commit && self.is_dirty(turn, instance) {
            let due_ms = turn.now_ms().saturating_add(AUTO_COMMIT_MS);
            if let Some(live) = self.sessions.live.get_mut(instance) {
                let at_ms = *live.commit_ms.get_or_insert(due_ms);
                turn.wake(at_ms);
            }
        }
        let (owned, joined) = match &record.wanted {
            Wanted::Topics(_) | Wanted::Pattern(_) => self.advance_or_join(turn, caller, instance, record)?,
            Wanted::Partitions(_) | Wanted::Nothing => (self.owned(turn, record), false),
        };
        let positions = match joined {
            false => self.positions(turn, instance, record, &owned),
            true => {
                let anew = SessionRecord { positions: Default::default(), ..(**record).clone() };
                self.positions(turn, instance, &anew, &owned)
            }
        };
        let options = record.options.clone();
        Ok(SessionReply::PollBegun(PollBegun { poll: number, options, positions, replay: Vec::new() }))
    }

    /// Takes note of what is handed to the client. Refused as a whole if any of it is not the consumer's any more.
    pub(super) fn end_poll(
        &mut self,
        turn: &mut Turn<'_>,
        instance: &str,
        record: &SessionRecord,
        end: &EndPoll,
    ) -> Result<SessionReply, SessionError> {
        let owned = places_of(&self.owned(turn, record));
        let Some(live) = self.sessions.live.get_mut(instance) else { return Err(SessionError::Unknown) };
        // Another coordinator began it.
        let poll = live.poll.as_mut().ok_or(SessionError::Moved)?;
        if poll.number != end.poll {
            return Err(SessionError::Superseded);
        }
        if !poll.delivered.is_empty() && poll.delivered == end.delivered {
            // The answer was lost.
            return Ok(SessionReply::Done);
        }
        if !poll.delivered.is_empty() {
            return Err(SessionError::Superseded);
        }
        let places = end.began.iter().map(|(place, _)| place);
        if !places.chain(end.delivered.iter().map(|range| &range.place)).all(|place| owned.contains(place)) {
            return Err(SessionError::Moved);
        }
        for (place, offset) in &end.began {
            live.spots.insert(*place, Spot { next: *offset, acknowledged: *offset });
        }
        for range in &end.delivered {
            let spot =
                live.spots.entry(range.place).or_insert(Spot { next: range.from, acknowledged: range.from });
            spot.next = range.to;
        }
        poll.delivered.clone_from(&end.delivered);
        self.keep_positions(turn, instance, record, &end.began);
        Ok(SessionReply::Done)
    }

    /// Writes down where reading begins.
    pub(super) fn keep_positions(
        &self,
        turn: &mut Turn<'_>,
        instance: &str,
        record: &SessionRecord,
        began: &[(super::TopicPlace, domain::Offset)],
    ) {
        let mut kept = record.clone();
        for (place, offset) in began {
            if let Some((name, _)) = turn.topics.by_id(place.topic) {
                let position = KeptPosition { topic: place.topic, offset: *offset };
                kept.positions.insert((name.as_str().to_owned(), place.partition), position);
            }
        }
        if kept.positions != record.positions {
            turn.record(record_of(turn.group, instance, kept));
        }
    }

    pub(super) fn undelivered(&mut self, instance: &str, number: u64) {
        let Some(live) = self.sessions.live.get_mut(instance) else { return };
        let Some(poll) = live.poll.as_mut().filter(|poll| poll.number == number) else { return };
        for range in std::mem::take(&mut poll.delivered) {
            if let Some(spot) = live.spots.get_mut(&range.place).filter(|spot| spot.next == range.to) {
                spot.next = range.from;
            }
        }
    }
}

impl Live {
    /// The client has what was delivered last.
    fn acknowledge(&mut self) {
        let delivered = self.poll.as_mut().map(|poll| std::mem::take(&mut poll.delivered));
        for range in delivered.into_iter().flatten() {
            // It may have been sent elsewhere since.
            if let Some(spot) = self.spots.get_mut(&range.place).filter(|spot| spot.next == range.to) {
                spot.acknowledged = range.to;
            }
        }
    }
}
