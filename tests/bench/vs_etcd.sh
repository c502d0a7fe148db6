#!/bin/bash
# SPDX-License-Identifier: MIT
# Writes and linearizable reads of three crabcluster nodes beside three etcd nodes
# (v2 HTTP API, quorum reads), on one machine, both with their default
# configuration. While one cluster is measured, the other is stopped by SIGSTOP.
# Ratios count, absolute figures do not.
set -euo pipefail

usage() {
    cat <<'END'
usage: tests/bench/vs_etcd.sh

Needs etcd (Debian: etcd-server), wrk, curl and jq. From the environment:
CRABCLUSTER  the daemon (default: ./crabcluster)
CONNECTIONS  "1 64 256 512"
ROUNDS       3     rounds; the table has the median of each figure
SECONDS_EACH 5     seconds of each measurement
KEYS         1000000  keys, uniformly random
AT           leader   or follower: the node that takes the load
BASE_PORT    24100 nine ports from here on
WORK_DIR     where data goes (default: a new directory under $TMPDIR, removed at the end)
END
}

[ $# -eq 0 ] || { usage; exit 2; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
daemon=$(realpath -e "${CRABCLUSTER:-./crabcluster}")
connections=${CONNECTIONS:-1 64 256 512}
rounds=${ROUNDS:-3}
seconds_each=${SECONDS_EACH:-5}
n_keys=${KEYS:-1000000}
at=${AT:-leader}
base_port=${BASE_PORT:-24100}
preload_max_s=600
unset "${!ETCD_@}" "${!CRABCLUSTER_@}" http_proxy https_proxy all_proxy HTTP_PROXY ALL_PROXY

die() {
    printf 'vs_etcd.sh: %s\n' "$*" >&2
    exit 1
}

for program in etcd wrk curl jq; do
    command -v "$program" >/dev/null || die "$program is not installed"
done

if [ -n "${WORK_DIR-}" ]; then
    mkdir -p "$WORK_DIR"
    work=$(mktemp -d "$WORK_DIR/vs-etcd.XXXXXX")
else
    work=$(mktemp -d -t vs-etcd.XXXXXX)
fi
pids=()
etcd_pids=()
crabcluster_pids=()

cleanup() {
    local pid
    for pid in "${pids[@]}"; do
        kill -KILL "$pid" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

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

etcd_addr() {
    echo "127.0.0.1:$((base_port + $1))"
}

etcd_peer() {
    echo "http://127.0.0.1:$((base_port + 3 + $1))"
}

crabcluster_addr() {
    echo "127.0.0.1:$((base_port + 6 + $1))"
}

etcd_write_works() {
    ask -X PUT "http://$(etcd_addr "$1")/v2/keys/check" -d value=v
}

crabcluster_write_works() {
    ask "http://$(crabcluster_addr "$1")/write" -d '{"Set":{"key":"check","value":"v"}}'
}

start_etcd() {
    local i members=()
    for i in 0 1 2; do
        members+=("n$i=$(etcd_peer $i)")
    done
    for i in 0 1 2; do
        etcd --name "n$i" --data-dir "$work/etcd$i" --enable-v2 \
            --listen-client-urls "http://$(etcd_addr $i)" \
            --advertise-client-urls "http://$(etcd_addr $i)" \
            --listen-peer-urls "$(etcd_peer $i)" \
            --initial-advertise-peer-urls "$(etcd_peer $i)" \
            --initial-cluster "$(IFS=,; echo "${members[*]}")" \
            >"$work/etcd$i.log" 2>&1 &
        etcd_pids+=($!)
        pids+=($!)
    done
    wait_for 30 "etcd takes a write" etcd_write_works 0
}

start_crabcluster() {
    local i ids=() id first
    : >"$work/empty.conf"
    for i in 0 1 2; do
        "$daemon" --config "$work/empty.conf" --bind-addr "$(crabcluster_addr $i)" \
            --data-dir "$work/crabcluster$i" >"$work/crabcluster$i.log" 2>&1 &
        crabcluster_pids+=($!)
        pids+=($!)
    done
    first=http://$(crabcluster_addr 0)
    for i in 0 1 2; do
        wait_for 10 "crabcluster answers" ask "http://$(crabcluster_addr $i)/get-id"
    done
    ask "$first/init" >/dev/null
    for i in 0 1 2; do
        id=$(ask "http://$(crabcluster_addr $i)/get-id")
        ids+=("$id")
        [ "$i" -eq 0 ] || ask "$first/add-learner" -d "[$id,\"$(crabcluster_addr $i)\"]" >/dev/null
    done
    ask "$first/change-membership" -d "[$(IFS=,; echo "${ids[*]}")]" >/dev/null
    wait_for 30 "crabcluster takes a write" crabcluster_write_works 0
}

etcd_leads() {
    [ "$(ask "http://$(etcd_addr "$1")/v2/stats/self" | jq -r .state)" = StateLeader ]
}

crabcluster_leads() {
    [ "$(ask "http://$(crabcluster_addr "$1")/metrics" | jq -r .Ok.state)" = Leader ]
}

# target SYSTEM: the address that takes the load.
target() {
    local i
    for i in 0 1 2; do
        if "$1_leads" "$i"; then
            [ "$at" = leader ] || i=$(((i + 1) % 3))
            "$1_addr" "$i"
            return
        fi
    done
    return 1
}

# signal SYSTEM NAME: to all its nodes.
signal() {
    local -n signalled=$1_pids
    kill "-$2" "${signalled[@]}"
}

# load SYSTEM OPERATION CONNECTIONS SECONDS: prints rate, p50 us, p99 us, errors.
load() {
    local threads=2
    [ "$3" -gt 1 ] || threads=1
    wrk -t "$threads" -c "$3" -d "$4s" --timeout 10s -s "$here/vs_etcd.lua" \
        "http://$(target "$1")" -- "$1" "$2" "$n_keys" |
        sed -n 's/^RESULT //p'
}

# preload SYSTEM: writes each key once.
preload() {
    local wrk_pid begin=$SECONDS
    wrk -t 2 -c 256 -d "${preload_max_s}s" --timeout 10s -s "$here/vs_etcd.lua" \
        "http://$(target "$1")" -- "$1" preload "$n_keys" "$work/$1.loaded" \
        >"$work/$1.preload" 2>&1 &
    wrk_pid=$!
    pids+=("$wrk_pid")
    wait_for "$preload_max_s" "$1 is preloaded" \
        test -e "$work/$1.loaded.0" -a -e "$work/$1.loaded.1"
    kill -INT "$wrk_pid"
    wait "$wrk_pid" || true
    echo "# $1: $n_keys keys in $((SECONDS - begin)) s"
}

resume() {
    signal "$1" CONT
    wait_for 30 "$1 works again" "$1_write_works" 0
    wait_for 30 "$1 has a leader" target "$1"
}

measure_round() {
    local system operation c result
    for system in etcd crabcluster; do
        resume "$system"
        load "$system" write 64 1 >/dev/null # warm up
        for operation in write read; do
            for c in $connections; do
                result=$(load "$system" "$operation" "$c" "$seconds_each")
                [ -n "$result" ] || die "no result of wrk: $system $operation $c"
                echo "$system $operation $c $result" | tee -a "$work/results"
            done
        done
        signal "$system" STOP
    done
}

# The median of each figure, and ratios.
table() {
    awk -v connections="$connections" '
        function median(key, n, i, j, t, v) {
            n = count[key]
            for (i = 1; i <= n; i++) v[i] = values[key, i]
            for (i = 2; i <= n; i++)
                for (j = i; j > 1 && v[j - 1] > v[j]; j--) {
                    t = v[j]; v[j] = v[j - 1]; v[j - 1] = t
                }
            return n % 2 ? v[(n + 1) / 2] : (v[n / 2] + v[n / 2 + 1]) / 2
        }
        function add(key, value) { values[key, ++count[key]] = value }
        {
            add($1 " " $2 " " $3 " rate", $4); add($1 " " $2 " " $3 " p50", $5)
            add($1 " " $2 " " $3 " p99", $6); errors[$1] += $7
        }
        END {
            printf "%-6s %5s | %9s %8s %8s | %9s %8s %8s | %6s %6s\n", "", "conns",
                "etcd /s", "p50 ms", "p99 ms", "crab /s", "p50 ms", "p99 ms", "rate", "p50"
            n = split(connections, c, " ")
            split("write read", operations, " ")
            for (o = 1; o <= 2; o++)
                for (i = 1; i <= n; i++) {
                    k = " " operations[o] " " c[i]
                    er = median("etcd" k " rate"); cr = median("crabcluster" k " rate")
                    ep = median("etcd" k " p50"); cp = median("crabcluster" k " p50")
                    printf "%-6s %5d | %9.0f %8.2f %8.2f | %9.0f %8.2f %8.2f | %5.2fx %5.2fx\n",
                        operations[o], c[i], er, ep / 1000, median("etcd" k " p99") / 1000,
                        cr, cp / 1000, median("crabcluster" k " p99") / 1000,
                        er ? cr / er : 0, ep ? cp / ep : 0
                }
            printf "errors: etcd %d, crabcluster %d\n", errors["etcd"], errors["crabcluster"]
        }' "$work/results"
}

echo "# $(etcd --version | head -n 1), $("$daemon" --version), $(nproc) cores, load at the $at"
for system in etcd crabcluster; do
    "start_$system"
    preload "$system"
    signal "$system" STOP
done
for ((round = 1; round <= rounds; round++)); do
    echo "# round $round of $rounds: system, operation, connections, rate, p50 us, p99 us, errors"
    measure_round
done
table
