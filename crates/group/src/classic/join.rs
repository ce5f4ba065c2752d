use wire::{
    ResponseError, StrBytes,
    messages::{JoinGroupRequest, JoinGroupResponse, join_group_response::JoinGroupResponseMember},
};

use super::{Classic, Initial, Member, Phase, Waiting};
use crate::{Answer, Caller, ClassicProtocol, Token, text::wire, turn::Turn};

/// A new member cannot send heartbeats before it knows its id; so long its join may wait.
const NEW_MEMBER_JOIN_TIMEOUT_MS: i32 = 5 * 60 * 1000;

/// An id is handed out before the member really joins, so that a lost answer leaves no ghost behind (KIP-394).
const KNOWN_ID_VERSION: i16 = 4;

/// The answer to a join that is refused.
pub(crate) fn refused(member: &str, error: ResponseError, version: i16) -> JoinGroupResponse {
    JoinGroupResponse::default()
        .with_error_code(error.code())
        .with_generation_id(-1)
        // Older versions cannot say null.
        .with_protocol_name((version < 7).then(StrBytes::new))
        .with_member_id(wire(member))
}

/// What a member supports, in its order.
pub(crate) fn protocols(request: &JoinGroupRequest) -> Vec<ClassicProtocol> {
    let protocols = request.protocols.iter();
    protocols.map(|p| ClassicProtocol { name: p.name.to_string(), metadata: p.metadata.clone() }).collect()
}

/// The first version knew one time-out for both.
pub(crate) fn rebalance_timeout_ms(request: &JoinGroupRequest) -> i32 {
    match request.rebalance_timeout_ms {
        ..0 => request.session_timeout_ms,
        timeout_ms => timeout_ms,
    }
}

pub(crate) fn needs_known_id(request: &JoinGroupRequest, version: i16) -> bool {
    version >= KNOWN_ID_VERSION && request.member_id.is_empty() && request.group_instance_id.is_none()
}

/// As Kafka's: the instance or the client, and something random.
pub(crate) fn new_member_id(request: &JoinGroupRequest, caller: &Caller, turn: &Turn<'_>) -> String {
    let name = request.group_instance_id.as_deref().unwrap_or(&caller.client_id);
    format!("{name}-{}", turn.moment.fresh)
}

impl Classic {
    pub(crate) fn join(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        request: &JoinGroupRequest,
        token: Token,
    ) {
        if let Err(error) = self.try_join(turn, caller, request, token) {
            let refused = refused(&request.member_id, error, caller.version);
            turn.answer(token, Answer::Join(refused));
        }
    }

    fn try_join(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        request: &JoinGroupRequest,
        token: Token,
    ) -> Result<(), ResponseError> {
        if self.is_full(&request.member_id, turn.config.max_size) {
            return Err(ResponseError::GroupMaxSizeReached);
        }
        let id = request.member_id.as_str();
        let replaced = request.group_instance_id.as_deref().and_then(|i| self.instance_owner(i));
        if !self.takes(&request.protocol_type, &protocols(request), replaced.unwrap_or(id)) {
            return Err(ResponseError::InconsistentGroupProtocol);
        }
        let waiting = Waiting { token, version: caller.version };
        match id {
            "" => self.join_new(turn, caller, request, waiting),
            id if self.pending.contains_key(id) => self.add(turn, caller, request, id.to_owned(), waiting),
            id => self.join_again(turn, request, id, waiting)?,
        }
        Ok(())
    }

    fn is_full(&self, id: &str, max_size: usize) -> bool {
        let joined = match self.phase {
            Phase::Empty => return max_size == 0,
            Phase::Preparing { .. } => self.members.values().filter(|m| m.joining.is_some()).count(),
            Phase::Completing | Phase::Stable => self.members.len(),
        };
        let is_in = match self.phase {
            Phase::Preparing { .. } => self.members.get(id).is_some_and(|m| m.joining.is_some()),
            _ => self.members.contains_key(id),
        };
        !is_in && joined >= max_size
    }

