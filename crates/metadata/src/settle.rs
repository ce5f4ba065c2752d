//! What a partition becomes when something around it changes. Every command goes through here, so the rules
//! of fencing, eligibility and leader choice stand in this one place.

use std::{cell::OnceCell, cmp::Reverse, mem::take};

use domain::{DirectoryId, LeaderEpoch, NodeId, PartitionIndex, TopicConfig};

use crate::{Changes, Image, LastKnown, NodeState, Partition, ReplicaEnd, Topic, partition::without};

/// What a command wants of a partition. The rules decide what comes of it.
#[derive(Default)]
pub(crate) struct Wish {
    /// The members that its leader proposed and that were found fit.
    pub(crate) isr: Option<Vec<NodeId>>,
    /// A node that came back without proof of its disk, and the directory that it had before.
    pub(crate) lost: Option<(NodeId, DirectoryId)>,
    /// Other replicas.
    pub(crate) assignment: Option<Assignment>,
    /// The settings in force may have changed.
    pub(crate) reconfigured: bool,
    /// Leads, if it can.
    pub(crate) leader: Option<NodeId>,
    /// Any live replica may lead where none else can.
    pub(crate) unclean: bool,
    /// Where a last known member's log ends.
    pub(crate) end: Option<(NodeId, ReplicaEnd)>,
}

/// Replicas with what of them comes and goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) replicas: Vec<NodeId>,
    pub(crate) adding: Vec<NodeId>,
    pub(crate) removing: Vec<NodeId>,
}

/// The rules for the partitions of one topic, with the nodes as the command leaves them.
pub(crate) struct Rules<'a> {
    image: &'a Image,
    topic: &'a Topic,
    config: OnceCell<TopicConfig>,
}

impl Image {
    /// Settles every partition that the wish is about.
    pub(crate) fn settle_where(
        &mut self,
        wish: impl Fn(&Topic, PartitionIndex, &Partition) -> Option<Wish>,
        changes: &mut Changes,
    ) {
        let mut settled = Vec::new();
        for topic in self.topics.values() {
            let rules = Rules::new(self, topic);
            for (number, partition) in topic.numbered() {
                let next = wish(topic, number, partition).and_then(|wish| rules.settle(partition, &wish));
                settled.extend(next.map(|next| (topic.name.clone(), number, next)));
            }
        }
        for (topic, number, partition) in settled {
            self.put_partition(&topic, number, partition, changes);
        }
    }
}

impl<'a> Rules<'a> {
    pub(crate) fn new(image: &'a Image, topic: &'a Topic) -> Self {
        Self { image, topic, config: OnceCell::new() }
    }

    /// The partition's next state, one partition epoch later; `None` when nothing of it changes.
    pub(crate) fn settle(&self, before: &Partition, wish: &Wish) -> Option<Partition> {
        let mut next = self.pass(before, wish);
        if next.is_reassigning() {
            // A leader that was just elected may be all that the move waited for.
            next = self.pass(&next, &Wish::default());
        }
        // Replicas that left are fenced out by a new epoch.
        if next.leader != before.leader || before.replicas.iter().any(|n| !next.replicas.contains(n)) {
            next.leader_epoch = before.leader_epoch.next();
        }
        // An accepted proposal moves the epoch even if it changes nothing: no older one can be taken after
        // it.
        if next == *before && wish.isr.is_none() {
            return None;
        }
        next.epoch = before.epoch.next();
        Some(next)
    }

    /// Everything but the epochs.
    fn pass(&self, before: &Partition, wish: &Wish) -> Partition {
        let mut next = before.clone();
        if let Some(Assignment { replicas, adding, removing }) = wish.assignment.clone() {
            next = Partition { replicas, adding, removing, ..next };
        }
        if wish.reconfigured || wish.assignment.is_some() {
            next.min_isr = self.min_isr(next.original_replicas().len());
        }
        next.recovering &= wish.isr.is_none();
        next.isr = self.in_sync(&next, wish.isr.as_ref().unwrap_or(&before.isr));
        if let Some((lost, _)) = wish.lost {
            // Fenced, unless only this replica was found damaged.
            next.isr.retain(|n| *n != lost);
        }
        self.complete_reassignment(&mut next);
        next.elr = eligible(before, &next, wish);
        self.remember(before, &mut next, wish);
        next.leader = self.elect(before, &mut next, wish);
        if next.isr.len() >= next.min_isr as usize {
            next.last_known.clear();
            next.former.append(&mut next.unproven);
            if wish.isr.is_some() {
                // Its leader lives, and has every committed record.
                next.former.clear();
            }
        }
        next
    }

    /// min(`min.insync.replicas`, replication factor).
    fn min_isr(&self, replication_factor: usize) -> u32 {
        let setting = u32::try_from(self.config().min_insync_replicas).unwrap_or(1);
        setting.min(u32::try_from(replication_factor).unwrap_or(u32::MAX)).max(1)
    }

    fn config(&self) -> &TopicConfig {
        self.config.get_or_init(|| self.image.topic_config(self.topic))
    }

