# SPDX-License-Identifier: MIT
"""Writes through followers are applied exactly once, however often the transport
delivers them. What shows a second application: the answer of Delete (it would find
nothing), of an exchange (it would find its own value), and the log's end (two entries
may stand there for one write, but the state must not show it)."""

import threading
import time
import unittest

from harness import SLOW, Cluster, ClusterTest, note
from load import Relay, Roaming, Threads


def exchange(key, value):
    """Atomically takes the old value and puts a new one."""
    return {"Batch": [{"Delete": {"key": key}}, {"Set": {"key": key, "value": value}}]}


class Exchanges(Threads):
    """Threads that pass one register along: each value written must be taken by exactly
    one later exchange, or be the last."""

    def __init__(self, nodes, n=6, key="baton"):
        super().__init__(n, self._exchange)
        self.addrs = [node.bind for node in nodes]
        self.key = key
        self.lock = threading.Lock()
        self.taken = {}  # value: who took it
        self.acked, self.unknown = set(), set()
        self.wrong = []

    def _exchange(self, i):
        client = Roaming(self.addrs, i)
        n = 0
        while not self.stopping.is_set():
            n += 1
            value = f"{i}.{n}"
            outcome, answer = client.write(exchange(self.key, value))
            if outcome == "error":
                raise AssertionError(f"{answer!r}")
            with self.lock:
                if outcome == "unknown":
                    self.unknown.add(value)
                elif outcome == "acked":
                    self.acked.add(value)
                    self._took(value, answer.json["Ok"]["data"]["value"])
        client.close()

    def _took(self, value, answer):
        old, new = answer
        if new != value:
            self.wrong.append(f"{value}: answered as {new}")
        if old == value:
            self.wrong.append(f"{value}: took itself, so it was applied twice")
        if old in self.taken:
            self.wrong.append(f"{old}: taken by {self.taken[old]} and by {value}")
        self.taken[old] = value

    def check(self, last):
        """What is wrong at the end, when the register holds `last`."""
        lost = self.acked - set(self.taken) - {last}
        # Who took these is not known: each may have been taken by one unknown exchange.
        if len(lost) > len(self.unknown):
            self.wrong.append(f"lost: {sorted(lost)[:5]}, with {len(self.unknown)} unknown")
        return self.wrong

    def wait(self, n, limit_s):
        deadline = time.monotonic() + limit_s * SLOW
        while len(self.acked) < n and not self.raised:
            if time.monotonic() > deadline:
                raise AssertionError(f"{len(self.acked)} of {n} exchanges after {limit_s} s")
            time.sleep(0.02)


class Forwarding(ClusterTest):
    limit_s = 90

    def cluster_behind_relays(self, cut_every):
        """Three members whose advertised addresses are relays."""
        cluster = Cluster(0)
        self.addCleanup(cluster.close)
        self.relays = []
        for _ in range(3):
            relay = Relay(cut_every=cut_every)
            self.addCleanup(relay.close)
            node = cluster.add_node(advertise=relay.addr)
            relay.target = node.bind
            self.relays.append(relay)
        return cluster.start().form()

    def test_write_through_a_follower_is_one_entry(self):
        cluster = self.cluster_of(3)
        leader = cluster.leader()
        first = self.assertWritten(leader.set("k", "0"), "0")
        for i in range(1, 51):
            node = cluster.nodes[i % 3]
            self.assertEqual(self.assertWritten(node.set("k", str(i)), str(i)), first + i)

    def test_answers_cut_off_after_delivery_apply_once(self):
        """Each key is set and deleted through a follower, then set at the leader at once:
        a second application of the Delete finds that value and takes it away, one of the
        Set puts the old value back."""
        cluster = self.cluster_behind_relays(cut_every=4)  # cuts hit Sets and Deletes
        leader, follower = cluster.leader(), cluster.followers()[0]
        n_unknown = 0
        with leader.client() as at_leader, follower.client() as at_follower:
            for i in range(150):
                key = f"k{i}"
                answer = at_follower.post("/write", {"Set": {"key": key, "value": "old"}})
                if answer.status == 200:
                    self.assertWritten(answer, "old")
                    answer = at_follower.post("/write", {"Delete": {"key": key}})
                if answer.status == 200:
                    self.assertWritten(answer, "old")
                n_unknown += answer.status == 504
                self.assertIn(answer.status, (200, 504))
                answer = at_leader.post("/write", {"Set": {"key": key, "value": "new"}})
                self.assertWritten(answer, "new")
        time.sleep(0.2)  # until the last copy must have arrived
        for i in range(150):
            self.assertRead(follower.read(f"k{i}"), "new")
        cuts = sum(relay.n_cuts for relay in self.relays)
        seen = sum(relay.n_requests for relay in self.relays)
        note(f"{seen} forwarded requests, {cuts} answers cut off, {n_unknown} answered unknown")
        self.assertGreater(cuts, 50)
        self.assertEqual(n_unknown, 0)

    def test_exchanges_over_cut_connections_take_each_value_once(self):
        cluster = self.cluster_behind_relays(cut_every=4)
        with Exchanges(cluster.nodes) as exchanges:
            exchanges.wait(1500, 30)
        last = cluster.leader().read("baton").json["Ok"]
        self.assertEqual(exchanges.check(last), [])
        self.assertGreater(sum(relay.n_cuts for relay in self.relays), 20)
        note(f"{len(exchanges.acked)} exchanges, {len(exchanges.unknown)} unknown")

    def test_exchanges_while_leaders_are_killed_take_each_value_once(self):
        cluster = self.cluster_of(3)
        with Exchanges(cluster.nodes) as exchanges:
            for i in range(4):
                exchanges.wait(300 * (i + 1), 20)
                victim = cluster.leader() if i % 2 == 0 else cluster.followers()[0]
                victim.kill()
                exchanges.wait(len(exchanges.acked) + 100, 20)
                victim.restart()
        cluster.wait_agreed()
        last = cluster.leader().read("baton").json["Ok"]
        self.assertEqual(exchanges.check(last), [])
        note(f"{len(exchanges.acked)} exchanges, {len(exchanges.unknown)} unknown")

    def test_exchanges_while_the_leader_is_paused_take_each_value_once(self):
        cluster = self.cluster_of(3)
        with Exchanges(cluster.nodes) as exchanges:
            for i in range(3):
                exchanges.wait(200 * (i + 1), 20)
                leader = cluster.leader()
                leader.pause()
                cluster.leader()
                leader.resume()
        cluster.wait_agreed()
        last = cluster.leader().read("baton").json["Ok"]
        self.assertEqual(exchanges.check(last), [])
        note(f"{len(exchanges.acked)} exchanges, {len(exchanges.unknown)} unknown")


if __name__ == "__main__":
    unittest.main()
