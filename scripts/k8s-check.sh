#!/usr/bin/env bash
# Checks the manifests in k8s/, without a cluster. Prints a line for each check and its counts, and ends with an error if any of them
# failed. Takes a minute; the first time some more, as kubernetes-validate, checkov and promtool come into the target folder.
#
# The services' own binaries are asked, too: those in ANABRANCH_BIN_DIR, or in target/debug. They must be built before.
# `--install` only installs, so that it can be done beside a build.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target="$(realpath -m "${CARGO_TARGET_DIR:-target}")"
folder="$target/k8s"
pinned="$PWD/scripts/k8s"
# The oldest Kubernetes that labels a StatefulSet's pods with their ordinals, and the newest that there is a schema of.
versions=(1.28.3 1.37.0)
mkdir -p "$folder"

failed=0
ok() { printf 'ok     %s\n' "$1"; }
bad() { # bad WHAT [FILE-WITH-DETAILS]
  printf 'FAILED %s\n' "$1"
  if [[ -n ${2:-} ]]; then sed 's/^/         /' "$2"; fi
  failed=1
}

command -v kubectl >/dev/null || { echo 'k8s-check.sh: there is no kubectl, which has kustomize built in'; exit 1; }
python3 -c 'import ensurepip, venv' 2>/dev/null || { apt-get update -qq && apt-get install -y -qq python3 python3-venv >/dev/null; }
# The mark is written last: an installation that was broken off is done again, as is one that was moved, since its programs name
# the folder.
wanted="$folder"$'\n'"$(<"$pinned/requirements.txt")"
if [[ ! -f $folder/installed-requirements.txt || $(<"$folder/installed-requirements.txt") != "$wanted" ]]; then
  python3 -m venv --clear "$folder/venv"
  "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$pinned/requirements.txt"
  printf '%s\n' "$wanted" >"$folder/installed-requirements.txt"
fi
promtool="$(command -v promtool || echo "$folder/prometheus/usr/bin/promtool")"
if [[ ! -x $promtool ]]; then
  # Unpacked and not installed: a Prometheus that runs is not wanted.
  download=$(mktemp -d)
  (
    cd "$download"
    apt-cache show prometheus >/dev/null 2>&1 || apt-get update -qq
    apt-get -qq -o APT::Sandbox::User=root download prometheus
    dpkg -x prometheus_*.deb "$folder/prometheus"
  )
  rm -rf "$download"
fi

if [[ ${1:-} == --install ]]; then exit 0; fi

work="$folder/work"
rm -rf "$work"
mkdir -p "$work/rendered" "$work/core" "$work/checkov"
python() { PYTHONDONTWRITEBYTECODE=1 "$folder/venv/bin/python" "$@"; }

# ---- Rendering: each overlay alone, with each component, with all of them, and with another count of storage nodes

render() { # render NAME OVERLAY LINE...   the lines go into a kustomization around the overlay
  local name=$1 overlay=$2 at="$work/build/$1" base
  shift 2
  mkdir -p "$at"
  base=$(realpath --relative-to "$at" k8s)
  {
    printf 'namespace: %s\nresources: [%s]\n' "$(awk '/^namespace:/ { print $2 }' "k8s/overlays/$overlay/kustomization.yaml")" "$base/overlays/$overlay"
    printf '%s\n' "${@//@/$base}"
  } >"$at/kustomization.yaml"
  kubectl kustomize "$at" >"$work/rendered/$name.yaml" 2>"$work/errors" || bad "kustomize: $name" "$work/errors"
}

for overlay in dev production; do
  kubectl kustomize "k8s/overlays/$overlay" >"$work/rendered/$overlay.yaml" 2>"$work/errors" || bad "kustomize: $overlay" "$work/errors"
  render "$overlay-monitoring" $overlay 'components: [@/components/monitoring]'
  render "$overlay-hpa" $overlay 'components: [@/components/hpa]'
  render "$overlay-all" $overlay 'components: [@/components/monitoring, @/components/hpa]'
done
mapfile -t renderings < <(cd "$work/rendered" && printf '%s\n' *.yaml | sed 's/\.yaml$//')
# As the overlay's own comment says it: its lines about components, without the #.
cp -r k8s "$work/edited"
sed -i 's/^# \(components:\|  - \.\.\/\.\.\/components\)/\1/' "$work/edited/overlays/production/kustomization.yaml"
if kubectl kustomize "$work/edited/overlays/production" 2>"$work/errors" | diff "$work/rendered/production-all.yaml" - >>"$work/errors"; then
  ok "kustomize: ${#renderings[@]} renderings, and components within the overlay are the same as around it"
