# SPDX-License-Identifier: MIT
"""The classic dialect's flows with their exact bodies, at a single node and at
leader and followers of three."""

import unittest

from harness import Cluster, ClusterTest, compact


class OneNode(ClusterTest):
    """Nodes of their own, each test with a fresh one."""

    def setUp(self):
        self.node = self.loose_nodes(1)[0]

    def test_init_fresh_node_becomes_a_cluster_of_one(self):
        self.assertAnswer(self.node.request("POST", "/init"), 200, {"Ok": "Initialized"})
        self.assertWritten(self.node.set("k", "v"), "v")
        metrics = self.node.metrics()
        self.assertEqual(metrics["state"], "Leader")
        self.assertEqual(metrics["current_leader"], self.node.id)
        self.assertEqual(metrics["membership_config"]["membership"], {
            "configs": [[self.node.id]], "nodes": {self.node.id: {"addr": self.node.addr}}})

    def test_init_by_get_does_the_same(self):
        self.assertAnswer(self.node.request("GET", "/init"), 200, {"Ok": "Initialized"})

    def test_init_second_time_says_not_allowed_and_changes_nothing(self):
        self.node.request("GET", "/init")
        index = self.assertWritten(self.node.set("k", "v"), "v")
        for method in ("GET", "POST"):
            answer = self.node.request(method, "/init")
            leader = {"term": 1, "node_id": self.node.id}
            self.assertAnswer(answer, 409, {"Err": {"APIError": {"NotAllowed": {
                "last_log_id": {"leader_id": leader, "index": index},
                "vote": {"term": 1, "node_id": self.node.id, "committed": True}}}}})
        self.assertRead(self.node.read("k"), "v")

    def test_get_id_after_restart_is_the_same(self):
        answer = self.node.request("GET", "/get-id")
        self.assertEqual(answer.status, 200)
        self.assertRegex(answer.text, r'^"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"$')
        self.node.stop()
        self.node.restart()
        self.assertEqual(self.node.request("GET", "/get-id").text, answer.text)

    def test_writes_after_a_kill_are_all_there(self):
        self.node.request("GET", "/init")
        for i in range(50):
            self.assertWritten(self.node.set(f"k{i}", f"v{i}"), f"v{i}")
        self.node.kill()
        self.node.restart()
        for i in range(50):
            self.assertRead(self.node.read(f"k{i}"), f"v{i}")

    def test_metrics_no_cluster_says_learner_of_nothing(self):
        metrics = self.node.metrics()
        self.assertEqual(metrics["id"], self.node.id)
        self.assertEqual(metrics["running_state"], {"Ok": None})
        self.assertEqual(metrics["state"], "Learner")
        self.assertEqual(metrics["current_term"], 0)
        self.assertEqual(metrics["last_log_index"] or 0, 0)
        self.assertIsNone(metrics["last_applied"])
        self.assertIsNone(metrics["current_leader"])
        self.assertIsNone(metrics["replication"])
        self.assertEqual(metrics["membership_config"]["membership"]["configs"], [])
        self.assertEqual(metrics["membership_config"]["membership"]["nodes"], {})


