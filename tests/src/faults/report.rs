use std::{
    collections::BTreeMap,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use serde::{Deserialize, Serialize};

use super::checker::{Anomaly, Kind};

/// What a run was and what came of it: one line of the results file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RunResult {
    pub commit: String,
    /// The tree had changes that are not in the commit.
    pub dirty: bool,
    /// A checksum of the three services' binaries: with a dirty tree it says which code ran.
    pub build: String,
    pub faults: String,
    pub seconds: u64,
    pub nodes: usize,
    pub seed: u64,
    /// How often a fault struck.
    pub strikes: usize,
    pub acked: usize,
    pub unknown: usize,
    pub failed: usize,
    /// By [`Kind::name`].
    pub anomalies: BTreeMap<String, usize>,
    pub panics: usize,
    pub unexpected_exits: usize,
    /// From the end of the faults to a leader and a full ISR everywhere, in seconds; none: not in time.
    pub healed_s: Option<f64>,
    /// Anything else that must not be.
    pub problems: Vec<String>,
    pub verdict: String,
    /// Where the logs and the history are, if they were kept.
    pub kept: Option<PathBuf>,
}

impl RunResult {
    pub fn passed(&self) -> bool {
        self.verdict == "pass"
    }

    /// Takes in the anomalies, and says whether the run passed.
    pub fn judge(&mut self, anomalies: &[Anomaly]) {
        self.anomalies = Kind::ALL
            .into_iter()
            .map(|kind| (kind.name().to_owned(), anomalies.iter().filter(|a| a.kind == kind).count()))
            .collect();
        let clean = anomalies.is_empty()
            && self.panics == 0
            && self.unexpected_exits == 0
            && self.problems.is_empty()
            && self.healed_s.is_some()
            && self.acked > 0;
        self.verdict = if clean { "pass" } else { "fail" }.to_owned();
    }

    fn same_run(&self, other: &Self) -> bool {
        (&self.commit, &self.build, &self.faults, self.seconds, self.nodes)
            == (&other.commit, &other.build, &other.faults, other.seconds, other.nodes)
    }
}

/// The results of all runs of a folder, and the code that they were made with.
pub struct Results {
    path: PathBuf,
    pub all: Vec<RunResult>,
}

impl Results {
    /// Reads what is there already; a line that is none of ours is an error.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join("results.jsonl");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let all = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(Self { path, all })
    }

    /// Whether this very code has had this run already.
    pub fn has(&self, run: &RunResult) -> bool {
        self.all.iter().any(|done| done.same_run(run))
    }

    pub fn append(&mut self, run: RunResult) -> anyhow::Result<()> {
        let mut file = std::fs::File::options().create(true).append(true).open(&self.path)?;
        writeln!(file, "{}", serde_json::to_string(&run)?)?;
        self.all.push(run);
        Ok(())
    }
}

/// The commit of the checkout that this runs in, and whether it has other changes.
pub fn commit() -> (String, bool) {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok().filter(|o| o.status.success());
        output.map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=10", "HEAD"]).unwrap_or_else(|| "unknown".to_owned());
    let dirty = git(&["status", "--porcelain", "--untracked-files=no"]).is_none_or(|text| !text.is_empty());
    (commit, dirty)
}

/// A checksum (FNV-1a) of the services' binaries.
pub fn build() -> String {
    let mut sum: u64 = 0xcbf2_9ce4_8422_2325;
    for name in ["controller", "storage-node", "gateway"] {
        for byte in std::fs::read(crate::binary(name)).unwrap_or_default() {
            sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    format!("{sum:016x}")
}

/// One row a run.
pub fn table(runs: &[RunResult]) -> String {
    let mut text = String::from(
        "| faults | seed | strikes | acked | unknown | failed | lost | dup. | reord. | unseen | phantom | vanished \
         | hw/position back | skipped | committed back | replicas | panics | exits | healed s | verdict |\n",
    );
    text.push_str(&"| --- ".repeat(20));
    text.push_str("|\n");
    for run in runs {
        let of = |kind: Kind| run.anomalies.get(kind.name()).copied().unwrap_or_default();
        let cells = [
            run.faults.clone(),
            run.seed.to_string(),
            run.strikes.to_string(),
            run.acked.to_string(),
            run.unknown.to_string(),
            run.failed.to_string(),
            of(Kind::Lost).to_string(),
            of(Kind::Duplicated).to_string(),
            of(Kind::Reordered).to_string(),
            of(Kind::Unseen).to_string(),
            of(Kind::Phantom).to_string(),
            of(Kind::Vanished).to_string(),
            format!("{}/{}", of(Kind::HighWatermarkRegression), of(Kind::PositionRegression)),
            of(Kind::Skipped).to_string(),
            of(Kind::CommittedRegression).to_string(),
            of(Kind::ReplicaMismatch).to_string(),
            run.panics.to_string(),
            run.unexpected_exits.to_string(),
            run.healed_s.map_or("never".to_owned(), |s| format!("{s:.1}")),
            run.verdict.clone(),
        ];
        text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(faults: &str) -> RunResult {
        RunResult {
            commit: "c".into(),
            dirty: false,
            build: "b".into(),
            faults: faults.into(),
            seconds: 1,
            nodes: 3,
            seed: 1,
            strikes: 2,
            acked: 5,
            unknown: 0,
            failed: 0,
            anomalies: BTreeMap::new(),
            panics: 0,
            unexpected_exits: 0,
            healed_s: Some(1.0),
            problems: Vec::new(),
            verdict: String::new(),
            kept: None,
        }
    }

    #[test]
    fn a_run_passes_only_without_any_anomaly() {
        let mut result = run("kill9-any");
        result.judge(&[]);
        assert!(result.passed());
        result.judge(&[Anomaly::new(Kind::Lost, "")]);
        assert_eq!((result.passed(), result.anomalies["lost"]), (false, 1));
        let mut panicked = RunResult { panics: 1, ..run("kill9-any") };
        panicked.judge(&[]);
        assert!(!panicked.passed());
        let mut sick = RunResult { healed_s: None, ..run("kill9-any") };
        sick.judge(&[]);
        assert!(!sick.passed());
        let mut idle = RunResult { acked: 0, ..run("kill9-any") };
        idle.judge(&[]);
        assert!(!idle.passed(), "a run that wrote nothing has shown nothing");
    }

    #[test]
    fn results_are_found_again_by_code_and_fault() {
        let folder = tempfile::tempdir().unwrap();
        Results::open(folder.path()).unwrap().append(run("kill9-any")).unwrap();
        let results = Results::open(folder.path()).unwrap();
        assert!(results.has(&run("kill9-any")));
        assert!(!results.has(&run("pause-any")));
        assert!(!results.has(&RunResult { build: "other".into(), ..run("kill9-any") }));
        assert!(table(&results.all).contains("| kill9-any | 1 | 2 | 5 |"));
    }
}
