use std::{
    fs::File,
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
};

use super::sandbox::run;

/// A file system of its own, small enough to fill: ext4 on a loop device, or tmpfs where there is none.
pub struct Disk {
    mount: PathBuf,
    image: PathBuf,
}

impl Disk {
    /// Mounts one of so many MiB under the folder.
    ///
    /// # Errors
    /// Neither kind can be mounted.
    pub fn new(folder: &Path, name: &str, mib: u64) -> anyhow::Result<Self> {
        let (mount, image) = (folder.join(format!("{name}.disk")), folder.join(format!("{name}.img")));
        std::fs::create_dir_all(&mount)?;
        let disk = Self { mount, image };
        if let Err(error) = disk.mount_ext4(mib) {
            eprintln!("no ext4 on a loop device ({error}), taking tmpfs");
            let _ = std::fs::remove_file(&disk.image);
            run("mount", &["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs", &disk.mounted()])?;
        }
        std::fs::create_dir_all(disk.data())?;
        Ok(disk)
    }

    fn mount_ext4(&self, mib: u64) -> anyhow::Result<()> {
        File::create(&self.image)?.set_len(mib << 20)?;
        let image = self.image.display().to_string();
        run("mkfs.ext4", &["-q", "-F", "-m", "0", &image])?;
        run("mount", &["-o", "loop", &image, &self.mounted()])
    }

    fn mounted(&self) -> String {
        self.mount.display().to_string()
    }

    /// The data folder on it.
    pub fn data(&self) -> PathBuf {
        self.mount.join("data")
    }

    /// Writes until nothing fits any more; how many bytes that took.
    ///
    /// # Errors
    /// Anything but a full disk.
    pub fn fill(&self) -> anyhow::Result<u64> {
        let mut file = File::options().create(true).append(true).open(self.ballast())?;
        // Small pieces at the end, or there is room left for a few records.
        for piece in [1 << 20, 4 << 10, 1] {
            loop {
                match file.write(&vec![0xab; piece]) {
                    Ok(_) => {}
                    Err(e) if e.kind() == ErrorKind::StorageFull => break,
                    Err(e) => return Err(e.into()),
                }
            }
        }
        // With delayed allocation the blocks are promised only; now they are taken.
        let _ = file.sync_all();
        Ok(file.metadata()?.len())
    }

    /// Frees what [`Disk::fill`] took.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn free(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.mount.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run("umount", &["-l", &self.mounted()]);
        let _ = std::fs::remove_file(&self.image);
    }
}
