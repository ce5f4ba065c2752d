#!/usr/bin/env bash
# Runs the deterministic simulation of replication (crates/sim).
#
#   scripts/sim.sh --seed N [--trace] [--steps 1000]   one seed, with a line for each event
#   scripts/sim.sh --seeds A..B [--steps 1000]         a range of seeds
#   scripts/sim.sh --minutes M [--from N]              as many seeds as the time allows
#   scripts/sim.sh --mutations                         every known mistake, and what finds it
#
# It ends with counts of what happened, or with the seed that broke an invariant and the command that replays it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

exec cargo run --quiet --locked -p sim -- "$@"
