//! What gateways and coordinators say to each other about REST consumers.

use std::collections::BTreeSet;

use assign::Partitions;
use bytes::Bytes;
use domain::{Offset, PartitionIndex, TopicId};
use group::{
    BeginPoll, Commit, Described, EndPoll, OffsetReset, PollBegun, Range, RecordFormat, SessionCall,
    SessionError, SessionOp, SessionOptions, SessionReply, Subscribed, TopicPlace, Wanted,
};
use wire::ResponseError;

use crate::{
    convert::{ConversionError, Result, invalid, uuid, uuid_bytes},
    storage_pb as pb,
};

/// The version of every message about a session.
const FORMAT: u32 = 1;

pub fn session_call_to_pb(call: &SessionCall, client_host: &str) -> pb::SessionRequest {
    use pb::session_request::Op;
    let nothing = pb::Nothing {};
    let op = match &call.op {
        SessionOp::Create { options, member } => {
            Op::Create(pb::Create { options: Some(options_to(options)), member: member.clone() })
        }
        SessionOp::Delete => Op::Delete(nothing),
        SessionOp::Describe => Op::Describe(nothing),
        SessionOp::Subscribe(Subscribed::Topics(topics)) => {
            Op::Subscribe(pb::Subscribed { topics: topics.iter().cloned().collect(), pattern: None })
        }
        SessionOp::Subscribe(Subscribed::Pattern(pattern)) => {
            Op::Subscribe(pb::Subscribed { topics: Vec::new(), pattern: Some(pattern.clone()) })
        }
        SessionOp::Unsubscribe => Op::Unsubscribe(nothing),
        SessionOp::Assign(partitions) => Op::Assign(partitions_to(partitions)),
        SessionOp::Seek(positions) => Op::Seek(pb::Positions {
            positions: positions
                .iter()
                .map(|(place, offset)| position_to(place, Some(*offset), ""))
                .collect(),
        }),
        SessionOp::BeginPoll(begin) => {
            let format = begin.format.map(|format| format_to(format).into());
            Op::BeginPoll(pb::BeginPoll { request_id: begin.request.clone(), again: begin.again, format })
        }
        SessionOp::EndPoll(end) => Op::EndPoll(pb::EndPoll {
            poll: end.poll,
            began: end.began.iter().map(|(place, offset)| position_to(place, Some(*offset), "")).collect(),
            delivered: end.delivered.iter().map(range_to).collect(),
        }),
        SessionOp::Undelivered { poll } => Op::Undelivered(*poll),
        SessionOp::Commit(Commit::Delivered) => Op::CommitDelivered(nothing),
        SessionOp::Commit(Commit::These(these)) => Op::Commit(committed_to(these)),
        SessionOp::Committed(places) => {
            Op::Committed(pb::Places { places: places.iter().map(place_to).collect() })
        }
    };
    pb::SessionRequest {
        format: FORMAT,
        group: call.group.clone(),
        instance: call.instance.clone(),
        client_host: client_host.to_owned(),
        op: Some(op),
    }
}

