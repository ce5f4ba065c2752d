//! What a node does for the partitions that it leads.

use domain::{NodeEpoch, NodeId, Offset};
use replica::{FollowerFetch, SequenceCheck};

use crate::{
    disk::Batch,
    event::{
        ConsumeAnswer, ConsumeOutcome, Event, FetchAnswer, FetchOutcome, FetchPartition, FetchRequest,
        Message, Party, ProduceRequest, ProduceResult,
    },
    invariants::r6,
    mutation::Mutation,
    node::{Waiting, log_end},
    world::World,
};

/// Batches in one answer for one partition.
const BATCHES_MAX: usize = 8;

impl World {
    pub(crate) fn on_produce(&mut self, n: usize, client: usize, request: &ProduceRequest) {
        let Some(process) = self.nodes[n].process.as_mut() else { return };
        let next = process.connections.entry(request.connection).or_insert(0);
        // What came before it on this connection was lost, and the connection with it.
        if *next != request.nth || process.epoch.is_none() {
            return;
        }
        *next += 1;
        let p = request.partition;
        let (epoch, result) = match self.take_batch(n, client, request) {
            Ok(None) => return,
            Ok(Some((epoch, base))) => (epoch, ProduceResult::Done(base)),
            Err(result) => (domain::LeaderEpoch::UNKNOWN, result),
        };
        let answer = Message::Produced { call: request.call, partition: p, epoch, result };
        self.send(Party::Node(n), Party::Client(client), answer);
    }

    /// Appends, or finds what was appended before. Nothing, when the answer must wait.
    fn take_batch(
        &mut self,
        n: usize,
        client: usize,
        request: &ProduceRequest,
    ) -> Result<Option<(domain::LeaderEpoch, Offset)>, ProduceResult> {
        let (p, now_ms) = (request.partition, self.now_ms() as i64);
        let (flush, node_ms) = (self.setup.partitions[p].flush, self.node_ms(n));
        let Some((local, log)) = self.nodes[n].both(p) else { return Err(ProduceResult::Retry) };
        let epoch = local.replica.check_leads(None).map_err(|_| ProduceResult::Retry)?;
        if request.acks_all {
            local.replica.check_enough_in_sync().map_err(|_| ProduceResult::Retry)?;
        }
        let batch = Batch {
            base: log.end(),
            count: request.count,
            epoch,
            producer: request.producer,
            sequence: request.sequence,
            value: request.value,
        };
        let check = match log.producers.check(&batch.header(), now_ms) {
            Ok(check) => check,
            Err(refusal) => {
                self.trace(Party::Node(n), format_args!("t{p}: refuses a batch: {refusal}"));
                return Err(ProduceResult::OutOfOrder);
            }
        };
        let (base, end) = match check {
            SequenceCheck::Append => {
                log.append(batch, now_ms);
                local.replica.appended(node_ms, log_end(log, flush));
                self.trace(Party::Node(n), format_args!("t{p}: appends {batch:?}"));
                self.replica_changed(n, p);
                if flush {
                    self.flush_soon(n, p);
                }
                (batch.base, batch.end())
            }
            SequenceCheck::Duplicate { base_offset, last_offset, .. } => {
                self.counts.duplicates += 1;
                (base_offset, last_offset.plus(1))
            }
        };
        if self.random.chance(5) && !flush {
            self.nodes[n].disk.logs[p].iter_mut().for_each(crate::disk::Log::sync);
        }
        let waits = request.acks_all || flush;
        if waits && let Some((local, _)) = self.nodes[n].both(p) {
            let (call, for_all) = (request.call, request.acks_all);
            local.waiting.push(Waiting { client, call, epoch, base, end, for_all });
            self.complete_waiting(n, p);
            return Ok(None);
        }
        Ok(Some((epoch, base)))
    }

    pub(crate) fn flush_soon(&mut self, n: usize, p: usize) {
        let (life, after) = (self.nodes[n].life, self.random.range(300, 6_000));
        let Some((local, log)) = self.nodes[n].both(p) else { return };
        if std::mem::replace(&mut local.flushing, true) {
            return;
        }
        let end = log.end();
        self.schedule(after, Event::Synced { node: n, life, partition: p, end });
    }

