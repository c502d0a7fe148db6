#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""usage: next_write.py PID METHOD PATH BODY ADDR...

Kills the process (the leader of a cluster under load) and prints after how many
milliseconds the first write was acknowledged that was begun after that. Every 10 ms
another write begins, at the next of the addresses and on a connection of its own, so
that neither a write that waits for its timeout nor one that was refused too early
counts against the system."""

import asyncio
import os
import signal
import sys
import time

EVERY_S = 0.01
LIMIT_S = 30


async def write(addr, request, done):
    host, port = addr.rsplit(":", 1)
    try:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request)
        status = (await reader.readline()).split()
        writer.close()
    except OSError:
        return
    if len(status) > 1 and status[1] in (b"200", b"201"):
        done.set()


async def main(pid, method, path, body, addrs):
    request = (f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
               "Content-Type: application/x-www-form-urlencoded\r\n"
               f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}").encode()
    done, tasks = asyncio.Event(), []
    os.kill(pid, signal.SIGKILL)
    begin = time.monotonic()
    while time.monotonic() < begin + LIMIT_S:
        tasks.append(asyncio.create_task(write(addrs[len(tasks) % len(addrs)], request, done)))
        try:
            await asyncio.wait_for(done.wait(), EVERY_S)
        except asyncio.TimeoutError:
            continue
        print(round((time.monotonic() - begin) * 1000))
        return 0
    print(f"no write in {LIMIT_S} s", file=sys.stderr)
    return 1


if __name__ == "__main__":
    if len(sys.argv) < 6:
        sys.exit(__doc__.splitlines()[0])
    sys.exit(asyncio.run(main(int(sys.argv[1]), *sys.argv[2:5], sys.argv[5:])))
