use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Parser;

use super::fault::Fault;

/// Breaks a cluster of real processes while clients write and read, and checks that every promise was kept.
///
/// Each process has a network namespace of its own, and all of it disappears when this ends. Producers (librdkafka and
/// REST, acks=all, idempotent) write unique values to a topic with three replicas of which two must be in sync; readers
/// (librdkafka and REST) read along. At the end nothing that was acknowledged may be lost, doubled, out of order or unseen.
///
/// With --bootstrap and --rest it writes to and checks a cluster of yours instead, and breaks nothing by itself.
#[derive(Clone, Debug, Parser)]
#[command(name = "faults")]
pub struct Options {
    /// Name the faults and the pairs, and end.
    #[arg(long)]
    pub list: bool,
    /// These faults, all at once, in one run.
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    pub fault: Vec<String>,
    /// A run for each pair of faults that is likely to hurt.
    #[arg(long)]
    pub pairs: bool,
    /// A run for each fault alone.
    #[arg(long)]
    pub all: bool,
    /// How long faults strike, in seconds.
    #[arg(long, default_value_t = 120)]
    pub seconds: u64,
    /// Storage nodes.
    #[arg(long, default_value_t = 3)]
    pub nodes: u8,
    /// Where results.jsonl is; runs that this very code has had already are left out.
    #[arg(long, value_name = "DIR")]
    pub resume: Option<PathBuf>,
    /// Where results.jsonl and what is left of failed runs goes.
    #[arg(long, value_name = "DIR", default_value = "target/faults")]
    pub out: PathBuf,
    /// What the faults, their targets and the values follow from; random unless given. Timing is the machine's own.
    #[arg(long)]
    pub seed: Option<u64>,
    /// `host:port` of a cluster that runs already.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',', requires = "rest")]
    pub bootstrap: Vec<String>,
    /// The URLs of that cluster's gateways.
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub rest: Vec<String>,
    /// Breaks that cluster: run through `sh -c` every ten seconds, as `CMD begin`, and five seconds later as `CMD end`.
    #[arg(long, value_name = "CMD", requires = "bootstrap")]
    pub fault_command: Option<String>,

    /// Partitions of the topic.
    #[arg(long, default_value_t = 12)]
    pub partitions: i32,
    #[arg(long, default_value_t = 3)]
    pub replication_factor: i16,
    #[arg(long, default_value_t = 2)]
    pub min_insync: i16,
    /// Records a second, of all producers together.
    #[arg(long, default_value_t = 150.0)]
    pub rate: f64,
    /// Bytes of the largest record.
    #[arg(long, default_value_t = 10_000)]
    pub record_bytes_max: usize,
    /// `storage.…`, `controller.…`, `gateway.…` or `log.…` settings of the processes, as KEY=VALUE.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Contexts of librdkafka (`eos,broker,msg`) whose debug log goes to librdkafka.log.
    #[arg(long, value_name = "CONTEXTS")]
    pub client_debug: Option<String>,
    /// Keep logs, data and history of runs that passed, too.
    #[arg(long)]
    pub keep: bool,

    /// Instead: so many kills of a node that leads, with 100 partitions under load, then of the controllers' leader, and
    /// how long clients could not write.
    #[arg(long, value_name = "KILLS")]
    pub failover: Option<usize>,
    /// Instead: a node with so many partitions is killed and started again.
    #[arg(long, value_name = "PARTITIONS")]
    pub many_partitions: Option<i32>,
    /// Instead: what a gigabyte costs at three replicas.
    #[arg(long)]
    pub replication_cost: bool,
    /// Gigabytes that --replication-cost writes in each run.
    #[arg(long, default_value_t = 1.0)]
    pub gigabytes: f64,
}

impl Options {
    /// Whether processes are started and broken here.
    pub fn needs_sandbox(&self) -> bool {
        self.bootstrap.is_empty()
    }

    /// The runs that are wanted: the faults of each.
    ///
    /// # Errors
    /// An unknown name, or nothing wanted.
    pub fn runs(&self) -> anyhow::Result<Vec<Vec<Fault>>> {
        let mut runs = Vec::new();
        if !self.fault.is_empty() {
            runs.push(self.fault.iter().map(|name| Fault::parse(name)).collect::<anyhow::Result<_>>()?);
        }
        if self.all {
            runs.extend(Fault::ALL.map(|f| vec![f]));
        }
        if self.pairs {
            runs.extend(Fault::PAIRS.map(|pair| pair.to_vec()));
        }
        ensure!(!runs.is_empty(), "say what to do: --fault NAME, --all, --pairs, or --help for more");
        for faults in &runs {
            let destroying = faults.iter().filter(|f| f.destroys()).count();
            ensure!(
                destroying < 2,
                "two faults that damage disks at once may destroy every copy of a record"
            );
        }
        Ok(runs)
    }

    /// # Errors
    /// One is not KEY=VALUE.
    pub fn settings(&self) -> anyhow::Result<Vec<(String, String)>> {
        let pair = |text: &String| {
            let (key, value) = text.split_once('=').with_context(|| format!("'{text}' is not KEY=VALUE"))?;
            Ok((key.to_owned(), value.to_owned()))
        };
        self.settings.iter().map(pair).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[&str]) -> Options {
        Options::try_parse_from([&["faults"], args].concat()).unwrap()
    }

    #[test]
    fn the_wanted_runs_are_all_that_was_named() {
        let runs = options(&["--fault", "kill9-any,slow-link"]).runs().unwrap();
        assert_eq!(runs, [[Fault::Kill9Any, Fault::SlowLink]]);
        assert_eq!(
            options(&["--all", "--pairs"]).runs().unwrap().len(),
            Fault::ALL.len() + Fault::PAIRS.len()
        );
        assert!(options(&[]).runs().is_err());
        assert!(options(&["--fault", "torn-tail,wiped-folder"]).runs().is_err());
    }
}
