//! What the binaries have in common.

use std::{fs, path::Path};

use crate::{cap, cap::Cap, seeds};

/// A kind of bytes from outside, and what reads them.
pub struct Target {
    pub cap: fn(usize) -> Cap,
    pub run: fn(&[u8]),
    pub seeds: fn() -> Vec<Vec<u8>>,
}

pub const REQUESTS: Target =
    Target { cap: crate::requests::cap, run: crate::requests::run, seeds: seeds::requests };
pub const RESPONSES: Target =
    Target { cap: crate::responses::cap, run: crate::responses::run, seeds: seeds::responses };
pub const BATCHES: Target =
    Target { cap: crate::batches::cap, run: crate::batches::run, seeds: seeds::batches };
pub const ENTRIES: Target =
    Target { cap: crate::entries::cap, run: crate::entries::run, seeds: seeds::entries };
pub const FILES: Target = Target { cap: crate::files::cap, run: crate::files::run, seeds: seeds::files };

/// A folder that the seeds are to be written to, instead of fuzzing.
const SEEDS_INTO: &str = "FUZZ_SEEDS_INTO";

impl Target {
    /// Before the first input.
    pub fn begin(&self) {
        if let Some(folder) = std::env::var_os(SEEDS_INTO) {
            for (number, seed) in (self.seeds)().into_iter().enumerate() {
                // A finding is among them if one of ours is not read as it was written.
                cap::within((self.cap)(seed.len()), || (self.run)(&seed));
                let path = Path::new(&folder).join(format!("seed-{number:04}"));
                fs::write(&path, seed).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            }
            std::process::exit(0);
        }
        cap::report_at_exit();
    }

    pub fn take(&self, input: &[u8]) {
        cap::within((self.cap)(input.len()), || (self.run)(input));
    }
}
