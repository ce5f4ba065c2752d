use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::Context;

/// What is produced.
pub(super) struct Input {
    pub(super) reader: Box<dyn Read + Send>,
    /// In bytes, where it is known: a regular file has one.
    pub(super) size: Option<u64>,
}

pub(super) fn open(path: &Path) -> anyhow::Result<Input> {
    if path == Path::new("-") {
        return Ok(Input { reader: Box::new(io::stdin()), size: None });
    }
    let cannot = || format!("cannot read {}", path.display());
    let file = File::open(path).with_context(cannot)?;
    let metadata = file.metadata().with_context(cannot)?;
    anyhow::ensure!(!metadata.is_dir(), "{} is a folder", path.display());
    Ok(Input { reader: Box::new(file), size: Some(metadata.len()).filter(|_| metadata.is_file()) })
}
