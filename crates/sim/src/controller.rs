use std::{collections::BTreeMap, sync::Arc};

use domain::{NodeEpoch, NodeId};
use metadata::{Applied, Command, Delta, Image, Liveness, Refusal};

use crate::{
    event::{Event, Message, Noted, Party},
    invariants::{c2, r5, r10},
    mutation::Mutation,
    world::{World, partition_of},
};

/// The controllers: one log, which a majority has up to `committed`, and whoever leads. Raft itself is openraft's
/// concern; what matters here is that a proposal may be lost or committed later, and its answer with it.
#[derive(Debug)]
pub(crate) struct Controllers {
    pub(crate) leader: usize,
    pub(crate) term: u64,
    /// None while an election is under way.
    pub(crate) office: Option<Liveness>,
    /// Members that take themselves for the leader still: what is proposed to them is lost.
    pub(crate) deposed: [bool; Party::CONTROLLERS],
    pub(crate) log: Vec<Entry>,
    pub(crate) committed: usize,
    /// The version that changed the image last.
    pub(crate) changed: u64,
    pub(crate) image: Image,
    /// The image after each version, and the way from the one before.
    pub(crate) images: Vec<Image>,
    deltas: Vec<Option<Arc<Delta>>>,
    /// The watch of each node: at which controller, and when its last message arrives.
    watchers: BTreeMap<usize, Watcher>,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) command: Command,
    /// Which call of which node waits for it.
    reply: Option<(usize, u64, u64)>,
}

#[derive(Debug)]
struct Watcher {
    controller: usize,
    life: u64,
    session: u64,
    arrives_us: u64,
}

impl Controllers {
    pub(crate) fn new() -> Self {
        Self {
            leader: 0,
            term: 0,
            office: None,
            deposed: [false; Party::CONTROLLERS],
            log: Vec::new(),
            committed: 0,
            changed: 0,
            image: Image::default(),
            images: vec![Image::default()],
            deltas: vec![None],
            watchers: BTreeMap::new(),
        }
    }
}

impl World {
    pub(crate) fn on_controller(&mut self, me: usize, from: usize, message: Message) {
        let leads = me == self.controllers.leader && self.controllers.office.is_some();
        if let Message::Watch { session, from: version } = message {
            return self.watch(me, from, session, version);
        }
        if !leads {
            // A deposed leader cannot know it yet: it takes the proposal and never answers.
            if !self.controllers.deposed[me] {
                self.send(Party::Controller(me), Party::Node(from), Message::NotLeader);
            }
            return;
        }
        match message {
            Message::Register { call, life, registration } => {
                self.propose(Command::RegisterNode(*registration), Some((from, life, call)));
            }
            Message::Heartbeat { epoch, goodbye, stopping, noted } => {
                self.heartbeat(from, epoch, goodbye, stopping, noted);
            }
            Message::StreamEnded { epoch } => {
                let (now, id) = (self.now_ms(), NodeId(from as i32));
                self.controllers.office.iter_mut().for_each(|o| o.stream_ended(now, id, epoch));
            }
            Message::Propose { call, command } => {
                let life = self.nodes[from].life;
                self.propose(*command, Some((from, life, call)));
            }
            _ => {}
        }
    }

    fn heartbeat(&mut self, from: usize, epoch: NodeEpoch, goodbye: bool, stopping: bool, noted: Noted) {
        let (now, id) = (self.now_ms(), NodeId(from as i32));
        let known = self.controllers.image.nodes.get(&id).filter(|n| n.epoch == epoch).map(|n| n.state);
        let version = self.controllers.changed;
        let mut answer = Message::Beat { epoch, may_stop: false, known: known.is_some(), noted, version };
        if let Some(state) = known {
            let fenced = state == metadata::NodeState::Fenced;
            if goodbye {
                self.propose_once(Command::FenceNode { node: id, epoch });
                return;
            }
            self.controllers.office.iter_mut().for_each(|o| o.heard(now, id, epoch));
            if fenced && !stopping {
                self.propose_once(Command::UnfenceNode { node: id, epoch });
            }
            if state == metadata::NodeState::Active && stopping {
                self.propose_once(Command::StopNode { node: id, epoch });
            }
            let may_stop = stopping && state != metadata::NodeState::Active;
            answer = Message::Beat { epoch, may_stop, known: true, noted, version };
        }
        self.send(Party::Controller(self.controllers.leader), Party::Node(from), answer);
    }

    /// Unless the same is on its way already.
    fn propose_once(&mut self, command: Command) {
        let pending = &self.controllers.log[self.controllers.committed..];
        if !pending.iter().any(|e| e.command == command) {
            self.propose(command, None);
        }
    }

