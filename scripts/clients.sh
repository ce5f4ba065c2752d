#!/usr/bin/env bash
# Installs the Kafka clients that the tests run, in the versions that tests/clients pins, into the target folder: Python's
# into a venv, Node's into node_modules. What is there already is left alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder="${CARGO_TARGET_DIR:-target}/clients"
pinned="$PWD/tests/clients"
mkdir -p "$folder"

lacking=()
command -v kcat >/dev/null || lacking+=(kcat)
command -v node >/dev/null || lacking+=(nodejs)
command -v npm >/dev/null || lacking+=(npm)
python3 -c 'import ensurepip, venv' 2>/dev/null || lacking+=(python3 python3-venv)
if [ "${#lacking[@]}" -gt 0 ]; then
  apt-get update -qq && apt-get install -y -qq "${lacking[@]}" >/dev/null
fi

cd "$folder"
# The mark is written last: an installation that was broken off is done again.
if ! cmp -s installed-requirements.txt "$pinned/requirements.txt"; then
  python3 -m venv --clear venv
  venv/bin/pip install --quiet --disable-pip-version-check --requirement "$pinned/requirements.txt"
  cp "$pinned/requirements.txt" installed-requirements.txt
fi
if ! cmp -s installed-package-lock.json "$pinned/package-lock.json"; then
  cp "$pinned/package.json" "$pinned/package-lock.json" .
  # Their own scripts would fetch from places that a build machine may not reach; none is needed.
  npm ci --silent --ignore-scripts --no-audit --no-fund
  cp "$pinned/package-lock.json" installed-package-lock.json
fi
