# SPDX-License-Identifier: MIT
"""Values of 64 MiB: they go through log, checkpoints and snapshots as others do. To copy
one holds heartbeats up for some 100 ms on a busy machine, so that the default of 200 ms
is too short an election timeout for them; with a second nobody is elected."""

import hashlib
import os
import time
import unittest

from disks import SMALL_CHECKPOINTS, runs_of
from harness import SLOW, ClusterTest, Cluster, note, wait_until
from load import ERRORS, Threads

MIB = 1 << 20
OPTIONS = {"limits.max-value-size": "64M", "limits.request-timeout": "60s"}
OPTIONS["raft.election-timeout-min"] = f"{int(1000 * SLOW)}ms"
OPTIONS["raft.election-timeout-max"] = f"{int(2000 * SLOW)}ms"


def value(i, size=64 * MIB):
    """Text that no compression and no offset by accident makes equal to another."""
    block = "".join(hashlib.sha256(f"{i} {n}".encode()).hexdigest() for n in range(1024))
    return (block * (size // len(block) + 1))[:size]


class LargeValues(ClusterTest):
    limit_s = 300

    def assertSame(self, node, key, expected):
        answer = node.read(key, timeout=60 * SLOW)
        self.assertEqual(answer.status, 200)
        self.assertTrue(answer.json["Ok"] == expected, f"{key} at {node.name} differs")

    def test_three_nodes_take_64_mib_and_send_them_by_snapshot(self):
        cluster = Cluster(3, {**OPTIONS, **SMALL_CHECKPOINTS})
        self.addCleanup(cluster.close)
        cluster.start().form()
        leader = cluster.leader()
        term = leader.metrics()["current_term"]
        slowest, n_small = [0.0], [0]

        def small(_):
            with leader.client(timeout=60 * SLOW) as client:
                while not others.stopping.is_set():
                    begin = time.monotonic()
                    try:
                        answer = client.post("/read", "small")
                    except ERRORS as e:
                        raise AssertionError(f"a small read failed: {e}") from e
                    self.assertEqual(answer.status, 200, answer)
                    slowest[0] = max(slowest[0], time.monotonic() - begin)
                    n_small[0] += 1
                    time.sleep(0.01)

        self.assertEqual(leader.set("small", "v").status, 200)
        others = Threads(1, small)
        with others:
            for i, node in enumerate([*cluster.nodes, leader]):
                begin = time.monotonic()
                answer = node.set(f"large{i}", value(i), timeout=60 * SLOW)
                self.assertEqual(answer.status, 200, answer)
                note(f"64 MiB through node {i % 3 + 1}: {time.monotonic() - begin:.1f} s")
            answer = leader.set("too-large", value(9, 64 * MIB + 1), timeout=60 * SLOW)
            self.assertTooLarge(answer)
        note(f"{n_small[0]} small reads meanwhile, the slowest {slowest[0]:.2f} s")
        for node in cluster.nodes:
            metrics = node.metrics()
            self.assertEqual(metrics["current_term"], term, "there was an election")
            self.assertEqual(metrics["current_leader"], leader.id)
        cluster.wait_agreed()
        self.assertSame(cluster.followers()[0], "large0", value(0))

        # Into the state, and by snapshot to a node that comes late.
        for i in range(200):
            self.assertEqual(leader.set(f"fill{i}", "v").status, 200)
        wait_until(lambda: not runs_of(leader), 60 * SLOW, "all is merged")
        late = cluster.add_node().start()
        begin = time.monotonic()
        answer = leader.post("/add-learner", [late.id, late.addr], timeout=90 * SLOW)
        self.assertEqual(answer.status, 200, answer)
        note(f"256 MiB by snapshot: {time.monotonic() - begin:.1f} s")
        self.assertIn("installed the state", late.log_text())
        self.assertEqual(leader.metrics()["current_term"], term, "there was an election")
        for i in range(4):
            self.assertSame(late, f"large{i}", value(i))
        # And over restarts.
        late.kill()
        late.start()
        cluster.wait_agreed(limit_s=60 * SLOW)
        self.assertSame(late, "large3", value(3))
        note(f"log of the leader: {os.path.getsize(leader.data_dir + '/log/data.mdb') // MIB} MiB")


if __name__ == "__main__":
    unittest.main()
