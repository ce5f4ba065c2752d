//! A node's standing with the controllers: registering, heartbeats, the metadata that it follows.

use std::sync::Arc;

use domain::{NodeId, PartitionIndex};
use metadata::{Applied, Command, Delta, Partition, Refusal, ReplicaReport};
use replica::Adopted;

use crate::{
    disk::{Incarnation, Log, Proof},
    event::{Event, Message, Party},
    invariants::{c1, c2, r1, r6, r12},
    mutation::Mutation,
    node::{Call, Local, Process, log_end, state_of},
    world::{World, partition_of},
};

/// How long a call to a controller waits.
const CALL_US: u64 = 60_000;

impl World {
    pub(crate) fn node_id(&self, n: usize) -> NodeId {
        NodeId(n as i32)
    }

    pub(crate) fn node_ms(&self, n: usize) -> u64 {
        self.nodes[n].clock.now_ms(self.now_us)
    }

    /// The process opens its folder, and registers.
    pub(crate) fn start_node(&mut self, n: usize) {
        if self.nodes[n].process.is_some() {
            return;
        }
        let controller = self.random.index(Party::CONTROLLERS);
        let node = &mut self.nodes[n];
        let proof = node.disk.open(node.boot, &mut self.random);
        node.process = Some(Process::new(NodeId(n as i32), proof, &node.disk, controller, self.now_us));
        let (life, boot) = (node.life, node.boot);
        self.trace(Party::Node(n), format_args!("starts, life {life}, boot {boot}, {proof:?}"));
        self.schedule(0, Event::Tick { node: n, life });
    }

    pub(crate) fn node_tick(&mut self, n: usize) {
        let now = self.now_us;
        let every = self.setup.heartbeat_us / 2;
        let life = self.nodes[n].life;
        self.schedule(every, Event::Tick { node: n, life });
        let silent = self.setup.liveness.session_timeout_ms * 400;
        let Some(process) = self.nodes[n].process.as_mut() else { return };
        if now.saturating_sub(process.controller_heard_us) > silent {
            process.controller = (process.controller + 1) % Party::CONTROLLERS;
            process.controller_heard_us = now;
        }
        if process.epoch.is_none() {
            return self.register(n);
        }
        let stopping = process.stopping_until_us;
        let watch_silent = now.saturating_sub(process.watch_heard_us) > silent;
        self.beat(n);
        if stopping.is_some_and(|until| now >= until) {
            return self.say_goodbye(n);
        }
        if watch_silent {
            self.watch_metadata(n);
        }
        self.note_configs(n);
        self.report(n);
        self.tend_replicas(n);
        self.tend_coordinator(n);
    }

    /// A heartbeat, if it is time for one.
    pub(crate) fn beat(&mut self, n: usize) {
        let (now, noted) = (self.now_us, self.note_question(n));
        let Some(process) = self.nodes[n].process.as_mut() else { return };
        let Some(epoch) = process.epoch.filter(|_| now >= process.beat_due_us) else { return };
        process.beat_due_us = now + self.setup.heartbeat_us;
        let (controller, stopping) =
            (Party::Controller(process.controller), process.stopping_until_us.is_some());
        let message = Message::Heartbeat { epoch, goodbye: false, stopping, noted };
        self.send(Party::Node(n), controller, message);
    }

    fn register(&mut self, n: usize) {
        let now = self.now_us;
        let call = self.fresh_id();
        let Some(process) = self.nodes[n].process.as_mut() else { return };
        if process.registering.is_some_and(|call| now < call.until_us) {
            return;
        }
        process.registering = Some(Call { id: call, until_us: now + CALL_US });
        // The same until an answer comes.
        process.incarnation.get_or_insert(uuid::Uuid::from_u128(u128::from(call) + 1));
        let (proof, controller, life) = (process.proof, process.controller, self.nodes[n].life);
        let registration = Box::new(self.registration(n, proof));
        self.send(
            Party::Node(n),
            Party::Controller(controller),
            Message::Register { call, life, registration },
        );
    }

    fn on_registered(&mut self, n: usize, result: Result<Applied, Refusal>) {
        let Ok(Applied::Registered { epoch, .. }) = result else { return };
        self.nodes[n].process.iter_mut().for_each(|process| process.incarnation = None);
        let node = &mut self.nodes[n];
        let Some(process) = node.process.as_mut() else { return };
        process.registering = None;
        process.epoch = Some(epoch);
        process.in_image = false;
        process.proof = Proof { previous_epoch: Some(epoch), intact: true };
        // Durable before the first append: this incarnation, and that the folder is in use.
        node.disk.incarnation =
            Some(Incarnation { directory: node.disk.directory, node_epoch: epoch, boot: node.boot });
        node.disk.clean = None;
        self.trace(Party::Node(n), format_args!("is registered as {epoch}"));
        (0..self.topics.len()).for_each(|p| self.touch(p));
        self.watch_metadata(n);
    }

