use std::fmt;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::{Column, Feature, Path, groups, records, setup::Setup, topics};
use crate::Cluster;

/// One feature with one client on one path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    pub feature: Feature,
    pub column: Column,
    pub path: Path,
}

/// What a cell came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    /// The driver says that the client has no such thing.
    Absent(String),
    Failed(String),
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.feature.name(), self.column.name(), self.path.name())
    }
}

impl Cell {
    pub fn all() -> impl Iterator<Item = Cell> {
        let columns = |feature| Column::ALL.into_iter().map(move |column| (feature, column));
        let pairs = Feature::ALL.into_iter().flat_map(columns);
        pairs.flat_map(|(feature, column)| {
            Path::ALL.iter().map(move |path| Cell { feature, column, path: *path })
        })
    }

    pub(super) async fn run(self, cluster: &Cluster) -> Verdict {
        match self.try_run(cluster).await {
            Ok(verdict) => verdict,
            Err(error) => Verdict::Failed(format!("{error:#}")),
        }
    }

    async fn try_run(self, cluster: &Cluster) -> anyhow::Result<Verdict> {
        let setup = Setup::new(cluster, self);
        let mut arguments = self.prepare(&setup).await.context("before the client")?;
        arguments["topic"] = json!(setup.topic());
        arguments["group"] = json!(setup.topic());
        arguments["protocol"] = json!(self.column.protocol());
        let told = self.column.drive(self.feature.name(), &self.path.bootstrap(cluster), &arguments).await?;
        if let Some(reason) = told["absent"].as_str() {
            return Ok(Verdict::Absent(reason.to_owned()));
        }
        let told = told.get("ok").with_context(|| format!("the driver told {told}"))?;
        self.judge(&setup, &arguments, told).await.with_context(|| format!("the client told {told}"))?;
        Ok(Verdict::Pass)
    }

    /// Makes what there must be before, and says what the driver is to be told.
    async fn prepare(self, setup: &Setup<'_>) -> anyhow::Result<Value> {
        use Feature::*;
        match self.feature {
            ProduceNone | ProduceGzip | ProduceSnappy | ProduceLz4 | ProduceZstd | Idempotent | Headers
            | Keys | Timestamps => records::prepare_produce(setup).await,
            Assign => records::prepare_assign(setup).await,
            SeekTime => records::prepare_seek(setup).await,
            Group | Rebalance | Cooperative => groups::prepare_shared(setup).await,
            Commit => groups::prepare_commit(setup).await,
            ListGroups | DescribeGroups | DeleteGroups => groups::prepare_described(setup).await,
            ListOffsets | AlterOffsets | DeleteOffsets => groups::prepare_offsets(setup).await,
            CreateTopic | DescribeTopics | Configs | CreatePartitions | DeleteRecords | DeleteTopic => {
                topics::prepare(setup).await
            }
        }
    }

    /// Whether what the client told, and what it did, is right.
    async fn judge(self, setup: &Setup<'_>, arguments: &Value, told: &Value) -> anyhow::Result<()> {
        use Feature::*;
        match self.feature {
            ProduceNone | ProduceGzip | ProduceSnappy | ProduceLz4 | ProduceZstd | Idempotent | Headers
            | Keys | Timestamps => records::judge_produce(setup, arguments, told).await,
            Assign => records::judge_assign(told),
            SeekTime => records::judge_seek(told),
            Group => groups::judge_shared(told),
            Rebalance => groups::judge_rebalance(told),
            Cooperative => {
                groups::judge_rebalance(told)?;
                groups::judge_kept(told)
            }
            Commit => groups::judge_commit(told),
            ListGroups | DescribeGroups | DeleteGroups => groups::judge_described(self.feature, told),
            ListOffsets | AlterOffsets | DeleteOffsets => groups::judge_offsets(self.feature, told),
            CreateTopic | DescribeTopics | Configs | CreatePartitions | DeleteRecords | DeleteTopic => {
                topics::judge(setup, told).await
            }
        }
    }
}

/// Compares, and names what differs.
pub(super) fn same<T: PartialEq + fmt::Debug>(what: &str, found: T, expected: T) -> anyhow::Result<()> {
    if found != expected {
        bail!("{what}: found {found:?}, expected {expected:?}");
    }
    Ok(())
}
