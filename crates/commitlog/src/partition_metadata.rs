//! `partition.metadata`: which topic a partition's folder belongs to, in Kafka's text form.

use std::path::Path;

use domain::TopicId;

use crate::{
    LogError,
    crashsafe::{self, Durability},
    error::At,
};

pub(crate) const FILE_NAME: &str = "partition.metadata";

/// Whole or not there after a crash. Not synced: the first flush of the log does that, and a folder without records can be
/// made again.
pub(crate) fn write(dir: &Path, topic_id: TopicId) -> Result<(), LogError> {
    let path = dir.join(FILE_NAME);
    let text = format!("version: 0\ntopic_id: {topic_id}");
    crashsafe::replace(&path, text.as_bytes(), Durability::Crash).at(&path)
}

/// Whether there is anything in it: after a power cut there may be the file alone.
pub(crate) fn is_there(dir: &Path) -> bool {
    dir.join(FILE_NAME).metadata().is_ok_and(|file| file.len() > 0)
}

/// The topic that a partition's folder belongs to; for one whose log cannot be opened.
pub fn topic_id_of(dir: &Path) -> Result<TopicId, LogError> {
    read(dir)
}

pub(crate) fn read(dir: &Path) -> Result<TopicId, LogError> {
    let path = dir.join(FILE_NAME);
    let refuse = |reason: String| LogError::Metadata { path: path.clone(), reason };
    let content =
        crashsafe::read_if_there(&path).at(&path)?.ok_or_else(|| refuse("is missing".to_owned()))?;
    let text = String::from_utf8_lossy(&content);
    let value = |key: &str| {
        let mut lines = text.lines();
        lines
            .find_map(|line| line.split_once(':').filter(|(name, _)| name.trim() == key))
            .map(|(_, v)| v.trim())
    };
    match value("version") {
        Some("0") => {}
        Some(other) => return Err(refuse(format!("version '{other}' is not known, only 0 is"))),
        None => return Err(refuse("has no version".to_owned())),
    }
    value("topic_id")
        .ok_or_else(|| refuse("has no topic_id".to_owned()))?
        .parse()
        .map_err(|e| refuse(format!("{e}")))
}
