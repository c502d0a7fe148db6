# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# What compare.sh and limits.sh share: three nodes of etcd or of crabcluster on
# loopback, started, paused, killed and ended by their process ids, and wrk
# against one of them. "etcd" is the one used by its v2 interface, "etcd3" by v3. What
# may be set before bench_begin has its default here; $daemon is then the crabcluster
# that is measured.

name=$(basename "$0")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work_parent=${TMPDIR:-/tmp}
base_port=24100
n_keys=1000000
declare -A pid_of=() # of etcd0 .. etcd2, etcd30 .. etcd32, crabcluster0 .. crabcluster2
other_pids=()        # loads and helpers
work=
crabcluster_conf=    # the configuration file's text; empty: the defaults
etcd_flags=()        # of the nodes started next

die() {
    printf '%s: %s\n' "$name" "$*" >&2
    exit 1
}

say() {
    printf '# %(%H:%M:%S)T %s\n' -1 "$*"
}

# number OPTION TEXT: the text, if it is one.
number() {
    [[ $2 =~ ^[1-9][0-9]{0,8}$ ]] || die "$1: a number is needed"
    echo "$2"
}

need_programs() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || die "$program is not installed"
    done
}

# Programs of this directory are built beside the daemon.
need_built() {
    local program
    for program in "$@"; do
        [ -x "$built/$program" ] || die "$built/$program is missing: make tests/bench/$program"
    done
}

end_pids() {
    local pid
    for pid in "$@"; do
        kill -KILL "$pid" 2>/dev/null || true
    done
    for pid in "$@"; do
        wait "$pid" 2>/dev/null || true
    done
}

cleanup() {
    end_pids "${pid_of[@]}" "${other_pids[@]}"
    [ -z "$work" ] || rm -rf "$work"
}

bench_begin() {
    daemon=$(realpath -e "${CRABCLUSTER:-./crabcluster}") || die "no daemon: set CRABCLUSTER"
    built=$(dirname "$daemon")/tests/bench
    unset "${!ETCD_@}" "${!CRABCLUSTER_@}" http_proxy https_proxy all_proxy HTTP_PROXY ALL_PROXY
    ulimit -n "$(ulimit -Hn)"
    trap cleanup EXIT
    trap 'exit 130' INT TERM
    trap 'printf "%s: failed: %s (line %s)\n" "$name" "$BASH_COMMAND" "$LINENO" >&2' ERR
    set -E
    mkdir -p "$work_parent"
    work=$(mktemp -d "$work_parent/crabcluster-bench.XXXXXX")
}

# The machine and what is measured, one line each.
describe() {
    echo "machine: $(nproc) cores ($(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1))," \
        "$(awk '/^MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo) GiB," \
        "Linux $(uname -r), data on $(df --output=fstype "$work" | tail -n 1)"
    echo "versions: $("$daemon" --version | head -n 1)$([ "$#" -eq 0 ] || printf ', %s' "$@")"
}

# Says so if the machine is busy though all that is measured stands still.
note_if_busy() {
    local percent
    percent=$({ grep '^cpu ' /proc/stat; sleep 0.3; grep '^cpu ' /proc/stat; } |
        awk '{ all = 0; for (i = 2; i <= 9; i++) all += $i; idle = $5 + $6 }
             NR == 1 { all_before = all; idle_before = idle }
             END { printf "%.0f", 100 - (idle - idle_before) * 100 / (all - all_before) }')
    [ "$percent" -gt 10 ] || return 0
    say "something else takes $percent % of the processors; most of it: $(busiest)"
}

# The process that runs most now, and its share of one processor.
busiest() {
    LC_ALL=C top -b -d 0.5 -n 2 | awk '$1 == "PID" { table++; next }
        table == 2 && $12 != "top" && !done { print $12, $9 " %"; done = 1 }'
}

etcd_version() {
    etcd --version | sed -n 's/^etcd Version: /etcd /p'
}

wrk_version() { # which ends with 1 after it has told that
    { wrk -v 2>&1 || true; } | sed -n 's/^\(wrk [^ ]*\).*/\1/p'
}

# wait_for SECONDS WHAT COMMAND...
wait_for() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || die "not in time: $what"
        sleep 0.1
    done
}

