#!/usr/bin/env bash
# A cluster of real processes on loopback.
#
#   scripts/cluster.sh up --controllers C --storage-nodes S --gateways G --data-dir DIR
#                         [--port-offset K] [--timeout SECONDS] [--build]
#   scripts/cluster.sh status
#   scripts/cluster.sh kill NAME [SIGNAL]      NAME is controller-0, storage-node-2, gateway-1, …; TERM by default
#   scripts/cluster.sh start NAME
#   scripts/cluster.sh down
#
# All but `up` find the last `up` of this checkout; `--data-dir DIR` names another one. Ports, all moved by K: controller i
# 7300+i (gRPC) and 7400+i (HTTP), storage node i 9092+i (Kafka) and 9600+i (HTTP), gateway i 8082+i (REST)
# and 9192+i (Kafka).
#
# `up` returns 0 once every storage node is active and every partition that exists has a leader that answers. Under DIR
# are a folder for each process that has data, `logs/NAME.log`, and `run/` with pids. ANABRANCH_BIN_DIR names a folder with
# the three binaries; without it they are those of `cargo build --release`, built if they are missing or --build says so.
# Other ANABRANCH_… variables configure the processes.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
state_home=${XDG_STATE_HOME:-${HOME:+$HOME/.local/state}}
last_up=${state_home:-${TMPDIR:-/tmp}}/anabranch/last-up-$(printf '%s' "$root" | cksum | cut -d' ' -f1)
bin_dir=${ANABRANCH_BIN_DIR:-}
# The services know every ANABRANCH_… variable, and this one is not theirs.
unset ANABRANCH_BIN_DIR

host=127.0.0.1
readonly root last_up host
data_dir='' controllers=1 storage_nodes=1 gateways=1 port_offset=0 timeout=60 build=''

say() { printf '%s\n' "$*"; }
fail() {
    printf 'cluster.sh: %s\n' "$*" >&2
    exit 1
}
usage() {
    sed -n '2,/^set /{/^set /!s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"
}

# ---- What there is

names() { # names KIND COUNT
    local i
    for ((i = 0; i < $2; i++)); do say "$1-$i"; done
}

all_names() {
    names controller "$controllers"
    names storage-node "$storage_nodes"
    names gateway "$gateways"
}

kind_of() { say "${1%-*}"; }
ordinal_of() { say "${1##*-}"; }

check_name() {
    all_names | grep -qxF -- "$1" || fail "there is no $1; there are: $(all_names | tr '\n' ' ')"
}

