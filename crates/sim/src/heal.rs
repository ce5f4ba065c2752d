//! The end of a seed: no more faults, and everything must become whole within bounded time.

use domain::PartitionIndex;
use metadata::{Command, ElectionKind, Partition};

use crate::{event::Event, invariants::r13, world::World};

/// Of simulated time, in session timeouts.
const PATIENCE: u64 = 60;

impl World {
    /// Heals everything, and runs until nothing is missing or the time is over.
    pub(crate) fn heal(&mut self) {
        self.trace("world", format_args!("heals"));
        self.healing = true;
        self.network.heal_all();
        for n in 0..self.nodes.len() {
            self.nodes[n].clock.set_rate(self.now_us, 1_000);
            self.wake(n);
            if self.nodes[n].process.is_none() {
                let life = self.nodes[n].life;
                self.schedule(0, Event::Start { node: n, life });
            }
        }
        let until = self.now_us + self.setup.liveness.session_timeout_ms * 1_000 * PATIENCE;
        let mut missing = self.missing();
        while !missing.is_empty() && self.now_us < until && self.violation.is_none() {
            for _ in 0..64 {
                self.step();
            }
            missing = self.missing();
        }
        if self.violation.is_none() {
            let checked = r13::settled(&missing);
            self.check(checked);
            self.counts.healed += u64::from(missing.is_empty());
        }
        self.check_replay();
    }

    /// What an operator does while the cluster heals: where the last known disks are gone, somebody must say so.
    pub(crate) fn operate(&mut self) {
        for p in 0..self.topics.len() {
            if self.partition(p).is_some_and(|state| state.leader.is_none() && self.is_hopeless(state)) {
                let partitions = vec![(self.topics[p].0.clone(), PartitionIndex(0))];
                self.operator(Command::ElectLeaders { kind: ElectionKind::Unclean, partitions });
            }
        }
    }

    /// A last known member's disk is gone, or it holds no replica of the partition on it.
    pub(crate) fn is_hopeless(&self, state: &Partition) -> bool {
        let nodes = &self.controllers.image.nodes;
        let gone = |k: &metadata::LastKnown| nodes.get(&k.node).is_none_or(|n| n.directory != k.directory);
        let mut waited_for = state.last_known.iter().filter(|k| k.waited_for).peekable();
        state.is_lost() && (waited_for.peek().is_none() || waited_for.any(gone))
    }

    fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        if self.controllers.committed < self.controllers.log.len() {
            missing.push("entries wait to be committed".to_owned());
        }
        self.missing_in_groups(&mut missing);
        for p in 0..self.topics.len() {
            let Some(state) = self.partition(p) else { continue };
            // Nobody may bring it back by an unclean election.
            if self.plan.lossless && state.leader.is_none() && self.is_hopeless(state) {
                continue;
            }
            if state.leader.is_none() {
                missing.push(format!("t{p} has no leader: {state:?}"));
            } else if state.isr.len() < state.replicas.len() {
                missing.push(format!("t{p} has ISR {:?} of {:?}", state.isr, state.replicas));
            }
            let end = self.ghost.partitions[p].end();
            for (number, client) in self.clients.iter().enumerate() {
                if client.streams.get(p).is_some_and(|s| !s.queue.is_empty()) {
                    missing.push(format!("client-{number} waits for acknowledgements in t{p}"));
                }
                if client.keyed.get(p).is_some_and(|k| k.request.is_some()) {
                    missing.push(format!("client-{number} waits for a keyed request's answer in t{p}"));
                }
                if let Some(reader) = client.readers.get(p).filter(|r| r.position < end) {
                    missing.push(format!("client-{number} has read t{p} to {} of {end}", reader.position));
                }
            }
        }
        missing
    }
}
