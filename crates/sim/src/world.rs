use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    fmt,
};

use domain::{NodeId, PartitionIndex, TopicId, TopicName};
use group::Entry;
use metadata::{Command, ElectionKind, Image, NodeState, Partition};
use uuid::Uuid;

use crate::{
    client::Client,
    controller::Controllers,
    counts::Counts,
    event::{Event, Healing, Message, Party},
    ghost::{Doubt, Ghost},
    groups_ghost::GroupsGhost,
    invariants::{Checked, Violation, r1, r2, r3, r4, r13},
    member::Member,
    mutation::Mutation,
    network::Network,
    node::{Node, log_end},
    random::Random,
    run::Plan,
    setup::Setup,
    trace::Trace,
};

/// Everything there is, at one moment. One thread, one queue of events, one source of chance.
pub(crate) struct World {
    pub(crate) setup: Setup,
    pub(crate) plan: Plan,
    pub(crate) mutation: Option<Mutation>,
    pub(crate) random: Random,
    pub(crate) now_us: u64,
    pub(crate) step: u64,
    queue: BinaryHeap<Reverse<Queued>>,
    queued: u64,
    pub(crate) next_id: u64,
    pub(crate) network: Network,
    pub(crate) controllers: Controllers,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Vec<Client>,
    pub(crate) members: Vec<Member>,
    /// What the batches of coordinators hold, by their values.
    pub(crate) entries: BTreeMap<u64, Vec<Entry>>,
    pub(crate) topics: Vec<(TopicName, TopicId)>,
    pub(crate) ghost: Ghost,
    pub(crate) groups_ghost: GroupsGhost,
    /// Partitions that the checkers must look at after this step.
    dirty: Vec<bool>,
    /// No more faults: everything comes back.
    pub(crate) healing: bool,
    pub(crate) counts: Counts,
    pub(crate) violation: Option<Violation>,
    pub(crate) trace: Trace,
}

/// The invariants that speak of records, not of the rules that protect them.
const DATA: [&str; 8] = ["R1", "R2", "R7", "R8", "R9", "R12", "G1", "G5"];

