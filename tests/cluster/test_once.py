# SPDX-License-Identifier: MIT
"""Idempotency-Key: a client that repeats its request, through any node and whatever
dies meanwhile, has it carried out once."""

import itertools
import random
import threading
import time
import unittest
import uuid

from harness import SLOW, Client, note, wait_until
from load import ERRORS, Threads
from v1 import ThreeNodesTest, V1Test, path_of

KILLS = 50
TABLE_MAX = 100000


class Counting:
    """Clients that add 1 to a counter, again and again. Each increment has a key of its own
    and is asked for, at one node after the other, until it is answered."""

    def __init__(self, nodes, counter, with_key=True):
        self.addrs = [node.bind for node in nodes]
        self.path = path_of(counter) + "?op=incr"
        self.with_key = with_key
        self.lock = threading.Lock()
        self.values = []  # that the counter had after each increment, by the answers
        self.doubtful = 0  # increments that were asked for again when they might have been done
        self.threads = None

    def run(self, n):
        self.threads = Threads(n, self.count)
        return self.threads

    def count(self, i):
        at = itertools.cycle(range(i, i + len(self.addrs)))
        client = Client(self.addrs[i % len(self.addrs)], timeout=10 * SLOW)
        while not self.threads.stopping.is_set():
            client = self.increment(client, at, {"Idempotency-Key": str(uuid.uuid4())})
        client.close()

    def increment(self, client, at, headers):
        doubtful = False
        while True:
            try:
                answer = client.request("POST", self.path, None, headers if self.with_key else {})
                if answer.status in (200, 201):
                    break
                if answer.status not in (429, 503, 504):
                    raise AssertionError(f"an increment is answered with {answer!r}")
                doubtful |= answer.status == 504
            except ConnectionRefusedError:
                time.sleep(0.01)
            except ERRORS:
                doubtful = True
            client.close()
            client = Client(self.addrs[next(at) % len(self.addrs)], timeout=10 * SLOW)
        with self.lock:
            self.values.append(answer.json["value"])
            self.doubtful += doubtful
        return client

    def wait_more(self, n, limit_s):
        target = len(self.values) + n
        wait_until(lambda: len(self.values) >= target, limit_s * SLOW, f"{n} more increments")


class LeaderKills(V1Test):
    limit_s = 480

    def test_counter_through_50_leader_kills_counts_each_increment_once(self):
        cluster = self.cluster_of(3)
        counting = Counting(cluster.nodes, "visits")
        chance = random.Random(50)
        begin = time.monotonic()
        with counting.run(6):
            for _ in range(KILLS):
                counting.wait_more(20, 30)
                leader = cluster.leader()
                time.sleep(chance.uniform(0, 0.02))
                leader.kill()
                counting.wait_more(1, 30)
                leader.restart()
        cluster.wait_agreed()
        note(f"{len(counting.values)} increments through {KILLS} kills in "
             f"{time.monotonic() - begin:.0f} s, {counting.doubtful} of them asked for again "
             "when they might have been done")
        # No two increments were answered with the same number, and none is missing.
        self.assertEqual(sorted(counting.values), list(range(1, len(counting.values) + 1)))
        for node in cluster.nodes:
            self.assertValue(self.get(node, "visits"), str(len(counting.values)))
        self.assertGreater(counting.doubtful, 0)


class Repeated(ThreeNodesTest):
    def test_each_write_repeated_at_each_node_is_answered_as_the_first_time(self):
        first = self.cluster.leader()
        key = str(uuid.uuid4())
        answer = self.post(first, "n", "op=incr", Idempotency_Key=key)
        self.assertStored(answer, "n", True, value=1)
        for node, _ in self.each_node():
            again = self.post(node, "n", "op=incr", Idempotency_Key=key)
            self.assertEqual((again.status, again.json), (answer.status, answer.json))
        self.assertValue(self.get(first, "n"), "1")

    def test_classic_write_repeated_at_each_node_is_answered_as_the_first_time(self):
        headers = {"Idempotency-Key": "classic"}
        body = '{"Set":{"key":"c","value":"v"}}'
        first = self.cluster.nodes[0].request("POST", "/write", body, headers)
        self.assertEqual(first.status, 200)
        for node, _ in self.each_node():
            again = node.request("POST", "/write", body, headers)
            self.assertAnswer(again, 200, first.json)
            other = node.request("POST", "/write", '{"Delete":{"key":"c"}}', headers)
            self.assertEqual((other.status, list(other.json["Err"])),
                             (422, ["IdempotencyKeyReused"]))
            self.assertRead(node.read("c"), "v")

    def test_other_request_with_the_key_is_422_at_each_node(self):
        self.put(self.cluster.nodes[0], "p", "v", Idempotency_Key="once")
        for node, _ in self.each_node():
            self.assertError(self.put(node, "p", "w", Idempotency_Key="once"), 422,
                             "idempotency_key_reused")
            self.assertError(self.delete(node, "p", Idempotency_Key="once"), 422,
                             "idempotency_key_reused")
            self.assertValue(self.get(node, "p"), "v")

    def test_key_that_is_none_is_400_at_each_node(self):
        for node, _ in self.each_node():
            for key in "", "x" * 65:
                self.assertError(self.put(node, "bad", "v", Idempotency_Key=key), 400,
                                 "bad_request")
            self.assertEqual(self.put(node, f"{node.name}", "v", Idempotency_Key="x" * 60
                                      + node.name[-4:]).status, 201)
            self.assertError(self.get(node, "bad"), 404, "key_not_found")

    def test_keys_are_remembered_through_a_restart_of_all(self):
        answer = self.put(self.cluster.nodes[0], "r", "v", Idempotency_Key="restart")
        self.assertStored(answer, "r", True)
        self.cluster.kill_all()
        self.cluster.start()
        self.cluster.leader()
        for node, _ in self.each_node():
            again = self.put(node, "r", "v", Idempotency_Key="restart")
            self.assertEqual((again.status, again.json), (201, answer.json))
            gauge = node.request("GET", "/metrics", headers={"Accept": "text/plain"}).text
            remembered = [line for line in gauge.splitlines()
                          if line.startswith("crabcluster_idempotency_keys ")]
            self.assertGreater(int(remembered[0].split()[1]), 0)


@unittest.skipIf(SLOW > 1, "100,000 requests, and the same code as without a sanitizer")
class FullTable(ThreeNodesTest):
    limit_s = 240

    def name_writes(self, i):
        """So many writes with a name each, until one is refused."""
        with self.cluster.nodes[i % 3].client(timeout=30 * SLOW) as client:
            for n in range(TABLE_MAX):
                answer = client.request("PUT", f"/v1/kv/full/{i}", "v",
                                        {"Idempotency-Key": f"full-{i}-{n}"})
                if answer.status == 429:
                    return
                assert answer.status in (200, 201), answer

    def test_full_table_refuses_new_names_at_each_node_and_forgets_none(self):
        first = self.put(self.cluster.nodes[0], "first", "v", Idempotency_Key="first")
        self.assertStored(first, "first", True)
        with Threads(48, self.name_writes) as threads:
            threads.join(200)
        for node, _ in self.each_node():
            answer = self.put(node, "late", "v", Idempotency_Key=f"late-{node.name}")
            self.assertError(answer, 429, "overloaded")
            self.assertGreater(int(answer.headers["Retry-After"]), 0)
            self.assertError(self.get(node, "late"), 404, "key_not_found")
            again = self.put(node, "first", "v", Idempotency_Key="first")
            self.assertEqual((again.status, again.json), (201, first.json))
            self.assertEqual(self.put(node, f"unnamed/{node.name}", "v").status, 201)
