#!/bin/bash
# SPDX-License-Identifier: MIT
# Every shell script passes shellcheck, at every severity.
set -euo pipefail
cd "${top_srcdir:-$(dirname "$0")/../..}"
command -v shellcheck >/dev/null || { echo "skipped: shellcheck is not installed"; exit 77; }

mapfile -t scripts < <({ find contrib tests .ci -type f; find debian -maxdepth 1 -type f 2>/dev/null; } |
    while read -r file; do
        case $file:$(head -c 64 "$file" | head -n 1 | tr -d '\0') in
        *.sh:* | *:'#!/bin/sh'* | *:'#!/bin/bash'* | *:'#!/usr/bin/env bash'*) printf '%s\n' "$file" ;;
        esac
    done | sort)
[ ${#scripts[@]} -gt 0 ] || { echo "no script found: the lint looked at nothing"; exit 1; }
shellcheck -x "${scripts[@]}"
