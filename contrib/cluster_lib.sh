# SPDX-License-Identifier: MIT
# shellcheck shell=bash
# Development clusters on loopback: what cluster_manager.sh, join_cluster.sh and
# setup_5node_cluster.sh share. Sourced, with set -euo pipefail in force.
#
#   $run_dir/                 ${CRABCLUSTER_RUN_DIR:-${XDG_RUNTIME_DIR:-/tmp}/crabcluster-$UID}
#     lock                    held while a cluster is being changed
#     cluster-8080/           one per cluster, named by its first port
#       started               when, in ns: the newest of two equally near clusters wins
#       program               the daemon's absolute path
#       8080/                 one per node, named by its port
#         pid                 process id, start time and boot, which no other process shares
#         id                  the node's id in the cluster
#         crabcluster.conf    what /etc/crabcluster.conf must not say
#         data/  log

run_dir=${CRABCLUSTER_RUN_DIR:-${XDG_RUNTIME_DIR:-/tmp}/crabcluster-$UID}
[[ $run_dir = /* ]] || run_dir=$PWD/$run_dir
host=127.0.0.1
ready_s=15      # for a node to answer, and for all to know the same leader
membership_s=30 # for one membership change, retries included
stop_s=10       # between SIGTERM and SIGKILL

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

warn() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
}

# wait_until SECONDS COMMAND...: runs it until it succeeds. 1 when time is up.
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

# --- the run directory ---------------------------------------------------------

# Makes the run directory, or checks that it is ours: under /tmp somebody else
# could have made it first.
run_dir_open() {
    (umask 077 && mkdir -p "$run_dir") || die "cannot make $run_dir"
    if [ ! -O "$run_dir" ] || [ -L "$run_dir" ]; then
        die "$run_dir belongs to somebody else; name another by CRABCLUSTER_RUN_DIR"
    fi
    exec 9>"$run_dir/lock" || die "cannot write to $run_dir"
    flock -w 60 9 || die "another script is changing the clusters in $run_dir"
}

# Leaves nothing behind when no cluster is left.
run_dir_close() {
    [ -n "$(clusters)" ] || { rm -f "$run_dir/lock" && rmdir "$run_dir" 2>/dev/null; } || true
}

# Prints the directory of every cluster, and of every node of a cluster.
clusters() {
    local dir
    for dir in "$run_dir"/cluster-*; do
        [ ! -d "$dir" ] || printf '%s\n' "$dir"
    done
}

nodes() {
    local dir
    for dir in "$1"/[0-9]*; do
        [ ! -d "$dir" ] || printf '%s\n' "$dir"
    done | sort -V
}

# --- processes -----------------------------------------------------------------

# The daemon to run: $CRABCLUSTER, this checkout's, or the installed one.
program=
find_program() {
    local here candidate
    here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
    if [ -n "${CRABCLUSTER-}" ]; then
        if [ ! -x "$CRABCLUSTER" ] || [ -d "$CRABCLUSTER" ]; then
            die "CRABCLUSTER=$CRABCLUSTER is no program"
        fi
        program=$(realpath "$CRABCLUSTER")
        return
    fi
    for candidate in "$here/../build/crabcluster" "$here/../crabcluster" ./build/crabcluster \
        ./crabcluster "$here/../../sbin/crabcluster" "$(command -v crabcluster || true)" \
        /usr/sbin/crabcluster /usr/local/sbin/crabcluster; do
        if [ -x "$candidate" ] && [ ! -d "$candidate" ]; then
            program=$(realpath "$candidate")
            return
        fi
    done
    die "no crabcluster found: build it (contrib/quickstart.sh), install it, or set CRABCLUSTER"
}

# Prints the start time of a process (clock ticks after boot). 1 when it is
# gone, or dead and only waiting for its parent to notice.
process_start() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # After the name, which may hold anything: state, and 19 words on, starttime.
    read -ra stat <<<"${stat##*) }"
    [ "${stat[0]}" != Z ] && [ "${stat[0]}" != X ] || return 1
    printf '%s\n' "${stat[19]}"
}

# Prints the process id of a node that runs. The number alone proves nothing:
# another process may have it by now.
node_pid() {
    local pid start boot
    read -r pid start boot 2>/dev/null <"$1/pid" || return 1
    [ "$boot" = "$(cat /proc/sys/kernel/random/boot_id)" ] || return 1
    [ "$(process_start "$pid")" = "$start" ] || return 1
    printf '%s\n' "$pid"
}

node_is_down() {
    ! node_pid "$1" >/dev/null
}

node_port() {
    printf '%s\n' "${1##*/}"
}

