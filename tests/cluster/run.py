#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the cluster tests against the daemon that $CRABCLUSTER names.

usage: run.py [--trs FILE] [--list] [PATTERN...]

PATTERN: only tests whose name contains it ("startup", "leader_killed").
--trs:   also write results in the form of automake's test driver.
Environment: see harness.py. The last line is "N passed, N failed".
"""

import argparse
import os
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import harness  # noqa: E402 (found by the path set above)


class Result(unittest.TestResult):
    """One line per test with its time; the nodes' logs are shown where a test fails,
    while its nodes still exist."""

    def __init__(self):
        super().__init__()
        self.passed, self.failed = [], []
        self.bad = False
        self.begin = 0.0

    def startTest(self, test):
        super().startTest(test)
        self.bad = False
        self.begin = time.monotonic()
        print(f"{name_of(test)}", flush=True)

    def stopTest(self, test):
        seconds = time.monotonic() - self.begin
        skipped = self.skipped and self.skipped[-1][0] is test
        if not self.bad and not skipped:
            self.passed.append(name_of(test))
        word = "FAILED" if self.bad else "skipped" if skipped else "ok"
        print(f"    {word}, {seconds:.1f} s", flush=True)

    def _fail(self, test, error):
        if not self.bad:
            self.failed.append(name_of(test))
        self.bad = True
        print("".join(f"  ! {line}\n" for line in
                      self._exc_info_to_string(error, test).splitlines()), flush=True)
        harness.print_tails()

    def addError(self, test, err):
        self._fail(test, err)

    def addFailure(self, test, err):
        self._fail(test, err)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            print(f"  ! {subtest}")
            self._fail(test, err)


def name_of(test):
    """test_startup.Startup.test_x as startup.test_x."""
    parts = test.id().split(".")
    return f"{parts[0].removeprefix('test_')}.{parts[-1]}"


def flatten(suite):
    for item in suite:
        if isinstance(item, unittest.TestSuite):
            yield from flatten(item)
        else:
            yield item


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n", 1)[1])
    parser.add_argument("--trs")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("patterns", nargs="*")
    arguments = parser.parse_args()

    tests = [test for test in flatten(unittest.defaultTestLoader.discover(
        os.path.dirname(os.path.abspath(__file__))))
        if not arguments.patterns or any(p in name_of(test) for p in arguments.patterns)]
    if arguments.list:
        print("\n".join(name_of(test) for test in tests))
        return 0
    if not os.access(harness.DAEMON, os.X_OK):
        print(f"run.py: no daemon at {harness.DAEMON}; set CRABCLUSTER", file=sys.stderr)
        return 2

    result = Result()
    begin = time.monotonic()
    unittest.TestSuite(tests).run(result)
    if arguments.trs:
        with open(arguments.trs, "w", encoding="utf-8") as f:
            f.writelines(f":test-result: PASS {name}\n" for name in result.passed)
            f.writelines(f":test-result: FAIL {name}\n" for name in result.failed)
            f.writelines(f":test-result: SKIP {name_of(test)}\n" for test, _ in result.skipped)
    print(f"{time.monotonic() - begin:.0f} s")
    for name in result.failed:
        print(f"failed: {name}")
    skipped = f", {len(result.skipped)} skipped" if result.skipped else ""
    print(f"{len(result.passed)} passed, {len(result.failed)} failed{skipped}")
    return 1 if result.failed or not result.passed else 0


if __name__ == "__main__":
    sys.exit(main())
