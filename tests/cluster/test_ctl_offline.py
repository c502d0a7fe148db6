# SPDX-License-Identifier: MIT
"""crabclusterctl's work on backups and data directories: snapshot save, status and
restore, and recover."""

import os
import stat
import subprocess
import unittest

from ctl import CTL, FAILURE, OK, UNREACHABLE, USAGE, ctl, environment
from harness import SLOW, ClusterTest, wait_until


class CtlTest(ClusterTest):
    limit_s = 90

    def assertDone(self, done, code=OK):
        self.assertEqual(done.code, code, done)
        return done

    def assertFailed(self, done, code, *parts):
        """One line on standard error, nothing on standard output."""
        self.assertEqual((done.code, done.out), (code, b""), done)
        self.assertEqual(len(done.said.splitlines()), 1, done)
        self.assertTrue(done.said.startswith("crabclusterctl: "), done)
        for part in parts:
            self.assertIn(part, done.said)


class Snapshot(CtlTest):
    def test_saved_backup_is_verified_and_restored(self):
        cluster = self.cluster_of(1)
        node = cluster.nodes[0]
        for i in range(20):
            self.assertWritten(node.set(f"k{i}", "v" * i), "v" * i)
        path = os.path.join(node.directory, "backup")
        done = self.assertDone(ctl([node], "snapshot", "save", path))
        self.assertEqual(done.out, b"")
        self.assertIn("revision 22", done.said)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertFalse(os.path.exists(path + ".part"))
        self.assertFailed(ctl([node], "snapshot", "save", path), FAILURE, "--force")
        saved = self.assertDone(ctl([node], "snapshot", "save", "--force", "--json", path))
        self.assertEqual(saved.json, {"file": path, "bytes": os.path.getsize(path),
                                      "revision": 22})

        status = self.assertDone(ctl([], "snapshot", "status", "--json", path)).json
        self.assertEqual((status["keys"], status["revision"], status["term"]), (20, 22, 1))
        self.assertIn("revision          22", ctl([], "snapshot", "status", path).text)

        new = cluster.add_node()
        flags = ["--data-dir", new.data_dir, "--config", "/dev/null", "--bind-addr", new.bind]
        self.assertDone(ctl([], "snapshot", "restore", path, *flags))
        self.assertFailed(ctl([], "snapshot", "restore", path, *flags), FAILURE, "is not empty")
        new.start()
        wait_until(lambda: new.metrics()["state"] == "Leader", 10 * SLOW, "the new node leads")
        self.assertRead(new.read("k7"), "v" * 7)

    @unittest.skipUnless(os.geteuid() == 0, "only root can give files to others")
    def test_root_is_told_to_do_it_as_the_user_of_the_daemon(self):
        cluster = self.cluster_of(1)
        node = cluster.nodes[0]
        self.assertWritten(node.set("k", "v"), "v")
        path = os.path.join(node.directory, "backup")
        self.assertDone(ctl([node], "snapshot", "save", path))
        node.stop()
        os.chown(node.data_dir, 65534, 65534)
        before = sorted(os.listdir(node.data_dir))
        done = ctl([], "recover", "--force", "--yes", "--config", "/dev/null", node.data_dir)
        self.assertEqual(done.code, FAILURE, done)
        self.assertIn(f"{node.data_dir} belongs to ", done.said)
        self.assertEqual(sorted(os.listdir(node.data_dir)), before)
        new = cluster.add_node()
        os.makedirs(new.data_dir, exist_ok=True)
        os.chown(new.data_dir, 65534, 65534)
        self.assertFailed(ctl([], "snapshot", "restore", path, "--data-dir", new.data_dir,
                              "--config", "/dev/null"), FAILURE, f"{new.data_dir} belongs to ")
        self.assertEqual(os.listdir(new.data_dir), [])

    def test_damaged_backup_is_refused(self):
        node = self.cluster_of(1).nodes[0]
        self.assertWritten(node.set("k", "v" * 1000), "v" * 1000)
        path = os.path.join(node.directory, "backup")
        self.assertDone(ctl([node], "snapshot", "save", path))
        with open(path, "r+b") as f:
            f.seek(200)
            f.write(b"X")
        self.assertFailed(ctl([], "snapshot", "status", path), FAILURE, "is damaged")
        os.truncate(path, 100)
        self.assertFailed(ctl([], "snapshot", "status", path), FAILURE)
        self.assertFailed(ctl([], "snapshot", "status", path + "x"), FAILURE, "No such file")

    def test_save_that_fails_leaves_no_file(self):
        node = self.cluster_of(1).nodes[0]
        path = os.path.join(node.directory, "backup")
        node.stop()
        self.assertFailed(ctl([node], "snapshot", "save", path), UNREACHABLE)
        self.assertEqual([n for n in os.listdir(node.directory) if n.startswith("backup")], [])
        self.assertFailed(ctl([node], "snapshot", "save", path + "/x/y"), FAILURE)
        full = ctl([node.bind], "snapshot", "save", "/dev/full")
        self.assertNotEqual(full.code, OK)

    def test_save_from_the_second_endpoint_when_the_first_is_away(self):
        cluster = self.cluster_of(3)
        away, *rest = cluster.followers()
        away.kill()
        path = os.path.join(away.directory, "backup")
        self.assertDone(ctl([away, *rest], "snapshot", "save", path))
        self.assertGreater(os.path.getsize(path), 0)