class ThreeNodes(ClusterTest):
    """Each flow at the leader and at both followers of one shared cluster."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster.formed(3)
        cls.addClassCleanup(cls.cluster.close)

    def each_node(self):
        leader = self.cluster.leader()
        return [("leader" if node is leader else "follower", node) for node in self.cluster.nodes]

    def test_set_at_any_node_is_read_at_every_other(self):
        for role, writer in self.each_node():
            with self.subTest(role=role):
                key = f"set/{writer.name}"
                self.assertWritten(writer.set(key, "väl\n\"ue\""), "väl\n\"ue\"")
                for reader in self.cluster.nodes:
                    self.assertRead(reader.read(key), "väl\n\"ue\"")

    def test_set_again_replaces_and_log_index_grows(self):
        last = 0
        for role, node in self.each_node():
            with self.subTest(role=role):
                index = self.assertWritten(node.set("again", node.name), node.name)
                self.assertGreater(index, last)
                last = index
                self.assertRead(node.read("again"), node.name)

    def test_log_id_of_a_write_names_the_leader(self):
        leader = self.cluster.leader()
        term = leader.metrics()["current_term"]
        for role, node in self.each_node():
            with self.subTest(role=role):
                log_id = node.set("log_id", "v").json["Ok"]["log_id"]
                self.assertEqual(log_id["leader_id"], {"term": term, "node_id": leader.id})

    def test_delete_gives_the_old_value_then_null(self):
        for role, node in self.each_node():
            with self.subTest(role=role):
                node.set("gone", "old")
                self.assertWritten(node.delete("gone"), "old")
                self.assertWritten(node.delete("gone"), None)
                self.assertMissing(node.read("gone"))

    def test_empty_value_is_a_value(self):
        for role, node in self.each_node():
            with self.subTest(role=role):
                self.assertWritten(node.set("empty", ""), "")
                self.assertRead(node.read("empty"), "")
                self.assertWritten(node.delete("empty"), "")

    def test_batch_answers_each_operation_in_order(self):
        for role, node in self.each_node():
            with self.subTest(role=role):
                node.delete("b1")
                batch = [
                    {"Set": {"key": "b1", "value": "one"}},
                    {"Set": {"key": "b2", "value": "two"}},
                    {"Delete": {"key": "b1"}},
                    {"Delete": {"key": "b1"}},
                    {"Set": {"key": "b2", "value": "three"}},
                ]
                answer = node.post("/write", {"Batch": batch})
                self.assertWritten(answer, ["one", "two", "one", None, "three"])
                self.assertMissing(node.read("b1"))
                self.assertRead(node.read("b2"), "three")

    def test_batch_with_one_bad_operation_changes_nothing(self):
        for role, node in self.each_node():
            with self.subTest(role=role):
                bad = [{"Set": {"key": "atomic", "value": "v"}}, {"Set": {"key": 7, "value": "v"}}]
                self.assertBadRequest(node.post("/write", {"Batch": bad}))
                self.assertMissing(node.read("atomic"))

    def test_read_missing_key_says_key_not_found(self):
        for role, node in self.each_node():
            with self.subTest(role=role):
                self.assertMissing(node.read("never written"))

    def test_init_of_a_member_says_not_allowed(self):
        for role, node in self.each_node():
            with self.subTest(role=role):
                answer = node.request("GET", "/init")
                self.assertEqual(answer.status, 409)
                refusal = answer.json["Err"]["APIError"]["NotAllowed"]
                self.assertEqual(list(refusal), ["last_log_id", "vote"])
                self.assertLogId(refusal["last_log_id"])
                self.assertEqual(list(refusal["vote"]), ["term", "node_id", "committed"])

    def test_every_answer_carries_node_leader_and_request_id(self):
        leader = self.cluster.leader()
        seen = set()
        for role, node in self.each_node():
            with self.subTest(role=role):
                for answer in (node.set("h", "v"), node.read("h"), node.read("no such key"),
                               node.request("GET", "/get-id"), node.request("GET", "/nowhere"),
                               node.request("PUT", "/write"), node.post("/write", 7)):
                    self.assertIn(node.id, answer.headers["X-Crabcluster-Node"])
                    self.assertIn(leader.id, answer.headers["X-Crabcluster-Leader"])
                    self.assertTrue(answer.headers["X-Request-Id"])
                    self.assertNotIn(answer.headers["X-Request-Id"], seen)
                    seen.add(answer.headers["X-Request-Id"])

    def test_metrics_of_members_show_roles_and_replication(self):
        leader = self.cluster.leader()
        ids = sorted(node.id for node in self.cluster.nodes)
        names = ["running_state", "id", "current_term", "last_log_index", "last_applied",
                 "snapshot", "state", "current_leader", "membership_config", "replication"]
        for role, node in self.each_node():
            with self.subTest(role=role):
                metrics = node.metrics()
                self.assertEqual(list(metrics), names)
                self.assertEqual(metrics["id"], node.id)
                self.assertEqual(metrics["state"], "Leader" if node is leader else "Follower")
                self.assertEqual(metrics["current_leader"], leader.id)
                self.assertLogId(metrics["membership_config"]["log_id"])
                membership = metrics["membership_config"]["membership"]
                self.assertEqual([sorted(c) for c in membership["configs"]], [ids])
                self.assertEqual(membership["nodes"],
                                 {n.id: {"addr": n.addr} for n in self.cluster.nodes})
                if node is leader:
                    for other in self.cluster.nodes:
                        if other is not leader:
                            self.assertLogId(metrics["replication"][other.id]["matched"])
                else:
                    self.assertIsNone(metrics["replication"])

    def test_metrics_for_a_scraper_are_prometheus_text(self):
        leader = self.cluster.leader()
        for role, node in self.each_node():
            with self.subTest(role=role):
                for accept in ("text/plain;version=0.0.4",
                               "application/openmetrics-text, */*;q=0.1"):
                    answer = node.request("GET", "/metrics", headers={"Accept": accept})
                    self.assertEqual(answer.status, 200)
                    self.assertRegex(answer.text, r"(?m)^crabcluster_has_leader 1$")
                    self.assertRegex(answer.text, r"(?m)^crabcluster_raft_term [1-9]")
                    self.assertRegex(answer.text, r"(?m)^crabcluster_log_sync_duration_seconds"
                                                  r"_sum 0*\.?0*[1-9]")
                    for other in self.cluster.nodes:
                        series = f'crabcluster_peer_last_contact_seconds{{peer="{other.id}"}} '
                        if other is node:
                            self.assertNotIn(series, answer.text)
                        elif role == "leader" or other is leader:
                            self.assertIn(series, answer.text)
                    for line in answer.text.splitlines():
                        self.assertRegex(line, r"^(#.*|[a-z_]+(\{[^}]*\})? [-+0-9.eInfNa]+)$")

    def test_large_value_up_to_the_limit_is_stored_everywhere(self):
        value = "x" * (1024 * 1024)
        follower = self.cluster.followers()[0]
        answer = follower.set("large", value)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json["Ok"]["data"]["value"], value)
        for node in self.cluster.nodes:
            self.assertEqual(node.read("large").text, compact({"Ok": value}))
        self.assertEqual(self.cluster.leader().delete("large").status, 200)

    def test_longest_key_is_stored_and_read(self):
        for role, node in self.each_node():
            with self.subTest(role=role):
                key = "k" * 511
                self.assertWritten(node.set(key, node.name), node.name)
                self.assertRead(node.read(key), node.name)


if __name__ == "__main__":
    unittest.main()
