# SPDX-License-Identifier: MIT
"""/v1/kv?prefix= at the leader and at the followers of a real cluster: pages, lines that see
one revision, removal of a prefix in one step, and readers that take nothing."""

import json
import socket
import time
import unittest

from harness import SLOW, note
from load import Threads
from v1 import ThreeNodesTest, V1Test, revision_of

LINES = {"Accept": "application/x-ndjson"}
BATCH = 1000
MANY = 1000000
MANY_SLOW = 50000  # where a sanitizer or valgrind is at work
GROWTH_KIB = 16 * 1024
STALL_S = 60
STREAMS_MAX = 32


def lines_of(answer):
    return [json.loads(line) for line in answer.text.splitlines()]


def fill(node, prefix, n, value):
    """n keys by batches; the last index of them."""
    with node.client(timeout=60 * SLOW) as client:
        for start in range(0, n, BATCH):
            sets = [{"Set": {"key": f"{prefix}{i:07}", "value": value}}
                    for i in range(start, min(start + BATCH, n))]
            answer = client.post("/write", {"Batch": sets})
            assert answer.status == 200, answer
    return answer.json["Ok"]["log_id"]["index"]


def open_stream(node, prefix):
    """A connection that has asked for all lines and taken none."""
    host, port = node.addr.rsplit(":", 1)
    s = socket.create_connection((host, int(port)), timeout=60 * SLOW)
    s.sendall(f"GET /v1/kv?prefix={prefix} HTTP/1.1\r\nHost: {node.addr}\r\n"
              "Accept: application/x-ndjson\r\nConnection: close\r\n\r\n".encode())
    return s


