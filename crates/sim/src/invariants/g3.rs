//! What a coordinator keeps is what its log says, up to its end.

use domain::LeaderEpoch;
use group::Groups;

use super::{Checked, hold};

pub(crate) fn kept(epoch: LeaderEpoch, groups: &Groups, replayed: &Groups) -> Checked {
    hold("G3", groups.keeps_the_same_as(replayed), || {
        format!("the coordinator of epoch {epoch} keeps {groups:?}, and its log says {replayed:?}")
    })
}
