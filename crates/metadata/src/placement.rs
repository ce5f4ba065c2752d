use std::collections::BTreeSet;

use domain::NodeId;
use imbl::OrdMap;

/// Chooses a node for each of `count` new partitions: the active node with the fewest replicas, the lowest id first.
pub(crate) fn place(active: &[NodeId], counts: &OrdMap<NodeId, u32>, count: usize) -> Vec<Vec<NodeId>> {
    let mut by_load: BTreeSet<(u32, NodeId)> =
        active.iter().map(|n| (counts.get(n).copied().unwrap_or(0), *n)).collect();
    (0..count)
        .filter_map(|_| {
            let (load, node) = by_load.pop_first()?;
            by_load.insert((load + 1, node));
            Some(vec![node])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_partitions_go_where_the_fewest_are() {
        let active = [NodeId(0), NodeId(1), NodeId(2)];
        let counts = [(NodeId(0), 2u32), (NodeId(2), 1)].into_iter().collect();
        let placed: Vec<i32> = place(&active, &counts, 6).into_iter().map(|r| r[0].0).collect();
        assert_eq!(placed, [1, 1, 2, 0, 1, 2]);
        assert!(place(&[], &counts, 2).is_empty());
    }
}
