//! What a node does for the groups whose log it leads (storage-node's `groups/shard.rs`).

use domain::{LeaderEpoch, Offset, ProducerId};
use group::{Answer, Call, Caller, Entry, Groups, Moment, Step, Token};
use uuid::Uuid;
use wire::ResponseError;

use crate::{
    coordinator::{Asker, Coordinator, PendingStep, Unsure},
    disk::{Batch, Log},
    event::{Event, GroupCall, Message, Noted, Party},
    invariants::{g1, g2, g3},
    mutation::Mutation,
    node::log_end,
    world::World,
};

/// An answer that waits for its commit longer than this says that it is not known.
const COMMIT_MS_MAX: u64 = 400;
/// So long the controllers have to answer a question before the log is asked.
const CONTROLLERS_ANSWER_MS: u64 = 50;
/// A question that the controllers do not answer for so long is given up.
const PATIENCE_MS: u64 = 200;

impl World {
    /// A leadership of the groups' log may have begun or ended here.
    pub(crate) fn coordinate(&mut self, n: usize, p: usize) {
        if Some(p) != self.setup.group_partition() {
            return;
        }
        let leads = self.nodes[n].local(p).and_then(|local| local.replica.leads());
        let Some(process) = self.nodes[n].process.as_mut() else { return };
        if process.coordinator.as_ref().map(|c| c.epoch) == leads {
            return;
        }
        if let Some(ended) = process.coordinator.take() {
            self.end_coordinator(n, ended);
        }
        let Some(epoch) = leads else { return };
        let after = self.setup.groups.as_ref().map_or(0, |groups| groups.load_us);
        let life = self.nodes[n].life;
        if let Some(process) = self.nodes[n].process.as_mut() {
            process.coordinator = Some(Coordinator::new(epoch));
        }
        self.schedule(after, Event::Load { node: n, life, epoch });
    }

    /// Whoever waits is sent to somebody else.
    fn end_coordinator(&mut self, n: usize, mut ended: Coordinator) {
        let error = ResponseError::NotCoordinator;
        let waits = ended.groups.take().map(|mut groups| groups.give_up(error)).unwrap_or_default();
        let pending = ended.pending.drain(..).flat_map(|step| step.answers);
        let unsure = ended.unsure.drain(..).map(|unsure| (unsure.token, unsure.answer));
        let failed = pending.chain(unsure).map(|(token, answer)| (token, answer.failed(error)));
        let answers: Vec<_> = waits.into_iter().chain(failed).collect();
        for (token, answer) in answers {
            if let Some(asker) = ended.askers.remove(&token) {
                self.tell_member(n, ended.epoch, token, &asker, answer);
            }
        }
    }

    /// Reads the log up to its end (G3).
    pub(crate) fn load_groups(&mut self, n: usize, epoch: LeaderEpoch) {
        let Some(p) = self.setup.group_partition() else { return };
        let (now_ms, topics) = (self.node_ms(n), self.read_topics());
        let Some((local, log)) = self.nodes[n].both(p) else { return };
        let end = match self.mutation {
            Some(Mutation::LoadToHighWatermark) => local.replica.high_watermark(),
            _ => log.end(),
        };
        let mut groups = self.replayed(n, end);
        let step = groups.loaded(now_ms, &topics);
        let Some(coordinator) = self.coordinator(n).filter(|c| c.epoch == epoch && c.groups.is_none()) else {
            return;
        };
        (coordinator.groups, coordinator.end) = (Some(groups), end);
        self.counts.loads += 1;
        self.trace(Party::Node(n), format_args!("coordinates in epoch {epoch}, having read to {end}"));
        self.carry_out(n, step);
    }

    /// What a node's log says of groups.
    fn replayed(&self, n: usize, end: Offset) -> Groups {
        let config = self.setup.groups.as_ref().map(|groups| groups.config()).unwrap_or_default();
        let mut groups = Groups::new(config);
        let log = self.setup.group_partition().and_then(|p| self.nodes[n].disk.logs[p].as_ref());
        for batch in log.iter().flat_map(|log| log.read(log.start(), end, usize::MAX)) {
            let entries = self.entries.get(&batch.value).into_iter().flatten();
            entries.for_each(|entry| groups.replay(entry.clone()));
        }
        groups
    }

