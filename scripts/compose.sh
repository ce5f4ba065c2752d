#!/usr/bin/env bash
# The cluster of deploy/compose.yaml: real containers on this machine.
#
#   scripts/compose.sh up [--controllers 1|3] [--monitoring]   starts three storage nodes and two gateways; waits until all are healthy
#   scripts/compose.sh status
#   scripts/compose.sh scale-out                               starts storage-node-3 and -4; the balancer moves data to them
#   scripts/compose.sh scale-in                                drains storage-node-4, stops it, then the same with -3
#   scripts/compose.sh restart NAME                            as a rolling update would: storage-node-1, gateway-0, controller-2
#   scripts/compose.sh down [--volumes]                        stops and removes the containers; --volumes deletes the data, too
#
# scale-in and restart stand in for the kubelet: the container's preStop (`storage-node pre-stop`) first, then
# SIGTERM, then SIGKILL after the grace. What Kubernetes' replica count says there (this node goes for good) is said here by
# `anabranch node drain`.
#
# The image is scripts/image.sh's, or ANABRANCH_IMAGE. It needs a Docker engine (`deploy/engine.sh up` starts one on a Debian machine
# that has none) and Docker Compose, as docker's plugin or as Debian's docker-compose.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export ANABRANCH_IMAGE=${ANABRANCH_IMAGE:-anabranch:dev}
# Compose reads it; a default of the caller's would start what nobody asked for here.
unset COMPOSE_PROFILES
readonly root project=anabranch scaled=(storage-node-3 storage-node-4)
readonly grace_drain=3600 grace=60 patience=${ANABRANCH_COMPOSE_TIMEOUT:-180}
# The services know every ANABRANCH_… variable, and this one is not theirs.
unset ANABRANCH_COMPOSE_TIMEOUT
compose=()

