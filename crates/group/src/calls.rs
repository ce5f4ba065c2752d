use wire::{
    ResponseError,
    messages::{
        ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatRequest, HeartbeatResponse,
        JoinGroupRequest, LeaveGroupRequest, LeaveGroupResponse, SyncGroupRequest, SyncGroupResponse,
        leave_group_request::MemberIdentity, leave_group_response::MemberResponse,
    },
};

use crate::{
    Answer, Caller, Token,
    classic::join,
    consumer::{self, Draft},
    group::{Group, Kept},
    migrate,
    text::fit,
    turn::{Refusal, Turn},
};

/// From this version on many may leave at once.
const LEAVE_MANY_VERSION: i16 = 3;

/// What members ask. A group is of one kind, but members of the classic protocol may be in either.
impl Group {
    pub(crate) fn join(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        request: &JoinGroupRequest,
        token: Token,
    ) {
        if let Err(error) = check_join(turn, request) {
            let refused = join::refused(&request.member_id, error, caller.version);
            return turn.answer(token, Answer::Join(refused));
        }
        match &self.kept {
            Kept::Consumer(group) if !group.members.is_empty() => {
                let mut draft = Draft::of(turn.group, group);
                let answer = migrate::join(&mut draft, &mut self.watches, turn, caller, request);
                if answer.error_code == 0 {
                    turn.step.records.extend(draft.into_records());
                    self.topics_version = Some(turn.topics.version());
                }
                turn.answer(token, Answer::Join(answer));
            }
            _ => {
                self.classic.join(turn, caller, request, token);
                self.end_empty_consumer(turn);
            }
        }
    }

    pub(crate) fn sync(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        request: &SyncGroupRequest,
        token: Token,
    ) {
        match &self.kept {
            Kept::Consumer(group) if !group.members.is_empty() => {
                let draft = Draft::of(turn.group, group);
                let answer = migrate::sync(&draft, &mut self.watches, turn, request);
                let refused =
                    |error: ResponseError| SyncGroupResponse::default().with_error_code(error.code());
                turn.answer(token, Answer::Sync(answer.unwrap_or_else(refused)));
            }
            _ => self.classic.sync(turn, caller, request, token),
        }
    }

    pub(crate) fn heartbeat(&mut self, turn: &mut Turn<'_>, request: &HeartbeatRequest, token: Token) {
        let result = match &self.kept {
            Kept::Consumer(group) if !group.members.is_empty() => {
                let mut draft = Draft::of(turn.group, group);
                if self.topics_version != Some(turn.topics.version()) {
                    migrate::topics_changed(&mut draft, turn);
                    self.topics_version = Some(turn.topics.version());
                }
                let result = migrate::heartbeat(&draft, &mut self.watches, turn, request);
                turn.step.records.extend(draft.into_records());
                result
            }
            _ => self.classic.heartbeat(turn, request),
        };
        let code = result.err().map_or(0, |error| error.code());
        turn.answer(token, Answer::Heartbeat(HeartbeatResponse::default().with_error_code(code)));
    }

    pub(crate) fn leave(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        request: &LeaveGroupRequest,
    ) -> LeaveGroupResponse {
        let one = [MemberIdentity::default().with_member_id(request.member_id.clone())];
        let leaving = if caller.version < LEAVE_MANY_VERSION { &one[..] } else { &request.members };
        let results = match &self.kept {
            Kept::Consumer(group) if !group.members.is_empty() => {
                let mut draft = Draft::of(turn.group, group);
                let results = migrate::leave(&mut draft, turn, leaving);
                turn.step.records.extend(draft.into_records());
                results
            }
            _ => self.classic.leave(turn, leaving),
        };
        let code = |result: &Result<(), ResponseError>| result.err().map_or(0, |error| error.code());
        if caller.version < LEAVE_MANY_VERSION {
            return LeaveGroupResponse::default().with_error_code(results.first().map_or(0, code));
        }
        let members = leaving.iter().zip(&results).map(|(identity, result)| {
            MemberResponse::default()
                .with_member_id(identity.member_id.clone())
                .with_group_instance_id(identity.group_instance_id.clone())
                .with_error_code(code(result))
        });
        LeaveGroupResponse::default().with_members(members.collect())
    }

    pub(crate) fn consumer_heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> ConsumerGroupHeartbeatResponse {
        self.try_consumer_heartbeat(turn, caller, request).unwrap_or_else(|refusal| {
            ConsumerGroupHeartbeatResponse::default()
                .with_error_code(refusal.error.code())
                .with_error_message(Some(refusal.message.into()))
        })
    }

    pub(crate) fn try_consumer_heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
        consumer::validate(request, caller.version)?;
        let topics_changed = self.topics_version != Some(turn.topics.version());
        let mut draft = match &self.kept {
            Kept::Consumer(group) => Draft::of(turn.group, group),
            // A client that is told that there is no such group would give up; so it begins anew.
            _ if request.member_epoch != 0 => {
                let message = format!("Member {} is not a member of the group.", request.member_id);
                return Err(Refusal::new(ResponseError::UnknownMemberId, message));
            }
            kept => {
                let is_kept = matches!(kept, Kept::Classic(_));
                migrate::upgrade(&self.classic, is_kept, turn, &mut self.watches)?
            }
        };
        let answer =
            consumer::heartbeat(&mut draft, &mut self.watches, turn, caller, request, topics_changed)?;
        let is_empty = draft.members.is_empty();
        turn.step.records.extend(draft.into_records());
        self.topics_version = Some(turn.topics.version());
        self.empty_since_ms = is_empty.then_some(turn.moment.wall_ms);
        // It is a consumer group now: those who wait for the others of the classic one join again.
        let waiting = self.classic.give_up(ResponseError::RebalanceInProgress);
        turn.step.answers.extend(waiting);
        Ok(answer)
    }
}

fn check_join(turn: &Turn<'_>, request: &JoinGroupRequest) -> Result<(), ResponseError> {
    let (min, max) = (turn.config.session_timeout_ms_min, turn.config.session_timeout_ms_max);
    if !(min..=max).contains(&request.session_timeout_ms) {
        return Err(ResponseError::InvalidSessionTimeout);
    }
    let names = request.protocols.iter().map(|protocol| protocol.name.as_str());
    let own = [request.member_id.as_str(), request.protocol_type.as_str()];
    let instance = request.group_instance_id.as_deref();
    match fit(names.chain(own).chain(instance)) {
        true => Ok(()),
        false => Err(ResponseError::InvalidRequest),
    }
}
