//! Files that are either the old one or the new one after a crash, never something between.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::Path,
};

/// Whether a replaced file must survive a power cut by itself, or only a crash of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    PowerCut,
    Crash,
}

/// Puts `content` in the place of the file at `path`: a temporary file, then a rename.
pub(crate) fn replace(path: &Path, content: &[u8], durability: Durability) -> io::Result<()> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = Path::new(&temporary);
    let mut file = File::create(temporary)?;
    file.write_all(content)?;
    if durability == Durability::PowerCut {
        file.sync_all()?;
    }
    fs::rename(temporary, path)?;
    match durability {
        Durability::PowerCut => sync_parent(path),
        Durability::Crash => Ok(()),
    }
}

/// Removes a file for good. One that is not there is fine, and still synced: it may be gone only in memory.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    remove_if_there(path)?;
    sync_parent(path)
}

pub(crate) fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

pub(crate) fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Makes creations, renames and removals in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

fn sync_parent(path: &Path) -> io::Result<()> {
    sync_dir(path.parent().unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_whole_and_leaves_no_temporary_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoint");
        for durability in [Durability::Crash, Durability::PowerCut] {
            replace(&path, b"old and longer", Durability::Crash).unwrap();
            replace(&path, b"new", durability).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new");
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        }
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert_eq!(read_if_there(&path).unwrap(), None);
    }
}