    pub(crate) fn propose(&mut self, command: Command, reply: Option<(usize, u64, u64)>) {
        self.controllers.log.push(Entry { command, reply });
        let (low, high) = self.setup.commit_us;
        let after = self.random.range(low, high);
        let (term, index) = (self.controllers.term, self.controllers.log.len());
        self.schedule(after, Event::Commit { term, index });
    }

    /// A majority has the log up to `index`; an earlier leader's majority does not count.
    pub(crate) fn commit(&mut self, term: u64, index: usize) {
        if term != self.controllers.term {
            return;
        }
        while self.controllers.committed < index.min(self.controllers.log.len()) && self.violation.is_none() {
            self.apply_next();
        }
    }

    fn apply_next(&mut self) {
        let index = self.controllers.committed;
        self.controllers.committed += 1;
        self.counts.entries += 1;
        let reply = self.controllers.log[index].reply.take();
        let command = self.controllers.log[index].command.clone();
        let before = self.controllers.image.clone();
        self.controllers.image.version = index as u64 + 1;
        let command = self.bent_command(command);
        let outcome = self.controllers.image.apply(&command);
        self.unbend(&command, &before);
        self.controllers.log[index].command = command.clone();
        if self.tracing() {
            let result = match &outcome.result {
                Ok(applied) => format!("{applied:?}"),
                Err(refusal) => format!("refused: {refusal}"),
            };
            self.trace("controllers", format_args!("entry {} {command:?} => {result}", index + 1));
        }
        let delta =
            (!outcome.changes.is_empty()).then(|| Arc::new(self.controllers.image.delta(&outcome.changes)));
        if delta.is_some() {
            self.controllers.changed = self.controllers.image.version;
        }
        self.controllers.images.push(self.controllers.image.clone());
        self.controllers.deltas.push(delta.clone());
        for topic in outcome.changes.partitions.keys() {
            self.partition_changed(partition_of(topic), &before, &command);
        }
        let life = reply.map(|(_, life, _)| life);
        self.check_entry(&command, &before, &outcome.result, life);
        if let Some(delta) = delta {
            for node in self.controllers.watchers.keys().copied().collect::<Vec<_>>() {
                self.tell(node, delta.clone());
            }
        }
        let fenced: &[(NodeId, NodeEpoch)] = match &command {
            Command::FenceNode { node, epoch } => &[(*node, *epoch)],
            Command::FenceNodes { nodes } => nodes,
            _ => &[],
        };
        self.counts.fences += fenced.len() as u64;
        for (node, epoch) in fenced {
            self.controllers.office.iter_mut().for_each(|o| o.forget(*node, *epoch));
        }
        if let Some((node, life, call)) = reply
            && self.nodes[node].life == life
        {
            let message = Message::Answer { call, result: Box::new(outcome.result) };
            self.send(Party::Controller(self.controllers.leader), Party::Node(node), message);
        }
    }

    fn check_entry(
        &mut self,
        command: &Command,
        before: &Image,
        result: &Result<Applied, Refusal>,
        life: Option<u64>,
    ) {
        match (command, result) {
            (Command::RegisterNode(registration), Ok(_)) => {
                let n = registration.node.0 as usize;
                // An earlier life's registration came late: it says nothing about the disk as it is now.
                if life != Some(self.nodes[n].life) {
                    return;
                }
                let spoiled = std::mem::take(&mut self.ghost.spoiled[n]);
                let checked = r10::registered(&self.controllers.image, registration.node, spoiled);
                self.check(checked);
            }
            (Command::AlterPartitions { changes, .. }, Ok(Applied::Altered(results))) => {
                for (change, result) in changes.iter().zip(results) {
                    let Ok(after) = result else {
                        self.counts.isr_refusals += 1;
                        continue;
                    };
                    self.counts.isr_changes += 1;
                    let Some(topic) = before.topic_by_id(change.topic) else { continue };
                    let Some(state) = topic.partition(change.partition) else { continue };
                    let ghost = &self.ghost.partitions[partition_of(&topic.name)];
                    let checked = r5::taken(ghost, before, state, after);
                    self.check(checked);
                }
            }
            _ => {}
        }
    }

    fn watch(&mut self, controller: usize, node: usize, session: u64, version: u64) {
        // A member that is cut off from the leader lags behind and tells nothing.
        let leader = Party::Controller(self.controllers.leader);
        if controller != self.controllers.leader
            && !self.network.reaches(leader, Party::Controller(controller))
        {
            return;
        }
        let life = self.nodes[node].life;
        self.controllers.watchers.insert(node, Watcher { controller, life, session, arrives_us: 0 });
        if version == 0 {
            let snapshot = Arc::new(self.controllers.image.snapshot());
            return self.tell(node, snapshot);
        }
        let missed: Vec<_> =
            self.controllers.deltas.iter().skip(version as usize + 1).flatten().cloned().collect();
        missed.into_iter().for_each(|delta| self.tell(node, delta));
    }

