# SPDX-License-Identifier: MIT
"""Disks that are full: what grows is refused with 507, all else goes on, and it ends
by itself when there is room."""

import time
import unittest

from disks import SMALL_CHECKPOINTS, SmallDisk, small_disks_why_not
from harness import SLOW, ClusterTest, Cluster, note, wait_until
from load import Threads

WHY_NOT = small_disks_why_not()
VALUE = "x" * 100_000


class FullDiskTest(ClusterTest):
    limit_s = 120

    def setUp(self):
        if WHY_NOT:
            self.skipTest(WHY_NOT)

    def cluster_on_small_disks(self, n, small, mib=96):
        """n members, of which the first `small` have such disks; and the disks."""
        cluster = Cluster(n, SMALL_CHECKPOINTS)
        self.addCleanup(cluster.close)
        disks = [SmallDisk(node, mib) for node in cluster.nodes[:small]]
        cluster.start().form()
        return cluster, disks

    def assertNoSpace(self, answer):
        self.assertEqual(answer.status, 507, answer)
        self.assertEqual(list(answer.json), ["Err"])
        self.assertEqual(list(answer.json["Err"]["APIError"]), ["NoSpace"])

    def wait_status(self, node, status, what, key="probe"):
        wait_until(lambda: node.set(key, "v").status == status, 15 * SLOW, what)


class OneNode(FullDiskTest):
    def test_full_by_its_own_data_deletions_make_room(self):
        cluster, (disk,) = self.cluster_on_small_disks(1, 1)
        node, written, refused_s = cluster.nodes[0], [], 0.0
        while refused_s < 5 * SLOW:  # what waits in memory gets a checkpoint, and leaves room
            answer = node.set(f"k{len(written)}", VALUE)
            if answer.status == 200:
                written.append(f"k{len(written)}")
                refused_s = 0.0
            else:
                self.assertNoSpace(answer)
                time.sleep(0.2)
                refused_s += 0.2
        self.assertNoSpace(answer)
        note(f"full after {len(written)} values, {disk.free() >> 20} MiB of 96 free")
        self.assertGreater(len(written), 100)
        self.assertRead(node.read(written[0]), VALUE)
        self.assertNoSpace(node.post("/write", {"Batch": [
            {"Delete": {"key": "k1"}}, {"Set": {"key": "k1", "value": "v"}}]}))
        for key in written[:-1]:
            answer = node.delete(key)
            self.assertEqual(answer.status, 200, answer)
        self.wait_status(node, 200, "writes are taken again")
        self.assertRead(node.read(written[-1]), VALUE)
        for i in range(50):
            self.assertEqual(node.set(f"again{i}", VALUE).status, 200)
        self.assertMissing(node.read(written[0]))

    def test_full_by_others_to_the_last_byte_starts_reads_and_deletes(self):
        cluster, (disk,) = self.cluster_on_small_disks(1, 1)
        node = cluster.nodes[0]
        for i in range(300):
            self.assertEqual(node.set(f"k{i}", "v" * 1000).status, 200)
        disk.fill()
        self.assertLess(disk.free(), 100_000)
        self.wait_status(node, 507, "writes are refused")
        for method, path in (("PUT", "/v1/kv/k0"), ("POST", "/v1/kv/n?op=incr"),
                             ("POST", "/v1/kv/k0?op=append")):
            answer = node.request(method, path)
            self.assertEqual((answer.status, answer.json["error"]["code"]), (507, "disk_full"))
        self.assertEqual(node.request("GET", "/v1/kv/k0").body, b"v" * 1000)
        self.assertEqual(node.request("DELETE", "/v1/kv/k298").status, 200)
        for i in range(200):
            self.assertEqual(node.delete(f"k{i}").status, 200)
        for end in (node.stop, node.kill):
            end()
            disk.wait_detached()
            node.start()
            wait_until(lambda: node.read("k299").status == 200, 10 * SLOW, "it leads and reads")
            self.assertMissing(node.read("k199"))
            self.assertNoSpace(node.set("k", "v"))
            self.assertEqual(node.delete("k299").status, 200)
            disk.relieve()
            self.wait_status(node, 200, "writes are taken again")
            self.assertEqual(node.set("k299", "v").status, 200)
            disk.fill()
            self.wait_status(node, 507, "writes are refused")
        disk.relieve()
        self.wait_status(node, 200, "writes are taken again")
        self.assertIn("the disk is full", node.log_text())
        self.assertIn("there is room on the disk again", node.log_text())

    def test_filled_by_others_under_load_never_ends_the_process(self):
        cluster, (disk,) = self.cluster_on_small_disks(1, 1)
        node, acked, refused = cluster.nodes[0], [], []

        def write(i):
            n = 0
            with node.client() as client:
                while not writers.stopping.is_set():
                    n += 1
                    answer = client.post("/write", {"Set": {"key": f"{i}/{n}", "value": VALUE}})
                    (acked if answer.status == 200 else refused).append(f"{i}/{n}")
                    if answer.status != 200:
                        self.assertNoSpace(answer)
                        time.sleep(0.02)

        writers = Threads(8, write)
        with writers:
            wait_until(lambda: len(acked) > 50 or writers.raised, 20 * SLOW, "some writes")
            disk.fill()
            before = len(refused)
            wait_until(lambda: len(refused) > before + 20 or writers.raised, 20 * SLOW, "refusals")
        note(f"{len(acked)} acknowledged, {len(refused)} refused")
        self.assertTrue(node.running())
        disk.relieve()
        self.wait_status(node, 200, "writes are taken again")
        node.kill()
        disk.wait_detached()
        node.start()
        for key in acked[-100:]:
            self.assertRead(node.read(key), VALUE)
        for key in refused:
            self.assertMissing(node.read(key))


