//! `meta.properties`: whose data a folder holds, in Kafka's form.

use std::{fmt, path::Path, str::FromStr};

use domain::{ClusterId, DirectoryId, NodeId};

use crate::DataDirError;

pub(crate) const FILE_NAME: &str = "meta.properties";

/// Whose data a folder holds: written once, when it is formatted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaProperties {
    pub cluster_id: ClusterId,
    pub node_id: NodeId,
    pub directory_id: DirectoryId,
}

impl MetaProperties {
    /// Refuses the folder of another cluster or node.
    pub fn check(&self, path: &Path, cluster_id: ClusterId, node_id: NodeId) -> Result<(), DataDirError> {
        if self.cluster_id != cluster_id {
            let (found, expected) = (self.cluster_id, cluster_id);
            return Err(DataDirError::OtherCluster { path: path.to_owned(), found, expected });
        }
        if self.node_id != node_id {
            let (found, expected) = (self.node_id, node_id);
            return Err(DataDirError::OtherNode { path: path.to_owned(), found, expected });
        }
        Ok(())
    }
}

impl fmt::Display for MetaProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "cluster.id={}", self.cluster_id)?;
        writeln!(f, "directory.id={}", self.directory_id)?;
        writeln!(f, "node.id={}", self.node_id)?;
        writeln!(f, "version=1")
    }
}

impl FromStr for MetaProperties {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let value = |key: &str| {
            let mut lines = text.lines().filter(|line| !line.starts_with('#'));
            lines
                .find_map(|line| line.split_once('=').filter(|(name, _)| name.trim() == key))
                // Java escapes what could end a key.
                .map(|(_, value)| value.trim().replace('\\', ""))
                .ok_or_else(|| format!("has no {key}"))
        };
        let named = |key: &str, reason: &dyn fmt::Display| format!("{key}: {reason}");
        let version = value("version")?;
        if version != "1" {
            return Err(format!("version '{version}' is not known, only 1 is"));
        }
        Ok(Self {
            cluster_id: value("cluster.id")?.parse().map_err(|e| named("cluster.id", &e))?,
            node_id: NodeId(value("node.id")?.parse().map_err(|e| named("node.id", &e))?),
            directory_id: value("directory.id")?.parse().map_err(|e| named("directory.id", &e))?,
        })
    }
}
