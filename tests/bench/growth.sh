#!/bin/bash
# SPDX-License-Identifier: MIT
# The cost as the work grows: growth.py has it all; see --help.
set -euo pipefail
exec python3 "$(dirname "${BASH_SOURCE[0]}")/growth.py" "$@"
