# SPDX-License-Identifier: MIT
"""Writes and syncs that fail: the process ends with one line that names the file and
says what to do, and after a restart nothing acknowledged is missing."""

import os
import time
import unittest

from disks import FAULTS, SMALL_CHECKPOINTS, Fault
from harness import SLOW, ClusterTest, Cluster, wait_until
from load import ERRORS

WHY_NOT = None if os.path.exists(FAULTS) else f"{FAULTS} is not there: make check-cluster makes it"


class FaultTest(ClusterTest):
    def setUp(self):
        if WHY_NOT:
            self.skipTest(WHY_NOT)

    def one_node(self, what, options=None):
        """A node that leads itself, its fault not armed yet."""
        cluster = Cluster(1, {**SMALL_CHECKPOINTS, **(options or {})})
        self.addCleanup(cluster.close)
        node = cluster.nodes[0]
        fault = Fault(node, what)
        cluster.start().form()
        return node, fault

    def write_until_end(self, node, limit_s=20):
        """Sets keys until the process ends; what was acknowledged."""
        acked, deadline = {}, time.monotonic() + limit_s * SLOW
        with node.client() as client:
            while node.process.poll() is None and time.monotonic() < deadline:
                key, value = f"k{len(acked)}", f"{len(acked)} " + "v" * 500
                try:
                    answer = client.post("/write", {"Set": {"key": key, "value": value}})
                except ERRORS:
                    break
                self.assertIn(answer.status, (200, 504), answer)
                if answer.status == 200:
                    acked[key] = value
        return acked

    def assertEndedFor(self, node, fault, part, seen=0):
        """Status 1 and one line of trouble, which names the file and the remedy. `seen`:
        bytes of the log that were there before."""
        node.finish(10 * SLOW, expect=1)
        self.assertTrue(fault.hit(), "no call failed")
        lines = [line for line in node.log_text()[seen:].splitlines()
                 if any(word in line for word in ("error", "cannot", "assert", "Assert"))]
        self.assertEqual(len(lines), 1, lines)
        self.assertIn(part, lines[0])
        self.assertIn("Input/output error", lines[0])
        self.assertIn("start the node again", lines[0])

    def assertAllThere(self, node, acked):
        wait_until(lambda: node.read("k0").status in (200, 404), 10 * SLOW, "it leads and reads")
        with node.client() as client:
            for key, value in acked.items():
                self.assertRead(client.post("/read", key), value)


class OneNode(FaultTest):
    limit_s = 120
    # Call, part of the path, which one, part of the path in the line.
    cases = (
        ("write", "/log/journal", 1, "/log/journal"),
        ("write", "/log/journal", 4, "/log/journal"),
        ("sync", "/log/journal", 1, "/log/journal"),
        ("sync", "/log/journal", 7, "/log/journal"),
        ("write", "/log/data.mdb", 1, "/log/data.mdb"),  # pages
        ("write", "/log/data.mdb", 2, "/log/data.mdb"),
        ("write", "/log/data.mdb", 3, "/log/data.mdb"),
        ("write", "/log/data.mdb", 7, "/log/data.mdb"),
        ("sync", "/log/data.mdb", 1, "/log/data.mdb"),
        ("sync", "/log/data.mdb", 4, "/log/data.mdb"),
        ("write", "/run.new", 1, "/run.new"),
        ("sync", "/run.new", 1, "/run.new"),
        ("rename", "/run.new", 2, "/run.new"),
        ("write", "/state-1/data.mdb", 1, "/state-1/data.mdb"),
        ("write", "/state-1/data.mdb", 5, "/state-1/data.mdb"),
        ("sync", "/state-1/data.mdb", 1, "/state-1/data.mdb"),
    )

    def test_each_call_that_fails_ends_it_and_loses_nothing(self):
        for call, part, n, named in self.cases:
            with self.subTest(call=call, part=part, n=n):
                node, fault = self.one_node(f"{call}:{part}:{n}:EIO")
                fault.arm()
                acked = self.write_until_end(node)
                self.assertEndedFor(node, fault, named)
                fault.remove()
                node.start()
                self.assertAllThere(node, acked)
                self.assertEqual(node.set("after", "v").status, 200)

    def test_sync_of_the_directory_that_names_a_run_ends_it(self):
        # A directory is told from its files by the end of the path, so: every path with it, and
        # only syncs, of which the run's own comes first.
        node, fault = self.one_node("sync:/state-1:2:EIO")
        fault.arm()
        acked = self.write_until_end(node)
        self.assertEndedFor(node, fault, "/state-1")
        fault.remove()
        node.start()
        self.assertAllThere(node, acked)

    def test_last_checkpoint_that_fails_ends_it_too_and_loses_nothing(self):
        never = {"raft.checkpoint-entries": "100000", "raft.checkpoint-bytes": "64M"}
        for call, error in (("sync", "EIO"), ("write", "EIO"), ("write", "ENOSPC")):
            with self.subTest(call=call, error=error):
                node, fault = self.one_node(f"{call}:/run.new:all:{error}", never)
                fault.arm()
                acked = {f"k{i}": "v" * 50000 for i in range(40)}
                for key, value in acked.items():
                    self.assertEqual(node.set(key, value).status, 200)
                node.terminate()
                if error == "EIO":
                    self.assertEndedFor(node, fault, "/run.new")
                else:  # a full disk is no reason for complaint: nothing is lost
                    node.finish(10 * SLOW)
                    self.assertTrue(fault.hit())
                fault.remove()
                node.start()
                self.assertAllThere(node, acked)

    def test_backup_whose_file_cannot_be_written_ends_it(self):
        node, fault = self.one_node("write:/snapshot/:1:EIO")
        self.assertEqual(node.set("k0", "v").status, 200)
        fault.arm()
        try:
            node.request("GET", "/v1/snapshot")
        except ERRORS:
            pass
        self.assertEndedFor(node, fault, "/snapshot/")
        fault.remove()
        node.start()
        self.assertAllThere(node, {"k0": "v"})

    def test_start_that_fails_says_so_and_the_next_works(self):
        for call, part in (("truncate", "/data/lock"), ("sync", "/log/data.mdb"),
                           ("write", "/log/data.mdb"), ("rename", "/log.new"),
                           ("sync", "/log.new")):
            with self.subTest(call=call, part=part):
                cluster = Cluster(1)
                self.addCleanup(cluster.close)
                node = cluster.nodes[0]
                if part == "/log/data.mdb":
                    node.start().set("k0", "v")
                    node.stop()
                fault = Fault(node, f"{call}:{part}:1:EIO")
                fault.arm()
                node.spawn()
                node.finish(10 * SLOW, expect=1)
                self.assertTrue(fault.hit())
                last = node.log_text().splitlines()[-1]
                self.assertIn("Input/output error", last)
                self.assertIn(part, last)
                fault.remove()
                node.start()
                self.assertEqual(node.set("k1", "v").status, 200)
                if part == "/log/data.mdb":
                    self.assertRead(node.read("k0"), "v")