    pub(crate) fn watch_metadata(&mut self, n: usize) {
        let session = self.fresh_id();
        let controller = self.random.index(Party::CONTROLLERS);
        let Some(process) = self.nodes[n].process.as_mut() else { return };
        process.watch = session;
        process.watch_heard_us = self.now_us;
        let from = if process.in_image { process.image.version } else { 0 };
        self.send(Party::Node(n), Party::Controller(controller), Message::Watch { session, from });
    }

    pub(crate) fn on_controllers_answer(&mut self, n: usize, controller: usize, message: Message) {
        let now = self.now_us;
        let Some(process) = self.nodes[n].process.as_mut() else { return };
        match message {
            Message::NotLeader if process.controller == controller => {
                process.controller = (controller + 1) % Party::CONTROLLERS;
                (process.controller_heard_us, process.beat_due_us) = (now, now);
                (process.registering, process.altering, process.reporting) = (None, None, None);
            }
            Message::Beat { epoch, .. } if process.epoch != Some(epoch) => {}
            Message::Beat { known: false, .. } => self.replaced(n),
            Message::Beat { may_stop, noted, version, .. } => {
                process.controller_heard_us = now;
                process.heard = process.heard.later(noted, version);
                if may_stop && process.stopping_until_us.is_some() {
                    return self.say_goodbye(n);
                }
                self.become_sure(n);
            }
            Message::Metadata { session, delta } if session == process.watch => {
                process.watch_heard_us = now;
                self.on_delta(n, &delta);
                self.become_sure(n);
            }
            Message::Answer { call, result } if process.registering.is_some_and(|c| c.id == call) => {
                process.controller_heard_us = now;
                self.on_registered(n, *result);
            }
            Message::Answer { call, result } => {
                process.controller_heard_us = now;
                if process.reporting.is_some_and(|c| c.id == call) {
                    process.reporting = None;
                }
                self.on_altered(n, call, *result);
            }
            _ => {}
        }
    }

    /// Another incarnation is registered: whatever this one led, it may lead no more.
    fn replaced(&mut self, n: usize) {
        self.trace(Party::Node(n), format_args!("is not the registered incarnation"));
        for p in 0..self.topics.len() {
            self.fail_waiting(n, p);
            if let Some((local, _)) = self.nodes[n].both(p) {
                local.replica.resign();
            }
            self.coordinate(n, p);
        }
        if let Some(process) = self.nodes[n].process.as_mut() {
            (process.epoch, process.in_image) = (None, false);
            process.registering = None;
        }
        self.register(n);
    }

    fn on_delta(&mut self, n: usize, delta: &Arc<Delta>) {
        let me = self.node_id(n);
        let Some(process) = self.nodes[n].process.as_mut() else { return };
        if delta.version <= process.image.version && !delta.snapshot {
            return;
        }
        process.image.adopt(delta);
        let image = process.image.clone();
        let version = image.version as usize;
        let checked = c2::prefix(&image, &self.controllers.images[version]);
        self.check(checked);
        // An image from before this incarnation's registration says what an earlier one led (R6).
        let epoch = self.nodes[n].epoch();
        let known = epoch.is_some() && image.nodes.get(&me).map(|node| node.epoch) == epoch;
        let Some(process) = self.nodes[n].process.as_mut() else { return };
        let first = known && !std::mem::replace(&mut process.in_image, known);
        if !known {
            return;
        }
        let all = first || delta.snapshot;
        for topic in image.topics.values() {
            let told = all || delta.topics.iter().any(|t| t.id == topic.id);
            if let Some(partition) = topic.partition(PartitionIndex(0)).filter(|_| told) {
                let p = partition_of(&topic.name);
                self.follow_state(n, p, partition, false);
                // After another registration of the same process a state need not be news to be followed again.
                let follows = self.nodes[n].local(p).and_then(|l| l.replica.follows()).filter(|_| first);
                if let Some((leader, _)) = follows {
                    self.fetch_soon(n, leader, 0);
                }
            }
        }
    }

    /// A state of the partition, from the metadata or from the answer to a proposal.
    pub(crate) fn follow_state(&mut self, n: usize, p: usize, partition: &Partition, answered: bool) {
        let me = self.node_id(n);
        // Only the metadata drops a replica: after an answer it still has older states to tell.
        if !partition.replicas.contains(&me) && !answered {
            return self.drop_replica(n, p, partition);
        }
        let checked = c1::adopted(&self.ghost.partitions[p], partition);
        self.check_at(p, checked);
        let state = self.bent_state(n, p, state_of(partition));
        let (now_ms, flush, life) = (self.node_ms(n), self.setup.partitions[p].flush, self.nodes[n].life);
        let node = &mut self.nodes[n];
        let Some(process) = node.process.as_mut() else { return };
        let local = process.locals[p].get_or_insert_with(|| Local::new(me, domain::Offset(0)));
        let log = node.disk.logs[p].get_or_insert_with(Log::default);
        let led = local.replica.leads();
        let adopted = local.replica.adopt(now_ms, &state, log_end(log, flush));
        match adopted {
            Adopted::Nothing => return,
            Adopted::Leads(epoch) => {
                let end = log.end();
                log.epochs.assign(epoch, end);
                let checked = r6::leads(&mut self.ghost.partitions[p], epoch, n, life, end);
                self.check_at(p, checked);
                self.settle_doubt(n, p, epoch);
                self.extend_after_loss(n, p, epoch);
                // What it had not flushed as a follower must not wait for the next append.
                if flush {
                    self.flush_soon(n, p);
                }
                self.bent_leadership(n, p, epoch);
            }
            Adopted::Follows { leader, new } => {
                if new && self.mutation == Some(Mutation::TruncateToHighWatermark) {
                    self.cut_to_high_watermark(n, p);
                }
                self.fetch_soon(n, leader, 0);
            }
            Adopted::LeadsOn { .. } | Adopted::Leaderless => {}
        }
        let (epoch, isr, min) = (partition.epoch, &partition.isr, partition.min_isr);
        self.trace(
            Party::Node(n),
            format_args!("t{p}: {adopted:?}, state {epoch}, ISR {isr:?} of at least {min}"),
        );
        self.replica_changed(n, p);
        self.touch(p);
        if led.is_some() && self.nodes[n].local(p).and_then(|l| l.replica.leads()) != led {
            self.fail_waiting(n, p);
        }
        self.coordinate(n, p);
        self.complete_waiting(n, p);
    }

