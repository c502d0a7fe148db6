#!/bin/bash
# SPDX-License-Identifier: MIT
# What the pure layers need from elsewhere, against symbols.allowed: no threads,
# clocks, files, sockets or logging in raft, kv and wire.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
src=${top_srcdir:-$here/../..}
build=${top_builddir:-$src}
nm=${NM:-nm}

# Brought in by the compiler: sanitizers, coverage, stack protector, fortified
# forms (which count as what they fortify).
compiler='^(__asan_|__ubsan_|__tsan_|__msan_|__sanitizer_|__lsan_|__gcov_|__llvm_|llvm_gc|__stack_chk_fail$|_GLOBAL_OFFSET_TABLE_$)'

# allowed LAYER SYMBOL
allowed() {
    local layer pattern
    while read -r layer pattern; do
        # shellcheck disable=SC2053 # a pattern on purpose
        if [[ $layer = "$1" || $layer = all ]] && [[ $2 = $pattern ]]; then
            return 0
        fi
    done < <(grep -vE '^(#|$)' "$here/symbols.allowed")
    return 1
}

failures=0 checked=0
for layer in raft kv wire; do
    archive=$build/lib$layer.a
    if [ ! -f "$archive" ]; then
        if grep -q "^lib${layer}_a_SOURCES" "$src/src/$layer/Makefile.inc"; then
            echo "$archive is missing"
            failures=$((failures + 1))
        fi
        continue
    fi
    checked=$((checked + 1))
    defined=$("$nm" --defined-only "$archive" | awk 'NF == 3 { print $3 }' | sort -u)
    needed=$("$nm" -u "$archive" | awk '$1 == "U" || $1 == "w" { print $2 }' | sort -u)
    while read -r symbol; do
        [[ -n $symbol && ! $symbol =~ $compiler ]] || continue
        plain=$symbol
        [[ ! $symbol =~ ^__(.*)_chk$ ]] || plain=${BASH_REMATCH[1]}
        if ! allowed "$layer" "$plain"; then
            printf 'lib%s.a needs %s, which tests/lint/symbols.allowed does not allow:\n' "$layer" "$symbol"
            "$nm" -Au "$archive" | awk -v s="$symbol" '$NF == s { print "    " $0 }'
            failures=$((failures + 1))
        fi
    done < <(comm -13 <(printf '%s\n' "$defined") <(printf '%s\n' "$needed"))
done

[ "$failures" -eq 0 ] || exit 1
[ "$checked" -gt 0 ] || { echo "skipped: none of the archives is built"; exit 77; }
