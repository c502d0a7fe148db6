#!/bin/bash
# SPDX-License-Identifier: MIT
# crabcluster-protocol(7) names the message types, the error numbers and the
# paths that the code has, no more and no less.
set -euo pipefail
cd "${top_srcdir:-$(dirname "$0")/../..}"
page=man/crabcluster-protocol.7

failures=0
# same WHAT, with the code's lines as $2 and the page's as $3.
same() {
    if [ -z "$2" ] || ! diff -u --label code --label "$page" <(echo "$2") <(echo "$3"); then
        echo "$page: the $1 differ from the code's"
        failures=$((failures + 1))
    fi
}

raft_types=$(sed -nE '/^enum raft_message_type /,/^};/s/^ *RAFT_([A-Z_]+) = ([0-9]+),.*/\2 \1/p' src/raft/types.h)
wire_types=$(sed -nE '/^enum wire_type /,/^};/s/^ *WIRE_([A-Z_]+) = ([0-9]+),.*/\2 \1/p' src/wire/wire.h)
same "message types" "$(sort -n <<<"$raft_types"$'\n'"$wire_types")" \
    "$(sed -nE 's/^\.It ([0-9]+) ([A-Z_]+)$/\1 \2/p' "$page" | sort -n)"

same "error numbers" "$(sed -nE 's/^ *X\(([0-9]+), ([A-Z_]+)\).*/\1 \2/p' src/wire/error.c | sort -n)" \
    "$(sed -n '/^\.Ss Errors/,/^\.El/p' "$page" | grep -oE '[0-9]+ Ta [A-Z_]+' | sed 's/ Ta / /' | sort -n)"

same "paths" "$(grep -oE '"/raft-[a-z-]+"' src/node/transport.c | tr -d '"' | sort)" \
    "$(sed -nE 's/^\.It Pa (\/raft-[a-z-]+) .*/\1/p' "$page" | sort)"

[ "$failures" -eq 0 ]
