use std::collections::{BTreeMap, BTreeSet};

use domain::LeaderEpoch;

use crate::{
    event::{Event, Party},
    ghost::GhostPartition,
    groups_setup::ReadTopics,
    invariants::g4,
    node::Call,
    world::World,
};

/// A consumer in a group (KIP-848). It comes and goes; each time it is another member.
#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) group: String,
    /// `None` while it is away, until `back_us`.
    pub(crate) life: Option<Life>,
    back_us: u64,
    asleep_until_us: u64,
    /// Whom it takes for the coordinator.
    pub(crate) coordinator: Option<usize>,
    /// The connection to it, and when the last message on it arrives: a connection keeps the order.
    pub(crate) connection: u64,
    pub(crate) arrives_us: u64,
}

/// A member from its first heartbeat on.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) id: String,
    pub(crate) epoch: i32,
    /// It may have missed an answer: it says everything.
    pub(crate) full: bool,
    /// Its last heartbeat said everything.
    pub(crate) asked_full: bool,
    /// What it reads from, as far as it knows, and where it is there; `None` until it has asked.
    pub(crate) owned: BTreeMap<i32, Option<i64>>,
    pub(crate) coming: Option<Coming>,
    /// What it said last that it owns; `None` if it has to say so again.
    pub(crate) told: Option<BTreeSet<i32>>,
    pub(crate) beat: Option<Call>,
    /// The losses when it sent its last heartbeat.
    pub(crate) losses_asked: usize,
    /// What it owns it was given there.
    pub(crate) history: History,
    pub(crate) beat_due_us: u64,
    pub(crate) fetch: Option<Call>,
    pub(crate) commit: Option<(Call, i32, i64)>,
}

/// What a member is on its way to.
#[derive(Debug)]
pub(crate) struct Coming {
    pub(crate) at_us: u64,
    pub(crate) partitions: BTreeSet<i32>,
    pub(crate) history: History,
}

/// Where somebody was given something. After another loss, or an unclean election, that is a history which has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct History {
    pub(crate) losses: usize,
    pub(crate) epoch: LeaderEpoch,
}

impl History {
    fn goes_on(self, log: &GhostPartition) -> bool {
        log.doubt.is_none() && self.losses == log.losses.len() && log.counts(self.epoch)
    }
}

impl Member {
    fn new(group: String) -> Self {
        Self {
            group,
            life: None,
            back_us: 0,
            asleep_until_us: 0,
            coordinator: None,
            connection: 0,
            arrives_us: 0,
        }
    }

    pub(crate) fn is_asleep(&self, now_us: u64) -> bool {
        now_us < self.asleep_until_us
    }
}

impl Life {
    fn new(id: String) -> Self {
        Self {
            id,
            epoch: 0,
            full: false,
            asked_full: false,
            owned: BTreeMap::new(),
            coming: None,
            told: None,
            beat: None,
            losses_asked: 0,
            history: History { losses: 0, epoch: LeaderEpoch::UNKNOWN },
            beat_due_us: 0,
            fetch: None,
            commit: None,
        }
    }

    pub(crate) fn owns(&self) -> BTreeSet<i32> {
        self.owned.keys().copied().collect()
    }

    /// It is a member no more, and joins anew under the same id.
    pub(crate) fn begin_anew(&mut self) {
        let id = std::mem::take(&mut self.id);
        *self = Self::new(id);
    }
}

impl World {
    pub(crate) fn begin_groups(&mut self) {
        let Some(setup) = self.setup.groups.clone() else { return };
        for member in 0..setup.members {
            let mut new = Member::new(format!("g{}", member % setup.groups));
            new.back_us = self.random.range(0, setup.session_ms * 2_000);
            self.members.push(new);
            let after = self.random.range(1_000, setup.heartbeat_ms * 1_000);
            self.schedule(after, Event::MemberTick { member });
        }
    }

    pub(crate) fn read_topics(&self) -> ReadTopics {
        self.setup.groups.as_ref().map_or(ReadTopics { partitions: 0 }, |groups| groups.topics)
    }

    pub(crate) fn member_tick(&mut self, m: usize) {
        let Some((every_us, session_us)) =
            self.setup.groups.as_ref().map(|g| (g.heartbeat_ms * 1_000, g.session_ms * 1_000))
        else {
            return;
        };
        let after = self.random.range(every_us / 4, every_us * 3 / 4);
        self.schedule(after, Event::MemberTick { member: m });
        let now = self.now_us;
        let healing = self.healing;
        let member = &mut self.members[m];
        if now < member.asleep_until_us && !healing {
            return;
        }
        if member.life.is_none() {
            if now >= member.back_us || healing {
                self.come(m);
            }
            return;
        }
        if !healing && self.random.chance(15) {
            return self.go(m, session_us);
        }
        if !healing && self.random.chance(15) {
            self.members[m].asleep_until_us = now + self.random.range(every_us, session_us * 2);
            self.trace(Party::Member(m), format_args!("sleeps"));
            return;
        }
        self.give_up(m);
        self.arrive(m);
        if self.random.chance(200) {
            self.look_at_positions(m);
        }
        // One that wakes up may first commit what it believes.
        if self.random.chance(500) && !self.healing {
            self.commit_position(m);
        }
        self.ask_positions(m);
        self.beat_member(m);
    }

