# SPDX-License-Identifier: MIT
"""Nodes under valgrind's memcheck with traffic: no error, no definite leak, and the
status of the daemon itself. Only with VALGRIND=1: it is slow."""

import os
import re
import unittest

from harness import Cluster, ClusterTest, compact
from load import Writers

MEMCHECK = ("valgrind", "--quiet", "--leak-check=full", "--show-leak-kinds=definite",
            "--errors-for-leak-kinds=definite", "--error-exitcode=99", "--num-callers=30")
# Thirty times slower, a node must not lose its office for being late.
PATIENT = {"raft.heartbeat-interval": "500ms", "raft.election-timeout-min": "3000ms",
           "raft.election-timeout-max": "5000ms", "limits.request-timeout": "60s"}
STOP_UNDER_VALGRIND_S = 60


@unittest.skipUnless(os.environ.get("VALGRIND") == "1", "VALGRIND=1 is not set")
class Valgrind(ClusterTest):
    limit_s = 300

    def traffic(self, node, nodes):
        with Writers(nodes, n=4, total=1500) as writers:
            writers.wait_acked(1500, 120)
        self.assertEqual(writers.check([node], 4), [])
        for body in (b"", b"{", b'{"Set":7}', b"\xff", b"[" * 5000,
                     b'{"Set":{"key":"k","key":"l"}}',
                     compact({"Batch": [{"Set": {"key": "b", "value": "v"}},
                                        {"Delete": {"key": "b"}}]})):
            for path in ("/write", "/read", "/add-learner", "/change-membership", "/raft-append"):
                node.request("POST", path, body)
        node.request("GET", "/init")
        node.request("GET", "/nowhere")
        node.metrics()
        node.request("GET", "/metrics", headers={"Accept": "text/plain"})

    def finish(self, node):
        node.stop(STOP_UNDER_VALGRIND_S)
        errors = re.findall(r"(?m)^==\d+== .*", node.log_text())
        self.assertEqual(errors, [])

    def test_node_alone_under_memcheck_is_clean(self):
        cluster = Cluster(0, PATIENT)
        self.addCleanup(cluster.close)
        node = cluster.add_node(wrapper=MEMCHECK).start()
        cluster.form()
        self.traffic(node, [node])
        self.finish(node)

    def test_member_under_memcheck_is_clean_as_follower_and_as_leader(self):
        cluster = Cluster(2, PATIENT)
        self.addCleanup(cluster.close)
        watched = cluster.add_node(wrapper=MEMCHECK)
        cluster.start().form()
        self.traffic(watched, cluster.nodes)
        # Remove the others, so that it has to lead.
        self.assertAnswer(watched.post("/change-membership", [watched.id]), 200, {"Ok": "Changed"})
        self.traffic(watched, [watched])
        self.finish(watched)


if __name__ == "__main__":
    unittest.main()
