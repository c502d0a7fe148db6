# SPDX-License-Identifier: MIT
"""Backups, restoring them elsewhere, and going on after the loss of a majority."""

import glob
import hashlib
import itertools
import os
import stat
import subprocess
import time
import unittest

from harness import SLOW, Client, Cluster, ClusterTest, asan_options, note, wait_until
from load import Roaming, Threads, read

SKIPPED = 1 << 32  # revisions between a state and what begins with it
PATH = "/v1/snapshot"
SMALL_STEPS = {"raft.checkpoint-entries": "1000"}


def offline(node, *flags, limit_s=60):
    """Runs the daemon's program for work on the node's data directory."""
    node.write_config()
    return subprocess.run([*node.command(), *flags], capture_output=True, text=True,
                          timeout=limit_s * SLOW, check=False, stdin=subprocess.DEVNULL,
                          env=node.environment())


def killed_after(node, seconds, *flags):
    """The same, ended by SIGKILL in the middle."""
    node.write_config()
    process = subprocess.Popen([*node.command(), *flags], stdin=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               env=node.environment())
    time.sleep(seconds * SLOW)
    process.kill()
    process.wait()


class IndexedWriters(Threads):
    """Each key is written once; `index` holds where in the log that was."""

    runs = itertools.count(1)

    def __init__(self, nodes, n=8):
        super().__init__(n, self._write)
        self.addrs = [node.bind for node in nodes]
        self.prefix = f"i{next(IndexedWriters.runs)}"
        self.index, self.value = {}, {}

    def _write(self, i):
        client = Roaming(self.addrs, i)
        for n in itertools.count():
            if self.stopping.is_set():
                break
            pairs = [(f"{self.prefix}/{i}/{n}/{half}", f"{n} " + "x" * (n % 300))
                     for half in "ab"]
            outcome, answer = client.write(
                {"Batch": [{"Set": {"key": k, "value": v}} for k, v in pairs]})
            if outcome != "acked":
                raise AssertionError(f"a write without a fault: {outcome} {answer!r}")
            for key, value in pairs:
                self.value[key] = value
                self.index[key] = answer.json["Ok"]["log_id"]["index"]
        client.close()

    def wait_written(self, n):
        wait_until(lambda: len(self.index) >= n or self.raised, 60 * SLOW, f"{n} keys written")

    def compare(self, node, revision):
        """What differs from the state at this revision."""
        wrong = []
        with Client(node.bind) as client:
            for key, index in self.index.items():
                expected = self.value[key] if index <= revision else None
                found = read(client, key)
                if found != expected:
                    wrong.append(f"{key}, written at {index}: {found!r}, not {expected!r}")
        return wrong


class Peak(Threads):
    """The most anonymous memory that a node had, in bytes."""

    def __init__(self, node, also=lambda: None):
        super().__init__(1, self._watch)
        self.node, self.also, self.bytes = node, also, 0

    def _watch(self, _):
        while not self.stopping.is_set():
            self.bytes = max(self.bytes, anonymous_bytes(self.node))
            self.also()
            time.sleep(0.005)


class BackupTest(ClusterTest):
    limit_s = 120

    def backup(self, node, name="backup"):
        """Takes one; its path and revision."""
        answer = node.request("GET", PATH, timeout=60 * SLOW)
        self.assertEqual(answer.status, 200, answer)
        self.assertEqual(answer.headers["Content-Type"], "application/octet-stream")
        self.assertEqual(int(answer.headers["Content-Length"]), len(answer.body))
        path = os.path.join(node.directory, name)
        with open(path, "wb") as f:
            f.write(answer.body)
        return path, int(answer.headers["X-Crabcluster-Revision"])

    def restored(self, cluster, path):
        """A new node with what the backup holds, started."""
        node = cluster.add_node()
        done = offline(node, "--restore", path)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        self.assertEqual(len(done.stdout.splitlines()), 1, done.stdout)
        self.assertIn(node.addr, done.stdout)
        node.start()
        wait_until(lambda: node.metrics()["state"] == "Leader", 10 * SLOW, "the new node leads")
        return node

    def refused(self, node, flags, *parts):
        done = offline(node, *flags)
        self.assertEqual(done.returncode, 1, done)
        self.assertEqual(done.stdout, "")
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        for part in parts:
            self.assertIn(part, done.stderr)


