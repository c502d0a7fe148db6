# SPDX-License-Identifier: MIT
"""Checkpoints as an operator sees them: options, metrics, restarts, and a node that
comes back after the log that it lacks was let go of."""

import re
import unittest

from harness import SLOW, ClusterTest, wait_until

OPTIONS = {"raft.checkpoint-entries": "20", "raft.log-tail-entries": "5",
           "raft.log-tail-bytes": "64K"}


def figure(node, series):
    """The value of one series of /metrics, 0 when it is not there."""
    text = node.request("GET", "/metrics", headers={"Accept": "text/plain"}).text
    found = re.search(rf"^{re.escape(series)} (\S+)$", text, re.MULTILINE)
    return float(found.group(1)) if found else 0


class Checkpoints(ClusterTest):
    def write(self, node, numbers):
        for i in numbers:
            self.assertWritten(node.set(f"k{i}", f"v{i}"), f"v{i}")

    def check(self, node, numbers):
        for i in numbers:
            self.assertRead(node.read(f"k{i}"), f"v{i}")

    def checkpointed(self, node, index):
        """Waits until the node has made a checkpoint at index or later."""
        wait_until(lambda: (node.metrics()["snapshot"] or {"index": 0})["index"] >= index,
                   10 * SLOW, f"{node.name} has a checkpoint at {index}")

    def test_checkpoints_are_made_by_entries_and_survive_a_kill_of_all(self):
        cluster = self.cluster_of(3, OPTIONS)
        self.write(cluster.leader(), range(100))
        last = cluster.leader().metrics()["last_applied"]["index"]
        for node in cluster.nodes:
            self.checkpointed(node, last - 40)
            self.assertGreaterEqual(figure(node, "crabcluster_raft_snapshot_index"), last - 40)
            self.assertGreaterEqual(
                figure(node, "crabcluster_checkpoint_duration_seconds_count"), 1)
            for name in ("log", "state", "disk_free"):
                self.assertGreater(figure(node, f"crabcluster_{name}_bytes"), 0)
        self.write(cluster.leader(), range(100, 110))
        for node in cluster.nodes:
            self.assertGreater(figure(node, "crabcluster_raft_first_log_index"), 1)
        for node in cluster.nodes:
            node.kill()
        for node in cluster.nodes:
            node.restart()
            self.assertGreaterEqual(node.metrics()["snapshot"]["index"], last - 40)
        cluster.leader()
        for node in cluster.nodes:
            self.check(node, range(110))
            self.assertEqual(figure(node, "crabcluster_keys"), 110)

    def test_checkpoint_is_made_of_a_change_that_is_old_enough(self):
        cluster = self.cluster_of(1, {"raft.checkpoint-interval": "1s"})
        node = cluster.nodes[0]
        self.write(node, range(3))
        self.checkpointed(node, node.metrics()["last_applied"]["index"])

    def test_stop_makes_a_checkpoint_of_what_is_worth_one(self):
        cluster = self.cluster_of(1)
        node = cluster.nodes[0]
        for little, keys in ((True, 4), (False, 40)):
            with self.subTest(keys=keys):
                for i in range(keys):
                    self.assertEqual(node.set(f"large{i}", "v" * 50000).status, 200)
                last = node.metrics()["last_applied"]["index"]
                node.stop()
                node.restart()
                snapshot = (node.metrics()["snapshot"] or {"index": 0})["index"]
                if little:
                    self.assertLess(snapshot, last)
                else:
                    self.assertGreaterEqual(snapshot, last)
                cluster.leader()
                for i in range(keys):
                    self.assertRead(node.read(f"large{i}"), "v" * 50000)

    def test_follower_that_lacks_what_the_log_lacks_gets_a_snapshot(self):
        cluster = self.cluster_of(3, OPTIONS)
        leader = cluster.leader()
        late = cluster.followers()[0]
        self.assertTrue(late.id)
        self.write(leader, range(30))
        late.stop()
        contact = f'crabcluster_peer_last_contact_seconds{{peer="{late.known_id}"}}'
        wait_until(lambda: figure(leader, contact) > 0.5, 10 * SLOW, "it is missed")
        self.write(leader, range(30, 150))
        self.checkpointed(leader, leader.metrics()["last_applied"]["index"] - 40)
        self.write(leader, range(150, 155))
        late.restart()
        self.write(leader, range(155, 160))
        wait_until(lambda: late.metrics()["last_applied"]["index"]
                   >= leader.metrics()["last_applied"]["index"], 20 * SLOW, "it has caught up")
        self.check(late, range(160))
        made = sum(figure(node, 'crabcluster_snapshot_duration_seconds_count{op="make"}')
                   for node in cluster.nodes)
        self.assertGreaterEqual(made, 1)
        for op in ("receive", "install"):
            self.assertEqual(
                figure(late, f'crabcluster_snapshot_duration_seconds_count{{op="{op}"}}'), 1)


if __name__ == "__main__":
    unittest.main()