class Recover(CtlTest):
    def lost_majority(self):
        """Five nodes; two of the three that survive are behind, and all are down."""
        cluster = self.cluster_of(5)
        leader = cluster.leader()
        followers = cluster.followers()
        self.assertWritten(leader.set("all", "1"), "1")
        cluster.wait_agreed()
        behind = followers[:2]
        behind[0].kill()
        self.assertWritten(leader.set("four", "1"), "1")
        behind[1].kill()
        self.assertWritten(leader.set("three", "1"), "1")
        best = followers[2]
        wait_until(lambda: best.metrics()["last_log_index"] == leader.metrics()["last_log_index"],
                   10 * SLOW, "the best has everything")
        cluster.kill_all()
        return cluster, best, behind

    def test_majority_lost_best_survivor_goes_on_by_the_documented_steps(self):
        cluster, best, behind = self.lost_majority()
        dirs = [behind[0].data_dir, best.data_dir, behind[1].data_dir]
        flags = ["--config", "/dev/null"]
        shown = self.assertDone(ctl([], "recover", "--force", "--dry-run", "--json", *flags,
                                    *dirs)).json
        self.assertEqual((shown["best"], shown["done"]), (best.data_dir, False))
        indexes = [s["last_index"] for s in shown["survivors"]]
        self.assertLess(indexes[0], indexes[2])
        self.assertLess(indexes[2], indexes[1])
        self.assertEqual([s["address"] for s in shown["survivors"]],
                         [n.addr for n in (behind[0], best, behind[1])])
        table = self.assertDone(ctl([], "recover", "--dry-run", *flags, *dirs)).text
        marked = [line for line in table.splitlines() if line.endswith("best")]
        self.assertEqual([line.split()[0] for line in marked], [best.data_dir])

        # Three of five are a majority: nothing need be given up, and nothing is.
        done = ctl([], "recover", "--yes", *flags, *dirs)
        self.assertEqual(done.code, FAILURE, done)
        self.assertIn("start these nodes as they are", done.said)
        # With two of them nobody was asked, so nothing happens; then it does.
        self.assertEqual(ctl([], "recover", *flags, *dirs[:2]).code, USAGE)
        done = self.assertDone(ctl([], "recover", "--yes", "--json", *flags, *dirs[:2]))
        self.assertTrue(done.json["done"])

        best.start()
        wait_until(lambda: best.metrics()["state"] == "Leader", 10 * SLOW, "it leads")
        for key in ("all", "four", "three"):
            self.assertRead(best.read(key), "1")
        nodes = best.metrics()["membership_config"]["membership"]["nodes"]
        self.assertEqual([n["addr"] for n in nodes.values()], [best.addr])
        for other in behind:
            other.wipe()
            other.start()
            self.assertAnswer(best.post("/add-learner", [other.id, other.addr]), 200,
                              {"Ok": "Added"})
        cluster.wait_agreed([best, *behind])

    def test_what_cannot_go_on_is_said_and_nothing_is_changed(self):
        cluster = self.cluster_of(1)
        node = cluster.nodes[0]
        other = self.loose_nodes(1)[0]
        away = os.path.join(node.directory, "nothing")
        running = ctl([], "recover", "--dry-run", "--config", "/dev/null", node.data_dir)
        self.assertEqual(running.code, FAILURE)
        self.assertIn("in use by another process", running.said)
        node.stop()
        other.stop()
        done = ctl([], "recover", "--yes", "--config", "/dev/null", away, other.data_dir)
        self.assertEqual(done.code, FAILURE)
        self.assertIn("is no data directory", done.text)
        self.assertIn("belongs to no cluster", done.text)
        self.assertFalse(os.path.exists(away))
        # A bad directory beside a good one is no reason not to look.
        good = self.assertDone(ctl([], "recover", "--dry-run", "--json", "--config", "/dev/null",
                                   away, node.data_dir)).json
        self.assertEqual(good["best"], node.data_dir)
        self.assertIn("is no data directory", good["survivors"][0]["error"])

    def test_data_of_two_clusters_are_never_mixed(self):
        nodes = self.loose_nodes(2)
        for node in nodes:
            self.assertAnswer(node.request("GET", "/init"), 200, {"Ok": "Initialized"})
        for node in nodes:
            node.stop()
        done = ctl([], "recover", "--yes", "--force", "--config", "/dev/null",
                   *(node.data_dir for node in nodes))
        self.assertEqual(done.code, FAILURE)
        self.assertIn("different clusters", done.said)

    def test_looking_at_a_data_directory_changes_no_data(self):
        cluster = self.cluster_of(1)
        node = cluster.nodes[0]
        self.assertWritten(node.set("k", "v"), "v")
        node.stop()
        flags = ["recover", "--dry-run", "--json", "--config", "/dev/null", node.data_dir]
        first = self.assertDone(ctl([], *flags)).json
        self.assertEqual(self.assertDone(ctl([], *flags)).json, first)
        node.start()
        wait_until(lambda: node.metrics()["state"] == "Leader", 10 * SLOW, "it leads again")
        self.assertRead(node.read("k"), "v")


class Daemon(CtlTest):
    def test_daemon_that_is_not_there_is_named(self):
        self.assertFailed(ctl([], "snapshot", "status", "x", "--daemon", "/nowhere/crabcluster"),
                          FAILURE, "/nowhere/crabcluster")
        self.assertFailed(ctl([], "snapshot", "status", "x", "--daemon", "/bin/false"),
                          FAILURE, "/bin/false ended with status")

    def test_question_of_recover_is_answered_on_a_terminal(self):
        node = self.cluster_of(1).nodes[0]
        node.stop()
        command = [CTL, "recover", "--force", "--config", "/dev/null", node.data_dir]
        for word, code in ((b"n\n", FAILURE), (b"y\n", OK)):
            outer, inner = os.openpty()
            process = subprocess.Popen(command, stdin=inner, stdout=subprocess.PIPE,
                                       stderr=subprocess.PIPE, env=environment([]))
            os.write(outer, word)
            process.communicate(timeout=20 * SLOW)
            os.close(outer)
            os.close(inner)
            self.assertEqual(process.returncode, code)