struct Queued {
    at_us: u64,
    number: u64,
    event: Event,
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan, trace: Trace) -> Self {
        let mut random = Random::new(seed);
        let mut setup = Setup::draw(&mut random);
        // The more is written, the sooner a mistake is repaired before it costs a record: where only losses count, and in every
        // other seed, there are no keys.
        setup.keyed = seed.is_multiple_of(2) && !plan.data_only;
        if plan.groups {
            setup = setup.with_groups(&mut Random::new(!seed));
        }
        if plan.lossless {
            setup = setup.lossless();
        }
        let topic = |p: usize| (topic_name(p), TopicId(Uuid::from_u128(p as u128 + 1)));
        let mut world = Self {
            topics: (0..setup.partitions.len()).map(topic).collect(),
            ghost: Ghost::new(setup.partitions.len(), setup.nodes),
            dirty: vec![false; setup.partitions.len()],
            network: Network::new(),
            controllers: Controllers::new(),
            nodes: Vec::new(),
            clients: Vec::new(),
            members: Vec::new(),
            entries: BTreeMap::new(),
            groups_ghost: GroupsGhost::default(),
            queue: BinaryHeap::new(),
            queued: 0,
            next_id: 1,
            now_us: 0,
            step: 0,
            healing: false,
            counts: Counts::default(),
            violation: None,
            setup,
            plan,
            mutation: plan.mutation,
            random,
            trace,
        };
        world.begin();
        world
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_us / 1_000
    }

    /// A number that nothing else has: for calls, connections, values.
    pub(crate) fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn schedule(&mut self, after_us: u64, event: Event) {
        self.queued += 1;
        self.queue.push(Reverse(Queued { at_us: self.now_us + after_us, number: self.queued, event }));
    }

    /// One event, and then all the invariants.
    pub(crate) fn step(&mut self) {
        let Some(Reverse(next)) = self.queue.pop() else { return };
        self.now_us = next.at_us;
        self.step += 1;
        self.dispatch(next.event);
        self.check_dirty();
    }

    pub(crate) fn dispatch(&mut self, event: Event) {
        if let Some(node) = event.node()
            && self.nodes[node].paused
        {
            self.nodes[node].held.push(event);
            return;
        }
        match event {
            Event::Deliver { from, to, life, message } => self.on_message(from, to, life, message),
            Event::Tick { node, life } if self.lives(node, life) => self.node_tick(node),
            Event::FetchDue { node, life, leader } if self.lives(node, life) => self.fetch_due(node, leader),
            Event::Synced { node, life, partition, end } if self.lives(node, life) => {
                self.synced(node, partition, end)
            }
            Event::Start { node, life } if self.nodes[node].life == life => self.start_node(node),
            Event::Wake { node } => self.wake(node),
            Event::Commit { term, index } => self.commit(term, index),
            Event::Elected { term } => self.take_office(term),
            Event::OfficeTick { term } => self.office_tick(term),
            Event::ClientTick { client } => self.client_tick(client),
            Event::MemberTick { member } => self.member_tick(member),
            Event::Load { node, life, epoch } if self.lives(node, life) => self.load_groups(node, epoch),
            Event::Fault => self.fault(),
            Event::Heal { what: Healing::Link(from, to) } => self.network.heal(from, to),
            Event::Heal { what: Healing::Clock(node) } => {
                self.nodes[node].clock.set_rate(self.now_us, 1_000);
            }
            _ => {}
        }
    }

    fn lives(&self, node: usize, life: u64) -> bool {
        self.nodes[node].life == life && self.nodes[node].process.is_some()
    }

    fn on_message(&mut self, from: Party, to: Party, life: u64, message: Message) {
        match to {
            Party::Node(node) if self.lives(node, life) => self.on_node(node, from, message),
            Party::Node(_) => {}
            Party::Controller(controller) => {
                if let Party::Node(node) = from {
                    self.on_controller(controller, node, message);
                }
            }
            Party::Client(client) => self.on_client(client, from, message),
            Party::Member(member) => self.on_member(member, message),
        }
    }

    /// A node's log or high watermark may have changed: is what it takes for committed really so?
    pub(crate) fn replica_changed(&mut self, n: usize, p: usize) {
        let flush = self.setup.partitions[p].flush;
        let Some((local, log)) = self.nodes[n].both(p) else { return };
        let high_watermark = local.replica.high_watermark();
        let before = std::mem::replace(&mut local.checked, high_watermark);
        if high_watermark <= before {
            return;
        }
        let ghost = &mut self.ghost.partitions[p];
        let Some(state) = local.replica.state() else { return };
        let length = ghost.len();
        let (advanced, checked) = match local.replica.leads() {
            Some(epoch) => {
                let counted = log_end(log, flush).counted;
                let me = NodeId(n as i32);
                let advanced = r4::advanced(ghost, me, epoch, state.epoch, counted, high_watermark);
                (advanced, r1::committed(ghost, log, epoch, high_watermark))
            }
            None => (Ok(()), r1::known(ghost, log, state.leader_epoch, high_watermark)),
        };
        let (committed, end) = (ghost.len() - length, ghost.end());
        self.counts.committed += committed as u64;
        if committed > 0 {
            self.trace(Party::Node(n), format_args!("t{p}: commits up to {end}"));
        }
        self.dirty[p] = true;
        self.check_at(p, advanced);
        self.check_at(p, checked);
        self.note_committed(p);
    }

    pub(crate) fn touch(&mut self, p: usize) {
        self.dirty[p] = true;
    }

    /// The controllers committed a new state of the partition.
    pub(crate) fn partition_changed(&mut self, p: usize, before: &Image, command: &Command) {
        let name = &self.topics[p].0;
        let now = self.controllers.image.partition(name.as_str(), PartitionIndex(0));
        let Some(now) = now.cloned() else { return };
        let ghost = &mut self.ghost.partitions[p];
        ghost.states.insert(now.epoch, now.clone());
        self.dirty[p] = true;
        let before = before.partition(name.as_str(), PartitionIndex(0));
        let (Some(before), Some(leader)) = (before, now.leader) else { return };
        if before.leader_epoch == now.leader_epoch {
            return;
        }
        self.counts.elections += 1;
        if !now.recovering || before.isr.contains(&leader) || before.elr.contains(&leader) {
            return;
        }
        let asked = matches!(command, Command::ElectLeaders { kind: ElectionKind::Unclean, .. });
        let topic = self.controllers.image.topics.get(name);
        let allowed = topic.is_some_and(|t| self.controllers.image.topic_config(t).unclean_leader_election);
        let unclean = asked || allowed;
        match unclean {
            true => self.counts.unclean += 1,
            false => self.counts.recovering += 1,
        }
        if !unclean {
            let checked = r13::longest(leader, self.longer(p, leader));
            self.check_at(p, checked);
        }
        let ghost = &mut self.ghost.partitions[p];
        if self.plan.lossless {
            return;
        }
        let unclean = unclean || ghost.doubt.is_some_and(|d| d.unclean);
        ghost.doubt = Some(Doubt { epoch: now.leader_epoch, unclean });
    }

    /// A replica with all that this one's log has, and more. Both are as they were when they reported: their registered
    /// incarnations are running and active.
    fn longer(&self, p: usize, leader: NodeId) -> Option<NodeId> {
        let log_of = |n: usize| {
            let node = &self.nodes[n];
            let known = self.controllers.image.nodes.get(&NodeId(n as i32))?;
            let runs = node.process.as_ref().is_some_and(|process| process.epoch == Some(known.epoch));
            node.disk.logs[p].as_ref().filter(|_| runs && known.state == NodeState::Active)
        };
        let leads = log_of(leader.0 as usize)?;
        let longer = |n: &usize| log_of(*n).is_some_and(|log| log.extends(leads));
        let replicas = &self.partition(p)?.replicas;
        (0..self.nodes.len())
            .filter(|n| replicas.contains(&NodeId(*n as i32)))
            .find(longer)
            .map(|n| NodeId(n as i32))
    }

    fn check_dirty(&mut self) {
        for p in 0..self.dirty.len() {
            if !std::mem::take(&mut self.dirty[p]) || self.violation.is_some() {
                continue;
            }
            let name = &self.topics[p].0;
            let Some(partition) = self.controllers.image.partition(name.as_str(), PartitionIndex(0)) else {
                continue;
            };
            let image = &self.controllers.image;
            let whole = r2::check(&self.ghost.partitions[p], &mut self.nodes, image, p, partition);
            let maximal = r3::check(&self.nodes, p, partition);
            self.check(whole);
            self.check(maximal);
        }
    }

    /// Keeps the first violation.
    pub(crate) fn check(&mut self, checked: Checked) {
        if let Err(violation) = checked
            && self.violation.is_none()
            && (!self.plan.data_only || DATA.contains(&violation.invariant))
        {
            self.trace("checker", format_args!("VIOLATION {violation}"));
            self.violation = Some(violation);
        }
    }

    pub(crate) fn check_at(&mut self, p: usize, checked: Checked) {
        self.check(checked.map_err(|v| Violation { message: format!("partition {p}: {}", v.message), ..v }));
    }

    pub(crate) fn tracing(&self) -> bool {
        self.trace.is_on()
    }

    pub(crate) fn trace(&mut self, who: impl fmt::Display, what: fmt::Arguments<'_>) {
        self.trace.line(self.step, self.now_us, who, what);
    }

    pub(crate) fn partition(&self, p: usize) -> Option<&Partition> {
        self.controllers.image.partition(self.topics[p].0.as_str(), PartitionIndex(0))
    }
}

/// One topic a partition, so that each has configs of its own.
fn topic_name(p: usize) -> TopicName {
    TopicName::new(&format!("t{p}")).unwrap_or_else(|_| unreachable!("a letter and a digit"))
}

/// The partition that stands for a topic.
pub(crate) fn partition_of(topic: &TopicName) -> usize {
    topic.as_str()[1..].parse().unwrap_or(0)
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.number).cmp(&(other.at_us, other.number))
    }
}
