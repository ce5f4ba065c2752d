//! A reply leaves only when its record is below the high watermark; a position that is told is one that was committed, and
//! none that another commit had replaced before it was asked for.

use group::Answer;

use super::{Checked, hold};
use crate::{coordinator::Asker, groups_ghost::GroupsGhost};

/// An answer leaves its coordinator.
pub(crate) fn answered(ghost: &GroupsGhost, group: &str, asker: &Asker, answer: &Answer) -> Checked {
    match answer {
        Answer::ConsumerHeartbeat(answer) if answer.error_code == 0 && answer.member_epoch > 0 => {
            let member = answer.member_id.as_ref().map_or("", |id| id.as_str());
            let key = (group.to_owned(), member.to_owned(), answer.member_epoch);
            hold("G1", ghost.epochs.contains(&key), || {
                format!("{member} is told that it is in epoch {} of {group}, which is not committed", key.2)
            })
        }
        Answer::OffsetCommit(answer) => {
            let results = answer.topics.iter().flat_map(|topic| &topic.partitions);
            results.filter(|result| result.error_code == 0).try_for_each(|result| {
                let wanted = asker.commits.iter().find(|(p, _)| *p == result.partition_index);
                let Some((partition, position)) = wanted else { return Ok(()) };
                hold("G1", ghost.was_committed(group, *partition, *position), || {
                    format!("{group} is told that {position} of {partition} is committed, which it is not")
                })
            })
        }
        Answer::OffsetFetch(answer) => {
            let groups = answer.groups.iter().filter(|group| group.error_code == 0);
            let topics = groups.flat_map(|group| &group.topics);
            topics.flat_map(|topic| &topic.partitions).try_for_each(|told| {
                let (partition, position) = (told.partition_index, told.committed_offset);
                hold("G1", ghost.was_position(group, partition, asker.asked, position), || {
                    format!(
                        "{group} is told that it has read {partition} up to {position}, which it had not since it asked \
                         ({:?}): {:?}",
                        asker.asked,
                        ghost.history.get(&(group.to_owned(), partition))
                    )
                })
            })
        }
        _ => Ok(()),
    }
}
