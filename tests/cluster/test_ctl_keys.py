# SPDX-License-Identifier: MIT
"""crabclusterctl and keys, with real clusters: get, put, del and incr, at the leader and at a
follower, and what --curl prints, run by a shell."""

import base64
import json
import os
import subprocess

from ctl import CONDITION, FAILURE, NOT_FOUND, OK, UNKNOWN, UNREACHABLE, ctl
from harness import SLOW, ClusterTest, wait_until

AWKWARD = [b"/", b"//", b"a//b/", b"..", ".", b"../..", b"a/../b", b"%2F", b"%", b"a b", b" ",
           b"a?b=c&d#e", b"+", "\u00e4\U0001f980".encode(), b"a\0b", b"\0", b"\xff", b"\xff\xfe\0",
           b"a\nb", b"'\"\\", b"--json", b"-", b"x" * 511, b"\xff" * 511]
AWKWARD = [k.encode() if isinstance(k, str) else k for k in AWKWARD]
LARGE = {"limits.max-value-size": "64M", "raft.election-timeout-min": "2s",
         "raft.election-timeout-max": "4s"}


def b64(key):
    return base64.b64encode(key).decode()


class KeysTest(ClusterTest):
    limit_s = 120

    def assertCode(self, done, code=OK):
        self.assertEqual(done.code, code, done)
        return done

    def put(self, nodes, key, value, *flags):
        return self.assertCode(ctl(nodes, "put", "--key-b64", b64(key), *flags, stdin=value))

    def get(self, nodes, key):
        return self.assertCode(ctl(nodes, "get", "--key-b64", b64(key))).out


