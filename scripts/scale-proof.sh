#!/usr/bin/env bash
# Storage nodes join and leave under load, on real processes on loopback; prints what came of it, and PASS or FAIL.
#
#   scripts/scale-proof.sh [--megabytes-per-second 20] …      3 → 5 → 3 storage nodes and a rolling restart of all, while librdkafka
#                                                            writes with acks=all: how long until everything is where it
#                                                            belongs, bytes moved beside those that had to, what producers wait
#                                                            before, meanwhile and after; nothing is lost (about 5 minutes)
#
# --help has the options. SCALE_PROOF_NO_BUILD=1 takes the binaries as they are. All it starts ends with it, and what they wrote is
# removed. It needs some gigabytes of disk: three times what is written.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
ulimit -n "$(ulimit -Hn)"
if [[ -z ${SCALE_PROOF_NO_BUILD:-} ]]; then
  cargo build --release --locked -p controller -p storage-node -p gateway -p tests --bins
fi
exec "${CARGO_TARGET_DIR:-target}/release/scale-proof" "$@"