    pub(crate) fn on_group_call(&mut self, n: usize, member: usize, call: GroupCall) {
        let Some(process) = self.nodes[n].process.as_mut() else { return };
        if let Some(connection) = call.connection {
            let newest = process.members.entry(member).or_insert(connection);
            if connection < *newest {
                return;
            }
            *newest = connection;
        }
        let token = Token(call.call);
        let (commits, fenced) = self.look_at_commit(member, &call.asks);
        let asker = Asker { member, asked: call.asked, commits, fenced };
        let epoch = self.coordinator(n).filter(|c| c.groups.is_some()).map(|c| c.epoch);
        let Some(epoch) = epoch else {
            let refused = call.asks.refused(ResponseError::NotCoordinator);
            return self.tell_member(n, LeaderEpoch::UNKNOWN, token, &asker, refused);
        };
        self.hear(n);
        let (moment, topics) = (self.moment(n), self.read_topics());
        let host = format!("/member-{member}");
        let caller = Caller { client_id: host.clone(), host, version: call.version };
        let asks = self.bent_call(call.asks);
        let Some(coordinator) = self.coordinator(n) else { return };
        coordinator.askers.insert(token, asker);
        let Some(groups) = &mut coordinator.groups else { return };
        let step = groups.step(moment, &topics, &caller, asks.clone(), token);
        let step = self.bent_step(&asks, step);
        self.trace(Party::Node(n), format_args!("epoch {epoch}: {asks:?} => {step:?}"));
        self.carry_out(n, step);
    }

    /// What a call wants to commit, and whether it must not.
    fn look_at_commit(&self, member: usize, asks: &Call) -> (Vec<(i32, i64)>, bool) {
        let Call::OffsetCommit(request) = asks else { return (Vec::new(), false) };
        let partitions = request.topics.iter().flat_map(|topic| &topic.partitions);
        let commits = partitions.map(|p| (p.partition_index, p.committed_offset)).collect();
        let (id, epoch) = (request.member_id.as_str(), request.generation_id_or_member_epoch);
        (commits, self.groups_ghost.is_fenced(&self.members[member].group, id, epoch))
    }

    /// Appends the step's records, makes them so, and sees to its answers.
    pub(crate) fn carry_out(&mut self, n: usize, step: Step) {
        let wrote = !step.records.is_empty();
        if wrote {
            match self.append_entries(n, &step.records) {
                Ok(end) => {
                    let Some(coordinator) = self.coordinator(n) else { return };
                    coordinator.end = end;
                    if let Some(groups) = &mut coordinator.groups {
                        step.records.into_iter().for_each(|entry| groups.replay(entry));
                    }
                }
                Err(error) => return self.not_appended(n, step, error),
            }
        }
        let since_ms = self.node_ms(n);
        let Some(coordinator) = self.coordinator(n) else { return };
        if !step.answers.is_empty() {
            let until = coordinator.end;
            coordinator.pending.push_back(PendingStep { since_ms, until, wrote, answers: step.answers });
        }
        if let Some(p) = self.setup.group_partition() {
            self.settle_coordinator(n, p);
        }
    }

    fn not_appended(&mut self, n: usize, step: Step, error: ResponseError) {
        let moment = self.moment(n);
        let Some(coordinator) = self.coordinator(n) else { return };
        let epoch = coordinator.epoch;
        if let Some(groups) = &mut coordinator.groups {
            groups.not_appended(&step, moment);
        }
        for (token, answer) in step.answers {
            self.answer(n, epoch, token, answer.failed(error));
        }
    }

    fn append_entries(&mut self, n: usize, records: &[Entry]) -> Result<Offset, ResponseError> {
        let moved = ResponseError::NotCoordinator;
        let p = self.setup.group_partition().ok_or(moved)?;
        let (now_ms, node_ms, flush) =
            (self.now_ms() as i64, self.node_ms(n), self.setup.partitions[p].flush);
        let value = self.fresh_id();
        let coordinates = self.coordinator(n).map(|c| c.epoch).ok_or(moved)?;
        let (local, log) = self.nodes[n].both(p).ok_or(moved)?;
        let epoch = local.replica.check_leads(None).map_err(|_| moved)?;
        if epoch != coordinates {
            return Err(moved);
        }
        let few = ResponseError::CoordinatorNotAvailable;
        local.replica.check_enough_in_sync().map_err(|_| few)?;
        let count = records.len() as i32;
        let (base, producer) = (log.end(), ProducerId::NONE);
        let batch = Batch { base, count, epoch, producer, sequence: -1, value };
        log.append(batch, now_ms);
        local.replica.appended(node_ms, log_end(log, flush));
        self.entries.insert(value, records.to_vec());
        self.counts.group_batches += 1;
        self.trace(Party::Node(n), format_args!("t{p}: appends {batch:?}"));
        self.replica_changed(n, p);
        if flush {
            self.flush_soon(n, p);
        }
        Ok(batch.end())
    }

