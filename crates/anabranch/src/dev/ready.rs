use std::{cell::RefCell, sync::Arc, time::Duration};

use futures_util::future::join_all;
use metadata::Image;
use transport::ClientPool;

use super::{services::Services, watermarks};

/// How often a start that is not ready yet says why.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// How often the gateway is looked at, and leaders are asked.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Waits until every node is active, every partition that exists has a leader that knows its high watermark, each node has
/// acted on that, and the gateway serves. The cluster's id then.
pub(super) async fn wait(services: &Services) -> String {
    let nodes = services.nodes.len();
    // Every node has registered by now, and the newest of their images has all of that: an older one may still show nodes
    // and leaders of the last run.
    let registered = services.nodes.iter().map(|node| node.image().load().version).max().unwrap_or(0);
    let leaders = ClientPool::new("dev");
    let unknown = RefCell::new(None);
    let ready = async {
        let is_ready = |image: &Image| image.version >= registered && missing(image, nodes).is_none();
        let images = services.nodes.iter().map(|node| node.image().wait_for(is_ready));
        let images = join_all(images).await;
        // Each time in the newest image: a leader that is asked may be one no more.
        while let Some(missing) = in_newest(services, &leaders).await {
            unknown.replace(Some(missing));
            tokio::time::sleep(LOOK_EVERY).await;
        }
        unknown.replace(None);
        while services.gateway.health().check().is_err() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        cluster_of(&images)
    };
    tokio::pin!(ready);
    loop {
        tokio::select! {
            cluster = &mut ready => return cluster,
            () = tokio::time::sleep(TELL_EVERY) => {
                eprintln!("not ready yet: {}", waiting_for(services, &unknown.borrow()));
            }
        }
    }
}

fn cluster_of(images: &[Arc<Image>]) -> String {
    let id = images.iter().find_map(|image| image.cluster_id);
    id.map(|id| id.to_string()).unwrap_or_default()
}

async fn in_newest(services: &Services, leaders: &ClientPool) -> Option<String> {
    let images = services.nodes.iter().map(|node| node.image().load());
    let newest = images.max_by_key(|image| image.version)?;
    watermarks::missing(&newest, leaders).await
}

fn waiting_for(services: &Services, unknown: &Option<String>) -> String {
    let nodes = services.nodes.len();
    let of_nodes = services.nodes.iter().find_map(|node| missing(&node.image().load(), nodes));
    let of_gateway = || services.gateway.health().check().err();
    of_nodes
        .or_else(|| unknown.clone())
        .or_else(|| of_gateway().map(|reason| format!("the gateway: {reason}")))
        .unwrap_or_else(|| "almost there".to_owned())
}

/// What an image still lacks for a cluster of so many nodes.
fn missing(image: &Image, nodes: usize) -> Option<String> {
    let active = image.active_nodes().count();
    if active < nodes {
        return Some(format!("{active} of {nodes} storage nodes are active"));
    }
    let mut leaderless = image.topics.values().flat_map(|topic| {
        topic
            .numbered()
            .filter(|(_, partition)| partition.leader.is_none())
            .map(|(index, _)| format!("{}-{index}", topic.name))
    });
    let first = leaderless.next()?;
    Some(format!("{} partitions have no leader, such as {first}", leaderless.count() + 1))
}

#[cfg(test)]
mod tests {
    use domain::{
        ConfigOverrides, DirectoryId, LeaderEpoch, NodeEpoch, NodeId, PartitionEpoch, TopicId, TopicName,
    };
    use metadata::{Endpoint, Node, NodeState, Partition, Topic};

    use super::*;

    fn node(id: i32, state: NodeState) -> (NodeId, Arc<Node>) {
        let address = Endpoint { host: "h".to_owned(), port: 1 };
        let node = Node {
            id: NodeId(id),
            epoch: NodeEpoch(1),
            state,
            directory: DirectoryId(uuid::Uuid::nil()),
            kafka: address.clone(),
            http: address,
            rack: None,
            draining: false,
            scaled_in: false,
        };
        (NodeId(id), Arc::new(node))
    }

    fn topic(leaders: &[Option<i32>]) -> (TopicName, Arc<Topic>) {
        let name = TopicName::new("orders").unwrap();
        let partition = |leader: &Option<i32>| Partition {
            replicas: vec![NodeId(0)],
            isr: vec![NodeId(0)],
            leader: leader.map(NodeId),
            leader_epoch: LeaderEpoch(0),
            epoch: PartitionEpoch(0),
            ..Partition::default()
        };
        let topic = Topic {
            id: TopicId(uuid::Uuid::nil()),
            name: name.clone(),
            configs: ConfigOverrides::default(),
            partitions: leaders.iter().map(partition).collect(),
        };
        (name, Arc::new(topic))
    }

    #[test]
    fn every_node_is_active_and_every_partition_led() {
        let mut image = Image::default();
        assert_eq!(missing(&image, 1).unwrap(), "0 of 1 storage nodes are active");
        image.nodes = [node(0, NodeState::Active), node(1, NodeState::Fenced)].into_iter().collect();
        assert_eq!(missing(&image, 2).unwrap(), "1 of 2 storage nodes are active");
        assert_eq!(missing(&image, 1), None);
        image.topics = [topic(&[Some(0), None, None])].into_iter().collect();
        assert_eq!(missing(&image, 1).unwrap(), "2 partitions have no leader, such as orders-1");
        image.topics = [topic(&[Some(0)])].into_iter().collect();
        assert_eq!(missing(&image, 1), None);
    }
}
