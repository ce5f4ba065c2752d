//! What makes two states the same.

use std::hash::{Hash, Hasher};

use crate::{
    bounds::Budget,
    controller::Partition,
    ids::{LeaderEpoch, NodeEpoch, NodeId, NodeSet, PartitionEpoch, REPLICAS},
    log::Log,
    replica::{Answer, Body, Fetch, Lead, Role},
    state::State,
};

/// A renaming of the nodes: `to[old]` is the new name.
struct Renaming {
    to: [u8; REPLICAS],
    from: [usize; REPLICAS],
    sets: [u8; 1 << REPLICAS],
}

const RENAMINGS: [Renaming; 6] = [
    Renaming::of([0, 1, 2]),
    Renaming::of([0, 2, 1]),
    Renaming::of([1, 0, 2]),
    Renaming::of([1, 2, 0]),
    Renaming::of([2, 0, 1]),
    Renaming::of([2, 1, 0]),
];

impl Renaming {
    const fn of(to: [u8; REPLICAS]) -> Self {
        let (mut from, mut sets) = ([0; REPLICAS], [0; 1 << REPLICAS]);
        let mut old = 0;
        while old < REPLICAS {
            from[to[old] as usize] = old;
            let mut set = 0;
            while set < 1 << REPLICAS {
                if set & (1 << old) != 0 {
                    sets[set] |= 1 << to[old];
                }
                set += 1;
            }
            old += 1;
        }
        Self { to, from, sets }
    }

    fn node(&self, node: NodeId) -> u8 {
        self.to[node.index()]
    }

    fn set(&self, set: NodeSet) -> u8 {
        self.sets[usize::from(set.0)]
    }
}

const BYTES_MAX: usize = 192;

/// A state written down under a renaming, with epochs as far as they tell states apart: leader epochs by their order,
/// node and partition epochs by how far they lie behind the controller's.
struct Encoded<'a> {
    state: &'a State,
    names: &'a Renaming,
    order: &'a Order,
    bytes: [u8; BYTES_MAX],
    len: usize,
}

/// The place of each leader epoch among those that a state mentions.
struct Order([u8; 16]);

impl Order {
    fn of(state: &State) -> Self {
        let mut used = 1u16 | 1 << state.controller.partition.leader_epoch.0;
        let mut note = |epoch: LeaderEpoch| used |= 1 << epoch.0;
        state.committed.records().iter().for_each(|epoch| note(*epoch));
        state.answer.iter().chain(&state.controller.past).for_each(|answer| note(answer.leader_epoch));
        state.proposals.iter().flatten().for_each(|proposal| note(proposal.leader_epoch));
        for node in &state.nodes {
            note(node.epoch);
            node.log.records().iter().chain(node.image.records()).for_each(|epoch| note(*epoch));
            node.ends.iter().flatten().for_each(|known| note(known.learned_in));
            node.late.iter().for_each(|late| (note(late.epoch), note(late.last_epoch)).0);
            let answered = if let Fetch::Answered(answer) = node.fetch { Some(answer) } else { None };
            for answer in answered.iter().chain(&node.late_answer) {
                note(answer.epoch);
                match answer.body {
                    Body::Diverging(epoch, _) => note(epoch),
                    Body::Records { records, .. } => records.records().iter().for_each(|epoch| note(*epoch)),
                }
            }
        }
        let mut places = [0; 16];
        for epoch in 1..16 {
            places[epoch] = places[epoch - 1] + (used >> epoch & 1) as u8;
        }
        Self(places)
    }
}

impl<'a> Encoded<'a> {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn epoch(&self, epoch: LeaderEpoch) -> u8 {
        self.order.0[usize::from(epoch.0)]
    }

    fn behind(&self, epoch: PartitionEpoch) -> u8 {
        self.state.controller.partition.partition_epoch.0 - epoch.0
    }

    fn outlived(&self, node: usize, epoch: NodeEpoch) -> u8 {
        self.state.controller.registered[node].0 - epoch.0
    }

    fn log(&mut self, log: &Log) {
        let packed =
            log.records().iter().fold(1u16, |packed, epoch| packed << 4 | u16::from(self.epoch(*epoch)));
        self.put(&packed.to_le_bytes());
    }

