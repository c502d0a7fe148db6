# SPDX-License-Identifier: MIT
"""Nodes killed under load: writes go on, nothing acknowledged is lost, and nothing
that was refused is found."""

import time
import unittest

from harness import SLOW, ClusterTest, note, wait_until
from load import Roaming, Threads, Writers

REQUEST_TIMEOUT_S = 5  # limits.request-timeout's default


class Kills(ClusterTest):
    limit_s = 120

    def test_five_nodes_two_killed_under_load_then_all_lose_nothing(self):
        cluster = self.cluster_of(5)
        leader = cluster.leader()
        followers = [node for node in cluster.nodes if node is not leader]
        begin = time.monotonic()
        with Writers(cluster.nodes, n=12, total=20000) as writers:
            writers.wait_acked(3000, 30)
            followers[0].kill()
            followers[1].kill()
            writers.wait_more(3000, 30)
            for node in followers[:2]:
                node.restart()
            writers.wait_more(1000, 30)
            leader.kill()
            followers[2].kill()
            writers.wait_more(3000, 30)
            leader.restart()
            followers[2].restart()
            writers.wait_acked(20000, 60)
        seconds = time.monotonic() - begin
        note(f"{len(writers.acked)} acknowledged in {seconds:.1f} s, "
             f"{len(writers.refused)} refused, {len(writers.unknown)} unknown")
        cluster.kill_all()
        cluster.start()
        cluster.leader()
        self.assertEqual(writers.check(cluster.nodes), [])
        cluster.wait_agreed()

    def test_three_nodes_all_killed_in_mid_write_lose_nothing(self):
        cluster = self.cluster_of(3)
        for _ in range(3):
            with Writers(cluster.nodes, n=6) as writers:
                writers.wait_acked(500, 20)
                cluster.kill_all()
                writers.stopping.set()
            cluster.start()
            cluster.leader()
            self.assertEqual(writers.check(cluster.nodes), [])

    def test_follower_that_was_away_catches_up(self):
        cluster = self.cluster_of(3)
        away = cluster.followers()[0]
        away.kill()
        with Writers([n for n in cluster.nodes if n is not away], n=6, total=3000) as writers:
            writers.wait_acked(3000, 30)
        away.restart()
        cluster.wait_agreed()
        self.assertEqual(writers.check([away]), [])

    def test_wave_of_restarts_under_load_loses_nothing(self):
        """The leader stopped, the others killed, one after the other, twice."""
        cluster = self.cluster_of(3)
        with Writers(cluster.nodes, n=4) as writers:
            for _ in range(2):
                for node in cluster.nodes:
                    writers.wait_more(200, 20)
                    if node is cluster.leader():
                        node.stop()
                    else:
                        node.kill()
                    writers.wait_more(200, 20)
                    node.restart()
        cluster.wait_agreed()
        self.assertEqual(writers.check(cluster.nodes), [])


class Quorum(ClusterTest):
    def test_two_of_three_down_answers_in_time_and_recovers(self):
        for lonely_role in ("follower", "leader"):
            with self.subTest(lonely_role=lonely_role):
                cluster = self.cluster_of(3)
                leader = cluster.leader()
                leader.set("k", "v")
                lonely = leader if lonely_role == "leader" else cluster.followers()[0]
                rest = [node for node in cluster.nodes if node is not lonely]
                for node in rest:
                    node.kill()
                answers, refused = [], []

                def ask(i):
                    begin = time.monotonic()
                    if i % 2:
                        answer = lonely.set(f"lonely{i}", "v")
                    else:
                        answer = lonely.read("k")
                    answers.append((answer, time.monotonic() - begin))
                    if i % 2 and answer.status == 503:
                        refused.append(f"lonely{i}")

                Threads(8, ask).start().join()
                for answer, seconds in answers:
                    self.assertIn(answer.status, (503, 504), answer)
                    if answer.status == 503:
                        self.assertAnswer(answer, 503, {"Err": {"APIError": {"ForwardToLeader": {
                            "leader_id": None, "leader_node": None}}}})
                    else:
                        self.assertAnswer(answer, 504, {"Err": {"APIError": "Timeout"}})
                    self.assertLess(seconds, (REQUEST_TIMEOUT_S + 0.5) * SLOW)
                self.assertEqual(lonely.request("GET", "/metrics").status, 200)
                begin = time.monotonic()
                rest[0].spawn()
                wait_until(lambda: lonely.set("back", "v", 2 * SLOW).status == 200, 10, "writes")
                self.assertEqual(lonely.read("back").status, 200)
                seconds = time.monotonic() - begin
                note(f"{lonely_role} alone: written and read {seconds:.2f} s after one was back")
                self.assertLess(seconds, 2 * SLOW)
                for key in refused:  # 503 says that it was not attempted
                    self.assertMissing(lonely.read(key))
                cluster.close()

    def test_request_timeout_of_the_configuration_is_kept(self):
        cluster = self.cluster_of(3, {"limits.request-timeout": "1s"})
        lonely, *rest = cluster.nodes
        for node in rest:
            node.kill()
        for ask in (lambda: lonely.set("k", "v"), lambda: lonely.read("k")):
            begin = time.monotonic()
            self.assertIn(ask().status, (503, 504))
            self.assertLess(time.monotonic() - begin, 1.5 * SLOW)


class LeaderKilled(ClusterTest):
    limit_s = 150
    rounds = 20

    def test_leader_killed_20_times_next_write_within_a_second(self):
        cluster = self.cluster_of(3)
        times = []
        for i in range(self.rounds):
            leader = cluster.leader()
            cluster.wait_agreed()
            addrs = [node.bind for node in cluster.nodes if node is not leader]
            times.append(self.seconds_until_written(leader, addrs, i))
            leader.restart()
            self.assertRead(leader.read(f"after/{i}"), str(i))
        times.sort()
        note("seconds until the next write: " + " ".join(f"{t:.2f}" for t in times))
        note(f"median {times[len(times) // 2]:.2f}, worst {times[-1]:.2f}")
        self.assertLess(times[-1], 1 * SLOW)
        for node in cluster.nodes:
            for i in range(self.rounds):
                self.assertRead(node.read(f"after/{i}"), str(i))

    def seconds_until_written(self, leader, addrs, i):
        client = Roaming(addrs, i, timeout=1 * SLOW)
        leader.kill()
        begin = time.monotonic()
        while True:
            outcome, answer = client.write({"Set": {"key": f"after/{i}", "value": str(i)}})
            seconds = time.monotonic() - begin
            if outcome == "acked":
                client.close()
                return seconds
            self.assertLess(seconds, 10 * SLOW, answer)
            time.sleep(0.005)


if __name__ == "__main__":
    unittest.main()