port_valid() {
    [[ $1 =~ ^[1-9][0-9]{0,4}$ ]] && [ "$1" -le 65535 ]
}

port_in_use() {
    local hex
    hex=$(printf '%04X' "$1")
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
        awk -v port="$hex" '$4 == "0A" && $2 ~ (":" port "$") { used = 1 } END { exit !used }'
}

# node_start DIR: starts a daemon on the port that names DIR. It outlives this
# script and its terminal.
node_start() {
    local dir=$1 port pid
    port=$(node_port "$dir")
    mkdir -p "$dir/data"
    cat >"$dir/crabcluster.conf" <<END
# One node of a development cluster: it joins the one that ${0##*/}
# started it for, and never makes one of its own.
auto-init = false
END
    (cd "$dir" && exec setsid "$program" --config "$dir/crabcluster.conf" \
        --bind-addr "$host:$port" --data-dir "$dir/data") </dev/null >>"$dir/log" 2>&1 9>&- &
    pid=$!
    printf '%s %s %s\n' "$pid" "$(process_start "$pid" || echo gone)" \
        "$(cat /proc/sys/kernel/random/boot_id)" >"$dir/pid"
}

# Waits until a node answers, and keeps its id.
node_wait_ready() {
    local dir=$1
    wait_until "$ready_s" node_answers "$dir" || true
    if [ ! -s "$dir/id" ]; then
        tail -n 5 "$dir/log" >&2 || true
        if node_is_down "$dir"; then
            die "the node on port $(node_port "$dir") ended right away (its last words are above)"
        fi
        die "the node on port $(node_port "$dir") did not answer within $ready_s s (its log is above)"
    fi
}

# True when waiting is over: it gave its id, or it is dead.
node_answers() {
    local id
    if api GET "$(node_port "$1")" /get-id; then
        id=${reply//\"/}
        [[ $id =~ ^[0-9a-fA-F-]{36}$ ]] || die "an unexpected answer to /get-id: $reply"
        printf '%s\n' "$id" >"$1/id"
        return 0
    fi
    node_is_down "$1"
}

# nodes_stop DIR...: SIGTERM to all, SIGKILL to those that stay.
nodes_stop() {
    local dir pid failed=0
    for dir in "$@"; do
        if pid=$(node_pid "$dir"); then
            kill -TERM "$pid" 2>/dev/null || true
        fi
    done
    for dir in "$@"; do
        wait_until "$stop_s" node_is_down "$dir" && continue
        warn "the node on port $(node_port "$dir") does not stop: killing it"
        if pid=$(node_pid "$dir"); then
            kill -KILL "$pid" 2>/dev/null || true
        fi
        wait_until "$stop_s" node_is_down "$dir" || failed=1
    done
    return "$failed"
}

# Stops a cluster and deletes its data. 1 when a node cannot be stopped.
cluster_stop() {
    local dirs
    mapfile -t dirs < <(nodes "$1")
    if ! nodes_stop "${dirs[@]}"; then
        warn "a node of $1 cannot be stopped; its data stays"
        return 1
    fi
    rm -rf "${1:?}"
}

# --- the HTTP interface --------------------------------------------------------

# api METHOD PORT PATH [BODY]: leaves the answer in $reply and $reply_status
# (000: none, and $reply tells why). True for 200.
reply='' reply_status=000
api() {
    local out
    if ! out=$(curl -q -sS --noproxy '*' --connect-timeout 2 --max-time "${api_s:-$membership_s}" \
        -X "$1" ${4+--data-binary "$4"} -w '\n%{http_code}' "http://$host:$2$3" 2>&1); then
        reply=$out reply_status=000
        return 1
    fi
    reply_status=${out##*$'\n'} reply=${out%$'\n'*}
    reply=${reply%$'\n'}
    [ "$reply_status" = 200 ]
}

# Asks for a membership change until it is done. No leader, an unknown outcome,
# a change in progress and a learner that lags pass; the request says what is
# wanted, so that asking again does no harm.
membership() {
    local deadline=$((SECONDS + membership_s))
    until api POST "$1" "$2" "$3"; do
        case $reply_status$reply in
        503* | 504* | *'"InProgress"'* | *'"LearnerIsLagging"'*)
            [ "$SECONDS" -lt "$deadline" ] || return 1
            sleep 0.2
            ;;
        *) return 1 ;;
        esac
    done
}