class Followers(FaultTest):
    limit_s = 120

    def test_follower_that_cannot_write_a_snapshot_ends_and_then_catches_up(self):
        for call, part, n in (("write", "/snapshot/", 1), ("sync", "/snapshot/", 1),
                              ("rename", "/snapshot/", 1), ("write", "/state-2", 1),
                              ("rename", "/state-2", 2), ("sync", "/state-2", 1)):
            with self.subTest(call=call, part=part):
                cluster = Cluster(1, SMALL_CHECKPOINTS)
                self.addCleanup(cluster.close)
                cluster.start().form()
                leader = cluster.nodes[0]
                for i in range(400):
                    self.assertEqual(leader.set(f"k{i}", "v" * 500).status, 200)
                wait_until(lambda: "run" not in str(os.listdir(leader.data_dir + "/state-1")),
                           10 * SLOW, "all is merged")
                late = cluster.add_node()
                fault = Fault(late, f"{call}:{part}:{n}:EIO")
                late.start()
                fault.arm()
                try:
                    leader.post("/add-learner", [late.id, late.addr], timeout=0.5 * SLOW)
                except ERRORS:
                    pass
                self.assertEndedFor(late, fault, part)
                fault.remove()
                late.start()
                cluster.wait_agreed(limit_s=20 * SLOW)
                self.assertRead(late.read("k0"), "v" * 500)

    def test_follower_that_cannot_sync_is_replaced_by_the_others(self):
        cluster = Cluster(3, SMALL_CHECKPOINTS)
        self.addCleanup(cluster.close)
        fault = Fault(cluster.nodes[2], "sync:/log/journal:5:EIO")
        cluster.start().form()
        fault.arm()
        for i in range(50):
            self.assertEqual(cluster.nodes[0].set(f"k{i}", "v").status, 200)
        self.assertEndedFor(cluster.nodes[2], fault, "/log/journal")
        fault.remove()
        cluster.nodes[2].start()
        cluster.wait_agreed()
        self.assertRead(cluster.nodes[2].read("k49"), "v")


class NoSpace(FaultTest):
    def test_enospc_on_the_log_all_the_same_ends_it_with_a_clear_line(self):
        node, fault = self.one_node("write:/log/journal:1:ENOSPC")
        fault.arm()
        acked = self.write_until_end(node)
        node.finish(10 * SLOW, expect=1)
        self.assertTrue(fault.hit())
        self.assertIn("/log/journal: No space left on device", node.log_text())
        fault.remove()
        node.start()
        self.assertEqual(node.set("k0", "v").status, 200)
        self.assertAllThere(node, acked)

    def test_merging_without_space_waits_and_goes_on(self):
        node, fault = self.one_node("write:/state-1/data.mdb:all:ENOSPC")
        fault.arm()
        for i in range(300):
            self.assertEqual(node.set(f"k{i}", "v").status, 200)
        wait_until(lambda: "merging of checkpoints goes on when" in node.log_text(), 10 * SLOW,
                   "it says so")
        self.assertTrue(fault.hit())
        self.assertRead(node.read("k0"), "v")
        fault.disarm()
        wait_until(lambda: "there is room again" in node.log_text(), 10 * SLOW, "merging goes on")
        self.assertEqual(node.log_text().count("merging of checkpoints goes on when"), 1)


if __name__ == "__main__":
    unittest.main()
