use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use domain::NodeId;
use metadata::{Delta, NodeState};
use parking_lot::Mutex;

/// Nodes that were fenced lately. Clients are told of them for a while yet: librdkafka, whose broker is gone from the list
/// in the very answer that names the new leaders, throws these away together with the broker and looks for leaders again
/// after a second.
#[derive(Default)]
pub(crate) struct Departed {
    fenced: Mutex<HashMap<NodeId, Instant>>,
}

/// By then, clients have asked who leads now.
const SHOWN_FOR: Duration = Duration::from_secs(10);

impl Departed {
    /// Takes note of what the controller has decided.
    pub(crate) fn follow(&self, delta: &Delta) {
        let mut fenced = self.fenced.lock();
        for node in &delta.nodes {
            match node.state {
                // Nobody knows how long what a snapshot tells has been so.
                NodeState::Fenced if !delta.snapshot => fenced.insert(node.id, Instant::now()),
                _ => fenced.remove(&node.id),
            };
        }
    }

    /// Whether the node was fenced a short time ago.
    pub(crate) fn lately(&self, node: NodeId) -> bool {
        self.fenced.lock().get(&node).is_some_and(|at| at.elapsed() < SHOWN_FOR)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::NodeEpoch;
    use metadata::{Endpoint, Node};

    use super::*;

    fn delta(state: NodeState, snapshot: bool) -> Delta {
        let endpoint = Endpoint { host: "h".to_owned(), port: 1 };
        let node = Node {
            id: NodeId(1),
            epoch: NodeEpoch(0),
            state,
            directory: domain::DirectoryId(uuid::Uuid::from_u128(1)),
            kafka: endpoint.clone(),
            http: endpoint,
            rack: None,
            draining: false,
            scaled_in: false,
        };
        Delta { nodes: vec![Arc::new(node)], snapshot, ..Delta::default() }
    }

    #[test]
    fn a_node_departs_when_it_is_fenced_and_not_when_it_was_long_before() {
        let departed = Departed::default();
        let lately = |state, snapshot| {
            departed.follow(&delta(state, snapshot));
            departed.lately(NodeId(1))
        };
        assert!(!lately(NodeState::Fenced, true));
        assert!(!lately(NodeState::Active, false));
        assert!(lately(NodeState::Fenced, false));
        assert!(!lately(NodeState::Active, false));
    }
}