    /// Whether all others could go by one of these protocols.
    fn takes(&self, protocol_type: &str, protocols: &[ClassicProtocol], joiner: &str) -> bool {
        let mut others =
            self.members.iter().filter(|(id, _)| id.as_str() != joiner).map(|(_, m)| m).peekable();
        if protocol_type.is_empty() || protocols.is_empty() {
            return false;
        }
        if others.peek().is_none() {
            return true;
        }
        let others: Vec<&Member> = others.collect();
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|p| others.iter().all(|other| other.supports(&p.name)))
    }

    fn join_new(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        request: &JoinGroupRequest,
        waiting: Waiting,
    ) {
        let id = new_member_id(request, caller, turn);
        if needs_known_id(request, caller.version) {
            let until_ms = turn.after(request.session_timeout_ms);
            self.pending.insert(id.clone(), until_ms);
            let refused = refused(&id, ResponseError::MemberIdRequired, caller.version);
            return turn.answer(waiting.token, Answer::Join(refused));
        }
        let owner = request.group_instance_id.as_deref().and_then(|instance| self.instance_owner(instance));
        match owner.map(str::to_owned) {
            Some(old) => self.replace(turn, caller, request, &old, id, waiting),
            None => self.add(turn, caller, request, id, waiting),
        }
    }

    pub(super) fn add(
        &mut self,
        turn: &mut Turn<'_>,
        caller: &Caller,
        request: &JoinGroupRequest,
        id: String,
        waiting: Waiting,
    ) {
        self.pending.remove(&id);
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.to_string());
        }
        self.leader.get_or_insert_with(|| id.clone());
        let member = Member {
            instance: request.group_instance_id.as_deref().map(str::to_owned),
            client_id: caller.client_id.clone(),
            client_host: caller.host.clone(),
            rebalance_timeout_ms: rebalance_timeout_ms(request),
            session_timeout_ms: request.session_timeout_ms,
            protocols: protocols(request),
            assignment: Default::default(),
            deadline_ms: turn.after(NEW_MEMBER_JOIN_TIMEOUT_MS),
            is_new: true,
            unsynced: false,
            joining: Some(waiting),
            syncing: None,
        };
        self.members.insert(id, member);
        if let Phase::Preparing { initial: Some(Initial { more_came, .. }), .. } = &mut self.phase {
            *more_came = true;
        }
        self.rebalance_or_complete(turn);
    }

    fn join_again(
        &mut self,
        turn: &mut Turn<'_>,
        request: &JoinGroupRequest,
        id: &str,
        waiting: Waiting,
    ) -> Result<(), ResponseError> {
        self.check_member(id, request.group_instance_id.as_deref())?;
        let member = self.members.get_mut(id).ok_or(ResponseError::UnknownMemberId)?;
        let same = member.protocols == protocols(request);
        let leads = self.leader.as_deref() == Some(id);
        let stays = match self.phase {
            Phase::Empty => return Err(ResponseError::UnknownMemberId),
            Phase::Preparing { .. } => false,
            // Its answer was lost; it may have it again.
            Phase::Completing => same,
            // A leader that joins wants a new assignment, for reasons that only it knows.
            Phase::Stable => same && !leads,
        };
        if stays {
            member.heard(turn);
            let answer = self.joined(id);
            turn.answer(waiting.token, Answer::Join(answer));
            return Ok(());
        }
        self.update(turn, request, id, waiting);
        self.rebalance_or_complete(turn);
        Ok(())
    }

    pub(super) fn update(
        &mut self,
        turn: &mut Turn<'_>,
        request: &JoinGroupRequest,
        id: &str,
        waiting: Waiting,
    ) {
        let Some(member) = self.members.get_mut(id) else { return };
        member.refuse(id, ResponseError::RebalanceInProgress, turn);
        member.protocols = protocols(request);
        member.rebalance_timeout_ms = rebalance_timeout_ms(request);
        member.session_timeout_ms = request.session_timeout_ms;
        member.joining = Some(waiting);
        member.heard(turn);
    }

    /// What a member is told of the present generation: its leader gets what all members sent.
    pub(super) fn joined(&self, id: &str) -> JoinGroupResponse {
        let leads = self.leader.as_deref() == Some(id);
        JoinGroupResponse::default()
            .with_generation_id(self.generation)
            .with_protocol_type(self.protocol_type.as_deref().map(wire))
            .with_protocol_name(Some(wire(self.protocol.as_deref().unwrap_or_default())))
            .with_leader(wire(self.leader.as_deref().unwrap_or_default()))
            .with_member_id(wire(id))
            .with_members(if leads { self.all_members() } else { Vec::new() })
    }

    pub(super) fn all_members(&self) -> Vec<JoinGroupResponseMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let member = |(id, member): (&String, &Member)| {
            JoinGroupResponseMember::default()
                .with_member_id(wire(id))
                .with_group_instance_id(member.instance.as_deref().map(wire))
                .with_metadata(member.metadata(protocol))
        };
        self.members.iter().map(member).collect()
    }
}
