use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use domain::NodeEpoch;
use metadata::{Delta, Image};
use quorum::{Quorum, RaftId};
use tempfile::TempDir;
use tokio::sync::broadcast::{Receiver, error::TryRecvError};
use turmoil::Sim;

use crate::{
    history::Counts,
    member::{Seat, Shared, run},
    network::host,
    seed::Seed,
};

/// A controller group on a simulated network.
pub(crate) struct Group {
    pub(crate) sim: Sim<'static>,
    pub(crate) shared: Shared,
    pub(crate) crashed: BTreeSet<u32>,
    /// A member that was wiped and is not a voter yet, with its old and its new id.
    joining: Option<(RaftId, RaftId)>,
    watchers: Vec<Option<Watcher>>,
    members: u32,
    next_id: RaftId,
    trace: Vec<String>,
    _dir: TempDir,
}

/// Follows one incarnation of one member by its deltas.
struct Watcher {
    quorum: Arc<Quorum>,
    image: Image,
    deltas: Receiver<Arc<Delta>>,
    /// The term and the leader that it knew last.
    led_by: (u64, RaftId),
}

const TICK: Duration = Duration::from_millis(5);

impl Group {
    pub(crate) fn start(members: u32, seed: &mut Seed) -> Self {
        let dir = folder();
        let seats = (0..members).map(|ordinal| Seat {
            dir: dir.path().join(host(ordinal)),
            fresh_id: RaftId::from(ordinal) + 1,
            joins: false,
            // The first never cuts its log: what it shows is a replay, what the others show is mostly not.
            snapshot_every: if ordinal == 0 { 1_000_000 } else { seed.between(4, 60) },
            incarnation: 0,
            seed: seed.fork(),
            running: None,
            stopped: None,
            snapshot_wanted: false,
        });
        let shared = Shared::new(seats.collect());
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed.next())
            .tick_duration(TICK)
            .simulation_duration(Duration::from_secs(3_600))
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(LATENCY)
            .repair_rate(0.7)
            .udp_capacity(4_096)
            .enable_random_order()
            .build();
        for ordinal in 0..members {
            let shared = shared.clone();
            sim.host(host(ordinal), move || run(ordinal, shared.clone()));
        }
        let mut group = Self {
            sim,
            shared,
            crashed: BTreeSet::new(),
            joining: None,
            watchers: (0..members).map(|_| None).collect(),
            members,
            next_id: 100,
            trace: Vec::new(),
            _dir: dir,
        };
        group.until("everybody knows the cluster", 20_000, |group| {
            group.all().iter().all(|m| {
                group
                    .quorum(*m)
                    .is_some_and(|q| q.image().cluster_id.is_some() && q.voters().contains(&q.id()))
            })
        });
        group
    }

    pub(crate) fn all(&self) -> Vec<u32> {
        (0..self.members).collect()
    }

    pub(crate) fn alive(&self) -> Vec<u32> {
        self.all().into_iter().filter(|m| !self.crashed.contains(m)).collect()
    }

    pub(crate) fn quorum(&self, ordinal: u32) -> Option<Arc<Quorum>> {
        self.shared.lock().seats[ordinal as usize].running.clone()
    }

    /// Whoever believes to lead; of two the one in the later term.
    pub(crate) fn leader(&self) -> Option<u32> {
        let leads = |m: &u32| {
            let leadership = self.quorum(*m)?.leadership().borrow().clone();
            leadership.is_me.then_some((leadership.term, *m))
        };
        self.all().iter().filter_map(leads).max().map(|(_, m)| m)
    }

    pub(crate) fn counts(&self) -> Counts {
        self.shared.lock().history.counts
    }

    pub(crate) fn note(&mut self, what: String) {
        self.shared.lock().history.counts.faults += 1;
        self.trace.push(format!("{:>7} ms  {what}", self.sim.elapsed().as_millis()));
    }

    pub(crate) fn run_for(&mut self, ms: u64) {
        let end = self.sim.elapsed() + Duration::from_millis(ms);
        while self.sim.elapsed() < end {
            self.step();
        }
    }

    /// Goes on until it is so, or fails after so many simulated milliseconds.
    pub(crate) fn until(&mut self, what: &str, within_ms: u64, is_so: impl Fn(&Self) -> bool) {
        let end = self.sim.elapsed() + Duration::from_millis(within_ms);
        while !is_so(self) {
            if self.sim.elapsed() >= end {
                self.fail(&format!("it is not so within {within_ms} ms that {what}"));
            }
            self.step();
        }
    }

    fn fail(&self, why: &str) -> ! {
        let members: Vec<String> = self.all().iter().map(|m| self.describe(*m)).collect();
        panic!("{why}\n{}\n{}\n{:?}", self.trace.join("\n"), members.join("\n"), self.counts());
    }

    fn fail_if_violated(&self) {
        let violation = self.shared.lock().history.violations.first().cloned();
        if let Some(violation) = violation {
            self.fail(&violation);
        }
    }

    fn describe(&self, ordinal: u32) -> String {
        let Some(quorum) = self.quorum(ordinal) else { return format!("{} is down", host(ordinal)) };
        format!(
            "{} is {}: {:?}, applied {:?}, image {}, voters {:?}",
            host(ordinal),
            quorum.id(),
            *quorum.leadership().borrow(),
            quorum.applied_index(),
            quorum.image().version,
            quorum.voters()
        )
    }

    pub(crate) fn step(&mut self) {
        if let Err(error) = self.sim.step() {
            self.fail(&format!("a host failed: {error}"));
        }
        for ordinal in self.alive() {
            self.observe(ordinal);
        }
        self.fail_if_violated();
    }

    fn observe(&mut self, ordinal: u32) {
        let Some(quorum) = self.quorum(ordinal) else { return };
        let mut state = self.shared.lock();
        let leadership = quorum.leadership().borrow().clone();
        if let Some((old, new)) = self.joining {
            let voters = quorum.voters();
            if voters.contains(&new) && !voters.contains(&old) {
                self.joining = None;
            }
        }
        let watcher = &mut self.watchers[ordinal as usize];
        let watcher = match watcher {
            Some(watcher) if Arc::ptr_eq(&watcher.quorum, &quorum) => watcher,
            _ => {
                let (image, deltas) = quorum.subscribe();
                let mut followed = Image::default();
                followed.adopt(&image.snapshot());
                state.history.shows(quorum.id(), &followed);
                watcher.insert(Watcher { quorum: quorum.clone(), image: followed, deltas, led_by: (0, 0) })
            }
        };
        if let Some(leader) = leadership.leader {
            let now = (leadership.term, leader);
            state.history.leads(quorum.id(), watcher.led_by, now);
            watcher.led_by = now;
        }
        loop {
            match watcher.deltas.try_recv() {
                Ok(delta) => {
                    state.history.counts.snapshots_installed += usize::from(delta.snapshot);
                    watcher.image.adopt(&delta);
                    state.history.shows(quorum.id(), &watcher.image);
                }
                Err(TryRecvError::Lagged(missed)) => {
                    state.history.violations.push(format!("the test missed {missed} deltas"));
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    /// Kills the member; what it synced stays.
    pub(crate) fn crash(&mut self, ordinal: u32) {
        if self.crashed.insert(ordinal) {
            self.watchers[ordinal as usize] = None;
            self.shared.lock().seats[ordinal as usize].running = None;
            self.sim.crash(host(ordinal));
        }
    }

    pub(crate) fn restart(&mut self, ordinal: u32) {
        if self.crashed.remove(&ordinal) {
            self.shared.lock().seats[ordinal as usize].stopped = None;
            self.sim.bounce(host(ordinal));
        }
    }

    /// Kills the member and empties its folder; false if another that was wiped is no voter yet, as two lost disks
    /// are more than a group of three survives.
    pub(crate) fn wipe(&mut self, ordinal: u32) -> bool {
        let Some(quorum) = self.quorum(ordinal).filter(|_| self.joining.is_none()) else { return false };
        let old = quorum.id();
        drop(quorum);
        self.crash(ordinal);
        self.next_id += 1;
        let mut state = self.shared.lock();
        let seat = &mut state.seats[ordinal as usize];
        // Not the same folder: SQLite's thread may still have files of it open.
        seat.dir.set_file_name(format!("{}-{}", host(ordinal), self.next_id));
        (seat.fresh_id, seat.joins) = (self.next_id, true);
        self.joining = Some((old, self.next_id));
        true
    }

    /// The file that the member keeps everything in.
    pub(crate) fn store(&self, ordinal: u32) -> PathBuf {
        self.shared.lock().seats[ordinal as usize].dir.join("controller.sqlite")
    }

    /// Why the member did not start, if it did not.
    pub(crate) fn stopped(&self, ordinal: u32) -> Option<String> {
        self.shared.lock().seats[ordinal as usize].stopped.clone()
    }

    pub(crate) fn acknowledged(&self) -> Option<NodeEpoch> {
        self.shared.lock().history.acknowledged()
    }

    /// Waits for one more acknowledgement.
    pub(crate) fn until_acknowledged(&mut self) {
        let before = self.acknowledged();
        self.until("a proposal is acknowledged again", 10_000, |group| group.acknowledged() > before);
    }

    /// Everything works again.
    pub(crate) fn heal(&mut self) {
        self.sim.set_fail_rate(0.0);
        self.sim.set_max_message_latency(LATENCY);
        for (a, b) in self.pairs() {
            self.sim.release(host(a), host(b));
        }
    }

    pub(crate) fn pairs(&self) -> Vec<(u32, u32)> {
        let all = self.all();
        all.iter().flat_map(|a| all.iter().filter(move |b| a < b).map(move |b| (*a, *b))).collect()
    }

    /// Heals everything and checks that the group comes to one state, which has all that it acknowledged.
    pub(crate) fn settle(&mut self) -> Counts {
        self.note("all is healed".to_owned());
        self.heal();
        for ordinal in self.all() {
            self.restart(ordinal);
        }
        self.shared.lock().settling = true;
        self.until_acknowledged();
        self.until("all members have the same image and are voters", 20_000, |group| {
            let members: Option<Vec<_>> = group.all().iter().map(|m| group.quorum(*m)).collect();
            members.is_some_and(|members| {
                let image = members[0].image();
                group.joining.is_none()
                    && group.shared.lock().history.has_producer_ids_of(&image)
                    && members.iter().all(|m| *m.image() == *image && m.voters().contains(&m.id()))
                    // A wiped member's old id is gone: counted on, it would be a lost vote for good.
                    && members.iter().all(|m| m.voters().len() == members.len())
            })
        });
        let image = self.quorum(0).map(|q| q.image()).unwrap_or_default();
        self.shared.lock().history.ends_with(&image);
        self.fail_if_violated();
        self.counts()
    }
}

pub(crate) const LATENCY: Duration = Duration::from_millis(20);

/// In memory where there is such a folder: what SQLite syncs is not the subject here, and takes long.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    match memory.is_dir() {
        true => tempfile::tempdir_in(memory).unwrap(),
        false => tempfile::tempdir().unwrap(),
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The members go before their runtimes.
        self.watchers.clear();
        self.shared.lock().seats.iter_mut().for_each(|seat| seat.running = None);
    }
}