    fn state(&self, node: NodeId) -> NodeState {
        self.image.nodes.get(&node).map_or(NodeState::Fenced, |n| n.state)
    }

    fn is_active(&self, node: NodeId) -> bool {
        self.state(node) == NodeState::Active
    }

    /// Those of the members who may stay: a fenced node never, a stopping one only if it is the last.
    fn in_sync(&self, next: &Partition, members: &[NodeId]) -> Vec<NodeId> {
        let in_state = |state| {
            let fits = move |n: &NodeId| members.contains(n) && self.state(*n) == state;
            next.replicas.iter().copied().filter(fits)
        };
        let active: Vec<NodeId> = in_state(NodeState::Active).collect();
        if !active.is_empty() {
            return active;
        }
        let leader = in_state(NodeState::Stopping).find(|n| next.leader == Some(*n));
        leader.or_else(|| in_state(NodeState::Stopping).next()).into_iter().collect()
    }

    /// Drops the replicas that leave, once all new ones are in sync and enough stay.
    fn complete_reassignment(&self, next: &mut Partition) {
        if !next.is_reassigning() {
            return;
        }
        let replicas = next.target_replicas();
        let isr = without(&next.isr, &next.removing);
        let min_isr = self.min_isr(replicas.len());
        let complete = next.adding.iter().all(|n| isr.contains(n))
            && isr.iter().any(|n| self.is_active(*n))
            && isr.len() >= min_isr as usize;
        if complete {
            (next.replicas, next.isr, next.min_isr) = (replicas, isr, min_isr);
            (next.adding, next.removing) = (Vec::new(), Vec::new());
        }
    }

    /// Keeps in mind who could still have every committed record when nobody is left who surely has.
    fn remember(&self, before: &Partition, next: &mut Partition, wish: &Wish) {
        let fallen = wish.lost.filter(|(n, _)| before.isr.contains(n) || before.elr.contains(n));
        let same_disk = |(node, directory): &(NodeId, DirectoryId)| {
            self.image.nodes.get(node).is_some_and(|n| n.directory == *directory)
        };
        let fell = |node: NodeId| fallen.is_some_and(|(n, _)| n == node);
        let is_out = |next: &Partition, known: &(NodeId, DirectoryId)| {
            let node = known.0;
            let is_member = next.isr.contains(&node) || next.elr.contains(&node);
            same_disk(known) && next.replicas.contains(&node) && !is_member && !fell(node)
        };
        let (mut unproven, mut former) = (take(&mut next.unproven), take(&mut next.former));
        unproven.retain(|known| is_out(next, known));
        former.retain(|known| is_out(next, known) && !unproven.contains(known));
        (next.unproven, next.former) = (unproven, former);
        if !next.is_lost() {
            // A disk that is gone is nothing to wait for as long as others have the data.
            next.unproven.extend(fallen.filter(same_disk));
        } else if !before.is_lost() {
            let known = |waited_for, to_the_end| {
                move |(node, directory)| LastKnown { node, directory, position: None, waited_for, to_the_end }
            };
            let last = take(&mut next.unproven).into_iter().chain(fallen).map(known(true, true));
            let former = take(&mut next.former).into_iter().map(known(true, false));
            next.last_known = last.chain(former).collect();
        } else if let Some((node, end)) = &wish.end {
            let member =
                next.last_known.iter_mut().find(|k| k.node == *node && same_disk(&(*node, k.directory)));
            member.into_iter().for_each(|k| k.position = Some(end.clone()));
        }
        if next.is_lost() {
            self.ask_others(next);
        }
    }

    /// Whoever has a replica may have more than what a power cut left to the last ones; on the disk that it has now.
    fn ask_others(&self, next: &mut Partition) {
        let disk_of = |node: &NodeId| self.image.nodes.get(node).map(|n| n.directory);
        let replicas = next.replicas.clone();
        next.last_known
            .retain(|k| k.waited_for || replicas.contains(&k.node) && disk_of(&k.node) == Some(k.directory));
        for node in replicas {
            if let Some(directory) = disk_of(&node)
                && next.last_known.iter().all(|k| (k.node, k.directory) != (node, directory))
            {
                let (position, waited_for, to_the_end) = (None, false, false);
                next.last_known.push(LastKnown { node, directory, position, waited_for, to_the_end });
            }
        }
    }

