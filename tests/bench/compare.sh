#!/bin/bash
# SPDX-License-Identifier: MIT
# crabcluster beside etcd: three nodes of each on this machine, the same load on
# both, in turn. Ratios count, absolute figures do not.
set -euo pipefail

# shellcheck source=tests/bench/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

usage() {
    cat <<'END_OF_USAGE'
usage: tests/bench/compare.sh [options]

  --quick          2 s for each figure, 20,000 keys, one round, few rows: does it work?
  --rounds N       rounds, alternately begun by etcd and by crabcluster (5; rows without a
                   target are only in the first three)
  --seconds N      seconds of each measurement (60 in headline rows, save classic beside v1;
                   otherwise 5)
  --keys N         keys, uniformly random, all written before (1000000; at most that)
  --only ROWS      only these rows, by name or pattern: --only 'write-256,read-*'
  --system NAME    only etcd or crabcluster; no ratios then
  --results FILE   append every measurement to FILE, and make the table of all that is in it
  --work-dir DIR   where the nodes' data goes (default: $TMPDIR or /tmp; a real disk)
  --port N         the first of fifteen ports (24100)
  --list           names of the rows
  --table FILE     only print the table of a file that --results wrote

Run it in the build directory, or name the daemon by CRABCLUSTER. Needs etcd (Debian:
etcd-server), wrk, curl, jq, python3 and `make tests/bench/paced`; `make bench-compare
BENCH_FLAGS=--quick` builds what is missing and runs it.

Both systems run with their defaults, save etcd's --enable-v2 (its fastest interface) and,
for the rows "lease", crabcluster's clock-drift-max, without which it has no leases. etcd has
one cluster for its v2 interface and one for v3, because the keys of v2 would slow down the
snapshots that v3 writes; while the keys are written v2 puts its snapshots off, and is started
again after that. While one cluster is measured, the others are stopped by SIGSTOP.
Keys have 9 bytes, values 32. wrk makes the load: 2 threads (1 for one connection), each
connection with one request under way; each figure is preceded by a second of the same load
that does not count. What is chosen begins with an estimate of how long it takes; several
runs of some rows each add up by --results.

Rows, each at the leader or at a follower:
  write, read     linearizable both; etcd's read is v2 quorum GET, or v3 range
  stale           what the node itself has: etcd's plain v2 GET, v3 range serializable
  lease           by the leader's lease; etcd has no such read, its linearizable one stands there
  batch           100 Sets in a request (classic Batch; v3 txn); Sets per second
  half            an even flow of half of what wrk has just reached with 256 connections, sent
                  when it is due (once in a millisecond) and timed from then on, so that
                  waiting for a free connection counts, too
  idle            the same load with and without 8,000 idle connections beside it
  failover        the leader killed under load of 64 connections at a follower, 20 times over
                  all rounds: time to the first write acknowledged that was begun after that

The table has medians with the least and the most of all rounds; of each system's
interfaces the ratio compares each of crabcluster's with etcd's best. It comes as text and
as Markdown.
END_OF_USAGE
}

# NAME KIND AT CONNECTIONS LENGTH ETCD CRABCLUSTER TARGET, where LENGTH is "long" for headline
# rows and TARGET what is promised: a ratio to etcd's best, or a limit ("-": none).
rows() {
    local c length put get stale
    for c in 1 16 64 256 1000; do
        length=short put=v2-put get=v2-qget stale=v2-get
        [ "$c" -ne 256 ] || length=long put+=,v3-put get+=,v3-range stale+=,v3-stale
        echo "write-$c load leader $c $length $put v1-put,classic-set" \
            "$(case $c in 1) echo 'p50<=0.7' ;; 256) echo 'rate>=4' ;; *) echo - ;; esac)"
        echo "read-$c load leader $c $length $get v1-get,classic-read" \
            "$(case $c in 1) echo 'p50<=0.5' ;; 256) echo 'rate>=5' ;; *) echo - ;; esac)"
        echo "follower-write-$c load follower $c short v2-put v1-put,classic-set -"
        echo "follower-read-$c load follower $c short $get v1-get,classic-read" \
            "$(case $c in 256) echo 'rate>=2.5' ;; *) echo - ;; esac)"
        echo "stale-$c load leader $c short $stale v1-stale -"
    done
    echo "lease-256 load leader 256 short v2-qget v1-lease -"
    echo "batch-64 batch leader 64 long v3-batch classic-batch sets>=300000"
    echo "follower-batch-64 batch follower 64 short v3-batch classic-batch -"
    echo "half-write paced leader 256 short v2-put v1-put p99<=5"
    echo "half-read paced leader 256 short v2-qget v1-get p99<=2"
    echo "idle-write idle leader 64 short v2-put v1-put cost<=10"
    echo "idle-read idle leader 64 short v2-qget v1-get cost<=10"
    echo "failover failover follower 64 short v2-put v1-put ms<=500,1000"
}

