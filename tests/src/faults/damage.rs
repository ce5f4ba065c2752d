//! What is done to the files of a storage node that is down.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use fastrand::Rng;

use super::replicas::segments;

/// The folders of a topic's partitions, in order.
pub fn partition_folders(data: &Path, topic: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data).into_iter().flatten().flatten();
    let mine = |name: &str| name.strip_prefix(topic).and_then(|r| r.strip_prefix('-')).is_some_and(is_number);
    let mut found: Vec<PathBuf> =
        entries.filter(|e| mine(&e.file_name().to_string_lossy())).map(|e| e.path()).collect();
    found.sort();
    found
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// Where the last batch of a file begins, and its length.
fn last_batch(bytes: &[u8]) -> Option<(usize, usize)> {
    let ranges = records::check_batches(bytes).map_while(Result::ok).map(|(range, _)| range);
    ranges.last().map(|r| (r.start, r.len()))
}

/// Ends some logs as a crash in the middle of a write does. `may_cut`: also within batches that were whole. What was done.
pub fn tear_tails(data: &Path, topic: &str, random: &mut Rng, may_cut: bool) -> io::Result<Vec<String>> {
    let mut done = Vec::new();
    let mut folders = partition_folders(data, topic);
    random.shuffle(&mut folders);
    let count = random.usize(1..=folders.len().max(1));
    for folder in folders.into_iter().take(count) {
        let Some((_, path)) = segments(&folder).pop() else { continue };
        let bytes = std::fs::read(&path)?;
        let file = File::options().write(true).open(&path)?;
        let length = bytes.len() as u64;
        let last = last_batch(&bytes);
        let what = match (random.u8(0..3), last) {
            (0, Some((_, size))) if may_cut => {
                let cut = random.u64(1..size as u64);
                file.set_len(length - cut)?;
                format!("{cut} bytes of the last batch cut")
            }
            // The head of a next batch whose rest was never written: right offset, right length.
            (1, Some((start, size))) => {
                let mut half = bytes[start..start + random.usize(1..size)].to_vec();
                if let (true, Ok(header)) = (half.len() >= 8, records::BatchHeader::parse(&bytes[start..])) {
                    half[..8].copy_from_slice(&header.next_offset().0.to_be_bytes());
                }
                file.write_all_at(&half, length)?;
                format!("half a batch of {} bytes appended", half.len())
            }
            _ => {
                let mut garbage = vec![0; random.usize(1..4096)];
                random.fill(&mut garbage);
                file.write_all_at(&garbage, length)?;
                format!("{} bytes of garbage appended", garbage.len())
            }
        };
        done.push(format!("{}: {what}", name_of(&folder)));
    }
    Ok(done)
}

/// Flips one bit in some logs, half of them anywhere and half near the end. What was done.
pub fn flip_bits(data: &Path, topic: &str, random: &mut Rng) -> io::Result<Vec<String>> {
    let mut done = Vec::new();
    let mut folders = partition_folders(data, topic);
    random.shuffle(&mut folders);
    let count = random.usize(1..=(folders.len() / 2).max(1));
    for folder in folders.into_iter().take(count) {
        let segments: Vec<(i64, PathBuf)> =
            segments(&folder).into_iter().filter(|(_, p)| p.metadata().is_ok_and(|m| m.len() > 0)).collect();
        let near_the_end = random.bool();
        let chosen = match near_the_end {
            true => segments.last(),
            false => random.choice(&segments),
        };
        let Some((_, path)) = chosen else { continue };
        let length = path.metadata()?.len();
        let at = match near_the_end {
            true => random.u64(length.saturating_sub(8 << 10)..length),
            false => random.u64(0..length),
        };
        let file = File::options().read(true).write(true).open(path)?;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at)?;
        let bit = random.u8(0..8);
        file.write_all_at(&[byte[0] ^ (1 << bit)], at)?;
        done.push(format!("{}: bit {bit} of byte {at} of {length} flipped", name_of(&folder)));
    }
    Ok(done)
}

/// Deletes every `.index` and `.timeindex` of the topic; how many there were.
pub fn delete_indexes(data: &Path, topic: &str) -> io::Result<usize> {
    let mut count = 0;
    for folder in partition_folders(data, topic) {
        for entry in std::fs::read_dir(folder)?.flatten() {
            if entry.path().extension().is_some_and(|e| e == "index" || e == "timeindex") {
                std::fs::remove_file(entry.path())?;
                count += 1;
            }
        }
    }
    Ok(count)
}

/// Empties a folder that stays.
pub fn wipe(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)?.flatten() {
        match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir_all(entry.path())?,
            false => std::fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

fn name_of(folder: &Path) -> String {
    folder.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch_of;

    fn log(topic_partition: &str) -> (tempfile::TempDir, PathBuf) {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join(topic_partition);
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join(format!("{:020}.log", 0));
        std::fs::write(&path, [batch_of(&["one"]), batch_of(&["two"])].concat()).unwrap();
        (data, path)
    }

    #[test]
    fn a_topics_folders_are_told_from_others() {
        let (data, _) = log("faults-11");
        for other in ["faults-more-1", "faults-", "other-1", "faults-1x"] {
            std::fs::create_dir(data.path().join(other)).unwrap();
        }
        let names: Vec<String> =
            partition_folders(data.path(), "faults").iter().map(|f| name_of(f)).collect();
        assert_eq!(names, ["faults-11"]);
    }

    #[test]
    fn a_torn_tail_leaves_all_but_the_last_batch_whole() {
        for seed in 0..50 {
            let (data, path) = log("t-0");
            let before = std::fs::read(&path).unwrap();
            let (last, _) = last_batch(&before).unwrap();
            let done = tear_tails(data.path(), "t", &mut Rng::with_seed(seed), true).unwrap();
            let after = std::fs::read(&path).unwrap();
            assert_eq!(done.len(), 1);
            assert_ne!(before, after, "seed {seed}: {done:?}");
            assert_eq!(before[..last], after[..last], "seed {seed}: {done:?}");
            assert!(records::check_batches(&after).any(|b| b.is_err()), "seed {seed}: {done:?}");
        }
    }

    #[test]
    fn without_leave_to_cut_a_torn_tail_only_grows() {
        for seed in 0..50 {
            let (data, path) = log("t-0");
            let before = std::fs::read(&path).unwrap();
            tear_tails(data.path(), "t", &mut Rng::with_seed(seed), false).unwrap();
            assert!(std::fs::read(&path).unwrap().starts_with(&before));
        }
    }

    #[test]
    fn exactly_one_bit_flips() {
        for seed in 0..50 {
            let (data, path) = log("t-0");
            let before = std::fs::read(&path).unwrap();
            flip_bits(data.path(), "t", &mut Rng::with_seed(seed)).unwrap();
            let after = std::fs::read(&path).unwrap();
            let flipped: u32 = before.iter().zip(&after).map(|(a, b)| (a ^ b).count_ones()).sum();
            assert_eq!((before.len(), flipped), (after.len(), 1));
        }
    }
}