def anonymous_kib(node):
    with open(f"/proc/{node.process.pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("RssAnon:"))


class Lists(ThreeNodesTest):
    def listing(self, node, query, **headers):
        return node.request("GET", f"/v1/kv?{query}", None, headers)

    def keys(self, node, query):
        answer = self.listing(node, query)
        self.assertEqual(answer.status, 200, answer)
        return [item["key"] for item in answer.json["items"]]

    def test_page_at_any_node_has_what_was_acknowledged_at_another(self):
        for node, other in self.each_node():
            prefix = f"page/{node.name}/"
            revision = revision_of(self.put(other, prefix + "b", "2"))
            self.put(other, prefix + "a", b"\xff", Content_Type="text/plain")
            answer = self.listing(node, f"prefix={prefix}")
            self.assertGreaterEqual(revision_of(answer), revision + 1)
            self.assertEqual(answer.json["revision"], revision_of(answer))
            self.assertEqual([answer.json["prefixes"], answer.json["next"]], [[], None])
            first, second = answer.json["items"]
            self.assertEqual(second, {"key": prefix + "b", "value": "2", "revision": revision,
                                      "create_revision": revision, "version": 1})
            self.assertEqual((first["value_b64"], first["content_type"]), ("/w==", "text/plain"))
            for name in ("X-Crabcluster-Node", "X-Crabcluster-Leader", "X-Request-Id"):
                self.assertTrue(answer.headers[name])

    def test_pages_follow_on_each_other_forwards_and_backwards(self):
        for node, other in self.each_node():
            prefix = f"follow/{node.name}/"
            fill(other, prefix, 25, "")
            expected = [f"{prefix}{i:07}" for i in range(25)]
            for reverse in (0, 1):
                got, cursor = [], ""
                while cursor is not None:
                    answer = self.listing(node, f"prefix={prefix}&limit=7&keys_only=1"
                                          f"&reverse={reverse}&cursor={cursor}" if cursor else
                                          f"prefix={prefix}&limit=7&keys_only=1&reverse={reverse}")
                    got += [item["key"] for item in answer.json["items"]]
                    cursor = answer.json["next"]
                self.assertEqual(got, expected[::-1] if reverse else expected)

    def test_delimiter_folds_what_is_deeper(self):
        for node, other in self.each_node():
            prefix = f"fold/{node.name}/"
            for key in ("a", "b/1", "b/2", "c/d/e"):
                self.put(other, prefix + key, "x")
            answer = self.listing(node, f"prefix={prefix}&delimiter=/")
            self.assertEqual([item["key"] for item in answer.json["items"]], [prefix + "a"])
            self.assertEqual(answer.json["prefixes"], [prefix + "b/", prefix + "c/"])
            answer = self.listing(node, f"prefix={prefix}&delimiter=/", **LINES)
            self.assertEqual([line.get("prefix", line.get("key")) for line in lines_of(answer)],
                             [prefix + "a", prefix + "b/", prefix + "c/"])

    def test_stale_and_min_revision_lists_say_and_see_what_they_should(self):
        for node, other in self.each_node():
            prefix = f"stale/{node.name}/"
            revision = revision_of(self.put(other, prefix + "k", "v"))
            answer = self.listing(node, f"prefix={prefix}&consistency=stale"
                                  f"&min_revision={revision}")
            self.assertEqual(len(answer.json["items"]), 1)
            self.assertGreaterEqual(int(answer.headers["X-Crabcluster-Age-Ms"]), 0)
            answer = self.listing(node, f"min_revision={revision + 10**6}&timeout=50ms")
            self.assertError(answer, 503, "timeout")

    def test_prefix_is_removed_in_one_step(self):
        for node, other in self.each_node():
            prefix = f"removed/{node.name}/"
            fill(other, prefix, 20000, "v")
            seen, ended = set(), []

            def watch(_):
                while not ended:
                    seen.add(len(lines_of(self.listing(other, f"prefix={prefix}", **LINES))))

            with Threads(2, watch):
                answer = node.request("DELETE", f"/v1/kv?prefix={prefix}", timeout=60 * SLOW)
                ended.append(True)
            self.assertEqual((answer.status, answer.json["deleted"]), (200, 20000), answer)
            self.assertEqual(answer.json["revision"], revision_of(answer))
            self.assertLessEqual(seen, {0, 20000})
            self.assertEqual(self.keys(other, f"prefix={prefix}"), [])

    def test_removal_with_an_idempotency_key_is_done_once(self):
        for node, other in self.each_node():
            prefix = f"once/{node.name}/"
            once = {"Idempotency-Key": f"remove-{node.name}"}
            self.put(node, prefix + "a", "1")
            first = node.request("DELETE", f"/v1/kv?prefix={prefix}", None, once)
            self.put(node, prefix + "a", "2")
            again = other.request("DELETE", f"/v1/kv?prefix={prefix}", None, once)
            self.assertEqual((first.json, first.json["deleted"]), (again.json, 1))
            self.assertValue(self.get(node, prefix + "a"), "2")

    def test_too_many_streams_at_a_node_are_refused_there(self):
        fill(self.cluster.leader(), "streams/", 20000, "x" * 900)
        for node, _ in self.each_node():
            readers = [open_stream(node, "streams/") for _ in range(STREAMS_MAX)]
            for reader in readers:
                self.assertTrue(reader.recv(1))
            answer = self.listing(node, "prefix=streams/", **LINES)
            self.assertError(answer, 429, "overloaded")
            self.assertEqual(answer.headers["Retry-After"], "1")
            self.assertEqual(len(self.keys(node, "prefix=streams/&limit=9")), 9)
            for reader in readers:
                reader.close()

    def test_bad_lists_and_removals_are_refused(self):
        for node, _ in self.each_node():
            for query in ("limit=0", "limit=1001", "cursor=xyz", "reverse=2", "nonsense=1"):
                self.assertError(self.listing(node, query), 400, "bad_request")
            self.assertError(self.listing(node, "lease=1"), 501, "not_implemented")
            for query in ("", "?prefix=", "?prefix=&confirm=yes"):
                self.assertError(node.request("DELETE", "/v1/kv" + query), 400, "bad_request")

    def test_more_keys_than_one_step_can_remove_are_refused(self):
        node = self.cluster.leader()
        fill(node, "toomany/", 250001, "")
        answer = node.request("DELETE", "/v1/kv?prefix=toomany/", timeout=60 * SLOW)
        self.assertIn("250000", self.assertError(answer, 413, "too_large"))
        self.assertEqual(len(self.keys(node, "prefix=toomany/")), 1000)
        for digit in range(3):
            answer = node.request("DELETE", f"/v1/kv?prefix=toomany/0{digit}",
                                  timeout=60 * SLOW)
            self.assertEqual(answer.status, 200)
        self.assertEqual(self.keys(node, "prefix=toomany/"), [])


class ManyKeys(V1Test):
    limit_s = 300

    def setUp(self):
        self.cluster = self.cluster_of(1)
        self.node = self.cluster.nodes[0]

    def take(self, s):
        """All that is left, without chunk headers' help: the count of keys and the last bytes."""
        n, rest, tail = 0, b"", b""
        while data := s.recv(1 << 20):
            rest += data
            n += rest.count(b'"key":')
            rest = rest[-5:] if not rest.endswith(b'"key":') else b""
            tail = (tail + data)[-2000:]
        return n, tail

    def test_list_of_a_million_keys_is_of_one_revision_and_takes_no_memory(self):
        many = MANY if SLOW == 1 else MANY_SLOW
        fill(self.node, "many/", many, "x" * 32)
        ended = []

        def write(i):
            with self.node.client() as client:
                n = 0
                while not ended:
                    key = f"many/{(n * 7919 + i) % many:07}"
                    client.request("PUT", f"/v1/kv/{key}", "changed")
                    client.request("PUT", f"/v1/kv/many/new-{i}-{n}", "new")
                    n += 1

        sizes = []

        def measure(_):
            while not ended:
                sizes.append(anonymous_kib(self.node))
                time.sleep(0.001)

        with Threads(2, write):
            time.sleep(1)
            before = anonymous_kib(self.node)
            with Threads(1, measure):
                answer = self.node.request("GET", "/v1/kv?prefix=many/0", None,
                                           LINES, timeout=120 * SLOW)
                ended.append(True)
        lines = answer.text.splitlines()
        self.assertEqual(len(lines), many)
        self.assertTrue(all(json.loads(line)["revision"] <= revision_of(answer)
                            for line in lines[::97]))
        self.assertNotIn("error", lines[-1])
        note(f"{before} KiB before, {max(sizes)} KiB at most, {len(sizes)} samples")
        self.assertGreater(len(sizes), 5)
        self.assertLess(max(sizes) - before, GROWTH_KIB)

    @unittest.skipIf(SLOW > 1, "a minute of waiting, which nothing is learned from twice")
    def test_reader_that_stalls_is_told_and_keeps_nothing(self):
        fill(self.node, "many/", 200000, "x" * 100)
        s = open_stream(self.node, "many/")
        time.sleep(STALL_S + 2)
        n, tail = self.take(s)
        s.close()
        self.assertLess(n, 200000)
        self.assertIn(b'{"error":{"code":"timeout"', tail)
        self.assertTrue(tail.endswith(b"\r\n0\r\n\r\n"))
