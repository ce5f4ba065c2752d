//! The matrix of Kafka clients: each feature with each client, straight to the storage nodes and through the gateways.

mod cell;
mod column;
mod feature;
mod groups;
mod records;
mod setup;
mod table;
mod topics;

use std::{collections::BTreeMap, sync::Arc};

use tokio::{sync::Semaphore, task::JoinSet};

pub use cell::{Cell, Verdict};
pub use column::Column;
pub use feature::Feature;
pub use table::{Matrix, between_markers};

use crate::{Cluster, ClusterSpec};

/// Three storage nodes; two gateways, because neither may matter.
pub const SPEC: ClusterSpec = ClusterSpec { controllers: 1, storage_nodes: 3, gateways: 2 };

/// Cells under way at once: most of them wait most of the time.
const AT_ONCE: usize = 6;

/// How a client reaches the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path {
    Direct,
    Gateway,
}

impl Path {
    pub const ALL: &[Path] = &[Path::Direct, Path::Gateway];

    pub fn name(self) -> &'static str {
        match self {
            Path::Direct => "direct",
            Path::Gateway => "gateway",
        }
    }

    /// What a client is told to begin with.
    fn bootstrap(self, cluster: &Cluster) -> String {
        let addresses: Vec<String> = match self {
            Path::Direct => (0..SPEC.storage_nodes).map(|n| cluster.kafka_address(n)).collect(),
            Path::Gateway => (0..SPEC.gateways).map(|n| cluster.gateway_kafka_address(n)).collect(),
        };
        addresses.join(",")
    }
}

/// Runs the cells for which `wanted` holds.
pub async fn run(cluster: Arc<Cluster>, wanted: impl Fn(&Cell) -> bool) -> Matrix {
    let mut versions = BTreeMap::new();
    for column in Column::ALL {
        versions.insert(column, column.version().await.unwrap_or_else(|e| format!("{e:#}")));
    }
    // The longest first, or the last of them would run alone.
    let mut cells: Vec<Cell> = Cell::all().filter(wanted).collect();
    cells.sort_by_key(|cell| std::cmp::Reverse(cell.feature.seconds()));
    let permits = Arc::new(Semaphore::new(AT_ONCE));
    let mut running = JoinSet::new();
    for cell in cells {
        let (cluster, permits) = (cluster.clone(), permits.clone());
        running.spawn(async move {
            let _permit = permits.acquire_owned().await.expect("never closed");
            (cell, cell.run(&cluster).await)
        });
    }
    let mut verdicts = BTreeMap::new();
    while let Some(ended) = running.join_next().await {
        let (cell, verdict) = ended.expect("a cell does not panic");
        if let Verdict::Failed(reason) = &verdict {
            eprintln!("--- {cell} ---\n{reason}");
        }
        verdicts.insert(cell, verdict);
    }
    Matrix { versions, verdicts }
}