    fn come(&mut self, m: usize) {
        let id = format!("m{}", self.fresh_id());
        self.trace(Party::Member(m), format_args!("joins as {id}"));
        self.counts.joins += 1;
        let member = &mut self.members[m];
        member.life = Some(Life::new(id));
        member.coordinator = None;
        self.beat_member(m);
    }

    /// It crashes, or leaves, as its last word may say.
    fn go(&mut self, m: usize, session_us: u64) {
        let back_us = self.now_us + self.random.range(1_000, session_us * 3);
        let leaves = self.random.chance(500);
        if leaves {
            self.say_left(m);
        }
        let member = &mut self.members[m];
        (member.life, member.back_us) = (None, back_us);
        self.trace(Party::Member(m), format_args!("{}", if leaves { "leaves" } else { "crashes" }));
    }

    /// No answer came: somebody else may be the coordinator, and the connection is a new one.
    fn give_up(&mut self, m: usize) {
        let now = self.now_us;
        let Some(life) = self.members[m].life.as_mut() else { return };
        let mut late = life.fetch.take_if(|call| now >= call.until_us).is_some();
        late |= life.commit.take_if(|(call, ..)| now >= call.until_us).is_some();
        if life.beat.take_if(|call| now >= call.until_us).is_some() {
            (life.full, late) = (true, true);
        }
        if late {
            self.reconnect(m);
        }
    }

    pub(crate) fn reconnect(&mut self, m: usize) {
        let member = &mut self.members[m];
        member.coordinator = None;
        if let Some(life) = member.life.as_mut() {
            life.full |= life.beat.take().is_some();
            (life.fetch, life.commit) = (None, None);
        }
    }

    /// It has given up what it must, or taken over what it got.
    pub(crate) fn arrive(&mut self, m: usize) {
        let (now, member) = (self.now_us, &mut self.members[m]);
        let Some(life) = member.life.as_mut() else { return };
        let Some(coming) = life.coming.take_if(|coming| now >= coming.at_us) else { return };
        let new = coming.partitions;
        life.history = coming.history;
        life.owned.retain(|partition, _| new.contains(partition));
        let gained: Vec<i32> = new.into_iter().filter(|p| !life.owned.contains_key(p)).collect();
        life.owned.extend(gained.iter().map(|partition| (*partition, None)));
        // What it had on its way only it has given up, too.
        life.told = None;
        let owned = life.owns();
        self.counts.assigned += gained.len() as u64;
        self.trace(Party::Member(m), format_args!("owns {owned:?}"));
        for partition in gained {
            self.check_sole_owner(m, partition);
        }
    }

    fn check_sole_owner(&mut self, m: usize, partition: i32) {
        let Some(p) = self.setup.group_partition() else { return };
        let member = &self.members[m];
        // While an excused election is under way nobody knows who is a member.
        let log = &self.ghost.partitions[p];
        let knows = |life: &&Life| life.history.goes_on(log);
        let Some(life) = member.life.as_ref().filter(knows) else { return };
        let others = self.members.iter().filter(|other| other.group == member.group);
        let lives = others.filter_map(|other| other.life.as_ref()).filter(knows).filter(|o| o.id != life.id);
        let mut owners = lives.filter(|other| other.owned.contains_key(&partition));
        let checked = owners.try_for_each(|other| {
            g4::gained(&self.groups_ghost, &member.group, partition, &life.id, &other.id)
        });
        self.check(checked);
    }

    /// What has to be in order in the end: all are members, all partitions are owned, evenly.
    pub(crate) fn missing_in_groups(&self, missing: &mut Vec<String>) {
        let Some(p) = self.setup.group_partition() else { return };
        let hopeless = |state: &metadata::Partition| state.leader.is_none() && self.is_hopeless(state);
        if self.plan.lossless && self.partition(p).is_some_and(hopeless) {
            return;
        }
        let mut owned: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (m, member) in self.members.iter().enumerate() {
            let Some(life) = &member.life else {
                missing.push(format!("member-{m} is away"));
                continue;
            };
            let settled = life.coming.is_none() && life.owned.values().all(Option::is_some);
            if life.epoch <= 0 || !settled {
                missing.push(format!("member-{m} of {} is on its way: {life:?}", member.group));
            }
            owned.entry(&member.group).or_default().push(life.owned.len());
        }
        let partitions = self.read_topics().partitions as usize;
        for (group, counts) in owned {
            let spread = counts.iter().max().unwrap_or(&0) - counts.iter().min().unwrap_or(&0);
            if counts.iter().sum::<usize>() != partitions || spread > 1 {
                missing.push(format!("the members of {group} own {counts:?} of {partitions}"));
            }
        }
    }
}
