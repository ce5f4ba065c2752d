#!/usr/bin/env bash
# Real data through real processes: every line of this machine's dpkg log and package lists goes in through
# `anabranch produce` and through curl, in four partitions, and comes back through REST and through kcat straight from
# a storage node. The sha256 of the sorted lines must be equal everywhere, and keys must lie where Java's client puts
# them. Needs kcat, curl and python3. Option: --port-offset K (default 3000).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

offset=3000
if [ "${1:-}" = --port-offset ]; then offset=$2; fi
cargo build --release --locked -p anabranch
anabranch="${CARGO_TARGET_DIR:-target}/release/anabranch"
rest="http://127.0.0.1:$((8082 + offset))"
kafka="127.0.0.1:$((9092 + offset))"
export ANABRANCH_URL="$rest" LC_ALL=C

work=$(mktemp -d)
"$anabranch" dev --nodes 2 --data-dir "$work/data" --port-offset "$offset" >"$work/dev.out" 2>"$work/dev.err" &
dev=$!
trap 'kill "$dev" 2>/dev/null && wait "$dev" || true; rm -rf "$work"' EXIT
for _ in $(seq 300); do
  if grep -q ready "$work/dev.out"; then break; fi
  kill -0 "$dev" || { cat "$work/dev.err"; exit 1; }
  sleep 0.1
done

# An empty line is a record, too; a file that ends without a newline still ends a line.
cat /var/log/dpkg.log /var/lib/dpkg/info/*.list /var/lib/dpkg/status >"$work/lines"
# What apt knows of its repositories, where `apt-get update` was run; apt keeps it compressed.
for list in /var/lib/apt/lists/*_Packages*; do
  if [ -e "$list" ]; then /usr/lib/apt/apt-helper cat-file "$list" >>"$work/lines"; fi
done
printf 'input: %s lines, %s bytes\n' "$(wc -l <"$work/lines")" "$(wc -c <"$work/lines")"
sum() { sort "$@" | sha256sum | cut -c1-64; }
want=$(sum "$work/lines")
same() { # what, sum
  if [ "$2" != "$want" ]; then echo "DIFFERENT: $1: $2, expected $want"; exit 1; fi
  echo "equal: $1: $2"
}

"$anabranch" topic create cli --partitions 4 >/dev/null
time "$anabranch" produce cli "$work/lines"
same "anabranch produce, anabranch consume (REST)" "$("$anabranch" consume cli --from beginning | sum)"
same "anabranch produce, kcat from a storage node" "$(kcat -C -b "$kafka" -t cli -e -q | sum)"

# The same lines with curl: bodies of a thousand records in base64, as any HTTP client would send them.
"$anabranch" topic create curl --partitions 4 >/dev/null
mkdir "$work/bodies"
python3 - "$work/lines" "$work/bodies" <<'PY'
import base64, json, sys
lines = open(sys.argv[1], "rb").read().removesuffix(b"\n").split(b"\n")
for n in range(0, len(lines), 1000):
    records = [{"value": base64.b64encode(line).decode()} for line in lines[n:n + 1000]]
    json.dump({"records": records}, open(f"{sys.argv[2]}/{n:09}", "w"))
PY
time for body in "$work"/bodies/*; do
  printf 'url = "%s/topics/curl"\ndata-binary = "@%s"\nheader = "Content-Type: application/vnd.kafka.binary.v2+json"\noutput = "%s.answer"\nfail\nnext\n' \
    "$rest" "$body" "$body"
done | sed '$d' | curl --silent --show-error --config -
if grep -lE '"error_code": ?[0-9]' "$work"/bodies/*.answer; then echo "records were refused"; exit 1; fi
same "curl, anabranch consume (REST)" "$("$anabranch" consume curl --from beginning | sum)"
same "curl, kcat from a storage node" "$(kcat -C -b "$kafka" -t curl -e -q | sum)"

# Keys: the package's name is the key; Java's murmur2 says where each must be.
"$anabranch" topic create keyed --partitions 4 >/dev/null
awk 'NF >= 4 { print $4 "\t" $0 }' /var/log/dpkg.log >"$work/keyed"
"$anabranch" produce keyed "$work/keyed" --key-separator $'\t'
kcat -C -b "$kafka" -t keyed -e -q -f '%p\t%k\n' >"$work/places"
python3 - "$work/places" <<'PY'
import sys
def murmur2(data):
    m, mask, h = 0x5BD1E995, 0xFFFFFFFF, (0x9747B28C ^ len(data)) & 0xFFFFFFFF
    for i in range(0, len(data) - len(data) % 4, 4):
        k = int.from_bytes(data[i:i + 4], "little") * m & mask
        h = (h * m & mask) ^ ((k ^ k >> 24) * m & mask)
    tail = data[len(data) - len(data) % 4:]
    if tail:
        h = (h ^ int.from_bytes(tail, "little")) * m & mask
    h = (h ^ h >> 13) * m & mask
    return h ^ h >> 15
assert murmur2(b"21") == -973932308 & 0xFFFFFFFF and murmur2(b"foobar") == -790332482 & 0xFFFFFFFF
places = [line.rstrip("\n").split("\t", 1) for line in open(sys.argv[1])]
wrong = [p for p in places if int(p[0]) != (murmur2(p[1].encode()) & 0x7FFFFFFF) % 4]
print(f"keys: {len(places)} records, {len(set(k for _, k in places))} keys, {len(wrong)} in a wrong partition")
sys.exit(bool(wrong) or not places)
PY
echo "all equal"