    fn partition(&mut self, partition: &Partition) {
        let Partition { leader, leader_epoch, partition_epoch, isr, elr, min_isr } = *partition;
        let leader = leader.map_or(3, |leader| self.names.node(leader));
        let sets = self.names.set(isr) | self.names.set(elr) << 3;
        self.put(&[leader | min_isr << 4, self.epoch(leader_epoch), self.behind(partition_epoch), sets]);
    }

    fn node(&mut self, name: usize) {
        let (state, names) = (self.state, self.names);
        let node = &state.nodes[name];
        self.log(&node.log);
        self.log(&node.image);
        self.put(&[node.high_watermark | node.config_min_isr << 4, self.epoch(node.epoch)]);
        match node.role {
            Role::Idle => self.put(&[0]),
            Role::Follower(leader) => self.put(&[1 + names.node(leader)]),
            Role::Leader(Lead { isr, maximal, partition_epoch, min_isr, start }) => {
                let sets = names.set(isr) | names.set(maximal) << 3;
                self.put(&[4, sets, self.behind(partition_epoch), min_isr | start << 4]);
            }
        }
        for old in names.from {
            match node.ends[old] {
                None => self.put(&[0]),
                Some(k) => self.put(&[1 + k.end, self.outlived(old, k.node_epoch), self.epoch(k.learned_in)]),
            }
        }
        self.answer(match node.fetch {
            Fetch::Requested => None,
            Fetch::Answered(answer) => Some(answer),
        });
        self.answer(node.late_answer);
        match node.late {
            None => self.put(&[0]),
            Some(r) => {
                let epochs = [self.epoch(r.epoch), self.epoch(r.last_epoch)];
                self.put(&[1 + names.node(r.leader), self.outlived(name, r.node_epoch), r.end]);
                self.put(&epochs);
            }
        }
    }

    fn answer(&mut self, answer: Option<Answer>) {
        match answer.map(|answer| (self.epoch(answer.epoch), answer.body)) {
            None => self.put(&[0]),
            Some((epoch, Body::Diverging(parted, end))) => self.put(&[1, epoch, self.epoch(parted), end]),
            Some((epoch, Body::Records { from, records, high_watermark })) => {
                self.put(&[2, epoch, from | high_watermark << 4]);
                self.log(&records);
            }
        }
    }

    fn proposals(&mut self) {
        let mut written = self.state.proposals.map(|proposal| {
            proposal.map_or([0xff; 5], |p| {
                let joiner = p.joiner.map_or(0xff, |(node, epoch)| {
                    self.names.node(node) | self.outlived(node.index(), epoch) << 4
                });
                let epochs = [self.epoch(p.leader_epoch), self.behind(p.partition_epoch)];
                [self.names.node(p.from), epochs[0], epochs[1], self.names.set(p.isr), joiner]
            })
        });
        written.sort_unstable();
        self.put(written.as_flattened());
    }

    fn of(state: &'a State, names: &'a Renaming, order: &'a Order) -> Self {
        let mut encoded = Self { state, names, order, bytes: [0; BYTES_MAX], len: 0 };
        encoded.partition(&state.controller.partition);
        encoded.put(&[names.set(state.controller.fenced), state.breaches.0]);
        encoded.log(&state.committed);
        let Budget { fences, moves, kills, power_cuts, rollbacks, proposals, min_isr_changes } = state.left;
        encoded.put(&[
            fences | moves << 4,
            kills | power_cuts << 4,
            rollbacks | proposals << 4,
            min_isr_changes,
        ]);
        encoded.proposals();
        names.from.iter().for_each(|old| encoded.node(*old));
        for partition in [&state.answer, &state.controller.past] {
            encoded.put(&[u8::from(partition.is_some())]);
            partition.iter().for_each(|partition| encoded.partition(partition));
        }
        encoded
    }
}

/// Two states that differ only in the nodes' names, or in the event, are one: the hash is that of the smallest
/// writing under all renamings. It divides the states to visit by nearly six, and the traces stay real ones.
impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let order = Order::of(self);
        let mut least = Encoded::of(self, &RENAMINGS[0], &order);
        for names in &RENAMINGS[1..] {
            let other = Encoded::of(self, names, &order);
            if other.bytes[..other.len] < least.bytes[..least.len] {
                least = other;
            }
        }
        hasher.write(&least.bytes[..least.len]);
    }
}
