use std::collections::BTreeMap;

use ::group::offset_fetch::is_elsewhere;
use domain::PartitionIndex;
use wire::{
    BrokerId, ResponseError, StrBytes, WireTopicName,
    messages::{
        ListOffsetsRequest, OffsetFetchRequest,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
        offset_fetch_request::OffsetFetchRequestGroup,
    },
};

use super::{Group, GroupError, Member, OFFSET_FETCH_NEWEST};
use crate::kafka::{Backend, by_leader, many_groups::answer_at_last};

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

/// The ends of these partitions, of each leader in one request.
async fn ends(backend: &Backend, of: &Offsets) -> Result<Offsets, GroupError> {
    const LATEST: i64 = -1;
    let mut topics: Vec<ListOffsetsTopic> = Vec::new();
    for (topic, partition) in of.keys() {
        let asked = ListOffsetsPartition::default()
            .with_partition_index(partition.0)
            .with_current_leader_epoch(-1)
            .with_timestamp(LATEST);
        match topics.last_mut() {
            Some(last) if last.name.as_str() == topic => last.partitions.push(asked),
            _ => topics.push(
                ListOffsetsTopic::default()
                    .with_name(WireTopicName(StrBytes::from_string(topic.clone())))
                    .with_partitions(vec![asked]),
            ),
        }
    }
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(topics);
    let answer = by_leader::answer(backend, request, i16::MAX).await;
    let mut ends = Offsets::new();
    for topic in answer.topics {
        for partition in topic.partitions {
            let (name, number) = (topic.name.to_string(), PartitionIndex(partition.partition_index));
            match ResponseError::try_from_code(partition.error_code) {
                None => drop(ends.insert((name, number), partition.offset)),
                Some(ResponseError::UnknownTopicOrPartition) => {}
                Some(code) if code.is_retriable() => {
                    return Err(GroupError::Unavailable(format!(
                        "the end of {name}-{number} is unknown ({code})"
                    )));
                }
                Some(code) => return Err(GroupError::Refused(code)),
            }
        }
    }
    Ok(ends)
}