# Leaves the metrics of a node in $reply, without white space.
metrics() {
    local api_s=3
    api GET "$1" /metrics && reply=$(tr -d ' \t\r\n' <<<"$reply")
}

# Fields of the metrics in $reply: empty for null.
metric_word() {
    grep -oE "\"$1\":(\"[^\"]*\"|[0-9]+)" <<<"$reply" | head -n 1 | cut -d: -f2- | tr -d '"' || true
}

metric_applied() {
    sed -n 's/.*"last_applied":{\(.*\)/\1/p' <<<"$reply" | grep -oE '"index":[0-9]+' | head -n 1 |
        cut -d: -f2 || true
}

# The voters as "id","id"; empty while the configuration is a joint one.
metric_voters() {
    sed -n 's/.*"configs":\[\[\([^]]*\)\]\].*/\1/p' <<<"$reply"
}

# True when node DIR names ID as the leader ('' for any), and is in the cluster.
node_follows() {
    local leader
    metrics "$(node_port "$1")" || return 1
    leader=$(metric_word current_leader)
    [ -n "$leader" ] && [ "${2:-$leader}" = "$leader" ]
}

# cluster_leader DIR [EXCEPT]: prints the directory of the running node that
# leads, or of any that runs, EXCEPT left out. 1 when there is none.
cluster_leader() {
    local dir any=''
    while read -r dir; do
        if [ "$dir" != "${2-}" ] && node_pid "$dir" >/dev/null && metrics "$(node_port "$dir")"; then
            any=$dir
            [ "$(metric_word state)" != Leader ] || break
        fi
    done < <(nodes "$1")
    [ -n "$any" ] && printf '%s\n' "$any"
}

# True when all running nodes of a cluster name the same leader, which is one of
# them.
cluster_agrees() {
    local dir leader='' here=no
    while read -r dir; do
        node_pid "$dir" >/dev/null || continue
        node_follows "$dir" "$leader" || return 1
        leader=$(metric_word current_leader)
        [ "$leader" != "$(cat "$dir/id")" ] || here=yes
    done < <(nodes "$1")
    [ "$here" = yes ]
}

# --- what the scripts do -------------------------------------------------------

