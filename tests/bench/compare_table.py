#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""usage: compare_table.py ROWS RESULTS

The table of compare.sh, as text and as Markdown. ROWS are its rows, RESULTS what it
recorded: "ROUND ROW SYSTEM OPERATION RATE P50 P99 LONGEST ERRORS", times in
microseconds, or for the rows "failover" only milliseconds after the operation. Lines
that begin with "#" say what was measured on what, and are passed on."""

import itertools
import statistics
import sys

BATCH = 100  # Sets in a request of the rows "batch"
SYSTEMS = ("etcd", "crabcluster")


class Series:
    """What all rounds said of one operation in one row."""

    def __init__(self, op, kind):
        self.op, self.kind = op, kind
        self.rates, self.p50s, self.p99s, self.times = [], [], [], []
        self.errors = 0

    def add(self, figures):
        if self.kind == "failover":
            self.times.append(figures[0])
            return
        self.rates.append(figures[0] * (BATCH if self.kind == "batch" else 1))
        self.p50s.append(figures[1] / 1000)
        self.p99s.append(figures[2] / 1000)
        self.errors += int(figures[4])

    @property
    def rate(self):
        return statistics.median(self.rates)

    @property
    def p50(self):
        return statistics.median(self.p50s)

    @property
    def p99(self):
        return statistics.median(self.p99s)

    def cells(self):
        errors = f", {self.errors} errors" if self.errors else ""
        return [self.op, spread(self.rates) + errors, f"{self.p50:.2f}", f"{self.p99:.2f}"]


def spread(rates):
    """The median, with the least and the most if there are several."""
    text = f"{statistics.median(rates):,.0f}"
    return text + f" ({min(rates):,.0f}–{max(rates):,.0f})" if len(rates) > 1 else text


def read(rows_path, results_path):
    """Rows in their order, what was measured by (row, system), and the notes."""
    with open(rows_path, encoding="utf-8") as f:
        rows = [line.split() for line in f]
    kinds = {row[0]: row[1] for row in rows}
    measured, notes = {}, []
    with open(results_path, encoding="utf-8") as f:
        for line in f:
            words = line.split()
            if line.startswith("#"):
                notes.append(line.strip("# \n"))
                continue
            _, row, system, op, *figures = words
            all_series = measured.setdefault((row, system), {})
            series = all_series.setdefault(op, Series(op, kinds[row]))
            series.add([float(figure) for figure in figures])
    return rows, measured, list(dict.fromkeys(notes))


def verdict(good):
    return "ok" if good else "MISSED"


def load_lines(name, target, etcd, crabcluster):
    """Of each interface a line; ratios are to etcd's best."""
    etcd = sorted(etcd, key=lambda series: -series.rate)
    best = etcd[0] if etcd else None
    quantity, _, limit = target.partition("=")
    for theirs, ours in itertools.zip_longest(etcd, crabcluster):
        line = [name, *(theirs.cells() if theirs else [""] * 4),
                *(ours.cells() if ours else [""] * 4), "", "", ""]
        name = ""
        if ours and best:
            line[9] = f"{ours.rate / best.rate:.2f}"
            line[10] = f"{ours.p50 / best.p50:.2f}" if best.p50 else ""
        if ours and limit:
            line[11] = load_verdict(quantity, float(limit), best, ours)
        yield line


def load_verdict(quantity, limit, best, ours):
    if quantity == "sets>":
        return f"≥ {limit:,.0f}: {verdict(ours.rate >= limit)}"
    if quantity == "p99<":
        return f"p99 ≤ {limit:g} ms: {verdict(ours.p99 <= limit)}"
    if not best:
        return ""
    if quantity == "rate>":
        return f"rate ≥ {limit:g}: {verdict(ours.rate >= limit * best.rate)}"
    return f"p50 ≤ {limit:g}: {verdict(ours.p50 <= limit * best.p50)}"


def idle_lines(name, target, measured):
    """Of each system the rate without and with the idle connections."""
    limit = float(target.partition("=")[2])
    for system in SYSTEMS:
        series = list(measured.get((name, system), {}).values())
        if len(series) != 2:
            continue
        alone, beside = series
        cost = (1 - beside.rate / alone.rate) * 100
        yield [name, system, *alone.cells()[:2], beside.op.partition("+")[2],
               *beside.cells()[1:2], f"{cost:.1f} %",
               f"≤ {limit:g} %: {verdict(cost <= limit)}" if system == "crabcluster" else ""]


def failover_lines(name, target, measured):
    median_limit, worst_limit = map(float, target.partition("=")[2].split(","))
    for system in SYSTEMS:
        for series in measured.get((name, system), {}).values():
            times, target_cell = series.times, ""
            median, worst = statistics.median(times), max(times)
            if system == "crabcluster":
                good = median <= median_limit and worst <= worst_limit
                target_cell = f"≤ {median_limit:g}, {worst_limit:g}: {verdict(good)}"
            yield [name, system, f"{len(times)}", f"{median:,.0f}", f"{min(times):,.0f}",
                   f"{worst:,.0f}", target_cell]


TABLES = {
    "load": ["", "etcd", "/s", "p50 ms", "p99 ms", "crabcluster", "/s", "p50 ms", "p99 ms",
             "rate ratio", "p50 ratio", "target"],
    "idle": ["", "system", "operation", "/s alone", "idle", "/s beside them", "cost", "target"],
    "failover": ["", "system", "kills", "median ms", "least", "worst", "target"],
}


def lines_by_table(rows, measured):
    lines = {table: [] for table in TABLES}
    for name, kind, *_, target in rows:
        both = [list(measured.get((name, system), {}).values()) for system in SYSTEMS]
        if not any(both):
            continue
        target = "" if target == "-" else target
        if kind == "idle":
            lines["idle"] += idle_lines(name, target, measured)
        elif kind == "failover":
            lines["failover"] += failover_lines(name, target, measured)
        else:
            lines["load"] += load_lines(name, target, *both)
    return {table: each for table, each in lines.items() if each}


def print_text(header, lines):
    widths = [max(map(len, column)) for column in zip(header, *lines)]
    for line in [header, *lines]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    print()


def print_markdown(header, lines):
    print("| " + " | ".join(header) + " |")
    print("|" + " --- |" * len(header))
    for line in lines:
        print("| " + " | ".join(line) + " |")
    print()


def print_tables(tables, notes):
    """Pairs of header and lines, as text and then, after the notes, as Markdown."""
    print()
    for header, lines in tables:
        print_text(header, lines)
    print("In Markdown:\n")
    for note in notes:
        print(f"{note}  ")
    print()
    for header, lines in tables:
        print_markdown(header, lines)


def main(rows_path, results_path):
    rows, measured, notes = read(rows_path, results_path)
    tables = lines_by_table(rows, measured)
    print_tables([(TABLES[table], lines) for table, lines in tables.items()], notes)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__.splitlines()[0])
    main(sys.argv[1], sys.argv[2])
