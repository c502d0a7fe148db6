#!/bin/bash
# SPDX-License-Identifier: MIT
# The manual pages are correct mdoc.
set -euo pipefail
cd "${top_srcdir:-$(dirname "$0")/../..}"

if ! command -v mandoc >/dev/null; then
    echo "SKIP: mandoc is not installed: NOBODY CHECKED THE MANUAL PAGES' MDOC"
    exit 77
fi
failures=0
for page in man/*.[1-8]; do
    mandoc -Tlint -Wwarning "$page" || failures=$((failures + 1))
done
[ "$failures" -eq 0 ]