    fn drop_replica(&mut self, n: usize, p: usize, partition: &Partition) {
        let held = self.nodes[n].local(p).and_then(Local::partition_epoch);
        if held.is_some_and(|held| held > partition.epoch) {
            return;
        }
        if self.nodes[n].local(p).is_some() {
            self.fail_waiting(n, p);
            self.trace(Party::Node(n), format_args!("t{p}: holds no replica any more"));
        }
        self.nodes[n].disk.logs[p] = None;
        self.nodes[n].disk.high_watermarks[p] = domain::Offset(0);
        if let Some(process) = self.nodes[n].process.as_mut() {
            process.locals[p] = None;
        }
        self.coordinate(n, p);
    }

    /// A leader begins whom an unclean or RECOVERING election chose: what it has is what was committed.
    fn settle_doubt(&mut self, n: usize, p: usize, epoch: domain::LeaderEpoch) {
        let ghost = &mut self.ghost.partitions[p];
        let Some(doubt) = ghost.doubt.filter(|doubt| epoch >= doubt.epoch) else { return };
        let Some(log) = self.nodes[n].disk.logs[p].as_mut() else { return };
        let agreed = ghost.agreement(log);
        let checked = r12::recovered(ghost, doubt.unclean, epoch, agreed);
        (ghost.doubt, ghost.floor) = (None, epoch);
        if agreed < ghost.end() || !ghost.is_past_of(log, agreed) {
            self.counts.lost_batches += ghost.cut(log, agreed) as u64;
            let logs = self.nodes.iter_mut().filter_map(|node| node.disk.logs[p].as_mut());
            logs.for_each(|log| log.agreed = log.agreed.min(agreed));
        }
        self.check_at(p, checked);
    }

    /// Once an excused election has ended a history, its leader may have committed on, unseen: what survived of that here,
    /// below this leader's high watermark, counts again.
    fn extend_after_loss(&mut self, n: usize, p: usize, epoch: domain::LeaderEpoch) {
        let ghost = &mut self.ghost.partitions[p];
        let Some((local, log)) = self.nodes[n].both(p) else { return };
        if ghost.floor > domain::LeaderEpoch(0) {
            let checked = r1::committed(ghost, log, epoch, local.replica.high_watermark());
            self.check_at(p, checked);
        }
    }

    /// The last known members of a partition without a leader say where their logs end (R13).
    fn report(&mut self, n: usize) {
        let (me, now) = (self.node_id(n), self.now_us);
        let Some(process) = self.nodes[n].process.as_ref() else { return };
        let Some(epoch) = process.epoch.filter(|_| process.in_image) else { return };
        if process.reporting.is_some_and(|call| now < call.until_us) {
            return;
        }
        let controller = process.controller;
        let mut ends = Vec::new();
        for (p, (name, id)) in self.topics.iter().enumerate() {
            let partition = process.image.partition(name.as_str(), PartitionIndex(0));
            let asks = |p: &&Partition| p.leader.is_none() && p.last_known.iter().any(|k| k.node == me);
            let (Some(state), Some(log)) = (partition.filter(asks), &self.nodes[n].disk.logs[p]) else {
                continue;
            };
            let (partition, epochs) = (PartitionIndex(0), log.epochs.entries().to_vec());
            let (leader_epoch, log_start, log_end) = (state.leader_epoch, log.start(), log.end());
            ends.push(ReplicaReport { topic: *id, partition, leader_epoch, log_start, log_end, epochs });
        }
        if ends.is_empty() {
            return;
        }
        let call = self.fresh_id();
        if let Some(process) = self.nodes[n].process.as_mut() {
            process.reporting = Some(Call { id: call, until_us: now + CALL_US });
        }
        let command = Box::new(Command::ReportReplicas { node: me, epoch, ends });
        self.send(Party::Node(n), Party::Controller(controller), Message::Propose { call, command });
    }
}
