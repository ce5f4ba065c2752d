//! What goes wrong.

use domain::{NodeId, PartitionIndex};
use metadata::{Command, ConfigChange, ConfigOperation, ElectionKind};

use crate::{
    disk::Disk,
    event::{Event, Healing, Message, Noted, Party},
    world::World,
};

#[derive(Clone, Copy, Debug)]
enum Fault {
    Kill,
    PowerCut,
    PowerCutOfAll,
    Wipe,
    OldCopy,
    Pause,
    Clock,
    Partition,
    Controller,
    Stop,
    MinIsr,
    Preferred,
    Reassign,
    Unclean,
}

impl World {
    pub(crate) fn fault(&mut self) {
        if self.healing {
            return;
        }
        let every = self.setup.faults.every_us;
        let after = self.random.range(every / 4, every * 7 / 4);
        self.schedule(after, Event::Fault);
        let Some(fault) = self.draw_fault() else { return };
        let n = self.random.index(self.nodes.len());
        match fault {
            Fault::Kill => self.kill(n, "is killed"),
            Fault::PowerCut => self.power_cut(n),
            Fault::PowerCutOfAll => self.power_cut_of_all(),
            Fault::Wipe => self.wipe(n),
            Fault::OldCopy => self.restore_copy(n),
            Fault::Pause => self.pause(n),
            Fault::Clock => self.bend_clock(n),
            Fault::Partition => self.partition_network(),
            Fault::Controller if self.controllers.office.is_some() => self.fail_over(),
            Fault::Controller => {}
            Fault::Stop => self.stop(n),
            Fault::MinIsr => self.change_min_isr(),
            Fault::Preferred => self.elect_preferred(),
            Fault::Reassign => self.reassign(),
            Fault::Unclean => self.elect_unclean(),
        }
    }

    fn draw_fault(&mut self) -> Option<Fault> {
        let f = &self.setup.faults;
        let weights = [
            (f.kill, Fault::Kill),
            (f.power_cut, Fault::PowerCut),
            (f.power_cut_all, Fault::PowerCutOfAll),
            (f.wipe, Fault::Wipe),
            (f.old_copy, Fault::OldCopy),
            (f.pause, Fault::Pause),
            (f.clock, Fault::Clock),
            (f.partition, Fault::Partition),
            (f.controller, Fault::Controller),
            (f.stop, Fault::Stop),
            (f.min_isr, Fault::MinIsr),
            (f.preferred, Fault::Preferred),
            (f.reassign, Fault::Reassign),
            (f.unclean, Fault::Unclean),
        ];
        let total = weights.iter().map(|(weight, _)| weight).sum();
        let mut drawn = self.random.below(total);
        weights.into_iter().find_map(|(weight, fault)| {
            let hit = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            hit.then_some(fault)
        })
    }

    /// The process is gone; what it had written is in the page cache.
    pub(crate) fn end_process(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let epoch = node.process.take().and_then(|process| process.epoch);
        node.life += 1;
        node.paused = false;
        node.held.clear();
        if let Some(epoch) = epoch {
            let leader = self.controllers.leader;
            self.send(Party::Node(n), Party::Controller(leader), Message::StreamEnded { epoch });
        }
    }

    pub(crate) fn restart_later(&mut self, n: usize) {
        let longest = if self.random.chance(300) { 600_000 } else { 60_000 };
        let after = self.random.range(1_000, longest);
        let life = self.nodes[n].life;
        self.schedule(after, Event::Start { node: n, life });
    }

    fn kill(&mut self, n: usize, how: &str) {
        if self.nodes[n].process.is_none() {
            return;
        }
        self.counts.kills += 1;
        self.trace(Party::Node(n), format_args!("{how}"));
        self.end_process(n);
        // A batch that was being written: cut when the log is opened, as nobody ever knew of it.
        let torn = u32::from(self.random.chance(300));
        let copies = self.setup.faults.old_copy > 0 && self.random.chance(300);
        let disk = &mut self.nodes[n].disk;
        disk.torn = torn;
        if copies {
            self.nodes[n].copy = Some(self.nodes[n].disk.clone());
        }
        self.restart_later(n);
    }

