# SPDX-License-Identifier: MIT
"""The examples of crabcluster-api(7): each command is run as it stands there, with the ports of
the test's nodes, and its answer has the members that the page shows."""

import os
import re
import subprocess
import threading
import time

from harness import DAEMON, SLOW, ClusterTest, ports
from v1 import revision_of

PAGE = os.path.join(os.path.dirname(__file__), "../../man/crabcluster-api.7")
# The ids in the page: of the node at 8080 and of that at 8081.
ID_OF_8080 = r"550e8400-(\.\.\.|[0-9a-f]{4}-[0-9a-f-]+)"
ID_OF_8081 = r"6fa459ea-(\.\.\.|[0-9a-f]{4}-[0-9a-f-]+)"
KEY = "/v1/kv/app/config"


def blocks():
    """The literal blocks with commands, as a reader sees them: [(command, shown answer), ...]."""
    with open(PAGE, encoding="utf-8") as f:
        literal = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", f.read(), re.S | re.M)
    for block in literal:
        lines = block.replace(r"\e", "\\").splitlines()
        steps = []
        for line in lines:
            goes_on = steps and not steps[-1][1] and not is_whole(steps[-1][0])
            if line.startswith("$ "):
                steps.append([line[2:], ""])
            elif goes_on:
                steps[-1][0] += "\n" + line
            elif steps:
                steps[-1][1] += line + "\n"
        if steps:
            yield steps


def is_whole(command):
    """The shell would not ask for more."""
    return not command.endswith("\\") and command.count("'") % 2 == 0


def members_of(text):
    return set(re.findall(r'"(\w+)":', text))


class Manual(ClusterTest):
    limit_s = 120

    def setUp(self):
        self.cluster = self.cluster_of(2)
        self.first, self.second = self.cluster.nodes
        self.newcomer = self.cluster.add_node().start()
        for i in range(10):  # so that the revisions that the page names are past
            self.first.set("filler", str(i))
        for key, value in (("colour", "old"), ("app/a", "1"), ("k", "v")):
            self.first.request("PUT", f"/v1/kv/{key}", value)
        self.directory = os.path.join(self.cluster.directory, "manual")
        os.mkdir(self.directory)
        with open(os.path.join(self.directory, "app.conf"), "w", encoding="utf-8") as f:
            f.write("on = 1\n")

    def adapt(self, command, second):
        """The command for the nodes of this test."""
        command = re.sub(ID_OF_8080, self.first.id, command)
        command = re.sub(ID_OF_8081, second.id, command)
        for name, node in (("8080", self.first), ("8081", second)):
            command = re.sub(rf"(localhost|127\.0\.0\.1):{name}", node.addr, command)
        if "If-None-Match" in command:
            revision = revision_of(self.first.request("GET", KEY))
            command = re.sub(r'If-None-Match: "\d+"', f'If-None-Match: "{revision}"', command)
        return command

    def run_bash(self, script, seconds=30):
        # Not every machine has uuidgen.
        script = ("type uuidgen >/dev/null 2>&1 || uuidgen() { cat /proc/sys/kernel/random/uuid; }\n"
                  "curl() { command curl -sS \"$@\"; }\n" + script)
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=self.directory,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=seconds * SLOW, check=False)
        self.assertEqual(done.returncode, 0, (script, done.stdout, done.stderr))
        return done.stdout

    def check(self, command, shown, output):
        self.assertLessEqual(members_of(shown), members_of(output), (command, output))
        for word in ('"error"', '"Err"'):
            self.assertEqual(word in shown, word in output, (command, output))
        if shown.startswith("HTTP/"):
            self.assertTrue(output.startswith(shown.strip()), output)

    def write_soon(self):
        time.sleep(0.5)
        self.first.request("PUT", KEY, "woken")

    def try_first_steps(self, steps):
        """Those that start daemons: with ports of their own, and an end."""
        script = "\n".join(command + ("\nsleep 1" if command.endswith("&") else "")
                           for command, _ in steps)
        for name in ("8080", "8081"):
            port = ports.take()
            script = re.sub(rf"(localhost|127\.0\.0\.1):{name}", f"127.0.0.1:{port}", script)
        daemon = os.path.dirname(DAEMON)
        state = os.path.join(self.directory, "state")
        output = self.run_bash("trap 'kill $(jobs -p); wait' EXIT\n"
                               f"export PATH={daemon}:$PATH XDG_STATE_HOME={state}\n{script}")
        self.assertIn('{"Ok":"Changed"}', output)

    def test_examples_of_the_manual_page_work_as_they_stand(self):
        n, second = 0, self.second
        for steps in blocks():
            if any(command.startswith("crabcluster ") for command, _ in steps):
                self.try_first_steps(steps)
                n += len(steps)
                continue
            for command, shown in steps:
                if "/v1/members" in command:  # about a node that is no member yet
                    second = self.newcomer
                waker = threading.Thread(target=self.write_soon)
                if "wait=" in command:
                    waker.start()
                began = time.monotonic()
                output = self.run_bash(self.adapt(command, second))
                if "wait=" in command:
                    waker.join()
                    self.assertLess(time.monotonic() - began, 10 * SLOW)
                self.check(command, shown, output)
                n += 1
        self.assertGreaterEqual(n, 30)