class Keys(KeysTest):
    def test_each_command_does_what_it_says_at_every_node(self):
        cluster = self.cluster_of(3)
        for node in (cluster.leader(), cluster.followers()[0]):
            at, key = [node], node.name
            self.assertCode(ctl(at, "get", key), NOT_FOUND)
            self.assertCode(ctl(at, "del", key), NOT_FOUND)
            done = self.assertCode(ctl(at, "put", key, "v1", "--json"))
            self.assertEqual((done.json["key"], done.json["created"]), (key, True))
            revision = done.json["revision"]
            self.assertEqual(ctl(at, "get", key).out, b"v1")
            self.assertCode(ctl(at, "put", key, "x", "--if-absent"), CONDITION)
            self.assertCode(ctl(at, "put", key, "x", "--if-revision", "1"), CONDITION)
            self.assertCode(ctl(at, "del", key, "--if-revision", "1"), CONDITION)
            self.assertEqual(ctl(at, "get", key).out, b"v1")
            self.assertIn("replaced", self.assertCode(
                ctl(at, "put", key, "v2", "--if-revision", str(revision))).said)
            shown = self.assertCode(ctl(at, "get", key, "--json")).json
            self.assertEqual((shown["key"], shown["value"], shown["create_revision"],
                              shown["version"], shown["content_type"]),
                             (key, "v2", revision, 2, "application/octet-stream"))
            self.assertGreater(shown["revision"], revision)
            self.assertCode(ctl(at, "incr", key), FAILURE)
            self.assertCode(ctl(at, "del", key))
            self.assertCode(ctl(at, "get", key), NOT_FOUND)

    def test_counter_counts_and_prints_what_it_is(self):
        node = self.cluster_of(1).nodes[0]
        for words, value in ((["n"], "1"), (["n", "5"], "6"), (["n", "-10"], "-4"),
                             (["n", "+2"], "-2")):
            self.assertEqual(self.assertCode(ctl([node], "incr", *words)).text, f"{value}\n")
        self.assertEqual(ctl([node], "get", "n").out, b"-2")
        self.assertCode(ctl([node], "put", "n", str((1 << 63) - 1)))
        self.assertCode(ctl([node], "incr", "n"), FAILURE)

    def test_value_comes_from_a_word_a_file_or_standard_input(self):
        cluster = self.cluster_of(1)
        at = cluster.nodes
        path = os.path.join(cluster.directory, "value")
        with open(path, "wb") as f:
            f.write(b"file\0\xff\r\n")
        self.assertCode(ctl(at, "put", "w", "", stdin=b"not this"))
        self.assertEqual(ctl(at, "get", "w").out, b"")
        self.assertCode(ctl(at, "put", "f", "--file", path, "--content-type", "image/x"))
        self.assertEqual(ctl(at, "get", "f").out, b"file\0\xff\r\n")
        shown = ctl(at, "get", "f", "--json").json
        self.assertEqual((base64.b64decode(shown["value_b64"]), shown["content_type"]),
                         (b"file\0\xff\r\n", "image/x"))
        self.assertCode(ctl(at, "put", "s", stdin=b"\n\0in\n"))
        self.assertEqual(ctl(at, "get", "s").out, b"\n\0in\n")
        self.assertCode(ctl(at, "put", "s", "--file", path + "x"), FAILURE)

    def test_awkward_keys_are_put_and_got_as_they_are(self):
        cluster = self.cluster_of(3)
        at = [cluster.followers()[0]]
        for n, key in enumerate(AWKWARD):
            self.put(at, key, b"%d" % n)
            if b"\0" not in key:  # an argument holds it
                self.assertEqual(self.assertCode(ctl(at, "get", "--", key)).out, b"%d" % n, key)
        for n, key in enumerate(AWKWARD):
            self.assertEqual(self.get(at, key), b"%d" % n, key)

    def test_what_curl_would_do_is_what_the_command_does(self):
        node = self.cluster_of(1).nodes[0]
        for n, key in enumerate(AWKWARD):
            self.by_curl(node, "put", "--key-b64", b64(key), f"it's $({n}) @ä")
            self.assertEqual(self.get([node], key), f"it's $({n}) @ä".encode(), key)
            self.assertEqual(self.by_curl(node, "get", "--key-b64", b64(key)),
                             self.get([node], key))
        self.assertEqual(json.loads(self.by_curl(node, "incr", "n", "4"))["value"], 4)
        self.by_curl(node, "incr", "n")  # a key of its own each time
        self.assertEqual(ctl([node], "get", "n").out, b"5")
        self.by_curl(node, "put", "s", stdin=b"\0from stdin")
        self.assertEqual(ctl([node], "get", "s").out, b"\0from stdin")
        self.by_curl(node, "del", "s")
        self.assertCode(ctl([node], "get", "s"), NOT_FOUND)

    def by_curl(self, node, *words, stdin=b""):
        line = self.assertCode(ctl([node], "--curl", *words)).text
        done = subprocess.run(["bash", "-c", line], input=stdin, capture_output=True, check=False,
                              timeout=20 * SLOW)
        self.assertEqual((done.returncode, done.stderr), (0, b""), line)
        return done.stdout

    def test_values_up_to_64_mib_come_back_as_they_were(self):
        cluster = self.cluster_of(1, LARGE)
        for size in (0, 1, (1 << 20) + 1, 64 << 20):
            value = os.urandom(size)
            self.put(cluster.nodes, b"k", value)
            self.assertTrue(self.get(cluster.nodes, b"k") == value, size)
        self.assertCode(ctl(cluster.nodes, "put", "k", stdin=bytes((64 << 20) + 1)), FAILURE)

    def test_value_over_the_limit_is_a_failure(self):
        at = self.cluster_of(1).nodes
        done = self.assertCode(ctl(at, "put", "k", stdin=bytes((1 << 20) + 1)), FAILURE)
        self.assertIn("max-value-size", done.said)

    def test_reads_may_be_stale_or_wait_for_a_revision(self):
        cluster = self.cluster_of(3)
        leader, follower = cluster.leader(), cluster.followers()[0]
        revision = ctl([leader], "put", "k", "v", "--json").json["revision"]
        for consistency in ("linearizable", "lease"):
            self.assertEqual(ctl([follower], "get", "k", "--consistency", consistency).out, b"v")
        self.assertEqual(ctl([follower], "get", "k", "--consistency", "stale", "--min-revision",
                             str(revision)).out, b"v")
        self.assertCode(ctl([follower], "--timeout", "300ms", "get", "k", "--min-revision",
                            str(revision + 1000000)), UNREACHABLE)


class Faults(KeysTest):
    def test_majority_away_is_no_leader_or_unknown_by_exit_status(self):
        cluster = self.cluster_of(3)
        leader = cluster.leader()
        self.assertCode(ctl([leader], "put", "k", "v"))
        for node in cluster.followers():
            node.pause()
        # It may be in the log for good: nobody can say.
        self.assertCode(ctl([leader], "--timeout", "300ms", "put", "k", "w"), UNKNOWN)
        wait_until(lambda: leader.metrics()["state"] != "Leader", 10 * SLOW, "it steps down")
        self.assertCode(ctl([leader], "--timeout", "300ms", "put", "k", "x"), UNREACHABLE)
        self.assertCode(ctl([leader], "--timeout", "300ms", "get", "k"), UNREACHABLE)
        self.assertEqual(ctl([leader], "get", "k", "--consistency", "stale").out, b"v")

    def test_increments_through_killed_leaders_count_exactly_once(self):
        cluster = self.cluster_of(3)
        for n in range(1, 31):
            if n % 6 == 0:
                leader = cluster.leader()
                leader.kill()
            done = self.assertCode(ctl(cluster.nodes, "--timeout", "10s", "incr", "n"))
            self.assertEqual(done.text, f"{n}\n")
            if n % 6 == 0:
                leader.start()
