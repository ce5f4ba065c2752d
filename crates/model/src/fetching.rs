//! Fetching: requests, answers, truncation.

use crate::{
    controller::Partition,
    ids::NodeId,
    mutation::Mutation,
    replica::{Answer, Body, Fetch, Known, Node, Request},
    rules::{Event, Rule},
    step::Step,
};

impl Step<'_> {
    /// A fetch that tells nobody anything new is no step: it waits at the leader (a long poll). An answer with nothing
    /// but a high watermark need not travel: only its follower sees it, so taking it early is the same.
    pub(crate) fn fetch(&mut self, follower: NodeId) -> Option<()> {
        let node_epoch = self.next.controller.registered[follower.index()];
        let request = self.next.nodes[follower.index()].request(node_epoch)?;
        let answer = self.serve(follower, &request)?;
        let at = self.node(follower);
        let travels = match answer.body {
            Body::Diverging(..) => true,
            Body::Records { records, .. } => records.end() > 0,
        };
        at.fetch = Fetch::Answered(answer);
        if !travels {
            self.take_answer(follower);
        }
        Some(())
    }

    /// The leader's side of a fetch; nothing if it refuses.
    fn serve(&mut self, follower: NodeId, request: &Request) -> Option<Answer> {
        let fencing = !self.mutated(Mutation::NoEpochFencing);
        let diverges = !self.mutated(Mutation::TruncateToHighWatermark);
        let overwrites = self.mutated(Mutation::OlderIncarnationFetches);
        let at = self.node(request.leader);
        at.lead()?;
        if fencing && request.epoch != at.epoch {
            return None;
        }
        let epoch = at.epoch;
        if let Some((parted, end)) = at.diverging(request).filter(|_| diverges) {
            return Some(Answer { epoch, body: Body::Diverging(parted, end) });
        }
        let known = &mut at.ends[follower.index()];
        // Connections do not keep order among themselves, so a dead incarnation's last request may come late.
        if known.is_some_and(|known| known.node_epoch > request.node_epoch && !overwrites) {
            return None;
        }
        *known = Some(Known { end: request.end, node_epoch: request.node_epoch, learned_in: epoch });
        self.advance(request.leader);
        let at = self.node(request.leader);
        let records = at.log.above(request.end);
        let body = Body::Records { from: request.end, records, high_watermark: at.high_watermark };
        Some(Answer { epoch, body })
    }

    pub(crate) fn late_fetch(&mut self, follower: NodeId) -> Option<()> {
        let request = self.node(follower).late.take()?;
        self.serve(follower, &request)?;
        self.next.event = Some(Event::LateFetch);
        Some(())
    }

    pub(crate) fn take_answer(&mut self, follower: NodeId) {
        let fetch = std::mem::replace(&mut self.node(follower).fetch, Fetch::Requested);
        if let Fetch::Answered(answer) = fetch {
            self.follow(follower, &answer);
        }
    }

    /// The follower's side of an answer; one of another epoch was dropped when the follower adopted its own.
    pub(crate) fn follow(&mut self, follower: NodeId, answer: &Answer) {
        let at = self.node(follower);
        match answer.body {
            Body::Diverging(epoch, end) => {
                let end = at.truncation(epoch, end);
                self.truncate(follower, end);
            }
            Body::Records { from, records, high_watermark } if from == at.log.end() => {
                records.records().iter().for_each(|record| at.log.push(*record));
                at.high_watermark = at.high_watermark.max(high_watermark.min(at.log.end()));
            }
            Body::Records { .. } => {}
        }
    }

    pub(crate) fn truncate(&mut self, follower: NodeId, end: u8) {
        let Partition { isr, elr, .. } = self.next.controller.partition;
        let Node { log, high_watermark, .. } = *self.node(follower);
        let cuts_committed = log.agreed(&self.next.committed) > end;
        // A replica outside may still follow a deposed leader and cut what the next one commits at the same time.
        if end < high_watermark || (cuts_committed && isr.union(elr).contains(follower)) {
            self.next.breaches.note(Rule::Truncation);
        }
        if end < log.end() {
            self.next.event = Some(Event::Truncated);
        }
        self.node(follower).truncate(end);
    }

    /// A request that is on its way stays so when its sender changes or dies.
    pub(crate) fn outlive_request(&mut self, node: NodeId) {
        let node_epoch = self.next.controller.registered[node.index()];
        let at = self.node(node);
        at.late = at.request(node_epoch).or(at.late);
    }

    pub(crate) fn may_matter(&self, follower: NodeId, request: &Request) -> bool {
        if self.mutated(Mutation::NoEpochFencing) {
            return true;
        }
        let at = &self.next.nodes[request.leader.index()];
        if at.epoch < request.epoch {
            return self.next.controller.partition.leader_epoch == request.epoch;
        }
        let ignored = |known: &Known| {
            let older = known.node_epoch > request.node_epoch;
            let said = known.end == request.end && known.node_epoch == request.node_epoch;
            (older && !self.mutated(Mutation::OlderIncarnationFetches)) || said
        };
        at.epoch == request.epoch
            && at.lead().is_some()
            && !at.ends[follower.index()].as_ref().is_some_and(ignored)
    }
}
