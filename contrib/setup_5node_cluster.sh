#!/bin/bash
# SPDX-License-Identifier: MIT
# Starts a development cluster of five nodes on ports 8080 to 8084. See and stop it
# with cluster_manager.sh.
set -euo pipefail
# shellcheck source=contrib/cluster_lib.sh
. "$(dirname "$(realpath "${BASH_SOURCE[0]}")")/cluster_lib.sh"

[ $# -eq 0 ] || {
    printf 'usage: %s\nStarts five nodes on ports 8080 to 8084.\n' "${0##*/}"
    [ "$1" = --help ]
    exit
}
begin
cluster_start 5 8080
