#!/bin/bash
# SPDX-License-Identifier: MIT
# Starts, grows, shrinks, shows and stops development clusters on loopback.
set -euo pipefail
# shellcheck source=contrib/cluster_lib.sh
. "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/cluster_lib.sh"

usage() {
    cat <<'END'
usage: cluster_manager.sh COMMAND

  start-cluster N [BASE_PORT]  N nodes on BASE_PORT (default 8080) and the ports after it
  status                       a table of every cluster that these scripts started;
                               exits 1 when one of its nodes does not answer
  add-node PORT                starts a node on PORT and makes it a voter of the cluster
                               that has the nearest port (the newer one of two equally near)
  remove-node PORT             takes the node on PORT out of its cluster, stops it and
                               deletes its data
  stop-all                     stops every cluster that these scripts started and deletes
                               its data

The daemon is $CRABCLUSTER, or the one built in this checkout (build/crabcluster or
./crabcluster), or the installed one. Process ids and data are kept in
${CRABCLUSTER_RUN_DIR:-${XDG_RUNTIME_DIR:-/tmp}/crabcluster-$UID}. Nothing else is ever stopped.
END
}

usage_error() {
    warn "$1"
    usage >&2
    exit 2
}

# Prints the cluster that has the port nearest to PORT.
cluster_nearest() {
    local cluster dir port distance
    while read -r cluster; do
        while read -r dir; do
            port=$(node_port "$dir")
            distance=$((port > $1 ? port - $1 : $1 - port))
            printf '%s %s %s\n' "$distance" "$(cat "$cluster/started")" "$cluster"
        done < <(nodes "$cluster")
    done < <(clusters) | sort -k1,1n -k2,2nr | head -n 1 | cut -d' ' -f3-
}

# Reads the voters into $voters, asking the node in DIR, once no change is in progress.
voters=
read_voters() {
    metrics "$(node_port "$1")" || return 1
    voters=$(metric_voters)
    [ -n "$voters" ]
}

add_node() {
    local port=$1 cluster contact
    port_valid "$port" || die "a port is 1 to 65535, not '$port'"
    cluster=$(cluster_nearest "$port")
    [ -n "$cluster" ] || die "there is no cluster to add to: run start-cluster first"
    ! port_in_use "$port" || die "port $port is in use"
    [ ! -e "$cluster/$port" ] || die "the node on port $port is there already, stopped; remove-node removes it"
    contact=$(cluster_leader "$cluster") || die "no node of the cluster on ${cluster##*-} answers"
    program=$(cat "$cluster/program")
    [ -x "$program" ] || die "$program, which the cluster runs, is gone"

    unfinished=$cluster/$port
    node_start "$cluster/$port"
    node_wait_ready "$cluster/$port"
    # From here on the cluster may know the node: it stays until remove-node.
    unfinished=
    node_join "$cluster/$port" "$(node_port "$contact")"
    wait_until "$membership_s" read_voters "$contact" || die "the present voters are not known: $reply"
    change_membership "$contact" "$voters,\"$(cat "$cluster/$port/id")\""
    wait_until "$ready_s" cluster_agrees "$cluster" ||
        die "the nodes did not agree on a leader within $ready_s s"
    cluster_print "$cluster"
}

# Prints the list of voters without ID, and without an empty place where it was.
voters_without() {
    tr ',' '\n' <<<"$voters" | { grep -vxF -e "\"$1\"" || true; } | paste -sd,
}

remove_node() {
    local port=$1 cluster='' dir id contact rest
    port_valid "$port" || die "a port is 1 to 65535, not '$port'"
    while read -r dir; do
        [ ! -d "$dir/$port" ] || cluster=$dir
    done < <(clusters)
    [ -n "$cluster" ] || die "no node on port $port was started by these scripts"
    dir=$cluster/$port
    [ "$(nodes "$cluster" | wc -l)" -gt 1 ] ||
        die "port $port is the last node of its cluster: stop-all stops that"
    id=$(cat "$dir/id" 2>/dev/null) || die "the node on port $port never told its id: run stop-all"
    contact=$(cluster_leader "$cluster" "$dir") ||
        die "no other node of the cluster on ${cluster##*-} answers"
    wait_until "$membership_s" read_voters "$contact" || die "the present voters are not known: $reply"
    rest=$(voters_without "$id")
    [ -n "$rest" ] || die "port $port is the only voter of its cluster"
    if grep -qF "\"$id\"" <<<"$reply"; then
        # A learner leaves by way of being a voter.
        [ "$rest" != "$voters" ] || change_membership "$contact" "$voters,\"$id\""
        change_membership "$contact" "$rest"
    fi
    nodes_stop "$dir" || die "the node on port $port left the cluster, but its process does not stop"
    rm -rf "${dir:?}"
    wait_until "$ready_s" cluster_agrees "$cluster" ||
        die "the remaining nodes did not agree on a leader within $ready_s s"
    cluster_print "$cluster"
}

status() {
    local cluster healthy=0
    if [ -z "$(clusters)" ]; then
        echo "no cluster was started"
        return
    fi
    while read -r cluster; do
        cluster_print "$cluster" || healthy=1
    done < <(clusters)
    return "$healthy"
}

stop_all() {
    local cluster failed=0
    if [ -z "$(clusters)" ]; then
        echo "no cluster was started"
        return
    fi
    while read -r cluster; do
        cluster_stop "$cluster" && echo "stopped the cluster on ${cluster##*-}" || failed=1
    done < <(clusters)
    return "$failed"
}

[ $# -ge 1 ] || usage_error "a command is needed"
command=$1
shift
case $command:$# in
start-cluster:1 | start-cluster:2)
    begin
    cluster_start "$1" "${2:-8080}"
    ;;
status:0) status ;;
add-node:1)
    begin
    add_node "$1"
    ;;
remove-node:1)
    begin
    remove_node "$1"
    ;;
stop-all:0)
    begin
    stop_all
    ;;
-h:0 | --help:0 | help:0) usage ;;
start-cluster:* | status:* | add-node:* | remove-node:* | stop-all:*)
    usage_error "$command: wrong number of arguments"
    ;;
*) usage_error "unknown command '$command'" ;;
esac
