# SPDX-License-Identifier: MIT
"""crabclusterctl against nodes that fail in ways that real ones do seldom: what is sent
again and where, and which exit status says what came of it."""

import json
import os
import pty
import subprocess
import tempfile
import time

from ctl import (CONDITION, CTL, FAILURE, NOT_ALLOWED, NOT_FOUND, OK, UNHEALTHY, UNKNOWN,
                 UNREACHABLE, USAGE, FakeNode, ctl, environment, error)
from harness import SLOW, ClusterTest, ports

WRITTEN = {"key": "k", "revision": 7, "created": True}
NO_LEADER = (503, error("no_leader", "no leader", True))
TIMED_OUT = (504, error("outcome_unknown", "nobody knows"))


class FakeTest(ClusterTest):
    limit_s = 60

    def fake(self, *answers):
        """A node that gives these answers in turn, the last one for ever: (status, value), or
        None to cut the connection once the request is there."""
        left = list(answers)
        node = FakeNode(lambda *_: left.pop(0) if len(left) > 1 else left[0])
        self.addCleanup(node.close)
        return node

    def nobody(self):
        return f"127.0.0.1:{ports.take()}"

    def assertCode(self, done, code):
        self.assertEqual(done.code, code, done)
        return done

    def assertSameKey(self, *nodes):
        """All requests of these nodes carried one Idempotency-Key."""
        keys = [headers.get("Idempotency-Key") for node in nodes
                for _, _, headers, _ in node.seen]
        self.assertEqual(len(set(keys)), 1)
        self.assertTrue(keys[0])
        return len(keys)


class Retry(FakeTest):
    def test_nobody_at_the_first_the_second_answers(self):
        good = self.fake((201, WRITTEN))
        done = self.assertCode(ctl([self.nobody(), good], "put", "k", "v"), OK)
        self.assertEqual((done.out, done.said), (b"", "k created, revision 7\n"))
        self.assertEqual([(m, p, b) for m, p, _, b in good.seen], [("PUT", "/v1/kv/k", b"v")])

    def test_write_not_attempted_goes_elsewhere_even_without_a_key(self):
        busy, good = self.fake(NO_LEADER), self.fake((200, {"id": "x"}))
        self.assertCode(ctl([busy, good], "member", "add", "127.0.0.1:1"), OK)
        self.assertEqual((len(busy.seen), len(good.seen)), (1, 1))
        self.assertNotIn("Idempotency-Key", good.seen[0][2])

    def test_write_cut_off_is_sent_again_with_the_same_key(self):
        for words in (["put", "k", "v"], ["del", "k"], ["incr", "k"]):
            bad, good = self.fake(None), self.fake((200, {**WRITTEN, "value": "1"}))
            self.assertCode(ctl([bad, good], *words), OK)
            self.assertEqual(self.assertSameKey(bad, good), 2)

    def test_write_of_unknown_outcome_is_sent_again_until_it_is_settled(self):
        node = self.fake(None, TIMED_OUT, NO_LEADER, None, (200, {**WRITTEN, "created": False}))
        done = self.assertCode(ctl([node], "put", "k", "v"), OK)
        self.assertIn("replaced", done.said)
        self.assertEqual(self.assertSameKey(node), 5)

    def test_each_run_has_a_key_of_its_own(self):
        node = self.fake((200, WRITTEN))
        for _ in range(3):
            self.assertCode(ctl([node], "put", "k", "v"), OK)
        self.assertEqual(len({h["Idempotency-Key"] for _, _, h, _ in node.seen}), 3)

    def test_condition_settles_what_was_unknown(self):
        node = self.fake(None, (412, error("revision_mismatch", "the key has revision 9")))
        self.assertCode(ctl([node], "put", "--if-revision", "7", "k", "v"), CONDITION)
        self.assertEqual(node.seen[0][2]["If-Match"], '"7"')

    def test_refusal_before_the_log_does_not_settle_what_was_unknown(self):
        node = self.fake(None, (429, error("overloaded", "later", True)))
        done = self.assertCode(ctl([node], "--timeout", "1s", "put", "k", "v"), UNKNOWN)
        self.assertIn("whether it was done is not known", done.said)

    def test_write_without_a_key_is_never_sent_twice(self):
        for answer in (None, TIMED_OUT):
            bad, other = self.fake(answer), self.fake((200, {}))
            self.assertCode(ctl([bad, other], "member", "add", "127.0.0.1:1"), UNKNOWN)
            self.assertEqual((len(bad.seen), len(other.seen)), (1, 0))

    def test_read_goes_on_to_the_next_whatever_happened(self):
        for answer in (None, TIMED_OUT, NO_LEADER):
            bad, good = self.fake(answer), self.fake((200, b"the value\0\xff"))
            done = self.assertCode(ctl([bad, good], "get", "k"), OK)
            self.assertEqual((done.out, done.err), (b"the value\0\xff", b""))

    def test_answer_that_says_no_is_not_asked_for_elsewhere(self):
        bad, other = self.fake((404, error("key_not_found", "no"))), self.fake((200, b"v"))
        self.assertCode(ctl([bad, other], "get", "k"), NOT_FOUND)
        self.assertEqual(len(other.seen), 0)

    def test_timeout_is_the_daemons_and_a_silent_node_is_left(self):
        silent = FakeNode(lambda *_: time.sleep(20 * SLOW))
        self.addCleanup(silent.close)
        good = self.fake((200, b"v"))
        begin = time.monotonic()
        self.assertCode(ctl([silent, good], "--timeout", "500ms", "get", "k"), OK)
        self.assertLess(time.monotonic() - begin, 8 * SLOW)
        self.assertEqual(good.seen[0][1], "/v1/kv/k?timeout=500ms")


