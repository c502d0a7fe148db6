# SPDX-License-Identifier: MIT
"""crabclusterctl, for the tests that run it: the program beside the daemon, or what
$CRABCLUSTERCTL names; and a node that is none, which answers what a test wants."""

import http.server
import json
import os
import subprocess
import threading

from harness import DAEMON, SLOW

CTL = os.path.abspath(os.environ.get(
    "CRABCLUSTERCTL", os.path.join(os.path.dirname(DAEMON), "crabclusterctl")))

OK, FAILURE, USAGE, NOT_FOUND, CONDITION, UNREACHABLE, NOT_ALLOWED, UNKNOWN, UNHEALTHY = range(9)


class Done:
    """What a run came to."""

    def __init__(self, process):
        self.code, self.out, self.err = process.returncode, process.stdout, process.stderr

    @property
    def text(self):
        return self.out.decode()

    @property
    def said(self):
        return self.err.decode()

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        return [json.loads(line) for line in self.out.splitlines()]

    def __repr__(self):
        return f"status {self.code}, out {self.out[:300]!r}, err {self.err[:500]!r}"


def environment(nodes):
    env = {k: v for k, v in os.environ.items() if not k.startswith("CRABCLUSTER")}
    env["CRABCLUSTER_ENDPOINTS"] = ",".join(getattr(n, "bind", n) for n in nodes)
    env["PATH"] = os.path.dirname(DAEMON) + ":" + env["PATH"]  # for a client of another build
    for name in ("http_proxy", "all_proxy"):  # what heeds these reaches nobody
        env[name] = "http://127.0.0.1:9"
    return env


def ctl(nodes, *words, stdin=b"", limit_s=60):
    """Runs crabclusterctl with these nodes (or addresses) as its endpoints."""
    return Done(subprocess.run([CTL, *words], input=stdin, capture_output=True, check=False,
                               timeout=limit_s * SLOW, env=environment(nodes)))


class FakeNode:
    """Answers requests by a function: (method, path, headers, body) -> (status, value), or
    None to close the connection without an answer; (status, value, n) promises n bytes and
    closes the connection behind the value."""

    def __init__(self, answer):
        self.seen = []
        fake = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self):
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                fake.seen.append((self.command, self.path, dict(self.headers), body))
                result = answer(self.command, self.path, self.headers, body)
                if result is None:
                    self.close_connection = True
                    return
                status, value, *promised = result
                text = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(promised[0] if promised else len(text)))
                self.end_headers()
                self.wfile.write(text)
                self.close_connection = bool(promised)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.bind = f"127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def error(code, message, retryable=False):
    return {"error": {"code": code, "message": message, "retryable": retryable,
                      "request_id": "r", "details": {}}}
