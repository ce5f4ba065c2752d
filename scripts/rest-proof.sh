#!/usr/bin/env bash
# Proves what the REST interface promises, on real processes on loopback; prints what came of it, and PASS or FAIL.
#
#   scripts/rest-proof.sh consumers       two gateways behind a round-robin proxy, one killed at random every second: 20 REST
#                                         consumers and 5 Kafka consumers of one group read 1,000,000 records; nothing is lost,
#                                         commits never go back, and how many were delivered twice (about 3 minutes)
#   scripts/rest-proof.sh slow-clients    2,000 clients that send headers and bodies byte by byte or never read what they ask
#                                         for: others are served, and memory stays bounded (about 2 minutes)
#   scripts/rest-proof.sh all             both
#
# COMMAND --help has the options; `consumers --records 50000` is a quick one, `--seed` does the same again but for the timing.
# REST_PROOF_NO_BUILD=1 takes the binaries as they are, REST_PROOF_BIN=DIR those in that folder. All it starts ends with it,
# and what they wrote is removed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ $# == 0 || $1 == --help ]]; then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
# Thousands of connections, both ends of each.
ulimit -n "$(ulimit -Hn)"
if [[ -z ${REST_PROOF_NO_BUILD:-}${REST_PROOF_BIN:-} ]]; then
  cargo build --release --locked -p controller -p storage-node -p gateway -p tests --bins
fi
proof="${REST_PROOF_BIN:-${CARGO_TARGET_DIR:-target}/release}/rest-proof"
if [[ $1 != all ]]; then
  exec "$proof" "$@"
fi
for command in consumers slow-clients; do
  printf '\n## %s\n\n' "$command"
  "$proof" "$command"
done
