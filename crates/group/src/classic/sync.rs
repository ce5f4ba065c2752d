use std::collections::BTreeMap;

use bytes::Bytes;
use wire::{
    ResponseError,
    messages::{SyncGroupRequest, SyncGroupResponse},
};

use super::{Classic, Phase, Waiting};
use crate::{Answer, Caller, Token, text::wire, turn::Turn};

impl Classic {
    pub(crate) fn sync(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        request: &SyncGroupRequest,
        token: Token,
    ) {
        if let Err(error) = self.try_sync(turn, caller, request, token) {
            turn.answer(token, Answer::Sync(SyncGroupResponse::default().with_error_code(error.code())));
        }
    }

    fn try_sync(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        request: &SyncGroupRequest,
        token: Token,
    ) -> Result<(), ResponseError> {
        let id = request.member_id.as_str();
        self.check_member(id, request.group_instance_id.as_deref())?;
        self.check_generation(request.generation_id)?;
        let differs = |given: Option<&str>, own: &Option<String>| {
            given.is_some_and(|given| own.as_deref().is_some_and(|own| own != given))
        };
        if differs(request.protocol_type.as_deref(), &self.protocol_type)
            || differs(request.protocol_name.as_deref(), &self.protocol)
        {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        let member = self.members.get_mut(id).ok_or(ResponseError::UnknownMemberId)?;
        match self.phase {
            Phase::Empty => Err(ResponseError::UnknownMemberId),
            Phase::Preparing { .. } => Err(ResponseError::RebalanceInProgress),
            Phase::Completing => {
                member.refuse(id, ResponseError::RebalanceInProgress, turn);
                member.syncing = Some(Waiting { token, version: caller.version });
                member.unsynced = false;
                member.heard(turn);
                if self.leader.as_deref() == Some(id) {
                    self.hand_out(turn, request);
                }
                Ok(())
            }
            Phase::Stable => {
                member.unsynced = false;
                member.heard(turn);
                let answer = self.synced(id);
                turn.answer(token, Answer::Sync(answer));
                Ok(())
            }
        }
    }

    /// The leader has spoken: everybody gets its part.
    fn hand_out(&mut self, turn: &mut Turn<'_>, request: &SyncGroupRequest) {
        let parts: BTreeMap<&str, &Bytes> =
            request.assignments.iter().map(|part| (part.member_id.as_str(), &part.assignment)).collect();
        for (id, member) in &mut self.members {
            member.assignment = parts.get(id.as_str()).copied().cloned().unwrap_or_default();
        }
        self.phase = Phase::Stable;
        self.state_since_ms = turn.moment.wall_ms;
        turn.record(self.record(turn.group));
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in &ids {
            let Some(waiting) = self.members.get_mut(id).and_then(|member| member.syncing.take()) else {
                continue;
            };
            let answer = self.synced(id);
            turn.answer(waiting.token, Answer::Sync(answer));
            self.members.get_mut(id).into_iter().for_each(|member| member.heard(turn));
        }
    }

    fn synced(&self, id: &str) -> SyncGroupResponse {
        let assignment = self.members.get(id).map(|member| member.assignment.clone());
        SyncGroupResponse::default()
            .with_protocol_type(self.protocol_type.as_deref().map(wire))
            .with_protocol_name(self.protocol.as_deref().map(wire))
            .with_assignment(assignment.unwrap_or_default())
    }
}