else
  bad 'kustomize: components within the overlay are not the same as around it' "$work/errors"
fi
scaled=()
for overlay in dev production; do
  render "scaled-$overlay" $overlay 'replicas: [{name: storage-node, count: 9}]'
  scaled+=("$overlay=$work/rendered/$overlay.yaml,$work/rendered/scaled-$overlay.yaml")
done

# ---- Schemas

for name in "${renderings[@]}"; do python "$pinned/extract.py" core "$work/rendered/$name.yaml" >"$work/core/$name.yaml"; done
for version in "${versions[@]}"; do
  if "$folder/venv/bin/kubernetes-validate" --strict -k "$version" "$work"/core/*.yaml >"$work/validated" 2>&1; then
    ok "kubernetes-validate --strict, Kubernetes $version: $(grep -c ' passed ' "$work/validated") objects"
  else
    grep -v ' passed ' "$work/validated" >"$work/errors" || true
    bad "kubernetes-validate --strict, Kubernetes $version" "$work/errors"
  fi
done
sed 's/podManagementPolicy:/podManagmentPolicy:/' "$work/core/production.yaml" >"$work/planted.yaml"
if "$folder/venv/bin/kubernetes-validate" --strict -k "${versions[1]}" "$work/planted.yaml" >/dev/null 2>&1; then
  bad 'kubernetes-validate takes a key that does not exist'
else
  ok 'kubernetes-validate refuses a key that does not exist'
fi

# ---- checkov

cp "$work/core/dev-all.yaml" "$work/core/production-all.yaml" "$work/checkov"
checkov() { # checkov FOLDER
  "$folder/venv/bin/checkov" --config-file "$pinned/checkov.yaml" --directory "$1" 2>&1
}
if checkov "$work/checkov" >"$work/errors" && grep -q '^Passed checks: [1-9]' "$work/errors"; then
  ok "checkov: $(grep '^Passed checks' "$work/errors")"
else
  bad checkov "$work/errors"
fi
mkdir "$work/planted"
sed 's/readOnlyRootFilesystem: true/readOnlyRootFilesystem: false/' "$work/core/production.yaml" >"$work/planted/production.yaml"
if checkov "$work/planted" >/dev/null; then bad 'checkov lets a root that is written to pass'; else ok 'checkov does not let a root that is written to pass'; fi

# ---- Alerts

python "$pinned/extract.py" rules "$work/rendered/production-all.yaml" >"$work/rules.yaml"
cp k8s/components/monitoring/alerts-test.yaml "$work"
if (cd "$work" && "$promtool" check rules rules.yaml && "$promtool" test rules alerts-test.yaml) >"$work/errors" 2>&1; then
  ok "promtool: $(grep -o '[0-9]* rules found' "$work/errors"), each fires in its test, and none while all is calm"
else
  bad promtool "$work/errors"
fi

# ---- What these miss

if ANABRANCH_RENDERED="$work/rendered/production-all.yaml" python "$pinned/semantic_test.py" >"$work/errors" 2>&1; then
  ok "semantic_test.py: $(grep '^Ran' "$work/errors"), with $(grep -c '^    ("' "$pinned/semantic_test.py") planted mistakes"
else
  bad semantic_test.py "$work/errors"
fi
arguments=()
for name in "${renderings[@]}"; do arguments+=("$name=$work/rendered/$name.yaml"); done
python "$pinned/semantic.py" "${arguments[@]}" || failed=1
python "$pinned/semantic.py" --scaled "${scaled[@]}" || failed=1
python "$pinned/binaries.py" "dev=$work/rendered/dev-monitoring.yaml" "production=$work/rendered/production.yaml" || failed=1
if PATH="$PATH:$(dirname "$promtool")" python deploy/check.py --binaries "${ANABRANCH_BIN_DIR:-$target/debug}" >"$work/errors" 2>&1; then
  ok "deploy: $(tail -2 "$work/errors" | paste -sd ' ')"
else
  bad deploy "$work/errors"
fi

exit "$failed"
