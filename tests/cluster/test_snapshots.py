# SPDX-License-Identifier: MIT
"""Checkpoints and snapshots between real nodes: who is behind the leader's log gets
the state, whatever is killed, cut or changed meanwhile."""

import random
import re
import threading
import time
import unittest

from harness import SLOW, ClusterTest, note, wait_until
from load import Relay, Roaming, Threads, Writers, read

# Checkpoints all the time, and next to no log behind them.
OFTEN = {
    "raft.checkpoint-entries": "200",
    "raft.log-tail-entries": "20",
    "raft.log-tail-bytes": "64K",
}
VALUE_BYTES = 100_000
ELECTION_S = 0.5  # above raft.election-timeout-max


def snapshot_index(node):
    """Up to which index this node's state is durable without the log."""
    return (node.metrics()["snapshot"] or {"index": 0})["index"]


def applied_index(node):
    return (node.metrics()["last_applied"] or {"index": 0})["index"]


def count(node, text):
    return node.log_text().count(text)


def receiving(node):
    """The sizes of the snapshots that this node began to receive, from their beginning."""
    return [int(n) for n in re.findall(r"receiving a snapshot .*, (\d+) bytes", node.log_text())]


def installed(node):
    return count(node, "installed the state at")


class Throttle(Relay):
    """Lets bytes pass slowly while `pause_s` is set, cuts the connection after about
    `cut_bytes` while that is set, and counts what it passed on."""

    def __init__(self):
        super().__init__("/raft-snapshot")
        self.pause_s = 0
        self.cut_bytes = 0
        self.cuts_left = 0
        self.n_bytes = 0
        self.rng = random.Random(7)
        self.left = 0

    def seen(self, data):
        if self.pause_s:
            time.sleep(self.pause_s)
        with self.lock:
            self.n_bytes += len(data)
            if self.cuts_left > 0:
                self.left -= len(data)
                if self.left < 0:
                    self.left = self.rng.randrange(2 * self.cut_bytes)
                    self.cuts_left -= 1
                    self.n_cuts += 1
                    raise ConnectionAbortedError
        return False