port() { # port NAME (service|http|kafka)
    local base
    case "$(kind_of "$1")/$2" in
        controller/service) base=7300 ;;
        controller/http) base=7400 ;;
        storage-node/service) base=9092 ;;
        storage-node/http) base=9600 ;;
        gateway/kafka) base=9192 ;;
        gateway/*) base=8082 ;;
    esac
    say "$((base + $(ordinal_of "$1") + port_offset))"
}

http() { say "http://$host:$(port "$1" http)"; }

seeds() {
    local name all=()
    for name in $(names controller "$controllers"); do all+=("$host:$(port "$name" service)"); done
    local IFS=,
    say "${all[*]}"
}

# Sets the array `argv` to the command line of NAME.
command_of() {
    local name=$1 i
    i=$(ordinal_of "$name")
    argv=("$bin_dir/$(kind_of "$name")" --controller.seeds "$(seeds)")
    case "$(kind_of "$name")" in
        controller)
            argv+=(
                --controller.ordinal "$i"
                --controller.data_dir "$data_dir/$name"
                --controller.rpc.listen "$host:$(port "$name" service)"
                --controller.http.listen "$host:$(port "$name" http)"
            )
            ;;
        storage-node)
            argv+=(
                --storage.node_id "$i"
                --storage.data_dir "$data_dir/$name"
                --storage.kafka.listen "$host:$(port "$name" service)"
                --storage.http.listen "$host:$(port "$name" http)"
            )
            ;;
        gateway)
            argv+=(
                --gateway.rest.listen "$host:$(port "$name" service)"
                --gateway.kafka.listen "$host:$(port "$name" kafka)"
            )
            ;;
    esac
}

# ---- The last `up`

remember() {
    mkdir -p "$data_dir/run" "$data_dir/logs" "$(dirname "$last_up")"
    printf '%s\n' "$controllers" "$storage_nodes" "$gateways" "$port_offset" "$bin_dir" >"$data_dir/run/cluster"
    printf '%s\n' "$data_dir" >"$last_up"
}

recall() {
    if [[ -z $data_dir ]]; then
        [[ -r $last_up ]] || fail "nothing was started from $root: see '$0 up'"
        data_dir=$(<"$last_up")
    fi
    [[ -r $data_dir/run/cluster ]] || fail "$data_dir holds no cluster"
    data_dir=$(cd "$data_dir" && pwd)
    {
        read -r controllers
        read -r storage_nodes
        read -r gateways
        read -r port_offset
        read -r bin_dir
    } <"$data_dir/run/cluster"
}

# ---- Processes

# Prints the pid of NAME, if that process lives and is still ours.
pid_of() {
    local file=$data_dir/run/$1.pid pid
    [[ -r $file ]] || return 1
    pid=$(<"$file")
    # A zombie has an empty command line, and a reused pid another one. (By itself cmp believes that files in /proc are empty.)
    { cat "/proc/$pid/cmdline" 2>/dev/null || true; } | cmp -s "$data_dir/run/$1.argv" - || return 1
    say "$pid"
}

launch() {
    local name=$1 pid i
    local -a argv
    pid_of "$name" >/dev/null && fail "$name runs already"
    command_of "$name"
    printf '%s\0' "${argv[@]}" >"$data_dir/run/$name.argv"
    # A session of its own outlives this shell and its terminal.
    setsid nohup "${argv[@]}" >>"$data_dir/logs/$name.log" 2>&1 </dev/null &
    pid=$!
    say "$pid" >"$data_dir/run/$name.pid"
    for ((i = 0; i < 100; i++)); do
        pid_of "$name" >/dev/null && return
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.01
    done
}

signal() { # signal NAME SIGNAL
    local pid
    pid=$(pid_of "$1") || return 1
    kill -s "$2" "$pid"
}

tail_of() {
    say "the end of $data_dir/logs/$1.log:"
    tail -n 10 "$data_dir/logs/$1.log" | sed 's/^/    /'
}

# Asks processes to end, all at once, and waits for them until the deadline (in SECONDS).
stop_all() {
    local deadline=$1 name
    shift
    for name in "$@"; do
        signal "$name" TERM || continue
        # One that was stopped would never hear of it.
        signal "$name" CONT || true
    done
    for name in "$@"; do
        while pid_of "$name" >/dev/null; do
            if ((SECONDS >= deadline)); then
                say "$name did not end in time, killing it" >&2
                signal "$name" KILL || true
                deadline=$((SECONDS + 1))
            fi
            sleep 0.05
        done
        rm -f "$data_dir/run/$name.pid" "$data_dir/run/$name.argv"
    done
}

stop_cluster() {
    local deadline=$((SECONDS + 60))
    # shellcheck disable=SC2046 # names have no spaces
    {
        stop_all "$deadline" $(names gateway "$gateways")
        stop_all "$deadline" $(names storage-node "$storage_nodes")
        stop_all "$deadline" $(names controller "$controllers")
    }
}

# ---- Readiness

get() { curl --silent --fail --noproxy '*' --max-time 10 "$@"; }

# Prints the first thing that is missing, and fails; prints nothing when all is there.
all_ready() {
    local name active
    for name in $(all_names); do
        get --output /dev/null "$(http "$name")/readyz" || {
            say "$name is not ready: $(curl --silent --noproxy '*' --max-time 10 "$(http "$name")/readyz" || true)"
            return 1
        }
    done
    for name in $(names gateway "$gateways"); do
        active=$(get "$(http "$name")/admin/v1/nodes" | grep -o '"state":"active"' | wc -l || true)
        ((active >= storage_nodes)) || {
            say "$active of $storage_nodes storage nodes are active, as $name sees it"
            return 1
        }
    done
    ((gateways == 0)) || partitions_ready "$(http gateway-0)"
}

partitions_ready() {
    local rest=$1 topics partitions leaderless
    topics=$(get "$rest/topics" | grep -o '"[^"]*"' | tr -d '"' || true)
    [[ -n $topics ]] || return 0
    # One line a topic, in the order of the names; curl takes all URLs at once.
    partitions=$(sed "s|.*|url = \"$rest/topics/&/partitions\"|" <<<"$topics" | get --write-out '\n' --config -) || {
        say "the gateway does not list the partitions"
        return 1
    }
    leaderless=$(grep -o '"leader":-1' <<<"$partitions" | wc -l || true)
    ((leaderless == 0)) || {
        say "$leaderless partitions have no leader"
        return 1
    }
    # A leader that answers for its offsets knows its high watermark.
    paste <(say "$topics") <(awk '{ print gsub(/"partition":/, "") - 1 }' <<<"$partitions") |
        sed "s|\(.*\)\t\(.*\)|url = \"$rest/topics/\1/partitions/[0-\2]/offsets\"|" |
        curl --silent --fail --fail-early --noproxy '*' --config - >/dev/null || {
        say "not every partition's leader answers"
        return 1
    }
}

dead() {
    local name
    for name in $(all_names); do pid_of "$name" >/dev/null || say "$name"; done
}

await_ready() {
    local deadline=$((SECONDS + timeout)) missing=nothing name
    while :; do
        # What answers on a port may be somebody else's, so who ended is asked last.
        missing=$(all_ready) && [[ -z $(dead) ]] && return
        for name in $(dead); do
            say "$name ended" >&2
            tail_of "$name" >&2
        done
        [[ -z $(dead) ]] || return 1
        if ((SECONDS >= deadline)); then
            say "not ready after $timeout s: $missing" >&2
            return 1
        fi
        sleep 0.1
    done
}

# ---- Commands

find_binaries() {
    local kind missing=''
    if [[ -n $bin_dir ]]; then
        bin_dir=$(cd "$bin_dir" && pwd) || fail "ANABRANCH_BIN_DIR is no folder"
    else
        bin_dir=${CARGO_TARGET_DIR:-$root/target}/release
        [[ $bin_dir == /* ]] || bin_dir=$PWD/$bin_dir
        for kind in controller storage-node gateway; do
            [[ -x $bin_dir/$kind ]] || missing=yes
        done
        if [[ -n $missing$build ]]; then
            (cd "$root" && CARGO_TARGET_DIR=${bin_dir%/release} \
                cargo build --release -p controller -p storage-node -p gateway)
        fi
    fi
    for kind in controller storage-node gateway; do
        [[ -x $bin_dir/$kind ]] || fail "there is no $bin_dir/$kind"
    done
}

check_counts() {
    local held
    [[ $controllers =~ ^[135]$ ]] || fail "--controllers is 1, 3 or 5, not '$controllers'"
    [[ $storage_nodes =~ ^[0-9]+$ ]] && ((storage_nodes <= 100)) ||
        fail "--storage-nodes is 0 to 100, not '$storage_nodes'"
    [[ $gateways =~ ^[0-9]+$ ]] && ((gateways <= 100)) || fail "--gateways is 0 to 100, not '$gateways'"
    [[ $port_offset =~ ^[0-9]+$ ]] || fail "--port-offset is a number, not '$port_offset'"
    [[ $timeout =~ ^[0-9]+$ ]] || fail "--timeout is in whole seconds, not '$timeout'"
    held=$(find "$data_dir" -maxdepth 1 -name 'storage-node-*' | wc -l)
    ((storage_nodes >= held)) ||
        fail "$data_dir holds $held storage nodes: with $storage_nodes, partitions of the others have no leader"
}

up() {
    local name previous
    [[ -n $data_dir ]] || fail "up needs --data-dir DIR"
    mkdir -p "$data_dir"
    data_dir=$(cd "$data_dir" && pwd)
    check_counts
    if [[ -r $data_dir/run/cluster ]]; then
        for name in "$data_dir"/run/*.pid; do
            name=$(basename "$name" .pid)
            if pid_of "$name" >/dev/null; then
                fail "$name of $data_dir runs already: '$0 down --data-dir $data_dir' ends it"
            fi
        done
    fi
    find_binaries
    previous=$(cat "$last_up" 2>/dev/null || true)
    remember
    # A soft limit of 1024 open files, as login shells have it, is little for a storage node.
    ulimit -Sn "$(ulimit -Hn)" 2>/dev/null || true
    for name in $(all_names); do launch "$name"; done
    if ! await_ready; then
        stop_cluster
        # The one before may still run, and stays the one that `down` finds.
        [[ -z $previous ]] || printf '%s\n' "$previous" >"$last_up"
        fail "the cluster did not start; logs are in $data_dir/logs"
    fi
    say "ready after $SECONDS s: logs in $data_dir/logs"
    status
}

state_of() {
    local name=$1 pid=$2
    if [[ $(awk '{ print $3 }' "/proc/$pid/stat" 2>/dev/null) == T ]]; then
        say stopped
    elif get --max-time 1 --output /dev/null "$(http "$name")/readyz"; then
        say ready
    else
        say 'not ready'
    fi
}

status() {
    local name pid state ports
    printf '%-18s %-8s %-10s %s\n' NAME PID STATE PORTS
    for name in $(all_names); do
        pid=$(pid_of "$name") && state=$(state_of "$name" "$pid") || { pid=- state=down; }
        case "$(kind_of "$name")" in
            controller) ports="gRPC $(port "$name" service), HTTP $(port "$name" http)" ;;
            storage-node) ports="Kafka $(port "$name" service), HTTP $(port "$name" http)" ;;
            gateway) ports="REST $(port "$name" service), Kafka $(port "$name" kafka)" ;;
        esac
        printf '%-18s %-8s %-10s %s\n' "$name" "$pid" "$state" "$ports"
    done
}

kill_one() {
    local name=$1 signal=${2:-TERM}
    check_name "$name"
    signal=${signal#-}
    signal "$name" "${signal#SIG}" || fail "$name does not run"
}

# Returns once the process answers that it lives, which is before it is ready.
start_one() {
    local name=$1 deadline=$((SECONDS + timeout))
    check_name "$name"
    launch "$name"
    until get --output /dev/null "$(http "$name")/livez"; do
        if ! pid_of "$name" >/dev/null; then
            tail_of "$name" >&2
            fail "$name ended"
        fi
        ((SECONDS < deadline)) || fail "$name does not answer after $timeout s"
        sleep 0.05
    done
}

down() {
    stop_cluster
    say "all processes of $data_dir have ended; the data stays"
}

main() {
    local command=${1:-help} words=()
    shift || true
    while (($# > 0)); do
        case "$1" in
            --controllers | --storage-nodes | --gateways | --data-dir | --port-offset | --timeout)
                (($# > 1)) || fail "$1 needs a value"
                local key=${1#--}
                printf -v "${key//-/_}" '%s' "$2"
                shift 2
                ;;
            --build)
                build=yes
                shift
                ;;
            --*) fail "unknown option $1" ;;
            *)
                words+=("$1")
                shift
                ;;
        esac
    done
    case "$command" in
        up | status | down) ((${#words[@]} == 0)) || fail "$command takes no ${words[0]}" ;;
        kill) ((${#words[@]} == 1 || ${#words[@]} == 2)) || fail "kill takes NAME [SIGNAL]" ;;
        start) ((${#words[@]} == 1)) || fail "start takes NAME" ;;
        help | -h | --help)
            usage
            return
            ;;
        *) fail "unknown command '$command'; see '$0 help'" ;;
    esac
    case "$command" in
        up) up ;;
        *)
            recall
            case "$command" in
                status) status ;;
                kill) kill_one "${words[@]}" ;;
                start) start_one "${words[@]}" ;;
                down) down ;;
            esac
            ;;
    esac
}

main "$@"
