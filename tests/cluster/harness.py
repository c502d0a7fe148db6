# SPDX-License-Identifier: MIT
"""Real daemons on loopback, for the cluster tests: start, kill, pause and wipe
nodes, form clusters by the same requests an operator would send, ask them by
HTTP. Only the standard library is used. Every wait is bounded, and whatever was
started is ended by its process id, also when the run is interrupted.

Environment:
  CRABCLUSTER                the daemon under test (default: ./crabcluster)
  CRABCLUSTER_TEST_SLOW      factor for all time limits (sanitizers, valgrind); default 1
  CRABCLUSTER_TEST_PORTS     ports to choose from, "20000-29999"
  CRABCLUSTER_TEST_KEEP      set: keep the temporary directories
  CRABCLUSTER_TEST_LARGE     set: also the test of a backup of a gibibyte
  VALGRIND                   1: also the tests that run a node under valgrind
"""

import atexit
import http.client
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

SLOW = float(os.environ.get("CRABCLUSTER_TEST_SLOW", "1"))
DAEMON = os.path.abspath(os.environ.get("CRABCLUSTER", "./crabcluster"))
START_S = 10 * SLOW  # until a node answers at all
STOP_S = 2 * SLOW  # SIGTERM to exit
LEADER_S = 10 * SLOW  # until a leader is known; the tests proper measure shorter times
REQUEST_S = 15 * SLOW  # a client's patience; above the daemon's request-timeout of 5 s
TAIL_LINES = 30

live_nodes = []  # every node whose directory still exists, for print_tails()


# ---- HTTP ----


class Answer:
    """Status, headers (looked up without regard to case) and body of one answer."""

    def __init__(self, status, headers, body):
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def text(self):
        return self.body.decode("utf-8", "replace").strip()

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f"{self.status} {self.text[:500]}"


