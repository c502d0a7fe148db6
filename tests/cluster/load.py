# SPDX-License-Identifier: MIT
"""Traffic for the cluster tests: writers that remember what became of each
write, registers whose readers know what they must see, and a relay that cuts
connections between nodes at chosen moments."""

import http.client
import itertools
import socket
import threading
import time

from harness import REQUEST_S, SLOW, Client, ports

ERRORS = (OSError, http.client.HTTPException)


class Roaming:
    """A client that goes to the next address when a connection fails."""

    def __init__(self, addrs, first=0, timeout=None):
        self.addrs = addrs
        self.at = first % len(addrs)
        self.timeout = timeout
        self.client = Client(addrs[self.at], timeout)

    def move(self):
        self.client.close()
        self.at = (self.at + 1) % len(self.addrs)
        self.client = Client(self.addrs[self.at], self.timeout)

    def write(self, command):
        """("acked", answer), ("refused", ...): certainly not done, or ("unknown", ...)."""
        try:
            answer = self.client.post("/write", command)
        except ConnectionRefusedError as e:
            self.move()
            return "refused", e
        except ERRORS as e:
            self.move()
            return "unknown", e
        if answer.status == 200:
            return "acked", answer
        self.move()
        if answer.status in (503, 429):
            return "refused", answer
        return ("unknown" if answer.status == 504 else "error"), answer

    def close(self):
        self.client.close()


class Threads:
    """Threads that run until stop(); what one of them raises is kept for the test."""

    def __init__(self, n, body):
        self.stopping = threading.Event()
        self.raised = []
        self.threads = [threading.Thread(target=self._run, args=(body, i), daemon=True)
                        for i in range(n)]

    def _run(self, body, i):
        try:
            body(i)
        except Exception as e:  # for the test's thread to raise
            self.raised.append(e)
            self.stopping.set()

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def join(self, limit_s=REQUEST_S + 5):
        deadline = time.monotonic() + limit_s
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive():
                raise AssertionError(f"a client had not finished after {limit_s:g} s")
        if self.raised:
            raise self.raised[0]

    def stop(self):
        self.stopping.set()
        self.join()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


class Writers(Threads):
    """Each thread writes keys of its own, one after the other, until stop() or until
    `total` writes of all are acknowledged. No key is written twice."""

    runs = itertools.count(1)

    def __init__(self, nodes, n=8, total=None):
        super().__init__(n, self._write)
        self.addrs = [node.bind for node in nodes]
        self.total = total
        self.prefix = f"w{next(Writers.runs)}"
        self.lock = threading.Lock()
        self.acked = {}  # key: value
        self.refused = []  # keys
        self.unknown = {}

    def _write(self, i):
        client = Roaming(self.addrs, i)
        n = 0
        try:
            while not self.stopping.is_set():
                n += 1
                key, value = f"{self.prefix}/{i}/{n}", f"{n} of {self.prefix} {i}"
                outcome, answer = client.write({"Set": {"key": key, "value": value}})
                if outcome == "acked":
                    self._acknowledge(key, value)
                elif outcome == "refused":
                    self.refused.append(key)
                    time.sleep(0.01)
                elif outcome == "unknown":
                    self.unknown[key] = value
                else:
                    raise AssertionError(f"{client.client.addr}: {answer!r}")
        finally:
            client.close()

    def _acknowledge(self, key, value):
        with self.lock:
            self.acked[key] = value
            if self.total is not None and len(self.acked) >= self.total:
                self.stopping.set()

    def wait_acked(self, n, limit_s):
        """Until n writes are acknowledged; at once when a thread failed."""
        deadline = time.monotonic() + limit_s * SLOW
        while len(self.acked) < n and not self.raised:
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{len(self.acked)} of {n} writes acknowledged after {limit_s * SLOW:g} s")
            time.sleep(0.02)

    def wait_more(self, n, limit_s):
        self.wait_acked(len(self.acked) + n, limit_s)

    def check(self, nodes, n_threads=8):
        """Compares every key and value, spread over the nodes: what was acknowledged is
        there, what was refused is not, the rest is as written or absent. A list of
        what is wrong."""
        expected = [(k, (v,)) for k, v in self.acked.items()]
        expected += [(k, (None,)) for k in self.refused]
        expected += [(k, (None, v)) for k, v in self.unknown.items()]
        wrong = []

        def compare(i):
            with Client(nodes[i % len(nodes)].bind) as client:
                for key, values in expected[i::n_threads]:
                    found = read(client, key)
                    if found not in values:
                        wrong.append(f"{key} at {client.addr}: {found!r}, expected {values!r}")

        Threads(n_threads, compare).start().join((30 + len(expected) / 200) * SLOW)
        return wrong


def read(client, key):
    """The value or None; anything but 200 and 404 is an error."""
    answer = client.post("/read", key)
    if answer.status == 404:
        return None
    if answer.status != 200:
        raise AssertionError(f"reading {key} at {client.addr}: {answer!r}")
    return answer.json["Ok"]