class Backup(BackupTest):
    def test_backup_under_load_restores_every_key_as_of_its_revision(self):
        cluster = self.cluster_of(3, SMALL_STEPS)
        others = Cluster(0)
        self.addCleanup(others.close)
        taken = []
        with IndexedWriters(cluster.nodes) as writers:
            for n, node in enumerate([cluster.leader(), *cluster.followers()]):
                writers.wait_written(len(writers.index) + 2000)
                taken.append(self.backup(node, f"backup{n}"))
            writers.wait_written(len(writers.index) + 500)
        last = max(writers.index.values())
        for path, revision in taken:
            self.assertLess(revision, last)
            node = self.restored(others, path)
            self.assertEqual(writers.compare(node, revision), [])
            index = self.assertWritten(node.set("new", "1"), "1")
            self.assertGreater(index, revision + SKIPPED)
        revisions = [revision for _, revision in taken]
        self.assertEqual(revisions, sorted(set(revisions)))

    def test_backup_of_a_quiet_cluster_is_the_whole_of_it(self):
        cluster = self.cluster_of(1, SMALL_STEPS)
        node = cluster.nodes[0]
        with IndexedWriters([node], 2) as writers:
            writers.wait_written(1500)
        for key in list(writers.index)[::3]:
            self.assertEqual(node.delete(key).status, 200)
            writers.value[key] = None
        self.assertEqual(node.set("binary\0key", "\0ü").status, 200)
        path, revision = self.backup(node)
        new = self.restored(cluster, path)
        self.assertEqual(writers.compare(new, revision), [])
        self.assertRead(new.read("binary\0key"), "\0ü")
        again, _ = self.backup(new, "again")
        newer = self.restored(cluster, again)
        self.assertEqual(writers.compare(newer, revision), [])

    @unittest.skipUnless("CRABCLUSTER_TEST_LARGE" in os.environ, "CRABCLUSTER_TEST_LARGE is not set")
    def test_backup_of_a_gibibyte_under_load(self):
        cluster = self.cluster_of(1)
        node = cluster.nodes[0]

        def value(n):
            return hashlib.sha256(b"%d" % n).hexdigest() * 15600

        with node.client() as client:
            for n in range(1100):
                self.assertEqual(client.post("/write", {"Set": {"key": f"large{n}",
                                                                "value": value(n)}}).status, 200)
        path = os.path.join(node.directory, "backup")
        memory = Peak(node)
        with IndexedWriters([node], 4) as writers, memory:
            writers.wait_written(5000)
            before, memory.bytes = memory.bytes, 0
            subprocess.run(["curl", "-sf", "-o", path, "-D", path + ".head", node.bind + PATH],
                           check=True)
            writers.wait_written(len(writers.index) + 1000)
        note(f"anonymous memory: {before >> 20} MiB before, {memory.bytes >> 20} MiB at most")
        self.assertLess(memory.bytes - before, 16 << 20)
        with open(path + ".head", encoding="utf-8") as f:
            revision, = [int(line.split()[1]) for line in f if "-Revision:" in line]
        new = self.restored(cluster, path)
        self.assertEqual(writers.compare(new, revision), [])
        with new.client() as client:
            wrong = [n for n in range(1100) if read(client, f"large{n}") != value(n)]
        self.assertEqual(wrong, [])

    def test_nodes_with_peers_join_the_restored_one_by_themselves(self):
        path, _ = self.backup(self.cluster_of(1).nodes[0])
        cluster = Cluster(3)
        self.addCleanup(cluster.close)
        peers = ", ".join(f'"{node.addr}"' for node in cluster.nodes)
        for node in cluster.nodes:
            node.options["peers"] = f"{{ {peers} }}"
        restored = cluster.nodes[1]
        self.assertEqual(offline(restored, "--restore", path).returncode, 0)
        cluster.start()
        ids = sorted(node.id for node in cluster.nodes)

        def all_vote():
            configs = restored.metrics()["membership_config"]["membership"]["configs"]
            return [sorted(config) for config in configs] == [ids]

        wait_until(all_vote, 30 * SLOW, "all of them vote")
        cluster.wait_agreed()

    def test_backup_of_a_node_without_cluster_is_refused(self):
        node = self.loose_nodes(1)[0]
        answer = node.request("GET", PATH)
        self.assertEqual((answer.status, answer.json["error"]["code"]), (503, "uninitialized"))

    def test_backup_takes_constant_memory_and_its_file_is_private_and_goes(self):
        cluster = Cluster(1, SMALL_STEPS)
        self.addCleanup(cluster.close)
        node = cluster.nodes[0]
        # What is freed counts as free: else it is kept, up to 256 MiB, for what may still use it.
        node.wrapper = ["env", asan_options("quarantine_size_mb=1")]
        cluster.start().form()
        for n in range(96):
            self.assertEqual(node.set(f"large{n}", "v" * 1000000).status, 200)
        files = os.path.join(node.data_dir, "snapshot", "*")
        seen = set()

        def look():
            for path in glob.glob(files):
                try:
                    seen.add(stat.S_IMODE(os.stat(path).st_mode))
                except FileNotFoundError:
                    pass

        before = anonymous_bytes(node)
        with Peak(node, look) as memory:
            path, _ = self.backup(node)
        self.assertGreater(os.path.getsize(path), 96000000)
        self.assertLess(memory.bytes - before, 16 << 20)
        self.assertEqual(seen, {0o600})
        wait_until(lambda: not glob.glob(files), 5 * SLOW, "the file is deleted")