/// The call, and the host that it comes from.
pub fn session_call_from_pb(request: pb::SessionRequest) -> Result<(SessionCall, String)> {
    use pb::session_request::Op;
    if request.format != FORMAT {
        return Err(invalid("format", format!("{} is not known, {FORMAT} is", request.format)));
    }
    let op = match request.op.ok_or(ConversionError::Missing("op"))? {
        Op::Create(create) => {
            let options = create.options.ok_or(ConversionError::Missing("options"))?;
            SessionOp::Create { options: options_from(&options), member: create.member }
        }
        Op::Delete(_) => SessionOp::Delete,
        Op::Describe(_) => SessionOp::Describe,
        Op::Subscribe(wanted) => SessionOp::Subscribe(match wanted.pattern {
            Some(pattern) => Subscribed::Pattern(pattern),
            None => Subscribed::Topics(wanted.topics.into_iter().collect()),
        }),
        Op::Unsubscribe(_) => SessionOp::Unsubscribe,
        Op::Assign(places) => SessionOp::Assign(partitions_from(&places.places)?),
        Op::Seek(positions) => SessionOp::Seek(known_from(&positions.positions)?),
        Op::BeginPoll(begin) => {
            let format = begin.format.map(|_| format_from(begin.format()));
            SessionOp::BeginPoll(BeginPoll { request: begin.request_id, again: begin.again, format })
        }
        Op::EndPoll(end) => SessionOp::EndPoll(EndPoll {
            poll: end.poll,
            began: known_from(&end.began)?,
            delivered: end.delivered.iter().map(range_from).collect::<Result<_>>()?,
        }),
        Op::Undelivered(poll) => SessionOp::Undelivered { poll },
        Op::CommitDelivered(_) => SessionOp::Commit(Commit::Delivered),
        Op::Commit(positions) => SessionOp::Commit(Commit::These(committed_from(positions)?)),
        Op::Committed(places) => {
            let places = places.places.iter().map(place_from);
            SessionOp::Committed(places.collect::<Result<BTreeSet<_>>>()?)
        }
    };
    let call = SessionCall { group: request.group, instance: request.instance, op };
    Ok((call, request.client_host))
}

pub fn session_outcome_to_pb(
    outcome: &std::result::Result<SessionReply, SessionError>,
) -> pb::SessionResponse {
    use pb::session_response::Outcome;
    let outcome = match outcome {
        Ok(SessionReply::Done) => Outcome::Done(pb::Nothing {}),
        Ok(SessionReply::Described(described)) => {
            use pb::described::Wanted as To;
            let wanted = match &described.wanted {
                Wanted::Nothing => None,
                Wanted::Topics(topics) => Some(To::Subscribed(pb::Subscribed {
                    topics: topics.iter().cloned().collect(),
                    pattern: None,
                })),
                Wanted::Pattern(pattern) => Some(To::Subscribed(pb::Subscribed {
                    topics: Vec::new(),
                    pattern: Some(pattern.clone()),
                })),
                Wanted::Partitions(partitions) => Some(To::Assigned(partitions_to(partitions))),
            };
            Outcome::Described(pb::Described {
                options: Some(options_to(&described.options)),
                wanted,
                positions: positions_to(&described.positions),
            })
        }
        Ok(SessionReply::PollBegun(begun)) => Outcome::PollBegun(pb::PollBegun {
            poll: begun.poll,
            options: Some(options_to(&begun.options)),
            positions: positions_to(&begun.positions),
            replay: begun.replay.iter().map(range_to).collect(),
        }),
        Ok(SessionReply::Committed(committed)) => Outcome::Committed(committed_to(committed)),
        Err(error) => Outcome::Failure(failure_to(error)),
    };
    pb::SessionResponse { outcome: Some(outcome) }
}

pub fn session_outcome_from_pb(
    response: pb::SessionResponse,
) -> Result<std::result::Result<SessionReply, SessionError>> {
    use pb::session_response::Outcome;
    let answer = match response.outcome.ok_or(ConversionError::Missing("outcome"))? {
        Outcome::Done(_) => SessionReply::Done,
        Outcome::Described(described) => {
            use pb::described::Wanted as From;
            SessionReply::Described(Box::new(Described {
                options: options_from(&described.options.ok_or(ConversionError::Missing("options"))?),
                wanted: match described.wanted {
                    None => Wanted::Nothing,
                    Some(From::Assigned(places)) => Wanted::Partitions(partitions_from(&places.places)?),
                    Some(From::Subscribed(wanted)) => match wanted.pattern {
                        Some(pattern) => Wanted::Pattern(pattern),
                        None => Wanted::Topics(wanted.topics.into_iter().collect()),
                    },
                },
                positions: positions_from(&described.positions)?,
            }))
        }
        Outcome::PollBegun(begun) => SessionReply::PollBegun(PollBegun {
            poll: begun.poll,
            options: options_from(&begun.options.ok_or(ConversionError::Missing("options"))?),
            positions: positions_from(&begun.positions)?,
            replay: begun.replay.iter().map(range_from).collect::<Result<_>>()?,
        }),
        Outcome::Committed(positions) => SessionReply::Committed(committed_from(positions)?),
        Outcome::Failure(failure) => return failure_from(failure).map(Err),
    };
    Ok(Ok(answer))
}