    fn power_cut(&mut self, n: usize) {
        self.counts.power_cuts += 1;
        self.trace(Party::Node(n), format_args!("has a power cut"));
        self.end_process(n);
        let node = &mut self.nodes[n];
        node.boot += 1;
        let lost = node.disk.power_cut(&mut self.random);
        for (p, lost) in lost.iter().enumerate().filter(|(_, lost)| !lost.is_empty()) {
            self.counts.cut_batches += lost.len() as u64;
            self.ghost.spoiled[n] = true;
            // Where everybody flushes first, nothing that counts can go. Else a leader may count later what this node told
            // it to have before.
            self.ghost.partitions[p].bereaved |= !self.setup.partitions[p].flush;
            self.trace(Party::Node(n), format_args!("t{p}: lost {lost:?}"));
        }
        self.restart_later(n);
    }

    fn power_cut_of_all(&mut self) {
        self.counts.power_cuts_of_all += 1;
        (0..self.nodes.len()).for_each(|n| self.power_cut(n));
        if self.controllers.office.is_some() {
            self.fail_over();
        }
    }

    fn wipe(&mut self, n: usize) {
        self.kill(n, "is killed, its disk replaced");
        self.counts.wiped += 1;
        let directory = self.fresh_directory();
        self.nodes[n].disk = Disk::empty(directory, self.topics.len());
        self.nodes[n].copy = None;
        self.ghost.spoiled[n] = true;
    }

    /// Somebody puts back an old copy of the folder: same directory, same boot, an incarnation of long ago.
    fn restore_copy(&mut self, n: usize) {
        let epoch = self.controllers.image.nodes.get(&NodeId(n as i32)).map(|node| node.epoch);
        let older = |copy: &Disk| copy.incarnation.map(|i| i.node_epoch) < epoch;
        if !self.nodes[n].copy.as_ref().is_some_and(older) {
            return;
        }
        let Some(copy) = self.nodes[n].copy.take() else { return };
        self.kill(n, "is killed, an old copy put in its folder's place");
        self.counts.old_copies += 1;
        self.nodes[n].disk = copy;
        self.ghost.spoiled[n] = true;
        self.ghost.partitions.iter_mut().for_each(|p| p.bereaved = true);
    }

    fn pause(&mut self, n: usize) {
        if self.nodes[n].paused || self.nodes[n].process.is_none() {
            return;
        }
        self.counts.pauses += 1;
        self.nodes[n].paused = true;
        let longest = self.setup.liveness.session_timeout_ms * 3_000;
        let after = self.random.range(5_000, longest);
        self.trace(Party::Node(n), format_args!("is paused for {} ms", after / 1_000));
        self.schedule(after, Event::Wake { node: n });
    }

    /// It goes on with its old beliefs, and everything that came meanwhile.
    pub(crate) fn wake(&mut self, n: usize) {
        if !std::mem::take(&mut self.nodes[n].paused) {
            return;
        }
        self.trace(Party::Node(n), format_args!("wakes"));
        for event in std::mem::take(&mut self.nodes[n].held) {
            self.dispatch(event);
        }
    }

    fn bend_clock(&mut self, n: usize) {
        self.counts.clock_jumps += 1;
        let rate = [0, 100, 500, 2_000, 10_000][self.random.index(5)];
        self.trace(Party::Node(n), format_args!("its clock runs at {rate} per mille"));
        self.nodes[n].clock.set_rate(self.now_us, rate);
        let after = self.random.range(20_000, 500_000);
        self.schedule(after, Event::Heal { what: Healing::Clock(n) });
    }