def anonymous_bytes(node):
    with open(f"/proc/{node.process.pid}/status", encoding="utf-8") as f:
        for line in f:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    raise AssertionError("no RssAnon")


class Restore(BackupTest):
    @classmethod
    def setUpClass(cls):
        cls.cluster = Cluster.formed(1)
        cls.addClassCleanup(cls.cluster.close)
        node = cls.cluster.nodes[0]
        for n in range(300):
            assert node.set(f"k{n}", f"v{n}" * 20).status == 200
        cls.path = os.path.join(cls.cluster.directory, "backup")
        with open(cls.path, "wb") as f:
            f.write(node.request("GET", PATH).body)

    def altered(self, name, change):
        with open(self.path, "rb") as f:
            content = bytearray(f.read())
        path = os.path.join(self.cluster.directory, name)
        with open(path, "wb") as f:
            f.write(change(content))
        return path

    def check_refused(self, path, *parts):
        node = self.cluster.add_node()
        self.refused(node, ["--restore", path], path, *parts)
        self.assertFalse(os.path.exists(node.data_dir), "something was left behind")

    def test_cut_backup_is_refused_and_nothing_is_made(self):
        size = os.path.getsize(self.path)
        for length in (0, 1, 100, size // 2, size - 1):
            with self.subTest(length=length):
                self.check_refused(self.altered("cut", lambda c, n=length: c[:n]))
        self.check_refused(self.altered("longer", lambda c: c + b"\0"))

    def test_altered_backup_is_refused_and_nothing_is_made(self):
        size = os.path.getsize(self.path)
        for at in (*range(0, size, size // 15), size - 1):
            def flip(content, at=at):
                content[at] ^= 1
                return content
            with self.subTest(at=at):
                self.check_refused(self.altered("altered", flip))

    def test_what_is_no_backup_is_refused(self):
        self.check_refused(os.path.join(self.cluster.directory, "none"), "No such file")
        self.check_refused(__file__)

    def test_directory_with_something_in_it_is_refused(self):
        node = self.cluster.add_node()
        os.makedirs(node.data_dir)
        with open(os.path.join(node.data_dir, "letter"), "w", encoding="utf-8"):
            pass
        self.refused(node, ["--restore", self.path], node.data_dir, "letter", "not empty")
        self.assertEqual(os.listdir(node.data_dir), ["letter"])
        running = self.cluster.nodes[0]
        self.refused(running, ["--restore", self.path], running.data_dir, "not empty")
        self.assertRead(running.read("k7"), "v7" * 20)

    def test_empty_directory_is_taken(self):
        node = self.cluster.add_node()
        os.makedirs(node.data_dir)
        self.assertEqual(offline(node, "--restore", self.path).returncode, 0)
        self.refused(node, ["--restore", self.path], "not empty")

    def test_restore_killed_at_any_moment_is_done_or_done_again(self):
        outcomes = set()
        for n in range(24):
            node = self.cluster.add_node()
            killed_after(node, 0.001 * n, "--restore", self.path)
            done = offline(node, "--restore", self.path)
            if done.returncode != 0:
                self.assertIn("not empty", done.stderr)
            if n % 6 == 5 or done.returncode not in outcomes:
                node.start()
                wait_until(lambda node=node: node.read("k7").status == 200, 10 * SLOW, "it reads")
                self.assertRead(node.read("k299"), "v299" * 20)
                node.stop()
            outcomes.add(done.returncode)
        self.assertIn(0, outcomes)

    def test_restore_killed_and_not_done_again_is_all_or_nothing(self):
        for n in range(12):
            node = self.cluster.add_node()
            killed_after(node, 0.002 * n, "--restore", self.path)
            node.start()  # with whatever is there
            if node.metrics()["membership_config"]["membership"]["configs"]:
                wait_until(lambda node=node: node.read("k7").status == 200, 10 * SLOW, "it reads")
                self.assertRead(node.read("k299"), "v299" * 20)
            else:
                self.assertEqual(node.read("k7").status, 503)
                self.assertEqual(node.request("GET", "/init").status, 200)
                self.assertMissing(node.read("k7"))
            node.stop()


class ForceNewCluster(BackupTest):
    def forced(self, node):
        done = offline(node, "--force-new-cluster")
        self.assertEqual((done.returncode, done.stderr), (0, ""), done)
        self.assertEqual(len(done.stdout.splitlines()), 1, done.stdout)
        return done.stdout

    def test_majority_lost_is_gone_on_from_and_old_members_are_refused(self):
        cluster = self.cluster_of(3, SMALL_STEPS)
        with IndexedWriters(cluster.nodes) as writers:
            writers.wait_written(3000)
        cluster.wait_agreed()
        one, two, three = cluster.nodes
        revision = one.metrics()["last_applied"]["index"]
        cluster.kill_all()
        self.assertIn("committed", self.forced(one))
        one.start()
        wait_until(lambda: one.metrics()["state"] == "Leader", 10 * SLOW, "it leads")
        self.assertEqual(writers.compare(one, revision), [])
        index = self.assertWritten(one.set("after", "1"), "1")
        self.assertGreater(index, revision + SKIPPED)

        # Both old members come back with their disks: the cluster that they are stays theirs.
        two.start()
        three.start()
        wait_until(lambda: two.set("elsewhere", "1").status == 200, 20 * SLOW, "they elect")
        self.assertMissing(one.read("elsewhere"))
        self.assertMissing(two.read("after"))
        answer = one.post("/add-learner", [two.id, two.addr])
        self.assertEqual(answer.status, 409, answer)
        self.assertIn("ClusterMismatch", answer.text)
        ids = [one.id]
        self.assertEqual(one.metrics()["membership_config"]["membership"]["configs"], [ids])
        self.assertWritten(one.set("after", "2"), "2")

        # Their disks are given up, and the cluster is three again.
        for node in (two, three):
            node.stop()
            node.wipe()
            node.start()
            self.assertAnswer(one.post("/add-learner", [node.id, node.addr]), 200,
                              {"Ok": "Added"})
            ids.append(node.id)
        self.assertAnswer(one.post("/change-membership", ids), 200, {"Ok": "Changed"})
        cluster.wait_agreed()
        self.assertEqual(writers.compare(three, revision), [])
        one.kill()
        cluster.leader()
        self.assertRead(two.read("after"), "2")

    def test_node_in_use_or_without_cluster_is_refused(self):
        member, = self.cluster_of(1).nodes
        self.refused(member, ["--force-new-cluster"], member.data_dir, "in use")
        node, = self.loose_nodes(1)
        node.stop()
        self.refused(node, ["--force-new-cluster"], "belongs to no cluster")
        node.wipe()
        self.refused(node, ["--force-new-cluster"], "no data directory")
        self.assertFalse(os.path.exists(node.data_dir))

    def test_killed_at_any_moment_is_as_before_or_done(self):
        cluster = self.cluster_of(1)
        node = cluster.nodes[0]
        with IndexedWriters([node], 2) as writers:
            writers.wait_written(400)
        last = max(writers.index.values())
        for n in range(12):
            node.stop()
            killed_after(node, 0.002 * n, "--force-new-cluster")
            node.start()
            wait_until(lambda: node.read("none").status == 404, 10 * SLOW, "it reads")
            index = node.metrics()["last_applied"]["index"]
            self.assertTrue(index > last + SKIPPED or index < last + 100)
            last = index
        self.assertEqual(writers.compare(node, last), [])


if __name__ == "__main__":
    unittest.main()