class Snapshots(ClusterTest):
    limit_s = 60

    def fill(self, nodes, n):
        """n large values that do not shrink, by several clients at once."""
        def write(i):
            client = Roaming([node.bind for node in nodes], i)
            for k in range(i, n, 4):
                command = {"Set": {"key": f"large{k}", "value": self.large(k)}}
                outcome, answer = client.write(command)
                self.assertEqual(outcome, "acked", answer)
            client.close()

        Threads(4, write).start().join(30 * SLOW)

    @staticmethod
    def large(k):
        return f"{k}:" + random.Random(k).randbytes(VALUE_BYTES // 2).hex()

    def check_large(self, node, n):
        with node.client() as client:
            for k in range(0, n, 7):
                self.assertEqual(read(client, f"large{k}"), self.large(k), f"large{k}")

    def write_beyond(self, cluster, index, nodes=None):
        """Writes until the leader's log no longer goes back to this index: it is kept for
        whoever was heard of within an election timeout."""
        with Writers(nodes or cluster.running(), n=4) as writers:
            time.sleep(ELECTION_S * SLOW)
            leader = cluster.leader()
            index = max(index, snapshot_index(leader))
            wait_until(lambda: snapshot_index(leader) > index + 100, 15 * SLOW,
                       "the log lets go of what is old")
        return writers

    @staticmethod
    def gone(end):
        """Ends a node (its stop or its kill) and waits until the leader counts it as gone:
        before, it would write a snapshot for it at once, of little."""
        end()
        time.sleep(ELECTION_S * SLOW)

    def relayed(self, n, options=None):
        """n members; before the last one is a relay. Cluster, that one, its relay."""
        relay = Throttle()
        self.addCleanup(relay.close)
        cluster = self.cluster_of(n - 1, {**OFTEN, **(options or {})})
        node = cluster.add_node(advertise=relay.addr)
        relay.target = node.bind
        node.start()
        self.assertAnswer(cluster.leader().post("/add-learner", [node.id, node.addr]), 200,
                          {"Ok": "Added"})
        ids = [each.id for each in cluster.nodes]
        self.assertAnswer(cluster.leader().post("/change-membership", ids), 200,
                          {"Ok": "Changed"})
        cluster.wait_agreed()
        if cluster.leader() is node:  # it is to be the one that is behind
            node.stop()
            cluster.leader()
            node.restart()
            cluster.wait_agreed()
        return cluster, node, relay

    def test_follower_stopped_for_many_writes_catches_up_while_writes_go_on(self):
        cluster = self.cluster_of(3, OFTEN)
        away = cluster.followers()[0]
        index = applied_index(away)
        away.stop()
        before = self.write_beyond(cluster, index)
        with Writers(cluster.running(), n=4) as during:
            during.wait_acked(100, 10)
            away.restart()
            wait_until(lambda: installed(away) > 0, 10 * SLOW, "a snapshot is installed")
            during.wait_more(300, 10)
        cluster.wait_agreed()
        self.assertEqual(before.check([away]), [])
        self.assertEqual(during.check([away]), [])
        note(f"{len(receiving(away))} snapshots begun, {installed(away)} installed")

    def test_long_poll_ends_when_what_it_waits_for_comes_in_a_snapshot(self):
        cluster = self.cluster_of(3, OFTEN)
        away = cluster.followers()[0]
        others = [node for node in cluster.nodes if node is not away]
        polls = {}

        def poll(key):
            with away.client(60 * SLOW) as client:
                answer = client.request("PUT", f"/v1/kv/{key}", "old")
                polls[key] = client.request("GET", f"/v1/kv/{key}?wait=12s", headers={
                    "If-None-Match": str(answer.json["revision"])})

        threads = [threading.Thread(target=poll, args=(key,)) for key in ("changed", "kept")]
        for thread in threads:
            thread.start()
        time.sleep(0.5 * SLOW)
        self.assertEqual(polls, {})
        index = applied_index(away)
        away.pause()
        self.write_beyond(cluster, index, others)  # what is on its way already is not it
        others[0].request("PUT", "/v1/kv/changed", "new")
        self.write_beyond(cluster, index, others)
        away.resume()
        wait_until(lambda: "changed" in polls, 15 * SLOW, "the poll ends")
        self.assertGreater(installed(away), 0)
        self.assertEqual((polls["changed"].status, polls["changed"].body), (200, b"new"))
        for thread in threads:
            thread.join()
        self.assertEqual(polls["kept"].status, 304)

    def test_leader_killed_while_it_sends_a_snapshot(self):
        cluster, behind, relay = self.relayed(3)
        index = applied_index(behind)
        self.gone(behind.kill)
        self.fill(cluster.running(), 100)
        writers = self.write_beyond(cluster, index)
        relay.pause_s = 0.02
        behind.restart()
        wait_until(lambda: receiving(behind), 10 * SLOW, "a snapshot is being sent")
        time.sleep(0.3)
        self.assertEqual(installed(behind), 0)
        leader = cluster.leader()
        leader.kill()
        relay.pause_s = 0
        wait_until(lambda: installed(behind) > 0, 15 * SLOW, "the next leader sends its own")
        leader.restart()
        cluster.leader()
        cluster.wait_agreed()
        self.assertEqual(writers.check(cluster.nodes), [])
        self.check_large(behind, 100)

    def test_follower_killed_20_times_while_it_receives_and_installs(self):
        cluster, behind, relay = self.relayed(3)
        others = [node for node in cluster.nodes if node is not behind]
        rng = random.Random(11)
        n_half = n_installed = n_log = 0
        all_writers = []
        self.fill(cluster.nodes, 50)
        for i in range(20):
            index = applied_index(behind)
            behind.kill()
            all_writers.append(self.write_beyond(cluster, index, others))
            begun, done = len(receiving(behind)), installed(behind)
            relay.pause_s = 0.02 if i % 3 == 0 else 0  # killed while it receives
            behind.spawn()
            # It may have installed the last one just before it was killed, and the leader,
            # who does not know, have kept what comes after it.
            wait_until(lambda: len(receiving(behind)) > begun or
                       applied_index(behind) >= applied_index(others[0]), 10 * SLOW,
                       "a snapshot is sent", pause_s=0.001)
            if len(receiving(behind)) == begun:
                n_log += 1
            elif i % 3 == 1:  # killed as soon as it has installed, else about then
                wait_until(lambda: installed(behind) > done, 10 * SLOW,
                           "the snapshot is installed", pause_s=0.001)
            else:
                time.sleep(rng.random() ** 2 * 0.08)
            behind.kill()
            if installed(behind) > done:
                n_installed += 1
            elif len(receiving(behind)) > begun:
                n_half += 1
            relay.pause_s = 0
            behind.start()
        note(f"killed {n_half} times before the install, {n_installed} times after, "
             f"{n_log} times without one")
        self.assertGreater(n_half, 3)
        self.assertGreater(n_installed, 0)
        cluster.wait_agreed()
        for writers in all_writers:
            self.assertEqual(writers.check([behind]), [])
        self.check_large(behind, 50)

    def test_all_killed_under_load_with_checkpoints_lose_nothing(self):
        cluster = self.cluster_of(3, OFTEN)
        for i in range(4):
            with Writers(cluster.nodes, n=6) as writers:
                writers.wait_acked(1500, 15)
                cluster.kill_all()
                writers.stopping.set()
            cluster.start()
            cluster.leader()
            self.assertEqual(writers.check(cluster.nodes), [])
        self.assertEqual([count(node, " is damaged") for node in cluster.nodes], [0, 0, 0])

    def test_restart_after_kill_comes_up_with_the_checkpoint(self):
        cluster = self.cluster_of(1, OFTEN)
        node = cluster.nodes[0]
        with Writers([node], n=4, total=3000) as writers:
            writers.wait_acked(3000, 15)
        index = wait_until(lambda: snapshot_index(node), 5 * SLOW, "there is a checkpoint")
        self.assertGreater(index, 1000)
        node.kill()
        node.start()
        self.assertGreaterEqual(snapshot_index(node), index)
        cluster.leader()
        self.assertEqual(writers.check([node]), [])

    def test_connection_cut_20_times_does_not_begin_the_transfer_anew(self):
        cluster, behind, relay = self.relayed(3)
        index = applied_index(behind)
        self.gone(behind.stop)
        self.fill(cluster.running(), 400)
        self.write_beyond(cluster, index)
        relay.n_bytes, relay.cut_bytes, relay.cuts_left = 0, 1_500_000, 20
        behind.restart()
        wait_until(lambda: installed(behind) > 0, 20 * SLOW, "the snapshot is installed")
        sizes, n_bytes = receiving(behind), relay.n_bytes
        note(f"{n_bytes / sizes[0]:.2f} times the {sizes[0]} bytes of the snapshot, "
             f"{relay.n_cuts} cuts")
        self.assertEqual(relay.n_cuts, 20)
        self.assertEqual(len(sizes), 1)
        self.assertLessEqual(n_bytes, 1.5 * sizes[0])
        cluster.wait_agreed()
        self.check_large(behind, 400)

    def test_learner_that_is_added_late_gets_a_snapshot(self):
        cluster = self.cluster_of(2, OFTEN)
        writers = self.write_beyond(cluster, 500)
        late = cluster.add_node().start()
        with Writers(cluster.nodes[:2], n=2) as during:
            self.assertAnswer(cluster.leader().post("/add-learner", [late.id, late.addr]), 200,
                              {"Ok": "Added"})
            during.wait_more(100, 10)
        cluster.wait_agreed()
        self.assertEqual(installed(late), 1)
        self.assertEqual(writers.check([late]), [])
        self.assertEqual(during.check([late]), [])
        ids = [node.id for node in cluster.nodes]
        self.assertAnswer(late.post("/change-membership", ids), 200, {"Ok": "Changed"})
        late.kill()
        late.restart()
        cluster.wait_agreed()
        self.assertEqual(writers.check([late]), [])

    def test_members_change_while_a_snapshot_is_sent_and_installed(self):
        cluster, behind, relay = self.relayed(3)
        fresh = cluster.add_node().start()
        leader = cluster.leader()
        self.assertAnswer(leader.post("/add-learner", [fresh.id, fresh.addr]), 200,
                          {"Ok": "Added"})
        index = applied_index(behind)
        self.gone(behind.stop)
        self.fill(cluster.running(), 100)
        writers = self.write_beyond(cluster, index)
        relay.pause_s = 0.01
        behind.restart()
        wait_until(lambda: receiving(behind), 10 * SLOW, "a snapshot is being sent")
        leader = cluster.leader()
        leaving = next(n for n in cluster.nodes if n not in (leader, behind, fresh))
        ids = [leader.id, behind.id, fresh.id]
        self.assertAnswer(leader.post("/change-membership", ids), 200, {"Ok": "Changed"})
        self.assertEqual(installed(behind), 0)
        relay.pause_s = 0
        cluster.wait_agreed([leader, behind, fresh])
        self.assertGreater(installed(behind), 0)
        leaving.stop()
        voters = [sorted(node.metrics()["membership_config"]["membership"]["configs"][-1])
                  for node in (leader, behind, fresh)]
        self.assertEqual(voters, [sorted(ids)] * 3)
        behind.kill()  # what it restarts with has the members, too
        behind.restart()
        cluster.wait_agreed()
        self.assertEqual(writers.check([leader, behind, fresh]), [])
        self.check_large(behind, 100)


if __name__ == "__main__":
    unittest.main()
