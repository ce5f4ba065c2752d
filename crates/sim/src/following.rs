//! What a node does for the partitions that it follows: one request a leader, with all of them.

use domain::{LeaderEpoch, NodeId, Offset};

use crate::{
    disk::Batch,
    event::{Event, FetchAnswer, FetchOutcome, FetchPartition, FetchRequest, Message, Party},
    invariants::{r6, r7},
    mutation::Mutation,
    node::{Call, log_end},
    world::World,
};

/// How long a fetch waits for its answer.
const FETCH_US: u64 = 50_000;
const IDLE_US_MIN: u64 = 3_000;
const IDLE_US_MAX: u64 = 24_000;

impl World {
    /// Makes sure that the leader is asked, after so long at the latest.
    pub(crate) fn fetch_soon(&mut self, n: usize, leader: NodeId, after_us: u64) {
        let (life, now) = (self.nodes[n].life, self.now_us);
        let Some(process) = self.nodes[n].process.as_mut() else { return };
        let fetcher = process.fetchers.entry(leader).or_default();
        let waits = fetcher.asked.is_some_and(|call| now < call.until_us);
        if waits || std::mem::replace(&mut fetcher.due, true) {
            return;
        }
        self.schedule(after_us, Event::FetchDue { node: n, life, leader });
    }

    pub(crate) fn fetch_due(&mut self, n: usize, leader: NodeId) {
        let now = self.now_us;
        let mut partitions = Vec::new();
        for p in 0..self.topics.len() {
            let flush = self.setup.partitions[p].flush && self.mutation != Some(Mutation::AckBeforeFlush);
            let Some((local, log)) = self.nodes[n].both(p) else { continue };
            let Some((_, leader_epoch)) = local.replica.follows().filter(|(from, _)| *from == leader) else {
                continue;
            };
            // A follower flushes what it got before its next fetch says that it has it (R12).
            if flush && log.synced() < log.end() {
                self.flush_soon(n, p);
                continue;
            }
            let last = log.epochs.latest().map_or(LeaderEpoch::UNKNOWN, |(epoch, _)| epoch);
            partitions.push(FetchPartition { partition: p, leader_epoch, last, offset: log.end() });
        }
        let id = self.fresh_id();
        let Some(process) = self.nodes[n].process.as_mut() else { return };
        let Some(fetcher) = process.fetchers.get_mut(&leader) else { return };
        fetcher.due = false;
        if fetcher.asked.is_some_and(|call| now < call.until_us) {
            return;
        }
        let Some(node_epoch) = process.epoch.filter(|_| !partitions.is_empty()) else {
            process.fetchers.remove(&leader);
            return;
        };
        fetcher.asked = Some(Call { id, until_us: now + FETCH_US });
        let request = FetchRequest { id, node_epoch, partitions };
        self.send(Party::Node(n), Party::Node(leader.0 as usize), Message::Fetch(Box::new(request)));
    }

    pub(crate) fn on_fetched(&mut self, n: usize, from: usize, answer: FetchAnswer) {
        let leader = self.node_id(from);
        let Some(process) = self.nodes[n].process.as_mut() else { return };
        let Some(fetcher) = process.fetchers.get_mut(&leader) else { return };
        // Given up, or asked by an earlier registration.
        if fetcher.asked.take_if(|call| call.id == answer.id).is_none()
            || process.epoch != Some(answer.node_epoch)
        {
            return;
        }
        let mut news = false;
        for (asked, outcome) in answer.partitions {
            news |= self.take_answer(n, leader, asked, outcome);
        }
        let Some(process) = self.nodes[n].process.as_mut() else { return };
        let Some(fetcher) = process.fetchers.get_mut(&leader) else { return };
        fetcher.idle_us = match news {
            true => 0,
            false => (fetcher.idle_us * 2).clamp(IDLE_US_MIN, IDLE_US_MAX),
        };
        let idle = fetcher.idle_us;
        self.fetch_soon(n, leader, idle);
    }

