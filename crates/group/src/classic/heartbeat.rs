use wire::{ResponseError, messages::HeartbeatRequest};

use super::{Classic, Phase};
use crate::turn::Turn;

impl Classic {
    pub(crate) fn heartbeat(
        &mut self,
        turn: &mut Turn<'_>,
        request: &HeartbeatRequest,
    ) -> Result<(), ResponseError> {
        let id = request.member_id.as_str();
        self.check_member(id, request.group_instance_id.as_deref())?;
        self.check_generation(request.generation_id)?;
        let member = self.members.get_mut(id).ok_or(ResponseError::UnknownMemberId)?;
        match self.phase {
            Phase::Empty => return Err(ResponseError::UnknownMemberId),
            Phase::Preparing { .. } => {
                member.heard(turn);
                return Err(ResponseError::RebalanceInProgress);
            }
            Phase::Completing | Phase::Stable => member.heard(turn),
        }
        Ok(())
    }

    /// Whether this caller may commit now (INVARIANTS G2). A commit is a sign of life.
    pub(crate) fn check_commit(
        &mut self,
        turn: &mut Turn<'_>,
        id: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ResponseError> {
        if generation < 0 && self.phase == Phase::Empty {
            return Ok(());
        }
        if generation < 0 && id.is_empty() && instance.is_none() {
            // Only members commit in a group that has some.
            return Err(ResponseError::UnknownMemberId);
        }
        if self.members.is_empty() && self.generation == 0 {
            // There is no such group; it may have been deleted while this member was away.
            return Err(ResponseError::IllegalGeneration);
        }
        self.check_member(id, instance)?;
        self.check_generation(generation)?;
        if self.phase == Phase::Completing {
            // It knows of the generation, but not yet what it owns in it.
            return Err(ResponseError::RebalanceInProgress);
        }
        self.members.get_mut(id).into_iter().for_each(|member| member.heard(turn));
        Ok(())
    }
}
