#!/usr/bin/env bash
# A Docker engine of our own, for a Debian machine on which none runs: Debian's packages, started as root without systemd.
#
#   deploy/engine.sh up                   installs and starts it; prints the line for a shell's DOCKER_HOST
#   deploy/engine.sh env                  prints that line if it runs, and fails if not
#   deploy/engine.sh down                 stops it and all its containers; images and volumes stay
#   deploy/engine.sh purge                stops it and deletes all that it has
#
# scripts/image.sh and scripts/compose.sh find it by themselves. It keeps everything in ANABRANCH_ENGINE_DIR
# (/var/tmp/anabranch-engine), so an engine that the machine has already is not touched; only the bridge docker0 and
# iptables' chains are the machine's, which is why a second engine beside a running one is refused.
set -euo pipefail

dir=${ANABRANCH_ENGINE_DIR:-/var/tmp/anabranch-engine}
readonly dir host="unix://$dir/docker.sock" patience=60

fail() {
    printf 'engine.sh: %s\n' "$*" >&2
    exit 1
}
usage() { sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; }

pid_of() { # the engine's pid, if it lives
    local pid
    [[ -r $dir/pid ]] || return 1
    pid=$(<"$dir/pid")
    [[ $(readlink "/proc/$pid/exe" 2>/dev/null) == */dockerd ]] || return 1
    printf '%s\n' "$pid"
}

answers() { DOCKER_HOST=$host docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

print_env() {
    if ! pid_of >/dev/null || ! answers; then fail "it does not run; see '$0 up'"; fi
    printf 'export DOCKER_HOST=%s\n' "$host"
}

install() {
    local lacking=()
    command -v dockerd >/dev/null || lacking+=(docker.io)
    command -v iptables >/dev/null || lacking+=(iptables)
    command -v pgrep >/dev/null || lacking+=(procps)
    ((${#lacking[@]} > 0)) || return 0
    command -v apt-get >/dev/null || fail "${lacking[*]} lacking, and no apt-get to install them"
    { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${lacking[@]}"; } >/dev/null
}

up() {
    if pid_of >/dev/null && answers; then
        print_env
        return
    fi
    ((EUID == 0)) || fail "an engine is started by root"
    install
    ! pgrep -x dockerd >/dev/null || fail "an engine runs on this machine already; use that one"
    mkdir -p "$dir"
    # Nothing that this shell has open may stay open in it, or whoever waits for our output waits for the engine's end.
    setsid dockerd --data-root "$dir/root" --exec-root "$dir/exec" --pidfile "$dir/pid" -H "$host" \
        >"$dir/log" 2>&1 </dev/null &
    local pid=$! deadline=$((SECONDS + patience))
    until answers; do
        if ! kill -0 "$pid" 2>/dev/null || ((SECONDS >= deadline)); then
            tail -n 5 "$dir/log" >&2
            kill "$pid" 2>/dev/null || true
            fail "the engine does not start; its log is $dir/log"
        fi
        sleep 0.2
    done
    print_env
}

down() {
    local pid deadline=$((SECONDS + 100))
    pid=$(pid_of) || return 0
    kill "$pid"
    while kill -0 "$pid" 2>/dev/null; do
        ((SECONDS < deadline)) || fail "process $pid does not end"
        sleep 0.2
    done
}

case "${1:-help}" in
    up) up ;;
    env) print_env ;;
    down) down ;;
    purge)
        down
        rm -rf -- "$dir"
        ;;
    help | -h | --help) usage ;;
    *) fail "unknown command '$1'; see '$0 help'" ;;
esac