class ThreeNodes(FullDiskTest):
    def test_leader_on_full_disk_hands_over_and_writes_go_on(self):
        cluster, (disk,) = self.cluster_on_small_disks(3, 1)
        full = cluster.nodes[0]
        self.assertIs(cluster.leader(), full)
        disk.fill()
        begin = time.monotonic()
        wait_until(lambda: cluster.leader_now() not in (None, full), 10 * SLOW, "another leads")
        note(f"another led {time.monotonic() - begin:.1f} s after the disk was full")
        for i, node in enumerate(cluster.nodes):
            self.wait_status(node, 200, "writes are taken")  # it hears of the new leader
            self.assertEqual(node.set(f"k{i}", VALUE).status, 200)
        # Others lead, or could; it never takes leadership over.
        for i in range(200):
            self.assertEqual(full.set(f"more{i}", VALUE).status, 200)
        self.assertIsNot(cluster.leader(), full)
        disk.relieve()
        cluster.wait_agreed(limit_s=30 * SLOW)
        self.assertRead(full.read("more199"), VALUE)

    def test_all_disks_full_elections_deletions_and_changes_go_on(self):
        cluster, disks = self.cluster_on_small_disks(3, 3)
        for i in range(20):
            self.assertEqual(cluster.nodes[0].set(f"k{i}", "v").status, 200)
        for disk in disks:
            disk.fill()
        for node in cluster.nodes:
            self.wait_status(node, 507, "writes are refused")
        leader = cluster.leader()
        follower = cluster.followers()[0]
        for node in cluster.nodes:
            self.assertNoSpace(node.set("k", "v"))
            self.assertRead(node.read("k19"), "v")
        self.assertEqual(follower.delete("k0").status, 200)
        self.assertEqual(leader.delete("k1").status, 200)
        # A member more, and one voter less.
        extra = cluster.add_node().start()
        self.assertAnswer(follower.post("/add-learner", [extra.id, extra.addr]), 200,
                          {"Ok": "Added"})
        self.assertAnswer(follower.post("/change-membership",
                                        [node.id for node in cluster.nodes]), 200,
                          {"Ok": "Changed"})
        leader.kill()
        wait_until(lambda: cluster.leader_now() not in (None, leader), 10 * SLOW, "another leads")
        self.assertRead(follower.read("k19"), "v")
        self.assertEqual(follower.delete("k2").status, 200)
        for node, disk in zip(cluster.nodes, disks):
            if node is not leader:
                disk.relieve()
        self.wait_status(follower, 200, "writes are taken again")

    def test_majority_full_refuses_until_one_has_room(self):
        cluster, disks = self.cluster_on_small_disks(3, 2)
        for disk in disks:
            disk.fill()
        for node in cluster.nodes:
            self.wait_status(node, 507, "writes are refused")
        self.assertEqual(cluster.nodes[2].delete("probe").status, 200)
        disks[0].relieve()
        for node in cluster.nodes:
            self.wait_status(node, 200, "writes are taken again")


if __name__ == "__main__":
    unittest.main()
