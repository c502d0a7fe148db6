# SPDX-License-Identifier: MIT
"""A bit flipped in each kind of record of a stopped node, and data of another version:
named with file, record and remedy; never served, and no vote is given with it."""

import os
import struct
import unittest

from disks import FAULTS, SMALL_CHECKPOINTS, Fault, data_file, flip, runs_of
from harness import SLOW, ClusterTest, Cluster, wait_until
from peer_message import crc32c

NEEDLE = "needle-" + "0123456789abcdef" * 4
LARGE = "large-" + "fedcba9876543210" * 2000  # several pages: in chunks
REMEDY = ("move the data directory away", "move its data directory away")


class DamageTest(ClusterTest):
    def node_with(self, values, options=None):
        cluster = Cluster(1, options)
        self.addCleanup(cluster.close)
        node = cluster.start().form().nodes[0]
        for key, value in values.items():
            self.assertEqual(node.set(key, value).status, 200)
        return node

    def assertRefusesToStart(self, node, *parts):
        node.spawn()
        node.finish(10 * SLOW, expect=1)
        last = node.log_text().splitlines()[-1]
        for part in parts:
            self.assertIn(part, last)
        return last

    def assertNamesRemedy(self, line):
        self.assertTrue(any(remedy in line for remedy in REMEDY), line)

    def assertNotServed(self, node, key):
        """500, and one line of the log says what is damaged."""
        for _ in range(3):
            answer = node.read(key)
            self.assertEqual(answer.status, 500, answer)
            self.assertEqual(list(answer.json["Err"]["APIError"]), ["Internal"])
        damaged = [line for line in node.log_text().splitlines() if "is damaged" in line]
        self.assertEqual(len(damaged), 1, damaged)
        self.assertNamesRemedy(damaged[0])
        return damaged[0]


class Log(DamageTest):
    def damaged(self, needle, offset, values=None):
        node = self.node_with(values or {"a": "1", "k": NEEDLE, "z": "2"})
        node.stop()
        self.assertGreater(flip(data_file(node, "log", "data.mdb"), needle, offset), 0)
        return node

    def test_entry_that_only_the_journal_has(self):
        node = self.node_with({"a": "1", "k": NEEDLE, "z": "2"})
        node.kill()
        self.assertGreater(flip(data_file(node, "log", "journal"), NEEDLE.encode(), 9), 0)
        line = self.assertRefusesToStart(node, "/log/journal is damaged: the sector at offset ",
                                         "does not match its checksum")
        self.assertNamesRemedy(line)

    def test_entry(self):
        node = self.damaged(NEEDLE.encode(), 9)
        line = self.assertRefusesToStart(node, "/log/data.mdb is damaged: log entry ",
                                         "does not match its checksum")
        self.assertNamesRemedy(line)

    def test_records_beside_the_log(self):
        for name in ("hard-state", "identity", "ends", "base", "format"):
            with self.subTest(record=name):
                node = self.damaged(name.encode(), len(name) + 6)
                line = self.assertRefusesToStart(node, "/log/data.mdb is damaged")
                self.assertNamesRemedy(line)

    def test_follower_with_damaged_entry_gives_no_vote(self):
        cluster = self.cluster_of(3)
        leader, (damaged, other) = cluster.leader(), cluster.followers()
        self.assertEqual(leader.set("k", NEEDLE).status, 200)
        cluster.wait_agreed()
        damaged.stop()
        flip(data_file(damaged, "log", "data.mdb"), NEEDLE.encode(), 3)
        self.assertRefusesToStart(damaged, "log entry")
        self.assertEqual(leader.set("k2", "v").status, 200)
        leader.stop()
        self.assertRefusesToStart(damaged, "log entry")
        self.assertIn(other.set("k2", "w").status, (503, 504))
        leader.start()
        cluster.leader()
        self.assertRead(other.read("k"), NEEDLE)


class State(DamageTest):
    def merged(self, values):
        """A node whose values are in the state, and not in its log any more."""
        node = self.node_with(values, SMALL_CHECKPOINTS)
        for i in range(300):
            self.assertEqual(node.set(f"fill{i}", "v" * 300).status, 200)
        wait_until(lambda: not runs_of(node), 10 * SLOW, "all is merged")
        node.stop()
        return node, data_file(node, "state-1", "data.mdb")

    def test_record_is_not_served_and_others_are(self):
        node, path = self.merged({"k": NEEDLE})
        self.assertGreater(flip(path, NEEDLE.encode(), 9), 0)
        node.start()
        wait_until(lambda: node.read("fill9").status == 200, 10 * SLOW, "it leads and reads")
        line = self.assertNotServed(node, "k")
        self.assertIn("/state-1/data.mdb is damaged: the record of key", line)
        self.assertRead(node.read("fill9"), "v" * 300)

    def test_chunk_of_a_large_value_is_not_served(self):
        node, path = self.merged({"k": LARGE})
        self.assertGreater(flip(path, LARGE.encode()[1000:1100], 9), 0)
        node.start()
        wait_until(lambda: node.read("fill9").status == 200, 10 * SLOW, "it leads and reads")
        self.assertIn("/state-1/data.mdb is damaged", self.assertNotServed(node, "k"))

    def test_write_that_needs_a_damaged_record_ends_the_node_with_a_clear_line(self):
        node, path = self.merged({"k": NEEDLE})
        flip(path, NEEDLE.encode(), 9)
        node.start()
        wait_until(lambda: node.read("fill9").status == 200, 10 * SLOW, "it leads and reads")
        try:
            node.set("k", "new")
        except OSError:
            pass
        node.finish(10 * SLOW, expect=1)
        lines = [line for line in node.log_text().splitlines() if "error" in line]
        self.assertEqual(len(lines), 2, lines)
        self.assertIn("is damaged: the record of key", lines[0])
        self.assertNamesRemedy(lines[0])
        self.assertIn("this node stops", lines[1])
        self.assertNotIn("ssert", node.log_text())

    def test_mark(self):
        node, path = self.merged({"k": NEEDLE})
        self.assertGreater(flip(path, b"mark", 4 + 6), 0)
        line = self.assertRefusesToStart(node, "/state-1/data.mdb is damaged")
        self.assertNamesRemedy(line)