fn failure_to(error: &SessionError) -> pb::SessionFailure {
    use pb::session_failure::Kind;
    let mut failure = pb::SessionFailure { message: error.to_string(), ..Default::default() };
    let kind = match error {
        SessionError::Refused { code, .. } => {
            failure.code = code.code().into();
            Kind::Refused
        }
        SessionError::Unknown => Kind::Unknown,
        SessionError::Exists => Kind::Exists,
        SessionError::Subscribed => Kind::Subscribed,
        SessionError::Assigned => Kind::Assigned,
        SessionError::NotOwned { topic, partition } => {
            (failure.topic, failure.partition) = (topic.clone(), partition.0);
            Kind::NotOwned
        }
        SessionError::GroupHasMembers => Kind::GroupHasMembers,
        SessionError::Superseded => Kind::Superseded,
        SessionError::Moved => Kind::Moved,
        SessionError::OtherFormat(format) => {
            failure.set_format(format_to(*format));
            Kind::OtherFormat
        }
    };
    failure.set_kind(kind);
    failure
}

fn failure_from(failure: pb::SessionFailure) -> Result<SessionError> {
    use pb::session_failure::Kind;
    let kind = Kind::try_from(failure.kind).map_err(|e| invalid("failure.kind", e))?;
    Ok(match kind {
        Kind::Refused => SessionError::Refused {
            code: i16::try_from(failure.code)
                .ok()
                .and_then(ResponseError::try_from_code)
                .unwrap_or(ResponseError::UnknownServerError),
            message: failure.message,
        },
        Kind::Unknown => SessionError::Unknown,
        Kind::Exists => SessionError::Exists,
        Kind::Subscribed => SessionError::Subscribed,
        Kind::Assigned => SessionError::Assigned,
        Kind::NotOwned => {
            SessionError::NotOwned { topic: failure.topic, partition: PartitionIndex(failure.partition) }
        }
        Kind::GroupHasMembers => SessionError::GroupHasMembers,
        Kind::Superseded => SessionError::Superseded,
        Kind::Moved => SessionError::Moved,
        Kind::OtherFormat => SessionError::OtherFormat(format_from(failure.format())),
    })
}

fn options_to(options: &SessionOptions) -> pb::SessionOptions {
    use pb::session_options::Reset;
    let mut message = pb::SessionOptions {
        auto_commit: options.auto_commit,
        fetch_bytes_min: options.fetch_bytes_min,
        request_timeout_ms: options.request_timeout_ms,
        ..Default::default()
    };
    message.set_format(format_to(options.format));
    message.set_reset(match options.reset {
        OffsetReset::Earliest => Reset::Earliest,
        OffsetReset::Latest => Reset::Latest,
        OffsetReset::None => Reset::None,
    });
    message
}

fn options_from(message: &pb::SessionOptions) -> SessionOptions {
    use pb::session_options::Reset;
    SessionOptions {
        format: format_from(message.format()),
        reset: match message.reset() {
            Reset::Earliest => OffsetReset::Earliest,
            Reset::Latest => OffsetReset::Latest,
            Reset::None => OffsetReset::None,
        },
        auto_commit: message.auto_commit,
        fetch_bytes_min: message.fetch_bytes_min,
        request_timeout_ms: message.request_timeout_ms,
    }
}

