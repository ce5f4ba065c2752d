use std::collections::BTreeMap;

use super::{
    classic::Classic,
    client::{Client, Kind},
    consumer::Consumer,
    random::Random,
};
use crate::{Answer, Call, GroupConfig, Kept, Token, Topics, tests::bench::Bench};

/// Who takes part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mix {
    pub(super) consumers: bool,
    pub(super) classic: bool,
    /// The members of the classic protocol.
    pub(super) cooperative: bool,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) mix: Mix,
    pub(super) seed: u64,
    pub(super) bench: Bench,
    pub(super) random: Random,
    pub(super) clients: BTreeMap<u64, Client>,
    /// Whose calls wait.
    pub(super) waiting: BTreeMap<Token, u64>,
    pub(super) made: u64,
    ticks: usize,
    /// What was committed, and when nothing else says so must be read.
    committed: BTreeMap<i32, i64>,
}

impl World {
    pub(super) fn new(mix: Mix, seed: u64) -> Self {
        let config = GroupConfig {
            consumer_session_timeout_ms: 15_000,
            consumer_session_timeout_ms_min: 1,
            ..Default::default()
        };
        Self {
            mix,
            seed,
            bench: Bench::with(config),
            random: Random(seed),
            clients: BTreeMap::new(),
            waiting: BTreeMap::new(),
            made: 0,
            ticks: 0,
            committed: BTreeMap::new(),
        }
    }

    /// The next thing happens: a client's turn, or a time-out of the coordinator.
    pub(super) fn step(&mut self, faults: bool) {
        if faults && self.random.one_in(6) {
            self.event();
        }
        self.bench.full = faults && self.random.one_in(25);
        let client = self.clients.iter().map(|(id, client)| (client.next_ms, *id)).min();
        let timer_ms = self.bench.groups.next_deadline();
        match (client, timer_ms) {
            (Some((at_ms, id)), timer_ms) if timer_ms.is_none_or(|timer_ms| at_ms <= timer_ms) => {
                self.bench.now_ms = self.bench.now_ms.max(at_ms);
                self.act(id, faults);
            }
            (_, Some(at_ms)) => {
                self.bench.now_ms = self.bench.now_ms.max(at_ms);
                let log = self.bench.log.len();
                self.bench.tick();
                self.ticks += 1;
                self.bench.log[log..].iter().for_each(|entry| self.trace(entry));
            }
            (_, None) => self.bench.now_ms += 100,
        }
        self.deliver(faults);
        self.check();
    }

    fn trace(&self, what: impl std::fmt::Debug) {
        if std::env::var("TRACE").is_ok_and(|seed| seed == self.seed.to_string()) {
            eprintln!("{} {what:?}", self.bench.now_ms);
        }
    }

    fn act(&mut self, id: u64, faults: bool) {
        let now_ms = self.bench.now_ms;
        let partitions = self.bench.topics.by_name("t").unwrap().1;
        let client = self.clients.get_mut(&id).unwrap();
        if let Kind::Classic(classic) = &mut client.kind {
            classic.sees(partitions);
        }
        // It gave up waiting for what it asked before.
        self.waiting.retain(|_, waiting| *waiting != id);
        let (version, call) = client.act(now_ms);
        self.trace((id, &call));
        let log = self.bench.log.len();
        let token = self.bench.send(version, call);
        self.bench.log[log..].iter().for_each(|entry| self.trace(entry));
        self.waiting.insert(token, id);
        if faults && self.random.one_in(3) {
            self.commit(id);
        }
    }

    /// A client says how far it has come in something that it takes for its own.
    fn commit(&mut self, id: u64) {
        let client = &self.clients[&id];
        let nth = self.random.below(client.owned.len() as u64) as usize;
        let Some((_, partition)) = client.owned.iter().nth(nth).copied() else { return };
        self.made += 1;
        let offset = i64::try_from(self.made).unwrap();
        let request = client.commit("t", partition, offset);
        let Answer::OffsetCommit(answer) = self.bench.call(9, Call::OffsetCommit(request)) else { panic!() };
        if answer.topics[0].partitions[0].error_code != 0 {
            return;
        }
        self.committed.insert(partition, offset);
        for (other, client) in self.clients.iter().filter(|(other, _)| **other != id) {
            let owns = client.owned.iter().any(|(_, of)| *of == partition) && self.is_member(client);
            assert!(!owns, "seed {}: {id} committed what {other} owns (G2)", self.seed);
        }
    }