    /// One message of a watch: in order, or the watch breaks.
    fn tell(&mut self, node: usize, delta: Arc<Delta>) {
        let Some(watcher) = self.controllers.watchers.get(&node) else { return };
        let (controller, session, arrives) = (watcher.controller, watcher.session, watcher.arrives_us);
        let leader = Party::Controller(self.controllers.leader);
        let from = Party::Controller(controller);
        let cut_off = controller != self.controllers.leader && !self.network.reaches(leader, from);
        let gone = watcher.life != self.nodes[node].life;
        let crate::network::Fate::Arrives { after_us } = self.fate(from, Party::Node(node)) else {
            self.controllers.watchers.remove(&node);
            return;
        };
        if cut_off || gone {
            self.controllers.watchers.remove(&node);
            return;
        }
        let at = (self.now_us + after_us).max(arrives + 1);
        if let Some(watcher) = self.controllers.watchers.get_mut(&node) {
            watcher.arrives_us = at;
        }
        self.deliver_after(at - self.now_us, from, Party::Node(node), Message::Metadata { session, delta });
    }

    /// The leader is gone. What it had proposed and no majority has is lost, or the next one commits it; who proposed it
    /// hears nothing either way.
    pub(crate) fn fail_over(&mut self) {
        let controllers = &mut self.controllers;
        let pending = controllers.log.len() - controllers.committed;
        let kept = controllers.committed + self.random.index(pending + 1);
        controllers.log.truncate(kept);
        controllers.log[controllers.committed..].iter_mut().for_each(|e| e.reply = None);
        controllers.deposed[controllers.leader] = self.random.chance(500);
        controllers.office = None;
        controllers.term += 1;
        controllers.leader =
            (controllers.leader + 1 + self.random.index(Party::CONTROLLERS - 1)) % Party::CONTROLLERS;
        self.counts.failovers += 1;
        let (term, leader) = (self.controllers.term, self.controllers.leader);
        self.trace(
            "controllers",
            format_args!("controller-{leader} is to lead in term {term}, the log has {kept} entries"),
        );
        let after = self.random.range(5_000, 200_000);
        self.schedule(after, Event::Elected { term });
    }

    pub(crate) fn take_office(&mut self, term: u64) {
        if term != self.controllers.term {
            return;
        }
        let index = self.controllers.log.len();
        self.commit(term, index);
        self.controllers.deposed = [false; Party::CONTROLLERS];
        let now = self.now_ms();
        let known: Vec<_> = self.controllers.image.nodes.values().collect();
        let alive = known.iter().filter(|n| n.state != metadata::NodeState::Fenced).map(|n| (n.id, n.epoch));
        self.controllers.office = Some(Liveness::take_office(self.setup.liveness, now, alive));
        self.trace("controllers", format_args!("term {term} begins"));
        self.schedule(1_000, Event::OfficeTick { term });
    }

    pub(crate) fn office_tick(&mut self, term: u64) {
        if term != self.controllers.term {
            return;
        }
        let now = self.now_ms();
        let live = self.controllers.image.live_nodes().map(|n| (n.id, n.epoch));
        let due = self.controllers.office.as_mut().map(|o| {
            o.expect(now, live);
            o.due(now)
        });
        let due = due.unwrap_or_default();
        if !due.is_empty() {
            let nodes = due.iter().map(|fence| (fence.node, fence.epoch)).collect();
            self.propose_once(Command::FenceNodes { nodes });
        }
        if self.healing && !self.plan.lossless {
            self.operate();
        }
        let every = self.setup.liveness.session_timeout_ms * 100;
        self.schedule(every, Event::OfficeTick { term });
    }

    /// The replay of everything, at the end.
    pub(crate) fn check_replay(&mut self) {
        // Some mutations change what an entry does, not what it says.
        let bent = [Mutation::NoKip841, Mutation::RegistrationKeepsLeadership, Mutation::OnlyTheLastAsked];
        if self.mutation.is_some_and(|m| bent.contains(&m)) {
            return;
        }
        let committed = &self.controllers.log[..self.controllers.committed];
        let commands = (1..).zip(committed.iter().map(|e| &e.command));
        let checked = c2::replayed(commands, &self.controllers.image);
        self.check(checked);
    }
}
