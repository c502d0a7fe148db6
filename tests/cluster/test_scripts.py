# SPDX-License-Identifier: MIT
"""contrib/cluster_manager.sh against the daemon: clusters are started, grow, lose their
leader and are stopped, nothing else is, and nothing is left behind."""

import os
import shutil
import signal
import subprocess
import tempfile

from harness import DAEMON, SLOW, ClusterTest, ports, request, wait_until

MANAGER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "contrib",
                       "cluster_manager.sh")
SCRIPT_S = 60 * SLOW


def ports_in_a_row(count):
    """The first of `count` ports that follow each other."""
    row = []
    while len(row) < count:
        port = ports.take()
        row = row + [port] if row and port == row[-1] + 1 else [port]
    return row[0]


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
            return f.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


class Scripts(ClusterTest):
    limit_s = 120

    def setUp(self):
        self.temporary = tempfile.mkdtemp(prefix="crabcluster-scripts-")
        self.run_dir = os.path.join(self.temporary, "run")
        self.addCleanup(shutil.rmtree, self.temporary)
        self.addCleanup(self.manager, "stop-all")

    def manager(self, *arguments, status=0, daemon=DAEMON):
        """Runs cluster_manager.sh and returns what it printed."""
        done = subprocess.run(
            [MANAGER, *map(str, arguments)], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=SCRIPT_S,
            env={**os.environ, "CRABCLUSTER": daemon, "CRABCLUSTER_RUN_DIR": self.run_dir})
        self.assertEqual(done.returncode, status, done.stdout)
        return done.stdout

    def table(self, output):
        """Rows of the printed tables, by port."""
        rows = [line.split() for line in output.splitlines() if line[:6].strip().isdigit()]
        return {int(row[0]): dict(zip(("pid", "state", "term", "leader"), row[1:5])) for row in rows}

    def assert_cluster(self, output, expected):
        """These ports, and all name the same one of them as their leader."""
        rows = self.table(output)
        self.assertEqual(sorted(rows), sorted(expected), output)
        leaders = [port for port, row in rows.items() if row["state"] == "Leader"]
        self.assertEqual(len(leaders), 1, output)
        self.assertEqual({row["leader"] for row in rows.values()}, {str(leaders[0])}, output)
        return leaders[0]

    def assert_shared(self, expected, key):
        """What one port takes, every port answers."""
        addrs = [f"127.0.0.1:{port}" for port in expected]
        body = f'{{"Set":{{"key":"{key}","value":"v"}}}}'
        self.assertEqual(request(addrs[0], "POST", "/write", body).status, 200)
        for addr in addrs:
            self.assertAnswer(request(addr, "POST", "/read", f'"{key}"'), 200, {"Ok": "v"})

    def test_start_add_and_stop_leave_nothing_twice_in_a_row(self):
        base = ports_in_a_row(8)
        for _ in range(2):
            self.assert_cluster(self.manager("start-cluster", 3, base), range(base, base + 3))
            self.manager("start-cluster", 2, base + 6)
            four = range(base, base + 4)
            self.assert_cluster(self.manager("add-node", base + 3), four)  # the nearer cluster
            self.assert_shared(four, "k")
            output = self.manager("status")
            pids = [int(row["pid"]) for row in self.table(output).values()]
            self.assertEqual(len(pids), 6, output)
            self.manager("stop-all")
            self.assertEqual([pid for pid in pids if alive(pid)], [])
            self.assertFalse(os.path.exists(self.run_dir))
        self.assertIn("no cluster", self.manager("status"))

    def test_removed_leader_is_stopped_and_the_rest_goes_on(self):
        base = ports_in_a_row(3)
        output = self.manager("start-cluster", 3, base)
        leader = self.assert_cluster(output, range(base, base + 3))
        pid = int(self.table(output)[leader]["pid"])
        rest = [port for port in range(base, base + 3) if port != leader]
        self.assert_cluster(self.manager("remove-node", leader), rest)
        self.assertFalse(alive(pid))
        self.assertFalse(os.path.exists(os.path.join(self.run_dir, f"cluster-{base}", str(leader))))
        self.assert_shared(rest, "k")

    def test_dead_leader_is_seen_by_status_and_can_be_removed(self):
        base = ports_in_a_row(3)
        output = self.manager("start-cluster", 3, base)
        leader = self.assert_cluster(output, range(base, base + 3))
        pid = int(self.table(output)[leader]["pid"])
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not alive(pid), 5, "the end of the node")
        self.assertEqual(self.table(self.manager("status", status=1))[leader]["state"], "stopped")
        rest = [port for port in range(base, base + 3) if port != leader]
        self.assert_cluster(self.manager("remove-node", leader), rest)

    def test_port_in_use_is_refused_and_what_uses_it_goes_on(self):
        base = ports_in_a_row(4)
        self.manager("start-cluster", 1, base + 2)
        output = self.manager("start-cluster", 3, base, status=1)
        self.assertIn(f"port {base + 2} is in use", output)
        self.assert_cluster(self.manager("status"), [base + 2])

    def test_process_that_has_a_recorded_number_is_not_stopped(self):
        base = ports_in_a_row(1)
        pid = int(self.table(self.manager("start-cluster", 1, base))[base]["pid"])
        os.kill(pid, signal.SIGKILL)
        with subprocess.Popen(["sleep", "60"]) as other:
            record = os.path.join(self.run_dir, f"cluster-{base}", str(base), "pid")
            with open(record, encoding="ascii") as f:
                _, start, boot = f.read().split()
            with open(record, "w", encoding="ascii") as f:
                f.write(f"{other.pid} {start} {boot}\n")
            self.manager("stop-all")
            self.assertIsNone(other.poll())
            other.kill()

    def test_daemon_that_does_not_start_is_said_and_nothing_stays(self):
        base = ports_in_a_row(1)
        broken = os.path.join(self.temporary, "broken")
        with open(broken, "w", encoding="ascii") as f:
            f.write("#!/bin/sh\necho broken: by design >&2\nexit 1\n")
        os.chmod(broken, 0o755)
        output = self.manager("start-cluster", 1, base, status=1, daemon=broken)
        self.assertIn("broken: by design", output)
        self.assertIn(f"port {base} ended right away", output)
        self.assertFalse(os.path.exists(self.run_dir))