    /// What a leader answered for one partition, unless it is about another time. Whether there is more to ask at once.
    fn take_answer(
        &mut self,
        n: usize,
        leader: NodeId,
        asked: FetchPartition,
        outcome: FetchOutcome,
    ) -> bool {
        let (p, now_ms, bent) = (asked.partition, self.now_ms() as i64, self.mutation);
        let flush = self.setup.partitions[p].flush;
        let Some((local, log)) = self.nodes[n].both(p) else { return false };
        let Some((from, epoch)) = local.replica.follows() else { return false };
        let current = from == leader && epoch == asked.leader_epoch;
        if !current && (bent != Some(Mutation::NoEpochFencing) || log.end() != asked.offset) {
            return false;
        }
        match outcome {
            FetchOutcome::Refused => return false,
            FetchOutcome::Diverging { epoch: theirs, end, high_watermark } => {
                if bent == Some(Mutation::HighWatermarkBeforeTruncation) {
                    local.replica.answered(epoch, high_watermark, log_end(log, flush));
                    self.replica_changed(n, p);
                }
                if bent == Some(Mutation::TruncateToHighWatermark) {
                    return false;
                }
                let Some((_, log)) = self.nodes[n].both(p) else { return false };
                let to = log.epochs.truncation((theirs, end), log.end());
                self.truncate(n, p, epoch, to);
            }
            FetchOutcome::OutOfRange { start, before } => {
                // The log changed since it was asked for.
                if log.end() != asked.offset {
                    return true;
                }
                let cuts = log.end() > start;
                log.begin_anew_at(start, before);
                if cuts {
                    local.replica.truncated(start);
                    local.checked = local.checked.min(start);
                }
                // What lies below a leader's start is committed.
                local.replica.answered(epoch, start, log_end(log, flush));
                let checkpoint = &mut self.nodes[n].disk.high_watermarks[p];
                *checkpoint = (*checkpoint).min(start);
                let ghost = &mut self.ghost.partitions[p];
                ghost.forgotten_below = ghost.forgotten_below.max(start);
                self.trace(
                    Party::Node(n),
                    format_args!("t{p}: begins anew at {start}, behind epoch {before:?}"),
                );
                self.touch(p);
                self.replica_changed(n, p);
            }
            FetchOutcome::Records { batches, high_watermark, log_start } => {
                // The log changed since it was asked for.
                if log.end() != asked.offset {
                    return true;
                }
                let news = !batches.is_empty();
                for batch in batches {
                    log.append(batch, now_ms);
                }
                local.replica.answered(epoch, high_watermark, log_end(log, flush));
                log.advance_start(log_start.min(local.replica.high_watermark()), now_ms);
                let end = log.end();
                let checked = r6::served(asked.leader_epoch, epoch);
                self.check_at(p, checked);
                if news {
                    let (hw, me) = (high_watermark, Party::Node(n));
                    self.trace(me, format_args!("t{p}: follows node-{leader} to {end}, high watermark {hw}"));
                }
                self.touch(p);
                self.replica_changed(n, p);
                return news;
            }
        }
        true
    }

    fn truncate(&mut self, n: usize, p: usize, epoch: LeaderEpoch, to: Offset) {
        let (now_ms, bent) = (self.now_ms() as i64, self.mutation);
        let Some((local, log)) = self.nodes[n].both(p) else { return };
        let (high_watermark, start) = (local.replica.high_watermark(), log.start());
        let gone: Vec<Batch> = match bent {
            Some(Mutation::EpochCacheNotTrimmed) if to == log.end() => Vec::new(),
            _ => log.truncate(to, now_ms),
        };
        // A batch that holds the offset went as a whole.
        let end = log.end().min(to);
        local.replica.truncated(end);
        local.checked = local.checked.min(end);
        // Before anything else is appended: a crash must not find a high watermark above what was cut.
        let checkpoint = &mut self.nodes[n].disk.high_watermarks[p];
        *checkpoint = (*checkpoint).min(end);
        let member = self.is_member(n, p);
        let ghost = &mut self.ghost.partitions[p];
        if to < start {
            ghost.forgotten_below = ghost.forgotten_below.max(to);
        }
        let checked = r7::truncated(ghost, &r7::Cut { epoch, to, high_watermark, member, gone: &gone });
        self.counts.truncations += 1;
        self.counts.truncated_batches += gone.len() as u64;
        self.trace(Party::Node(n), format_args!("t{p}: truncates to {to}, cutting {gone:?}"));
        self.check_at(p, checked);
        self.touch(p);
    }

    /// Whether the process is the registered incarnation of a member of ISR ∪ ELR.
    fn is_member(&self, n: usize, p: usize) -> bool {
        let (me, epoch) = (self.node_id(n), self.nodes[n].epoch());
        let registered = self.controllers.image.nodes.get(&me).map(|node| node.epoch);
        let listed = |state: &metadata::Partition| state.isr.contains(&me) || state.elr.contains(&me);
        epoch.is_some() && epoch == registered && self.partition(p).is_some_and(listed)
    }

    /// As before KIP-101.
    pub(crate) fn cut_to_high_watermark(&mut self, n: usize, p: usize) {
        let Some((local, _)) = self.nodes[n].both(p) else { return };
        let high_watermark = local.replica.high_watermark();
        let epoch = local.replica.state().map_or(LeaderEpoch::UNKNOWN, |s| s.leader_epoch);
        self.truncate(n, p, epoch, high_watermark);
    }
}
