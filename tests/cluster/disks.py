# SPDX-License-Identifier: MIT
"""Disks that fail, for the cluster tests: small file systems of their own, which need
root and a loop device; calls that fail (tests/storage/faults.c, preloaded); bytes
changed in the files of a stopped node.

  CRABCLUSTER_FAULTS    the library to preload (default: tests/storage/faults.so
                        in the directory of the daemon)
"""

import os
import shutil
import subprocess
import time

from harness import DAEMON, SLOW, asan_options, wait_until

FAULTS = os.path.abspath(os.environ.get(
    "CRABCLUSTER_FAULTS", os.path.join(os.path.dirname(DAEMON), "tests/storage/faults.so")))

# Checkpoints soon, so that runs and the state are written to within a test.
SMALL_CHECKPOINTS = {"raft.checkpoint-entries": "100", "raft.log-tail-entries": "10"}


# ---- calls that fail ----


class Fault:
    """Makes calls of a node fail once it is armed. `what` is as in faults.c."""

    def __init__(self, node, what):
        self.node = node
        self.arm_file = os.path.join(node.directory, f"arm-{time.monotonic_ns()}")
        env = [f"LD_PRELOAD={FAULTS}", f"FAULT={what}", f"FAULT_ARM={self.arm_file}"]
        # A sanitizer wants to be loaded first, and need not be.
        env.append(asan_options("verify_asan_link_order=0"))
        node.wrapper = ["env", *env]

    def arm(self):
        open(self.arm_file, "wb").close()

    def disarm(self):
        os.unlink(self.arm_file)

    def hit(self):
        return os.path.exists(self.arm_file + ".hit")

    def remove(self):
        """From the next start on."""
        self.node.wrapper = []


# ---- small disks ----


def small_disks_why_not():
    """Why file systems cannot be mounted here; None when they can."""
    if os.geteuid() != 0:
        return "mounting a file system needs root"
    for program in ("unshare", "mkfs.ext4", "losetup", "mount"):
        if shutil.which(program, path=os.environ["PATH"] + ":/sbin:/usr/sbin") is None:
            return f"{program} is not installed"
    probe = subprocess.run(["unshare", "-m", "losetup", "-f"], capture_output=True, check=False)
    if probe.returncode != 0:
        return f"no loop device: {probe.stderr.decode().strip()}"
    return None


class SmallDisk:
    """A file system of its own under the data directory of a node, in a mount
    namespace that ends with the process: nothing is left to unmount."""

    def __init__(self, node, mib):
        self.node = node
        self.image = os.path.join(node.directory, "disk")
        with open(self.image, "wb") as f:
            f.truncate(mib << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", self.image], check=True,
                       env={"PATH": os.environ["PATH"] + ":/sbin:/usr/sbin"})
        os.makedirs(node.data_dir)
        script = f'mount -o loop "{self.image}" "{node.data_dir}" && exec "$@"'
        node.wrapper = ["unshare", "-m", "sh", "-c", script, "sh"]

    def path(self, name=""):
        """The place of a file on the disk, as this process reaches it while the node runs."""
        return f"/proc/{self.node.process.pid}/root{self.node.data_dir}/{name}"

    def free(self):
        fs = os.statvfs(self.path())
        return fs.f_bavail * fs.f_frsize

    def fill(self, leave=0):
        """Another program takes all but so many bytes."""
        with open(self.path("ballast"), "ab") as f:
            while (n := min(self.free() - leave, 1 << 20)) > 0:
                try:
                    f.write(bytes(n))
                    f.flush()
                except OSError:
                    break

    def relieve(self):
        os.unlink(self.path("ballast"))

    def wait_detached(self):
        """The kernel lets go of the image a moment after the end of the process."""
        def detached():
            devices = subprocess.run(["losetup", "-j", self.image], capture_output=True,
                                     check=True)
            return not devices.stdout
        wait_until(detached, 10 * SLOW, "the image is not mounted any more")


# ---- bytes of a stopped node ----


def flip(path, needle, offset=0, bit=0, whole=True):
    """Flips a bit `offset` bytes from the beginning of each occurrence of the bytes, or
    of the last one only. Returns how many."""
    with open(path, "r+b") as f:
        data = f.read()
        places, at = [], data.find(needle)
        while at >= 0:
            places.append(at + offset)
            at = data.find(needle, at + 1)
        for place in places if whole else places[-1:]:
            f.seek(place)
            f.write(bytes([data[place] ^ 1 << bit]))
    return len(places)


def data_file(node, *names):
    return os.path.join(node.data_dir, *names)


def runs_of(node, generation=1):
    """The run files that wait to be merged."""
    directory = data_file(node, f"state-{generation}")
    return sorted(os.path.join(directory, name) for name in os.listdir(directory)
                  if name.startswith("run-"))
