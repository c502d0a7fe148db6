#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Puts the bugs of the past into a copy of the sources, one at a time, and sees
whether the tests notice.

usage: run.py [options] [MUTANT...]

MUTANT: only those whose file name begins with it ("04", "15-old"). Options:
--work DIR      the copy and its build, kept for the next time (mutants-work)
--rotate N      N of them, others every day; --day D: as on that day, any number
--harness LIST  these instead of the ones named in the patches, to see who notices
--starts N      first seeds to begin at (5); --seeds N: how far to go from each (200)
--seconds T     for one harness, all starts together (120); sim-long has thrice that
--jobs N        of make (2)
--list          says what there is

A patch begins with lines `Item:`, `Bug:`, `Seen:` and `Harness:`, the programs
that must notice: `sim`, `sim-long` (180 simulated seconds for each seed) and
`random` run seeds, `power` is 20,000 images of a power loss, tests/scenario/NN is a
story, anything else a test that is run once. Each must fail within --seeds seeds
in the median over the starts, and must not fail without a patch. The last line is "N passed, N failed": a mutant
that is caught has passed; one that does not apply or compile has failed.
"""

import argparse
import fcntl
import filecmp
import glob
import os
import re
import selectors
import shutil
import signal
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
NEVER = float("inf")

# How a harness that takes seeds is run: its program, its arguments and environment
# for the first of n seeds, and how it names a seed that failed.
SIM = ("tests/sim/sim", ["--first-seed", "{first}", "--seeds", "{n}"], {},
       re.compile(r"--replay (\d+)"))
SEEDED = {
    "sim": SIM,
    "sim-long": (SIM[0], SIM[1] + ["--seconds", "180"], *SIM[2:]),
    "random": ("tests/unit/test_raft_random", [],
               {"RAFT_SEED": "{first}", "RAFT_SEEDS": "{n}"},
               re.compile(r"RAFT_SEED=(\d+)")),
}
LONGER = {"sim-long": 3}  # its seeds are so much longer than those of sim
# Programs that are run once, with arguments.
ONCE = {"power": ("tests/power/power", ["--images", "20000", "--progress", "0"])}
SCENARIO = re.compile(r"tests/scenario/(\d\d)")
START_STEP = 100_000
RUN_ONCE_MAX_S = 60


class Broken(Exception):
    """The patch does not apply, does not compile, or names no harness."""


class Mutant:
    def __init__(self, path):
        self.path = path
        self.name = os.path.basename(path).removesuffix(".patch")
        self.head, self.files = {}, []
        key = None
        with open(path, encoding="utf-8") as f:
            for line in f:
                if line.startswith("--- "):
                    break
                field = re.match(r"([A-Z][a-z]+): (.*)", line)
                if field:
                    key = field[1]
                    self.head[key] = field[2].strip()
                elif key and line.startswith("  "):
                    self.head[key] += " " + line.strip()
        with open(path, encoding="utf-8") as f:
            self.files = re.findall(r"^\+\+\+ b/(\S+)", f.read(), re.M)
        for key in ("Item", "Bug", "Seen", "Harness"):
            if not self.head.get(key):
                raise SystemExit(f"{path}: no line {key}: at its head")

    def harnesses(self):
        return self.head["Harness"].replace(",", " ").split()


def program_of(harness):
    if SCENARIO.fullmatch(harness):
        return "tests/scenario/scenario"
    if harness in ONCE:
        return ONCE[harness][0]
    return SEEDED[harness][0] if harness in SEEDED else harness


# ---- the copy ----

class Copy:
    """The sources as they are, patched and set right again, and one build of them:
    only what a patch touches is compiled anew."""

    def __init__(self, work, jobs):
        self.top = os.path.join(work, "src")
        self.build = os.path.join(work, "build")
        self.jobs = jobs
        if not os.access(os.path.join(TOP, "configure"), os.X_OK):
            raise SystemExit("run.py: there is no configure; autoreconf -fi makes it")
        os.makedirs(self.build, exist_ok=True)
        self.lock = open(os.path.join(work, "lock"), "w", encoding="utf-8")
        fcntl.flock(self.lock, fcntl.LOCK_EX)  # two at once would mix their bugs
        self._refresh(work)
        if not os.path.exists(os.path.join(self.build, "Makefile")):
            self._must([os.path.join(self.top, "configure"), "-q", "CFLAGS=-O1 -g"])

    def _refresh(self, work):
        """Brings over what differs."""
        skipped = {os.path.abspath(work), os.path.join(TOP, ".git"),
                   os.path.join(TOP, "autom4te.cache")}
        wanted = set()
        for directory, subdirs, files in os.walk(TOP):
            subdirs[:] = [d for d in subdirs if os.path.join(directory, d) not in skipped
                          and not os.path.exists(os.path.join(directory, d, "config.status"))]
            to = os.path.join(self.top, os.path.relpath(directory, TOP))
            os.makedirs(to, exist_ok=True)
            for name in files:
                source, target = os.path.join(directory, name), os.path.join(to, name)
                if name.endswith((".o", ".a")) or not os.path.isfile(source):
                    continue
                wanted.add(os.path.normpath(target))
                bring(source, target)
        for directory, _, files in os.walk(self.top):
            for name in files:
                if os.path.normpath(os.path.join(directory, name)) not in wanted:
                    os.unlink(os.path.join(directory, name))

    def _must(self, command):
        done = subprocess.run(command, cwd=self.build, text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise Broken("\n".join(done.stdout.splitlines()[-15:]))

    def make(self, programs):
        try:
            self._must(["make", "-s", f"-j{self.jobs}", *sorted(set(programs))])
        except Broken as why:
            raise Broken(f"does not compile:\n{why}") from None

    def patch(self, mutant):
        try:
            self._must(["patch", "-p1", "-s", "--no-backup-if-mismatch", "-r", "-",
                        "-d", self.top, "-i", mutant.path])
        except Broken as why:
            raise Broken(f"does not apply:\n{why}") from None

    def restore(self, mutant):
        for name in mutant.files:
            shutil.copy(os.path.join(TOP, name), os.path.join(self.top, name))


def bring(source, target):
    if not os.path.exists(target):
        shutil.copy2(source, target)
    elif not filecmp.cmp(source, target, shallow=False):
        # What was compiled last may have had a bug in it: newer than that, so that
        # make sees it. What makes the makefiles keeps its order in time.
        (shutil.copy if target.endswith((".c", ".h")) else shutil.copy2)(source, target)


# ---- running ----

def lines_of(process, until):
    """Its lines as they come; None when the time is up."""
    selector = selectors.DefaultSelector()
    selector.register(process.stdout, selectors.EVENT_READ)
    rest = b""
    while True:
        if not selector.select(max(0.0, until - time.monotonic())):
            yield None
            return
        chunk = os.read(process.stdout.fileno(), 65536)
        if not chunk:
            return
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line.decode(errors="replace")


def run(copy, harness, until, first=0, n=0):
    """(failed, seed that failed or None, last lines). Ends with the first failure."""
    arguments, environment, names = [], {}, None
    if harness in SEEDED:
        _, arguments, environment, names = SEEDED[harness]
    elif harness in ONCE:
        arguments = ONCE[harness][1]
    elif SCENARIO.fullmatch(harness):
        arguments = sorted(glob.glob(os.path.join(copy.top, harness + "-*.txt")))
        if not arguments:
            raise Broken(f"there is no scenario {harness}")
    process = subprocess.Popen(
        [os.path.join(copy.build, program_of(harness)),
         *(a.format(first=first, n=n) for a in arguments)],
        cwd=copy.build, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, start_new_session=True,
        env=os.environ | {k: v.format(first=first, n=n) for k, v in environment.items()}
        | {"top_srcdir": copy.top, "top_builddir": copy.build})
    last, seed = [], None
    try:
        for line in lines_of(process, until):
            if line is None:
                return True, None, ["no end in time"]
            last = last[-9:] + [line]
            found = names.search(line) if names else None
            if found:
                seed = int(found[1])
                break
        code = 1 if seed is not None else process.wait()
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        process.stdout.close()
    return code != 0, seed, last


def end_of_time(harness, options):
    return time.monotonic() + options.seconds * LONGER.get(harness, 1)


def seeds_taken(copy, harness, options):
    """For each start the number of seeds until the failure."""
    until = end_of_time(harness, options)
    taken = []
    for k in range(options.starts):
        first = 1 + k * START_STEP
        failed, seed, _ = run(copy, harness, until, first, options.seeds)
        if not failed:
            taken.append(NEVER)
        elif seed is not None:
            taken.append(seed - first + 1)
        elif time.monotonic() >= until:
            break  # out of time: says nothing of seeds
        else:
            taken.append(options.seeds)
    return taken + [NEVER] * (options.starts - len(taken))


def judge(copy, harness, options):
    """(caught, what to say)."""
    if harness not in SEEDED:
        failed, _, _ = run(copy, harness, time.monotonic() + RUN_ONCE_MAX_S)
        return failed, f"{harness}: {'caught' if failed else 'SURVIVED'}"
    taken = seeds_taken(copy, harness, options)
    median = statistics.median_low(sorted(taken))
    caught = median <= options.seeds
    each = " ".join("-" if n == NEVER else str(n) for n in sorted(taken))
    if caught:
        return True, f"{harness}: caught after {median} seeds ({each})"
    return False, f"{harness}: SURVIVED {options.seeds} seeds ({each})"


def check_clean(copy, harnesses, options):
    """A harness that fails without a bug would catch everything."""
    copy.make(program_of(h) for h in harnesses)
    bad = set()
    for harness in sorted(harnesses):
        until = end_of_time(harness, options)
        starts = options.starts if harness in SEEDED else 1
        for k in range(starts):
            failed, seed, last = run(copy, harness, until, 1 + k * START_STEP, options.seeds)
            if failed:
                print(f"{harness} fails without any mutant, seed {seed}:", *last, sep="\n    ")
                bad.add(harness)
                break
    return bad


def try_mutant(copy, mutant, options, bad):
    """(caught by all, lines to say)."""
    harnesses = options.harness or mutant.harnesses()
    try:
        copy.patch(mutant)
        copy.make(program_of(h) for h in harnesses)
        results = [judge(copy, h, options) for h in harnesses]
    except Broken as why:
        return False, [str(why)]
    finally:
        copy.restore(mutant)
    said = [text + (" (fails without it too)" if h in bad else "")
            for h, (_, text) in zip(harnesses, results)]
    return all(caught for caught, _ in results) and not bad.intersection(harnesses), said


# ---- the whole ----

def chosen(options):
    names = sorted(n for n in os.listdir(HERE) if n.endswith(".patch"))
    mutants = [Mutant(os.path.join(HERE, n)) for n in names]
    if options.mutants:
        for wanted in options.mutants:
            if not any(m.name.startswith(wanted) for m in mutants):
                raise SystemExit(f"run.py: there is no mutant {wanted}")
        mutants = [m for m in mutants if any(m.name.startswith(w) for w in options.mutants)]
    if options.rotate and options.rotate < len(mutants):
        first = options.day * options.rotate
        mutants = [mutants[(first + k) % len(mutants)] for k in range(options.rotate)]
    return mutants


def parse():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n", 1)[1])
    parser.add_argument("--work", default="mutants-work")
    parser.add_argument("--rotate", type=int)
    parser.add_argument("--day", type=int, default=int(time.time() // 86400))
    parser.add_argument("--harness", type=lambda s: s.replace(",", " ").split())
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--list", action="store_true")
    parser.add_argument("mutants", nargs="*")
    return parser.parse_args()


def main():
    options = parse()
    mutants = chosen(options)
    if options.list:
        for m in mutants:
            print(f"{m.name}: {m.head['Bug']} ({m.head['Harness']})")
        return 0
    begin = time.monotonic()
    copy = Copy(os.path.abspath(options.work), options.jobs)
    harnesses = {h for m in mutants for h in options.harness or m.harnesses()}
    try:
        bad = check_clean(copy, harnesses, options)
    except Broken as why:
        print(why)
        return 2
    print(f"[{time.monotonic() - begin:4.0f} s] built, and checked without mutants", flush=True)
    table, passed = [], 0
    for mutant in mutants:
        caught, said = try_mutant(copy, mutant, options, bad)
        passed += caught
        word = "caught" if caught else "FAILED"
        line = f"{word}  {mutant.name:32} {'; '.join(said)}"
        print(f"[{time.monotonic() - begin:4.0f} s] {line}", flush=True)
        table.append(line.splitlines()[0])
    failures = [line for line in table if not line.startswith("caught")]
    print("\n" + "\n".join(table))
    if failures:
        print("\n" + "\n".join(failures))
    print(f"{passed} passed, {len(mutants) - passed} failed")
    return 1 if failures or not mutants else 0


if __name__ == "__main__":
    sys.exit(main())
