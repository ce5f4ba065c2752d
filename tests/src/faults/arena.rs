use std::{
    fs::File,
    io::Write,
    net::Ipv4Addr,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::Context;
use fastrand::Rng;
use tokio::sync::OwnedMutexGuard;

use super::{
    admin::{Admin, View},
    groups::STRUCK,
    network::{CLIENTS, Host, Rule},
    site::{Member, Site},
};

/// Where faults strike: the site, a view of its topic, and a diary of what was done.
pub struct Arena {
    pub site: Arc<Site>,
    pub admin: Admin,
    pub topic: String,
    controllers: rpc::ControllerClient,
    begun: Instant,
    diary: Mutex<File>,
    /// What is broken now, for who watches.
    current: Mutex<Vec<String>>,
    problems: Mutex<Vec<String>>,
}

/// A process that nobody else does something to.
pub struct Victim {
    pub member: Arc<Member>,
    _busy: OwnedMutexGuard<()>,
}

/// How long a process may take to end or to become ready.
pub const PROCESS_MAX: Duration = Duration::from_secs(60);

impl Arena {
    /// # Errors
    /// The diary cannot be written.
    pub fn new(site: Arc<Site>, admin: Admin, topic: &str, diary: &Path) -> anyhow::Result<Self> {
        let controllers = rpc::ControllerClient::new(site.seeds());
        Ok(Self {
            site,
            admin,
            topic: topic.to_owned(),
            controllers,
            begun: Instant::now(),
            diary: Mutex::new(File::create(diary)?),
            current: Mutex::default(),
            problems: Mutex::default(),
        })
    }

    /// Writes down what is done, with the time of the day in UTC, as the logs have it.
    pub fn tell(&self, what: &str) {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let day_s = since.as_secs() % 86_400;
        let (at, ms) = (self.begun.elapsed().as_secs_f64(), since.subsec_millis());
        let clock = format!("{:02}:{:02}:{:02}.{ms:03}", day_s / 3600, day_s / 60 % 60, day_s % 60);
        let _ = writeln!(self.diary.lock().unwrap(), "{clock} {at:8.3} s  {what}");
    }

    /// Marks something as broken for as long as the future takes.
    pub async fn during<T>(&self, what: String, work: impl Future<Output = T>) -> T {
        self.tell(&what);
        self.current.lock().unwrap().push(what.clone());
        let done = work.await;
        let mut current = self.current.lock().unwrap();
        if let Some(at) = current.iter().position(|c| *c == what) {
            current.remove(at);
        }
        drop(current);
        self.tell(&format!("over: {what}"));
        done
    }

    pub fn current(&self) -> String {
        self.current.lock().unwrap().join("; ")
    }

    pub fn problem(&self, what: impl Into<String>) {
        let what = what.into();
        self.tell(&format!("PROBLEM: {what}"));
        self.problems.lock().unwrap().push(what);
    }

    pub fn problems(&self) -> Vec<String> {
        self.problems.lock().unwrap().clone()
    }

    pub async fn view(&self) -> View {
        self.admin.view(&self.topic).await.unwrap_or_default()
    }

    fn take(member: Arc<Member>) -> Option<Victim> {
        let busy = member.busy.clone().try_lock_owned().ok()?;
        Some(Victim { member, _busy: busy })
    }

    /// Any of these that nobody holds.
    pub fn one_of(&self, mut members: Vec<Arc<Member>>, random: &mut Rng) -> Option<Victim> {
        random.shuffle(&mut members);
        members.into_iter().find_map(Self::take)
    }

    /// The storage node that leads a partition chosen at random.
    pub async fn a_leader(&self, random: &mut Rng) -> Option<Victim> {
        let mut leaders: Vec<i32> = self.view().await.partitions.values().map(|p| p.leader).collect();
        random.shuffle(&mut leaders);
        let members =
            leaders.iter().filter_map(|id| self.site.member_named(&format!("storage-node-{id}")).ok());
        members.into_iter().find_map(Self::take)
    }

    /// The storage node that coordinates one of the run's groups.
    pub async fn a_coordinator(&self) -> Option<Victim> {
        let id = self.admin.coordinator(STRUCK).await?;
        Self::take(self.site.member_named(&format!("storage-node-{id}")).ok()?)
    }

    pub async fn controller_leader(&self) -> Option<Victim> {
        let known = self.controllers.describe_controllers(Duration::from_secs(3)).await.ok()?;
        let leader = known.into_iter().find(|c| c.leader)?;
        Self::take(self.site.member_named(&format!("controller-{}", leader.ordinal)).ok()?)
    }

    pub fn storage_node(&self, random: &mut Rng) -> Option<Victim> {
        self.one_of(self.site.storage_nodes(), random)
    }

    pub fn any(&self, random: &mut Rng) -> Option<Victim> {
        self.one_of(self.site.members().cloned().collect(), random)
    }

    /// Starts a process again and waits until it is ready. That it is not in time is no problem now: another fault may
    /// keep it from it. In the end everything must be.
    pub async fn bring_back(&self, member: &Member) {
        if let Err(error) = member.start() {
            self.problem(error.to_string());
        }
        if let Err(error) = member.ready(Duration::from_secs(30)).await {
            self.tell(&format!("slow: {error}"));
        }
    }

    /// Waits for a leader and a full ISR everywhere; whether it came to that.
    pub async fn whole(&self, within: Duration) -> bool {
        self.admin.whole(&self.topic, within).await.is_ok()
    }

    /// The addresses of all others.
    pub fn others(&self, than: &Member, clients: bool) -> Vec<Ipv4Addr> {
        let members = self.site.members().filter(|m| m.name != than.name).map(|m| m.host.address);
        members.chain(clients.then_some(CLIENTS)).collect()
    }

    /// Applies rules, and takes them away after a while.
    ///
    /// # Errors
    /// A rule cannot be applied or removed.
    pub async fn with_rules(
        &self,
        what: String,
        host: &Host,
        rules: impl IntoIterator<Item = anyhow::Result<Rule>>,
        hold: Duration,
    ) -> anyhow::Result<()> {
        let rules: Vec<Rule> = rules.into_iter().collect::<anyhow::Result<_>>().context("a rule")?;
        self.during(what, tokio::time::sleep(hold)).await;
        rules.iter().try_for_each(|rule| host.remove(rule))
    }
}