ask() {
    curl -sS --fail-with-body -m 5 "$@"
}

# ---- one node: SYSTEM NUMBER ----

addr() {
    case $1 in
    etcd) echo "127.0.0.1:$((base_port + $2))" ;;
    etcd3) echo "127.0.0.1:$((base_port + 9 + $2))" ;;
    crabcluster) echo "127.0.0.1:$((base_port + 6 + $2))" ;;
    esac
}

etcd_peer() {
    local addr
    addr=$(addr "$1" "$2")
    echo "http://${addr%:*}:$((${addr##*:} + 3))"
}

start_etcd_node() {
    local i=$2 each members=()
    for each in 0 1 2; do
        members+=("n$each=$(etcd_peer "$1" $each)")
    done
    etcd --name "n$i" --data-dir "$work/$1$i" --enable-v2 "${etcd_flags[@]}" \
        --listen-client-urls "http://$(addr "$1" "$i")" \
        --advertise-client-urls "http://$(addr "$1" "$i")" \
        --listen-peer-urls "$(etcd_peer "$1" "$i")" \
        --initial-advertise-peer-urls "$(etcd_peer "$1" "$i")" \
        --initial-cluster "$(IFS=,; echo "${members[*]}")" >>"$work/$1$i.log" 2>&1 &
    pid_of[$1$i]=$!
}

start_etcd() {
    start_etcd_node etcd "$1"
}

start_etcd3() {
    start_etcd_node etcd3 "$1"
}

start_crabcluster() {
    printf '%s\n' "$crabcluster_conf" >"$work/crabcluster.conf"
    "$daemon" --config "$work/crabcluster.conf" --bind-addr "$(addr crabcluster "$1")" \
        --data-dir "$work/crabcluster$1" >>"$work/crabcluster$1.log" 2>&1 &
    pid_of[crabcluster$1]=$!
}

etcd_writes() {
    ask -X PUT "http://$(addr etcd "$1")/v2/keys/check" -d value=v
}

etcd_reads() {
    ask "http://$(addr etcd "$1")/v2/keys/check?quorum=true"
}

etcd3_writes() {
    ask "http://$(addr etcd3 "$1")/v3/kv/put" -d '{"key":"Y2hlY2s=","value":"dg=="}'
}

etcd3_reads() {
    ask "http://$(addr etcd3 "$1")/v3/kv/range" -d '{"key":"Y2hlY2s="}'
}

