#!/bin/bash
# SPDX-License-Identifier: MIT
# A quick run of the check for power losses, with fewer images where a sanitizer makes it slow; and
# a disk that lies about a sync must be noticed.
set -euo pipefail
top=${top_srcdir:-$(dirname "$0")/../..}
build=${top_builddir:-$top}
power=$build/tests/power/power

"$power" --images 20000 --seconds 20
for lie in data-sync meta-sync dir-sync; do
    status=0
    "$power" --images 2000 --lie "$lie" >/dev/null 2>&1 || status=$?
    if [ "$status" -ne 1 ]; then
        printf 'a disk without %s was not noticed (exit status %d)\n' "$lie" "$status"
        exit 1
    fi
done
