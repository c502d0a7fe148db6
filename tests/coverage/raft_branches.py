#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Branch coverage of src/raft: usage: raft_branches.py SRCDIR BUILDDIR [LEAST_PERCENT]

Reads what the tests left in a build made with --enable-coverage and prints the
share of branches taken at least once, per file, and every line with a branch
never taken. Lines with an ASSERT do not count: their other branch is the end
of the process, which no run that passes takes. check.c, which is nothing else,
does not count either.
"""
import json
import pathlib
import subprocess
import sys


def lines_of(build, data):
    """[(file, line, taken, all)] of one object file."""
    out = subprocess.run(["gcov", "--json-format", "--stdout", "--branch-probabilities",
                          "--branch-counts", str(data)],
                         cwd=build, check=True, capture_output=True).stdout
    for report in out.splitlines():
        for file in json.loads(report)["files"]:
            for line in file["lines"]:
                branches = [b for b in line["branches"] if not b["throw"]]
                if branches:
                    taken = sum(b["count"] > 0 for b in branches)
                    yield file["file"], line["line_number"], taken, len(branches)


def is_assertion(text, number):
    """The line, or the statement it goes on with, is an ASSERT."""
    first = number - 1
    while first > 0 and not text[first - 1].rstrip().endswith((";", "{", "}", "*/")):
        first -= 1
    return any("ASSERT(" in line for line in text[first:number])


def main():
    source, build = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    least = float(sys.argv[3]) if len(sys.argv) > 3 else 0
    counts, never = {}, []
    for data in sorted((build / "src/raft").glob("*.gcda")):
        for name, number, taken, n in lines_of(build, data.resolve()):
            path = pathlib.Path(name)
            if path.suffix != ".c" or path.name == "check.c":
                continue
            text = (source / "src/raft" / path.name).read_text().splitlines()
            if is_assertion(text, number):
                continue
            have = counts.setdefault(path.name, [0, 0])
            have[0] += taken
            have[1] += n
            if taken < n:
                never.append(f"{path.name}:{number}: {taken} of {n}: {text[number - 1].strip()}")
    if not counts:
        sys.exit("no coverage data: configure with --enable-coverage and run the tests first")
    for name, (taken, n) in sorted(counts.items()):
        print(f"{name:20} {taken:5} of {n:5}  {100 * taken / n:6.2f} %")
    taken, n = (sum(c[i] for c in counts.values()) for i in (0, 1))
    percent = 100 * taken / n
    print(f"{'src/raft':20} {taken:5} of {n:5}  {percent:6.2f} %\n")
    print("\n".join(never))
    return 0 if percent >= least else 1


if __name__ == "__main__":
    sys.exit(main())