class Register:
    """A counter that one writer sets to 1, 2, 3, ... and many read. `floor` is the
    highest value that some finished write or read has seen: a read that begins now
    must not see less. After a write of unknown outcome the writer goes on with a new
    key, because such a write may rightly take effect at any later time."""

    def __init__(self, name):
        self.name = name
        self.lock = threading.Lock()
        self.generation = 0
        self.key, self.floor, self.ceiling = f"{name}/0", 0, 0

    def begin_write(self):
        with self.lock:
            self.ceiling += 1
            return self.key, self.ceiling

    def end_write(self, value, outcome):
        with self.lock:
            if outcome == "acked":
                self.floor = max(self.floor, value)
            elif outcome == "refused":
                self.ceiling = value - 1
            else:
                self.generation += 1
                self.key = f"{self.name}/{self.generation}"
                self.floor = self.ceiling = 0

    def begin_read(self):
        with self.lock:
            return self.key, self.floor

    def end_read(self, key, floor, found):
        """What is wrong with the value found by a read that began at this floor; None."""
        with self.lock:
            if key != self.key:
                return None
            if not floor <= found <= self.ceiling:
                return f"{key}: read {found}, not within {floor}..{self.ceiling}"
            self.floor = max(self.floor, found)
            return None


class Registers(Threads):
    """Writers and readers of a few registers at all nodes. `wrong` must stay empty."""

    def __init__(self, nodes, n_registers=2, readers=4):
        super().__init__(n_registers + readers, self._body)
        self.addrs = [node.bind for node in nodes]
        self.registers = [Register(f"register{i}") for i in range(n_registers)]
        self.wrong = []
        self.n_writes = self.n_reads = self.n_unknown = self.n_no_answer = 0

    def _body(self, i):
        if i < len(self.registers):
            self._write(i)
        else:
            self._read(i)

    def _write(self, i):
        client, register = Roaming(self.addrs, i), self.registers[i]
        while not self.stopping.is_set():
            key, value = register.begin_write()
            outcome, answer = client.write({"Set": {"key": key, "value": str(value)}})
            if outcome == "error":
                raise AssertionError(f"{client.client.addr}: {answer!r}")
            register.end_write(value, outcome)
            self.n_writes += outcome == "acked"
            self.n_unknown += outcome == "unknown"
        client.close()

    def _read(self, i):
        client = Roaming(self.addrs, i)
        n = i
        while not self.stopping.is_set():
            n += 1
            register = self.registers[n % len(self.registers)]
            key, floor = register.begin_read()
            try:
                answer = client.client.post("/read", key)
            except ERRORS:
                answer = None
            if answer is None or answer.status in (503, 504):
                self.n_no_answer += 1
                client.move()
                continue
            if answer.status not in (200, 404):
                raise AssertionError(f"{client.client.addr}: {answer!r}")
            self.n_reads += 1
            found = int(answer.json["Ok"]) if answer.status == 200 else 0
            if wrong := register.end_read(key, floor, found):
                self.wrong.append(f"{client.client.addr}: {wrong}")
            if n % 16 == 0:
                client.move()  # every reader visits every node
        client.close()

    def wait_reads(self, n, limit_s):
        deadline = time.monotonic() + limit_s * SLOW
        goal = self.n_reads + n
        while self.n_reads < goal and not self.raised:
            if time.monotonic() > deadline:
                raise AssertionError(f"{goal - self.n_reads} reads missing after {limit_s} s")
            time.sleep(0.02)


class Relay:
    """Stands before a node: connections to its port are passed on to `target`. With
    `cut_every` n, each nth request for `path` is delivered, and a while after the node
    has answered, the connection is cut without a byte of the answer: the sender cannot
    know, and what it sends again comes when other things have happened."""

    def __init__(self, path="/raft-forward", cut_every=0, cut_delay_s=0.01):
        self.port = ports.take()
        self.addr = f"127.0.0.1:{self.port}"
        self.target = None  # "host:port", set before the first connection
        self.request_line = f"POST {path} ".encode()
        self.cut_every = cut_every
        self.cut_delay_s = cut_delay_s
        self.n_requests = self.n_cuts = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                host, port = self.target.rsplit(":", 1)
                server = socket.create_connection((host, int(port)), 5)
            except OSError:
                client.close()
                continue
            _Pair(self, client, server)

    def seen(self, data):
        """Whether the answer to the request in these bytes is to be cut off."""
        found = data.count(self.request_line)
        if not found:
            return False
        with self.lock:
            self.n_requests += found
            cut = self.cut_every and self.n_requests % self.cut_every == 0
            self.n_cuts += bool(cut)
        return cut


class _Pair:
    """Two sockets and the threads that pump bytes between them."""

    def __init__(self, relay, client, server):
        self.relay, self.client, self.server = relay, client, server
        self.cut = False
        for s in (client, server):
            s.settimeout(None)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=self._pump, args=(client, server, True), daemon=True).start()
        threading.Thread(target=self._pump, args=(server, client, False), daemon=True).start()

    def _pump(self, source, sink, requests):
        try:
            while data := source.recv(65536):
                if requests and self.relay.seen(data):
                    self.cut = True
                if not requests and self.cut:
                    time.sleep(self.relay.cut_delay_s)
                    break
                sink.sendall(data)
        except OSError:
            pass
        for s in (self.client, self.server):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()
