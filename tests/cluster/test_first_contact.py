# SPDX-License-Identifier: MIT
"""When a node makes itself a cluster, and when it must not."""

import os
import unittest

from harness import DAEMON, ClusterTest, Cluster, ports, raw_exchange


class FirstContact(ClusterTest):
    def assertNoCluster(self, node):
        metrics = node.metrics()
        self.assertEqual(metrics["membership_config"]["membership"]["configs"], [])
        self.assertEqual(metrics["current_term"], 0)
        self.assertEqual(metrics["state"], "Learner")

    def assertTellsHow(self, answer):
        self.assertEqual(answer.status, 503, answer)
        self.assertIn("/init", answer.text)

    def test_first_write_with_only_a_bind_address_makes_a_cluster(self):
        cluster = Cluster(1)
        self.addCleanup(cluster.close)
        node = cluster.nodes[0]
        node.start([DAEMON, "--bind-addr", node.bind])
        index = self.assertWritten(node.set("k", "v"), "v")
        self.assertGreater(index, 1)
        self.assertRead(node.read("k"), "v")
        self.assertTrue(os.path.isdir(
            os.path.join(node.directory, "crabcluster", f"127.0.0.1-{node.port}")))
        node.stop()
        node.start([DAEMON, "--bind-addr", node.bind])
        self.assertRead(node.read("k"), "v")

    def test_reads_probes_and_scrapes_never_initialise(self):
        node = self.loose_nodes(1)[0]
        self.assertTellsHow(node.read("k"))
        for method, path in (("GET", "/get-id"), ("GET", "/metrics"), ("HEAD", "/metrics"),
                             ("GET", "/"), ("HEAD", "/"), ("OPTIONS", "/write"),
                             ("GET", "/write"), ("PUT", "/write"), ("GET", "/read"),
                             ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/favicon.ico"),
                             ("HEAD", "/init"), ("PUT", "/init"), ("GET", "/v1/kv/k")):
            node.request(method, path)
        node.request("GET", "/metrics", headers={"Accept": "text/plain"})
        for body in ("", "{}", "[]", '"k"', "{", '{"Set":{"key":"k"}}', '{"Batch":[7]}'):
            self.assertBadRequest(node.request("POST", "/write", body))
        raw_exchange(node.bind, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 0.3)
        self.assertTellsHow(node.read("k"))
        self.assertNoCluster(node)

    def test_membership_requests_never_initialise(self):
        node, other = self.loose_nodes(2)
        self.assertTellsHow(node.post("/add-learner", [other.id, other.addr]))
        self.assertTellsHow(node.post("/change-membership", [node.id]))
        self.assertNoCluster(node)
        self.assertNoCluster(other)

    def test_auto_init_off_waits_for_init(self):
        node = self.loose_nodes(1, {"auto-init": "false"})[0]
        self.assertTellsHow(node.set("k", "v"))
        self.assertNoCluster(node)
        node.request("GET", "/init")
        self.assertWritten(node.set("k", "v"), "v")

    def test_with_peers_that_are_away_no_write_makes_a_cluster(self):
        cluster = Cluster(1, {"limits.request-timeout": "1s"})
        self.addCleanup(cluster.close)
        node = cluster.nodes[0]
        peers = [node.addr, *(f"127.0.0.1:{ports.take()}" for _ in range(2))]
        node.options["peers"] = "{ " + ", ".join(f'"{p}"' for p in peers) + " }"
        node.start()
        self.assertEqual(node.set("k", "v").status, 503)
        self.assertNoCluster(node)


class Forming(ClusterTest):
    """Clusters that form themselves from the configured peers."""

    def peers_of(self, nodes):
        return "{ " + ", ".join(f'"{node.addr}"' for node in nodes) + " }"

    def prepared(self, n, options=None):
        cluster = Cluster(n, options)
        self.addCleanup(cluster.close)
        for node in cluster.nodes:
            node.options["peers"] = self.peers_of(cluster.nodes)
        return cluster

    def test_three_nodes_with_the_same_peers_form_one_cluster(self):
        cluster = self.prepared(3)
        for node in reversed(cluster.nodes):  # the first of the list comes last
            node.start()
        cluster.wait_agreed()
        ids = {node.id for node in cluster.nodes}
        for node in cluster.nodes:
            configs = node.metrics()["membership_config"]["membership"]["configs"]
            self.assertEqual([set(c) for c in configs], [ids])
            self.assertWritten(node.set(node.name, "v"), "v")
        cluster.kill_all()
        cluster.start()
        cluster.wait_agreed()
        for node in cluster.nodes:
            self.assertRead(node.read(node.name), "v")
            self.assertEqual(node.request("GET", "/init").status, 409)

    def test_peers_in_another_order_form_nothing(self):
        cluster = self.prepared(3, {"limits.request-timeout": "1s"})
        odd = cluster.nodes[2]
        odd.options["peers"] = self.peers_of(reversed(cluster.nodes))
        cluster.start()
        for node in cluster.nodes:
            self.assertEqual(node.set("k", "v").status, 503)
            self.assertEqual(node.metrics()["membership_config"]["membership"]["configs"], [])

    def test_member_that_lost_its_disk_is_replaced(self):
        cluster = self.prepared(3).start()
        cluster.wait_agreed()
        wiped = cluster.followers()[0]
        rest = [node for node in cluster.nodes if node is not wiped]
        rest[0].set("k", "v")
        wiped.kill()
        wiped.wipe()
        wiped.restart()
        cluster.wait_agreed(limit_s=20)
        ids = {node.id for node in cluster.nodes}
        membership = rest[0].metrics()["membership_config"]["membership"]
        self.assertEqual([set(c) for c in membership["configs"]], [ids])
        self.assertEqual(set(membership["nodes"]), ids)
        self.assertRead(wiped.read("k"), "v")


if __name__ == "__main__":
    unittest.main()
