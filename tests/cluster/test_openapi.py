# SPDX-License-Identifier: MIT
"""A walk over /v1/openapi.json: every operation is asked for, well and badly, at the
leader and at a follower, and answers as the document says."""

import json

from harness import Cluster, ClusterTest, compact, ports
from openapi import Document

NOBODY = "00000000-0000-4000-8000-00000000dead"


class Walk(ClusterTest):
    limit_s = 120

    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster.formed(3)
        cls.addClassCleanup(cls.cluster.close)

    def setUp(self):
        self.leader = self.cluster.leader()
        self.follower = self.cluster.followers()[0]
        self.doc = Document(self.leader.request("GET", "/v1/openapi.json"))

    def ask(self, node, method, path, query="", body=None, param="", headers=None):
        """Asks, and holds the answer against the document."""
        place = path[path.find("{"):path.find("}") + 1]
        target = (path.replace(place, param) if place else path) + query
        answer = node.request(method.upper(), target, body, headers)
        self.assertEqual(self.doc.check(method, path, answer), [])
        for name in ("X-Crabcluster-Node", "X-Crabcluster-Leader", "X-Request-Id"):
            self.assertTrue(answer.headers.get(name), f"{method} {path} lacks {name}")
        return answer

    def examples(self):
        """(method, path, arguments) of one request for each operation, as the document has it."""
        for method, path, operation in self.doc.operations():
            arguments = {"param": NOBODY}
            query = []
            for p in self.doc.parameters(operation):
                if p["in"] == "path" and "example" in p:
                    arguments["param"] = p["example"]
                if p["in"] == "query" and p.get("required"):
                    query.append(f"{p['name']}={p['schema']['example']}")
            arguments["query"] = "?" + "&".join(query) if query else ""
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                example = content.get("example", "")
                arguments["body"] = compact(example) if kind == "application/json" else example
            yield method, path, arguments

    def test_each_operation_answers_its_example_as_described(self):
        n = 0
        for node in (self.leader, self.follower):
            for method, path, arguments in self.examples():
                with self.subTest(operation=f"{method} {path}", node=node.name):
                    self.ask(node, method, path, **arguments)
                    n += 1
        self.assertGreater(n, 40)

    def test_each_operation_refuses_a_parameter_that_nobody_knows(self):
        for node in (self.leader, self.follower):
            for method, path, arguments in self.examples():
                if "400" not in self.doc.doc["paths"][path][method]["responses"]:
                    continue
                with self.subTest(operation=f"{method} {path}", node=node.name):
                    arguments["query"] = "?nonsense=1"
                    answer = self.ask(node, method, path, **arguments)
                    self.assertEqual(answer.status, 400)
                    self.assertIn("nonsense", answer.text)

    def test_each_get_has_a_head_without_body(self):
        for method, path, arguments in self.examples():
            if method != "get" or path == "/init":
                continue
            with self.subTest(path=path):
                get = self.ask(self.follower, "get", path, **arguments)
                target = path.replace("{key}", arguments["param"])
                head = self.follower.request("HEAD", target + arguments["query"])
                self.assertEqual((head.status, head.body), (get.status, b""))

    def test_each_success_of_the_document_is_seen(self):
        for node in (self.leader, self.follower):
            self.succeed(node)
        missing = []
        for method, path, operation in self.doc.operations():
            for status in operation["responses"]:
                if status.startswith("2") and int(status) not in self.doc.seen.get(
                        f"{method} {path}", ()):
                    missing.append(f"{method} {path} {status}")
        # Seen elsewhere: a newcomer that does not catch up (test_operations), a node's first
        # steps (test_first_contact).
        allowed = ["get /init 200", "post /init 200", "post /v1/members 202",
                   "post /v1/members/{id}/promote 202"]
        self.assertEqual(sorted(missing), allowed)

    def succeed(self, node):
        key = f"walk/{node.name}"
        kv = "/v1/kv/{key}"
        self.assertEqual(self.ask(node, "put", kv, body="1", param=key).status, 201)
        self.assertEqual(self.ask(node, "put", kv, "?prev=1", body="2", param=key).status, 200)
        self.assertEqual(self.ask(node, "post", kv, "?op=incr", param=key).status, 200)
        self.assertEqual(self.ask(node, "post", kv, "?op=append", "x", param=key + "2").status, 201)
        revision = self.ask(node, "get", kv, param=key).headers["ETag"]
        self.assertEqual(self.ask(node, "get", kv, param=key, headers={
            "If-None-Match": revision}).status, 304)
        self.assertEqual(self.ask(node, "get", "/v1/kv", "?prefix=walk/").status, 200)
        self.assertEqual(self.ask(node, "delete", "/v1/kv", "?prefix=nothing/").status, 200)
        self.assertEqual(self.ask(node, "delete", kv, param=key).status, 200)
        self.assertEqual(self.ask(node, "delete", kv, param=key).status, 404)
        for path in ("/v1/status", "/v1/members", "/v1/config", "/v1/metrics", "/v1/openapi.json",
                     "/v1/snapshot", "/healthz", "/readyz", "/get-id", "/metrics"):
            self.assertEqual(self.ask(node, "get", path).status, 200)
        self.ask(node, "post", "/write", body=compact({"Set": {"key": key, "value": "v"}}))
        self.assertEqual(self.ask(node, "post", "/read", body=compact(key)).status, 200)
        self.members(node)

    def members(self, node):
        newcomer = self.cluster.add_node().start()
        answer = self.ask(node, "post", "/v1/members", body=compact(
            {"addr": newcomer.addr, "role": "learner"}), query="?timeout=20s")
        self.assertEqual((answer.status, answer.json["id"]), (201, newcomer.id))
        self.assertEqual(self.ask(node, "post", "/add-learner", body=compact(
            [newcomer.id, newcomer.addr])).status, 200)
        for what in ("promote", "demote"):
            answer = self.ask(node, "post", f"/v1/members/{{id}}/{what}", "?timeout=20s",
                              param=newcomer.id)
            self.assertEqual(answer.status, 200)
        answer = self.ask(node, "delete", "/v1/members/{id}", "?timeout=20s", param=newcomer.id)
        self.assertEqual(answer.status, 200)
        newcomer.stop()
        voters = [m["id"] for m in self.ask(node, "get", "/v1/members").json["members"]]
        self.assertEqual(self.ask(node, "post", "/change-membership", body=compact(voters)).status,
                         200)
        answer = self.ask(node, "post", "/v1/leader/transfer", "?timeout=20s",
                          compact({"to": node.id}))
        self.assertEqual(answer.json, {"leader": node.id})

    def test_an_unreachable_address_is_a_documented_error(self):
        body = compact({"addr": f"127.0.0.1:{ports.take()}"})
        for node in (self.leader, self.follower):
            answer = self.ask(node, "post", "/v1/members", body=body)
            self.assertEqual(answer.status, 502)
            self.assertEqual(json.loads(answer.body)["error"]["code"], "unreachable")
