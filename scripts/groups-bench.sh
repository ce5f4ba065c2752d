#!/usr/bin/env bash
# Measures consumer groups and the gateway on real processes on loopback; prints Markdown tables.
#
#   scripts/groups-bench.sh rebalance           20 members, 100 partitions: how long records stay away when one joins, leaves,
#                                               is killed; KIP-848 beside the classic protocol (about 7 minutes)
#   scripts/groups-bench.sh many-groups         10,000 groups of 3: memory, CPU of heartbeats, what is written (3 minutes)
#   scripts/groups-bench.sh connections         5,000 idle Kafka connections: memory, CPU, how a new one fares (2 minutes)
#   scripts/groups-bench.sh gateway-overhead    the same load direct and through the gateway, in pairs (12 minutes)
#   scripts/groups-bench.sh all                 all four
#
# COMMAND --help has the options. GROUPS_BENCH_NO_BUILD=1 takes the binaries as they are. On a shared machine run it under
# `nice -n -15`. All it starts ends with it, and what they wrote is removed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ $# == 0 ]]; then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
if [[ -z ${GROUPS_BENCH_NO_BUILD:-} ]]; then
  cargo build --release --locked -p controller -p storage-node -p gateway -p tests --bins
fi
bench="${CARGO_TARGET_DIR:-target}/release/groups-bench"
if [[ $1 != all ]]; then
  exec "$bench" "$@"
fi
for command in rebalance many-groups connections gateway-overhead; do
  printf '\n## %s\n\n' "$command"
  "$bench" "$command"
done