fn format_to(format: RecordFormat) -> pb::session_options::Format {
    match format {
        RecordFormat::Binary => pb::session_options::Format::Binary,
        RecordFormat::Json => pb::session_options::Format::Json,
    }
}

fn format_from(format: pb::session_options::Format) -> RecordFormat {
    match format {
        pb::session_options::Format::Binary => RecordFormat::Binary,
        pb::session_options::Format::Json => RecordFormat::Json,
    }
}

fn place_to(place: &TopicPlace) -> pb::Place {
    pb::Place { topic_id: uuid_bytes(place.topic.0), partition: place.partition.0 }
}

fn place_from(message: &pb::Place) -> Result<TopicPlace> {
    let topic = TopicId(uuid("topic_id", &message.topic_id)?);
    Ok(TopicPlace { topic, partition: PartitionIndex(message.partition) })
}

fn some_place(message: &Option<pb::Place>) -> Result<TopicPlace> {
    place_from(message.as_ref().ok_or(ConversionError::Missing("place"))?)
}

fn partitions_to(partitions: &Partitions) -> pb::Places {
    let places = partitions.iter().flat_map(|(topic, of)| {
        let topic_id: Bytes = uuid_bytes(topic.0);
        of.iter().map(move |partition| pb::Place { topic_id: topic_id.clone(), partition: partition.0 })
    });
    pb::Places { places: places.collect() }
}

fn partitions_from(places: &[pb::Place]) -> Result<Partitions> {
    let mut partitions = Partitions::new();
    for place in places {
        let place = place_from(place)?;
        partitions.entry(place.topic).or_default().insert(place.partition);
    }
    Ok(partitions)
}

fn position_to(place: &TopicPlace, offset: Option<Offset>, metadata: &str) -> pb::Position {
    let offset = offset.map(|offset| offset.0);
    pb::Position { place: Some(place_to(place)), offset, metadata: metadata.to_owned() }
}

fn positions_to(positions: &[(TopicPlace, Option<Offset>)]) -> Vec<pb::Position> {
    positions.iter().map(|(place, offset)| position_to(place, *offset, "")).collect()
}

fn positions_from(positions: &[pb::Position]) -> Result<Vec<(TopicPlace, Option<Offset>)>> {
    positions.iter().map(|p| Ok((some_place(&p.place)?, p.offset.map(Offset)))).collect()
}

fn known_from(positions: &[pb::Position]) -> Result<Vec<(TopicPlace, Offset)>> {
    let known = |p: &pb::Position| {
        let offset = p.offset.ok_or(ConversionError::Missing("offset"))?;
        Ok((some_place(&p.place)?, Offset(offset)))
    };
    positions.iter().map(known).collect()
}

fn committed_to(committed: &[(TopicPlace, Offset, String)]) -> pb::Positions {
    let positions =
        committed.iter().map(|(place, offset, metadata)| position_to(place, Some(*offset), metadata));
    pb::Positions { positions: positions.collect() }
}

fn committed_from(positions: pb::Positions) -> Result<Vec<(TopicPlace, Offset, String)>> {
    let of = |p: pb::Position| {
        let offset = p.offset.ok_or(ConversionError::Missing("offset"))?;
        Ok((some_place(&p.place)?, Offset(offset), p.metadata))
    };
    positions.positions.into_iter().map(of).collect()
}

fn range_to(range: &Range) -> pb::Range {
    pb::Range { place: Some(place_to(&range.place)), from: range.from.0, to: range.to.0 }
}