class ExitStatus(FakeTest):
    def test_every_status_of_an_answer_has_its_exit_status(self):
        cases = [((404, error("key_not_found", "no key")), NOT_FOUND),
                 ((412, error("revision_mismatch", "no match")), CONDITION),
                 ((403, error("forbidden", "not you")), NOT_ALLOWED),
                 ((401, error("unauthenticated", "who")), NOT_ALLOWED),
                 ((400, error("bad_request", "what")), FAILURE),
                 ((409, error("conflict", "no number")), FAILURE),
                 ((413, error("too_large", "large")), FAILURE),
                 ((507, error("disk_full", "full")), FAILURE),
                 (NO_LEADER, UNREACHABLE)]
        for answer, code in cases:
            done = self.assertCode(ctl([self.fake(answer)], "put", "k", "v"), code)
            message = answer[1]["error"]["message"]
            self.assertEqual((done.out, done.said), (b"", f"crabclusterctl: {message}\n"))

    def test_nobody_to_be_reached_is_5(self):
        for words in (["get", "k"], ["put", "k", "v"], ["status"], ["ls"], ["bench"],
                      ["member", "list"], ["init"], ["export"]):
            done = self.assertCode(ctl([self.nobody()], *words), UNREACHABLE)
            self.assertEqual(done.out, b"", words)
            self.assertEqual(len(done.said.splitlines()), 1, words)

    def test_unknown_outcome_is_7(self):
        begin = time.monotonic()
        self.assertCode(ctl([self.fake(None)], "--timeout", "1s", "put", "k", "v"), UNKNOWN)
        self.assertLess(time.monotonic() - begin, 10 * SLOW)

    def test_unhealthy_cluster_is_8(self):
        status = {"healthy": False, "failure_tolerance": 0, "members": [], "problems": []}
        self.assertCode(ctl([self.fake((200, status))], "status"), UNHEALTHY)
        self.assertCode(ctl([self.fake((200, {**status, "healthy": True}))], "status"), OK)

    def test_wrong_command_line_is_2_and_sends_nothing(self):
        node = self.fake((200, b""))
        for words in ([], ["get"], ["get", "a", "b"], ["frobnicate"], ["get", "k", "--if-absent"],
                      ["put", "k", "v", "--if-revision", "x"], ["del"], ["del", "k", "--all"],
                      ["del", "--prefix", ""], ["get", ""], ["get", "x" * 512],
                      ["get", "--key-b64", "!"], ["incr", "k", "1.5"], ["ls", "--limit", "0"],
                      ["get", "k", "--consistency", "maybe"], ["get", "k", "--timeout", "5"],
                      ["put", "k", "v", "--if-absent", "--if-revision", "1"],
                      ["put", "k", "v", "--file", "f"], ["bench", "--mix", "sing=1"],
                      ["recover", "d", "--curl"], ["completion", "zsh"],
                      ["member", "add"], ["--endpoints", "nonsense", "get", "k"]):
            done = self.assertCode(ctl([node], *words), USAGE)
            self.assertEqual(done.out, b"", words)
            self.assertEqual(len(done.said.splitlines()), 1, words)
        self.assertCode(ctl([node, node], "init"), USAGE)
        self.assertEqual(node.seen, [])

    def test_answer_that_is_no_json_is_a_failure_not_a_crash(self):
        for body in (b"", b"<html>", b"[]", b"{", b"17"):
            for words in (["status"], ["member", "list"], ["leader", "show"]):
                done = ctl([self.fake((200, body))], *words)
                self.assertIn(done.code, (OK, FAILURE, UNREACHABLE, UNHEALTHY), (words, body))
            for words in (["put", "k", "v"], ["incr", "k"], ["del", "k"], ["del", "--all"],
                          ["ls"], ["export"]):
                done = ctl([self.fake((200, body))], *words)
                self.assertIn(done.code, (OK, FAILURE), (words, body, done))

    def test_output_that_cannot_be_written_is_a_failure(self):
        node = self.fake((200, b"x" * 100000))
        with open("/dev/full", "wb") as full:
            process = subprocess.run([CTL, "get", "k"], stdout=full, stderr=subprocess.PIPE,
                                     env=environment([node]), timeout=20 * SLOW, check=False)
        self.assertEqual(process.returncode, FAILURE)
        self.assertIn(b"cannot write", process.stderr)


