# SPDX-License-Identifier: MIT
"""add-learner and change-membership: what they do and every error body."""

import threading
import time
import unittest

from harness import Cluster, ClusterTest, SLOW, ports, wait_until

NOBODY = "00000000-0000-4000-8000-00000000dead"


def change_error(reason):
    return {"Err": {"APIError": {"ChangeMembershipError": reason}}}


class Errors(ClusterTest):
    """Requests that are refused, at the leader and at a follower."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster.formed(2)
        cls.addClassCleanup(cls.cluster.close)
        cls.outsider = cls.cluster.add_node().start()

    def setUp(self):
        self.before = self.cluster.leader().metrics()["membership_config"]

    def tearDown(self):
        self.assertEqual(self.cluster.leader().metrics()["membership_config"], self.before)

    def each_member(self):
        leader = self.cluster.leader()
        return [("leader" if node is leader else "follower", node)
                for node in self.cluster.nodes[:2]]

    def test_add_learner_unreachable_address_says_network_error(self):
        addr = f"127.0.0.1:{ports.take()}"
        for role, node in self.each_member():
            with self.subTest(role=role):
                answer = node.post("/add-learner", [NOBODY, addr])
                self.assertEqual(answer.status, 502, answer)
                text = answer.json["Err"]["APIError"]["NetworkError"]
                self.assertIn(addr, text)

    def test_add_learner_wrong_id_says_id_mismatch(self):
        for role, node in self.each_member():
            with self.subTest(role=role):
                answer = node.post("/add-learner", [NOBODY, self.outsider.addr])
                self.assertAnswer(answer, 409, {"Err": {"APIError": {"IdMismatch": {
                    "expected": NOBODY, "found": self.outsider.id}}}})

    def test_add_learner_of_a_member_at_its_address_says_added(self):
        for role, node in self.each_member():
            with self.subTest(role=role):
                for member in self.cluster.nodes[:2]:
                    answer = node.post("/add-learner", [member.id, member.addr])
                    self.assertAnswer(answer, 200, {"Ok": "Added"})

    def test_add_learner_malformed_body_says_bad_request(self):
        good = [self.outsider.id, self.outsider.addr]
        for role, node in self.each_member():
            with self.subTest(role=role):
                for body in ({}, [], good[:1], good + ["x"], [good[1], good[0]],
                             [good[0], "no port"], [good[0], 8081], [None, good[1]],
                             ["not-a-uuid", good[1]],
                             [good[0], "127.0.0.1:0"], [good[0], "127.0.0.1:65536"], "x", 7, None):
                    with self.subTest(body=body):
                        self.assertBadRequest(node.post("/add-learner", body))

    def test_change_membership_empty_says_empty_membership(self):
        for role, node in self.each_member():
            with self.subTest(role=role):
                self.assertAnswer(node.post("/change-membership", []), 400,
                                  change_error("EmptyMembership"))

    def test_change_membership_unknown_learner_says_not_found(self):
        ids = [node.id for node in self.cluster.nodes[:2]]
        for role, node in self.each_member():
            with self.subTest(role=role):
                for unknown in (NOBODY, self.outsider.id):
                    answer = node.post("/change-membership", [*ids, unknown])
                    self.assertAnswer(answer, 404,
                                      change_error({"LearnerNotFound": {"node_id": unknown}}))

    def test_change_membership_malformed_body_says_bad_request(self):
        for role, node in self.each_member():
            with self.subTest(role=role):
                for body in ({}, "x", 7, None, [7], ["not-a-uuid"], [[node.id]], [node.id + "0"]):
                    with self.subTest(body=body):
                        self.assertBadRequest(node.post("/change-membership", body))


class Changes(ClusterTest):
    def test_change_from_one_to_five_at_once_then_to_other_two(self):
        cluster = self.cluster_of(1)
        first = cluster.nodes[0]
        for _ in range(4):
            node = cluster.add_node().start()
            answer = first.post("/add-learner", [node.id, node.addr])
            self.assertAnswer(answer, 200, {"Ok": "Added"})
        ids = [node.id for node in cluster.nodes]
        self.assertAnswer(first.post("/change-membership", ids), 200, {"Ok": "Changed"})
        first.set("k", "v")
        last_two = cluster.nodes[3:]
        answer = cluster.nodes[1].post("/change-membership", [node.id for node in last_two])
        self.assertAnswer(answer, 200, {"Ok": "Changed"})
        for node in cluster.nodes[:3]:
            node.kill()
        cluster.leader()
        for node in last_two:
            self.assertRead(node.read("k"), "v")
            self.assertWritten(node.set("k2", node.name), node.name)
        membership = last_two[0].metrics()["membership_config"]["membership"]
        self.assertEqual([set(c) for c in membership["configs"]], [set(ids[3:])])
        self.assertEqual(set(membership["nodes"]), set(ids[3:]))

    def test_learner_not_named_stays_a_learner_and_serves(self):
        cluster = self.cluster_of(3)
        learner = cluster.add_node().start()
        leader = cluster.leader()
        leader.set("before", "v")
        self.assertAnswer(cluster.followers()[0].post("/add-learner", [learner.id, learner.addr]),
                          200, {"Ok": "Added"})
        ids = [node.id for node in cluster.nodes[:3]]
        self.assertAnswer(leader.post("/change-membership", ids[:2]), 200, {"Ok": "Changed"})
        metrics = wait_until(lambda: learner.metrics(), 5, "metrics")
        self.assertEqual(metrics["state"], "Learner")
        membership = cluster.nodes[0].metrics()["membership_config"]["membership"]
        self.assertEqual([set(c) for c in membership["configs"]], [set(ids[:2])])
        self.assertEqual(set(membership["nodes"]), {*ids[:2], learner.id})
        self.assertRead(learner.read("before"), "v")
        self.assertWritten(learner.set("through the learner", "v"), "v")

    def test_leader_removed_and_the_rest_goes_on(self):
        cluster = self.cluster_of(3)
        leader = cluster.leader()
        others = [node for node in cluster.nodes if node is not leader]
        leader.set("k", "v")
        answer = leader.post("/change-membership", [node.id for node in others])
        self.assertAnswer(answer, 200, {"Ok": "Changed"})
        begin = time.monotonic()
        self.assertWritten(others[0].set("k2", "v2"), "v2")
        self.assertLess(time.monotonic() - begin, 1 * SLOW)

        def led_by_others():
            return {node.metrics()["current_leader"] for node in others} <= {n.id for n in others}

        wait_until(led_by_others, 5 * SLOW, "one of the rest leads")
        # The removed node keeps running, and must not disturb those that stay.
        term = others[0].metrics()["current_term"]
        time.sleep(1.5)
        self.assertEqual(others[0].metrics()["current_term"], term)
        for node in others:
            self.assertRead(node.read("k"), "v")
            self.assertRead(node.read("k2"), "v2")
        self.assertNotEqual(leader.metrics()["state"], "Leader")

    def test_removed_node_added_again_catches_up(self):
        cluster = self.cluster_of(3)
        gone = cluster.followers()[0]
        rest = [node for node in cluster.nodes if node is not gone]
        ids = [node.id for node in rest]
        self.assertAnswer(rest[0].post("/change-membership", ids), 200, {"Ok": "Changed"})
        rest[0].set("meanwhile", "v")
        self.assertAnswer(rest[0].post("/add-learner", [gone.id, gone.addr]), 200, {"Ok": "Added"})
        self.assertAnswer(rest[0].post("/change-membership", [*ids, gone.id]),
                          200, {"Ok": "Changed"})
        self.assertRead(gone.read("meanwhile"), "v")

    def test_learner_behind_by_more_than_the_threshold_says_lagging(self):
        cluster = self.cluster_of(1, {"raft.replication-lag-threshold": "300ms"})
        leader, learner = cluster.nodes[0], cluster.add_node().start()
        leader.post("/add-learner", [learner.id, learner.addr])
        learner.kill()
        for i in range(10):
            leader.set(f"k{i}", "v")
        time.sleep(0.6)
        answer = leader.post("/change-membership", [leader.id, learner.id])
        self.assertEqual(answer.status, 409, answer)
        reason = answer.json["Err"]["APIError"]["ChangeMembershipError"]["LearnerIsLagging"]
        self.assertEqual(list(reason), ["node_id", "distance"])
        self.assertEqual(reason["node_id"], learner.id)
        self.assertGreaterEqual(reason["distance"], 10)
        learner.restart()
        wait_until(lambda: leader.post("/change-membership", [leader.id, learner.id]).status == 200,
                   5 * SLOW, "changed once the learner is back")

    def test_change_while_one_is_pending_says_in_progress(self):
        cluster = self.cluster_of(1, {"raft.replication-lag-threshold": "60s"})
        leader, learner = cluster.nodes[0], cluster.add_node().start()
        leader.post("/add-learner", [learner.id, learner.addr])
        before = leader.metrics()["membership_config"]["log_id"]["index"]
        learner.pause()  # so that the new configuration has no majority for now
        answers = []
        first = threading.Thread(target=lambda: answers.append(
            leader.post("/change-membership", [leader.id, learner.id])))
        first.start()
        try:
            wait_until(lambda: leader.metrics()["membership_config"]["log_id"]["index"] > before,
                       2 * SLOW, "the change is pending")
            answer = leader.post("/change-membership", [leader.id])
            self.assertEqual(answer.status, 409, answer)
            reason = answer.json["Err"]["APIError"]["ChangeMembershipError"]["InProgress"]
            self.assertEqual(list(reason), ["membership_log_id"])
            self.assertGreater(reason["membership_log_id"]["index"], before)
        finally:
            learner.resume()
            first.join()
        self.assertAnswer(answers[0], 200, {"Ok": "Changed"})


class Apart(ClusterTest):
    def test_two_nodes_initialised_apart_refuse_each_other(self):
        a, b = self.loose_nodes(2)
        for node in (a, b):
            node.request("GET", "/init")
            node.set("owner", node.name)
        for asker, other in ((a, b), (b, a)):
            answer = asker.post("/add-learner", [other.id, other.addr])
            self.assertEqual(answer.status, 409, answer)
            self.assertEqual(list(answer.json["Err"]["APIError"]), ["ClusterMismatch"])
        for node in (a, b):
            self.assertRead(node.read("owner"), node.name)
            self.assertEqual(list(node.metrics()["membership_config"]["membership"]["nodes"]),
                             [node.id])

    def test_member_wiped_and_started_again_does_not_become_a_cluster(self):
        cluster = self.cluster_of(3)
        wiped = cluster.followers()[0]
        rest = [node for node in cluster.nodes if node is not wiped]
        wiped.kill()
        wiped.wipe()
        rest[0].set("meanwhile", "v")
        wiped.restart()
        time.sleep(0.5 * SLOW)  # the leader knocks at its address
        answer = wiped.set("own", "v")
        self.assertEqual(answer.status, 503, answer)
        self.assertEqual(wiped.metrics()["membership_config"]["membership"]["configs"], [])
        self.assertMissing(rest[0].read("own"))
        # Replace: remove the lost id, add the new one (PITFALLS 41).
        ids = [node.id for node in rest]
        self.assertAnswer(rest[0].post("/change-membership", ids), 200, {"Ok": "Changed"})
        self.assertAnswer(rest[0].post("/add-learner", [wiped.id, wiped.addr]),
                          200, {"Ok": "Added"})
        self.assertRead(wiped.read("meanwhile"), "v")

    def test_new_disk_at_a_members_address_counts_for_no_majority(self):
        cluster = self.cluster_of(3)
        wiped = cluster.followers()[0]
        old_id = wiped.id
        wiped.kill()
        wiped.wipe()
        wiped.restart()
        self.assertNotEqual(wiped.id, old_id)
        others = [node for node in cluster.nodes if node is not wiped]
        follower = next(node for node in others if node is not cluster.leader())
        follower.pause()
        # One of three is left that holds the log: nothing can be acknowledged.
        leader = next(node for node in others if node is not follower)
        self.assertIn(leader.set("lonely", "v").status, (503, 504))
        follower.resume()
        wait_until(lambda: leader.set("again", "v").status == 200, 5 * SLOW, "writes")


if __name__ == "__main__":
    unittest.main()
