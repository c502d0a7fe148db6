#!/bin/bash
# SPDX-License-Identifier: MIT
# The tables of compare.sh and limits.sh, made of known measurements: medians,
# spread, etcd's best interface, ratios, verdicts.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
command -v python3 >/dev/null || { echo "skipped: python3 is not installed"; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

# expect WHAT TEXT: a line of the table, runs of blanks counted as one.
expect() {
    if ! tr -s ' ' <"$scratch/table" | grep -qxF -- "$2"; then
        printf 'not in the table: %s: %s\n' "$1" "$2"
        failed=1
    fi
}

cat >"$scratch/results" <<'END_OF_RESULTS'
# a note
1 write-256 etcd v2-put 1000 20000 30000 40000 0
2 write-256 etcd v2-put 1200 16000 36000 40000 0
3 write-256 etcd v2-put 5000 10000 33000 40000 0
1 write-256 etcd v3-put 1100 21000 31000 41000 0
1 write-256 crabcluster v1-put 4799 5000 9000 10000 0
1 write-1 etcd v2-put 1000 1000 2000 3000 0
1 write-1 crabcluster v1-put 1500 700 1100 3000 2
1 batch-64 crabcluster classic-batch 3000 1 1 1 0
1 half-read crabcluster v1-get 20000 500 2001 9000 0
1 idle-read crabcluster v1-get+0 1000 1 1 1 0
1 idle-read crabcluster v1-get+8000 950 1 1 1 0
1 failover crabcluster v1-put 300
1 failover crabcluster v1-put 1001
2 failover crabcluster v1-put 400
END_OF_RESULTS
"$here/compare.sh" --table "$scratch/results" >"$scratch/table"

expect "median, spread, the best interface, a ratio just below 4" \
    "| write-256 | v2-put | 1,200 (1,000–5,000) | 16.00 | 33.00 | v1-put | 4,799 | 5.00 | 9.00 | 4.00 | 0.31 | rate ≥ 4: MISSED |"
expect "the other interface on a line of its own" \
    "| | v3-put | 1,100 | 21.00 | 31.00 | | | | | | | |"
expect "p50, and errors" \
    "| write-1 | v2-put | 1,000 | 1.00 | 2.00 | v1-put | 1,500, 2 errors | 0.70 | 1.10 | 1.50 | 0.70 | p50 ≤ 0.7: ok |"
expect "Sets of batches" \
    "| batch-64 | | | | | classic-batch | 300,000 | 0.00 | 0.00 | | | ≥ 300,000: ok |"
expect "p99" \
    "| half-read | | | | | v1-get | 20,000 | 0.50 | 2.00 | | | p99 ≤ 2 ms: MISSED |"
expect "the cost of idle connections" \
    "| idle-read | crabcluster | v1-get+0 | 1,000 | 8000 | 950 | 5.0 % | ≤ 10 %: ok |"
expect "the worst failover" \
    "| failover | crabcluster | 3 | 400 | 300 | 1,001 | ≤ 500, 1000: MISSED |"
expect "the note" "a note "

printf '%s\n' '1 http-now 100 79' '2 http-now 200 170' '3 http-now 100 80' >"$scratch/results"
"$here/limits_table.py" "$scratch/results" >"$scratch/table"
expect "percent by round" \
    "| libmicrohttpd, constant body | 100 (100–200) | stale reads | 80 (79–170) | 80 | ≥ 80 %: ok |"
exit "$failed"