class Output(FakeTest):
    MEMBERS = {"members": [{"id": "a", "addr": "h:1", "role": "voter", "leader": False}]}

    def on_terminal(self, nodes, *words, **more):
        """Standard output as a terminal got it."""
        outer, inner = pty.openpty()
        env = {**environment(nodes), "TERM": "xterm", **more}
        env = {k: v for k, v in env.items() if v is not None}
        process = subprocess.Popen([CTL, *words], stdin=subprocess.DEVNULL, stdout=inner,
                                   stderr=inner, env=env)
        process.wait(20 * SLOW)
        os.close(inner)
        text = b""
        try:
            while chunk := os.read(outer, 65536):
                text += chunk
        except OSError:
            pass
        os.close(outer)
        return text.decode()

    def test_table_has_colours_on_a_terminal_and_nowhere_else(self):
        node = self.fake((200, self.MEMBERS))
        words = ["member", "list"]
        self.assertIn("\033[1m", self.on_terminal([node], *words, NO_COLOR=None))
        self.assertIn("\033[1m", self.on_terminal([node], *words, NO_COLOR=""))
        for setting in ({"NO_COLOR": "1"}, {"TERM": "dumb", "NO_COLOR": None}):
            text = self.on_terminal([node], *words, **setting)
            self.assertIn("voter", text)
            self.assertNotIn("\033", text)
        self.assertNotIn(b"\033", ctl([node], *words).out)

    def test_long_work_shows_how_far_it_is_on_a_terminal_only(self):
        slow = FakeNode(lambda *_: (time.sleep(0.02), (201, WRITTEN))[1])
        self.addCleanup(slow.close)
        with tempfile.NamedTemporaryFile() as f:
            f.write(b'{"key":"a","value":"1"}\n' * 12)
            f.flush()
            words = ["import", "--clients", "1", f.name]
            self.assertRegex(self.on_terminal([slow], *words), r"\rimport \[#+\.+\] +\d+%")
            self.assertNotIn("\r", self.on_terminal([slow], "--quiet", *words))
            self.assertEqual(ctl([slow], *words).said, "12 keys stored\n")
        words = ["bench", "--duration", "900ms", "--clients", "2"]
        self.assertRegex(self.on_terminal([slow], *words), r"\r +0\.\d s +[\d,]+/s +p50 ")
        self.assertNotIn(b"\r", ctl([slow], *words).err)

    def test_quiet_leaves_results_and_errors(self):
        good = self.fake((200, {**WRITTEN, "value": "4"}))
        for words, out in ((["put", "k", "v"], b""), (["incr", "k"], b"4\n"), (["del", "k"], b"")):
            done = self.assertCode(ctl([good], "--quiet", *words), OK)
            self.assertEqual((done.out, done.err), (out, b""))
        bad = self.fake((404, error("key_not_found", "no key")))
        self.assertEqual(ctl([bad], "--quiet", "get", "k").said, "crabclusterctl: no key\n")

    def test_curl_prints_and_sends_nothing(self):
        node = self.fake((200, b""))
        for words in (["get", "k"], ["put", "k", "v"], ["put", "k"], ["del", "k"], ["incr", "k"],
                      ["ls"], ["status"], ["member", "list"], ["init"], ["export"],
                      ["snapshot", "save", "/nowhere/f"], ["leader", "transfer"],
                      ["member", "add", "h:1"], ["del", "--all"]):
            done = self.assertCode(ctl([node], "--curl", *words), OK)
            self.assertRegex(done.text, r"\Acurl -sS [^\n]*\n\Z", words)
            self.assertIn(f"http://{node.bind}/", done.text)
        imported = ctl([node], "--curl", "import", stdin=b'{"key":"a","value":"1"}\n'
                       b'{"key_b64":"AP8=","value_b64":"AP8="}\n')
        self.assertEqual(len(imported.text.splitlines()), 2, imported)
        self.assertEqual(node.seen, [])

    def test_curl_line_about_a_member_finds_out_its_id(self):
        found = "6fa459ea-ee8a-4ca4-894e-db77e160355e"
        node = self.fake((200, {"members": [{"id": found, "addr": "h:1", "role": "voter"}]}))
        for name in ("h:1", found[:8]):
            done = self.assertCode(ctl([node], "--curl", "member", "remove", name), OK)
            self.assertEqual(done.text, "curl -sS -g -X DELETE "
                                        f"http://{node.bind}/v1/members/{found}\n")
        self.assertEqual({(method, path) for method, path, _, _ in node.seen},
                         {("GET", "/v1/members")})

    def test_content_type_of_several_lines_is_never_sent(self):
        node = self.fake((200, b"{}"))
        evil = "text/plain\r\nContent-Length: 0\r\n\r\nDELETE /v1/kv?prefix=&confirm=all HTTP/1.1"
        self.assertCode(ctl([node], "put", "k", "v", "--content-type", evil), USAGE)
        line = json.dumps({"key": "k", "value": "v", "content_type": evil}).encode() + b"\n"
        done = self.assertCode(ctl([node], "import", stdin=line), FAILURE)
        self.assertIn("line 1: content_type", done.said)
        self.assertCode(ctl([node], "--curl", "import", stdin=line), FAILURE)
        self.assertEqual(node.seen, [])

    def test_flag_wins_over_the_environment(self):
        good = self.fake((200, b"v"))
        self.assertCode(ctl([self.nobody()], "get", "k", "--endpoints", good.bind), OK)
        self.assertCode(ctl([self.nobody()], f"--endpoints=http://{good.bind}/", "get", "k"), OK)

    def test_help_and_version_need_no_node(self):
        self.assertIn("usage: crabclusterctl", self.assertCode(ctl([], "--help"), OK).text)
        self.assertIn("--if-absent", self.assertCode(ctl([], "put", "--help"), OK).text)
        self.assertRegex(self.assertCode(ctl([], "--version"), OK).text,
                         r"\Acrabclusterctl \d+\.\d+\.\d+\n\Z")