    /// Lets the answers go that are committed.
    pub(crate) fn settle_coordinator(&mut self, n: usize, p: usize) {
        if Some(p) != self.setup.group_partition() {
            return;
        }
        loop {
            let (leads, high_watermark) = match self.nodes[n].local(p) {
                Some(local) => (local.replica.leads(), local.replica.high_watermark()),
                None => return,
            };
            let early = self.mutation == Some(Mutation::AnswerBeforeCommit);
            let Some(coordinator) = self.coordinator(n) else { return };
            let epoch = coordinator.epoch;
            let done = |step: &mut PendingStep| high_watermark >= step.until || early;
            if leads != Some(epoch) {
                return;
            }
            let Some(step) = coordinator.pending.pop_front_if(done) else { return };
            for (token, answer) in step.answers {
                self.release(n, epoch, token, answer, step.wrote);
            }
        }
    }

    /// Its records are committed. If it has none, the node must know that it leads still.
    fn release(&mut self, n: usize, epoch: LeaderEpoch, token: Token, answer: Answer, wrote: bool) {
        let since_ms = self.node_ms(n);
        let recent_ms = self.setup.liveness.session_timeout_ms / 5;
        let Some(process) = self.nodes[n].process.as_mut() else { return };
        let tells = matches!(answer, Answer::OffsetFetch(_));
        let recent = process.heard.left_ms != 0
            && since_ms.saturating_sub(process.heard.left_ms) <= recent_ms
            && !tells;
        if wrote || recent || self.mutation == Some(Mutation::NoReadIndex) {
            return self.answer(n, epoch, token, answer);
        }
        process.questions += 1;
        process.beat_due_us = 0;
        let question = process.questions;
        if let Some(coordinator) = &mut process.coordinator {
            coordinator.unsure.push(Unsure { since_ms, question, token, answer });
        }
        self.beat(n);
    }

    /// What a heartbeat takes along.
    pub(crate) fn note_question(&self, n: usize) -> Noted {
        let question = self.nodes[n].process.as_ref().map_or(0, |process| process.questions);
        Noted { question, left_ms: self.node_ms(n) }
    }

    /// Answers those who asked before a heartbeat left, once the metadata of its answer is here.
    pub(crate) fn become_sure(&mut self, n: usize) {
        let Some(process) = self.nodes[n].process.as_mut() else { return };
        let (heard, version) = (process.heard, process.image.version);
        let Some(coordinator) = process.coordinator.as_mut().filter(|_| version >= heard.version) else {
            return;
        };
        let epoch = coordinator.epoch;
        let sure = coordinator.unsure.extract_if(.., |unsure| unsure.question <= heard.question);
        let sure: Vec<_> = sure.collect();
        for unsure in sure {
            self.answer(n, epoch, unsure.token, unsure.answer);
        }
    }

    /// What a coordinator sees to every now and then.
    pub(crate) fn tend_coordinator(&mut self, n: usize) {
        let Some(p) = self.setup.group_partition() else { return };
        self.hear(n);
        let now_ms = self.node_ms(n);
        if let Some(process) = self.nodes[n].process.as_mut() {
            process.ticked_ms = Some(now_ms);
        }
        self.settle_coordinator(n, p);
        self.mark_unsure(n, now_ms);
        self.fail_late(n, now_ms);
        let (moment, topics) = (self.moment(n), self.read_topics());
        let Some(groups) = self.coordinator(n).and_then(|c| c.groups.as_mut()) else { return };
        if groups.next_deadline().is_some_and(|due_ms| due_ms <= now_ms) {
            let step = groups.tick(moment, &topics);
            self.trace(Party::Node(n), format_args!("ticks: {step:?}"));
            self.carry_out(n, step);
        }
        self.bent_tick(n);
        self.check_kept(n);
    }

    /// Those that no heartbeat has made sure of for a while become so once a mark behind them is committed.
    fn mark_unsure(&mut self, n: usize, now_ms: u64) {
        let Some(coordinator) = self.coordinator(n).filter(|c| c.groups.is_some()) else { return };
        let old = |unsure: &mut Unsure| unsure.since_ms + CONTROLLERS_ANSWER_MS <= now_ms;
        let answers: Vec<_> =
            coordinator.unsure.extract_if(.., old).map(|unsure| (unsure.token, unsure.answer)).collect();
        if !answers.is_empty() {
            self.counts.marks += 1;
            self.carry_out(n, Step { records: vec![Entry::mark()], answers });
        }
    }

