# SPDX-License-Identifier: MIT
"""crabclusterctl and the cluster itself: status, members, leader and init, with real daemons;
the loss of a majority by the steps of the manual page; and bench."""

import os
import re
import shlex
import shutil

from ctl import FAILURE, NOT_ALLOWED, NOT_FOUND, OK, UNHEALTHY, UNREACHABLE, USAGE, ctl
from harness import SLOW, ClusterTest, wait_until


class CtlTest(ClusterTest):
    limit_s = 120

    def assertCode(self, done, code=OK):
        self.assertEqual(done.code, code, done)
        return done

    def members(self, at):
        return {m["addr"]: m for m in
                self.assertCode(ctl(at, "member", "list", "--json")).json["members"]}


class Status(CtlTest):
    def test_healthy_cluster_is_0_and_a_silent_member_is_8_with_its_fix(self):
        cluster = self.cluster_of(3)
        leader, (away, other) = cluster.leader(), cluster.followers()
        wait_until(lambda: ctl([other], "status").code == OK, 10 * SLOW, "it is healthy")
        text = self.assertCode(ctl([other], "status")).text
        self.assertTrue(text.startswith("healthy: 3 of 3 voters are there, 1 more may be lost\n"))
        for node in cluster.nodes:
            self.assertRegex(text, rf"{node.id} +{node.addr} +\w+ +ok ")
        self.assertRegex(text, rf"{leader.addr} +leader ")
        away.kill()
        wait_until(lambda: ctl([other], "status").code == UNHEALTHY, 20 * SLOW, "it is noticed")
        text = ctl([other], "status").text
        self.assertIn("not healthy: 2 of 3 voters are there, 0 more may be lost", text)
        self.assertRegex(text, rf"{away.addr} +\w+ +silent ")
        self.assertIn("problem: ", text)
        shown = ctl([other], "status", "--json")
        self.assertEqual((shown.code, shown.json["healthy"]), (UNHEALTHY, False))
        # The command of the fix, as it stands there.
        fix = re.search(r"(?m)^    fix: .*: crabclusterctl (.*)$", text)[1]
        self.assertCode(ctl([], *shlex.split(fix)))
        self.assertEqual(ctl([other], "status").text.splitlines()[0],
                         "healthy: 2 of 2 voters are there, 0 more may be lost")

    def test_node_that_does_not_know_the_name_it_is_called_by_refuses(self):
        (node,) = self.loose_nodes(1)
        stranger = f"somebody.localhost:{node.port}"  # libcurl knows where that is
        for words in (["status"], ["put", "k", "v"], ["member", "list"], ["ls"]):
            done = self.assertCode(ctl([stranger], *words), NOT_ALLOWED)
            self.assertIn("Host", done.said)


class Members(CtlTest):
    def test_cluster_is_made_grown_and_shrunk_by_commands_alone(self):
        nodes = self.loose_nodes(4)
        first, second, third, learner = nodes
        self.assertCode(ctl(nodes, "init"), USAGE)
        self.assertCode(ctl([first], "init"))
        self.assertCode(ctl([first], "init"), FAILURE)
        for node in (second, third):
            self.assertIn("was added", self.assertCode(ctl([first], "member", "add", node.addr))
                          .said)
        self.assertCode(ctl([third], "member", "add", "--learner", learner.addr))
        members = self.members([second])
        self.assertEqual({a: m["role"] for a, m in members.items()},
                         {n.addr: "learner" if n is learner else "voter" for n in nodes})
        self.assertRegex(self.assertCode(ctl([second], "member", "list")).text,
                         rf"(?m)^{learner.id} +{learner.addr} +learner$")
        # By address, by the beginning of the id, by the id.
        self.assertCode(ctl([second], "member", "promote", learner.addr))
        self.assertEqual(self.members([first])[learner.addr]["role"], "voter")
        self.assertCode(ctl([second], "member", "demote", learner.id[:8]))
        self.assertEqual(self.members([first])[learner.addr]["role"], "learner")
        self.assertCode(ctl([second], "member", "remove", learner.id))
        self.assertNotIn(learner.addr, self.members([first]))

    def test_wrong_members_are_refused_and_nothing_is_changed(self):
        cluster = self.cluster_of(2)
        at = cluster.nodes
        before = self.members(at)
        free = cluster.add_node()  # not started
        self.assertCode(ctl(at, "member", "add", free.addr), FAILURE)
        self.assertCode(ctl(at, "member", "add", "nonsense"), FAILURE)
        for what in ("remove", "promote", "demote"):
            for name in ("127.0.0.1:1", "00000000-0000-4000-8000-000000000000", "abcdef"):
                self.assertCode(ctl(at, "member", what, name), NOT_FOUND)
        self.assertEqual(self.members(at).keys(), before.keys())

    def test_dead_member_is_removed_but_not_the_quorum(self):
        cluster = self.cluster_of(3)
        leader, (dead, other) = cluster.leader(), cluster.followers()
        dead.kill()
        wait_until(lambda: ctl([leader], "status").code == UNHEALTHY, 20 * SLOW, "noticed")
        done = self.assertCode(ctl([leader], "member", "remove", other.addr), FAILURE)
        self.assertRegex(done.said, r"\d")  # the arithmetic
        self.assertCode(ctl([leader], "member", "remove", dead.addr))
        self.assertEqual(len(self.members([leader])), 2)