fn range_from(message: &pb::Range) -> Result<Range> {
    let place = some_place(&message.place)?;
    Ok(Range { place, from: Offset(message.from), to: Offset(message.to) })
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn place(partition: i32) -> TopicPlace {
        TopicPlace { topic: TopicId(Uuid::from_u128(7)), partition: PartitionIndex(partition) }
    }

    fn range() -> Range {
        Range { place: place(3), from: Offset(4), to: Offset(9) }
    }

    fn options() -> SessionOptions {
        SessionOptions {
            format: RecordFormat::Json,
            reset: OffsetReset::None,
            auto_commit: true,
            fetch_bytes_min: 5,
            request_timeout_ms: 700,
        }
    }

    #[test]
    fn every_call_survives_the_journey() {
        let topics = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let partitions = Partitions::from([(place(3).topic, BTreeSet::from([place(3).partition]))]);
        let these = vec![(place(1), Offset(5), "note".to_owned())];
        let format = Some(RecordFormat::Json);
        let begin = BeginPoll { request: Some("r".to_owned()), again: Some(u64::MAX), format };
        let began = vec![(place(0), Offset(1))];
        let ops = [
            SessionOp::Create { options: options(), member: "m".to_owned() },
            SessionOp::Delete,
            SessionOp::Describe,
            SessionOp::Subscribe(Subscribed::Topics(topics)),
            SessionOp::Subscribe(Subscribed::Pattern("a.*".to_owned())),
            SessionOp::Unsubscribe,
            SessionOp::Assign(partitions),
            SessionOp::Seek(vec![(place(2), Offset(8))]),
            SessionOp::BeginPoll(begin),
            SessionOp::BeginPoll(BeginPoll::default()),
            SessionOp::EndPoll(EndPoll { poll: 9, began, delivered: vec![range()] }),
            SessionOp::Undelivered { poll: 9 },
            SessionOp::Commit(Commit::Delivered),
            SessionOp::Commit(Commit::These(these)),
            SessionOp::Committed(BTreeSet::from([place(0)])),
        ];
        for op in ops {
            let call = SessionCall { group: "g".to_owned(), instance: "i".to_owned(), op };
            let read = session_call_from_pb(session_call_to_pb(&call, "/127.0.0.1"));
            assert_eq!(read, Ok((call, "/127.0.0.1".to_owned())));
        }
    }

    #[test]
    fn every_answer_survives_the_journey() {
        let begun = PollBegun {
            poll: 9,
            options: options(),
            positions: vec![(place(0), None), (place(1), Some(Offset(4)))],
            replay: vec![range()],
        };
        let committed = vec![(place(1), Offset(5), "note".to_owned())];
        for reply in [SessionReply::Done, SessionReply::PollBegun(begun), SessionReply::Committed(committed)]
        {
            assert_eq!(session_outcome_from_pb(session_outcome_to_pb(&Ok(reply.clone()))), Ok(Ok(reply)));
        }
        let partitions = Partitions::from([(place(3).topic, BTreeSet::from([place(3).partition]))]);
        let topics = Wanted::Topics(BTreeSet::from(["t".to_owned()]));
        for wanted in
            [Wanted::Nothing, topics, Wanted::Pattern("p".to_owned()), Wanted::Partitions(partitions)]
        {
            let positions = vec![(place(3), Some(Offset(1)))];
            let described = Described { options: options(), wanted, positions };
            let reply = SessionReply::Described(Box::new(described));
            assert_eq!(session_outcome_from_pb(session_outcome_to_pb(&Ok(reply.clone()))), Ok(Ok(reply)));
        }
    }

    #[test]
    fn every_error_survives_the_journey() {
        let errors = [
            SessionError::Refused { code: ResponseError::NotCoordinator, message: "no".to_owned() },
            SessionError::Unknown,
            SessionError::Exists,
            SessionError::Subscribed,
            SessionError::Assigned,
            SessionError::NotOwned { topic: "t".to_owned(), partition: PartitionIndex(4) },
            SessionError::GroupHasMembers,
            SessionError::Superseded,
            SessionError::Moved,
            SessionError::OtherFormat(RecordFormat::Json),
        ];
        for error in errors {
            assert_eq!(session_outcome_from_pb(session_outcome_to_pb(&Err(error.clone()))), Ok(Err(error)));
        }
    }
}
