#!/usr/bin/env bash
# Holds the REST interface against its own document (/openapi.json) with schemathesis: no answer that breaks it, no 500.
# It starts a cluster of its own on ephemeral data, with some topics, records and consumers in it, and installs
# schemathesis into the target folder. It prints the figures, and ends with an error for any finding.
#
#   scripts/schemathesis.sh [--port-offset K] [--seed N] [OPTION...]   more options are schemathesis's own
#
# K is 3100, N is 1 unless said. What every operation is tried with is in tests/schemathesis/schemathesis.toml.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

offset=3100 seed=1
while [[ $# -gt 0 ]]; do
  case "$1" in
    --port-offset) offset="$2"; shift 2 ;;
    --seed) seed="$2"; shift 2 ;;
    *) break ;;
  esac
done

pinned="$PWD/tests/schemathesis"
target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
folder="$target/schemathesis"
mkdir -p "$folder"
# The mark is written last: an installation that was broken off is done again.
if ! cmp -s "$folder/installed-requirements.txt" "$pinned/requirements.txt"; then
  python3 -m venv --clear "$folder/venv"
  "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$pinned/requirements.txt"
  cp "$pinned/requirements.txt" "$folder/installed-requirements.txt"
fi
command -v kcat >/dev/null || { apt-get update -qq && apt-get install -y -qq kcat >/dev/null; }

cargo build --locked -p anabranch
work=$(mktemp -d)
"$target/debug/anabranch" dev --nodes 2 --data-dir "$work/data" --port-offset "$offset" >"$work/out" 2>"$work/err" &
dev=$!
trap 'kill "$dev" 2>/dev/null && wait "$dev" || true; rm -rf "$work"' EXIT
for _ in $(seq 300); do
  if grep -q ready "$work/out"; then break; fi
  kill -0 "$dev" || { cat "$work/err"; exit 1; }
  sleep 0.1
done

rest="http://127.0.0.1:$((8082 + offset))"
kafka="127.0.0.1:$((9192 + offset))"
CLUSTER=$(curl -sf "$rest/v3/clusters" | python3 -c 'import json, sys; print(json.load(sys.stdin)["data"][0]["cluster_id"])')
export CLUSTER
create() { # topic, partitions, replicas
  curl -sf -o /dev/null "$rest/v3/clusters/$CLUSTER/topics" -H 'Content-Type: application/json' \
    -d "{\"topic_name\":\"$1\",\"partitions_count\":$2,\"replication_factor\":$3}"
}
create orders 4 2
create lines 2 1
for n in $(seq 20); do
  printf '{"value":{"type":"JSON","data":{"n":%d}},"headers":[{"name":"h","value":"eA=="}]}' "$n"
done | curl -sf -o /dev/null "$rest/v3/clusters/$CLUSTER/topics/orders/records" -H 'Content-Type: application/json' --data-binary @-
printf 'a\nb\nc\n' | timeout 60 kcat -b "$kafka" -P -t lines
timeout 60 kcat -b "$kafka" -G readers -X auto.offset.reset=earliest -c 3 lines >/dev/null 2>&1
# A consumer that shares and one by hand, which may be told other things; and one that stays with what it has.
consumer() { # group, what it is told, of what
  local at="$rest/consumers/$1" options='{"name":"one","auto.offset.reset":"earliest","consumer.request.timeout.ms":50}'
  curl -sf -o /dev/null "$at" -H 'Content-Type: application/vnd.kafka.v2+json' -d "$options"
  curl -sf -o /dev/null "$at/instances/one/$2" -H 'Content-Type: application/vnd.kafka.v2+json' -d "$3"
}
consumer shared subscription '{"topics":["orders","lines"]}'
consumer alone assignments '{"partitions":[{"topic":"orders","partition":0},{"topic":"lines","partition":1}]}'
consumer steady subscription '{"topics":["orders","lines"]}'

# It keeps what a finding is replayed from where it runs.
cd "$folder"
status=0
venv/bin/schemathesis --config-file "$pinned/schemathesis.toml" run "$rest/openapi.json" \
  --seed "$seed" --report junit --report-dir report "$@" || status=$?

# How much of it was served, and how much refused, as the gateway has counted.
curl -sf "$rest/metrics" | python3 -c '
import collections, re, sys
by_status, served, known = collections.Counter(), set(), set()
for line in sys.stdin:
    if line.startswith("anabranch_gateway_requests_total"):
        labels = dict(re.findall(r"(\w+)=\"([^\"]*)\"", line))
        by_status[labels["status"]] += int(line.split()[-1])
        if labels["route"] != "none" and labels["status"] != "405":
            route = labels["method"] + " " + labels["route"]
            known.add(route)
            if labels["status"].startswith("2"):
                served.add(route)
print("answers by status:", ", ".join(f"{status}: {count}" for status, count in sorted(by_status.items())))
print("routes that were never served:", ", ".join(sorted(known - served)) or "none")
'
# It has to have outlived all of that.
curl -sf "$rest/readyz" >/dev/null || { echo "the gateway is not ready any more"; cat "$work/err"; exit 1; }
if grep -q 'panicked' "$work/err" "$work/out"; then echo "something panicked"; grep -A3 panicked "$work/err" "$work/out"; exit 1; fi
exit "$status"