quick_rows='write-1,read-1,*-256,batch-64,half-*,idle-read,failover'
idle_connections=8000
kills=20

quick=no only='' system_wanted='' results='' rounds='' seconds='' n_keys='' table_only=''
systems=(etcd etcd3 crabcluster)

while [ $# -gt 0 ]; do
    case $1 in
    --quick) quick=yes ;;
    --list) rows | cut -d ' ' -f 1; exit 0 ;;
    --help) usage; exit 0 ;;
    --rounds | --seconds | --keys | --only | --system | --results | --work-dir | --port | --table)
        [ $# -gt 1 ] || die "$1 needs an argument"
        case $1 in
        --rounds) rounds=$(number "$1" "$2") ;;
        --seconds) seconds=$(number "$1" "$2") ;;
        --keys) n_keys=$(number "$1" "$2") ;;
        --port) base_port=$(number "$1" "$2") ;;
        --only) only=$2 ;;
        --system) system_wanted=$2 ;;
        --results) results=$2 ;;
        --work-dir) work_parent=$2 ;;
        --table) table_only=$2 ;;
        esac
        shift
        ;;
    *) usage >&2; exit 2 ;;
    esac
    shift
done

if [ -n "$table_only" ]; then
    exec "$here/compare_table.py" <(rows) "$table_only"
fi

if [ "$quick" = yes ]; then
    : "${rounds:=1}" "${seconds:=2}" "${n_keys:=20000}" "${only:=$quick_rows}"
    kills=1
fi
: "${rounds:=5}" "${n_keys:=1000000}" "${only:=*}"
if [ "$n_keys" -gt 1000000 ] || [ "$n_keys" -lt 1000 ]; then
    die "--keys: 1000 to 1000000"
fi
case $system_wanted in
'') ;;
etcd) systems=(etcd etcd3) ;;
crabcluster) systems=(crabcluster) ;;
*) die "--system: etcd or crabcluster" ;;
esac

# chosen NAME: is the row asked for?
chosen() {
    local pattern patterns
    IFS=, read -r -a patterns <<<"$only"
    for pattern in "${patterns[@]}"; do
        # shellcheck disable=SC2053 # it is a pattern
        [[ $1 != $pattern ]] || return 0
    done
    return 1
}

mapfile -t chosen_rows < <(rows | while read -r row rest; do
    ! chosen "$row" || echo "$row $rest"
done)
[ ${#chosen_rows[@]} -gt 0 ] || die "no row is called $only: see --list"

# ops_of SYSTEM ROW: its operations in this row, as words.
ops_of() {
    local columns
    read -r -a columns <<<"$2"
    case $1 in
    etcd) tr , '\n' <<<"${columns[5]}" | sed -n '/^v2-/p' ;;
    etcd3) tr , '\n' <<<"${columns[5]}" | sed -n '/^v3-/p' ;;
    crabcluster) tr , '\n' <<<"${columns[6]}" ;;
    esac
}

# ---- measuring ----

# etcd keeps every version until it is told not to, and takes no more writes when that is 2 GB:
# an operator's duty, done between measurements.
etcd_tidy() {
    local i bytes revision
    bytes=$(ask "http://$(addr etcd3 0)/metrics" |
        awk '$1 == "etcd_mvcc_db_total_size_in_bytes" { printf "%d", $2 }')
    [ "$bytes" -gt 1000000000 ] || return 0
    revision=$(ask "http://$(addr etcd3 0)/v3/kv/range" -d '{"key":"MA=="}' | jq -r .header.revision)
    curl -sS -m 300 "http://$(addr etcd3 0)/v3/kv/compaction" \
        -d "{\"revision\":\"$revision\",\"physical\":true}" >/dev/null
    for i in 0 1 2; do
        curl -sS -m 300 "http://$(addr etcd3 $i)/v3/maintenance/defragment" -d '{}' >/dev/null
    done
    wait_whole etcd3
}