    /// Between two parties or between one and all others, one way or both ways.
    fn partition_network(&mut self) {
        self.counts.partitions += 1;
        let parties: Vec<Party> = (0..self.nodes.len())
            .map(Party::Node)
            .chain((0..Party::CONTROLLERS).map(Party::Controller))
            .chain((0..self.clients.len()).map(Party::Client))
            .chain((0..self.members.len()).map(Party::Member))
            .collect();
        let one = match self.random.chance(700) {
            true => Party::Node(self.random.index(self.nodes.len())),
            false => parties[self.random.index(parties.len())],
        };
        let others = match self.random.index(4) {
            0 => parties.clone(),
            1 => (0..Party::CONTROLLERS).map(Party::Controller).collect(),
            2 => (0..self.nodes.len()).map(Party::Node).collect(),
            _ => vec![parties[self.random.index(parties.len())]],
        };
        let (out, back) = [(true, true), (true, false), (false, true)][self.random.index(3)];
        let after = self.random.range(10_000, 800_000);
        self.trace(
            "network",
            format_args!("{one} and {others:?} are parted for {} ms (out {out}, in {back})", after / 1_000),
        );
        for other in others.into_iter().filter(|other| *other != one) {
            for (from, to) in
                [(one, other, out), (other, one, back)].into_iter().filter(|l| l.2).map(|l| (l.0, l.1))
            {
                self.network.block(from, to);
                self.schedule(after, Event::Heal { what: Healing::Link(from, to) });
            }
        }
    }

    /// Asks for a controlled shutdown.
    fn stop(&mut self, n: usize) {
        let until = self.now_us + self.random.range(20_000, 300_000);
        let Some(process) = self.nodes[n].process.as_mut().filter(|p| p.epoch.is_some()) else { return };
        process.stopping_until_us.get_or_insert(until);
        process.beat_due_us = 0;
        self.trace(Party::Node(n), format_args!("is asked to stop"));
    }

    /// The end of a controlled shutdown: everything is on the disk, the mark last.
    pub(crate) fn say_goodbye(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let Some(process) = node.process.take() else { return };
        node.life += 1;
        node.disk.logs.iter_mut().flatten().for_each(crate::disk::Log::sync);
        for (p, local) in process.locals.iter().enumerate() {
            if let Some(local) = local {
                node.disk.high_watermarks[p] = local.replica.high_watermark();
            }
        }
        node.disk.clean = process.epoch;
        self.counts.clean_stops += 1;
        self.trace(Party::Node(n), format_args!("has stopped"));
        if let Some(epoch) = process.epoch {
            let message =
                Message::Heartbeat { epoch, goodbye: true, stopping: true, noted: Noted::default() };
            self.send(Party::Node(n), Party::Controller(process.controller), message);
        }
        // The machine may be booted anew before it starts again.
        self.nodes[n].boot += self.random.below(2);
        self.restart_later(n);
    }

    fn change_min_isr(&mut self) {
        let p = self.random.index(self.topics.len());
        let value = self.random.range(1, 3).to_string();
        let change =
            ConfigChange { name: "min.insync.replicas".to_owned(), operation: ConfigOperation::Set(value) };
        let topic = Some(self.topics[p].0.clone());
        self.operator(Command::AlterConfigs { topic, changes: vec![change] });
    }

    fn elect_preferred(&mut self) {
        let partitions = self.controllers.image.preferred_leader_moves(2);
        if !partitions.is_empty() {
            self.operator(Command::ElectLeaders { kind: ElectionKind::Preferred, partitions });
        }
    }

    fn reassign(&mut self) {
        self.counts.reassignments += 1;
        let p = self.random.index(self.topics.len());
        let mut nodes: Vec<NodeId> = (0..self.nodes.len()).map(|n| NodeId(n as i32)).collect();
        for at in 0..nodes.len() {
            let other = self.random.index(nodes.len());
            nodes.swap(at, other);
        }
        nodes.truncate(3);
        let target = self.random.chance(850).then_some(nodes);
        let changes = vec![(self.topics[p].0.clone(), PartitionIndex(0), target)];
        self.operator(Command::Reassign { changes });
    }

    fn elect_unclean(&mut self) {
        let leaderless = |p: &usize| self.partition(*p).is_some_and(|partition| partition.leader.is_none());
        let unclean = |p: &usize| self.setup.partitions[*p].unclean;
        if let Some(p) = (0..self.topics.len()).filter(unclean).find(leaderless) {
            let partitions = vec![(self.topics[p].0.clone(), PartitionIndex(0))];
            self.operator(Command::ElectLeaders { kind: ElectionKind::Unclean, partitions });
        }
    }

    /// Somebody's word to the controllers.
    pub(crate) fn operator(&mut self, command: Command) {
        if self.controllers.office.is_some() {
            self.propose(command, None);
        }
    }
}
