use std::{net::Ipv4Addr, time::Duration};

use serde_json::Value;

use super::sandbox::{printed_by, run};
use crate::wait_until;

/// A bridge with a network namespace for each process. The clients are on the bridge itself.
pub struct Network {
    prefix: String,
}

/// One end of the bridge: a namespace with an address, and what was done to it.
pub struct Host {
    pub address: Ipv4Addr,
    namespace: String,
    link: String,
}

/// A rule of a host's packet filter; [`Host::remove`] takes it away again.
#[derive(Clone, Debug)]
pub struct Rule(Vec<String>);

/// Where the clients are.
pub const CLIENTS: Ipv4Addr = Ipv4Addr::new(10, 111, 0, 1);

/// An interface that was slowed down holds what it is to send for 400 ms at most, but others go on sending.
const QUEUES_EMPTY_WITHIN: Duration = Duration::from_secs(30);

impl Network {
    /// # Errors
    /// The bridge cannot be made.
    pub fn new() -> anyhow::Result<Self> {
        // Unique, even though the namespace around it is private already.
        let prefix = format!("ab{:x}", fastrand::u16(..));
        let bridge = format!("{prefix}br");
        run("ip", &["link", "add", &bridge, "type", "bridge"])?;
        run("ip", &["addr", "add", &format!("{CLIENTS}/24"), "dev", &bridge])?;
        run("ip", &["link", "set", &bridge, "up"])?;
        Ok(Self { prefix })
    }

    /// A new namespace, with the last byte of its address.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn host(&self, number: u8) -> anyhow::Result<Host> {
        let (namespace, link) = (format!("{}n{number}", self.prefix), format!("{}v{number}", self.prefix));
        let address = Ipv4Addr::new(10, 111, 0, number);
        run("ip", &["netns", "add", &namespace])?;
        run("ip", &["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &namespace])?;
        run("ip", &["link", "set", &link, "master", &format!("{}br", self.prefix), "up"])?;
        for args in [
            &["addr", "add", &format!("{address}/24"), "dev", "eth0"][..],
            &["link", "set", "lo", "up"],
            &["link", "set", "eth0", "up"],
        ] {
            run("ip", &[&["-n", &namespace], args].concat())?;
        }
        Ok(Host { address, namespace, link })
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = run("ip", &["link", "del", &format!("{}br", self.prefix)]);
    }
}

impl Host {
    /// The command line that runs a program in here, without the program; the program keeps the process id.
    pub fn enter(&self) -> [String; 2] {
        ["nsenter".to_owned(), format!("--net=/run/netns/{}", self.namespace)]
    }

    fn filter(&self, action: &str, rule: &Rule) -> anyhow::Result<()> {
        let mut args = vec!["netns", "exec", &self.namespace, "iptables", "-w", action];
        args.extend(rule.0.iter().map(String::as_str));
        run("ip", &args)
    }

    fn apply(&self, rule: &[&str]) -> anyhow::Result<Rule> {
        let rule = Rule(rule.iter().map(|&s| s.to_owned()).collect());
        self.filter("-A", &rule)?;
        Ok(rule)
    }

    /// Drops what comes from there.
    ///
    /// # Errors
    /// iptables says no.
    pub fn deafen(&self, from: Ipv4Addr) -> anyhow::Result<Rule> {
        self.apply(&["INPUT", "-s", &from.to_string(), "-j", "DROP"])
    }

    /// Drops what goes there.
    ///
    /// # Errors
    /// iptables says no.
    pub fn mute(&self, to: Ipv4Addr) -> anyhow::Result<Rule> {
        self.apply(&["OUTPUT", "-d", &to.to_string(), "-j", "DROP"])
    }

    /// Loses a part of what comes and goes, at random.
    ///
    /// # Errors
    /// iptables says no.
    pub fn lose(&self, part: f64) -> anyhow::Result<Vec<Rule>> {
        let part = format!("{part:.3}");
        let random = ["-m", "statistic", "--mode", "random", "--probability", &part, "-j", "DROP"];
        let mut rules = Vec::new();
        for (chain, flag) in [("INPUT", "-i"), ("OUTPUT", "-o")] {
            rules.push(self.apply(&[&[chain, flag, "eth0"], &random[..]].concat())?);
        }
        Ok(rules)
    }

    /// Ends what connections a process had that was killed: the kernel goes on sending what it had given to them, and that is
    /// pages of its files as they are by then.
    ///
    /// # Errors
    /// ss says no.
    pub async fn end_connections(&self) -> anyhow::Result<()> {
        run("ip", &["netns", "exec", &self.namespace, "ss", "--kill", "--tcp", "--numeric"])?;
        // What interfaces hold is sent still: its own, and those on the way to who is slow, too.
        wait_until("no interface holds anything of a dead node", QUEUES_EMPTY_WITHIN, || async {
            holds_nothing(&["-n", &self.namespace]) && holds_nothing(&[])
        })
        .await;
        Ok(())
    }

    /// # Errors
    /// iptables says no.
    pub fn remove(&self, rule: &Rule) -> anyhow::Result<()> {
        self.filter("-D", rule)
    }

    /// Lets only so many kilobits a second through, each way.
    ///
    /// # Errors
    /// tc says no.
    pub fn slow_down(&self, kbit: u32) -> anyhow::Result<()> {
        let rate = format!("{kbit}kbit");
        let shape = ["root", "tbf", "rate", &rate, "burst", "16kb", "latency", "400ms"];
        run("tc", &[&["-n", &self.namespace, "qdisc", "add", "dev", "eth0"], &shape[..]].concat())?;
        run("tc", &[&["qdisc", "add", "dev", &self.link], &shape[..]].concat())
    }

    /// # Errors
    /// tc says no.
    pub fn speed_up(&self) -> anyhow::Result<()> {
        run("tc", &["-n", &self.namespace, "qdisc", "del", "dev", "eth0", "root"])?;
        run("tc", &["qdisc", "del", "dev", &self.link, "root"])
    }
}

/// Whether nothing waits to be sent on any interface of a namespace; `at` are the arguments that name it.
fn holds_nothing(at: &[&str]) -> bool {
    let queues = printed_by("tc", &[at, &["-s", "-j", "qdisc", "show"]].concat());
    let queues = queues.and_then(|printed| Ok(serde_json::from_slice::<Vec<Value>>(&printed)?));
    queues.is_ok_and(|queues| queues.iter().all(|queue| queue["backlog"] == 0))
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = run("ip", &["netns", "del", &self.namespace]);
    }
}
