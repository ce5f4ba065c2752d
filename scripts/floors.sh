#!/usr/bin/env bash
# Measures CPU-seconds for a gigabyte of produce and fetch, and records/s through REST, against PERFORMANCE's floors.
# Takes about five minutes once built. Options are floors' own: --runs N, --gigabytes G, --rest-records N.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
cargo build --release --locked -p controller -p storage-node -p gateway -p tests
exec "${CARGO_TARGET_DIR:-target}/release/floors" "$@"
