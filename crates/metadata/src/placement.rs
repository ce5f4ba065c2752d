use std::collections::BTreeMap;

use domain::NodeId;
use imbl::OrdMap;
use serde::{Deserialize, Serialize};

/// What a node was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Load {
    pub(crate) replicas: u32,
    /// Of these, how many it is the preferred leader of.
    pub(crate) preferred: u32,
}

impl Load {
    pub(crate) fn more(&mut self, preferred: bool) {
        self.replicas = self.replicas.saturating_add(1);
        self.preferred = self.preferred.saturating_add(preferred.into());
    }

    pub(crate) fn less(&mut self, preferred: bool) {
        self.replicas = self.replicas.saturating_sub(1);
        self.preferred = self.preferred.saturating_sub(preferred.into());
    }
}

/// A node that can be given replicas.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) node: NodeId,
    pub(crate) rack: Option<String>,
    /// How many partitions of the same topic it is the preferred leader of.
    pub(crate) preferred_here: u32,
}

/// Chooses `factor` nodes for each of `count` new partitions: as many racks as possible, then the nodes with
/// the fewest replicas, then the lowest ids. The first, which leads, is the one that leads the fewest of this
/// topic, then of all, then the one chosen first. The second, which leads when the first dies, is the one that is
/// the second to it least often. Fewer sites than `factor` give shorter lists.
pub(crate) fn place(
    sites: &[Site],
    loads: &OrdMap<NodeId, Load>,
    count: usize,
    factor: usize,
) -> Vec<Vec<NodeId>> {
    let load = |site: &Site| (site.node, loads.get(&site.node).copied().unwrap_or_default());
    let mut loads: BTreeMap<NodeId, Load> = sites.iter().map(load).collect();
    let mut preferred_here: BTreeMap<NodeId, u32> =
        sites.iter().map(|s| (s.node, s.preferred_here)).collect();
    let mut successors: BTreeMap<(NodeId, NodeId), u32> = BTreeMap::new();
    let mut place_one = || {
        let mut chosen: Vec<&Site> = Vec::with_capacity(factor);
        for _ in 0..factor {
            let free = sites.iter().filter(|site| chosen.iter().all(|c| c.node != site.node));
            let rank = |site: &&Site| {
                let same_rack = chosen.iter().filter(|c| site.rack.is_some() && c.rack == site.rack).count();
                (same_rack, loads.get(&site.node).map_or(0, |l| l.replicas), site.node)
            };
            chosen.extend(free.min_by_key(rank));
        }
        let mut nodes: Vec<NodeId> = chosen.iter().map(|site| site.node).collect();
        let leads = |(place, node): &(usize, NodeId)| {
            let all = loads.get(node).map_or(0, |l| l.preferred);
            (preferred_here.get(node).copied().unwrap_or(0), all, *place)
        };
        if let Some((place, first)) = nodes.iter().copied().enumerate().min_by_key(leads) {
            nodes[..=place].rotate_right(1);
            *preferred_here.entry(first).or_default() += 1;
            // Who leads when it dies: each of the others for as many partitions.
            nodes[1..].sort_by_key(|node| successors.get(&(first, *node)).copied().unwrap_or(0));
            nodes[1..].iter().take(1).for_each(|next| *successors.entry((first, *next)).or_default() += 1);
        }
        for (place, node) in nodes.iter().enumerate() {
            loads.entry(*node).or_default().more(place == 0);
        }
        nodes
    };
    (0..count).map(|_| place_one()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn sites(racks: &[Option<u8>]) -> Vec<Site> {
        let site = |(node, rack): (i32, &Option<u8>)| Site {
            node: NodeId(node),
            rack: rack.map(|r| format!("rack-{r}")),
            preferred_here: 0,
        };
        (0..).zip(racks).map(site).collect()
    }

    fn unracked(nodes: usize) -> Vec<Site> {
        sites(&vec![None; nodes])
    }

    fn ids(placed: Vec<Vec<NodeId>>) -> Vec<Vec<i32>> {
        placed.into_iter().map(|r| r.into_iter().map(|n| n.0).collect()).collect()
    }

    /// The most minus the fewest over the nodes 0 to `nodes` - 1.
    fn spread<'a>(nodes: usize, named: impl Iterator<Item = &'a NodeId>) -> usize {
        let mut counts = vec![0usize; nodes];
        named.for_each(|n| counts[n.0 as usize] += 1);
        counts.iter().max().unwrap() - counts.iter().min().unwrap()
    }

    #[test]
    fn new_partitions_go_where_the_fewest_are() {
        let load = |replicas| Load { replicas, preferred: replicas };
        let loads = [(NodeId(0), load(2)), (NodeId(2), load(1))].into_iter().collect();
        assert_eq!(ids(place(&unracked(3), &loads, 6, 1)), [[1], [1], [2], [0], [1], [2]]);
        assert!(place(&[], &loads, 1, 2)[0].is_empty());
    }

    #[test]
    fn topics_of_one_partition_do_not_all_get_the_same_leader() {
        let mut loads = OrdMap::new();
        for leader in [0, 1, 2, 0] {
            let placed = place(&unracked(3), &loads, 1, 3).remove(0);
            assert_eq!(placed[0], NodeId(leader));
            for (place, node) in placed.into_iter().enumerate() {
                loads.entry(node).or_insert_with(Load::default).more(place == 0);
            }
        }
    }

    #[test]
    fn two_racks_share_three_replicas() {
        let placed = place(&sites(&[Some(0), Some(0), Some(0), Some(1)]), &OrdMap::new(), 3, 2);
        assert!(placed.iter().all(|r| r.contains(&NodeId(3))), "{placed:?}");
    }

    proptest! {
        #[test]
        fn an_even_cluster_stays_even(nodes in 1usize..20, factor in 1usize..6, count in 0usize..120) {
            let factor = factor.min(nodes);
            let placed = place(&unracked(nodes), &OrdMap::new(), count, factor);
            prop_assert!(spread(nodes, placed.iter().flatten()) <= 1);
            prop_assert!(spread(nodes, placed.iter().map(|r| &r[0])) <= 1, "{:?}", placed);
        }

        #[test]
        fn replicas_are_on_distinct_nodes_and_as_many_racks_as_possible(
            racks in prop::collection::vec(0..5u8, 1..12),
            factor in 1usize..6,
            count in 1usize..40,
        ) {
            let factor = factor.min(racks.len());
            let there: BTreeSet<u8> = racks.iter().copied().collect();
            let sites = sites(&racks.iter().copied().map(Some).collect::<Vec<_>>());
            for replicas in place(&sites, &OrdMap::new(), count, factor) {
                let nodes: BTreeSet<&NodeId> = replicas.iter().collect();
                let used: BTreeSet<u8> = replicas.iter().map(|n| racks[n.0 as usize]).collect();
                prop_assert_eq!(nodes.len(), factor);
                prop_assert_eq!(used.len(), factor.min(there.len()));
            }
        }
    }
}
