use std::collections::BTreeMap;

use domain::{TopicId, TopicName};
use uuid::Uuid;
use wire::ResponseError;

use crate::{Answer, Call, Caller, Entry, GroupConfig, Groups, Moment, Step, Token, Topics};

/// The wall clock at the beginning, so that it is never mistaken for the monotonic one.
const WALL_MS: i64 = 1_700_000_000_000;

#[derive(Clone, Debug, Default)]
pub(super) struct FakeTopics {
    topics: BTreeMap<String, (TopicId, i32)>,
    version: u64,
    made: u128,
}

impl FakeTopics {
    pub(super) fn make(&mut self, name: &str, partitions: i32) -> TopicId {
        self.made += 1;
        self.version += 1;
        let id = TopicId(Uuid::from_u128(0x7000 + self.made));
        self.topics.insert(name.to_owned(), (id, partitions));
        id
    }

    pub(super) fn grow(&mut self, name: &str, partitions: i32) {
        self.version += 1;
        self.topics.get_mut(name).unwrap().1 = partitions;
    }

    pub(super) fn delete(&mut self, name: &str) {
        self.version += 1;
        self.topics.remove(name);
    }
}

impl Topics for FakeTopics {
    fn by_name(&self, name: &str) -> Option<(TopicId, i32)> {
        self.topics.get(name).copied()
    }

    fn by_id(&self, id: TopicId) -> Option<(TopicName, i32)> {
        let found = self.topics.iter().find(|(_, (of, _))| *of == id);
        found.map(|(name, (_, partitions))| (TopicName::new(name).unwrap(), *partitions))
    }

    fn names(&self) -> Vec<TopicName> {
        self.topics.keys().map(|name| TopicName::new(name).unwrap()).collect()
    }

    fn version(&self) -> u64 {
        self.version
    }
}

/// A coordinator with a log, a clock and topics. Whatever it appends goes through the records' formats.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) groups: Groups,
    pub(super) topics: FakeTopics,
    pub(super) now_ms: u64,
    pub(super) log: Vec<Entry>,
    pub(super) answers: BTreeMap<Token, Answer>,
    /// The log takes nothing.
    pub(super) full: bool,
    /// Members of other coordinators beside this one.
    pub(super) members_elsewhere: usize,
    made: u64,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::with(GroupConfig::default())
    }

    pub(super) fn with(config: GroupConfig) -> Self {
        let mut topics = FakeTopics::default();
        topics.make("t", 6);
        let mut groups = Groups::new(config);
        let _ = groups.loaded(0, &topics);
        Self {
            groups,
            topics,
            now_ms: 0,
            log: Vec::new(),
            answers: BTreeMap::new(),
            full: false,
            members_elsewhere: 0,
            made: 0,
        }
    }

    pub(super) fn topic(&self) -> TopicId {
        self.topics.by_name("t").unwrap().0
    }

    pub(super) fn moment(&mut self) -> Moment {
        self.made += 1;
        let wall_ms = WALL_MS + i64::try_from(self.now_ms).unwrap();
        Moment {
            now_ms: self.now_ms,
            wall_ms,
            fresh: Uuid::from_u128(0xf000 + u128::from(self.made)),
            members_elsewhere: self.members_elsewhere,
        }
    }

    /// One call; its answer may come later.
    pub(super) fn send(&mut self, version: i16, call: Call) -> Token {
        let moment = self.moment();
        let token = Token(self.made);
        let caller = Caller { client_id: "client".to_owned(), host: "/127.0.0.1".to_owned(), version };
        let step = self.groups.step(moment, &self.topics, &caller, call, token);
        self.done(step);
        token
    }

    pub(super) fn call(&mut self, version: i16, call: Call) -> Answer {
        let token = self.send(version, call);
        self.answers.remove(&token).expect("an answer at once")
    }

    pub(super) fn answer(&mut self, token: Token) -> Option<Answer> {
        self.answers.remove(&token)
    }

    /// Appends a step's records, or does not.
    pub(super) fn done(&mut self, step: Step) {
        if self.full && !step.records.is_empty() {
            let moment = self.moment();
            self.groups.not_appended(&step, moment);
            for (token, answer) in step.answers {
                self.answer_once(token, answer.failed(ResponseError::NotCoordinator));
            }
            return;
        }
        for entry in step.records {
            let (key, value) = entry.encode();
            let read = Entry::decode(&key, value.as_deref()).unwrap().unwrap();
            assert_eq!(read, entry, "what is written can be read");
            self.log.push(read.clone());
            self.groups.replay(read);
        }
        step.answers.into_iter().for_each(|(token, answer)| self.answer_once(token, answer));
    }

    fn answer_once(&mut self, token: Token, answer: Answer) {
        assert!(self.answers.insert(token, answer).is_none(), "{token:?} is answered once");
    }

    /// Lets time go by, with all that falls due in it.
    pub(super) fn pass(&mut self, ms: u64) {
        let until_ms = self.now_ms + ms;
        while let Some(at_ms) = self.groups.next_deadline().filter(|at_ms| *at_ms <= until_ms) {
            self.now_ms = self.now_ms.max(at_ms);
            self.tick();
            // What is due again at once waits for the next millisecond.
            if self.groups.next_deadline().is_some_and(|next_ms| next_ms <= self.now_ms) {
                self.now_ms += 1;
            }
        }
        self.now_ms = self.now_ms.max(until_ms);
        self.tick();
    }

    pub(super) fn tick(&mut self) {
        let moment = self.moment();
        let step = self.groups.tick(moment, &self.topics);
        self.done(step);
    }

    pub(super) fn topics_changed(&mut self) {
        let moment = self.moment();
        let step = self.groups.topics_changed(moment, &self.topics);
        self.done(step);
    }

    /// Another node becomes the coordinator. What it reads is what the old one kept.
    pub(super) fn reload(&mut self) -> Vec<(Token, Answer)> {
        let given_up = self.groups.give_up(ResponseError::NotCoordinator);
        let mut groups = Groups::new(self.groups.config().clone());
        self.log.iter().for_each(|entry| groups.replay(entry.clone()));
        assert_eq!(groups.kept(), self.groups.kept(), "the log says what was kept");
        assert!(groups.keeps_the_same_as(&self.groups), "{groups:#?} is not {:#?}", self.groups);
        let compacted = self.compacted();
        let mut other = Groups::new(self.groups.config().clone());
        compacted.into_iter().for_each(|entry| other.replay(entry));
        assert_eq!(other.kept(), self.groups.kept(), "so does the log without what compaction takes away");
        assert!(other.keeps_the_same_as(&self.groups), "{other:#?} is not {:#?}", self.groups);
        let _ = groups.loaded(self.now_ms, &self.topics);
        self.groups = groups;
        given_up
    }

    /// The last record of each key.
    fn compacted(&self) -> Vec<Entry> {
        let mut last = BTreeMap::new();
        for (index, entry) in self.log.iter().enumerate() {
            last.insert(entry.encode().0, index);
        }
        let mut kept: Vec<usize> = last.into_values().collect();
        kept.sort_unstable();
        kept.into_iter().map(|index| self.log[index].clone()).collect()
    }
}
