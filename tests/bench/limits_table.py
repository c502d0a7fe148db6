#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""usage: limits_table.py RESULTS

The table of limits.sh, as text and as Markdown. RESULTS are what it recorded: "ROUND
CEILING RATE-OF-THE-CEILING RATE-OF-CRABCLUSTER", and notes that begin with "#"."""

import os
import statistics
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from compare_table import print_tables, spread, verdict  # noqa: E402

# ceiling: what it is, what crabcluster does beside it, percent to be reached
LIMITS = {
    "http-now": ("libmicrohttpd, constant body", "stale reads", 80),
    "http-later": ("libmicrohttpd, suspended and resumed", "linearizable reads", 85),
    "lmdb-writes": ("LMDB, 256 entries in a synced commit", "writes", None),
    "lmdb-batches": ("LMDB, 256 entries in a synced commit", "Sets in batches of 100", None),
    "copy-batches": ("entries copied in memory", "Sets in batches of 100", None),
}
HEADER = ["ceiling", "/s", "crabcluster", "/s", "percent", "target"]


def lines(measured):
    for name, (ceiling, what, target) in LIMITS.items():
        rounds = measured.get(name)
        if not rounds:
            continue
        bare, ours = zip(*rounds)
        percent = statistics.median(100 * o / b for b, o in rounds)
        shown = f"{percent:.1f}" if percent < 10 else f"{percent:.0f}"
        yield [ceiling, spread(bare), what, spread(ours), shown,
               f"≥ {target} %: {verdict(percent >= target)}" if target else ""]


def main(path):
    measured, notes = {}, []
    with open(path, encoding="utf-8") as f:
        for line in f:
            if line.startswith("#"):
                notes.append(line.strip("# \n"))
                continue
            _, name, bare, ours = line.split()
            measured.setdefault(name, []).append((float(bare), float(ours)))
    print_tables([(HEADER, list(lines(measured)))], notes)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__.splitlines()[0])
    main(sys.argv[1])
