//! Consumer groups as they are now, asked of their coordinators. Nothing of it is kept.

mod describe;
mod group;
mod lag;
mod list;

pub(crate) use self::{
    describe::find,
    group::{Group, GroupKind, Member},
    lag::{Lag, lags},
    list::list,
};
use crate::kafka::offset_fetch::NEWEST as OFFSET_FETCH_NEWEST;

/// Why nothing is told of a group. Asking changes nothing, so it may be asked again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GroupError {
    #[error("consumer group '{0}' does not exist")]
    Unknown(String),
    #[error("consumer group '{0}' has committed no offsets")]
    NoOffsets(String),
    #[error("nobody could tell of consumer groups in time: {0}")]
    Unavailable(String),
    #[error("a coordinator refused: {0}")]
    Refused(wire::ResponseError),
}
