# SPDX-License-Identifier: MIT
"""GET /v1/kv/{key}?wait=: long polls, at the leader and at the followers of a real
cluster, and what becomes of them when nodes and clients go."""

import threading
import time
import unittest

from harness import SLOW, note, wait_until
from v1 import ThreeNodesTest, V1Test, path_of, revision_of


class Waits(ThreeNodesTest):
    def poll(self, node, key, tag, wait="30s", more=""):
        """A long poll in a thread of its own; poll.join() gives (answer, seconds)."""
        test, result = self, {}

        class Poll(threading.Thread):
            def run(self):
                begin = time.monotonic()
                result["answer"] = test.get(node, key, f"wait={wait}{more}", If_None_Match=tag,
                                            timeout=60 * SLOW)
                result["seconds"] = time.monotonic() - begin

            def join(self, timeout=None):
                super().join(timeout)
                return result["answer"], result["seconds"]

        thread = Poll()
        thread.start()
        time.sleep(0.2)
        self.assertEqual(result, {})
        return thread

    def test_wait_ends_when_the_key_changes(self):
        for node, other in self.each_node():
            revision = revision_of(self.put(node, "wait", "old"))
            for more in ("", "&consistency=stale", "&consistency=lease"):
                poll = self.poll(node, "wait", f'"{revision}"', more=more)
                self.put(other, "wait/other", "x")
                revision = revision_of(self.put(other, "wait", "new"))
                answer, seconds = poll.join()
                self.assertValue(answer, "new", revision)
                self.assertLess(seconds, 5 * SLOW)

    def test_wait_ends_with_404_when_the_key_is_deleted(self):
        for node, other in self.each_node():
            revision = revision_of(self.put(node, "wait", "old"))
            poll = self.poll(node, "wait", f'"{revision}"')
            self.delete(other, "wait")
            answer, seconds = poll.join()
            self.assertError(answer, 404, "key_not_found")
            self.assertLess(seconds, 5 * SLOW)
            self.assertError(self.get(node, "wait", "wait=30s", If_None_Match='"1"'), 404,
                             "key_not_found")

    def test_wait_for_what_has_changed_already_ends_at_once(self):
        for node, other in self.each_node():
            first = revision_of(self.put(node, "wait", "1"))
            second = revision_of(self.put(node, "wait", "2"))
            begin = time.monotonic()
            self.assertValue(self.get(other, "wait", "wait=30s", If_None_Match=f'"{first}"'), "2",
                             second)
            self.assertLess(time.monotonic() - begin, 5 * SLOW)

    def test_wait_without_a_change_is_304_at_its_end(self):
        for node, _ in self.each_node():
            revision = revision_of(self.put(node, "wait", "v"))
            for wait in ("700ms", "6s"):  # more than one look after the client
                answer, seconds = self.poll(node, "wait", f'"1", "{revision}"', wait).join()
                self.assertEqual(answer.status, 304)
                self.assertKnown(answer, revision)
                self.assertGreater(seconds, 0.65 if wait == "700ms" else 5.9)
                self.assertLess(seconds, 0.7 + 5 * SLOW if wait == "700ms" else 6 + 5 * SLOW)
            answer = self.get(node, "wait", "wait=0s", If_None_Match="*")
            self.assertEqual(answer.status, 304)

    def test_wait_is_not_ended_by_what_changes_nothing(self):
        for node, other in self.each_node():
            revision = revision_of(self.put(node, "wait", "v"))
            poll = self.poll(node, "wait", f'"{revision}"', "1s")
            self.assertEqual(self.put(other, "wait", "w", If_None_Match="*").status, 412)
            self.put(other, "wai", "x")
            self.put(other, "wait2", "x")
            answer, _ = poll.join()
            self.assertEqual(answer.status, 304)

    def test_wait_needs_if_none_match_and_a_duration(self):
        for node, _ in self.each_node():
            self.assertError(self.get(node, "k", "wait=1s"), 400, "bad_request")
            for wait in ("", "5", "11m", "1d"):
                answer = self.get(node, "k", f"wait={wait}", If_None_Match="*")
                self.assertError(answer, 400, "bad_request")

    def test_many_wait_for_one_key_at_all_nodes(self):
        revision = revision_of(self.put(self.cluster.nodes[0], "crowd", "old"))
        begin = time.monotonic()
        polls = []
        for node in self.cluster.nodes:
            for _ in range(30):
                client = node.client(timeout=60 * SLOW)
                client.connection.request("GET", path_of("crowd") + "?wait=50s", None,
                                          {"If-None-Match": f'"{revision}"'})
                polls.append(client)
        time.sleep(0.5)
        self.put(self.cluster.nodes[1], "crowd", "new")
        for client in polls:
            response = client.connection.getresponse()
            self.assertEqual((response.status, response.read()), (200, b"new"))
            client.close()
        self.assertLess(time.monotonic() - begin, 20 * SLOW)


class Trouble(V1Test):
    limit_s = 120

    def test_long_poll_survives_the_death_of_the_leader(self):
        cluster = self.cluster_of(3)
        leader, followers = cluster.leader(), cluster.followers()
        revision = revision_of(self.put(leader, "k", "old"))
        clients = []
        for node in followers:
            client = node.client(timeout=60 * SLOW)
            client.connection.request("GET", path_of("k") + "?wait=50s", None,
                                      {"If-None-Match": f'"{revision}"'})
            clients.append(client)
        time.sleep(0.3)
        leader.kill()
        wait_until(lambda: self.put(followers[0], "k", "new").status == 200, 10 * SLOW, "written")
        for client in clients:
            response = client.connection.getresponse()
            self.assertEqual((response.status, response.read()), (200, b"new"))
            client.close()

    def test_long_polls_do_not_hold_up_a_node_that_stops(self):
        cluster = self.cluster_of(1)
        node = cluster.nodes[0]
        self.put(node, "k", "v")
        clients = []
        for _ in range(20):
            client = node.client(timeout=60 * SLOW)
            client.connection.request("GET", path_of("k") + "?wait=10m", None,
                                      {"If-None-Match": "*"})
            clients.append(client)
        time.sleep(0.3)
        seconds = node.stop()
        note(f"stopped within {seconds:.2f} s")
        for client in clients:
            response = client.connection.getresponse()
            self.assertEqual(response.status, 503)
            self.assertIn(b'"code":"shutting_down"', response.read())
            client.close()

    def test_long_poll_of_a_client_that_is_gone_is_given_up(self):
        cluster = self.cluster_of(1, {"limits.max-connections": "20"})
        node = cluster.nodes[0]
        self.put(node, "k", "v")
        for _ in range(20):
            client = node.client()
            client.connection.request("GET", path_of("k") + "?wait=10m", None,
                                      {"If-None-Match": "*"})
            time.sleep(0.02)
            client.connection.sock.close()
        wait_until(lambda: all(self.get(node, "k").status == 200 for _ in range(3)), 15 * SLOW,
                   "there is room for others again")

if __name__ == "__main__":
    unittest.main()
