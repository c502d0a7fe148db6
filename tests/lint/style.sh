#!/bin/bash
# SPDX-License-Identifier: MIT
# The rules of style that a machine can hold: licence line first, files of at
# most 600 lines, functions of at most 70, nothing left open, no path of
# somebody's machine.
set -euo pipefail
cd "${top_srcdir:-$(dirname "$0")/../..}"

file_lines_max=600
function_lines_max=70

failures=0
# Reports every line on standard input.
fail_each() {
    local line
    while read -r line; do
        printf '%s\n' "$line"
        failures=$((failures + 1))
    done
}

mapfile -t c_files < <(find src tests -name '*.[ch]' | sort)
mapfile -t scripts < <(find contrib tests .ci -name '*.sh' -o -path .ci/run -o -name '*.py' | sort)
mapfile -t make_files < <(find Makefile.am src etc man contrib tests -name '*.inc' -o -name Makefile.am | sort)
if [ ${#c_files[@]} -eq 0 ] || [ ${#scripts[@]} -eq 0 ] || [ ${#make_files[@]} -eq 0 ]; then
    fail_each <<<"no files found: the lint looked at nothing"
fi

fail_each < <(awk 'FNR == 1 && !/^\/\* SPDX-License-Identifier: MIT$/ && !/^\/\* SPDX-License-Identifier: MIT \*\/$/ {
    print FILENAME ": the first line is no \"/* SPDX-License-Identifier: MIT\"" }' "${c_files[@]}")
fail_each < <(awk 'FNR == 1 { n = /^#!/ ? 2 : 1 } FNR == n && !/^# SPDX-License-Identifier: MIT$/ {
    print FILENAME ":" n ": no \"# SPDX-License-Identifier: MIT\" where it belongs" }' "${scripts[@]}" "${make_files[@]}")

fail_each < <(wc -l "${c_files[@]}" "${scripts[@]}" | awk -v max="$file_lines_max" '
    $2 != "total" && $1 > max { print $2 ": " $1 " lines, at most " max }')

# clang-format puts a function's braces, and only those, alone into column one.
fail_each < <(awk -v max="$function_lines_max" '
    FNR == 1 { start = 0 }
    /^\{/ { start = FNR }
    /^\}/ { if (start && FNR - start > max) {
                print FILENAME ":" start ": a function of " FNR - start " lines, at most " max }
            start = 0 }' "${c_files[@]}")

fail_each < <(grep -nwE 'TODO|FIXME|XXX' "${c_files[@]}" || true)
fail_each < <(grep -nE '(^|[^A-Za-z0-9_.])/(work|home|root)/|/tmp/wt-' "${c_files[@]}" "${make_files[@]}" || true)

[ "$failures" -eq 0 ]
