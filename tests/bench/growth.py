# SPDX-License-Identifier: MIT
"""The cost as the work grows: writes and linearizable reads by /v1 at the leader of a
cluster on this machine, with more keys, larger values, more nodes, more connections;
as a table and, with gnuplot, as a picture.

Where nothing else is said: three nodes, 100,000 keys, values of 32 bytes, 64
connections, everything else as by default. The load (wrk) runs on the same machine, so
that 7 nodes share its cores: what a row has lost to the one before it counts, absolute
figures do not. Processor time is that of all nodes together for one request, the load
not counted; memory is the anonymous memory of the leader.

Run it in the build directory, or name the daemon by CRABCLUSTER. Needs wrk and `make
tests/bench/load`, gnuplot (Debian: gnuplot-nox) for the picture, 8 GB of disk below
$TMPDIR; ten minutes on a machine that does nothing else."""

import argparse
import glob
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cluster"))
sys.dont_write_bytecode = True

from harness import DAEMON, Cluster, print_tails  # noqa: E402

LOAD = os.path.abspath(os.environ.get("CRABCLUSTER_BENCH_LOAD", "tests/bench/load"))
SERIES = ["keys", "values", "nodes", "connections"]
MERGED_S = 30  # at most to wait for what was written before to be merged
PUT_BYTES = 1 << 16  # from here on tests/bench/load has no room for the answers
LARGE_BYTES = 64 << 20  # of all values together, where values are large
HEAD = ("# nodes", "keys", "bytes", "conns", "writes/s", "p50 ms", "p99 ms", "CPU us",
        "reads/s", "p50 ms", "p99 ms", "CPU us", "MiB")
WIDTHS = (7, 8, 7, 5, 9, 8, 8, 8, 9, 8, 8, 8, 5)


def say(text):
    print(f"# {time.strftime('%H:%M:%S')} {text}", flush=True)


# ---- measuring ----


def cpu_s(nodes):
    """Processor time that the nodes have used."""
    ticks = 0
    for node in nodes:
        with open(f"/proc/{node.process.pid}/stat", encoding="utf-8") as f:
            fields = f.read().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def anonymous_mib(node):
    with open(f"/proc/{node.process.pid}/status", encoding="utf-8") as f:
        return int(re.search(r"RssAnon:\s+(\d+)", f.read()).group(1)) / 1024


