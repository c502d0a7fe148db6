# SPDX-License-Identifier: MIT
"""Starting and stopping: one clear line and status 1 when it cannot start, a quick
end with status 0 on SIGTERM, and nothing acknowledged lost."""

import os
import signal
import socket
import subprocess
import time
import unittest

from harness import DAEMON, SLOW, STOP_S, Cluster, ClusterTest, ports
from load import Writers


class Refusals(ClusterTest):
    def setUp(self):
        self.cluster = Cluster(2)
        self.addCleanup(self.cluster.close)
        self.node, self.other = self.cluster.nodes
        self.data = self.other.data_dir

    def refused(self, arguments, *parts, env=None):
        """Runs the daemon, which must end with 1 and one line that holds all parts."""
        done = subprocess.run([DAEMON, *arguments], capture_output=True, text=True,
                              timeout=10 * SLOW, check=False, stdin=subprocess.DEVNULL,
                              env={**self.other.environment(), **(env or {})})
        self.assertEqual(done.returncode, 1, done)
        self.assertEqual(done.stdout, "")
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertTrue(done.stderr.startswith("crabcluster: "), done.stderr)
        for part in parts:
            self.assertIn(part, done.stderr)
        return done.stderr.strip()

    def with_config(self, text, *parts):
        path = os.path.join(self.cluster.directory, "bad.conf")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        bind = self.other.bind
        line = self.refused(["--config", path, "--bind-addr", bind, "--data-dir", self.data],
                            path, *parts)
        self.assertFalse(os.path.exists(self.data), "the data directory was touched")
        return line

    def test_port_in_use_by_another_node_is_said(self):
        self.node.start()
        line = self.refused(["--bind-addr", self.node.bind, "--data-dir", self.data])
        self.assertEqual(line, f"crabcluster: cannot listen on {self.node.bind}: "
                               "Address already in use")
        self.assertEqual(self.node.request("GET", "/get-id").json, self.node.id)

    def test_port_in_use_by_a_listener_that_shares_is_said(self):
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            s.bind(("127.0.0.1", self.other.port))
            s.listen()
            self.refused(["--bind-addr", self.other.bind, "--data-dir", self.data],
                         "cannot listen", "Address already in use")

    def test_address_of_another_machine_is_said(self):
        self.refused(["--bind-addr", "192.0.2.1:8080", "--data-dir", self.data], "192.0.2.1")

    def test_wildcard_address_without_tls_needs_allow_insecure(self):
        self.refused(["--bind-addr", f"0.0.0.0:{self.other.port}",
                      "--advertise-addr", self.other.bind, "--data-dir", self.data],
                     "allow-insecure")

    def test_data_directory_in_use_is_said(self):
        self.node.start()
        self.refused(["--bind-addr", self.other.bind, "--data-dir", self.node.data_dir],
                     self.node.data_dir, "in use")

    def test_data_directory_not_writable_is_said(self):
        plain_file = os.path.join(self.cluster.directory, "file")
        with open(plain_file, "w", encoding="utf-8"):
            pass
        directories = [(os.path.join(plain_file, "data"), plain_file), (plain_file, plain_file),
                       ("/proc/crabcluster", "/proc")]
        if os.geteuid() != 0:  # root may write anywhere
            os.makedirs(self.data, mode=0o555)
            directories.append((self.data, self.data))
        for directory, part in directories:
            with self.subTest(directory=directory):
                self.refused(["--bind-addr", self.other.bind, "--data-dir", directory], part)

    def test_data_directory_of_something_else_is_left_alone(self):
        os.makedirs(os.path.join(self.data, "log"))
        with open(os.path.join(self.data, "log", "data.mdb"), "wb") as f:
            f.write(b"not lmdb at all" * 1000)
        self.refused(["--bind-addr", self.other.bind, "--data-dir", self.data], self.data)
        with open(os.path.join(self.data, "log", "data.mdb"), "rb") as f:
            self.assertEqual(f.read(), b"not lmdb at all" * 1000)

    def test_bad_configuration_names_file_line_and_option(self):
        for text, line, option in (
                ("\nno-such-option = 1\n", 2, "no-such-option"),
                ("auto-init = true\nauto-init = maybe\n", 2, "auto-init"),
                ("raft {\n  heartbeat-interval = 5parsecs\n}\n", 2, "heartbeat-interval"),
                ("raft {\n  no-such = 5\n}\n", 2, "no-such"),
                ("limits {\n\n  max-value-size = 65M\n}\n", 3, "max-value-size"),
                ("limits {\n  max-connections = -1\n}\n", 2, "max-connections"),
                ("http { threads = x }\n", 1, "threads"),
                ("profile = moon\n", 1, "profile"),
                ('bind-addr = "nowhere"\n', 1, "bind-addr"),
                ('peers = { "127.0.0.1" }\n', 1, "peers"),
                ("log { level = loud }\n", 1, "level")):
            with self.subTest(text=text):
                self.with_config(text, f":{line}", option)

    def test_unclosed_section_is_said(self):
        self.with_config("raft {\n  heartbeat-interval = 100ms\n")

    def test_election_timeout_below_heartbeat_is_said(self):
        self.with_config("raft {\n  heartbeat-interval = 500ms\n}\n", "heartbeat-interval")

    def test_missing_configuration_file_is_said(self):
        self.refused(["--config", "/nonexistent/crabcluster.conf"],
                     "/nonexistent/crabcluster.conf")

    def test_bad_arguments_are_said(self):
        for arguments, part in ((["--no-such-flag"], "no-such-flag"),
                                (["--bind-addr"], "bind-addr"), (["surplus"], "surplus"),
                                (["--bind-addr", "127.0.0.1:99999"], "99999"),
                                (["--bind-addr", "127.0.0.1"], "127.0.0.1"),
                                (["--log-level", "loud"], "loud")):
            with self.subTest(arguments=arguments):
                self.refused([*arguments, "--data-dir", self.data], part)
                self.assertFalse(os.path.exists(self.data))

    def test_check_config_prints_and_touches_nothing(self):
        done = subprocess.run([DAEMON, "--check-config", "--bind-addr", self.other.bind,
                               "--data-dir", self.data], capture_output=True, text=True,
                              timeout=10 * SLOW, check=False, env=self.other.environment())
        self.assertEqual(done.returncode, 0, done)
        self.assertIn(self.other.bind, done.stdout)
        self.assertIn("election-timeout-min", done.stdout)
        self.assertFalse(os.path.exists(self.data))


