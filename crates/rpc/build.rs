//! Compiles `proto/` in pure Rust, so that no `protoc` is needed.

use std::{env, error::Error, path::PathBuf};

const FILES: [&str; 5] = [
    "controller/v1/metadata",
    "controller/v1/raft",
    "controller/v1/node",
    "controller/v1/admin",
    "storage/v1/sessions",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let files = FILES.map(|f| root.join(format!("{f}.proto")));
    let descriptors = protox::compile(files, [root])?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
