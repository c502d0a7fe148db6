#!/bin/bash
# SPDX-License-Identifier: MIT
# How near crabcluster is to what the machine and its libraries can do, measured
# in turn with that.
set -euo pipefail

# shellcheck source=tests/bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'END_OF_USAGE'
usage: tests/bench/limits.sh [options]

  --quick          2 s for each figure, 20,000 keys, one round
  --rounds N       rounds (5)
  --seconds N      seconds of each measurement (10)
  --keys N         keys, uniformly random, all written before (1000000)
  --connections N  connections of the load (256; of batches 64)
  --work-dir DIR   where data goes (default: $TMPDIR or /tmp; a real disk)
  --port N         the first of ten ports (24100)

Run it in the build directory, or name the daemon by CRABCLUSTER. `make bench-limits
BENCH_FLAGS=--quick` builds what it needs and runs it. Needs wrk, curl, jq and python3.

What is compared, each beside its ceiling in every round:
  stale reads          and libmicrohttpd alone that answers a constant body at once
  linearizable reads   and libmicrohttpd alone with every request suspended, handed to
                       another thread and back, and resumed
  writes, batches      and LMDB alone: synced commits of 256 entries of 128 bytes; and
                       copying such entries in memory

Reads are the same bytes for both: wrk asks bare_http what it asks crabcluster. Both have as
many loops (one for each core, at most 4). The load runs on the same cores. Three nodes of
crabcluster with default configuration, the leader takes the load; while something bare is
measured they are stopped by SIGSTOP. Linearizable reads keep the other two nodes busy as
well, and writes are made durable by three nodes on one disk, so that their ceilings are
higher than what can be reached.
END_OF_USAGE
}

rounds='' seconds='' n_keys='' connections=256 quick=no
while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=yes ;;
    --help) usage; exit 0 ;;
    --rounds | --seconds | --keys | --connections | --work-dir | --port)
        [ $# -gt 1 ] || die "$1 needs an argument"
        case $1 in
        --rounds) rounds=$(number "$1" "$2") ;;
        --seconds) seconds=$(number "$1" "$2") ;;
        --keys) n_keys=$(number "$1" "$2") ;;
        --connections) connections=$(number "$1" "$2") ;;
        --port) base_port=$(number "$1" "$2") ;;
        --work-dir) work_parent=$2 ;;
        esac
        shift
        ;;
    *) usage >&2; exit 2 ;;
    esac
    shift
done
[ "$quick" = no ] || : "${rounds:=1}" "${seconds:=2}" "${n_keys:=20000}"
: "${rounds:=5}" "${seconds:=10}" "${n_keys:=1000000}"

bare_addr=127.0.0.1:$((base_port + 9))
loops=$(nproc)
[ "$loops" -le 4 ] || loops=4

# rate ADDR OPERATION [CONNECTIONS]: after a second that does not count.
rate() {
    local result c=${3:-$connections}
    load "$1" "$2" "$c" 1 >/dev/null
    result=$(load "$1" "$2" "$c" "$seconds")
    [ "${result##* }" = 0 ] || die "$2 at $1: ${result##* } errors"
    echo "${result%% *}"
}

bare_http_answers() {
    ask "http://$bare_addr/"
}

# bare_rate now|later OPERATION: into $work/rate, because a substitution's pids are not ours.
bare_rate() {
    local pid
    "$built/bare_http" "$bare_addr" "$1" "$loops" &
    pid=$!
    other_pids+=("$pid")
    wait_for 10 "bare_http answers" bare_http_answers
    rate "$bare_addr" "$2" >"$work/rate"
    end_pids "$pid"
}

# record NAME CEILING CRABCLUSTER
record() {
    echo "$round $*" | tee -a "$work/results"
}

# crab_rate OPERATION [CONNECTIONS]: into the same file, while crabcluster runs.
crab_rate() {
    resume crabcluster
    rate "$(target crabcluster leader)" "$@" >"$work/rate"
    pause crabcluster
}

# beside CEILING-NAME now|later OPERATION: one right after the other, because a machine that is
# shared is faster at one time than at another.
beside() {
    local bare
    bare_rate "$2" "$3"
    bare=$(cat "$work/rate")
    crab_rate "$3"
    record "$1" "$bare" "$(cat "$work/rate")"
}

measure_round() {
    local lmdb copies sets
    note_if_busy
    beside http-now now v1-stale
    beside http-later later v1-get
    rm -rf "$work/lmdb"
    mkdir "$work/lmdb"
    read -r lmdb copies < <("$built/bare_lmdb" "$work/lmdb" "$seconds")
    crab_rate v1-put
    record lmdb-writes "$lmdb" "$(cat "$work/rate")"
    crab_rate classic-batch 64
    sets=$(($(cat "$work/rate") * 100))
    record lmdb-batches "$lmdb" "$sets"
    record copy-batches "$copies" "$sets"
}

need_programs wrk curl jq python3
bench_begin
need_built bare_http bare_lmdb
{
    echo "# $(date -u +%Y-%m-%d), $n_keys keys, $rounds rounds, $seconds s each," \
        "$connections connections"
    describe "$(wrk_version)" | sed 's/^/# /'
} | tee "$work/results"
start_cluster crabcluster
preload "$(target crabcluster leader)" classic-batch
pause crabcluster
for ((round = 1; round <= rounds; round++)); do
    say "round $round of $rounds: round, ceiling, rate of the ceiling, rate of crabcluster"
    measure_round
done
"$here/limits_table.py" "$work/results"