    pub(super) fn deliver(&mut self, faults: bool) {
        let answers = std::mem::take(&mut self.bench.answers);
        for (token, answer) in answers {
            let Some(id) = self.waiting.remove(&token) else { continue };
            let lost = faults && self.random.one_in(12);
            let now_ms = self.bench.now_ms;
            self.trace((id, lost, &answer));
            let Some(client) = self.clients.get_mut(&id) else { continue };
            client.hear((!lost).then_some(answer), now_ms);
        }
    }

    fn is_member(&self, client: &Client) -> bool {
        let Some(group) = self.bench.groups.groups.get("g") else { return false };
        match &group.kept {
            Kept::Consumer(consumer) => consumer.members.contains_key(client.member()),
            Kept::Nothing | Kept::Classic(_) => group.classic.members.contains_key(client.member()),
        }
    }

    /// INVARIANTS G4, and that what is committed is what is read.
    fn check(&self) {
        let mut owners = BTreeMap::new();
        for (id, client) in self.clients.iter().filter(|(_, client)| self.is_member(client)) {
            for (_, partition) in &client.owned {
                let before = owners.insert(*partition, *id);
                assert_eq!(before, None, "seed {}: {partition} is also {id}'s (G4)\n{self:#?}", self.seed);
            }
        }
        let Some(group) = self.bench.groups.groups.get("g") else { return };
        for (partition, offset) in &self.committed {
            let read = group.offsets.get("t", domain::PartitionIndex(*partition)).map(|of| of.offset.0);
            assert_eq!(read, Some(*offset), "seed {}", self.seed);
        }
    }

    pub(super) fn add(&mut self) {
        self.made += 1;
        let made = self.made;
        let (topic, partitions) = self.bench.topics.by_name("t").unwrap();
        let consumer = self.mix.consumers && (!self.mix.classic || self.random.one_in(2));
        let kind = match consumer {
            true => {
                let instance = self.random.one_in(3).then(|| format!("i{made}"));
                Kind::Consumer(Consumer::new(format!("m{made}"), instance))
            }
            false => Kind::Classic(Classic::new(topic, partitions, self.mix.cooperative)),
        };
        let slow_ms = [0, 0, 700][self.random.below(3) as usize];
        let client = Client { kind, owned: Default::default(), next_ms: self.bench.now_ms, slow_ms };
        self.clients.insert(made, client);
    }

    /// Without faults everything comes in order: all are members, all partitions are owned, evenly.
    pub(super) fn calm(&mut self) {
        self.ticks = 0;
        let until_ms = self.bench.now_ms + 200_000;
        while self.bench.now_ms < until_ms {
            self.step(false);
        }
        self.bench.reload();
        self.waiting.clear();
        let until_ms = self.bench.now_ms + 100_000;
        while self.bench.now_ms < until_ms {
            self.step(false);
        }
        self.is_in_order();
        assert!(self.ticks < 1000, "seed {}: {} ticks in five minutes", self.seed, self.ticks);
    }

    fn is_in_order(&self) {
        let seed = self.seed;
        if self.clients.is_empty() {
            return assert_eq!(self.bench.groups.counts().members, 0, "seed {seed}");
        }
        assert!(self.clients.values().all(|client| self.is_member(client)), "seed {seed}: {self:#?}");
        assert_eq!(self.bench.groups.counts().members, self.clients.len(), "seed {seed}: no ghosts");
        let group = &self.bench.groups.groups["g"];
        assert_eq!(group.state(), "Stable", "seed {seed}: {self:#?}");
        let consumers = self.clients.values().any(|client| matches!(client.kind, Kind::Consumer(_)));
        assert_eq!(matches!(group.kept, Kept::Consumer(_)), consumers, "seed {seed}");
        let settled = |client: &Client| match &client.kind {
            Kind::Consumer(_) => true,
            Kind::Classic(classic) => classic.is_settled(),
        };
        assert!(self.clients.values().all(settled), "seed {seed}: {self:#?}");
        let partitions = self.bench.topics.by_name("t").unwrap().1 as usize;
        let counts: Vec<usize> = self.clients.values().map(|client| client.owned.len()).collect();
        assert_eq!(counts.iter().sum::<usize>(), partitions, "seed {seed}: {self:#?}");
        let even = counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1;
        assert!(even, "seed {seed}: {counts:?}");
    }
}
