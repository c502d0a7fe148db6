#!/bin/bash
# SPDX-License-Identifier: MIT
# The simulator's quick run: every seed that once failed, and 200 others.
set -euo pipefail
top=${top_srcdir:-$(dirname "$0")/../..}
build=${top_builddir:-$top}

"$build/tests/sim/sim" --pinned "$top/tests/sim/seeds.txt" --seeds 200 --seconds 20
