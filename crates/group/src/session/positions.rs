use std::collections::BTreeSet;

use assign::Partitions;
use domain::{LeaderEpoch, Offset};
use wire::ResponseError;

use super::{Commit, SessionError, SessionReply, Spot, TopicPlace, places_of};
use crate::{
    CommittedOffset, Entry, SessionRecord, Wanted,
    group::{Group, Kept},
    text::STRING_BYTES_MAX,
    turn::Turn,
};

impl Group {
    /// What the consumer may read.
    pub(super) fn owned(&self, turn: &Turn<'_>, record: &SessionRecord) -> Partitions {
        match (&record.wanted, &self.kept) {
            (Wanted::Partitions(partitions), _) => {
                let there = |topic: &domain::TopicId| turn.topics.by_id(*topic).is_some();
                let there = partitions.iter().filter(|(topic, _)| there(topic));
                there.map(|(topic, of)| (*topic, of.clone())).collect()
            }
            (Wanted::Topics(_) | Wanted::Pattern(_), Kept::Consumer(group)) => group
                .members
                .get(record.member.as_str())
                .map(|member| member.current.assigned.clone())
                .unwrap_or_default(),
            _ => Partitions::new(),
        }
    }

    /// The same, and what it is to give up but may still be working on.
    pub(super) fn held(&self, turn: &Turn<'_>, record: &SessionRecord) -> Partitions {
        match (&record.wanted, &self.kept) {
            (Wanted::Topics(_) | Wanted::Pattern(_), Kept::Consumer(group)) => {
                let member = group.members.get(record.member.as_str());
                member.map(|member| member.held()).unwrap_or_default()
            }
            _ => self.owned(turn, record),
        }
    }

    /// Where it reads on in each of these, as far as anybody knows.
    pub(super) fn positions(
        &self,
        turn: &Turn<'_>,
        instance: &str,
        record: &SessionRecord,
        of: &Partitions,
    ) -> Vec<(TopicPlace, Option<Offset>)> {
        let spots = self.sessions.live.get(instance).map(|live| &live.spots);
        let position = |place: TopicPlace| {
            let spot = spots.and_then(|spots| spots.get(&place)).map(|spot| spot.next);
            spot.or_else(|| self.kept_position(turn, record, place))
        };
        places_of(of).into_iter().map(|place| (place, position(place))).collect()
    }

    fn kept_position(&self, turn: &Turn<'_>, record: &SessionRecord, place: TopicPlace) -> Option<Offset> {
        let (name, _) = turn.topics.by_id(place.topic)?;
        let key = (name.as_str().to_owned(), place.partition);
        let begun = record.positions.get(&key).filter(|position| position.topic == place.topic);
        begun
            .map(|position| position.offset)
            .or_else(|| self.committed_at(turn, place).map(|committed| committed.offset))
    }

    fn committed_at(&self, turn: &Turn<'_>, place: TopicPlace) -> Option<&CommittedOffset> {
        let (name, _) = turn.topics.by_id(place.topic)?;
        let committed = self.offsets.get(name.as_str(), place.partition)?;
        // What was committed of another topic that had the name counts for nothing.
        Some(committed).filter(|committed| committed.topic_id.is_none_or(|id| id == place.topic))
    }

    /// What is committed, with what this step commits.
    pub(super) fn committed_of(
        &self,
        turn: &Turn<'_>,
        places: &BTreeSet<TopicPlace>,
    ) -> Vec<(TopicPlace, Offset, String)> {
        let of = |place: &TopicPlace| {
            let (name, _) = turn.topics.by_id(place.topic)?;
            let just_now = turn.step.records.iter().rev().find_map(|entry| match entry {
                Entry::OffsetCommit { topic, partition, value, .. }
                    if topic == name.as_str() && *partition == place.partition =>
                {
                    value.as_ref()
                }
                _ => None,
            });
            let committed = just_now.or_else(|| self.committed_at(turn, *place))?;
            Some((*place, committed.offset, committed.metadata.clone()))
        };
        places.iter().filter_map(of).collect()
    }

    pub(super) fn seek(
        &mut self,
        turn: &mut Turn<'_>,
        instance: &str,
        record: &SessionRecord,
        positions: &[(TopicPlace, Offset)],
    ) -> Result<SessionReply, SessionError> {
        let owned = places_of(&self.owned(turn, record));
        check_owned(turn, &owned, positions.iter().map(|(place, _)| place))?;
        if let Some(live) = self.sessions.live.get_mut(instance) {
            for (place, offset) in positions {
                live.spots.insert(*place, Spot { next: *offset, acknowledged: *offset });
            }
            if let Some(poll) = &mut live.poll {
                // A poll that is under way reads from elsewhere; and what was delivered of these is not to be acknowledged.
                poll.number = turn.moment.fresh.as_u64_pair().1;
                poll.delivered.retain(|range| !positions.iter().any(|(place, _)| *place == range.place));
            }
        }
        self.keep_positions(turn, instance, record, positions);
        Ok(SessionReply::Done)
    }

