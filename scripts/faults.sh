#!/usr/bin/env bash
# Breaks a cluster of real processes while clients write and read, and checks that every promise was kept.
#
#   scripts/faults.sh --list                        the faults, and the pairs most likely to hurt
#   scripts/faults.sh --fault kill9-leader          one run; NAME,NAME: both at once
#   scripts/faults.sh --all --pairs --resume DIR    everything, about 90 minutes; goes on where DIR's results end
#   scripts/faults.sh --failover 30                 how long clients cannot write when a leader dies
#   scripts/faults.sh --many-partitions 10000       a node with many partitions dies and comes back
#   scripts/faults.sh --replication-cost            CPU-seconds of all brokers for a gigabyte
#   scripts/faults.sh --bootstrap HOST:PORT --rest URL [--fault-command CMD]     against a cluster of yours
#
# --help has the rest. It needs root (network namespaces), iptables and iproute2; --debug as the first option runs debug
# builds, with their assertions. All it makes lies in namespaces of its own and is gone when it ends.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
profile=release
if [[ ${1:-} == --debug ]]; then
  profile=debug
  shift
fi
if ! command -v iptables >/dev/null && [[ $EUID == 0 ]] && command -v apt-get >/dev/null; then
  echo "installing iptables" >&2
  apt-get update -qq && apt-get install -y -qq iptables >/dev/null
fi
if [[ -z ${FAULTS_NO_BUILD:-} ]]; then
  cargo build --locked $([[ $profile == debug ]] || echo --release) -p controller -p storage-node -p gateway -p tests --bins
fi
exec "${CARGO_TARGET_DIR:-target}/$profile/faults" "$@"