# record ROUND ROW SYSTEM OPERATION FIGURES...
record() {
    echo "$*" | tee -a "$results"
}

# measure_load SUFFIX: of the operation's name
measure_load() {
    local result
    load "$at_addr" "$op" "$connections" 1 >/dev/null
    result=$(load "$at_addr" "$op" "$connections" "$length_s")
    record "$round $row ${system%3} $op$1 $result"
}

measure_batch() {
    measure_load "$1"
}

# op_words OPERATION: method, path, body and content type, with {key} for the key.
op_words() {
    local value=vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv form=application/x-www-form-urlencoded
    case $1 in
    v2-put) printf '%s\n' PUT '/v2/keys/{key}' "value=$value" "$form" ;;
    v2-qget) printf '%s\n' GET '/v2/keys/{key}?quorum=true' ;;
    v1-put) printf '%s\n' PUT '/v1/kv/{key}' "$value" ;;
    v1-get) printf '%s\n' GET '/v1/kv/{key}' ;;
    esac
}

# paced prints the same figures as load().
measure_paced() {
    local most result words
    mapfile -t words < <(op_words "$op")
    most=$(load "$at_addr" "$op" "$connections" 3)
    result=$("$built/paced" -c "$connections" -r "$((${most%% *} / 2))" -s "$length_s" \
        -k "$n_keys" "$at_addr" "${words[@]}")
    record "$round $row ${system%3} $op $result"
}

measure_idle() {
    local pid path=/get-id
    [ "$system" = crabcluster ] || path=/version
    measure_load +0
    rm -f "$work/idle"
    "$here/idle.py" "$at_addr" "$path" "$idle_connections" >"$work/idle" &
    pid=$!
    other_pids+=("$pid")
    wait_for 60 "$idle_connections connections" grep -q ready "$work/idle"
    measure_load "+$idle_connections"
    kill -0 "$pid" 2>/dev/null || die "$system closed idle connections"
    end_pids "$pid"
}

measure_failover() {
    local n victim ms words load_pid others
    mapfile -t words < <(op_words "$op" | head -n 3)
    words[1]=${words[1]/\{key\}/check}
    for ((n = (round - 1) * kills / rounds; n < round * kills / rounds; n++)); do
        victim=$(leader "$system")
        others=("$(addr "$system" $(((victim + 1) % 3)))" "$(addr "$system" $(((victim + 2) % 3)))")
        load "${others[0]}" "$op" "$connections" 3 >"$work/failover-load" &
        load_pid=$!
        other_pids+=("$load_pid")
        sleep "1.$((RANDOM % 10))"
        ms=$("$here/next_write.py" "${pid_of[$system$victim]}" "${words[@]}" "${others[@]}")
        wait "${pid_of[$system$victim]}" 2>/dev/null || true
        record "$round $row ${system%3} $op $ms"
        wait "$load_pid"
        "start_$system" "$victim"
        wait_whole "$system"
    done
}

# length_of LENGTH NTH: seconds of measuring a row's NTH operation at one cluster.
length_of() {
    if [ -n "$seconds" ]; then
        echo "$seconds"
    elif [ "$1 $2" = 'long 0' ]; then
        echo 60
    else
        echo 5
    fi
}

# rounds_of ROW: in how many rounds it is measured.
rounds_of() {
    [[ $1 = *' -' ]] && [ "$rounds" -gt 3 ] && echo 3 || echo "$rounds"
}

measure_row() {
    local row kind at connections length system op ops nth at_addr length_s order
    read -r row kind at connections length _ <<<"$1"
    order=("${systems[@]}")
    if [ $((round % 2)) -eq 0 ]; then
        mapfile -t order < <(printf '%s\n' "${systems[@]}" | tac)
    fi
    for system in "${order[@]}"; do
        ops=$(ops_of "$system" "$1")
        [ -n "$ops" ] || continue
        note_if_busy
        resume "$system"
        [ "$system" != etcd3 ] || etcd_tidy
        if [ "$system" = crabcluster ]; then
            reconfigure_crabcluster \
                "$([[ $row != lease-* ]] || echo 'raft { clock-drift-max = 10ms }')"
        fi
        nth=0
        for op in $ops; do
            length_s=$(length_of "$length" $nth)
            at_addr=$(target "$system" "$at")
            "measure_$kind" ''
            nth=$((nth + 1))
        done
        pause "$system"
    done
}

