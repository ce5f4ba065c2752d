//! What a node can prove about its disk when it comes back: KIP-966's clean shutdown, or a kernel that never stopped.

use std::{fs, path::Path};

use domain::{DirectoryId, NodeEpoch};
use serde_json::{Value, json};

use crate::{CleanShutdown, Torn};

pub(crate) const FILE_NAME: &str = "incarnation.json";
const VERSION: i64 = 1;
const BOOT_ID_PATH: &str = "/proc/sys/kernel/random/boot_id";

/// The registration under which a process writes to a data folder, recorded before its first append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incarnation {
    pub directory: DirectoryId,
    /// As the controller handed it out for this process.
    pub node_epoch: NodeEpoch,
    /// The kernel's, of [`boot_id`]; `None`: it could not be read.
    pub boot_id: Option<String>,
}

/// What a node says of its disk when it registers. It keeps its place in ISR and ELR only if the disk is intact and the
/// epoch is the last one that the controller handed out (R10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Of the last incarnation that wrote here; `None`: none is recorded.
    pub previous_epoch: Option<NodeEpoch>,
    /// Nothing that was written is lost, apart from a final batch that nobody was told of.
    pub intact: bool,
    /// Why, for the log.
    pub reason: String,
}

impl Incarnation {
    pub(crate) fn encode(&self) -> String {
        json!({
            "version": VERSION,
            "directory": self.directory.to_string(),
            "node_epoch": self.node_epoch.0,
            "boot_id": self.boot_id,
        })
        .to_string()
    }

    pub(crate) fn decode(content: &[u8]) -> Result<Self, String> {
        let fields: Value = serde_json::from_slice(content).map_err(|error| error.to_string())?;
        match fields.get("version") {
            Some(version) if version.as_i64() == Some(VERSION) => {}
            Some(version) => return Err(format!("version '{version}' is not known, only {VERSION} is")),
            None => return Err("has no version".to_owned()),
        }
        let directory = fields.get("directory").and_then(Value::as_str).ok_or("has no directory")?;
        let node_epoch = fields.get("node_epoch").and_then(Value::as_i64).ok_or("has no node_epoch")?;
        let boot_id = match fields.get("boot_id") {
            Some(Value::String(boot_id)) => Some(boot_id.clone()),
            Some(Value::Null) => None,
            _ => return Err("has no boot_id".to_owned()),
        };
        let directory = directory.parse().map_err(|error| format!("{error}"))?;
        Ok(Self { directory, node_epoch: NodeEpoch(node_epoch), boot_id })
    }
}

/// The kernel's boot id: as long as it stays the same, the page cache has not lost what a killed process wrote. `None` if
/// it cannot be read, which counts as changed.
pub fn boot_id() -> Option<String> {
    boot_id_in(Path::new(BOOT_ID_PATH))
}

fn boot_id_in(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path)
        .inspect_err(|error| tracing::warn!(path = %path.display(), %error, "the boot id cannot be read"))
        .ok()?;
    Some(text.trim().to_owned()).filter(|id| !id.is_empty())
}