    fn fail_late(&mut self, n: usize, now_ms: u64) {
        let Some(coordinator) = self.coordinator(n) else { return };
        let epoch = coordinator.epoch;
        let late =
            coordinator.pending.iter().take_while(|step| step.since_ms + COMMIT_MS_MAX <= now_ms).count();
        let mut answers: Vec<_> = Vec::new();
        for (token, answer) in coordinator.pending.drain(..late).flat_map(|step| step.answers) {
            answers.push((token, answer.failed(ResponseError::CoordinatorNotAvailable)));
        }
        let given_up = |unsure: &mut Unsure| unsure.since_ms + PATIENCE_MS <= now_ms;
        for unsure in coordinator.unsure.extract_if(.., given_up) {
            answers.push((unsure.token, unsure.answer.failed(ResponseError::NotCoordinator)));
        }
        for (token, answer) in answers {
            self.answer(n, epoch, token, answer);
        }
    }

    /// What it keeps is what its log says (G3).
    fn check_kept(&mut self, n: usize) {
        let loaded = self.coordinator(n).is_some_and(|c| c.groups.is_some());
        let log = self.setup.group_partition().and_then(|p| self.nodes[n].disk.logs[p].as_ref());
        let end = log.map_or(Offset(0), Log::end);
        if !loaded || !self.random.chance(100) {
            return;
        }
        let replayed = self.replayed(n, end);
        let Some(coordinator) = self.coordinator(n) else { return };
        let checked =
            coordinator.groups.as_ref().map(|groups| g3::kept(coordinator.epoch, groups, &replayed));
        self.check(checked.unwrap_or(Ok(())));
    }

    /// What members said while this process was not running is not held against them.
    fn hear(&mut self, n: usize) {
        let (now_ms, late_ms) = (self.node_ms(n), self.setup.heartbeat_us / 1_000);
        let Some(process) = self.nodes[n].process.as_mut() else { return };
        let deaf = process.ticked_ms.is_some_and(|ticked_ms| now_ms.saturating_sub(ticked_ms) > late_ms);
        if let Some(groups) = process.coordinator.as_mut().and_then(|c| c.groups.as_mut()).filter(|_| deaf) {
            groups.was_deaf(now_ms);
        }
    }

    fn answer(&mut self, n: usize, epoch: LeaderEpoch, token: Token, answer: Answer) {
        let Some(asker) = self.coordinator(n).and_then(|c| c.askers.remove(&token)) else { return };
        self.tell_member(n, epoch, token, &asker, answer);
    }

    /// An answer leaves: what it says must be so.
    fn tell_member(&mut self, n: usize, epoch: LeaderEpoch, token: Token, asker: &Asker, answer: Answer) {
        let Some(p) = self.setup.group_partition() else { return };
        let ghost = &self.ghost.partitions[p];
        if ghost.counts(epoch) && asker.asked.losses == ghost.losses.len() {
            let group = &self.members[asker.member].group;
            let checked = g1::answered(&self.groups_ghost, group, asker, &answer);
            let checked = checked.and(g2::answered(group, asker, &answer));
            self.check(checked);
        }
        self.counts.group_answers += 1;
        let (to, answer) = (Party::Member(asker.member), Box::new(answer));
        self.send(Party::Node(n), to, Message::Told { epoch, call: token.0, answer });
    }

    /// The log of groups may have become longer.
    pub(crate) fn note_committed(&mut self, p: usize) {
        let Some(setup) = self.setup.groups.as_ref().filter(|setup| setup.partition == p) else { return };
        let (now_ms, retention_ms) = (self.now_ms() as i64, setup.retention_ms as i64);
        let log = &self.ghost.partitions[p];
        let checked = self.groups_ghost.catch_up(log, &self.entries, now_ms, retention_ms);
        self.counts.expired = self.counts.expired.max(self.groups_ghost.expired);
        self.check(checked);
    }

    pub(crate) fn coordinator(&mut self, n: usize) -> Option<&mut Coordinator> {
        self.nodes[n].process.as_mut()?.coordinator.as_mut()
    }

    fn moment(&mut self, n: usize) -> Moment {
        let fresh = Uuid::from_u128(u128::from(self.fresh_id()));
        Moment { now_ms: self.node_ms(n), wall_ms: self.now_ms() as i64, fresh, members_elsewhere: 0 }
    }
}