etcd_node_leads() {
    [ "$(ask "http://$(addr "$1" "$2")/v2/stats/self" | jq -r .state)" = StateLeader ]
}

etcd_leads() {
    etcd_node_leads etcd "$1"
}

etcd3_leads() {
    etcd_node_leads etcd3 "$1"
}

crabcluster_answers() {
    ask "http://$(addr crabcluster "$1")/get-id"
}

crabcluster_writes() {
    ask -X PUT "http://$(addr crabcluster "$1")/v1/kv/check" --data-binary v
}

crabcluster_reads() {
    ask "http://$(addr crabcluster "$1")/v1/kv/check"
}

crabcluster_leads() {
    [ "$(ask "http://$(addr crabcluster "$1")/metrics" | jq -r .Ok.state)" = Leader ]
}

# ---- three nodes: SYSTEM ----

# Each node has said that it is in the cluster, and has what was written before.
wait_whole() {
    local i
    for i in 0 1 2; do
        wait_for 120 "$1 takes a write at node $i" "$1_writes" $i
    done
    for i in 0 1 2; do
        wait_for 120 "$1 reads at node $i" "$1_reads" $i
    done
}

join_crabcluster() {
    local i first
    first=http://$(addr crabcluster 0)
    for i in 0 1 2; do
        wait_for 10 "crabcluster answers" crabcluster_answers $i
    done
    ask "$first/init" -d '' >/dev/null
    for i in 1 2; do
        ask "$first/v1/members" -d "{\"addr\":\"$(addr crabcluster $i)\"}" >/dev/null
    done
}

start_cluster() {
    local i
    for i in 0 1 2; do
        "start_$1" $i
    done
    [ "$1" != crabcluster ] || join_crabcluster
    wait_whole "$1"
}

# All nodes end and start again.
restart_cluster() {
    local i
    signal_cluster "$1" TERM
    for i in 0 1 2; do
        wait "${pid_of[$1$i]}" || true # etcd ends by the signal
    done
    for i in 0 1 2; do
        "start_$1" $i
    done
    wait_whole "$1"
}

signal_cluster() {
    kill "-$2" "${pid_of[${1}0]}" "${pid_of[${1}1]}" "${pid_of[${1}2]}"
}

pause() {
    signal_cluster "$1" STOP
}

resume() {
    signal_cluster "$1" CONT
    wait_whole "$1"
}

# Other configuration, everything else as it was.
reconfigure_crabcluster() {
    local i
    [ "$crabcluster_conf" != "$1" ] || return 0
    crabcluster_conf=$1
    for i in 0 1 2; do
        kill -TERM "${pid_of[crabcluster$i]}"
        wait "${pid_of[crabcluster$i]}" || die "crabcluster $i ended with $?"
        start_crabcluster $i
        wait_for 30 "crabcluster $i is back" crabcluster_reads $i
    done
    wait_whole crabcluster
}

find_leader() {
    local i
    for i in 0 1 2; do
        if "$1_leads" $i 2>/dev/null; then
            echo $i
            return
        fi
    done
    return 1
}

leader() {
    wait_for 30 "$1 has a leader" find_leader "$1"
    find_leader "$1"
}

# target SYSTEM leader|follower: the address that takes the load.
target() {
    local i
    i=$(leader "$1")
    [ "$2" = leader ] || i=$(((i + 1) % 3))
    addr "$1" "$i"
}

# ---- load ----

# load ADDR OPERATION CONNECTIONS SECONDS: rate, p50, p99, longest (us), errors.
load() {
    local threads=2 result
    [ "$3" -gt 1 ] || threads=1
    result=$(wrk -t "$threads" -c "$3" -d "$4s" --timeout 10s -s "$here/load.lua" "http://$1" \
        -- "$2" "$n_keys" | sed -n 's/^RESULT //p')
    [ -n "$result" ] || die "no result of wrk: $2 at $1"
    echo "$result"
}

# write_all_keys ADDR OPERATION: each once; says how many answers were errors. By one thread of
# wrk, because of two one is soon far ahead and would write its last key until the other is done.
write_all_keys() {
    local pid loaded=$work/loaded
    rm -f "$loaded".*
    wrk -t 1 -c 256 -d 1200s --timeout 30s -s "$here/load.lua" "http://$1" \
        -- "$2" "$n_keys" "$loaded" >"$work/preload" 2>&1 &
    pid=$!
    other_pids+=("$pid")
    wait_for 1200 "preload by $2" test -e "$loaded.0"
    kill -INT "$pid"
    wait "$pid" || true
    errors=$(sed -n 's/^RESULT .* //p' "$work/preload")
    [ -n "$errors" ] || die "preload by $2: $(cat "$work/preload")"
}

# preload ADDR OPERATION: until each key is written; a change of leaders is no failure yet.
preload() {
    local begin=$SECONDS errors try
    for try in 1 2 3; do
        write_all_keys "$1" "$2"
        if [ "$errors" -eq 0 ]; then
            say "$n_keys keys written by $2 in $((SECONDS - begin)) s"
            return
        fi
        say "preload by $2: $errors errors, try $try"
    done
    die "preload by $2: errors every time"
}