say() { printf '%s\n' "$*"; }
fail() {
    printf 'compose.sh: %s\n' "$*" >&2
    exit 1
}
usage() { sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

find_engine() {
    command -v docker >/dev/null || fail "there is no docker; '$root/deploy/engine.sh up' installs and starts it on Debian"
    if ! docker version >/dev/null 2>&1; then
        local found
        found=$("$root/deploy/engine.sh" env 2>/dev/null) || fail "no Docker engine answers; '$root/deploy/engine.sh up' starts one"
        eval "$found"
    fi
    if docker compose version >/dev/null 2>&1; then
        compose=(docker compose)
    elif command -v docker-compose >/dev/null; then
        compose=(docker-compose)
    else
        fail "there is no Docker Compose; on Debian: apt-get install docker-compose"
    fi
    compose+=(--project-name "$project" --file "$root/deploy/compose.yaml")
}

# ---- What there is

services() { # all of this project that have a container; services [FORMAT] prints something else about each
    docker ps --all --filter "label=com.docker.compose.project=$project" \
        --format "${1:-{{.Label \"com.docker.compose.service\"\}\}}" | sort
}

container() { # container SERVICE
    docker ps --all --quiet --filter "label=com.docker.compose.project=$project" --filter "label=com.docker.compose.service=$1"
}

state_of() { # healthy, starting, unhealthy, or of a container that does not run: exited, created, …
    docker inspect --format '{{if .State.Running}}{{with .State.Health}}{{.Status}}{{else}}running{{end}}{{else}}{{.State.Status}}{{end}}' \
        "$(container "$1")"
}

# The command line, in a gateway's container, about the whole cluster.
anabranch() { docker exec "$(container gateway-0)" anabranch "$@"; }

use_seeds_of() { # use_seeds_of COUNT
    local i all=()
    for ((i = 0; i < $1; i++)); do all+=("controller-$i:7300"); done
    SEEDS=$(IFS=,; printf '%s' "${all[*]}")
    export SEEDS
}

recall() {
    local count
    count=$(services | grep -c '^controller-') || fail "nothing is up; see '$0 up'"
    use_seeds_of "$count"
}

# ---- Waiting

wait_healthy() { # wait_healthy SERVICE…
    local service state deadline=$((SECONDS + patience))
    for service in "$@"; do
        until state=$(state_of "$service") && [[ $state == healthy || $state == running ]]; do
            if ((SECONDS >= deadline)); then
                docker logs --tail 20 "$(container "$service")" >&2 || true
                fail "$service is $state after $patience s"
            fi
            sleep 0.5
        done
    done
}

# ---- Commands

up() { # up CONTROLLERS MONITORING
    docker image inspect "$ANABRANCH_IMAGE" >/dev/null 2>&1 || fail "there is no image $ANABRANCH_IMAGE; scripts/image.sh makes it"
    local i wanted=()
    for ((i = 0; i < $1; i++)); do wanted+=("controller-$i"); done
    wanted+=(storage-node-0 storage-node-1 storage-node-2 gateway-0 gateway-1)
    [[ -z $2 ]] || wanted+=(prometheus grafana)
    use_seeds_of "$1"
    "${compose[@]}" up --detach "${wanted[@]}"
    wait_healthy "${wanted[@]}"
    say "ready: REST at http://127.0.0.1:8082 and :8083, Kafka at 127.0.0.1:9192 and :9193"
    [[ -z $2 ]] || say "Prometheus at http://127.0.0.1:9090, Grafana at http://127.0.0.1:3000"
}

status() {
    services '{{printf "%-16s" (.Label "com.docker.compose.service")}} {{.Status}}'
    anabranch node list
    anabranch rebalance status
}

scale_out() {
    local name
    for name in "${scaled[@]}"; do
        # The drain that an earlier scale-in asked for would keep away what the balancer is to move to the node.
        if anabranch node list | grep -q "^${name##*-} "; then anabranch node undrain "${name##*-}"; fi
    done
    "${compose[@]}" up --detach --no-recreate "${scaled[@]}"
    wait_healthy "${scaled[@]}"
    anabranch node list
}

scale_in() {
    local i name
    # The highest ordinal goes first, as from a StatefulSet.
    for ((i = ${#scaled[@]} - 1; i >= 0; i--)); do
        name=${scaled[i]}
        [[ -n $(container "$name") && $(state_of "$name") != exited ]] || continue
        say "$name: drain"
        timeout "$grace_drain" docker exec "$(container gateway-0)" anabranch node drain "${name##*-}" --wait
        stop "$name" "$grace_drain"
    done
    anabranch node list
}

restart() {
    [[ -n $(container "$1") ]] || fail "there is no $1; there are: $(services | tr '\n' ' ')"
    stop "$1" "$grace"
    docker start "$(container "$1")" >/dev/null
    wait_healthy "$1"
}

stop() { # stop NAME SECONDS: preStop has so long, and SIGTERM what is left of it, as with the kubelet
    local begun=$SECONDS left
    case "$1" in
        controller-* | gateway-*) ;;
        *)
            say "$1: preStop"
            timeout "$2" docker exec "$(container "$1")" "${1%-*}" pre-stop ||
                say "$1: preStop failed; the kubelet would go on, too"
            ;;
    esac
    left=$(($2 - (SECONDS - begun)))
    say "$1: SIGTERM"
    docker stop --time "$((left > 2 ? left : 2))" "$(container "$1")" >/dev/null
    say "$1: ended after $((SECONDS - begun)) s with code $(docker inspect --format '{{.State.ExitCode}}' "$(container "$1")")"
}

down() { # down [--volumes]
    # With the profiles, or compose leaves their containers alone.
    COMPOSE_PROFILES=scale-out,monitoring "${compose[@]}" down --remove-orphans "$@"
}

main() {
    local command=${1:-help} controllers=3 monitoring='' volumes=() words=()
    shift || true
    while (($# > 0)); do
        case "$1" in
            --controllers)
                [[ ${2:-} == [13] ]] || fail "--controllers is 1 or 3"
                controllers=$2
                shift 2
                ;;
            --monitoring) monitoring=yes && shift ;;
            --volumes) volumes=(--volumes) && shift ;;
            --*) fail "unknown option $1" ;;
            *) words+=("$1") && shift ;;
        esac
    done
    case "$command" in
        up | status | scale-out | scale-in | down) ((${#words[@]} == 0)) || fail "$command takes no ${words[0]}" ;;
        restart) ((${#words[@]} == 1)) || fail "restart takes NAME" ;;
        help | -h | --help)
            usage
            return
            ;;
        *) fail "unknown command '$command'; see '$0 help'" ;;
    esac
    find_engine
    case "$command" in
        up) up "$controllers" "$monitoring" ;;
        down) down "${volumes[@]}" ;;
        *)
            recall
            "${command/-/_}" "${words[@]}"
            ;;
    esac
}

main "$@"
