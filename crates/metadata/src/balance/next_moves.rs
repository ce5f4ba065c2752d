use super::{Move, Plan, Usage, Why, start::Start};
use crate::Image;

/// How much is moved at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoveLimits {
    /// Replicas that are copied to a node, and copied from it, at the same time. A replica is copied from the leader.
    pub moves_per_node_max: usize,
    /// Their bytes. One move may have more.
    pub bytes_per_node_max: u64,
    /// Partitions that get another preferred leader with one call.
    pub leaders_max: usize,
}

impl Image {
    /// What of the plan to begin now, with what is under way. Nothing while rebalancing is paused. What evens out replicas, disks
    /// and leaders begins, one after the other, once everything more urgent is under way: each builds on what was before.
    pub fn next_moves(&self, plan: &Plan, usage: &Usage, limits: &MoveLimits) -> Vec<Move> {
        if self.rebalance.paused || plan.moves.is_empty() {
            return Vec::new();
        }
        let mut start = Start::new(self, usage, *limits);
        let whose = |is: fn(Why) -> bool| plan.moves.iter().filter(move |next| is(next.why));
        whose(|why| why < Why::Replicas).for_each(|next| start.begin_urgent(next));
        start.begin_circles(&whose(|why| why == Why::Replicas).collect::<Vec<_>>());
        start.begin_circles(&whose(|why| why == Why::Disk).collect::<Vec<_>>());
        start.begin_leading(whose(|why| why == Why::Leaders));
        start.into_begun()
    }
}
