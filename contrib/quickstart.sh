#!/bin/bash
# SPDX-License-Identifier: MIT
# From a fresh checkout to a cluster that answers: installs the build
# dependencies, builds in build/, starts three nodes, writes and reads a key.
set -euo pipefail
top=$(cd "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/.." && pwd)
# shellcheck source=contrib/cluster_lib.sh
. "$top/contrib/cluster_lib.sh"

usage() {
    cat <<'END'
usage: contrib/quickstart.sh [BASE_PORT]

Installs what the build needs (contrib/install-deps.sh), builds in build/, and
starts three nodes on BASE_PORT (default 8080) and the two ports after it, then
writes a key through the first and reads it through the last. A cluster of these
scripts that is running there already is used as it is.
END
}

step() {
    printf '\n== %s\n' "$*"
}

build() {
    cd "$top"
    autoreconf -fi || die "autoreconf failed (see above)"
    mkdir -p build
    cd build
    if [ ! -f Makefile ] || [ ../configure -nt config.status ]; then
        ../configure -q || die "configure failed: see above, and $top/build/config.log"
    fi
    make -s -j"$(nproc)" || die "the build failed (see above)"
}

# The cluster on port $1, started unless it is there.
start() {
    local cluster=$run_dir/cluster-$1
    if [ -d "$cluster" ]; then
        cluster_print "$cluster" || die "this cluster is not whole: contrib/cluster_manager.sh stop-all, then try again"
        echo "(running already: used as it is)"
    else
        CRABCLUSTER=$top/build/crabcluster cluster_start 3 "$1"
    fi
}

# try PORT PATH BODY EXPECTED: shows the command a person would type, and its answer.
try() {
    printf '$ curl -d '\''%s'\'' %s\n' "$3" "$host:$1$2"
    api POST "$1" "$2" "$3" || die "it failed with HTTP status $reply_status: $reply"
    printf '%s\n' "$reply"
    [[ $reply = *$4* ]] || die "expected $4"
}

base=${1:-8080}
case $base in
-h | --help)
    usage
    exit 0
    ;;
esac
if [ $# -gt 1 ] || ! port_valid "$base"; then
    usage >&2
    exit 2
fi

step "build dependencies"
"$top/contrib/install-deps.sh" || die "the build dependencies are not there"
step "building in $top/build"
build
step "three nodes"
begin
start "$base"
mapfile -t dirs < <(nodes "$run_dir/cluster-$base")
first=$(node_port "${dirs[0]}")
last=$(node_port "${dirs[-1]}")
value="hello from $(date +%T)"
step "a key, written through port $first"
try "$first" /write "{\"Set\":{\"key\":\"greeting\",\"value\":\"$value\"}}" "\"$value\""
step "the same key, read through port $last"
try "$last" /read '"greeting"' "\"$value\""

cat <<END

It works. How to go on:

  curl -X PUT -d blue $host:$first/v1/kv/colour
  curl $host:$last/v1/kv/colour
  build/crabclusterctl --endpoints $host:$first status
  contrib/cluster_manager.sh status      who leads, and how far each node is
  contrib/cluster_manager.sh stop-all    stops the nodes and deletes their data
END