# What to take down again when the script ends before its work is done.
unfinished=
on_exit() {
    local status=$?
    trap '' INT TERM
    if [ -n "$unfinished" ]; then
        case $unfinished in
        */cluster-*/*) nodes_stop "$unfinished" && rm -rf "${unfinished:?}" ;;
        *) cluster_stop "$unfinished" ;;
        esac || true
    fi
    [ ! -d "$run_dir" ] || run_dir_close
    exit "$status"
}

begin() {
    command -v curl >/dev/null || die "curl is needed"
    trap on_exit EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    run_dir_open
}

# cluster_print DIR: a table. 1 when a node does not run or does not answer.
cluster_print() {
    local cluster=$1 dir pid leader state healthy=0
    local -A port_of=()
    while read -r dir; do
        [ ! -s "$dir/id" ] || port_of[$(cat "$dir/id")]=$(node_port "$dir")
    done < <(nodes "$cluster")
    printf 'cluster %s in %s\n' "${cluster##*-}" "$cluster"
    local row='%6s %9s  %-10s %6s %8s %10s %9s\n'
    # shellcheck disable=SC2059 # the format is the constant above
    printf "$row" PORT PID STATE TERM LEADER LAST-LOG APPLIED
    while read -r dir; do
        if ! pid=$(node_pid "$dir"); then
            pid=- state=stopped reply='' healthy=1
        elif ! metrics "$(node_port "$dir")"; then
            state='no answer' reply='' healthy=1
        else
            state=$(metric_word state)
        fi
        leader=$(metric_word current_leader)
        [ -z "$leader" ] || leader=${port_of[$leader]:-$leader}
        # shellcheck disable=SC2059
        printf "$row" "$(node_port "$dir")" "$pid" "$state" "$(or_dash "$(metric_word current_term)")" \
            "$(or_dash "$leader")" "$(or_dash "$(metric_word last_log_index)")" \
            "$(or_dash "$(metric_applied)")"
    done < <(nodes "$cluster")
    return "$healthy"
}

or_dash() {
    printf '%s' "${1:--}"
}

# cluster_start COUNT BASE_PORT: starts the nodes, forms the cluster by hand
# (init, get-id, add-learner, change-membership), and prints its table.
cluster_start() {
    local count=$1 base=$2 cluster=$run_dir/cluster-$2 port ids=''
    [[ $count =~ ^[1-9][0-9]?$ ]] || die "the number of nodes must be 1 to 99, not '$count'"
    port_valid "$base" || die "a port is 1 to 65535, not '$base'"
    port_valid $((base + count - 1)) || die "$count ports from $base on pass 65535"
    for ((port = base; port < base + count; port++)); do
        ! port_in_use "$port" || die "port $port is in use (stop-all stops what these scripts started)"
    done
    [ ! -e "$cluster" ] ||
        die "a cluster on $base is there with its data, but stopped; stop-all removes it"
    find_program

    unfinished=$cluster
    mkdir "$cluster"
    date +%s%N >"$cluster/started"
    printf '%s\n' "$program" >"$cluster/program"
    for ((port = base; port < base + count; port++)); do
        node_start "$cluster/$port"
    done
    for ((port = base; port < base + count; port++)); do
        node_wait_ready "$cluster/$port"
        ids+=${ids:+,}\"$(cat "$cluster/$port/id")\"
    done
    cluster_form "$cluster" "$base" "$ids"
    unfinished=
    cluster_print "$cluster"
}

cluster_form() {
    local cluster=$1 base=$2 ids=$3 dir
    api POST "$base" /init '' || die "init on port $base failed: $reply_status $reply"
    wait_until "$ready_s" node_follows "$cluster/$base" "$(cat "$cluster/$base/id")" ||
        die "the node on port $base did not become leader within $ready_s s"
    while read -r dir; do
        [ "$(node_port "$dir")" != "$base" ] || continue
        node_join "$dir" "$base"
    done < <(nodes "$cluster")
    change_membership "$cluster/$base" "$ids"
    wait_until "$ready_s" cluster_agrees "$cluster" ||
        die "the nodes did not agree on a leader within $ready_s s"
}

# node_join DIR PORT: makes the node a learner, by asking the one on PORT.
node_join() {
    membership "$2" /add-learner "[\"$(cat "$1/id")\",\"$host:$(node_port "$1")\"]" ||
        die "add-learner for port $(node_port "$1") failed: $reply_status $reply"
}

# change_membership DIR IDS: asks the node in DIR to make IDS the voters.
change_membership() {
    membership "$(node_port "$1")" /change-membership "[$2]" ||
        die "change-membership failed: $reply_status $reply"
}
