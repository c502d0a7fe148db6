# SPDX-License-Identifier: MIT
"""The examples of crabclusterctl(1), run as they stand there."""

import os
import re
import shutil
import subprocess
import unittest

from ctl import CTL, environment
from harness import SLOW, ClusterTest

PAGE = os.path.join(os.path.dirname(__file__), "../../man/crabclusterctl.1")


def examples():
    """The literal blocks of the section EXAMPLES, as a reader sees them."""
    with open(PAGE, encoding="utf-8") as f:
        section = re.search(r"^\.Sh EXAMPLES\n(.*?)^\.Sh", f.read(), re.S | re.M).group(1)
    blocks = re.findall(r"^\.Bd -literal.*?\n(.*?)^\.Ed", section, re.S | re.M)
    return [block.replace(r"\e", "\\") for block in blocks]


@unittest.skipUnless(shutil.which("jq"), "jq is not installed: an example uses it")
class Manual(ClusterTest):
    limit_s = 120

    def test_examples_of_the_manual_page_work_as_they_stand(self):
        cluster = self.cluster_of(3)
        new = cluster.add_node().start()
        env = environment(cluster.nodes[:3])
        env["PATH"] = os.path.dirname(CTL) + ":" + env["PATH"]
        blocks = examples()
        self.assertGreaterEqual(len(blocks), 10)
        for block in blocks:
            self.assertNotIn("\\&", block)
            script = block.replace("127.0.0.1:8083", new.addr)
            done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=cluster.directory,
                                  env=env, stdin=subprocess.DEVNULL, capture_output=True,
                                  text=True, timeout=60 * SLOW, check=False)
            self.assertEqual(done.returncode, 0, (script, done.stdout, done.stderr))
            self.assertNotIn("crabclusterctl: ", done.stderr, script)
            self.assertNotIn("exit status", done.stdout, script)
            self.assertNotIn("needs somebody", done.stdout, script)
