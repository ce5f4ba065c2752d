use std::collections::BTreeMap;

use domain::{NodeId, PartitionIndex, TopicId};
use metadata::{Disk, Usage};
use rpc::pb;

/// What nodes told of their disks and replicas, for as long as this controller leads.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// Which book it is: a node that wrote into another one tells everything again. Never 0.
    id: u64,
    usage: Usage,
    /// How much of what moves to a node has come.
    came: BTreeMap<(NodeId, TopicId, PartitionIndex), u64>,
    /// The sum of all that came since the book was begun.
    came_bytes: u64,
}

impl Book {
    pub(crate) fn new(id: u64) -> Self {
        Self { id: id.max(1), ..Self::default() }
    }

    pub(crate) fn usage(&self) -> &Usage {
        &self.usage
    }

    pub(crate) fn came_bytes(&self) -> u64 {
        self.came_bytes
    }

    /// How much of the replica has come to the node.
    pub(crate) fn came(&self, node: NodeId, topic: TopicId, partition: PartitionIndex) -> u64 {
        self.came.get(&(node, topic, partition)).copied().unwrap_or(0)
    }

    /// The size of one replica of it, as its leader told.
    pub(crate) fn size(&self, topic: TopicId, partition: PartitionIndex) -> u64 {
        self.usage.sizes.get(&(topic, partition)).copied().unwrap_or(0)
    }

    /// Takes a report in; the book that the next one is to name.
    ///
    /// # Errors
    /// A topic id that is none.
    pub(crate) fn take(&mut self, report: &pb::ReportUsageRequest) -> Result<u64, uuid::Error> {
        let node = NodeId(report.node);
        let disk = Disk { used_bytes: report.disk_used_bytes, total_bytes: report.disk_total_bytes };
        self.usage.disks.insert(node, disk);
        for size in &report.sizes {
            let key = (TopicId(uuid::Uuid::from_slice(&size.topic_id)?), PartitionIndex(size.partition));
            if size.comes {
                let before = self.came.insert((node, key.0, key.1), size.bytes).unwrap_or(0);
                self.came_bytes = self.came_bytes.saturating_add(size.bytes.saturating_sub(before));
            } else {
                self.usage.sizes.insert(key, size.bytes);
            }
        }
        Ok(self.id)
    }

    /// Forgets what is no more, and what has come to its end.
    pub(crate) fn keep(&mut self, image: &metadata::Image) {
        let is_there = |topic: &TopicId| image.topic_names.contains_key(topic);
        self.usage.sizes.retain(|(topic, _), _| is_there(topic));
        self.usage.disks.retain(|node, _| image.nodes.contains_key(node));
        self.came.retain(|(node, topic, number), _| {
            let partition = image.topic_by_id(*topic).and_then(|t| t.partition(*number));
            partition.is_some_and(|p| p.adding.contains(node))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: TopicId = TopicId(uuid::Uuid::from_u128(7));

    fn report(bytes: u64, comes: bool) -> pb::ReportUsageRequest {
        let topic_id = TOPIC.0.as_bytes().to_vec().into();
        pb::ReportUsageRequest {
            node: 1,
            disk_used_bytes: 10,
            disk_total_bytes: 100,
            sizes: vec![pb::ReplicaSize { topic_id, partition: 0, bytes, comes }],
            ..Default::default()
        }
    }

    #[test]
    fn what_comes_is_counted_as_it_grows_and_beside_what_is_led() {
        let mut book = Book::new(9);
        assert_eq!(book.take(&report(500, false)).unwrap(), 9);
        book.take(&report(100, true)).unwrap();
        book.take(&report(250, true)).unwrap();
        // A replica that began anew.
        book.take(&report(50, true)).unwrap();
        assert_eq!(book.size(TOPIC, PartitionIndex(0)), 500);
        assert_eq!((book.came(NodeId(1), TOPIC, PartitionIndex(0)), book.came_bytes()), (50, 250));
        assert_eq!(book.usage().disks[&NodeId(1)], Disk { used_bytes: 10, total_bytes: 100 });
        book.keep(&metadata::Image::default());
        assert_eq!((book.size(TOPIC, PartitionIndex(0)), book.usage().disks.len()), (0, 0));
    }

    #[test]
    fn a_topic_id_that_is_none_is_an_error() {
        let mut bad = report(1, false);
        bad.sizes[0].topic_id = vec![1, 2].into();
        assert!(Book::new(1).take(&bad).is_err());
    }
}