class Client:
    """One kept-alive connection. After any error the next request opens a new one;
    nothing is ever sent twice by itself."""

    def __init__(self, addr, timeout=None):
        self.addr = addr
        host, port = addr.rsplit(":", 1)
        self.connection = http.client.HTTPConnection(
            host, int(port), timeout=REQUEST_S if timeout is None else timeout
        )

    def request(self, method, path, body=None, headers=None):
        """body: bytes, or text that is sent as UTF-8."""
        if isinstance(body, str):
            body = body.encode()
        try:
            self.connection.request(method, path, body, headers or {})
            response = self.connection.getresponse()
            data = response.read()
        except BaseException:
            self.connection.close()
            raise
        return Answer(response.status, response.headers, data)

    def post(self, path, value):
        return self.request("POST", path, compact(value))

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def compact(value):
    """JSON as the daemon writes it: no blanks, members in the order given."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def request(addr, method, path, body=None, headers=None, timeout=None):
    """One request on a connection of its own."""
    with Client(addr, timeout) as client:
        return client.request(method, path, body, headers)


def raw_exchange(addr, data, timeout=5 * SLOW):
    """Sends bytes as they are and returns what comes back until the other side
    closes or is silent for the time given."""
    host, port = addr.rsplit(":", 1)
    received = b""
    with socket.create_connection((host, int(port)), timeout) as s:
        try:
            s.sendall(data)
            while chunk := s.recv(65536):
                received += chunk
        except (TimeoutError, ConnectionError):
            pass
    return received


def asan_options(more):
    """For the wrapper of a node, of interest under the address sanitizer only: options
    beside those of the environment."""
    return "ASAN_OPTIONS=" + ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), more]))


# ---- ports and waiting ----


class Ports:
    """Ports below the range of outgoing connections. A port is reserved against
    other runs on this machine by an abstract unix socket, which the kernel drops
    with this process, and tried before it is given out."""

    def __init__(self):
        first, last = os.environ.get("CRABCLUSTER_TEST_PORTS", "20000-29999").split("-")
        numbers = range(int(first), int(last) + 1)
        start = (os.getpid() * 37) % len(numbers)
        self.candidates = itertools.chain(numbers[start:], numbers[:start])
        self.reservations = []

    def take(self):
        for port in self.candidates:
            reservation = socket.socket(socket.AF_UNIX)
            try:
                reservation.bind(f"\0crabcluster-test-port-{port}")
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(("127.0.0.1", port))
            except OSError:
                reservation.close()
                continue
            self.reservations.append(reservation)
            return port
        raise RuntimeError("no free port is left in CRABCLUSTER_TEST_PORTS")


ports = Ports()


def wait_until(question, limit_s, what, pause_s=0.02):
    """Asks until the answer is true, and returns it. Errors of connections count as no."""
    deadline = time.monotonic() + limit_s
    while True:
        try:
            answer = question()
        except (OSError, http.client.HTTPException):
            answer = None
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {limit_s:g} s: {what}")
        time.sleep(pause_s)


def note(text):
    """A line of information among the results."""
    print(f"    {text}", flush=True)


# ---- nodes ----


def config_text(options):
    """{"raft.heartbeat-interval": "50ms"} as the text of a crabcluster.conf."""
    lines, sections = [], {}
    for name, value in options.items():
        section, _, option = name.rpartition(".")
        sections.setdefault(section, []).append(f"{option} = {value}")
    lines += sections.pop("", [])
    for section, options_within in sections.items():
        lines += [f"{section} {{", *options_within, "}"]
    return "\n".join(lines) + "\n"


class Node:
    """One daemon with its directory, configuration file, log and address."""

    def __init__(self, directory, name, options=None, port=None, advertise=None, wrapper=()):
        self.directory = os.path.join(directory, name)
        os.makedirs(self.directory)
        self.name = name
        self.port = port or ports.take()
        self.bind = f"127.0.0.1:{self.port}"
        self.addr = advertise or self.bind  # where other nodes find it
        self.data_dir = os.path.join(self.directory, "data")
        self.config_file = os.path.join(self.directory, "crabcluster.conf")
        self.log_file = os.path.join(self.directory, "log")
        self.options = dict(options or {})
        self.wrapper = list(wrapper)
        self.process = None
        self.paused = False
        self.known_id = None
        live_nodes.append(self)

    # -- life --

    def command(self):
        command = [*self.wrapper, DAEMON, "--config", self.config_file]
        command += ["--bind-addr", self.bind, "--data-dir", self.data_dir]
        if self.addr != self.bind:
            command += ["--advertise-addr", self.addr]
        return command

    def environment(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("CRABCLUSTER")}
        env["HOME"] = env["XDG_STATE_HOME"] = self.directory
        # A daemon that heeded these could not reach its peers.
        for name in ("http_proxy", "https_proxy", "all_proxy", "ALL_PROXY"):
            env[name] = "http://127.0.0.1:9"
        return env

    def write_config(self):
        with open(self.config_file, "w", encoding="utf-8") as f:
            f.write(config_text(self.options))

    def spawn(self, command=None):
        """Starts the process without waiting for anything."""
        assert self.process is None, f"{self.name} runs already"
        self.write_config()
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                command or self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self.environment(),
                cwd=self.directory,
            )
        return self

    def start(self, command=None):
        """Starts and waits until the node answers, which needs no quorum."""
        self.spawn(command)

        def answers():
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.process.returncode} at start")
            return self.request("GET", "/get-id", timeout=1 * SLOW).status == 200

        wait_until(answers, START_S, f"{self.name} answers")
        self.known_id = None
        return self

    def kill(self):
        """SIGKILL, and waits for the end of the process."""
        self.process.kill()
        self._ended(5 * SLOW)

    def terminate(self):
        """SIGTERM without waiting; finish() is the other half."""
        self.process.terminate()

    def finish(self, limit_s=STOP_S, expect=0):
        """Waits for the end after terminate(); returns how long that took."""
        begin = time.monotonic()
        code = self._ended(limit_s)
        if code != expect:
            raise AssertionError(f"{self.name} ended with {code}, not {expect}")
        return time.monotonic() - begin

    def stop(self, limit_s=STOP_S, expect=0):
        self.terminate()
        return self.finish(limit_s, expect)

    def restart(self):
        return self.start()

    def pause(self):
        """SIGSTOP, and waits until no thread runs any more: on a busy machine that takes
        a while after the signal."""
        self.process.send_signal(signal.SIGSTOP)
        self.paused = True
        wait_until(self._is_stopped, 5 * SLOW, f"{self.name} is stopped", pause_s=0.001)

    def _is_stopped(self):
        tasks = f"/proc/{self.process.pid}/task"
        for task in os.listdir(tasks):
            with open(f"{tasks}/{task}/stat", encoding="utf-8") as f:
                if f.read().rpartition(")")[2].split()[0] != "T":
                    return False
        return True

    def resume(self):
        self.process.send_signal(signal.SIGCONT)
        self.paused = False

    def wipe(self):
        """Loses the disk of a stopped node."""
        assert self.process is None
        shutil.rmtree(self.data_dir, ignore_errors=True)
        self.known_id = None

    def running(self):
        return self.process is not None and not self.paused

    def close_begin(self):
        """Asks the process to end; says what is wrong, or None. close_end() follows."""
        if self.process is None:
            return None
        if self.process.poll() is not None:
            return f"{self.name} had ended by itself with {self._ended(1)}"
        self.process.terminate()
        if self.paused:
            self.resume()
        return None

    def close_end(self):
        if self.process is None:
            return None
        try:
            code = self._ended(5 * STOP_S)
        except AssertionError as e:
            self.kill()
            return str(e)
        return f"{self.name} ended with {code} on SIGTERM" if code != 0 else None

    def _ended(self, limit_s):
        try:
            code = self.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} had not ended after {limit_s:g} s") from None
        self.process = None
        self.paused = False
        return code

    # -- requests --

    def request(self, method, path, body=None, headers=None, timeout=None):
        return request(self.bind, method, path, body, headers, timeout)

    def client(self, timeout=None):
        return Client(self.bind, timeout)

    def post(self, path, value, timeout=None):
        return self.request("POST", path, compact(value), timeout=timeout)

    def set(self, key, value, timeout=None):
        return self.post("/write", {"Set": {"key": key, "value": value}}, timeout)

    def delete(self, key, timeout=None):
        return self.post("/write", {"Delete": {"key": key}}, timeout)

    def read(self, key, timeout=None):
        return self.post("/read", key, timeout)

    def metrics(self):
        return self.request("GET", "/metrics", timeout=5 * SLOW).json["Ok"]

    @property
    def id(self):
        if self.known_id is None:
            self.known_id = self.request("GET", "/get-id").json
        return self.known_id

    def log_text(self):
        with open(self.log_file, encoding="utf-8", errors="replace") as f:
            return f.read()


class Cluster:
    """Nodes in one temporary directory. close() ends them all, and complains when
    one did not end with status 0."""

    def __init__(self, n, options=None):
        self.directory = tempfile.mkdtemp(prefix="crabcluster-test-")
        self.options = dict(options or {})
        self.nodes = []
        for _ in range(n):
            self.add_node()

    def add_node(self, **arguments):
        """A further node, not started and not a member yet."""
        arguments["options"] = {**self.options, **arguments.get("options", {})}
        node = Node(self.directory, f"node{len(self.nodes) + 1}", **arguments)
        self.nodes.append(node)
        return node

    def start(self):
        for node in self.nodes:
            node.start()
        return self

    def form(self, nodes=None):
        """The manual way: init, get-id, add-learner, change-membership."""
        first, *others = nodes or self.nodes
        expect(first.request("GET", "/init"), 200, {"Ok": "Initialized"})
        for node in others:
            expect(first.post("/add-learner", [node.id, node.addr]), 200, {"Ok": "Added"})
        if others:
            ids = [node.id for node in (first, *others)]
            expect(first.post("/change-membership", ids), 200, {"Ok": "Changed"})
        self.wait_agreed()
        return self

    @classmethod
    def formed(cls, n, options=None):
        cluster = cls(n, options)
        try:
            return cluster.start().form()
        except BaseException:
            print_tails()
            cluster.close(quietly=True)
            raise

    def running(self):
        return [node for node in self.nodes if node.running()]

    def leader_now(self):
        """The node that leads by the word of most running members; None."""
        by_id, votes = {}, {}
        for node in self.running():
            metrics = node.metrics()
            by_id[metrics["id"]] = (node, metrics["state"])
            votes[metrics["current_leader"]] = votes.get(metrics["current_leader"], 0) + 1
        leader = max(votes, key=votes.get, default=None)
        node, state = by_id.get(leader, (None, None))
        return node if state == "Leader" else None

    def leader(self):
        return wait_until(self.leader_now, LEADER_S, "there is a leader")

    def followers(self):
        leader = self.leader()
        return [node for node in self.running() if node is not leader]

    def wait_agreed(self, nodes=None, limit_s=LEADER_S):
        """Until all these nodes follow one leader and have applied the same index."""
        nodes = nodes or self.running()

        def agreed():
            seen = [node.metrics() for node in nodes]
            leaders = {m["current_leader"] for m in seen}
            applied = {json.dumps(m["last_applied"]) for m in seen}
            return len(leaders) == 1 and None not in leaders and len(applied) == 1

        wait_until(agreed, limit_s, "all nodes agree")

    def kill_all(self):
        """SIGKILL to all at once, then waits."""
        running = [node for node in self.nodes if node.process is not None]
        for node in running:
            node.process.kill()
        for node in running:
            node.kill()

    def close(self, quietly=False):
        complaints = [node.close_begin() for node in self.nodes]  # side by side
        complaints += [node.close_end() for node in self.nodes]
        complaints = [c for c in complaints if c]
        if complaints and not quietly:
            print_tails(self.nodes)
        for node in self.nodes:
            live_nodes.remove(node)
        self.nodes = []
        if "CRABCLUSTER_TEST_KEEP" in os.environ:
            note(f"kept: {self.directory}")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)
        if complaints and not quietly:
            raise AssertionError("; ".join(complaints))


def expect(answer, status, value):
    """Status and JSON value, for the harness itself; tests have their assertions."""
    if answer.status != status or answer.json != value:
        raise AssertionError(f"expected {status} {compact(value)}, got {answer!r}")


def print_tails(nodes=None):
    """The last lines of each live node's log."""
    for node in nodes or live_nodes:
        try:
            lines = node.log_text().splitlines()
        except OSError:
            continue
        print(f"--- {node.name} {node.bind}: last of {len(lines)} lines of its log", flush=True)
        for line in lines[-TAIL_LINES:]:
            print(f"    {line[:300]}", flush=True)


