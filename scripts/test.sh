#!/usr/bin/env bash
# Runs all the tests: format, lints, layers, Kubernetes manifests, unit and property tests, real processes with real clients.
# Installs what the tests need and the machine lacks: Kafka clients (see clients.sh), what checks manifests (see k8s-check.sh), make
# to build librdkafka, and curl for the gateway's recipes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CARGO_INCREMENTAL="${CARGO_INCREMENTAL:-0}"
step() { printf '\n== %s (%ss)\n' "$1" "$SECONDS"; }

lacking=()
command -v make >/dev/null || lacking+=(make)
command -v curl >/dev/null || lacking+=(curl)
if [ "${#lacking[@]}" -gt 0 ]; then
  step "installing ${lacking[*]}"
  apt-get update -qq && apt-get install -y -qq "${lacking[@]}" >/dev/null
fi

step "clients"
scripts/clients.sh
# A build leaves the network alone, mostly. Not beside the clients: both may ask apt. What goes wrong here is said by the check itself,
# which tries again.
scripts/k8s-check.sh --install >/dev/null 2>&1 &
installing=$!
step "format"
cargo fmt --all --check
step "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings
step "layers"
cargo run --quiet --locked -p xtask -- layers
step "building"
# With the tests, or the dependencies would be built twice: what only tests need changes their features.
cargo build --workspace --bins --tests --locked
step "manifests"
wait "$installing" || true
scripts/k8s-check.sh
step "tests"
cargo test --workspace --locked
step "all passed"