# seconds_of ROW: about what measure_row takes.
seconds_of() {
    local kind length system op nth sum=0
    read -r _ kind _ _ length _ <<<"$1"
    for system in "${systems[@]}"; do
        nth=0
        for op in $(ops_of "$system" "$1"); do
            sum=$((sum + $(length_of "$length" $nth)))
            case $kind in
            paced) sum=$((sum + 5)) ;;
            idle) sum=$((sum + $(length_of "$length" $nth) + 6)) ;;
            failover) sum=$((sum + 12 * kills / rounds)) ;;
            *) sum=$((sum + 1)) ;;
            esac
            nth=$((nth + 1))
        done
        [ $nth -eq 0 ] || sum=$((sum + 1))
    done
    echo "$sum"
}

# needed SYSTEM: is there a row for it?
needed() {
    local row
    for row in "${chosen_rows[@]}"; do
        [ -z "$(ops_of "$1" "$row")" ] || return 0
    done
    return 1
}

# etcd writes out all of its v2 store at every 100,000th write. With many keys that delays its
# heartbeats for seconds, leaders change, and writes fail. It is put off until the keys are there;
# then etcd reads them from its log, writes one snapshot, and starts with that and its defaults.
fill_etcd() {
    etcd_flags=(--snapshot-count 1000000000)
    start_cluster etcd
    preload "$(target etcd leader)" v2-put
    etcd_flags=(--snapshot-count $((n_keys * 9 / 10)))
    restart_cluster etcd
    wait_for 300 "etcd's snapshots" etcd_has_snapshots
    etcd_flags=()
    restart_cluster etcd
}

etcd_has_snapshots() {
    local i
    for i in 0 1 2; do
        grep -q 'saved snapshot at index' "$work/etcd$i.log" || return 1
    done
}

fill_etcd3() {
    start_cluster etcd3
    preload "$(target etcd3 leader)" v3-batch
}

fill_crabcluster() {
    start_cluster crabcluster
    preload "$(target crabcluster leader)" classic-batch
}

# Tells how long the whole may take; the keys are the least certain.
estimate() {
    local each sum=0 system
    for system in "${systems[@]}"; do
        case $system in
        etcd) sum=$((sum + 15 + n_keys / 8000)) ;;
        etcd3) sum=$((sum + 5 + n_keys / 30000)) ;;
        crabcluster) sum=$((sum + 5 + n_keys / 100000)) ;;
        esac
    done
    for each in "${chosen_rows[@]}"; do
        sum=$((sum + $(seconds_of "$each") * $(rounds_of "$each")))
    done
    say "${#chosen_rows[@]} rows, $rounds rounds: about $((sum / 60 + 1)) minutes"
}

# ---- the whole ----

versions=()
need_programs wrk curl jq python3
if [ "$system_wanted" != crabcluster ]; then
    need_programs etcd
    versions+=("$(etcd_version)")
fi
bench_begin
[[ " ${chosen_rows[*]} " != *' paced '* ]] || need_built paced
[ -n "$results" ] || results=$work/results
versions+=("$(wrk_version)")
{
    echo "# $(date -u +%Y-%m-%d), $n_keys keys," \
        "$rounds rounds$([ "$rounds" -le 3 ] || echo ' (3 of rows without a target)')," \
        "${seconds:-60 (headline rows) and 5} s each"
    describe "${versions[@]}" | sed 's/^/# /'
} | tee -a "$results"
mapfile -t systems < <(for system in "${systems[@]}"; do
    ! needed "$system" || echo "$system"
done)
estimate
for system in "${systems[@]}"; do
    "fill_$system"
    pause "$system"
done
for ((round = 1; round <= rounds; round++)); do
    say "round $round of $rounds: round, row, system, operation, rate, p50, p99, longest (us), errors"
    for each in "${chosen_rows[@]}"; do
        [ "$round" -gt "$(rounds_of "$each")" ] || measure_row "$each"
    done
done
"$here/compare_table.py" <(rows) "$results"
