use std::collections::{BTreeMap, BTreeSet, VecDeque};

use domain::{NodeId, PartitionIndex, TopicId};

use super::{Move, MoveLimits, Usage, traffic::Traffic};
use crate::{Image, NodeState, Partition};

/// By the node that gives a replica away: the moves, and where they lead.
type Links<'m> = BTreeMap<NodeId, Vec<(NodeId, &'m Move)>>;

/// What is under way, with what begins.
pub(super) struct Start<'a> {
    image: &'a Image,
    limits: MoveLimits,
    traffic: Traffic,
    /// Each node's replicas when all that is under way is done.
    replicas: BTreeMap<NodeId, usize>,
    /// What begins.
    touched: BTreeSet<(TopicId, PartitionIndex)>,
    begun: Vec<Move>,
    /// Something that is to be copied has not begun.
    is_waiting: bool,
}

impl<'a> Start<'a> {
    pub(super) fn new(image: &'a Image, usage: &Usage, limits: MoveLimits) -> Self {
        let (mut traffic, mut replicas) = (Traffic::default(), BTreeMap::new());
        for topic in image.topics.values() {
            for (number, partition) in topic.numbered() {
                for node in partition.replicas.iter().filter(|n| !partition.removing.contains(n)) {
                    *replicas.entry(*node).or_default() += 1;
                }
                for node in &partition.adding {
                    traffic.copy(partition, *node, usage.size(topic.id, number));
                }
            }
        }
        let (touched, begun) = (BTreeSet::new(), Vec::new());
        Self { image, limits, traffic, replicas, touched, begun, is_waiting: false }
    }

    pub(super) fn begin_urgent(&mut self, next: &Move) {
        self.is_waiting |= !self.begin(&[next]);
    }

    /// Moves that leave the counts no less even when they begin together: one to a node that has fewer replicas, a chain of
    /// them, or a circle. So nothing moves that would have to move back if the rest never came. (Moves that leave the counts no less
    /// even when all are done are made of such: unless there is no room for one now, one begins.)
    pub(super) fn begin_circles(&mut self, moves: &[&Move]) {
        if self.is_waiting {
            return;
        }
        let mut links: Links = BTreeMap::new();
        for next in moves.iter().filter(|next| self.partition(next).is_some()) {
            if let Some((from, to)) = ends(next) {
                links.entry(from).or_default().push((to, next));
            }
        }
        let mut hopeless = BTreeSet::new();
        for next in moves {
            let Some(between) = ends(next) else { continue };
            if hopeless.contains(&between) || self.partition(next).is_none() {
                continue;
            }
            match self.circle(next, &links) {
                Some(circle) => _ = self.begin(&circle),
                None => _ = hopeless.insert(between),
            }
        }
        self.is_waiting |= !moves.iter().all(|next| self.is_touched(next));
    }

    /// Other preferred leaders, a few at a time.
    pub(super) fn begin_leading<'m>(&mut self, moves: impl Iterator<Item = &'m Move>) {
        if self.is_waiting {
            return;
        }
        let known: Vec<&Move> = moves.filter(|next| self.partition(next).is_some()).collect();
        known.into_iter().take(self.limits.leaders_max).for_each(|next| self.note(next));
    }

    pub(super) fn into_begun(self) -> Vec<Move> {
        self.begun
    }

    /// The moves together, or none of them.
    fn begin(&mut self, moves: &[&Move]) -> bool {
        let traffic = self.traffic_of(moves).filter(|traffic| self.traffic.admits(traffic, &self.limits));
        let Some(traffic) = traffic else { return false };
        self.traffic.join(traffic);
        moves.iter().for_each(|next| self.note(next));
        true
    }

    fn traffic_of(&self, moves: &[&Move]) -> Option<Traffic> {
        let mut traffic = Traffic::default();
        for next in moves {
            let partition = self.partition(next)?;
            next.added().for_each(|node| traffic.copy(partition, node, next.bytes));
        }
        Some(traffic)
    }

    /// The move with the fewest others that make up for it.
    fn circle<'m>(&self, first: &'m Move, links: &Links<'m>) -> Option<Vec<&'m Move>> {
        let (start, to) = ends(first)?;
        let mut came_by: BTreeMap<NodeId, &'m Move> = BTreeMap::from([(to, first)]);
        let mut reached = VecDeque::from([to]);
        while let Some(at) = reached.pop_front() {
            if at == start || self.has_more(start, at) {
                return Some(way(&came_by, at, first));
            }
            for (to, next) in links.get(&at).into_iter().flatten() {
                if !came_by.contains_key(to) && !self.is_touched(next) {
                    came_by.insert(*to, next);
                    reached.push_back(*to);
                }
            }
        }
        None
    }

    fn is_touched(&self, next: &Move) -> bool {
        self.touched.contains(&(next.topic_id, next.partition))
    }

    fn has_more(&self, node: NodeId, than: NodeId) -> bool {
        self.replicas.get(&node).unwrap_or(&0) > self.replicas.get(&than).unwrap_or(&0)
    }

    /// The partition, if it is as the plan found it and those who are to get it still take replicas.
    fn partition(&self, next: &Move) -> Option<&'a Partition> {
        let is_placeable = |node: NodeId| {
            self.image.nodes.get(&node).is_some_and(|n| n.state == NodeState::Active && !n.draining)
        };
        let topic = self.image.topics.get(&next.topic).filter(|topic| topic.id == next.topic_id)?;
        let partition = topic.partition(next.partition)?;
        let is_same = !partition.is_reassigning() && partition.replicas == next.from;
        (is_same && !self.is_touched(next) && next.added().all(is_placeable)).then_some(partition)
    }

    fn note(&mut self, next: &Move) {
        for node in next.removed() {
            self.replicas.entry(node).and_modify(|count| *count = count.saturating_sub(1));
        }
        for node in next.added() {
            *self.replicas.entry(node).or_default() += 1;
        }
        self.touched.insert((next.topic_id, next.partition));
        self.begun.push(next.clone());
    }
}

/// Where the replica of a move that moves one comes from and goes to.
fn ends(of: &Move) -> Option<(NodeId, NodeId)> {
    Some((of.removed().next()?, of.added().next()?))
}

/// The moves that lead to the node, back to the first of all.
fn way<'m>(came_by: &BTreeMap<NodeId, &'m Move>, to: NodeId, first: &'m Move) -> Vec<&'m Move> {
    let mut moves = Vec::new();
    let mut at = to;
    while let Some(by) = came_by.get(&at).copied() {
        moves.push(by);
        match ends(by) {
            Some((from, _)) if !std::ptr::eq(by, first) => at = from,
            _ => break,
        }
    }
    moves
}
