//! Requests about many partitions, each carried out or refused by itself.

use domain::{NodeId, PartitionIndex, TopicName};
use metadata::{ElectRefusal, ElectRefusalKind, ElectionKind, Refusal, RefusalKind};

use crate::{
    convert::{ConversionError, Result, invalid, topic_name},
    pb,
};

/// What each item of a request came to, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Items<R> {
    pub results: Vec<std::result::Result<(), R>>,
    /// The metadata version that has what was carried out.
    pub version: u64,
}

/// A refusal of one item, by the name of its kind.
pub trait ItemRefused: Sized {
    /// The kind's name, which is part of the contract.
    fn kind(&self) -> String;
    fn message(&self) -> &str;
    /// `None` when no kind has that name.
    fn parse(kind: &str, message: String) -> Option<Self>;
}

macro_rules! item_refused {
    ($refusal:ident, $kind:ident) => {
        impl ItemRefused for $refusal {
            fn kind(&self) -> String {
                self.kind.to_string()
            }
            fn message(&self) -> &str {
                &self.message
            }
            fn parse(kind: &str, message: String) -> Option<Self> {
                Some(Self::new($kind::parse(kind)?, message))
            }
        }
    };
}
item_refused!(Refusal, RefusalKind);
item_refused!(ElectRefusal, ElectRefusalKind);

pub fn items_to_pb<R: ItemRefused>(results: &[std::result::Result<(), R>], version: u64) -> pb::ItemResults {
    let item = |result: &std::result::Result<(), R>| pb::ItemResult {
        refusal: result
            .as_ref()
            .err()
            .map(|r| pb::ItemRefusal { kind: r.kind(), message: r.message().to_owned() }),
    };
    pb::ItemResults { results: results.iter().map(item).collect(), version }
}

pub(crate) fn items_from_pb<R: ItemRefused>(message: pb::ItemResults) -> Result<Items<R>> {
    let item = |item: pb::ItemResult| match item.refusal {
        None => Ok(Ok(())),
        Some(refusal) => {
            let unknown = || invalid("refusal.kind", format!("'{}' is not known", refusal.kind));
            Ok(Err(R::parse(&refusal.kind, refusal.message.clone()).ok_or_else(unknown)?))
        }
    };
    let results = message.results.into_iter().map(item).collect::<Result<_>>()?;
    Ok(Items { results, version: message.version })
}

pub fn election_to_pb(
    kind: ElectionKind,
    partitions: &[(TopicName, PartitionIndex)],
) -> pb::ElectLeadersRequest {
    let kind = match kind {
        ElectionKind::Preferred => pb::ElectionKind::Preferred,
        ElectionKind::Unclean => pb::ElectionKind::Unclean,
    };
    let partitions = partitions.iter().map(|(topic, partition)| topic_partition(topic, *partition));
    pb::ElectLeadersRequest { kind: kind.into(), partitions: partitions.collect() }
}

pub fn election_from_pb(
    message: pb::ElectLeadersRequest,
) -> Result<(ElectionKind, Vec<(TopicName, PartitionIndex)>)> {
    let kind = match message.kind() {
        pb::ElectionKind::Preferred => ElectionKind::Preferred,
        pb::ElectionKind::Unclean => ElectionKind::Unclean,
        pb::ElectionKind::Unspecified => return Err(invalid("kind", message.kind)),
    };
    let partitions = message.partitions.into_iter().map(named);
    Ok((kind, partitions.collect::<Result<_>>()?))
}

/// `None` as a target cancels.
pub fn reassignment_to_pb(
    changes: &[(TopicName, PartitionIndex, Option<Vec<NodeId>>)],
) -> pb::ReassignRequest {
    let changes = changes.iter().map(|(topic, partition, target)| pb::Reassignment {
        partition: Some(topic_partition(topic, *partition)),
        target: target
            .as_ref()
            .map(|nodes| pb::ReplicaAssignment { nodes: nodes.iter().map(|n| n.0).collect() }),
    });
    pb::ReassignRequest { changes: changes.collect() }
}

type Wanted = (TopicName, PartitionIndex, Option<Vec<NodeId>>);

pub fn reassignment_from_pb(message: pb::ReassignRequest) -> Result<Vec<Wanted>> {
    let change = |change: pb::Reassignment| {
        let (topic, partition) = named(change.partition.ok_or(ConversionError::Missing("partition"))?)?;
        let target = change.target.map(|t| t.nodes.into_iter().map(NodeId).collect());
        Ok((topic, partition, target))
    };
    message.changes.into_iter().map(change).collect()
}

fn topic_partition(topic: &TopicName, partition: PartitionIndex) -> pb::TopicPartition {
    pb::TopicPartition { topic: topic.to_string(), partition: partition.0 }
}

fn named(message: pb::TopicPartition) -> Result<(TopicName, PartitionIndex)> {
    Ok((topic_name(&message.topic)?, PartitionIndex(message.partition)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> TopicName {
        TopicName::new("t").unwrap()
    }

    #[test]
    fn elections_survive_the_journey() {
        let partitions = vec![(name(), PartitionIndex(3))];
        for kind in [ElectionKind::Preferred, ElectionKind::Unclean] {
            let sent = election_to_pb(kind, &partitions);
            assert_eq!(election_from_pb(sent), Ok((kind, partitions.clone())));
        }
        let refused = ElectRefusal::new(ElectRefusalKind::ElectionNotNeeded, "node 1 leads");
        let results = vec![Ok(()), Err(refused)];
        let sent = items_to_pb(&results, 7);
        assert_eq!(items_from_pb(sent), Ok(Items { results, version: 7 }));
    }

    #[test]
    fn reassignments_survive_the_journey() {
        let changes =
            vec![(name(), PartitionIndex(0), None), (name(), PartitionIndex(1), Some(vec![NodeId(2)]))];
        assert_eq!(reassignment_from_pb(reassignment_to_pb(&changes)), Ok(changes));
    }

    #[test]
    fn a_kind_that_is_not_known_is_refused_by_name() {
        let refusal = pb::ItemRefusal { kind: "Whim".to_owned(), message: String::new() };
        let message =
            pb::ItemResults { results: vec![pb::ItemResult { refusal: Some(refusal) }], version: 1 };
        let error = items_from_pb::<Refusal>(message).unwrap_err();
        assert_eq!(error.to_string(), "field refusal.kind is not valid: 'Whim' is not known");
    }
}
