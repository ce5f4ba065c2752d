#!/usr/bin/env bash
# Measures produce over REST on real processes on loopback; prints Markdown tables.
#
#   scripts/rest-bench.sh compare     our gateway beside Strimzi's bridge and Karapace, both over Apache Kafka, in pairs:
#                                     records/s, CPU for a million records, answer times (9 minutes for each of them)
#   scripts/rest-bench.sh batching    how many records of different requests go in one batch (2 minutes)
#
# COMMAND --help has the options (compare: --seconds, --pairs, --connections, --quick). Apache Kafka comes from Maven Central
# and is kept in target/rest-bench, as are the bridges where a registry has them: Strimzi's from Maven Central, Karapace from
# PyPI. Else take them from their own releases:
#
#   REST_BENCH_STRIMZI=DIR          an unpacked release of Strimzi's bridge (it has libs/)
#   REST_BENCH_KARAPACE=PROGRAM     karapace_rest_proxy of an installed Karapace
#   JAVA_HOME=DIR                   Java for Kafka and Strimzi's bridge, which wants 21 or later; else what is on the PATH
#   REST_BENCH_NO_BUILD=1           takes the binaries as they are
#
# What is not there is left out, and said so. On a shared machine run it under `nice -n -15`. All it starts ends with it, and
# what they wrote is removed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
if [[ $# == 0 ]]; then
  sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}" >&2
  exit 2
fi
kafka_version=4.4.0
strimzi_version=1.1.0

if [[ -z ${REST_BENCH_NO_BUILD:-} ]]; then
  cargo build --release --locked -p controller -p storage-node -p gateway -p tests --bins
fi
bench="${CARGO_TARGET_DIR:-target}/release/rest-bench"
if [[ $1 != compare || " $* " == *" --help "* ]]; then
  exec "$bench" "$@"
fi

java="${JAVA_HOME:+$JAVA_HOME/bin/}java"
lacking=()
command -v "$java" >/dev/null || lacking+=(default-jre-headless)
command -v mvn >/dev/null || lacking+=(maven)
if [[ ${#lacking[@]} -gt 0 ]]; then
  apt-get update -qq && apt-get install -y -qq "${lacking[@]}" >/dev/null
fi
folder="$PWD/target/rest-bench"
mkdir -p "$folder"

# An artifact and all that it needs at run time, as jars in a folder of its own; prints the folder. Moved there when whole.
jars() { # GROUP ARTIFACT VERSION
  local to="$folder/$2-$3"
  if [[ ! -d $to ]]; then
    local work
    work=$(mktemp -d "$folder/fetch-XXXXXX")
    cat >"$work/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>anabranch</groupId><artifactId>rest-bench</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>$1</groupId><artifactId>$2</artifactId><version>$3</version></dependency>
  </dependencies>
</project>
POM
    if ! mvn -q -B -f "$work/pom.xml" dependency:copy-dependencies -DincludeScope=runtime \
      -DoutputDirectory="$work/jars" >"$work/log" 2>&1; then
      rm -rf "$work"
      return 1
    fi
    mv "$work/jars" "$to"
    rm -rf "$work"
  fi
  printf '%s\n' "$to"
}

karapace() {
  local to="$folder/karapace"
  if [[ ! -e $to/installed ]]; then
    rm -rf "$to"
    python3 -m venv "$to" && "$to/bin/pip" install -q --disable-pip-version-check karapace || { rm -rf "$to"; return 1; }
    touch "$to/installed"
  fi
  printf '%s\n' "$to/bin/karapace_rest_proxy"
}

if ! kafka=$(jars org.apache.kafka kafka_2.13 "$kafka_version"); then
  echo "rest-bench: Apache Kafka $kafka_version is not to be had from Maven Central" >&2
  exit 1
fi
options=(--java "$java" --kafka "$kafka")
if [[ -n ${REST_BENCH_STRIMZI:-} ]]; then
  options+=(--strimzi "$(realpath "$REST_BENCH_STRIMZI")/libs")
elif strimzi=$(jars io.strimzi kafka-bridge "$strimzi_version"); then
  options+=(--strimzi "$strimzi")
else
  echo "left out: Strimzi's bridge $strimzi_version is not to be had from Maven Central; see REST_BENCH_STRIMZI" >&2
fi
if [[ -n ${REST_BENCH_KARAPACE:-} ]]; then
  options+=(--karapace "$(realpath -s "$REST_BENCH_KARAPACE")")
elif proxy=$(karapace 2>/dev/null); then
  options+=(--karapace "$proxy")
else
  echo "left out: Karapace is not to be had from PyPI; see REST_BENCH_KARAPACE" >&2
fi
exec "$bench" "$@" "${options[@]}"