class Leader(CtlTest):
    def test_leader_is_shown_and_handed_over(self):
        cluster = self.cluster_of(3)
        leader, (follower, other) = cluster.leader(), cluster.followers()
        self.assertEqual(self.assertCode(ctl([other], "leader", "show")).text,
                         f"{leader.id} {leader.addr}\n")
        done = self.assertCode(ctl([other], "leader", "transfer", follower.addr))
        self.assertEqual(done.said, f"{follower.id} leads now\n")
        wait_until(lambda: ctl([other], "leader", "show", "--json").json["id"] == follower.id,
                   10 * SLOW, "it leads")
        self.assertCode(ctl([other], "leader", "transfer"))
        wait_until(lambda: cluster.leader() is not follower, 10 * SLOW, "another one leads")


class Disaster(CtlTest):
    def test_majority_lost_and_whole_again_with_three_nodes(self):
        cluster = self.cluster_of(3)
        for i in range(5):
            self.assertCode(ctl(cluster.nodes, "put", f"k{i}", str(i)))
        cluster.wait_agreed()
        survivor, *lost = cluster.nodes
        for node in lost:
            node.kill()
        wait_until(lambda: survivor.metrics()["state"] != "Leader", 10 * SLOW, "no leader")
        self.assertCode(ctl([survivor], "--timeout", "300ms", "get", "k1"), UNREACHABLE)
        text = self.assertCode(ctl([survivor], "status"), UNHEALTHY).text
        self.assertTrue(text.startswith("not healthy: without a leader nobody knows which of the "
                                        "3 voters are there\n"), text)
        survivor.stop()
        self.assertCode(ctl([], "recover", "--dry-run", "--config", "/dev/null",
                            survivor.data_dir))
        shutil.copytree(survivor.data_dir, survivor.data_dir + ".before")
        self.assertCode(ctl([], "recover", "--yes", "--config", "/dev/null", survivor.data_dir))
        survivor.start()
        wait_until(lambda: ctl([survivor], "get", "k1").out == b"1", 10 * SLOW, "it answers")
        for node in lost:
            node.wipe()
            node.start()
            self.assertCode(ctl([survivor], "member", "add", node.addr))
        for i in range(5):
            self.assertEqual(ctl([lost[1]], "get", f"k{i}").out, str(i).encode())
        wait_until(lambda: ctl(cluster.nodes, "status").code == OK, 20 * SLOW, "healthy")
        self.assertTrue(os.path.isdir(survivor.data_dir + ".before"))


class Bench(CtlTest):
    def test_bench_counts_what_it_did(self):
        cluster = self.cluster_of(3)
        done = self.assertCode(ctl(cluster.nodes, "bench", "--json", "--clients", "8", "--keys",
                                   "50", "--fill", "--duration", "1s", "--value-size", "100",
                                   "--mix", "put=2,get=5,stale=1,incr=1,del=1"))
        result = done.json
        self.assertEqual(set(result["operations"]), {"put", "get", "stale", "incr", "del"})
        total = sum(op["requests"] for op in result["operations"].values())
        self.assertEqual(result["all"]["requests"], total)
        self.assertGreater(total, 50)
        self.assertEqual((result["refused"], result["cut"]), ({}, 0))
        get = result["operations"]["get"]
        self.assertLessEqual(get["p50_ms"], get["p99_ms"])
        self.assertLessEqual(get["p99_ms"], get["max_ms"])
        n_counted = 0
        for i in range(50):
            found = ctl(cluster.nodes, "get", f"bench/counter-{i}")
            n_counted += int(found.out) if found.code == OK else 0
        self.assertEqual(n_counted, result["operations"]["incr"]["requests"])

    def test_bench_goes_on_when_the_leader_is_killed(self):
        cluster = self.cluster_of(3)
        leader = cluster.leader()
        table = self.assertCode(ctl(cluster.nodes, "bench", "--clients", "4", "--duration", "1s"))
        self.assertRegex(table.text, r"(?m)^OPERATION +REQUESTS +PER SECOND")
        self.assertIn("How long requests took", table.text)
        leader.kill()
        done = self.assertCode(ctl([leader, *(n for n in cluster.nodes if n is not leader)],
                                   "bench", "--json", "--clients", "6", "--duration", "3s"))
        self.assertGreater(done.json["cut"], 0)
        self.assertGreater(done.json["all"]["requests"], 0)

    def test_bench_of_large_values_sends_them_whole(self):
        cluster = self.cluster_of(1)
        self.assertCode(ctl(cluster.nodes, "bench", "--quiet", "--clients", "2", "--duration",
                            "500ms", "--value-size", "1M", "--keys", "3", "--fill", "--prefix",
                            "b ä/"))
        self.assertEqual(len(ctl(cluster.nodes, "get", "b ä/1").out), 1 << 20)
