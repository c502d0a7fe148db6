# SPDX-License-Identifier: MIT
# bash completion for crabclusterctl: the program itself knows its commands.
eval "$(crabclusterctl completion bash 2>/dev/null)"
