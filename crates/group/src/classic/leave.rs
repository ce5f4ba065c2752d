use wire::{ResponseError, messages::leave_group_request::MemberIdentity};

use super::Classic;
use crate::turn::Turn;

impl Classic {
    /// Takes out each of them. Without a member id an administrator removes whoever has the instance id (KIP-345).
    pub(crate) fn leave(
        &mut self,
        turn: &mut Turn<'_>,
        leaving: &[MemberIdentity],
    ) -> Vec<Result<(), ResponseError>> {
        let before = (self.members.len(), self.pending.len());
        let results = leaving.iter().map(|identity| self.leave_one(turn, identity)).collect();
        if (self.members.len(), self.pending.len()) != before {
            self.shrunk(turn, self.members.len() < before.0);
        }
        results
    }

    fn leave_one(&mut self, turn: &mut Turn<'_>, identity: &MemberIdentity) -> Result<(), ResponseError> {
        let id = identity.member_id.as_str();
        let instance = identity.group_instance_id.as_deref();
        let leaving = match (id, instance) {
            ("", Some(instance)) => {
                self.instance_owner(instance).ok_or(ResponseError::UnknownMemberId)?.to_owned()
            }
            (id, _) if self.pending.remove(id).is_some() => return Ok(()),
            (id, instance) => {
                self.check_member(id, instance)?;
                id.to_owned()
            }
        };
        self.remove(turn, &leaving);
        Ok(())
    }

    /// Some are gone: of the members, or only of those whose coming was awaited.
    pub(super) fn shrunk(&mut self, turn: &mut Turn<'_>, members_too: bool) {
        match members_too {
            true => self.rebalance_or_complete(turn),
            false => self.complete_if_all_joined(turn),
        }
    }
}
