//! REST consumers, and Kafka's beside them, read what grows, through gateways that die and answers that are lost.

use std::collections::{BTreeMap, BTreeSet};

use domain::{Offset, PartitionIndex};

use super::{client::Client, client::Kind, consumer::Consumer, random::Random};
use crate::{
    Answer, BeginPoll, Call, Commit, EndPoll, Entry, GroupConfig, Kept, OffsetReset, PollBegun, Range,
    SessionCall, SessionError, SessionOp, SessionOptions, SessionReply, Subscribed, TopicPlace, Topics,
    tests::bench::Bench,
};

const PARTITIONS: i32 = 6;
const RECORDS_MAX: u64 = 5;
/// Kafka's consumers, by number.
const KAFKA: u64 = 2;

/// A REST consumer's program.
#[derive(Debug)]
struct Rest {
    name: String,
    auto_commit: bool,
    made: bool,
    /// The poll that it makes, or makes again.
    polls: u64,
    /// A gateway is about to end this poll.
    under_way: Option<(u64, Vec<Range>)>,
    silent_until_ms: u64,
    /// What it was given last, and may not have done with.
    works_on: BTreeSet<i32>,
}

struct World {
    seed: u64,
    random: Random,
    bench: Bench,
    rest: Vec<Rest>,
    kafka: Vec<Client>,
    ends: BTreeMap<i32, i64>,
    /// What reached some program.
    received: BTreeMap<i32, BTreeSet<i64>>,
    committed: BTreeMap<i32, i64>,
    /// Gateways whose clients have gone, and who are about to end their polls nevertheless.
    zombies: Vec<(usize, u64, Vec<Range>)>,
    looked_at: usize,
    twice: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let config = GroupConfig {
            consumer_session_timeout_ms: 15_000,
            consumer_session_timeout_ms_min: 1,
            rest_session_ms: 40_000,
            rest_rebalance_ms: 10_000,
            ..Default::default()
        };
        let mut random = Random(seed);
        let made = |n: u64| Rest {
            name: format!("r{n}"),
            auto_commit: n.is_multiple_of(2),
            made: false,
            polls: 0,
            under_way: None,
            silent_until_ms: 0,
            works_on: BTreeSet::new(),
        };
        let rest = (0..1 + random.below(4)).map(made).collect();
        let kafka = (0..random.below(KAFKA + 1)).map(|n| Client {
            kind: Kind::Consumer(Consumer::new(format!("k{n}"), None)),
            owned: Default::default(),
            next_ms: 0,
            slow_ms: 0,
        });
        Self {
            seed,
            bench: Bench::with(config),
            rest,
            kafka: kafka.collect(),
            random,
            ends: (0..PARTITIONS).map(|p| (p, 0)).collect(),
            received: BTreeMap::new(),
            committed: BTreeMap::new(),
            zombies: Vec::new(),
            looked_at: 0,
            twice: 0,
        }
    }

    fn step(&mut self, faults: bool) {
        let pause_ms = self.random.below(400);
        self.bench.full = faults && self.random.one_in(20);
        self.bench.pass(pause_ms);
        self.bench.full = faults && self.random.one_in(20);
        if faults && self.random.one_in(40) {
            self.bench.reload();
        }
        if faults && self.random.one_in(60) {
            self.bench.now_ms += self.random.below(60_000);
            self.bench.groups.was_deaf(self.bench.now_ms);
        }
        let partition = self.random.below(PARTITIONS as u64) as i32;
        if faults {
            *self.ends.get_mut(&partition).unwrap() += self.random.below(RECORDS_MAX) as i64;
        }
        for n in 0..self.kafka.len() {
            self.kafka_turn(n);
        }
        let n = self.random.below(self.rest.len() as u64) as usize;
        self.rest_turn(n, faults);
        if !self.zombies.is_empty() && self.random.one_in(3) {
            let nth = self.random.below(self.zombies.len() as u64) as usize;
            let (n, poll, delivered) = self.zombies.swap_remove(nth);
            drop(self.ask(n, SessionOp::EndPoll(EndPoll { poll, began: Vec::new(), delivered })));
        }
        self.check();
    }

    /// Kafka's consumer reads and commits all that it owns, one heartbeat after the other.
    fn kafka_turn(&mut self, n: usize) {
        let client = &mut self.kafka[n];
        if client.next_ms > self.bench.now_ms {
            return;
        }
        let (version, call) = client.act(self.bench.now_ms);
        let answer = self.bench.call(version, call);
        let before = client.owned.clone();
        client.hear(Some(answer), self.bench.now_ms);
        let owned: Vec<i32> = before.intersection(&client.owned).map(|(_, p)| *p).collect();
        for partition in owned {
            let end = self.ends[&partition];
            let from = self.committed.get(&partition).copied().unwrap_or(0);
            if end <= from {
                continue;
            }
            let request = self.kafka[n].commit("t", partition, end);
            let Answer::OffsetCommit(answer) = self.bench.call(9, Call::OffsetCommit(request)) else {
                panic!()
            };
            // What it read, it has, whether or not that could be written down.
            self.received.entry(partition).or_default().extend(from..end);
            if answer.topics[0].partitions[0].error_code == 0 {
                self.check();
            }
        }
    }

    fn ask(&mut self, n: usize, op: SessionOp) -> Result<SessionReply, SessionError> {
        let call = SessionCall { group: "g".to_owned(), instance: self.rest[n].name.clone(), op };
        match self.bench.call(0, Call::Session(call)) {
            Answer::Session(outcome) => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn rest_turn(&mut self, n: usize, faults: bool) {
        if self.bench.now_ms < self.rest[n].silent_until_ms {
            return;
        }
        if !self.rest[n].made {
            return self.make(n);
        }
        if faults && self.random.one_in(25) {
            self.rest[n].silent_until_ms = self.bench.now_ms + self.random.below(60_000);
            return;
        }
        if faults && self.random.one_in(80) {
            // A program that ends well has worked on all that it got.
            if self.ask(n, SessionOp::Delete).is_ok() {
                self.rest[n].made = false;
                self.rest[n].under_way = None;
                self.rest[n].works_on.clear();
            }
            return;
        }
        match self.rest[n].under_way.take() {
            // The client asks again, of another gateway.
            Some((poll, delivered)) if faults && self.random.one_in(8) => {
                self.zombies.push((n, poll, delivered));
            }
            Some((poll, delivered)) => self.end(n, poll, delivered, faults),
            None => self.begin(n, faults),
        }
    }

    fn make(&mut self, n: usize) {
        let options = SessionOptions {
            auto_commit: self.rest[n].auto_commit,
            reset: OffsetReset::Earliest,
            ..Default::default()
        };
        let member = format!("m-{n}");
        let topics = Subscribed::Topics(BTreeSet::from(["t".to_owned()]));
        let made = self.ask(n, SessionOp::Create { options, member });
        if made.is_ok() && self.ask(n, SessionOp::Subscribe(topics)).is_ok() {
            let rest = &mut self.rest[n];
            rest.made = true;
            rest.polls += 1;
        }
    }

    fn begin(&mut self, n: usize, faults: bool) {
        let request = Some(format!("p{}", self.rest[n].polls));
        self.rest[n].works_on.clear();
        let begun = match self.ask(n, SessionOp::BeginPoll(BeginPoll { request, ..Default::default() })) {
            Ok(SessionReply::PollBegun(begun)) => begun,
            Err(SessionError::Unknown) => {
                self.rest[n].made = false;
                return;
            }
            Err(SessionError::Refused { .. }) => return,
            other => panic!("seed {}: {other:?}", self.seed),
        };
        // The gateway dies, or its client goes away.
        if faults && self.random.one_in(10) {
            return;
        }
        if !begun.replay.is_empty() {
            return self.receive(n, &begun.replay, faults);
        }
        let delivered = self.read(&begun);
        self.rest[n].under_way = Some((begun.poll, delivered));
    }

    fn read(&mut self, begun: &PollBegun) -> Vec<Range> {
        let mut delivered = Vec::new();
        for (place, position) in &begun.positions {
            let from = position.map_or(0, |offset| offset.0);
            let end = self.ends[&place.partition.0];
            let to = (from + self.random.below(RECORDS_MAX) as i64).min(end);
            if to > from && delivered.len() < 3 {
                delivered.push(Range { place: *place, from: Offset(from), to: Offset(to) });
            }
        }
        delivered
    }

    fn end(&mut self, n: usize, poll: u64, delivered: Vec<Range>, faults: bool) {
        let end = EndPoll { poll, began: Vec::new(), delivered: delivered.clone() };
        match self.ask(n, SessionOp::EndPoll(end)) {
            Ok(_) if faults && self.random.one_in(10) => {
                drop(self.ask(n, SessionOp::Undelivered { poll }));
            }
            Ok(_) => self.receive(n, &delivered, faults),
            Err(SessionError::Unknown) => self.rest[n].made = false,
            Err(SessionError::Superseded | SessionError::Moved | SessionError::Refused { .. }) => {}
            Err(other) => panic!("seed {}: {other}", self.seed),
        }
    }

    fn receive(&mut self, n: usize, delivered: &[Range], faults: bool) {
        // The answer is lost: the same poll is made again.
        if faults && self.random.one_in(5) {
            return;
        }
        self.rest[n].polls += 1;
        for range in delivered {
            let received = self.received.entry(range.place.partition.0).or_default();
            let new = (range.from.0..range.to.0).filter(|offset| received.insert(*offset)).count();
            self.twice += usize::try_from(range.to.0 - range.from.0).unwrap() - new;
            self.rest[n].works_on.insert(range.place.partition.0);
        }
        if !self.rest[n].auto_commit && !self.random.one_in(3) {
            match self.ask(n, SessionOp::Commit(Commit::Delivered)) {
                Ok(_) => self.rest[n].works_on.clear(),
                Err(SessionError::Refused { .. }) => {}
                Err(SessionError::Unknown) => self.rest[n].made = false,
                Err(other) => panic!("seed {}: {other}", self.seed),
            }
        }
    }

    /// Nothing is committed that reached nobody, nothing committed is taken back, and nothing has two owners.
    fn check(&mut self) {
        let seed = self.seed;
        for entry in &self.bench.log[self.looked_at..] {
            let Entry::OffsetCommit { partition, value: Some(value), .. } = entry else { continue };
            let (partition, offset) = (partition.0, value.offset.0);
            let received = self.received.entry(partition).or_default();
            let lost = (0..offset).find(|offset| !received.contains(offset));
            assert_eq!(lost, None, "seed {seed}: {partition} is committed up to {offset}, and one is lost");
            let before = self.committed.insert(partition, offset).unwrap_or(0);
            assert!(before <= offset, "seed {seed}: {partition} went from {before} back to {offset}");
        }
        self.looked_at = self.bench.log.len();
        let Some(group) = self.bench.groups.groups.get("g") else { return };
        let Kept::Consumer(consumers) = &group.kept else { return };
        let mut owners: BTreeMap<TopicPlace, String> = BTreeMap::new();
        let mut own = |topic, partition, owner: &str| {
            let before = owners.insert(TopicPlace { topic, partition }, owner.to_owned());
            assert_eq!(before, None, "seed {seed}: {partition} is also {owner}'s (G4)");
        };
        for (id, member) in consumers.members.iter().filter(|(id, _)| id.starts_with("m-")) {
            for (topic, partitions) in member.held() {
                partitions.iter().for_each(|partition| own(topic, *partition, id));
            }
        }
        for (n, rest) in self.rest.iter().enumerate() {
            let Some(member) = consumers.members.get(format!("m-{n}").as_str()) else { continue };
            let held: BTreeSet<i32> = member.held().into_values().flatten().map(|p| p.0).collect();
            assert!(
                rest.works_on.is_subset(&held),
                "seed {seed}: {} works on {:?} and has {held:?}",
                rest.name,
                rest.works_on
            );
        }
        for client in &self.kafka {
            if consumers.members.contains_key(client.member()) {
                for (topic, partition) in &client.owned {
                    own(*topic, PartitionIndex(*partition), client.member());
                }
            }
        }
    }

    /// Without faults all that there is reaches somebody and is committed.
    fn calm(&mut self) {
        for rest in &mut self.rest {
            rest.silent_until_ms = 0;
        }
        for _ in 0..3000 {
            self.step(false);
        }
        let seed = self.seed;
        for (partition, end) in &self.ends {
            let committed = self.committed.get(partition).copied().unwrap_or(0);
            assert_eq!(committed, *end, "seed {seed}: partition {partition}\n{:#?}", self.bench.groups);
        }
        let group = &self.bench.groups.groups["g"];
        assert_eq!(group.state(), "Stable", "seed {seed}");
        let members = self.bench.groups.counts().members;
        assert_eq!(members, self.rest.len() + self.kafka.len(), "seed {seed}: no ghosts");
        let partitions = self.bench.topics.by_name("t").unwrap().1;
        assert_eq!(partitions, PARTITIONS);
        self.bench.reload();
    }
}

#[test]
fn rest_consumers_lose_nothing_and_settle() {
    let seeds =
        std::env::var("GROUP_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(super::SEEDS);
    let (mut received, mut twice) = (0, 0);
    for seed in 5_000_000..5_000_000 + seeds {
        let mut world = World::new(seed);
        for _ in 0..600 {
            world.step(true);
        }
        world.calm();
        received += world.received.values().map(BTreeSet::len).sum::<usize>();
        twice += world.twice;
    }
    println!("{seeds} seeds: {received} records received, {twice} of them again");
    assert!(received > 1000, "{received}");
}
