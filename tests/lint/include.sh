#!/bin/bash
# SPDX-License-Identifier: MIT
# Which directory of src/ may include which, and which foreign header: the table
# of the design, as a test.
set -euo pipefail
cd "${top_srcdir:-$(dirname "$0")/../..}"

raft_public='raft/raft.h|raft/types.h|raft/config.h|raft/snapshot.h'
kv_public='kv/(kv|command|cursor|base|view|attrs|answer).h'

# Directory, and what it may include beside itself and base/.
declare -A may_include=(
    [base]=''
    [raft]=''
    [conf]=''
    [kv]=''
    [wire]="$raft_public|$kv_public"
    [node]='raft/.*|kv/.*|wire/.*'
    [store]="$raft_public|$kv_public|wire/.*|node/storage.h"
    [net]="$raft_public|$kv_public|wire/.*|node/transport.h"
    [api]="$kv_public|node/request.h"
    [podman]="$kv_public|node/request.h"
    [ctl]='conf/.*'
)

# Foreign header, and the directories that may include it.
declare -A allowed_in=(
    [lmdb.h]='store'
    [microhttpd.h]='api'
    ['curl/.*']='net|podman|ctl'
    [confuse.h]='conf'
    ['json(-c)?/.*']='api|ctl'
    ['gnutls/.*']='api'
)

# What the pure layers may not even see: threads, clocks, files, sockets.
pure='raft|kv|wire'
impure='pthread.h|threads.h|time.h|unistd.h|fcntl.h|signal.h|stdio.h|poll.h|netdb.h|(sys|net|netinet|arpa|uuid)/.*'

failures=0
fail() {
    printf '%s\n' "$*"
    failures=$((failures + 1))
}

matches() {
    [[ $1 =~ ^($2)$ ]]
}

# check_own FILE:LINE DIR HEADER: an include in quotes.
check_own() {
    [[ $3 = */* ]] || { fail "$1: name the directory of \"$3\""; return; }
    [ -n "${may_include[$2]+known}" ] || { fail "$1: $2/ is not in the table of tests/lint/include.sh"; return; }
    matches "$3" "$2/.*|base/.*${may_include[$2]:+|${may_include[$2]}}" || fail "$1: $2/ may not include \"$3\""
}

# check_foreign FILE:LINE DIR HEADER: an include in angle brackets.
check_foreign() {
    local header
    for header in "${!allowed_in[@]}"; do
        if matches "$3" "$header" && ! matches "$2" "${allowed_in[$header]}"; then
            fail "$1: only ${allowed_in[$header]//|/, } may include <$3>"
        fi
    done
    if matches "$2" "$pure" && matches "$3" "$impure"; then
        fail "$1: $2/ is pure and may not include <$3>"
    fi
}

files=0
while IFS=: read -r file line text; do
    dir=${file#src/} dir=${dir%%/*}
    [[ $file = src/*/* ]] || dir=main
    if [[ $text =~ ^[[:space:]]*#[[:space:]]*include[[:space:]]*\"([^\"]+)\" ]]; then
        [ "$dir" = main ] || check_own "$file:$line" "$dir" "${BASH_REMATCH[1]}"
    elif [[ $text =~ ^[[:space:]]*#[[:space:]]*include[[:space:]]*\<([^\>]+)\> ]]; then
        check_foreign "$file:$line" "$dir" "${BASH_REMATCH[1]}"
    else
        fail "$file:$line: an include that this lint cannot read"
    fi
    files=$((files + 1))
done < <(grep -rnE '^[[:space:]]*#[[:space:]]*include' src --include='*.[ch]' | sort)
[ "$files" -gt 0 ] || fail "no include found under src: the lint looked at nothing"

# A file that has a header of its own includes it first: it stands alone then.
while read -r file; do
    header=${file#src/} header=${header%.c}.h
    if [ -f "src/$header" ]; then
        first=$(grep -m 1 -E '^#include' "$file" || true)
        [ "$first" = "#include \"$header\"" ] || fail "$file: \"$header\" is not its first include"
    fi
done < <(find src -name '*.c' | sort)

mapfile -t users < <(grep -rlE '^[[:space:]]*#[[:space:]]*include[[:space:]]*<microhttpd.h>' src --include='*.[ch]' | sort)
[ ${#users[@]} -le 1 ] || fail "one file only may include <microhttpd.h>: ${users[*]}"

[ "$failures" -eq 0 ]
