use std::collections::BTreeMap;

use ::group::offset_fetch::is_elsewhere;
use domain::PartitionIndex;
use wire::{
    ResponseError, StrBytes,
    messages::{OffsetFetchRequest, offset_fetch_request::OffsetFetchRequestGroup},
};

use super::{Group, GroupError, Member, OFFSET_FETCH_NEWEST};
use crate::{
    kafka::{Backend, many_groups::answer_at_last},
    offsets::{Place, offsets_at},
};

/// How far a group has got in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lag<'a> {
    pub(crate) topic: String,
    pub(crate) partition: PartitionIndex,
    /// Who has the partition now.
    pub(crate) member: Option<&'a Member>,
    /// What the group has committed.
    pub(crate) current: i64,
    /// The offset after the last that consumers see.
    pub(crate) end: i64,
}

/// Where a partition's records are, or a group's commits: by topic and partition.
type Offsets = BTreeMap<(String, PartitionIndex), i64>;

impl Lag<'_> {
    /// Less than nothing where the log was cut, or the topic made again, below what was committed.
    pub(crate) fn lag(&self) -> i64 {
        self.end.saturating_sub(self.current)
    }
}

/// The group's lags wherever it has committed something, by topic and partition. Those of topics that are gone are left out.
pub(crate) async fn lags<'a>(backend: &Backend, group: &'a Group) -> Result<Vec<Lag<'a>>, GroupError> {
    let committed = committed(backend, &group.id).await?;
    if committed.is_empty() {
        return Err(GroupError::NoOffsets(group.id.clone()));
    }
    let ends = ends(backend, &committed).await?;
    let owners: BTreeMap<_, &Member> =
        group.members.iter().flat_map(|m| m.assigned.iter().map(move |place| (place, m))).collect();
    let lags = committed.into_iter().filter_map(|(place, current)| {
        let end = *ends.get(&place)?;
        let member = owners.get(&place).copied();
        let (topic, partition) = place;
        Some(Lag { topic, partition, member, current, end })
    });
    Ok(lags.collect())
}

async fn committed(backend: &Backend, group: &str) -> Result<Offsets, GroupError> {
    // No topics: all of them.
    let asked = OffsetFetchRequestGroup::default()
        .with_group_id(StrBytes::from_string(group.to_owned()).into())
        .with_member_epoch(-1)
        .with_topics(None);
    let request = OffsetFetchRequest::default().with_groups(vec![asked]);
    let answer =
        answer_at_last(backend, &request, OFFSET_FETCH_NEWEST, |group| is_elsewhere(group.error_code)).await;
    let answer = answer.ok_or_else(|| GroupError::Unavailable("no coordinator answered".to_owned()))?;
    let mut committed = Offsets::new();
    for group in answer.groups {
        if let Some(code) = ResponseError::try_from_code(group.error_code) {
            return Err(GroupError::Refused(code));
        }
        for topic in group.topics {
            let of_topic = topic.partitions.iter().filter(|p| p.committed_offset >= 0);
            committed.extend(
                of_topic.map(|p| {
                    ((topic.name.to_string(), PartitionIndex(p.partition_index)), p.committed_offset)
                }),
            );
        }
    }
    Ok(committed)
}

/// The ends of these partitions, but of those that are gone.
async fn ends(backend: &Backend, of: &Offsets) -> Result<Offsets, GroupError> {
    let places = of.keys().map(|(topic, partition)| (topic.as_str(), *partition));
    let mut ends = Offsets::new();
    for (place, end) in offsets_at(backend, places, Place::Latest).await {
        match end {
            Ok(end) => drop(ends.insert(place, end.0)),
            Err(ResponseError::UnknownTopicOrPartition) => {}
            Err(code) if code.is_retriable() => {
                let (topic, partition) = place;
                let message = format!("the end of {topic}-{partition} is unknown ({code})");
                return Err(GroupError::Unavailable(message));
            }
            Err(code) => return Err(GroupError::Refused(code)),
        }
    }
    Ok(ends)
}
