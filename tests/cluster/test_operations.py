# SPDX-License-Identifier: MIT
"""/v1 for operators with real daemons: members one by one, status, probes,
configuration; at the leader and at followers, with each error."""

import socketserver
import threading
import time

from harness import SLOW, Cluster, ClusterTest, compact, note, ports, wait_until
from load import Writers

NOBODY = "00000000-0000-4000-8000-00000000dead"
PATIENT = "?timeout=30s"


def status_of(node):
    return node.request("GET", "/v1/status").json


def member_of(status, node):
    return next((m for m in status["members"] if m["id"] == node.id), None)


def add(node, newcomer, role="voter"):
    return node.post("/v1/members" + PATIENT, {"addr": newcomer.addr, "role": role})


def remove(node, member):
    return node.request("DELETE", f"/v1/members/{member.known_id or member.id}" + PATIENT)


def problems(status):
    return [p["code"] for p in status["problems"]]


class OperationsTest(ClusterTest):
    def assertError(self, answer, status, code, **details):
        """Exactly the shape of API.md."""
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(list(answer.json), ["error"])
        error = answer.json["error"]
        self.assertEqual(list(error), ["code", "message", "retryable", "request_id", "details"])
        self.assertEqual(error["code"], code)
        self.assertEqual(error["retryable"], status in (429, 503))
        self.assertEqual(error["request_id"], answer.headers["X-Request-Id"])
        for name, value in details.items():
            self.assertEqual(error["details"].get(name), value)
        self.assertHeaders(answer)

    def assertHeaders(self, answer):
        for name in ("X-Crabcluster-Node", "X-Request-Id"):
            self.assertTrue(answer.headers.get(name), name)


