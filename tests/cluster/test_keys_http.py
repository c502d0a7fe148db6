# SPDX-License-Identifier: MIT
"""/v1/kv/{key}: query parameters, headers, bodies and everything that can go wrong, at the
leader and at the followers of a real cluster."""

import time
import unittest

from harness import SLOW, raw_exchange, wait_until
from v1 import CURL_TYPE, ThreeNodesTest, V1Test, revision_of


class KeysHttp(ThreeNodesTest):
    # -- queries --

    def test_read_your_own_writes_on_any_node(self):
        for node, other in self.each_node():
            for i in range(20):
                revision = revision_of(self.put(node, "mine", str(i)))
                for consistency in ("stale", "lease", "linearizable"):
                    answer = self.get(other, "mine",
                                      f"consistency={consistency}&min_revision={revision}")
                    self.assertValue(answer, str(i), revision)

    def test_stale_read_tells_its_age(self):
        for node, _ in self.each_node():
            revision = revision_of(self.put(node, "age", "v"))
            answer = self.get(node, "age", f"consistency=stale&min_revision={revision}")
            self.assertLess(int(answer.headers["X-Crabcluster-Age-Ms"]), 5000)
            self.assertIsNone(self.get(node, "age").headers["X-Crabcluster-Age-Ms"])

    def test_revision_that_does_not_come_is_503(self):
        for node, _ in self.each_node():
            for consistency in ("stale", "lease", "linearizable"):
                begin = time.monotonic()
                answer = self.get(node, "k", f"consistency={consistency}&min_revision=1000000000"
                                             "&timeout=200ms")
                self.assertError(answer, 503, "timeout")
                self.assertLess(time.monotonic() - begin, 2 * SLOW)

    def test_parameters_of_v1_are_taken_everywhere(self):
        every = "consistency=linearizable&min_revision=1&timeout=9s&pretty"
        for node, _ in self.each_node():
            self.assertEqual(self.put(node, "q", "1", every).status // 100, 2)
            self.assertEqual(self.post(node, "q", "op=incr&" + every).status, 200)
            self.assertEqual(self.get(node, "q", every).body, b"2")
            self.assertEqual(self.delete(node, "q", every).status, 200)

    def test_pretty_answers_are_indented(self):
        for node, _ in self.each_node():
            answer = self.put(node, "pretty", "v", "pretty=1")
            self.assertTrue(answer.body.startswith(b'{\n  "key": "pretty",\n  "revision": '))
            answer = self.get(node, "no such key", "pretty")
            self.assertTrue(answer.body.startswith(b'{\n  "error": {\n    "code": "key_not'))
            self.assertError(answer, 404, "key_not_found")
            value = '{"a":[1,2]}'
            self.put(node, "pretty", value, Content_Type="application/json")
            self.assertValue(self.get(node, "pretty", "pretty"), value,
                             content_type="application/json")

    def test_parameters_that_do_not_belong_are_refused(self):
        cases = {"GET": ("prev", "op=incr", "by=1", "x=1", "confirm=all"),
                 "PUT": ("wait=1s", "op=incr", "prefix=a", "prev=2"),
                 "DELETE": ("wait=1s", "by=1", "keys_only"),
                 "POST": ("op=incr&wait=1s", "op=incr&prev")}
        for node, _ in self.each_node():
            for method, queries in cases.items():
                for query in (*queries, "consistency=fast", "timeout=1", "timeout=1h",
                              "min_revision=x", "pretty=2", "pretty&pretty"):
                    answer = self.kv(method, node, "k", None, query)
                    self.assertError(answer, 400, "bad_request")
                for query in ("lease=1", "ttl=30s"):
                    answer = self.kv(method, node, "k", None, query)
                    self.assertError(answer, 501, "not_implemented")

    # -- HTTP --

    def test_wrong_method_is_405_with_allow(self):
        for node, _ in self.each_node():
            for method in ("PATCH", "OPTIONS"):
                answer = self.kv(method, node, "k")
                self.assertError(answer, 405, "method_not_allowed")
                self.assertEqual(answer.headers["Allow"], "GET, HEAD, PUT, DELETE, POST")

    def test_unknown_path_below_v1_is_404(self):
        for node, _ in self.each_node():
            for path in ("/v1", "/v1/", "/v1/kvx", "/v1/watch", "/v1/txn"):
                self.assertError(node.request("GET", path), 404, "no_such_path")

    def test_value_over_the_limit_is_413_naming_limit_and_option(self):
        value = b"x" * ((1 << 20) + 1)
        for node, _ in self.each_node():
            for method, query in (("PUT", ""), ("POST", "op=append")):
                message = self.assertError(self.kv(method, node, "big", value, query), 413,
                                           "too_large")
                self.assertIn("1048576 bytes (max-value-size)", message)
            self.assertError(self.get(node, "big"), 404, "key_not_found")

    def test_value_over_the_limit_is_refused_before_it_is_sent(self):
        for node, _ in self.each_node():
            answer = raw_exchange(node.bind, b"PUT /v1/kv/big HTTP/1.1\r\nHost: localhost\r\n"
                                  b"Content-Length: 1048577\r\nExpect: 100-continue\r\n"
                                  b"Connection: close\r\n\r\n", 1 * SLOW)
            self.assertRegex(answer, rb"^HTTP/1.1 413 ")

    def test_bodies_in_any_framing_and_of_any_type_are_raw(self):
        value = b"a=b&c=%41+\r\n"
        chunks = b"3\r\na=b\r\n9\r\n&c=%41+\r\n\r\n0\r\n\r\n"
        head = b"PUT /v1/kv/framed HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        for node, other in self.each_node():
            self.delete(node, "framed")
            answer = raw_exchange(node.bind,
                                  head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
            self.assertRegex(answer, rb"^HTTP/1.1 201 ")
            self.assertValue(self.get(other, "framed"), value)
            self.delete(node, "framed")
            answer = raw_exchange(node.bind, head + b"Expect: 100-continue\r\nContent-Length: "
                                  + str(len(value)).encode() + b"\r\n\r\n" + value)
            self.assertRegex(answer, rb"^HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 ")
            self.assertValue(self.get(other, "framed"), value)
            for kind in (CURL_TYPE["Content-Type"], "multipart/form-data; boundary=x"):
                self.put(node, "framed", value, Content_Type=kind)
                self.assertEqual(self.get(other, "framed").body, value)

    def test_every_answer_carries_node_leader_and_request_id(self):
        leader = self.cluster.leader()
        seen = set()
        for node, _ in self.each_node():
            revision = revision_of(self.put(node, "h", "1"))
            for answer in (self.put(node, "h", "1"), self.get(node, "h"), self.get(node, "absent"),
                           self.get(node, "h", If_None_Match="*"), self.kv("HEAD", node, "h"),
                           self.post(node, "h", "op=incr"), self.kv("PATCH", node, "h"),
                           self.put(node, "h", "1", If_Match=f'"{revision}"'),
                           self.get(node, "h", "x=1"), self.delete(node, "h")):
                self.assertEqual(answer.headers["X-Crabcluster-Node"], node.id)
                self.assertEqual(answer.headers["X-Crabcluster-Leader"], leader.id)
                self.assertNotIn(answer.headers["X-Request-Id"], seen)
                seen.add(answer.headers["X-Request-Id"])

    def test_request_id_is_taken_over_when_it_is_sane(self):
        for node, _ in self.each_node():
            for given, taken in (("my.id_1-2", True), ("x" * 64, True), ("x" * 65, False),
                                 ("a b", False), ('"', False), ("ü".encode(), False)):
                answer = self.get(node, "absent", X_Request_Id=given)
                self.assertEqual(answer.headers["X-Request-Id"] == given, taken, given)
                self.assertError(answer, 404, "key_not_found")

    def test_slow_requests_are_in_the_log_by_their_id(self):
        for node, _ in self.each_node():
            name = f"slow-{node.name}"
            self.get(node, "k", "min_revision=1000000000&timeout=600ms", X_Request_Id=name)
            wait_until(lambda: f"request {name}: GET /v1/kv/{{key}}: 503 after" in node.log_text(),
                       2 * SLOW, "the request is in the log")

    def test_web_pages_are_refused_in_the_shape_of_v1(self):
        for node, _ in self.each_node():
            for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"},
                            {"Sec_Fetch_Site": "cross-site"}):
                self.assertError(self.put(node, "web", "v", **headers), 403, "forbidden")
                self.assertError(self.get(node, "web", **headers), 403, "forbidden")
            self.assertError(self.get(node, "web"), 404, "key_not_found")

    def test_headers_too_large_are_431(self):
        for node, _ in self.each_node():
            answer = self.get(node, "k", X_Long="x" * 17000)
            self.assertError(answer, 431, "too_large")


class Trouble(V1Test):
    limit_s = 120

    def test_node_without_cluster_says_how_and_the_first_put_makes_one(self):
        first, second = self.loose_nodes(2)
        for node in (first, second):
            for answer in (self.get(node, "k"), self.get(node, "k", "consistency=stale"),
                           self.get(node, "k", "wait=1s", If_None_Match="*")):
                self.assertIn("/init", self.assertError(answer, 503, "uninitialized"))
        self.assertStored(self.put(first, "k", "v"), "k", True)
        self.assertValue(self.get(first, "k"), "v")
        self.assertError(self.get(second, "k"), 503, "uninitialized")

    def test_without_a_majority_nothing_is_done_or_nobody_knows(self):
        cluster = self.cluster_of(3, {"limits.request-timeout": "1s"})
        leader, (one, two) = cluster.leader(), cluster.followers()
        revision = revision_of(self.put(leader, "k", "v"))
        cluster.wait_agreed()
        one.pause()
        two.pause()
        try:
            answer = self.put(leader, "k", "w")
            self.assertError(answer, 504, "outcome_unknown")
            wait_until(lambda: self.put(leader, "k2", "w").status == 503, 10 * SLOW, "no leader")
            self.assertError(self.put(leader, "k2", "w"), 503, "no_leader")
            self.assertError(self.post(leader, "k2", "op=incr"), 503, "no_leader")
            self.assertError(self.delete(leader, "k"), 503, "no_leader")
            self.assertError(self.get(leader, "k"), 503, "no_leader")
            self.assertError(self.get(leader, "k", "consistency=lease"), 503, "no_leader")
            time.sleep(1)
            answer = self.get(leader, "k", "consistency=stale")
            self.assertValue(answer, "v", revision)
            self.assertGreater(int(answer.headers["X-Crabcluster-Age-Ms"]), 1000)
            begin = time.monotonic()
            self.assertError(self.get(leader, "k", "timeout=100ms"), 503, "no_leader")
            self.assertLess(time.monotonic() - begin, 0.9 * SLOW)
        finally:
            one.resume()
            two.resume()
        wait_until(lambda: self.get(leader, "k").status == 200, 10 * SLOW, "read again")

if __name__ == "__main__":
    unittest.main()
