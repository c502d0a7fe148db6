# SPDX-License-Identifier: MIT
"""crabclusterctl and many keys: ls, del --prefix, export and import, with real clusters."""

import base64
import json
import os
import subprocess
import time

from ctl import CTL, OK, ctl, environment
from harness import SLOW
from test_ctl_keys import AWKWARD, LARGE, KeysTest


class Lists(KeysTest):
    def test_ls_shows_keys_in_order_and_one_on_a_line(self):
        node = self.cluster_of(1).nodes[0]
        for key in AWKWARD:
            self.put([node], key, b"v")
        done = self.assertCode(ctl([node], "ls"))
        lines = done.text.splitlines()
        self.assertEqual(len(lines), len(set(lines)), "keys look alike")
        self.assertEqual(len(lines), len(AWKWARD))
        self.assertIn("a\\x0ab", lines)
        self.assertIn("'\"\\\\", lines)
        shown = [i["key"].encode() if "key" in i else base64.b64decode(i["key_b64"])
                 for i in self.assertCode(ctl([node], "ls", "--json")).lines if
                 "key" in i or "key_b64" in i]
        self.assertEqual(shown, sorted(AWKWARD))

    def test_ls_takes_prefix_limit_delimiter_and_direction(self):
        node = self.cluster_of(1).nodes[0]
        for key in ("a/1", "a/2", "a/b/3", "a/b/4", "b/1"):
            self.assertCode(ctl([node], "put", key, "12345"))

        def ls(*words):
            return self.assertCode(ctl([node], "ls", *words)).text.split()

        self.assertEqual(ls(), ["a/1", "a/2", "a/b/3", "a/b/4", "b/1"])
        self.assertEqual(ls("a/"), ["a/1", "a/2", "a/b/3", "a/b/4"])
        self.assertEqual(ls("a/", "--limit", "2"), ["a/1", "a/2"])
        self.assertEqual(ls("--reverse", "--limit", "1"), ["b/1"])
        self.assertEqual(ls("--delimiter", "/"), ["a/", "b/"])
        self.assertEqual(sorted(ls("a/", "--delimiter", "/")), ["a/1", "a/2", "a/b/"])
        self.assertEqual(ls("none"), [])
        long = self.assertCode(ctl([node], "ls", "--long", "a/b/")).text.splitlines()
        self.assertEqual(long[0].split(), ["KEY", "REVISION", "CREATED", "VERSION", "SIZE"])
        self.assertRegex(long[1], r"^a/b/3 +\d+ +\d+ +1 +5 B$")

    def test_del_of_a_prefix_and_of_all(self):
        cluster = self.cluster_of(3)
        at = cluster.followers()
        for i in range(30):
            self.assertCode(ctl(at, "put", f"p/{i}", "v"))
        self.assertCode(ctl(at, "put", "q", "v"))
        done = self.assertCode(ctl(at, "del", "--prefix", "p/1"))
        self.assertIn("11 keys deleted", done.said)
        done = self.assertCode(ctl(at, "del", "--all", "--json"))
        self.assertEqual(done.json["deleted"], 20)
        self.assertEqual(ctl(at, "ls").out, b"")

    def test_export_and_import_keep_every_key_and_value(self):
        cluster = self.cluster_of(1, LARGE)
        other = self.cluster_of(1, LARGE)
        values = {key: os.urandom(n * 10) for n, key in enumerate(AWKWARD)}
        values.update({b"empty": b"", b"large": os.urandom(64 << 20), b"text": "ä\n\0".encode()})
        for key, value in values.items():
            self.put(cluster.nodes, key, value)
        values[b"typed"] = b"<p>"
        self.put(cluster.nodes, b"typed", b"<p>", "--content-type", "text/html")
        path = os.path.join(cluster.directory, "export")
        done = self.assertCode(ctl(cluster.nodes, "export", path, limit_s=100))
        self.assertEqual(done.said, f"{len(values)} keys\n")
        with open(path, encoding="utf-8") as f:
            lines = [json.loads(line) for line in f]
        self.assertEqual(len(lines), len(values))
        self.assertCode(ctl(other.nodes, "import", path, limit_s=100))
        for key, value in values.items():
            self.assertTrue(self.get(other.nodes, key) == value, key[:50])
        self.assertEqual(ctl(other.nodes, "get", "typed", "--json").json["content_type"],
                         "text/html")
        part = self.assertCode(ctl(cluster.nodes, "export", "--prefix", "a"))
        keys = {i.get("key") or base64.b64decode(i["key_b64"]).decode() for i in part.lines}
        self.assertEqual(keys, {k.decode() for k in values if k.startswith(b"a")})

    def test_import_while_leaders_are_killed_stores_everything(self):
        cluster = self.cluster_of(3)
        lines = b"".join(b'{"key":"k%05d","value":"%d"}\n' % (i, i) for i in range(3000))
        process = subprocess.Popen([CTL, "import"], stdin=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env=environment(cluster.nodes))
        process.stdin.write(lines[:len(lines) // 2])
        process.stdin.flush()
        leader = cluster.leader()
        leader.kill()
        time.sleep(0.3)
        _, said = process.communicate(lines[len(lines) // 2:], timeout=60 * SLOW)
        self.assertEqual((process.returncode, said), (OK, b"3,000 keys stored\n"))
        listed = self.assertCode(ctl(cluster.followers(), "ls", "k")).text.split()
        self.assertEqual(listed, [f"k{i:05d}" for i in range(3000)])