    pub(super) fn commit_session(
        &mut self,
        turn: &mut Turn<'_>,
        instance: &str,
        record: &SessionRecord,
        commit: &Commit,
    ) -> Result<SessionReply, SessionError> {
        let owned = places_of(&self.held(turn, record));
        let Some(live) = self.sessions.live.get(instance) else { return Err(SessionError::Unknown) };
        let wanted: Vec<(TopicPlace, Offset, String)> = match commit {
            Commit::These(these) => these.clone(),
            Commit::Delivered => {
                let owned = live.spots.iter().filter(|(place, _)| owned.contains(place));
                owned.map(|(place, spot)| (*place, spot.next, String::new())).collect()
            }
        };
        check_owned(turn, &owned, wanted.iter().map(|(place, _, _)| place))?;
        self.check_may_commit(record)?;
        let bytes_max = turn.config.offset_metadata_bytes_max.min(STRING_BYTES_MAX);
        if let Some((_, _, metadata)) = wanted.iter().find(|(_, _, metadata)| metadata.len() > bytes_max) {
            let message = format!("metadata of {} bytes is larger than {bytes_max}", metadata.len());
            return Err(SessionError::refused(ResponseError::OffsetMetadataTooLarge, message));
        }
        for (place, offset, metadata) in wanted {
            commit_one(turn, place, offset, metadata);
            let spot = self.sessions.live.get_mut(instance).and_then(|live| live.spots.get_mut(&place));
            spot.into_iter().for_each(|spot| spot.acknowledged = offset);
        }
        Ok(SessionReply::Done)
    }

    /// A member commits under its epoch, which is always the present one here. Others do only in a group without members.
    fn check_may_commit(&self, record: &SessionRecord) -> Result<(), SessionError> {
        let is_alone = match (&record.wanted, &self.kept) {
            (Wanted::Topics(_) | Wanted::Pattern(_), _) => true,
            (_, Kept::Consumer(group)) => group.members.is_empty(),
            (_, Kept::Nothing | Kept::Classic(_)) => self.classic.is_idle(),
        };
        if is_alone { Ok(()) } else { Err(SessionError::GroupHasMembers) }
    }

    /// Writes what polls have acknowledged.
    pub(super) fn commit_acknowledged(
        &mut self,
        turn: &mut Turn<'_>,
        instance: &str,
        record: &SessionRecord,
    ) {
        let places = self.held(turn, record);
        self.commit_acknowledged_of(turn, instance, record, &places);
        if let Some(live) = self.sessions.live.get_mut(instance) {
            live.commit_ms = None;
        }
    }

    /// The same, of these partitions only.
    pub(super) fn commit_acknowledged_of(
        &self,
        turn: &mut Turn<'_>,
        instance: &str,
        record: &SessionRecord,
        of: &Partitions,
    ) {
        if !record.options.auto_commit || self.check_may_commit(record).is_err() {
            return;
        }
        let Some(live) = self.sessions.live.get(instance) else { return };
        let of = places_of(of);
        for (place, spot) in live.spots.iter().filter(|(place, _)| of.contains(place)) {
            if self.committed_at(turn, *place).map(|committed| committed.offset) != Some(spot.acknowledged) {
                commit_one(turn, *place, spot.acknowledged, String::new());
            }
        }
    }

    /// Whether something was acknowledged that is not committed.
    pub(super) fn is_dirty(&self, turn: &Turn<'_>, instance: &str) -> bool {
        let spots = self.sessions.live.get(instance).into_iter().flat_map(|live| &live.spots);
        let is_dirty = |(place, spot): (&TopicPlace, &Spot)| {
            self.committed_at(turn, *place).map(|committed| committed.offset) != Some(spot.acknowledged)
        };
        spots.into_iter().any(is_dirty)
    }

    /// What the client may still be working on: it was delivered, and neither acknowledged nor committed.
    pub(super) fn busy(
        &self,
        turn: &Turn<'_>,
        instance: &str,
        record: &SessionRecord,
    ) -> BTreeSet<TopicPlace> {
        let live = self.sessions.live.get(instance);
        if live.is_none_or(|live| live.is_inherited) {
            return places_of(&self.held(turn, record));
        }
        let spots = live.into_iter().flat_map(|live| &live.spots);
        let is_busy = |(place, spot): &(&TopicPlace, &Spot)| match record.options.auto_commit {
            true => spot.next != spot.acknowledged,
            false => self.kept_position(turn, record, **place) != Some(spot.next),
        };
        spots.into_iter().filter(is_busy).map(|(place, _)| *place).collect()
    }
}

/// One record of what is committed. A topic that is gone needs none.
fn commit_one(turn: &mut Turn<'_>, place: TopicPlace, offset: Offset, metadata: String) {
    let Some((name, _)) = turn.topics.by_id(place.topic) else { return };
    let value = CommittedOffset {
        offset,
        leader_epoch: LeaderEpoch(-1),
        metadata,
        committed_at_ms: turn.moment.wall_ms,
        expires_at_ms: None,
        topic_id: Some(place.topic),
    };
    turn.record(Entry::OffsetCommit {
        group: turn.group.to_owned(),
        topic: name.as_str().to_owned(),
        partition: place.partition,
        value: Some(value),
    });
}

fn check_owned<'a>(
    turn: &Turn<'_>,
    owned: &BTreeSet<TopicPlace>,
    mut places: impl Iterator<Item = &'a TopicPlace>,
) -> Result<(), SessionError> {
    match places.find(|place| !owned.contains(place)) {
        None => Ok(()),
        Some(place) => {
            let name = turn.topics.by_id(place.topic).map(|(name, _)| name.as_str().to_owned());
            let topic = name.unwrap_or_else(|| place.topic.to_string());
            Err(SessionError::NotOwned { topic, partition: place.partition })
        }
    }
}