    /// The leader stays while it is active and in sync. Else the first that can lead in the order of
    /// assignment: in the ISR, then eligible (KIP-966), then whoever is left in the ISR though it is
    /// stopping; and when ISR and ELR are empty, the last known member with the longest log, or, where it is
    /// allowed, any.
    fn elect(&self, before: &Partition, next: &mut Partition, wish: &Wish) -> Option<NodeId> {
        let can_lead = |n: &NodeId| next.isr.contains(n) && self.is_active(*n);
        let in_sync = wish.leader.filter(can_lead).or(next.leader.filter(can_lead));
        if let Some(leader) = in_sync.or_else(|| next.isr.iter().copied().find(can_lead)) {
            return Some(leader);
        }
        if let Some(leader) = next.elr.iter().copied().find(|n| self.is_active(*n)) {
            next.isr = vec![leader];
            next.elr = eligible(before, next, wish);
            return Some(leader);
        }
        if let Some(stopping) = next.isr.first() {
            return Some(*stopping);
        }
        let recovered = next.is_lost().then(|| self.longest_log(next)).flatten();
        let allowed = || wish.unclean || self.config().unclean_leader_election;
        let leader = recovered.or_else(|| allowed().then(|| self.any_replica(next)).flatten())?;
        next.isr = vec![leader];
        next.elr.clear();
        next.unproven.clear();
        next.former.clear();
        next.last_known.clear();
        next.recovering = true;
        Some(leader)
    }

    /// The best log, once all that are waited for are back on their old disks, and those of the others that are there
    /// have reported.
    fn longest_log(&self, next: &Partition) -> Option<NodeId> {
        let is_there = |k: &LastKnown| {
            let node = self.image.nodes.get(&k.node);
            node.is_some_and(|n| n.state == NodeState::Active && n.directory == k.directory)
        };
        let reported = |k: &LastKnown| self.report(k).is_some() || !(k.waited_for || is_there(k));
        if !next.last_known.iter().all(reported) {
            return None;
        }
        // What is damaged does not lead; what is empty does not take its place.
        let damaged = |k: &LastKnown| k.to_the_end && self.report(k).is_some_and(|end| !end.is_sound());
        let least = match next.last_known.iter().any(damaged) {
            true => LeaderEpoch(0),
            false => LeaderEpoch::UNKNOWN,
        };
        self.longest_reported(next, |end| end.position().0 >= least)
    }

    /// Of the sound logs that are good enough: the greatest (last epoch, log end) among those who were members to the
    /// end, and of all that have every record of that one the greatest. If none of the former is there, of all.
    fn longest_reported(&self, next: &Partition, good: impl Fn(&ReplicaEnd) -> bool) -> Option<NodeId> {
        let place = |node| next.replicas.iter().position(|n| *n == node);
        let mut sound = Vec::new();
        for known in &next.last_known {
            let end = self.report(known).filter(|end| end.is_sound() && good(end));
            if let (Some(end), Some(place)) = (end, place(known.node)) {
                sound.push((end.position(), Reverse(place), known, end));
            }
        }
        let greatest = |of: &&(_, _, &LastKnown, &ReplicaEnd)| (of.0, of.1);
        let last = sound.iter().filter(|(_, _, known, _)| known.to_the_end).max_by_key(greatest);
        let mut best = last.or_else(|| sound.iter().max_by_key(greatest))?;
        // What has everything of what has everything, though it cannot be compared with the first.
        while let Some(better) = sound
            .iter()
            .filter(|of| (of.0, of.1) > (best.0, best.1) && of.3.contains(best.3))
            .max_by_key(greatest)
        {
            best = better;
        }
        Some(best.2.node)
    }

    /// What counts of a member's report: made by the incarnation that is registered and active. (One from
    /// another disk was not noted.)
    fn report<'b>(&self, member: &'b LastKnown) -> Option<&'b ReplicaEnd> {
        let node = self.image.nodes.get(&member.node).filter(|n| n.state == NodeState::Active)?;
        member.position.as_ref().filter(|end| end.node_epoch == node.epoch)
    }

    /// An active replica: rather one that has reported records, or that was once in sync on the disk it has and has not
    /// reported yet.
    fn any_replica(&self, next: &Partition) -> Option<NodeId> {
        let active = |n: &NodeId| self.is_active(*n);
        let on_disk = |n: NodeId| self.image.nodes.get(&n).map(|node| (n, node.directory));
        let reported = |n: &NodeId| next.last_known.iter().any(|k| k.node == *n && self.report(k).is_some());
        let known = |n: &NodeId| {
            let last = next.last_known.iter().filter(|k| k.waited_for).map(|k| (k.node, k.directory));
            let mut members = last.chain(next.unproven.iter().chain(&next.former).copied());
            members.any(|member| on_disk(*n) == Some(member)) && !reported(n)
        };
        let replicas = || next.replicas.iter().copied().filter(active);
        self.longest_reported(next, |end| end.position().0 >= LeaderEpoch(0))
            .or_else(|| replicas().find(known))
            .or_else(|| self.longest_reported(next, |_| true))
            .or_else(|| replicas().next())
    }
}

/// Nothing was committed without them: those who left ISR or ELR since the ISR fell below its minimum, the
/// ones that came back without proof apart.
fn eligible(before: &Partition, next: &Partition, wish: &Wish) -> Vec<NodeId> {
    if next.isr.len() >= next.min_isr as usize {
        return Vec::new();
    }
    let lost = wish.lost.map(|(node, _)| node);
    let eligible = |n: &NodeId| {
        (before.isr.contains(n) || before.elr.contains(n)) && !next.isr.contains(n) && lost != Some(*n)
    };
    next.replicas.iter().copied().filter(eligible).collect()
}
