# SPDX-License-Identifier: MIT
"""Reads are linearizable on every node: a read that begins after a write was
acknowledged, or after another read saw it, sees it too. Also while leaders change,
and from a leader that was stopped and does not know yet that it lost its office."""

import time
import unittest

from harness import SLOW, ClusterTest, compact, note, wait_until
from load import Registers


class Reads(ClusterTest):
    def summary(self, registers):
        note(f"{registers.n_reads} reads, {registers.n_writes} writes acknowledged, "
             f"{registers.n_unknown} unknown, {registers.n_no_answer} reads unanswered")

    def test_reads_at_all_nodes_see_every_acknowledged_write(self):
        cluster = self.cluster_of(3)
        with Registers(cluster.nodes) as registers:
            registers.wait_reads(4000, 30)
        self.summary(registers)
        self.assertEqual(registers.wrong, [])
        self.assertEqual(registers.n_no_answer, 0)

    def test_reads_while_leaders_are_killed_and_paused_see_every_write(self):
        cluster = self.cluster_of(3)
        with Registers(cluster.nodes) as registers:
            for i in range(6):
                registers.wait_reads(400, 20)
                leader = cluster.leader()
                if i % 2 == 0:
                    leader.kill()
                    registers.wait_reads(100, 20)
                    leader.restart()
                else:
                    leader.pause()
                    cluster.leader()
                    time.sleep(0.2)
                    leader.resume()
        self.summary(registers)
        self.assertEqual(registers.wrong, [])

    def test_paused_leader_that_wakes_up_serves_no_stale_read(self):
        cluster = self.cluster_of(3)
        n_stale_chances = 0
        for i in range(6):
            old = cluster.leader()
            self.assertWritten(old.set("k", f"old{i}"), f"old{i}")
            clients = [old.client() for _ in range(8)]
            for client in clients:
                self.assertRead(client.post("/read", "k"), f"old{i}")
            old.pause()
            try:
                new = cluster.leader()
                self.assertIsNot(new, old)
                wait_until(lambda: new.set("k", f"new{i}").status == 200, 5 * SLOW, "written")
                for client in clients:  # these wait in the sockets of the paused node
                    client.connection.request("POST", "/read", compact("k"))
            finally:
                old.resume()
            for client in clients:
                response = client.connection.getresponse()
                body = response.read()
                self.assertIn(response.status, (200, 503, 504), body)
                if response.status == 200:
                    n_stale_chances += 1
                    self.assertEqual(body.strip(), compact({"Ok": f"new{i}"}).encode())
                client.close()
            cluster.wait_agreed()
        note(f"{n_stale_chances} of 48 reads answered with the new value, the rest refused")

    def test_leader_without_followers_answers_no_read(self):
        cluster = self.cluster_of(3, {"limits.request-timeout": "1s"})
        leader = cluster.leader()
        leader.set("k", "v")
        followers = cluster.followers()
        for node in followers:
            node.pause()
        try:
            for _ in range(3):
                self.assertIn(leader.read("k").status, (503, 504))
        finally:
            for node in followers:
                node.resume()
        wait_until(lambda: leader.read("k").status == 200, 5 * SLOW, "read again")

    def test_reads_just_after_a_restart_of_all_see_every_write(self):
        cluster = self.cluster_of(3)
        for i in range(4):
            for j in range(20):
                cluster.nodes[j % 3].set("k", f"{i}.{j}")
            cluster.kill_all()
            for node in cluster.nodes:
                node.spawn()
            for node in cluster.nodes:

                def asked():
                    answer = node.read("k")
                    self.assertIn(answer.status, (200, 503, 504))
                    return answer if answer.status == 200 else None

                self.assertRead(wait_until(asked, 10 * SLOW, "read"), f"{i}.19")


if __name__ == "__main__":
    unittest.main()