def wrk(node, operation, point, seconds):
    """(requests, rate, p50 us, p99 us)"""
    _, keys, value_bytes, connections = point
    command = ["wrk", "-t", str(min(2, connections)), "-c", str(connections), "-d", f"{seconds}s",
               "--timeout", "10s", "-s", os.path.join(HERE, "growth.lua"), f"http://{node.bind}",
               "--", operation, str(keys), str(value_bytes)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    *figures, errors = re.search(r"RESULT (.*)", out).group(1).split()
    if errors != "0":
        say(f"{errors} requests failed: {operation} with {point}")
    return [float(figure) for figure in figures]


def preload(node, keys, value_bytes):
    """Each key once, in a mixed order."""
    if value_bytes >= PUT_BYTES:
        with node.client() as client:
            for n in range(keys):
                client.request("PUT", f"/v1/kv/key-{n:08d}", b"v" * value_bytes)
        return
    batch = max(1, min(200, 100000 // value_bytes))
    begin = time.monotonic()
    out = subprocess.run([LOAD, "-e", "-k", str(keys), "-n", str(keys), "-s", "0", "-c", "32",
                          "-b", str(batch), "-v", str(value_bytes), node.bind],
                         capture_output=True, text=True, check=True).stdout
    _, _, errors, cut, _ = re.search(r"RESULT (.*)", out).group(1).split()
    if int(errors) or int(cut):
        raise AssertionError(f"preload: {errors} errors, {cut} connections cut")
    seconds = time.monotonic() - begin
    if seconds > 5:
        say(f"{keys} keys of {value_bytes} bytes written in {seconds:.0f} s")


def wait_merged(nodes):
    """Until no node has a checkpoint under way, for that is the work of the rows before."""
    deadline = time.monotonic() + MERGED_S
    while any(glob.glob(os.path.join(node.data_dir, "state-*", "run*")) for node in nodes):
        if time.monotonic() > deadline:
            say("checkpoints go on meanwhile")
            return
        time.sleep(0.1)


def measure(cluster, point, seconds):
    """One row: the point, then rate, p50, p99 and processor time of writes and of reads."""
    leader, row = cluster.leader(), list(point)
    wait_merged(cluster.nodes)
    for operation in ("put", "get"):
        wrk(leader, operation, point, 1)
        before = cpu_s(cluster.nodes)
        requests, rate, p50, p99 = wrk(leader, operation, point, seconds)
        row += [rate, p50 / 1000, p99 / 1000, (cpu_s(cluster.nodes) - before) / requests * 1e6]
    return [*row, anonymous_mib(leader)]


def line(row):
    texts = [each if isinstance(each, str) else f"{each:.0f}" for each in row]
    for i in (5, 6, 9, 10):
        texts[i] = row[i] if isinstance(row[i], str) else f"{row[i]:.2f}"
    return " ".join(text.rjust(width) for text, width in zip(texts, WIDTHS))


# ---- what grows ----


def points(series, quick):
    """(nodes, keys, bytes of a value, connections) of each row."""
    keys = 10000 if quick else 100000
    if series == "keys":
        return [(3, 10**i, 32, 64) for i in range(4, 6 if quick else 8)]
    if series == "values":
        sizes = (16, 4096, 1 << 20) if quick else (16, 256, 4096, 16384, 65536, 262144, 1 << 20)
        return [(3, min(keys, LARGE_BYTES // size), size, 64 if size < 65536 else 16)
                for size in sizes]
    if series == "nodes":
        return [(n, keys, 32, 64) for n in ((1, 3) if quick else (1, 3, 5, 7))]
    connections = (1, 64, 512) if quick else (1, 8, 64, 256, 1000, 2000, 4000, 8000)
    return [(3, keys, 32, n) for n in connections]


def run_series(series, quick, seconds, emit):
    """Rows with as many nodes share a cluster; keys are written where they grow or change."""
    cluster, before = None, None
    try:
        for point in points(series, quick):
            if cluster is None or point[0] != before[0]:
                if cluster:
                    cluster.close()
                cluster, before = Cluster.formed(point[0]), None
            if before is None or before[1:3] != point[1:3]:
                preload(cluster.leader(), point[1], point[2])
            emit(line(measure(cluster, point, seconds)))
            before = point
    except BaseException:
        print_tails()
        raise
    finally:
        if cluster:
            cluster.close()


# ---- the result ----


def first_match(path, pattern):
    with open(path, encoding="utf-8") as f:
        return re.search(pattern, f.read()).group(1).strip()


def description(seconds):
    """The machine and what was measured, as lines."""
    directory = os.environ.get("TMPDIR", "/tmp")
    file_system = subprocess.run(["df", "--output=fstype", directory], check=True,
                                 capture_output=True, text=True).stdout.split()[-1]
    version = subprocess.run([DAEMON, "--version"], check=True, capture_output=True, text=True)
    memory_gib = int(first_match("/proc/meminfo", r"MemTotal: +(\d+)")) / (1 << 20)
    return [
        f"{version.stdout.splitlines()[0]}, {time.strftime('%Y-%m-%d')}: tests/bench/growth.sh, "
        f"{seconds} s for each figure",
        f"machine: {os.cpu_count()} cores ({first_match('/proc/cpuinfo', 'model name[^:]*:(.*)')}), "
        f"{memory_gib:.0f} GiB, Linux {platform.release()}, data on {file_system}",
        "nodes and load share the machine; CPU: of all nodes, for one request; MiB: anonymous "
        "memory of the leader",
    ]


def draw(table, image, series):
    if not shutil.which("gnuplot"):
        say("no gnuplot (Debian: gnuplot-nox), no picture")
        return
    subprocess.run(["gnuplot", "-e", f"table='{table}'; image='{image}'; series='{' '.join(series)}'",
                    os.path.join(HERE, "growth.gp")], check=True)
    say(f"{table} and {image} are made")


def raise_open_files():
    """The nodes and the load inherit it: one connection is a file."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/growth.sh", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true",
                        help="fewer and smaller rows of 1 s: does it work?")
    parser.add_argument("--only", metavar="SERIES", default=",".join(SERIES),
                        help="some of " + ",".join(SERIES))
    parser.add_argument("--seconds", type=int, help="of each figure (4)")
    parser.add_argument("--results", metavar="DIR", default="growth-results",
                        help="where growth.txt and growth.png go (growth-results)")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    if not set(chosen) <= set(SERIES):
        parser.error(f"--only takes some of {','.join(SERIES)}")
    for program in ("wrk", LOAD, DAEMON):
        if not shutil.which(program):
            parser.error(f"{program} is missing")
    seconds = arguments.seconds or (1 if arguments.quick else 4)
    raise_open_files()
    os.makedirs(arguments.results, exist_ok=True)
    table = os.path.join(arguments.results, "growth.txt")
    with open(table, "w", encoding="utf-8") as f:
        def emit(text):
            print(text, flush=True)
            f.write(text + "\n")

        for text in description(seconds):
            emit("# " + text)
        for series in chosen:
            # gnuplot finds a block by its name after two empty lines.
            emit(f"\n\n# more {series}\n{line(HEAD)}")
            run_series(series, arguments.quick, seconds, emit)
    draw(table, os.path.join(arguments.results, "growth.png"), chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