    pub(crate) fn synced(&mut self, n: usize, p: usize, end: Offset) {
        let (flush, node_ms) = (self.setup.partitions[p].flush, self.node_ms(n));
        let Some((local, log)) = self.nodes[n].both(p) else { return };
        local.flushing = false;
        log.sync_to(end);
        local.replica.appended(node_ms, log_end(log, flush));
        let (more, follows) = (log.synced() < log.end(), local.replica.follows());
        self.replica_changed(n, p);
        self.complete_waiting(n, p);
        match follows {
            Some((leader, _)) => self.fetch_soon(n, leader, 0),
            None if more => self.flush_soon(n, p),
            None => {}
        }
    }

    /// Answers those whose records are committed, or flushed where that is all they want.
    pub(crate) fn complete_waiting(&mut self, n: usize, p: usize) {
        let Some((local, log)) = self.nodes[n].both(p) else { return };
        let (high_watermark, synced) = (local.replica.high_watermark(), log.synced());
        let mut done = Vec::new();
        local.waiting.retain(|w| {
            let is_done = w.end <= if w.for_all { high_watermark } else { synced };
            if is_done {
                done.push(*w);
            }
            !is_done
        });
        for w in done {
            let result = ProduceResult::Done(w.base);
            let answer = Message::Produced { call: w.call, partition: p, epoch: w.epoch, result };
            self.send(Party::Node(n), Party::Client(w.client), answer);
        }
        self.settle_coordinator(n, p);
    }

    /// This node leads no more: nobody knows what becomes of what waits.
    pub(crate) fn fail_waiting(&mut self, n: usize, p: usize) {
        let Some((local, _)) = self.nodes[n].both(p) else { return };
        for w in std::mem::take(&mut local.waiting) {
            let result = ProduceResult::Retry;
            let answer = Message::Produced { call: w.call, partition: p, epoch: w.epoch, result };
            self.send(Party::Node(n), Party::Client(w.client), answer);
        }
    }

    pub(crate) fn on_fetch(&mut self, n: usize, from: usize, request: &FetchRequest) {
        let mut partitions = Vec::new();
        for asked in &request.partitions {
            let outcome = self.serve_follower(n, from, request.node_epoch, *asked);
            partitions.push((*asked, outcome));
        }
        let answer = FetchAnswer { id: request.id, node_epoch: request.node_epoch, partitions };
        self.send(Party::Node(n), Party::Node(from), Message::Fetched(Box::new(answer)));
    }

    fn serve_follower(
        &mut self,
        n: usize,
        from: usize,
        node_epoch: NodeEpoch,
        asked: FetchPartition,
    ) -> FetchOutcome {
        let (p, now_ms, bent) = (asked.partition, self.node_ms(n), self.mutation);
        let follower = self.node_id(from);
        let Some((local, log)) = self.nodes[n].both(p) else { return FetchOutcome::Refused };
        let believed = match bent {
            Some(Mutation::NoEpochFencing) => local.replica.leads(),
            _ => Some(asked.leader_epoch),
        };
        let Ok(epoch) = local.replica.check_leads(believed) else { return FetchOutcome::Refused };
        let (start, end) = (log.start(), log.end());
        match log.epochs.divergence(asked.last, asked.offset, end) {
            Err(_) => return FetchOutcome::Refused,
            Ok(Some((epoch, end))) => {
                let high_watermark = local.replica.high_watermark();
                return FetchOutcome::Diverging { epoch, end, high_watermark };
            }
            Ok(None)
                if asked.offset < start
                    || asked.offset > end
                    || !log.epochs.vouches_for(asked.last, asked.offset, start) =>
            {
                return FetchOutcome::OutOfRange { start, before: log.epochs.before(start) };
            }
            Ok(None) => {}
        }
        let fetch =
            FollowerFetch { node: follower, node_epoch, leader_epoch: epoch, offset: asked.offset, start };
        let Ok(fetched) = local.replica.fetched(now_ms, fetch) else { return FetchOutcome::Refused };
        local.fetches.insert(follower, (node_epoch, asked.offset));
        let batches = log.read(asked.offset, end, BATCHES_MAX);
        if asked.leader_epoch == epoch
            && let Some(leadership) = self.ghost.partitions[p].leaderships.get_mut(&epoch)
        {
            // A request that was given up may come late: what was reached stays reached.
            let fetch = leadership.fetches.entry(follower).or_insert((node_epoch, asked.offset));
            *fetch = (*fetch).max((node_epoch, asked.offset));
        }
        let checked = r6::served(asked.leader_epoch, epoch);
        self.check_at(p, checked);
        self.replica_changed(n, p);
        self.complete_waiting(n, p);
        if fetched.may_join || self.joins_early(n, p) {
            self.propose_isr(n, p);
        }
        let high_watermark = self.nodes[n].local(p).map_or(Offset(0), |l| l.replica.high_watermark());
        FetchOutcome::Records { batches, high_watermark, log_start: start }
    }

