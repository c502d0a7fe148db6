#!/bin/bash
# SPDX-License-Identifier: MIT
# Installs what the tests need, builds in build-check/ and runs the tests.
# --all adds what .ci/run wants. The last line sums up what ran.
set -euo pipefail

usage() {
    cat <<'END'
usage: contrib/check.sh [--all]

Builds with gcc -Werror in build-check/ and runs make check, the cluster tests
where they are a target of their own (make check-cluster), and counts the
instructions of writes and reads (make check-instructions).
--all: also the full run of the simulator (make check-sim), a build with clang
-Werror, all tests under the address and undefined-behaviour sanitizers, the
unit tests under the thread sanitizer, and make distcheck.

CRABCLUSTER_CONFORMANCE           directory of conformance data
                                  (default: ../shared/conformance beside the checkout, if there)
CRABCLUSTER_CONFORMANCE_REQUIRED  1: conformance tests fail instead of skipping without it
JOBS                              parallel jobs of make (default: the number of cores)
END
}

all=no
case "${1-}" in
'') ;;
--all) all=yes ;;
-h | --help)
    usage
    exit 0
    ;;
*)
    usage >&2
    exit 2
    ;;
esac

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$top/build-check
jobs=${JOBS:-$(nproc)}
passed=0 failed=0 skipped=0
# distcheck builds and tests once more: only when this much is not used up yet.
distcheck_start_max_s=3000

if [ -z "${CRABCLUSTER_CONFORMANCE-}" ] && [ -d "$top/../shared/conformance" ]; then
    CRABCLUSTER_CONFORMANCE=$(cd "$top/../shared/conformance" && pwd)
fi
[ -z "${CRABCLUSTER_CONFORMANCE-}" ] || export CRABCLUSTER_CONFORMANCE

say() {
    printf '\n=== [%4d s] %s\n' "$SECONDS" "$*"
}

finish() {
    say "done"
    local line="$passed passed, $failed failed"
    [ "$skipped" -eq 0 ] || line+=", $skipped skipped"
    printf '%s\n' "$line"
    [ "$failed" -eq 0 ]
    exit
}

# count_results DIR MARKER: adds up the results that automake's test driver
# wrote under DIR since the file MARKER.
results_failed=0
count_results() {
    local counts p f s
    counts=$(find "$1" -name '*.trs' -newer "$2" -exec cat {} + |
        awk '$1 == ":test-result:" { n[$2]++ }
             END { print n["PASS"] + n["XFAIL"], n["FAIL"] + n["XPASS"] + n["ERROR"], n["SKIP"] + 0 }')
    read -r p f s <<<"$counts"
    results_failed=$f
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
}

# stage NAME DIR COMMAND...: runs it in DIR and counts its tests. A stage that
# fails though none of its tests did counts as one that failed.
stage() {
    local name=$1 dir=$2 status=0 marker
    shift 2
    say "$name"
    mkdir -p "$dir"
    marker=$out/marker
    touch "$marker"
    (cd "$dir" && "$@") </dev/null || status=$?
    count_results "$dir" "$marker"
    if [ "$status" -ne 0 ]; then
        [ "$results_failed" -gt 0 ] || failed=$((failed + 1))
        printf '*** failed: %s (exit status %d)\n' "$name" "$status"
    fi
    return "$status"
}

# shellcheck disable=SC2317 # called by stage
configure_and_make() {
    "$top/configure" -q "$@" && make -s -j"$jobs"
}

# build NAME CONFIGURE_ARG...: configures and builds in build-check/NAME.
build() {
    local name=$1
    shift
    stage "build $name: configure $*" "$out/$name" configure_and_make "$@"
}

check() {
    stage "tests $1" "$out/$1" make -s -j"$jobs" check VERBOSE=1 || true
}

# check_cluster NAME SLOWNESS VALGRIND: the tests with real daemons, where there are any.
check_cluster() {
    if grep -q '^check-cluster:' "$out/$1/Makefile"; then
        stage "cluster tests $1" "$out/$1" env CRABCLUSTER_TEST_SLOW="$2" VALGRIND="$3" \
            make -s check-cluster || true
    fi
}

# Counted instructions of writes and reads beside the recorded ones.
check_instructions() {
    stage "instructions $1" "$out/$1" make -s check-instructions || true
}

# target NAME TARGET: one that counts as one test.
target() {
    if stage "$2 $1" "$out/$1" make -s "$2"; then
        passed=$((passed + 1))
    fi
}

cd "$top"
say "dependencies"
contrib/install-deps.sh --test

rm -rf "$out"
mkdir -p "$out"

# What a failed build would have tested is not tested: stop there.
stage "autoreconf" "$out" autoreconf -fi "$top" || finish
build gcc CC=gcc CFLAGS="-O2 -g -Werror" || finish
check gcc
check_cluster gcc 1 1
check_instructions gcc

if [ "$all" = yes ]; then
    target gcc check-sim
    build clang CC=clang CFLAGS="-O2 -g -Werror" || true
    if build sanitizer CC=gcc CFLAGS="-O1 -g -Werror" --with-sanitizer=address,undefined; then
        check sanitizer
        check_cluster sanitizer 2 0
    fi
    if build thread CC=gcc CFLAGS="-O1 -g -Werror" --with-sanitizer=thread; then
        check thread
    fi
    if [ "$SECONDS" -lt "$distcheck_start_max_s" ]; then
        stage "distcheck" "$out/gcc" make -s -j"$jobs" distcheck || true
    else
        say "distcheck: left out, $SECONDS s are used up"
        skipped=$((skipped + 1))
    fi
fi
finish