class Export(FakeTest):
    LINE = b'{"key":"a","value":"1"}\n'

    def test_list_that_is_not_whole_is_a_failure_and_leaves_no_file(self):
        last = json.dumps(error("too_slow", "the reader was too slow")).encode() + b"\n"
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "export")
            for answer in ((200, self.LINE + last), (200, self.LINE, 1000)):
                node, other = self.fake(answer), self.fake((200, self.LINE))
                for words in (["export", path], ["ls"]):
                    done = self.assertCode(ctl([node, other], *words), FAILURE)
                    self.assertEqual(len(done.said.splitlines()), 1, done)
                self.assertEqual((os.listdir(directory), other.seen), ([], []))
            self.assertIn("too slow", ctl([self.fake((200, last))], "export").said)
            self.assertCode(ctl([self.fake((200, self.LINE))], "export", path), OK)
            with open(path, "rb") as f:
                self.assertEqual(f.read(), self.LINE)


class Import(FakeTest):
    def test_import_goes_on_over_failures_and_stores_each_line(self):
        node = self.fake(NO_LEADER, None, TIMED_OUT, (201, WRITTEN))
        lines = b"".join(b'{"key":"k%d","value":"%d"}\n' % (i, i) for i in range(20))
        done = self.assertCode(ctl([node], "import", stdin=lines), OK)
        self.assertEqual(done.said, "20 keys stored\n")
        self.assertEqual({(p, b) for _, p, _, b in node.seen},
                         {(f"/v1/kv/k{i}", b"%d" % i) for i in range(20)})

    def test_import_of_one_key_twice_keeps_the_order(self):
        order = []

        def answer(_method, _path, _headers, body):
            time.sleep(0.03 * (8 - int(body)))  # all at once would end the other way round
            order.append(body)
            return 200, WRITTEN

        node = FakeNode(answer)
        self.addCleanup(node.close)
        lines = b"".join(b'{"key":"same","value":"%d"}\n' % i for i in range(8))
        self.assertCode(ctl([node], "import", stdin=lines), OK)
        self.assertEqual(order, [b"%d" % i for i in range(8)])

    def test_import_names_the_line_that_is_wrong(self):
        node = self.fake((201, WRITTEN))
        for line in (b"nonsense", b'{"key":"a"}', b'{"value":"a"}', b'{"key":"","value":""}',
                     b'{"key_b64":"!","value":""}', b'{"key":7,"value":""}', b"[]", b"null"):
            done = self.assertCode(ctl([node], "import",
                                       stdin=b'{"key":"a","value":"1"}\n\n' + line + b"\n"), FAILURE)
            self.assertIn("line 3: ", done.said, line)
        large = self.fake((413, error("too_large", "the value is too large")))
        done = self.assertCode(ctl([large], "import", stdin=b'{"key":"a","value":"1"}\n'), FAILURE)
        self.assertIn("line 1: the value is too large", done.said)

    def test_import_if_absent_counts_what_was_there(self):
        node = self.fake((201, WRITTEN), (412, error("revision_mismatch", "there")))
        lines = b'{"key":"a","value":"1"}\n' * 3
        done = self.assertCode(ctl([node], "import", "--if-absent", stdin=lines), OK)
        self.assertEqual(done.said, "1 key stored, 2 there already\n")