@unittest.skipUnless(os.path.exists(FAULTS), f"{FAULTS} is not there: make check-cluster makes it")
class Runs(DamageTest):
    def with_run(self, values):
        """A node whose values are in a run that could not be merged."""
        cluster = Cluster(1, SMALL_CHECKPOINTS)
        self.addCleanup(cluster.close)
        node = cluster.nodes[0]
        fault = Fault(node, "write:/state-1/data.mdb:all:ENOSPC")
        cluster.start().form()
        fault.arm()
        for key, value in values.items():
            self.assertEqual(node.set(key, value).status, 200)
        for i in range(300):
            self.assertEqual(node.set(f"fill{i}", "v" * 300).status, 200)
        wait_until(lambda: len(runs_of(node)) >= 2, 10 * SLOW, "there are runs")
        node.stop()
        return node, runs_of(node)[0]

    def change(self, path, at, data=None):
        """Changes bytes from the beginning (or the end, below zero): flips a bit, or puts data."""
        with open(path, "r+b") as f:
            f.seek(at, os.SEEK_SET if at >= 0 else os.SEEK_END)
            old = f.read(1)
            f.seek(-1, os.SEEK_CUR)
            f.write(data or bytes([old[0] ^ 1]))

    def test_block_is_not_served_and_others_are(self):
        node, run = self.with_run({"k": NEEDLE})
        self.assertGreater(flip(run, NEEDLE.encode(), 9), 0)
        node.start()
        wait_until(lambda: node.read("fill299").status == 200, 10 * SLOW, "it leads and reads")
        self.assertIn(os.path.basename(run), self.assertNotServed(node, "k"))
        self.assertRead(node.read("fill299"), "v" * 300)

    def test_header_footer_index_and_meta(self):
        for what, at in (("magic", 3), ("end", -3), ("footer", -40), ("index", -100)):
            with self.subTest(what=what):
                node, run = self.with_run({"k": NEEDLE})
                self.change(run, at)
                line = self.assertRefusesToStart(node, run)
                self.assertNamesRemedy(line)

    def test_truncated(self):
        node, run = self.with_run({"k": NEEDLE})
        os.truncate(run, os.path.getsize(run) // 2)
        self.assertNamesRemedy(self.assertRefusesToStart(node, run))

    def test_other_version_is_refused_by_name(self):
        node, run = self.with_run({"k": NEEDLE})
        head = b"CRABRUN\n" + struct.pack(">I", 9)
        self.change(run, 0, head + struct.pack(">I", crc32c(head)))
        self.assertRefusesToStart(node, run, "9", "knows")


@unittest.skipUnless(os.path.exists(FAULTS), f"{FAULTS} is not there: make check-cluster makes it")
class Snapshots(DamageTest):
    """A bit that changes on its way to the disk: the sender's, and the receiver's."""
    limit_s = 120

    def late_node(self, at_leader):
        cluster = Cluster(1, SMALL_CHECKPOINTS)
        self.addCleanup(cluster.close)
        leader = cluster.nodes[0]
        late = cluster.add_node()
        fault = Fault(leader if at_leader else late, "write:/snapshot/:1:FLIP")
        leader.start()
        cluster.form([leader])
        for i in range(400):
            self.assertEqual(leader.set(f"k{i}", f"{i} " + "v" * 500).status, 200)
        wait_until(lambda: not runs_of(leader), 10 * SLOW, "all is merged")
        late.start()
        fault.arm()
        answer = leader.post("/add-learner", [late.id, late.addr], timeout=40 * SLOW)
        self.assertTrue(fault.hit(), "nothing was flipped")
        return leader, late, answer

    def test_piece_damaged_at_the_receiver_is_noticed_and_sent_again(self):
        _, late, answer = self.late_node(at_leader=False)
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(late.log_text().count("it begins anew"), 1)
        self.assertIn("/snapshot/", late.log_text())
        for i in range(400):
            self.assertRead(late.read(f"k{i}"), f"{i} " + "v" * 500)

    def test_file_damaged_at_the_sender_is_noticed_and_made_again(self):
        _, late, answer = self.late_node(at_leader=True)
        self.assertIn("it begins anew", late.log_text())
        self.assertEqual(answer.status, 200, answer)
        for i in range(400):
            self.assertRead(late.read(f"k{i}"), f"{i} " + "v" * 500)


class Versions(DamageTest):
    def test_log_and_state_of_another_format_are_refused_by_name(self):
        for part in ("log", "state-1"):
            with self.subTest(part=part):
                node = self.node_with({"k": "v"})
                node.stop()
                with open(data_file(node, part, "data.mdb"), "r+b") as f:
                    data = f.read()
                    at = data.find(b"format")
                    while at >= 0:
                        content = struct.pack(">I", 77)
                        f.seek(at + len(b"format"))
                        f.write(struct.pack(">I", crc32c(b"format" + content)) + content)
                        at = data.find(b"format", at + 1)
                self.assertRefusesToStart(node, f"/{part} has format 77, and this version knows")
                self.assertRefusesToStart(node, "has format 77")


if __name__ == "__main__":
    unittest.main()
