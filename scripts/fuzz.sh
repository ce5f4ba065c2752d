#!/usr/bin/env bash
# Fuzzes what decodes bytes from outside (crates/fuzz/README.md), guided by coverage, with the stable toolchain.
#
#   scripts/fuzz.sh [--minutes N] [--jobs N] [TARGET...]   all targets, or those; for N minutes together, 10 by default
#   scripts/fuzz.sh --replay TARGET FILE                   one input that was found, once
#
# It ends with a line for each target, and with an error and the path of the input if one made a decoder panic, abort,
# hang or take more memory than its cap. Corpora, findings and logs are kept in target/fuzz, and a next run goes on there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

TARGETS=(requests responses batches entries files)
HOST="$(rustc -vV | sed -n 's/^host: //p')"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"
OUT="$CARGO_TARGET_DIR/fuzz"

usage() { sed -n '2,/^set/{/^set/!s/^# \{0,1\}//p}' "$0"; exit "$1"; }

minutes=10 jobs=1 replay=()
while [[ "${1:-}" == -* ]]; do
  case "$1" in
    --minutes) minutes="$2"; shift 2 ;;
    --jobs) jobs="$2"; shift 2 ;;
    --replay) replay=("$2" "$3"); shift 3 ;;
    -h | --help) usage 0 ;;
    *) usage 1 >&2 ;;
  esac
done
[[ $# -eq 0 ]] || TARGETS=("$@")

# Coverage is instrumented by LLVM's own pass, which the stable compiler has; a target triple keeps it out of build scripts.
coverage=(level=4 inline-8bit-counters pc-table trace-compares)
export RUSTFLAGS="-Cpasses=sancov-module ${coverage[*]/#/-Cllvm-args=-sanitizer-coverage-}"
export CARGO_INCREMENTAL=0
cargo build --quiet --release --locked --manifest-path crates/fuzz/Cargo.toml --target "$HOST"
binary() { echo "$CARGO_TARGET_DIR/$HOST/release/$1"; }

if [[ ${#replay[@]} -gt 0 ]]; then
  RUST_BACKTRACE=1 exec "$(binary "${replay[0]}")" "${replay[1]}"
fi

seconds=$((minutes * 60 * jobs / ${#TARGETS[@]}))

fuzz() {
  local target="$1" dir="$OUT/$1"
  mkdir -p "$dir/corpus" "$dir/found"
  if ! FUZZ_SEEDS_INTO="$dir/corpus" "$(binary "$target")" >"$dir/log" 2>&1; then
    return 1
  fi
  # The clock says little on a busy machine.
  local TIMEFORMAT='stat::cpu_seconds: %U'
  {
    time "$(binary "$target")" "$dir/corpus" -artifact_prefix="$dir/found/" -max_total_time="$seconds" \
      -max_len=16384 -use_value_profile=1 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 -reload=0
  } >"$dir/log" 2>&1
}

stat() { sed -n "s/^stat::$2: *//p" "$OUT/$1/log" | tail -1; }
last() { sed -n "s/.* $2: \([0-9]*\).*/\1/p" "$OUT/$1/log" | tail -1; }

progress() {
  local target
  for target in "${!running[@]}"; do
    printf '%5ss  %-10s %s\n' "$SECONDS" "$target" "$(grep -a '^#' "$OUT/$target/log" | tail -1 | cut -c1-110)"
  done
}

summary() {
  local target
  printf '\n%-10s %12s %8s %9s %8s %9s %16s %16s\n' \
    target executions 'CPU s' coverage corpus 'peak RSS' 'largest alloc.' 'largest growth'
  for target in "${TARGETS[@]}"; do
    printf '%-10s %12s %8s %9s %8s %6s MB %14s B %14s B\n' "$target" \
      "$(stat "$target" number_of_executed_units)" "$(stat "$target" cpu_seconds)" \
      "$(last "$target" cov)" "$(last "$target" corp)" "$(stat "$target" peak_rss_mb)" \
      "$(stat "$target" largest_allocation_bytes)" "$(stat "$target" largest_growth_bytes)"
  done
}

found() {
  printf '\n%s: FOUND\n' "$1"
  grep -aE 'panicked at|ALLOCATION CAP|ERROR: libFuzzer' -A 2 "$OUT/$1/log" | head -8 || true
  sed -n 's/.*Test unit written to /input: /p' "$OUT/$1/log"
  echo "again: scripts/fuzz.sh --replay $1 INPUT; all of it: $OUT/$1/log"
}

declare -A running=()
failed=()
# Only what was started here is ended, and it is ended with this script.
trap 'for pid in "${running[@]}"; do pkill -P "$pid" || true; done' EXIT

reap() {
  local target
  for target in "${!running[@]}"; do
    if ! kill -0 "${running[$target]}" 2>/dev/null; then
      if ! wait "${running[$target]}"; then
        failed+=("$target")
        found "$target"
      fi
      unset "running[$target]"
    fi
  done
}

echo "${#TARGETS[@]} targets, $seconds s each, $jobs at a time"
waiting=("${TARGETS[@]}") told=0
while [[ ${#waiting[@]} -gt 0 || ${#running[@]} -gt 0 ]]; do
  while [[ ${#waiting[@]} -gt 0 && ${#running[@]} -lt $jobs ]]; do
    fuzz "${waiting[0]}" &
    running["${waiting[0]}"]=$!
    waiting=("${waiting[@]:1}")
  done
  sleep 1
  reap
  if ((SECONDS - told >= 30)); then
    told=$SECONDS
    progress
  fi
done

summary
if [[ ${#failed[@]} -gt 0 ]]; then
  printf '\nfound something: %s\n' "${failed[*]}"
  exit 1
fi
printf '\nnothing was found\n'
