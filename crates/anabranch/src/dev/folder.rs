use std::{
    io,
    path::{Path, PathBuf},
};

const NODE_PREFIX: &str = "storage-node-";

/// The folder does not fit what is asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum FolderError {
    #[error("data folder {}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error(
        "data folder {} holds {held} storage nodes: --nodes {asked} would leave the partitions of {NODE_PREFIX}{asked} \
         without a leader; use --nodes {held} or more, or another --data-dir",
        path.display()
    )]
    TooFew { path: PathBuf, held: u16, asked: u16 },
}

pub(super) fn controller(dir: &Path) -> PathBuf {
    dir.join("controller-0")
}

pub(super) fn node(dir: &Path, node: u16) -> PathBuf {
    dir.join(format!("{NODE_PREFIX}{node}"))
}

/// How many storage nodes to run on a folder: as many as are asked for, else as it held before, else one.
///
/// # Errors
/// It held more than are asked for, so partitions of the others would wait for a leader for ever.
pub(super) fn nodes_of(dir: &Path, asked: Option<u16>) -> Result<u16, FolderError> {
    let failed = |source| FolderError::Io { path: dir.to_owned(), source };
    let mut held = 0;
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        entries => Some(entries.map_err(failed)?),
    };
    for entry in entries.into_iter().flatten() {
        let name = entry.map_err(failed)?.file_name();
        let number = name.to_str().and_then(|n| n.strip_prefix(NODE_PREFIX));
        if let Some(number) = number.and_then(|n| n.parse::<u16>().ok()) {
            held = held.max(number.saturating_add(1));
        }
    }
    match asked {
        Some(asked) if asked < held => Err(FolderError::TooFew { path: dir.to_owned(), held, asked }),
        Some(asked) => Ok(asked),
        None => Ok(held.max(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_keeps_as_many_nodes_as_it_had() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("missing");
        assert_eq!(nodes_of(&missing, None).unwrap(), 1);
        assert!(!missing.exists(), "looking makes nothing");
        assert_eq!(nodes_of(dir.path(), None).unwrap(), 1);
        for i in 0..3 {
            std::fs::create_dir(node(dir.path(), i)).unwrap();
        }
        std::fs::create_dir(dir.path().join("storage-node-x")).unwrap();
        std::fs::create_dir(controller(dir.path())).unwrap();
        assert_eq!(nodes_of(dir.path(), None).unwrap(), 3);
        assert_eq!(nodes_of(dir.path(), Some(5)).unwrap(), 5);
        let error = nodes_of(dir.path(), Some(2)).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "holds 3 storage nodes: --nodes 2 would leave the partitions of storage-node-2 without a leader; use \
                 --nodes 3 or more, or another --data-dir"
            ),
            "{error}"
        );
    }

    #[test]
    fn a_folder_that_is_a_file_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = nodes_of(file.path(), None).unwrap_err().to_string();
        assert!(error.starts_with(&format!("data folder {}", file.path().display())));
    }
}
