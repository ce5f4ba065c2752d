#!/usr/bin/env bash
# Has Apache Kafka's own DumpLogSegments read a partition folder that we wrote: every batch must be valid, and every
# index must agree with its log. Takes Kafka from Maven Central with Maven; needs Java. Option: --port-offset K (4000).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

offset=4000
if [ "${1:-}" = --port-offset ]; then offset=$2; fi
cargo build --release --locked -p anabranch
anabranch="${CARGO_TARGET_DIR:-target}/release/anabranch"
export ANABRANCH_URL="http://127.0.0.1:$((8082 + offset))"

work=$(mktemp -d)
dev=
trap '[ -z "$dev" ] || kill "$dev" 2>/dev/null || true; rm -rf "$work"' EXIT
cat >"$work/pom.xml" <<'POM'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>anabranch</groupId><artifactId>kafka-dump</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>4.1.0</version></dependency>
  </dependencies>
</project>
POM
mvn -q -B -f "$work/pom.xml" dependency:build-classpath -Dmdep.outputFile="$work/classpath"

"$anabranch" dev --data-dir "$work/data" --port-offset "$offset" >"$work/dev.out" 2>"$work/dev.err" &
dev=$!
for _ in $(seq 300); do
  if grep -q ready "$work/dev.out"; then break; fi
  kill -0 "$dev" || { cat "$work/dev.err"; exit 1; }
  sleep 0.1
done
"$anabranch" topic create dump --config segment.bytes=100000 --config index.interval.bytes=1000
seq -f 'a line with the number %.0f in it' 50000 | "$anabranch" produce dump --batch 100
kill "$dev" && wait "$dev"
dev=

folder="$work/data/storage-node-0/dump-0"
dump() { java -cp "$(cat "$work/classpath")" kafka.tools.DumpLogSegments "$@" 2>/dev/null; }
logs=$(ls "$folder"/*.log)
dump --files "$(paste -sd, <<<"$logs")" >"$work/dumped"
batches=$(grep -c '^baseOffset' "$work/dumped")
valid=$(grep -c 'isvalid: true' "$work/dumped")
printf '%s segments, %s batches, %s of them valid\n' "$(wc -l <<<"$logs")" "$batches" "$valid"
[ "$batches" -gt 0 ] && [ "$batches" = "$valid" ]
indexes=$(ls "$folder"/*.index "$folder"/*.timeindex)
# Kafka compares every entry with the log beside it and names those that disagree.
dump --verify-index-only --files "$(paste -sd, <<<"$indexes")" >"$work/verified"
if grep -iE 'mismatch|non-monotonic|out of order|not found' "$work/verified"; then exit 1; fi
printf '%s index files agree with their logs\n' "$(wc -l <<<"$indexes")"
snapshots=$(ls "$folder"/*.snapshot)
dump --files "$(paste -sd, <<<"$snapshots")" | grep -c '^producerId' | xargs printf '%s producer states read from snapshots\n'
