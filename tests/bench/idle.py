#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""usage: idle.py ADDR PATH N

Opens N connections, asks one GET on each, says "ready", and leaves them open and idle
until it is ended by a signal."""

import selectors
import signal
import socket
import sys


def main(addr, path, n):
    host, port = addr.rsplit(":", 1)
    request = f"GET {path} HTTP/1.1\r\nHost: {addr}\r\n\r\n".encode()
    connections = []
    for _ in range(n):
        s = socket.create_connection((host, int(port)), 10)
        s.sendall(request)
        if not s.recv(4096).startswith(b"HTTP/1.1 200"):
            sys.exit(f"connection {len(connections)}: not answered by 200")
        connections.append(s)
    print("ready", flush=True)
    with selectors.DefaultSelector() as selector:
        for s in connections:
            selector.register(s, selectors.EVENT_READ)
        closed = selector.select()
    sys.exit(f"{len(closed)} connections were closed or spoken on")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__.splitlines()[0])
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
