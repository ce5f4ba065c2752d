#!/usr/bin/env bash
# Measures what ten thousand partitions cost one node: create time, memory, open files, idle CPU, restart time.
# Takes about three minutes once built. Options: --partitions N, --idle-s S.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo build --release --locked -p controller -p storage-node -p gateway -p tests
exec "${CARGO_TARGET_DIR:-target}/release/partitions" "$@"