class Stopping(ClusterTest):
    def stop_under_load(self, nodes, victim):
        with Writers(nodes, n=6) as writers:
            writers.wait_acked(300, 20)
            seconds = victim.stop(STOP_S)
            self.assertLess(seconds, STOP_S)
        return writers

    def test_sigterm_single_node_under_load_loses_nothing(self):
        node = self.loose_nodes(1)[0]
        node.request("GET", "/init")
        writers = self.stop_under_load([node], node)
        node.restart()
        self.assertEqual(writers.check([node]), [])

    def test_sigterm_leader_and_follower_under_load_lose_nothing(self):
        cluster = self.cluster_of(3)
        for role in ("leader", "follower"):
            with self.subTest(role=role):
                leader = cluster.leader()
                victim = leader if role == "leader" else cluster.followers()[0]
                writers = self.stop_under_load(cluster.nodes, victim)
                victim.restart()
                self.assertEqual(writers.check(cluster.nodes), [])

    def test_sigterm_leader_hands_over_without_a_gap(self):
        cluster = self.cluster_of(3)
        leader = cluster.leader()
        other = cluster.followers()[0]
        leader.terminate()
        begin = time.monotonic()
        answers = [other.set(f"k{i}", "v").status for i in range(5)]
        seconds = time.monotonic() - begin
        leader.finish()
        self.assertEqual(answers, [200] * 5)
        self.assertLess(seconds, 1 * SLOW)
        self.assertIn("leadership handed over to", leader.log_text())

    def test_sigterm_leader_of_two_votes_for_its_successor(self):
        cluster = self.cluster_of(2)
        leader = cluster.leader()
        leader.stop()
        self.assertIn("leadership handed over to", leader.log_text())
        self.assertIn("this node leads", cluster.nodes[1].log_text())

    def test_sigterm_without_quorum_ends_in_time(self):
        cluster = self.cluster_of(3)
        last, *rest = cluster.nodes
        for node in rest:
            node.kill()
        with Writers([last], n=3):
            time.sleep(0.3)
            last.stop()

    def test_sigint_ends_like_sigterm(self):
        node = self.loose_nodes(1)[0]
        node.set("k", "v")
        node.process.send_signal(signal.SIGINT)
        node.finish()
        node.restart()
        self.assertRead(node.read("k"), "v")

    def test_sigterm_with_idle_and_half_sent_connections_ends_in_time(self):
        node = self.loose_nodes(1)[0]
        node.set("k", "v")
        held = []
        for data in (b"", b"POST /write HT", b"GET /get-id HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            s = socket.create_connection(("127.0.0.1", node.port), 5)
            s.sendall(data)
            held.append(s)
        time.sleep(0.1)
        node.stop()
        for s in held:
            s.close()

    def test_start_again_at_once_on_the_same_port(self):
        node = self.loose_nodes(1)[0]
        for i in range(5):
            self.assertWritten(node.set("k", str(i)), str(i))
            node.stop()
            node.start()
            self.assertRead(node.read("k"), str(i))

    def test_sigterm_at_once_after_the_start_ends_in_time(self):
        for delay in (0, 0.005, 0.02, 0.05):
            node = Cluster(1)
            self.addCleanup(node.close)
            process = subprocess.Popen(node.nodes[0].command()[:1] + [
                "--bind-addr", f"127.0.0.1:{ports.take()}",
                "--data-dir", node.nodes[0].data_dir], stderr=subprocess.DEVNULL,
                env=node.nodes[0].environment())
            try:
                time.sleep(delay)
                process.terminate()
                # Before the handler is in place, the signal itself may end it.
                self.assertIn(process.wait(5 * STOP_S), (0, -signal.SIGTERM))
            finally:
                process.kill()
                process.wait(5)


if __name__ == "__main__":
    unittest.main()
