# SPDX-License-Identifier: MIT
"""/v1/kv/{key} at the leader and at the followers of a real cluster: reading, writing,
conditions, counters, and keys and values of every kind."""

import base64
import threading
import time
import unittest

from harness import SLOW, note, raw_exchange
from v1 import CURL_TYPE, ThreeNodesTest, V1Test, as_bytes, path_of, revision_of, shown

ODD_KEYS = [
    "a/b", "a//b", "/a", "a/", "//", "/", ".", "..", "a/../b", "../../etc/passwd", "a/./b",
    "%2F", "a%2Fb", "%", "%41", "%00", " ", " a b ", "a+b", "a?b#c&d=e", "~", "\t\r\n",
    "grün/日本語/😀", "\0", "a\0b", b"\xff", b"\xff\xfe\x00\x80/\x80", b"\xc3\x28",
    bytes(range(256)), "k" * 511, b"\xff" * 511,
]


class Keys(ThreeNodesTest):
    # -- put and get --

    def test_put_creates_then_replaces_and_any_node_has_it(self):
        for node, other in self.each_node():
            key = f"put/{node.name}"
            first = self.assertStored(self.put(node, key, "one"), key, True)
            self.assertValue(self.get(other, key), "one", first, first, 1)
            second = self.assertStored(self.put(node, key, "two!"), key, False)
            self.assertGreater(second, first)
            self.assertValue(self.get(other, key), "two!", second, first, 2)
            self.assertValue(self.get(node, key), "two!", second, first, 2)
            self.assertRead(node.read(key), "two!")

    def test_put_of_a_deleted_key_creates_it_anew(self):
        for node, other in self.each_node():
            key = f"anew/{node.name}"
            self.put(node, key, "old")
            self.delete(node, key)
            revision = self.assertStored(self.put(other, key, "new"), key, True)
            self.assertValue(self.get(node, key), "new", revision, revision, 1)

    def test_put_with_prev_gives_the_old_value(self):
        for node, other in self.each_node():
            key = f"prev/{node.name}"
            self.assertStored(self.put(node, key, b"\xff\x00", "prev=1"), key, True, prev=None)
            self.put(node, key, "<p>", Content_Type="text/html")
            self.assertStored(self.put(node, key, b"\xfe", "prev"), key, False,
                              prev={"value": "<p>", "content_type": "text/html"})
            self.assertStored(self.put(other, key, "x", "prev=true"), key, False,
                              prev={"value_b64": base64.b64encode(b"\xfe").decode()})
            self.assertStored(self.put(other, key, "x", "prev=0"), key, False)

    def test_empty_value_is_a_value(self):
        for node, other in self.each_node():
            key = f"empty/{node.name}"
            self.assertStored(self.put(node, key, ""), key, True)
            self.assertValue(self.get(other, key), "")
            self.assertEqual(self.get(other, key, If_None_Match='"1"').body, b"")

    def test_any_bytes_are_a_value(self):
        value = bytes(range(256)) * 300
        for node, other in self.each_node():
            self.put(node, "bytes", value)
            self.assertValue(self.get(other, "bytes"), value)

    def test_value_of_the_largest_size_is_stored(self):
        value = bytes(i * i % 251 for i in range(1024)) * 1024
        for node, other in self.each_node():
            self.assertEqual(self.put(node, "large", value).status // 100, 2)
            self.assertValue(self.get(other, "large"), value)

    def test_content_type_is_kept_and_curls_own_is_not(self):
        for node, other in self.each_node():
            for given, kept in (("text/plain; charset=utf-8", None), ("application/json", None),
                                ("x" * 200, None),
                                ("application/octet-stream", "application/octet-stream"),
                                (CURL_TYPE["Content-Type"], "application/octet-stream"),
                                (None, "application/octet-stream")):
                headers = {"Content_Type": given} if given else {}
                self.put(node, "type", "v", **headers)
                answer = self.get(other, "type")
                self.assertValue(answer, "v", content_type=kept or given)
                confined = answer.headers["Content-Security-Policy"]
                self.assertEqual(confined is None, kept is not None)
                head = self.kv("HEAD", other, "type")
                self.assertEqual(head.headers["Content-Type"], kept or given)

    def test_content_type_too_long_is_refused(self):
        for node, _ in self.each_node():
            self.assertError(self.put(node, "type", "v", Content_Type="x" * 201), 400,
                             "bad_request")

    def test_head_tells_what_get_would(self):
        for node, other in self.each_node():
            revision = revision_of(self.put(node, "head", "12345"))
            answer = self.kv("HEAD", other, "head")
            self.assertEqual((answer.status, answer.body), (200, b""))
            self.assertEqual(answer.headers["Content-Length"], "5")
            self.assertKnown(answer, revision)
            self.assertEqual(self.kv("HEAD", other, "no such key").status, 404)
            answer = self.kv("HEAD", other, "head", If_None_Match=f'"{revision}"')
            self.assertEqual(answer.status, 304)

    def test_missing_key_is_404(self):
        for node, _ in self.each_node():
            self.assertError(self.get(node, "never written"), 404, "key_not_found")
            self.assertError(self.get(node, "never written", "consistency=stale"), 404,
                             "key_not_found")

    # -- keys --

    def test_odd_keys_survive_in_paths_however_they_are_written(self):
        for node, other in self.each_node():
            for key in ODD_KEYS:
                data = as_bytes(key)
                written = [path_of(data, safe=""), path_of(data),
                           "/v1/kv/" + "".join(f"%{b:02x}" for b in data)]
                for i, path in enumerate(written):
                    value = f"{node.name} {i}".encode() + data
                    answer = node.request("PUT", path, value)
                    self.assertIn(answer.status, (200, 201), (key, answer))
                    self.assertEqual(answer.json.get("key", answer.json.get("key_b64")),
                                     *shown("key", data).values())
                    for again in written:
                        self.assertValue(other.request("GET", again), value)

    def test_odd_keys_survive_in_key_b64(self):
        for node, other in self.each_node():
            for key in ODD_KEYS:
                data, value = as_bytes(key), f"b64 {node.name}".encode() + as_bytes(key)
                self.put(node, key, value)
                plain = base64.b64encode(data).decode()
                url = base64.urlsafe_b64encode(data).decode()
                for path in ("/v1/kv", "/v1/kv/"):
                    for text in (plain, url, plain.replace("+", "%2B").replace("/", "%2F"),
                                 url.rstrip("=")):
                        self.assertValue(other.request("GET", f"{path}?key_b64={text}"), value)
                answer = other.request("PUT", f"/v1/kv?key_b64={url}&prev=1", "v")
                self.assertStored(answer, key, False, prev=shown("value", value))
                self.assertEqual(other.request("DELETE", f"/v1/kv/?key_b64={url}").status, 200)
                self.assertError(self.get(node, key), 404, "key_not_found")

    def test_keys_are_never_normalised(self):
        for node, other in self.each_node():
            keys = ["n/a/b", "n/a//b", "n/a/./b", "n/c/../a/b", "n/a%2Fb", "n/A/b", "n/a/b/"]
            for key in keys:
                self.put(node, key, key)
            for key in keys:
                self.assertValue(self.get(other, key), key)

    def test_keys_that_are_none_are_refused(self):
        for node, _ in self.each_node():
            for method in ("GET", "PUT", "DELETE"):
                def of(target):
                    return node.request(method, target)

                self.assertError(of("/v1/kv/"), 400, "bad_request")
                self.assertError(of("/v1/kv?key_b64="), 400, "bad_request")
                message = self.assertError(of("/v1/kv/" + "k" * 512), 413, "too_large")
                self.assertIn("511 (no option)", message)
                long = base64.b64encode(b"k" * 512).decode()
                self.assertError(of(f"/v1/kv?key_b64={long}"), 413, "too_large")
                self.assertError(of("/v1/kv?key_b64=!"), 400, "bad_request")
                self.assertError(of("/v1/kv?key_b64=YQ=="[:-1]), 400, "bad_request")
                self.assertError(of("/v1/kv/k?key_b64=YQ"), 400, "bad_request")
                self.assertError(of("/v1/kv/%zz"), 400, "bad_request")
                self.assertError(of("/v1/kv/%4"), 400, "bad_request")

    # -- conditions --

    def test_if_none_match_of_a_get_is_304(self):
        for node, other in self.each_node():
            revision = revision_of(self.put(node, "inm", "v"))
            tag = f'"{revision}"'
            for header in (tag, f"W/{tag}", "*", f'"1", {tag}', f'W/"1",{tag}', str(revision)):
                answer = self.get(other, "inm", If_None_Match=header)
                self.assertEqual((answer.status, answer.body), (304, b""), header)
                self.assertKnown(answer, revision, None, None)
                self.assertIsNone(answer.headers["Content-Type"])
            for header in (f'"{revision + 1}"', '"abc"', f'"0{revision}"', '""'):
                self.assertValue(self.get(other, "inm", If_None_Match=header), "v")
            self.assertError(self.get(other, "absent", If_None_Match="*"), 404, "key_not_found")

    def test_if_match_of_a_get(self):
        for node, other in self.each_node():
            revision = revision_of(self.put(node, "im", "v"))
            self.assertValue(self.get(other, "im", If_Match=f'"{revision}"'), "v")
            self.assertValue(self.get(other, "im", If_Match="*"), "v")
            for header in ('"1"', f'W/"{revision}"'):
                answer = self.get(other, "im", If_Match=header)
                self.assertEqual(answer.json["error"]["details"]["revision"], revision)
                self.assertEqual(answer.status, 412)

    def test_put_if_match_writes_only_over_that_revision(self):
        for node, other in self.each_node():
            key = f"cas/{node.name}"
            absent = {"revision": 0}
            for header in ('"1"', "*", '"abc"'):
                self.assertError(self.put(node, key, "v", If_Match=header), 412,
                                 "revision_mismatch", absent)
            first = revision_of(self.put(node, key, "1"))
            second = self.assertStored(self.put(other, key, "2", If_Match=f'"{first}"'), key, False)
            details = {"revision": second, "create_revision": first, "version": 2}
            for header in (f'"{first}"', f'W/"{second}"', '"abc"', f'"0{second}"'):
                answer = self.put(node, key, "no", If_Match=header)
                message = self.assertError(answer, 412, "revision_mismatch", details)
                self.assertIn(str(second), message)
            self.assertValue(self.get(other, key), "2", second, first, 2)
            self.assertStored(self.put(node, key, "3", If_Match=str(second)), key, False)
            self.assertStored(self.put(node, key, "4", If_Match="*"), key, False)

    def test_put_if_none_match_creates_only(self):
        for node, other in self.each_node():
            key = f"create/{node.name}"
            revision = self.assertStored(self.put(node, key, "v", If_None_Match="*"), key, True)
            details = {"revision": revision, "create_revision": revision, "version": 1}
            self.assertError(self.put(other, key, "w", If_None_Match="*"), 412,
                             "revision_mismatch", details)
            self.assertValue(self.get(other, key), "v", revision)

    def test_of_many_that_create_one_wins(self):
        keys = [f"race/{i}" for i in range(5)]
        answers = {key: [] for key in keys}

        def create(node):
            for key in keys:
                answers[key].append(self.put(node, key, node.name, If_None_Match="*"))

        threads = [threading.Thread(target=create, args=(node,))
                   for node in self.cluster.nodes for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for key in keys:
            self.assertEqual(sorted(a.status for a in answers[key]), [201] + [412] * 8)

    def test_conditions_that_are_none_or_contradict_are_refused(self):
        cases = (("PUT", {"If_Match": '"1"', "If_None_Match": "*"}),
                 ("PUT", {"If_None_Match": '"1"'}), ("PUT", {"If_Match": '"1", "2"'}),
                 ("PUT", {"If_Match": "abc"}), ("PUT", {"If_Match": '"1'}),
                 ("PUT", {"If_Match": ""}), ("PUT", {"If_None_Match": "*, *"}),
                 ("DELETE", {"If_None_Match": "*"}), ("DELETE", {"If_Match": "W/1"}),
                 ("POST", {"If_Match": "*", "If_None_Match": "*"}),
                 ("GET", {"If_None_Match": "abc"}), ("GET", {"If_Match": '"1" "2"'}),
                 ("HEAD", {"If_Match": ","}),
                 ("GET", {"If_None_Match": ",".join(['"1"'] * 17)}))
        for node, _ in self.each_node():
            for method, headers in cases:
                query = "op=incr" if method == "POST" else ""
                answer = self.kv(method, node, "bad", None, query, **headers)
                if method == "HEAD":
                    self.assertEqual(answer.status, 400)
                else:
                    self.assertError(answer, 400, "bad_request")
            twice = raw_exchange(node.bind, b"GET /v1/kv/k HTTP/1.1\r\nHost: localhost\r\n"
                                 b'If-Match: "1"\r\nIf-Match: "2"\r\nConnection: close\r\n\r\n')
            self.assertRegex(twice, rb"^HTTP/1.1 400 ")

    # -- delete --

    def test_delete_tells_its_revision_then_404(self):
        for node, other in self.each_node():
            created = revision_of(self.put(node, "gone", "old"))
            answer = self.delete(other, "gone")
            self.assertEqual(answer.status, 200)
            revision = revision_of(answer)
            self.assertGreater(revision, created)
            self.assertEqual(answer.text, f'{{"deleted":1,"revision":{revision}}}')
            self.assertError(self.delete(node, "gone"), 404, "key_not_found")
            self.assertError(self.get(node, "gone"), 404, "key_not_found")

    def test_delete_with_prev_and_if_match(self):
        for node, other in self.each_node():
            revision = revision_of(self.put(node, "d", b"\xffz", Content_Type="a/b"))
            details = {"revision": revision, "create_revision": revision, "version": 1}
            self.assertError(self.delete(other, "d", If_Match='"1"'), 412, "revision_mismatch",
                             details)
            answer = self.delete(other, "d", "prev", If_Match=f'"{revision}"')
            self.assertEqual(answer.json, {"deleted": 1, "revision": revision_of(answer), "prev": {
                "value_b64": base64.b64encode(b"\xffz").decode(), "content_type": "a/b"}})
            for header in ("*", f'"{revision}"'):
                self.assertError(self.delete(node, "d", If_Match=header), 412,
                                 "revision_mismatch", {"revision": 0})
            self.assertError(self.kv("DELETE", node, "d", "a body"), 400, "bad_request")

    # -- counters and append --

    def test_incr_counts_from_nothing_up_and_down(self):
        for node, other in self.each_node():
            key = f"counter/{node.name}"
            self.assertStored(self.post(node, key, "op=incr"), key, True, value=1)
            self.assertStored(self.post(other, key, "op=incr&by=41"), key, False, value=42)
            self.assertStored(self.post(other, key, "op=incr&by=%2B8"), key, False, value=50)
            self.assertStored(self.post(node, key, "op=incr&by=-60"), key, False, value=-10)
            self.assertStored(self.post(node, key, "op=incr&by=0", "", **{}), key, False, value=-10)
            self.assertValue(self.get(other, key), "-10", version=5)

    def test_incr_keeps_the_content_type_and_reads_what_put_wrote(self):
        for node, other in self.each_node():
            self.put(node, "typed", "007", Content_Type="text/plain")
            self.assertEqual(self.post(other, "typed", "op=incr").json["value"], 8)
            self.assertValue(self.get(node, "typed"), "8", content_type="text/plain")

    def test_incr_of_what_is_no_number_or_beyond_64_bits_is_409(self):
        for node, _ in self.each_node():
            for value in ("", "abc", "1.5", " 1", "1 ", "1\n", "9223372036854775808", "+-1", "-"):
                self.put(node, "no number", value)
                self.assertError(self.post(node, "no number", "op=incr"), 409, "conflict",
                                 {"reason": "not_a_number"})
                self.assertValue(self.get(node, "no number"), value)
            for value, by in (("9223372036854775807", 1), ("-9223372036854775808", -1),
                              ("1", 9223372036854775807)):
                self.put(node, "edge", value)
                self.assertError(self.post(node, "edge", f"op=incr&by={by}"), 409, "conflict",
                                 {"reason": "overflow"})
                self.assertValue(self.get(node, "edge"), value)
            self.put(node, "edge", "9223372036854775806")
            self.assertEqual(self.post(node, "edge", "op=incr").json["value"], 2**63 - 1)

    def test_incr_and_append_on_condition(self):
        for node, other in self.each_node():
            for op in ("op=incr", "op=append"):
                key = f"condition/{op}/{node.name}"
                revision = revision_of(self.post(node, key, op, If_None_Match="*"))
                details = {"revision": revision, "create_revision": revision, "version": 1}
                self.assertError(self.post(other, key, op, If_None_Match="*"), 412,
                                 "revision_mismatch", details)
                self.assertError(self.post(other, key, op, If_Match='"1"'), 412,
                                 "revision_mismatch", details)
                self.assertEqual(self.post(other, key, op, If_Match=f'"{revision}"').status, 200)

    def test_append_adds_bytes_at_the_end(self):
        for node, other in self.each_node():
            key = f"append/{node.name}"
            self.assertStored(self.post(node, key, "op=append", b"a\xff"), key, True)
            self.assertStored(self.post(other, key, "op=append", b"\0b"), key, False)
            self.assertStored(self.post(other, key, "op=append", b""), key, False)
            self.assertValue(self.get(node, key), b"a\xff\0b", version=3)

    def test_append_beyond_the_limit_is_413_and_changes_nothing(self):
        for node, other in self.each_node():
            self.put(node, "full", b"x" * (1 << 20))
            message = self.assertError(self.post(other, "full", "op=append", "y"), 413, "too_large")
            self.assertIn("max-value-size", message)
            self.assertIn("1048576", message)
            self.assertValue(self.get(node, "full"), b"x" * (1 << 20))
            self.put(node, "full", b"x" * ((1 << 20) - 1))
            self.assertEqual(self.post(other, "full", "op=append", "y").status, 200)

    def test_post_that_is_no_operation_is_refused(self):
        for node, _ in self.each_node():
            for query in ("", "op=", "op=decr", "by=1", "op=append&by=1", "op=incr&by=",
                          "op=incr&by=1.5", "op=incr&by=9223372036854775808", "op=incr&op=incr"):
                self.assertError(self.post(node, "op", query), 400, "bad_request")
            self.assertError(self.post(node, "op", "op=incr", "5"), 400, "bad_request")


class LargeValues(V1Test):
    limit_s = 120

    def test_values_of_64_mib(self):
        options = {"limits.max-value-size": "64M", "limits.request-timeout": "60s",
                   "raft.election-timeout-min": f"{int(1000 * SLOW)}ms",
                   "raft.election-timeout-max": f"{int(2000 * SLOW)}ms"}
        cluster = self.cluster_of(3, options)
        value = bytes(i * i % 251 for i in range(65536)) * 1024
        leader, follower = cluster.leader(), cluster.followers()[0]
        for writer, reader in ((leader, follower), (follower, leader)):
            begin = time.monotonic()
            answer = self.put(writer, "large", value, timeout=60 * SLOW)
            self.assertEqual(answer.status // 100, 2, answer)
            answer = self.get(reader, "large", timeout=60 * SLOW)
            self.assertValue(answer, value, revision_of(answer))
            note(f"written and read in {time.monotonic() - begin:.1f} s")
            head = self.kv("HEAD", reader, "large")
            self.assertEqual(head.headers["Content-Length"], str(len(value)))
            answer = self.get(reader, "large", If_None_Match=f'"{revision_of(head)}"')
            self.assertEqual((answer.status, answer.body), (304, b""))
            answer = self.post(writer, "large", "op=append", "x")
            self.assertError(answer, 413, "too_large")
            self.assertError(self.put(writer, "large", value + b"x", timeout=60 * SLOW), 413,
                             "too_large")
        answer = self.delete(follower, "large", "prev", timeout=60 * SLOW)
        self.assertTrue(base64.b64decode(answer.json["prev"]["value_b64"]) == value)

if __name__ == "__main__":
    unittest.main()