/// Whether a data folder is what its last incarnation left. `clean` is what [`crate::DataDir::take_clean_shutdown`]
/// gave, `torn` the worst end of all logs that were opened. A log that could not be opened is not judged here.
pub fn proof(
    last: Option<&Incarnation>,
    clean: Option<&CleanShutdown>,
    boot_id_now: Option<&str>,
    torn: &Torn,
) -> Proof {
    let Some(last) = last else {
        let reason = "no incarnation is recorded".to_owned();
        return Proof { previous_epoch: None, intact: false, reason };
    };
    let epoch = last.node_epoch;
    let is_clean = clean.is_some_and(|clean| clean.node_epoch == epoch);
    let is_same_boot = last.boot_id.is_some() && last.boot_id.as_deref() == boot_id_now;
    let (intact, reason) = match torn {
        Torn::Damaged { reason } => (false, format!("a log was damaged: {reason}")),
        _ if is_clean => (true, format!("node epoch {epoch} shut down cleanly")),
        _ if is_same_boot => (true, format!("the machine has not restarted since node epoch {epoch}")),
        _ if last.boot_id.is_none() || boot_id_now.is_none() => {
            (false, format!("node epoch {epoch} did not shut down cleanly and a boot id is not known"))
        }
        _ => (false, format!("node epoch {epoch} did not shut down cleanly and the machine has restarted")),
    };
    Proof { previous_epoch: Some(epoch), intact, reason }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn incarnation(boot_id: Option<&str>) -> Incarnation {
        Incarnation {
            directory: DirectoryId(Uuid::from_u128(9)),
            node_epoch: NodeEpoch(7),
            boot_id: boot_id.map(str::to_owned),
        }
    }

    #[test]
    fn a_disk_is_intact_after_a_clean_shutdown_or_within_one_boot() {
        let incomplete = || Torn::IncompleteFinalBatch;
        let damaged = || Torn::Damaged { reason: "crc".to_owned() };
        // Recorded boot id, the mark's node epoch, boot id now, how the logs ended, intact, a word of the reason.
        let table = [
            (Some("a"), Some(7), Some("a"), Torn::No, true, "cleanly"),
            (Some("a"), Some(7), Some("b"), Torn::No, true, "cleanly"),
            (Some("a"), Some(7), Some("b"), incomplete(), true, "cleanly"),
            (Some("a"), Some(7), None, Torn::No, true, "cleanly"),
            (None, Some(7), Some("a"), Torn::No, true, "cleanly"),
            (None, Some(7), None, Torn::No, true, "cleanly"),
            (Some("a"), None, Some("a"), Torn::No, true, "not restarted"),
            (Some("a"), None, Some("a"), incomplete(), true, "not restarted"),
            (Some("a"), Some(6), Some("a"), Torn::No, true, "not restarted"),
            (Some("a"), Some(6), Some("b"), Torn::No, false, "has restarted"),
            (Some("a"), Some(8), Some("b"), Torn::No, false, "has restarted"),
            (Some("a"), None, Some("b"), Torn::No, false, "has restarted"),
            (Some("a"), None, None, Torn::No, false, "not known"),
            (None, None, Some("a"), Torn::No, false, "not known"),
            (None, None, None, Torn::No, false, "not known"),
            (None, Some(6), None, Torn::No, false, "not known"),
            (Some("a"), Some(7), Some("a"), damaged(), false, "damaged: crc"),
            (Some("a"), None, Some("a"), damaged(), false, "damaged: crc"),
        ];
        for (recorded, mark, now, torn, intact, word) in table {
            let clean = mark.map(|epoch| CleanShutdown { node_epoch: NodeEpoch(epoch) });
            let proof = proof(Some(&incarnation(recorded)), clean.as_ref(), now, &torn);
            let case = format!("{recorded:?} {mark:?} {now:?} {torn:?}: {proof:?}");
            assert_eq!((proof.previous_epoch, proof.intact), (Some(NodeEpoch(7)), intact), "{case}");
            assert!(proof.reason.contains(word), "{case}");
        }
        let clean = CleanShutdown { node_epoch: NodeEpoch(7) };
        let nothing = proof(None, Some(&clean), Some("a"), &Torn::No);
        assert_eq!((nothing.previous_epoch, nothing.intact), (None, false), "a mark alone proves nothing");
    }

    #[test]
    fn the_worst_end_of_all_logs_is_the_largest() {
        let damaged = Torn::Damaged { reason: String::new() };
        let ends = [Torn::IncompleteFinalBatch, damaged.clone(), Torn::No];
        assert_eq!(ends.into_iter().max(), Some(damaged));
    }

    #[test]
    fn an_incarnation_comes_back_as_it_was_written() {
        for one in [incarnation(Some("a-b")), incarnation(None)] {
            assert_eq!(Incarnation::decode(one.encode().as_bytes()), Ok(one));
        }
        assert_eq!(
            incarnation(Some("a-b")).encode(),
            r#"{"boot_id":"a-b","directory":"AAAAAAAAAAAAAAAAAAAACQ","node_epoch":7,"version":1}"#
        );
    }

    #[test]
    fn what_is_ill_formed_is_named() {
        let error = |text: &str| Incarnation::decode(text.as_bytes()).unwrap_err();
        assert_eq!(error("{}"), "has no version");
        assert_eq!(error(r#"{"version":2}"#), "version '2' is not known, only 1 is");
        assert_eq!(error(r#"{"version":1}"#), "has no directory");
        assert_eq!(error(r#"{"version":1,"directory":"x"}"#), "has no node_epoch");
        assert_eq!(error(r#"{"version":1,"directory":"x","node_epoch":7}"#), "has no boot_id");
        let short = error(r#"{"version":1,"directory":"x","node_epoch":7,"boot_id":null}"#);
        assert_eq!(short, "'x' is not a 22-character base64 id");
        assert!(!error("").is_empty());
    }

    #[test]
    fn an_empty_or_missing_boot_id_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("boot_id");
        assert_eq!(boot_id_in(&path), None);
        fs::write(&path, "\n").unwrap();
        assert_eq!(boot_id_in(&path), None);
        fs::write(&path, "2f-1\n").unwrap();
        assert_eq!(boot_id_in(&path).as_deref(), Some("2f-1"));
    }
}