class Views(OperationsTest):
    """What only looks, at every node of one cluster."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster.formed(3)
        cls.addClassCleanup(cls.cluster.close)

    def test_status_is_the_same_at_every_node(self):
        leader = self.cluster.leader()
        for node in self.cluster.nodes:
            status = wait_until(lambda: (s := status_of(node))["healthy"] and s, 10 * SLOW,
                                f"{node.name} is healthy")
            self.assertEqual(status["leader"], leader.id)
            self.assertEqual(status["view"], "leader")
            self.assertEqual(status["failure_tolerance"], 1)
            self.assertEqual(status["voters"], {"configured": 3, "alive": 3, "quorum": 2})
            self.assertEqual(status["problems"], [])
            # By its own word a follower does not know much, but nothing bad either.
            own = node.request("GET", "/v1/status?consistency=stale").json
            self.assertEqual((own["healthy"], own["problems"]), (True, []))
            self.assertEqual(status["node"]["id"], node.id)
            for other in self.cluster.nodes:
                m = member_of(status, other)
                self.assertEqual((m["addr"], m["role"], m["alive"]), (other.addr, "voter", True))
                self.assertLess(m["last_contact_ms"], 5000 * SLOW)

    def test_status_compares_the_states(self):
        self.assertEqual(self.cluster.nodes[0].set("compared", "v").status, 200)
        for node in self.cluster.nodes:
            def all_compared(node=node):
                members = status_of(node)["members"]
                return len(members) == 3 and all(
                    (m["state_hash"] or {}).get("agrees") is True for m in members)
            wait_until(all_compared, 10 * SLOW, "all states are compared")

    def test_members_are_listed_at_every_node(self):
        for node in self.cluster.nodes:
            answer = node.request("GET", "/v1/members")
            self.assertEqual({(m["id"], m["addr"], m["role"]) for m in answer.json["members"]},
                             {(n.id, n.addr, "voter") for n in self.cluster.nodes})
            self.assertEqual([m["id"] for m in answer.json["members"] if m["leader"]],
                             [answer.json["leader"]])

    def test_a_request_id_is_taken_over(self):
        for node in self.cluster.nodes:
            answer = node.request("GET", "/v1/status", headers={"X-Request-Id": "abc-7"})
            self.assertEqual(answer.headers["X-Request-Id"], "abc-7")
            self.assertEqual(answer.headers["X-Crabcluster-Node"], node.id)
            self.assertEqual(answer.headers["X-Crabcluster-Leader"], self.cluster.leader().id)

    def test_config_says_where_each_value_comes_from(self):
        node = self.cluster.nodes[0]
        answer = node.request("GET", "/v1/config").json
        options = answer["options"]
        self.assertEqual(answer["file"], node.config_file)
        self.assertEqual(options["bind-addr"], {
            "value": node.bind, "origin": "flag", "where": "--bind-addr", "reloadable": False})
        self.assertEqual(options["raft.heartbeat-interval"], {
            "value": "100ms", "origin": "default", "where": None, "reloadable": False})
        self.assertEqual(options["peers"]["value"], [])

    def test_metrics_are_prometheus_text_whatever_is_accepted(self):
        for node in self.cluster.nodes:
            answer = node.request("GET", "/v1/metrics", headers={"Accept": "application/json"})
            self.assertIn("text/plain", answer.headers["Content-Type"])
            self.assertIn("\ncrabcluster_has_leader 1\n", answer.text)

    def test_probes_say_yes_at_every_node(self):
        for node in self.cluster.nodes:
            self.assertAnswer(node.request("GET", "/healthz"), 200,
                              {"healthy": True, "checks": {"process": "ok"}})
            self.assertAnswer(node.request("GET", "/readyz"), 200, {"ready": True, "checks": {
                "process": "ok", "cluster": "ok", "leader": "ok", "read": "ok"}})
            self.assertEqual(node.request("HEAD", "/readyz").status, 200)


class Refusals(OperationsTest):
    """Requests that change nothing, at the leader and at a follower."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster.formed(3)
        cls.addClassCleanup(cls.cluster.close)
        cls.other = Cluster.formed(1)
        cls.addClassCleanup(cls.other.close)

    def setUp(self):
        self.leader = self.cluster.leader()
        self.before = self.leader.metrics()["membership_config"]
        self.members = [self.leader, self.cluster.followers()[0]]

    def tearDown(self):
        self.assertEqual(self.cluster.leader().metrics()["membership_config"], self.before)

    def test_mistyped_address_leaves_the_cluster_as_it_was(self):
        addr = f"127.0.0.1:{ports.take()}"
        for node in self.members:
            answer = node.post("/v1/members", {"addr": addr})
            self.assertError(answer, 502, "unreachable")
            self.assertIn(addr, answer.json["error"]["message"])

    def test_address_of_something_else_is_no_node(self):
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                self.request.recv(65536)
                self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        with socketserver.TCPServer(("127.0.0.1", ports.take()), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            for node in self.members:
                answer = node.post("/v1/members", {"addr": "%s:%d" % server.server_address})
                self.assertError(answer, 502, "not_a_node")
            server.shutdown()

    def test_node_of_another_cluster_is_named(self):
        other = self.other.nodes[0]
        for node in self.members:
            answer = node.post("/v1/members", {"addr": other.addr})
            self.assertError(answer, 409, "cluster_mismatch", id=other.id,
                             found=status_of(other)["cluster"],
                             cluster=status_of(self.leader)["cluster"])

    def test_member_is_not_added_twice(self):
        for node in self.members:
            for member in self.cluster.nodes:
                self.assertError(node.post("/v1/members", {"addr": member.addr}), 409,
                                 "already_member", id=member.id)

    def test_malformed_requests_are_named(self):
        for node in self.members:
            for body in ("", "{", "[]", "{}", '{"addr":"x"}', '{"addr":1}',
                         '{"addr":"a:1","role":"boss"}', '{"addr":"a:1","force":true}'):
                self.assertError(node.request("POST", "/v1/members", body), 400, "bad_request")
            self.assertError(node.request("DELETE", "/v1/members/7"), 400, "bad_request")
            self.assertError(node.request("POST", "/v1/leader/transfer", '{"to":"x"}'), 400,
                             "bad_request")
            self.assertError(node.request("PUT", "/v1/members"), 405, "method_not_allowed")
            self.assertError(node.request("GET", "/v1/member"), 404, "no_such_path")

    def test_unknown_member_is_not_found(self):
        for node in self.members:
            self.assertError(node.request("DELETE", f"/v1/members/{NOBODY}"), 404,
                             "member_not_found", id=NOBODY)
            for what in ("promote", "demote"):
                self.assertError(node.request("POST", f"/v1/members/{NOBODY}/{what}"), 404,
                                 "member_not_found", id=NOBODY)
            self.assertError(node.post("/v1/leader/transfer", {"to": NOBODY}), 404,
                             "member_not_found", id=NOBODY)


class Commands(OperationsTest):
    def test_leadership_goes_where_it_is_told(self):
        cluster = self.cluster_of(3)
        for asked in ("leader", "follower"):
            leader = cluster.leader()
            to, third = cluster.followers()
            node = leader if asked == "leader" else third
            answer = node.post("/v1/leader/transfer", {"to": to.id})
            self.assertAnswer(answer, 200, {"leader": to.id})
            self.assertIs(cluster.leader(), to)
            answer = node.request("POST", "/v1/leader/transfer")
            self.assertEqual(answer.status, 200)
            self.assertNotEqual(answer.json["leader"], to.id)

    def test_dead_voter_is_reported_and_removed(self):
        cluster = self.cluster_of(3)
        dead, follower = cluster.followers()
        dead_id = dead.id
        dead.kill()
        for node in (cluster.leader(), follower):
            status = wait_until(lambda: not (s := status_of(node))["healthy"] and s, 10 * SLOW,
                                "the dead one is missed")
            self.assertEqual(problems(status), ["member_unreachable"])
            self.assertEqual(status["failure_tolerance"], 0)
            self.assertTrue(status["problems"][0]["fix"].endswith(
                f"crabclusterctl --endpoints {node.bind} member remove {dead_id}"))
            self.assertIs(member_of(status, dead)["alive"], False)
        self.assertError(follower.post("/v1/leader/transfer", {"to": dead_id}), 409,
                         "nobody_to_lead", id=dead_id)
        # Without the other live voter, one of two would be left.
        for node in (cluster.leader(), follower):
            answer = remove(node, follower)
            self.assertError(answer, 409, "would_lose_quorum", id=follower.id, voters=2, alive=1,
                             quorum=2)
            answer = node.request("POST", f"/v1/members/{follower.id}/demote")
            self.assertError(answer, 409, "would_lose_quorum")
        self.assertAnswer(remove(follower, dead), 200, {"id": dead_id, "removed": True})
        self.assertTrue(status_of(follower)["healthy"])
        self.assertError(remove(follower, dead), 404, "member_not_found", id=dead_id)

    def test_last_voter_stays(self):
        cluster = self.cluster_of(1)
        node = cluster.nodes[0]
        self.assertError(remove(node, node), 409, "last_voter", id=node.id)
        self.assertError(node.request("POST", f"/v1/members/{node.id}/demote"), 409, "last_voter")
        self.assertError(node.request("POST", "/v1/leader/transfer"), 409, "nobody_to_lead")

    def test_learner_is_promoted_and_demoted_again(self):
        cluster = self.cluster_of(1)
        first, second = cluster.nodes[0], cluster.add_node().start()
        answer = add(first, second, "learner")
        self.assertAnswer(answer, 201, {"id": second.id, "addr": second.addr, "role": "learner"})
        self.assertError(first.post("/v1/leader/transfer", {"to": second.id}), 409, "not_a_voter")
        for node in (second, first):
            for what, role in (("promote", "voter"), ("demote", "learner")):
                for _ in range(2):  # the second time it is that already
                    answer = node.request("POST", f"/v1/members/{second.id}/{what}" + PATIENT)
                    self.assertAnswer(answer, 200, {"id": second.id, "role": role})
                self.assertEqual(member_of(status_of(node), second)["role"], role)

    def test_newcomer_that_does_not_catch_up_is_accepted_and_promoted_later(self):
        cluster = self.cluster_of(1, {"raft.replication-lag-threshold": "100ms"})
        first, second = cluster.nodes[0], cluster.add_node().start()
        addr, ident = second.addr, second.id
        stopped = threading.Event()

        def pause_when_asked():
            while second.metrics()["current_term"] == 0:
                pass
            second.pause()
            stopped.set()

        thread = threading.Thread(target=pause_when_asked, daemon=True)
        thread.start()
        answer = first.post("/v1/members?timeout=2s", {"addr": addr})
        self.assertTrue(stopped.wait(10 * SLOW))
        if answer.status == 201:
            note("it had caught up before it was stopped")
        else:
            self.assertEqual((answer.status, answer.json["id"]), (202, ident), answer)
            self.assertTrue(member_of(status_of(first), second)["becomes_voter"])
            answer = first.request("POST", f"/v1/members/{ident}/promote?timeout=200ms")
            self.assertEqual((answer.status, answer.json["role"]), (202, "learner"), answer)
        second.resume()
        wait_until(lambda: member_of(status_of(first), second)["role"] == "voter", 20 * SLOW,
                   "it is promoted by itself")

    def test_without_a_majority_everything_says_so(self):
        cluster = self.cluster_of(3)
        leader = cluster.leader()
        for node in cluster.followers():
            node.kill()
        wait_until(lambda: status_of(leader)["leader"] is None, 10 * SLOW, "it leads no more")
        status = status_of(leader)
        self.assertEqual((status["healthy"], status["view"]), (False, "node"))
        self.assertEqual(problems(status), ["no_leader"])
        self.assertEqual(len(leader.request("GET", "/v1/members").json["members"]), 3)
        self.assertEqual(leader.request("GET", "/healthz").status, 200)
        answer = leader.request("GET", "/readyz")
        self.assertEqual((answer.status, list(answer.json["checks"])),
                         (503, ["process", "cluster", "leader"]))
        for method, path, body in (
                ("POST", "/v1/members?timeout=300ms", compact({"addr": leader.addr})),
                ("DELETE", f"/v1/members/{leader.id}?timeout=300ms", None),
                ("POST", f"/v1/members/{leader.id}/promote?timeout=300ms", None),
                ("POST", "/v1/leader/transfer?timeout=300ms", None)):
            self.assertError(leader.request(method, path, body), 503, "no_leader")

    def test_node_without_cluster_says_what_to_do(self):
        (node,) = self.loose_nodes(1)
        self.assertEqual(problems(status_of(node)), ["uninitialized"])
        self.assertIn(f"crabclusterctl --endpoints {node.bind} init ;",
                      status_of(node)["problems"][0]["fix"])
        self.assertEqual(node.request("GET", "/healthz").status, 200)
        answer = node.request("GET", "/readyz")
        self.assertEqual((answer.status, list(answer.json["checks"])), (503, ["process", "cluster"]))
        self.assertError(node.request("GET", "/v1/members"), 503, "uninitialized")
        self.assertError(node.post("/v1/members", {"addr": "127.0.0.1:1"}), 503, "uninitialized")
        self.assertError(node.request("POST", "/v1/leader/transfer"), 503, "uninitialized")
        time.sleep(1.5)
        self.assertEqual(problems(status_of(node)), ["uninitialized"])  # probes make no cluster

    def test_wrong_address_among_the_peers_is_named_by_every_node(self):
        cluster = Cluster(3)
        self.addCleanup(cluster.close)
        wrong = f"127.0.0.1:{ports.take()}"
        peers = [cluster.nodes[0].addr, cluster.nodes[1].addr, wrong]
        for node in cluster.nodes[:2]:
            node.options["peers"] = "{" + ", ".join(f'"{p}"' for p in peers) + "}"
            node.start()
        for node in cluster.nodes[:2]:
            status = wait_until(lambda: (s := status_of(node)) and
                                problems(s) == ["peer_silent"] and s, 10 * SLOW,
                                "only the wrong address is silent")
            self.assertIn(wrong, status["problems"][0]["message"])
            self.assertIn("peers", status["problems"][0]["fix"])

    def test_removed_node_says_so(self):
        cluster = self.cluster_of(3)
        gone, node = cluster.followers()
        self.assertEqual(remove(node, gone).status, 200)
        self.assertEqual(add(node, gone, "learner").status, 201)  # and may come back
        self.assertEqual(remove(node, gone).status, 200)
        self.assertIsNone(member_of(status_of(node), gone))


class Growth(OperationsTest):
    """Under load, writes fail at most with 503 and while leadership changes hands."""

    limit_s = 180

    def test_grows_from_one_to_five_and_shrinks_to_three_under_load(self):
        cluster = self.cluster_of(1)
        nodes = cluster.nodes
        with Writers([nodes[0]], n=4) as writers:
            writers.wait_more(50, 20)
            for n in range(1, 5):
                newcomer = cluster.add_node().start()
                at = nodes[n // 2]  # the first, then followers
                answer = add(at, newcomer)
                self.assertEqual((answer.status, answer.json.get("role")), (201, "voter"), answer)
                writers.wait_more(50, 20)
            refused_growing = len(writers.refused)
            self.assertEqual(status_of(nodes[4])["voters"]["configured"], 5)
            answer = nodes[1].post("/v1/leader/transfer" + PATIENT, {"to": nodes[4].id})
            self.assertEqual(answer.status, 200, answer)
            for gone in (nodes[4], nodes[3]):  # the leader first
                answer = remove(nodes[2], gone)
                self.assertAnswer(answer, 200, {"id": gone.id, "removed": True})
                writers.wait_more(50, 20)
                gone.stop()
        status = wait_until(lambda: (s := status_of(nodes[1]))["healthy"] and s, 10 * SLOW,
                            "three are well")
        self.assertEqual(status["voters"], {"configured": 3, "alive": 3, "quorum": 2})
        note(f"{len(writers.acked)} writes acknowledged, {refused_growing} refused while growing, "
             f"{len(writers.refused)} in all, {len(writers.unknown)} unknown")
        self.assertEqual(writers.unknown, {})
        self.assertEqual(refused_growing, 0)
        self.assertEqual(writers.check(nodes[:3]), [])
