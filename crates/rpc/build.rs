//! Compiles `proto/` in pure Rust, so that no `protoc` is needed.

use std::{env, error::Error, path::PathBuf};

const FILES: [&str; 4] = ["metadata", "raft", "node", "admin"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let files = FILES.map(|f| root.join(format!("controller/v1/{f}.proto")));
    let descriptors = protox::compile(files, [root])?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
