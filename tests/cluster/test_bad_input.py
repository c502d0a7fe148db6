# SPDX-License-Identifier: MIT
"""Bad input of every kind to a real node: a clear error, and the state untouched.
The node is a follower of two, so that nothing bad can pass on either to the leader."""

import random
import socket
import time
import unittest

import peer_message
from harness import SLOW, Cluster, ClusterTest, compact, raw_exchange, wait_until

STRANGER = "11111111-2222-4333-8444-555555555555"
ELSEWHERE = "99999999-8888-4777-8666-555555555555"


class BadInput(ClusterTest):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster.formed(2)
        cls.addClassCleanup(cls.cluster.close)

    def setUp(self):
        self.leader = self.cluster.leader()
        self.node = self.cluster.followers()[0]
        self.leader.set("k", "untouched")
        self.cluster.wait_agreed()
        self.before = self.facts()

    def facts(self):
        names = ("last_log_index", "last_applied", "current_term", "membership_config")
        return [[node.metrics()[name] for name in names] for node in self.cluster.nodes]

    def tearDown(self):
        """Nothing was logged, no term moved, and both nodes work."""
        self.assertEqual(self.facts(), self.before)
        self.assertRead(self.node.read("k"), "untouched")
        self.assertRead(self.leader.read("k"), "untouched")

    def refused(self, body, path="/write"):
        with self.subTest(path=path, body=body[:60]):
            return self.assertBadRequest(self.node.request("POST", path, body))

    # -- JSON --

    def test_broken_json_is_refused_with_the_position(self):
        for body in ('{', '{"Set"', '{"Set":{"key":"k","value":"v"}', '{"Set":{"key":"k",}}',
                     '{"Set":{"key":"k","value":"v"}}}', '{"Set":{"key":"k","value":"v"}} x',
                     "{'Set':{'key':'k','value':'v'}}", 'Set', '{"Set":{"key":"k","value":"v\n"}}',
                     '{"Set":{"key":"k" "value":"v"}}', '{"Set":{"key":"\\x","value":"v"}}',
                     '{"Set":{"key":"k","value":NaN}}', '/* */{"Set":{"key":"k","value":"v"}}'):
            self.assertRegex(self.refused(body), r"[0-9]")
        for body in ('"', '"k', 'k', '"k" "k"', '["k"'):
            self.assertRegex(self.refused(body, path="/read"), r"[0-9]")

    def test_empty_body_is_refused(self):
        for path in ("/write", "/read", "/add-learner", "/change-membership"):
            self.refused("", path=path)
            self.refused("  \n", path=path)

    def test_wrong_types_are_refused(self):
        for body in (None, 7, "k", [], {}, True, {"Set": 7}, {"Set": []}, {"Set": {}},
                     {"Set": {"key": "k"}}, {"Set": {"value": "v"}}, {"Set": None},
                     {"Set": {"key": 7, "value": "v"}}, {"Set": {"key": "k", "value": 7}},
                     {"Set": {"key": ["k"], "value": "v"}}, {"Set": {"key": "k", "value": None}},
                     {"Set": {"key": "k", "value": {"a": 1}}}, {"Set": {"key": None, "value": "v"}},
                     {"Delete": "k"}, {"Delete": {}}, {"Delete": {"key": 1}}, {"Batch": {}},
                     {"Batch": "k"}, {"Batch": [7]}, {"Batch": [[]]}, {"Batch": [{"Batch": []}]},
                     {"Batch": [{}]}, {"Batch": [{"Set": {"key": "k"}}]}):
            self.refused(compact(body))
        for body in (None, 7, [], {}, ["k"], {"key": "k"}, True):
            self.refused(compact(body), path="/read")

    def test_unknown_and_surplus_members_are_refused(self):
        good = {"key": "k", "value": "v"}
        for body in ({"Put": good}, {"set": good}, {"Set": good, "Delete": {"key": "k"}},
                     {"Set": {**good, "ttl": 5}}, {"Delete": good}, {"Set": good, "x": 1}):
            self.refused(compact(body))

    def test_duplicate_members_are_refused(self):
        for body in ('{"Set":{"key":"k","key":"l","value":"v"}}',
                     '{"Set":{"key":"k","value":"v","value":"w"}}',
                     '{"Set":{"key":"k","value":"v"},"Set":{"key":"l","value":"v"}}',
                     '{"Delete":{"key":"k","key":"k"}}',
                     '{"Batch":[],"Batch":[{"Delete":{"key":"k"}}]}',
                     '{"Set":{"key":"k","\\u006bey":"l","value":"v"}}'):
            self.refused(body)

    def test_member_names_with_nul_are_refused(self):
        for body in ('{"Set\\u0000x":{"key":"k","value":"v"}}',
                     '{"Set":{"key\\u0000":"k","value":"v"}}',
                     '{"Set":{"key":"k","value":"v","key\\u0000":"l"}}',
                     '{"Delete":{"key\\u0000y":"k"}}'):
            self.refused(body)

    def test_invalid_utf8_is_refused(self):
        for bad in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b"\xe2\x82"):
            with self.subTest(bad=bad):
                body = b'{"Set":{"key":"k' + bad + b'","value":"v"}}'
                self.assertBadRequest(self.node.request("POST", "/write", body))
                body = b'{"Set":{"key":"k","value":"' + bad + b'"}}'
                self.assertBadRequest(self.node.request("POST", "/write", body))
        self.refused('{"Set":{"key":"k","value":"\\ud800"}}')
        self.refused('{"Set":{"key":"k","value":"\\udc00\\ud800"}}')

    def test_huge_numbers_are_refused(self):
        for number in ("99999999999999999999999", "-1e999", "1" * 5000, "1e400"):
            self.refused('{"Set":{"key":' + number + ',"value":"v"}}')
            self.refused('{"Set":{"key":"k","value":' + number + '}}')
            self.refused(number, path="/read")

    def test_deep_nesting_is_refused(self):
        for depth in (20, 1000, 30000):
            for inner in ("[" * depth, "[" * depth + "]" * depth, '{"a":' * depth,
                          '{"Batch":[' * depth + "]}" * depth):
                if len(inner) < 1 << 20:
                    self.refused(inner)
            self.refused("[" * depth, path="/read")
            self.refused("[" * depth, path="/change-membership")

    # -- limits --

    def test_key_of_no_bytes_is_refused(self):
        self.refused(compact({"Set": {"key": "", "value": "v"}}))
        self.refused(compact({"Delete": {"key": ""}}))
        self.refused('""', path="/read")

    def test_key_over_the_limit_is_413(self):
        for key in ("k" * 512, "ä" * 256, "k" * 10000):
            for path, body in (("/write", {"Set": {"key": key, "value": "v"}}),
                               ("/write", {"Delete": {"key": key}}), ("/read", key)):
                text = self.assertTooLarge(self.node.post(path, body))
                self.assertIn("511", text)

    def test_value_over_the_limit_is_413_naming_limit_and_option(self):
        body = {"Set": {"key": "k", "value": "x" * (1 << 20) + "y"}}
        text = self.assertTooLarge(self.node.post("/write", body))
        self.assertIn("max-value-size", text)
        self.assertIn("1048576", text)
        self.assertTooLarge(self.node.post("/write", {"Batch": [body]}))

    def test_batch_over_the_limits_is_413(self):
        delete = {"Delete": {"key": "k"}}
        self.assertTooLarge(self.node.post("/write", {"Batch": [delete] * 4097}))
        large = {"Set": {"key": "k", "value": "x" * (1 << 20)}}
        self.assertTooLarge(self.node.post("/write", {"Batch": [large] * 5}))

    def test_control_body_over_the_limit_is_413(self):
        for path in ("/read", "/add-learner", "/change-membership"):
            with self.subTest(path=path):
                self.assertTooLarge(self.node.request("POST", path, " " * 70000))

    def test_body_far_over_the_limit_is_413_before_it_is_read(self):
        for length, expect in ((99999999999, ""), (20000000, "Expect: 100-continue\r\n")):
            with self.subTest(length=length):
                head = (f"POST /write HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                        f"{expect}Content-Length: {length}\r\n\r\n")
                answer = raw_exchange(self.node.bind, head.encode())
                self.assertRegex(answer, rb"^HTTP/1.1 413 ")
                self.assertIn(b"max-value-size", answer)

    def test_endless_chunked_body_is_cut_off(self):
        chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        sent, limit = 0, 256 << 20
        with socket.create_connection(("127.0.0.1", self.node.port), 5 * SLOW) as s:
            s.sendall(b"POST /write HTTP/1.1\r\nHost: localhost\r\n"
                      b"Transfer-Encoding: chunked\r\n\r\n")
            s.settimeout(2 * SLOW)
            try:
                while sent < limit:
                    s.sendall(chunk)
                    sent += len(chunk)
            except OSError:
                pass
        self.assertLess(sent, limit)

    def test_large_headers_are_refused_and_forgotten(self):
        request = (b"GET /get-id HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                   b"X-Large: " + b"x" * 100000 + b"\r\n\r\n")
        answer = raw_exchange(self.node.bind, request)
        self.assertNotRegex(answer, rb"^HTTP/1.1 200 ")

    # -- not HTTP --

    def test_bytes_that_are_no_http_are_survived(self):
        source = random.Random(7)
        for i in range(30):
            data = source.randbytes(source.randrange(1, 2000))
            if i % 3 == 0:
                data = b"POST /write HTTP/1.1\r\n" + data
            if i % 3 == 1:
                data = b"\x16\x03\x01" + data
            raw_exchange(self.node.bind, data + b"\r\n\r\n", 0.05)

    def test_conflicting_framing_writes_nothing(self):
        body = compact({"Set": {"key": "k", "value": "smuggled"}})
        for framing in (f"Content-Length: {len(body)}\r\nContent-Length: 3\r\n",
                        "Content-Length: -1\r\n", "Content-Length: 0x10\r\n",
                        "Content-Length: 18446744073709551617\r\n",
                        "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffffff\r\n"):
            with self.subTest(framing=framing):
                request = (f"POST /write HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                           f"{framing}\r\n{body}")
                answer = raw_exchange(self.node.bind, request.encode(), 0.5)
                self.assertNotRegex(answer, rb"^HTTP/1.1 200 ")

    def test_many_idle_connections_keep_nobody_out(self):
        idle = []
        try:
            for _ in range(300):
                s = socket.create_connection(("127.0.0.1", self.node.port), 5 * SLOW)
                s.sendall(b"POST /write HTTP/1.1\r\nHost: loc")
                idle.append(s)
            begin = time.monotonic()
            self.assertRead(self.node.read("k"), "untouched")
            self.assertLess(time.monotonic() - begin, 1 * SLOW)
        finally:
            for s in idle:
                s.close()

    # -- between nodes --

    def peer(self, path, data):
        return self.node.request("POST", path, data, {"Content-Type": "application/octet-stream"})

    def test_garbage_to_peer_paths_is_400(self):
        source = random.Random(11)
        for path, kind in peer_message.PATHS.items():
            good = peer_message.message(kind, b"\0" * 64, receiver=self.node.id)
            flipped = bytearray(good)
            flipped[40] ^= 1
            for name, data in (("empty", b""), ("text", b"hello"), ("json", b'{"term":9}'),
                               ("short", good[:50]), ("long", good + b"\0"),
                               ("flipped", bytes(flipped)), ("random", source.randbytes(500)),
                               ("magic", peer_message.message(kind, magic=b"CRAP")),
                               ("version", peer_message.message(kind, version=99)),
                               ("type", peer_message.message(200))):
                with self.subTest(path=path, data=name):
                    self.assertEqual(self.peer(path, data).status, 400)
            with self.subTest(path=path, data="GET"):
                self.assertEqual(self.node.request("GET", path).status, 405)

    def test_message_of_another_path_is_400(self):
        for path, kind in peer_message.PATHS.items():
            other = peer_message.HELLO if kind != peer_message.HELLO else peer_message.READ_INDEX
            with self.subTest(path=path):
                data = peer_message.message(other, cluster=ELSEWHERE, receiver=self.node.id)
                self.assertEqual(self.peer(path, data).status, 400)

    def test_random_payloads_in_a_right_frame_are_survived(self):
        source = random.Random(13)
        harmless = (peer_message.REFUSED, peer_message.HELLO_REPLY, peer_message.FORM_REPLY)
        for path, kind in peer_message.PATHS.items():
            for _ in range(20):
                payload = source.randbytes(source.choice((1, 8, 40, 300)))
                data = peer_message.message(kind, payload, ELSEWHERE, STRANGER, self.node.id,
                                            term=1 << 40)
                with self.subTest(path=path, payload=payload.hex()):
                    answer = self.peer(path, data)
                    if answer.status != 400:
                        self.assertIn(peer_message.kind_of(answer.body), harmless)

    def hello(self, node):
        data = peer_message.message(peer_message.HELLO, sender=STRANGER)
        return peer_message.Header(node.request("POST", "/raft-hello", data).body)

    def core_messages(self, **frame):
        for payload in peer_message.VOTE_PAYLOADS:
            yield "/raft-vote", peer_message.message(peer_message.VOTE, payload, **frame)
        for payload in peer_message.APPEND_PAYLOADS:
            yield "/raft-append", peer_message.message(peer_message.APPEND, payload, **frame)
        yield "/raft-read-index", peer_message.message(peer_message.READ_INDEX, **frame)
        yield "/raft-timeout-now", peer_message.message(peer_message.TIMEOUT_NOW, **frame)

    def test_message_from_elsewhere_is_refused(self):
        """Right in every byte but one of the names."""
        here, leader = self.hello(self.node), self.hello(self.leader)
        right = {"cluster": here.cluster, "sender": self.leader.id, "receiver": self.node.id,
                 "incarnation": here.incarnation, "from_incarnation": leader.incarnation,
                 "term": 1 << 40}
        for wrong in ({"cluster": ELSEWHERE}, {"cluster": None}, {"receiver": STRANGER},
                      {"incarnation": here.incarnation ^ 1}, {"sender": None},
                      {"from_incarnation": leader.incarnation ^ 1}, {"sender": self.node.id}):
            for path, data in self.core_messages(**{**right, **wrong}):
                with self.subTest(path=path, wrong=wrong):
                    answer = self.peer(path, data)
                    self.assertEqual(answer.status, 409)
                    self.assertEqual(peer_message.kind_of(answer.body), peer_message.REFUSED)

    def test_vote_for_a_stranger_deposes_no_leader(self):
        """A node that was removed campaigns: while there is a leader, nobody listens."""
        here = self.hello(self.node)
        for payload in peer_message.VOTE_PAYLOADS:
            self.peer("/raft-vote", peer_message.message(
                peer_message.VOTE, payload, here.cluster, STRANGER, self.node.id, term=1 << 40,
                incarnation=here.incarnation))

    def test_flood_of_garbage_deposes_nobody(self):
        deadline = time.monotonic() + 1.5
        source = random.Random(17)
        with self.node.client() as client:
            while time.monotonic() < deadline:
                kind = source.choice(list(peer_message.PATHS.values()))
                data = peer_message.message(kind, source.randbytes(30), ELSEWHERE, STRANGER,
                                            self.node.id, term=source.getrandbits(60))
                client.request("POST", "/raft-vote", data)
        wait_until(lambda: self.cluster.leader_now() is self.leader, 1, "the same leader")


class NulInKeys(ClusterTest):
    def test_key_with_nul_is_never_mistaken_for_its_beginning(self):
        node = self.loose_nodes(1)[0]
        node.request("GET", "/init")
        self.assertWritten(node.set("a", "short"), "short")
        answer = node.request("POST", "/write", '{"Set":{"key":"a\\u0000b","value":"long"}}')
        self.assertRead(node.read("a"), "short")
        if answer.status == 200:
            self.assertRead(node.request("POST", "/read", '"a\\u0000b"'), "long")
            self.assertWritten(node.request(
                "POST", "/write", '{"Delete":{"key":"a\\u0000b"}}'), "long")
            self.assertRead(node.read("a"), "short")
        else:
            self.assertBadRequest(answer)

    def test_value_with_nul_comes_back_whole(self):
        node = self.loose_nodes(1)[0]
        node.request("GET", "/init")
        answer = node.request("POST", "/write", '{"Set":{"key":"k","value":"a\\u0000b"}}')
        self.assertEqual(answer.json["Ok"]["data"]["value"], "a\0b")
        self.assertEqual(node.read("k").json, {"Ok": "a\0b"})


if __name__ == "__main__":
    unittest.main()
