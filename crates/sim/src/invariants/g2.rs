//! A commit of who was fenced when it was decided never succeeds.

use group::Answer;

use super::{Checked, hold};
use crate::coordinator::Asker;

/// An answer leaves its coordinator.
pub(crate) fn answered(group: &str, asker: &Asker, answer: &Answer) -> Checked {
    let Answer::OffsetCommit(answer) = answer else { return Ok(()) };
    let mut results = answer.topics.iter().flat_map(|topic| &topic.partitions);
    hold("G2", !asker.fenced || results.all(|result| result.error_code != 0), || {
        format!("a fenced member of {group} committed {:?}", asker.commits)
    })
}
