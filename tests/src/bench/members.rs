use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;

use super::{member::Options, pauses};

/// The members of one group, each a process. Only the first is slow, if they are to be.
pub struct Members {
    options: Options,
    running: BTreeMap<usize, Member>,
    next: usize,
    told: Arc<Told>,
}

/// Who has which partition.
pub type Owners = BTreeMap<i32, usize>;

struct Member {
    child: Child,
    reader: JoinHandle<()>,
}

/// What the members have said.
struct Told {
    /// When each partition's records were delivered.
    deliveries: Vec<Mutex<Vec<u64>>>,
    owned: Mutex<BTreeMap<usize, BTreeSet<i32>>>,
    errors: Mutex<Vec<String>>,
}

const LEAVE_MAX: Duration = Duration::from_secs(30);
/// Nobody's partitions have changed for so long: the group has settled.
const SETTLED: Duration = Duration::from_secs(4);

impl Members {
    pub fn new(options: Options, partitions: i32) -> Self {
        let deliveries = (0..partitions).map(|_| Mutex::default()).collect();
        let told = Arc::new(Told { deliveries, owned: Mutex::default(), errors: Mutex::default() });
        Self { options, running: BTreeMap::new(), next: 0, told }
    }

    /// One more; its number.
    pub fn join(&mut self) -> anyhow::Result<usize> {
        let Options { bootstrap, group, topic, kind, poll_ms, session_ms, heartbeat_ms, slow_ms, debug } =
            &self.options;
        let slow_ms = if self.next == 0 { slow_ms } else { &0 };
        let kind = kind.to_possible_value().context("it has a name")?.get_name().to_owned();
        let numbers = [poll_ms, session_ms, heartbeat_ms, slow_ms].map(u64::to_string);
        let mut child = Command::new(std::env::current_exe()?)
            .args(["member", "--bootstrap", bootstrap, "--group", group, "--topic", topic, "--kind", &kind])
            .args(["--poll-ms", &numbers[0], "--session-ms", &numbers[1], "--heartbeat-ms", &numbers[2]])
            .args(["--slow-ms", &numbers[3]])
            .args(debug.iter().flat_map(|folder| ["--debug".into(), folder.join(log_name(group, self.next))]))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("a member is started")?;
        let said = child.stdout.take().context("a member has an output")?;
        let (number, told) = (self.next, self.told.clone());
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                told.take(number, &line);
            }
        });
        self.running.insert(number, Member { child, reader });
        self.next += 1;
        Ok(number)
    }

    /// The member leaves, as one does that is shut down.
    pub fn leave(&mut self, number: usize) -> anyhow::Result<()> {
        let mut member = self.running.remove(&number).context("it is a member")?;
        drop(member.child.stdin.take());
        let deadline = Instant::now() + LEAVE_MAX;
        while member.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                let _ = member.child.kill();
                bail!("member {number} has not left within {LEAVE_MAX:?}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let _ = member.reader.join();
        self.told.owned.lock().unwrap().remove(&number);
        Ok(())
    }

    /// kill -9: nobody is told.
    pub fn kill(&mut self, number: usize) -> anyhow::Result<()> {
        let mut member = self.running.remove(&number).context("it is a member")?;
        member.child.kill()?;
        member.child.wait()?;
        let _ = member.reader.join();
        self.told.owned.lock().unwrap().remove(&number);
        Ok(())
    }

    /// Whose each partition is, once each is one member's and records come from all of them, and that has been so for a
    /// while. `who` must own some of them.
    pub async fn settled(&self, who: Option<usize>, within: Duration) -> anyhow::Result<Owners> {
        let deadline = Instant::now() + within;
        let (mut last, mut since) = (self.told.owners(), Instant::now());
        loop {
            let now = self.told.owners();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            if let Some(owners) = last.as_ref().filter(|_| since.elapsed() > SETTLED)
                && who.is_none_or(|who| owners.values().any(|owner| *owner == who))
                && self.told.all_delivered_since(pauses::now_ns() - 5_000_000_000)
            {
                return Ok(owners.clone());
            }
            ensure!(
                Instant::now() < deadline,
                "the group has not settled within {within:?}: {}",
                self.told.owned_by_each()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The longest pause of a partition that touches the interval.
    pub fn pause(&self, partition: i32, from: u64, to: u64) -> Duration {
        pauses::longest(&self.told.deliveries[partition as usize].lock().unwrap(), from, to)
    }

    /// When a pause of that length began; to look for its cause.
    pub fn pause_began(&self, partition: i32, pause: Duration) -> u64 {
        pauses::began(&self.told.deliveries[partition as usize].lock().unwrap(), pause)
    }

    /// What went wrong so far, by how often.
    pub fn errors(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for error in self.told.errors.lock().unwrap().iter() {
            *counts.entry(error.clone()).or_default() += 1;
        }
        counts
    }
}

fn log_name(group: &str, number: usize) -> String {
    format!("{group}-{number}.log")
}

impl Drop for Members {
    fn drop(&mut self) {
        for member in self.running.values_mut() {
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
    }
}

impl Told {
    fn take(&self, member: usize, line: &str) {
        let mut words = line.splitn(3, ' ');
        let kind = words.next().unwrap_or_default();
        match (kind, words.next(), words.next()) {
            ("d", Some(ns), Some(partition)) => {
                let place = partition.parse::<usize>().ok().and_then(|p| self.deliveries.get(p));
                if let (Ok(ns), Some(place)) = (ns.parse(), place) {
                    place.lock().unwrap().push(ns);
                }
            }
            ("o", list, _) => {
                let list = list.unwrap_or_default().split(',').filter_map(|p| p.parse().ok()).collect();
                self.owned.lock().unwrap().insert(member, list);
            }
            _ => self.errors.lock().unwrap().push(line.to_owned()),
        }
    }

    /// If each partition is one member's.
    fn owners(&self) -> Option<Owners> {
        let mut owners = Owners::new();
        for (member, owned) in self.owned.lock().unwrap().iter() {
            for partition in owned {
                if owners.insert(*partition, *member).is_some() {
                    return None;
                }
            }
        }
        (owners.len() == self.deliveries.len()).then_some(owners)
    }

    fn all_delivered_since(&self, ns: u64) -> bool {
        self.deliveries.iter().all(|d| d.lock().unwrap().last().is_some_and(|at| *at > ns))
    }

    fn owned_by_each(&self) -> String {
        let owned = self.owned.lock().unwrap();
        let each: Vec<String> = owned.iter().map(|(member, p)| format!("{member}: {}", p.len())).collect();
        each.join(", ")
    }
}