@atexit.register
def _kill_leftovers():
    for node in live_nodes:
        if node.process is not None and node.process.poll() is None:
            node.process.kill()
            node.process.wait(5)


def _interrupted(number, _frame):
    sys.exit(128 + number)  # runs the function above


signal.signal(signal.SIGTERM, _interrupted)
signal.signal(signal.SIGHUP, _interrupted)


# ---- tests ----


class TimeLimit(AssertionError):
    pass


class ClusterTest(unittest.TestCase):
    """A test with a time limit that makes clusters as it likes."""

    limit_s = 60

    def run(self, result=None):
        def over(_number, _frame):
            raise TimeLimit(f"the test took more than {self.limit_s * SLOW:g} s")

        signal.signal(signal.SIGALRM, over)
        signal.setitimer(signal.ITIMER_REAL, self.limit_s * SLOW)
        try:
            return super().run(result)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def cluster_of(self, n, options=None):
        """n members with a leader."""
        cluster = Cluster.formed(n, options)
        self.addCleanup(cluster.close)
        return cluster

    def loose_nodes(self, n, options=None):
        """n nodes that were started and belong to no cluster."""
        cluster = Cluster(n, options)
        self.addCleanup(cluster.close)
        return cluster.start().nodes

    # -- assertions --

    def assertAnswer(self, answer, status, value):
        """Exact status and exact text: members in the documented order, no blanks."""
        self.assertEqual((answer.status, answer.text), (status, compact(value)))
        self.assertIn("application/json", answer.headers.get("Content-Type", ""))

    def assertWritten(self, answer, value):
        """The answer of /write, with the value expected; returns the log index."""
        self.assertEqual(answer.status, 200, answer)
        log_id = answer.json["Ok"]["log_id"]
        expected = {"Ok": {"log_id": log_id, "data": {"value": value}, "membership": None}}
        self.assertEqual(answer.text, compact(expected))
        self.assertLogId(log_id)
        return log_id["index"]

    def assertLogId(self, log_id):
        self.assertEqual(list(log_id), ["leader_id", "index"])
        self.assertEqual(list(log_id["leader_id"]), ["term", "node_id"])
        self.assertGreater(log_id["index"], 0)

    def assertRead(self, answer, value):
        self.assertAnswer(answer, 200, {"Ok": value})

    def assertMissing(self, answer):
        self.assertAnswer(answer, 404, {"Err": "KeyNotFound"})

    def assertBadRequest(self, answer):
        """400 {"Err":{"BadRequest":"…"}} with a text, which is returned."""
        return self.assertRefused(answer, 400, "BadRequest")

    def assertTooLarge(self, answer):
        return self.assertRefused(answer, 413, "TooLarge")

    def assertRefused(self, answer, status, name):
        self.assertEqual(answer.status, status, answer)
        self.assertEqual(list(answer.json), ["Err"])
        self.assertEqual(list(answer.json["Err"]), [name])
        text = answer.json["Err"][name]
        self.assertTrue(text and isinstance(text, str))
        return text