    /// What a node sees to every now and then.
    pub(crate) fn tend_replicas(&mut self, n: usize) {
        for p in 0..self.topics.len() {
            self.propose_isr(n, p);
            self.retain(n, p);
        }
        let Some(process) = self.nodes[n].process.as_ref() else { return };
        let outstanding = process.locals.iter().enumerate().filter_map(|(p, local)| {
            let local = local.as_ref()?;
            Some((p, local.replica.outstanding()?.clone()))
        });
        let outstanding: Vec<_> = outstanding.collect();
        let fetchers: Vec<NodeId> = process.fetchers.keys().copied().collect();
        if !outstanding.is_empty() {
            self.send_alter(n, outstanding);
        }
        for leader in fetchers {
            self.fetch_soon(n, leader, 0);
        }
    }

    /// Checkpoints the high watermark, and removes old records below it now and then.
    fn retain(&mut self, n: usize, p: usize) {
        // Nothing is removed from the log of groups: it is compacted, which is not simulated.
        let moves = self.random.chance(self.setup.faults.retention)
            && !self.healing
            && Some(p) != self.setup.group_partition();
        let (checkpoints, back, now_ms) =
            (self.random.chance(200), self.random.range(0, 12), self.now_ms() as i64);
        let Some((local, log)) = self.nodes[n].both(p) else { return };
        let high_watermark = local.replica.high_watermark();
        if moves {
            let to = Offset((high_watermark.0 - back as i64).max(0));
            log.advance_start(to, now_ms);
            self.counts.retentions += 1;
        }
        if checkpoints {
            self.nodes[n].disk.high_watermarks[p] = high_watermark;
        }
    }

    pub(crate) fn on_consume(
        &mut self,
        n: usize,
        client: usize,
        call: u64,
        p: usize,
        asked: domain::LeaderEpoch,
        offset: Offset,
    ) {
        let bent = self.mutation;
        let Some((local, log)) = self.nodes[n].both(p) else { return };
        let believed =
            if bent == Some(Mutation::NoEpochFencing) { local.replica.leads() } else { Some(asked) };
        let outcome = match local.replica.check_leads(believed) {
            Err(_) => ConsumeOutcome::NotLeader,
            Ok(_) if offset < log.start() => ConsumeOutcome::OutOfRange { start: log.start() },
            Ok(_) => {
                let shown = match bent {
                    Some(Mutation::StaleHighWatermarkShown) => Some(local.replica.high_watermark()),
                    _ => local.replica.visible_high_watermark(),
                };
                match shown {
                    None => ConsumeOutcome::NotAvailable,
                    Some(high_watermark) => {
                        let batches = log.read(offset, high_watermark, BATCHES_MAX);
                        ConsumeOutcome::Records { batches, high_watermark }
                    }
                }
            }
        };
        let answer = ConsumeAnswer { call, partition: p, epoch: asked, outcome };
        self.send(Party::Node(n), Party::Client(client), Message::Consumed(Box::new(answer)));
    }
}
