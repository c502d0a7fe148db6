#!/bin/bash
# SPDX-License-Identifier: MIT
# Holds the option table (src/conf/options.c), --help, the sample
# etc/crabcluster.conf and the manual pages against each other: every option
# with its default, range and reload, every flag with its argument, and every
# example file read by the real parser.
# shellcheck disable=SC2016 # the single-quoted programs are awk's
set -euo pipefail

src=${top_srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${top_builddir:-.}
dump=$build/tests/lint/options_dump
sample=$src/etc/crabcluster.conf
man8=$src/man/crabcluster.8
man5=$src/man/crabcluster.conf.5
unset CRABCLUSTER_LOG XDG_STATE_HOME
export HOME=/nonexistent

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failures=0

complain() {
    printf '%s\n' "$*"
    failures=$((failures + 1))
}

# same WHAT EXPECTED FOUND: two files that must be equal and not empty.
same() {
    [ -s "$2" ] || complain "$1: nothing to compare: the lint looked at nothing"
    diff -u --label "the option table" --label "$1" "$2" "$3" || complain "$1: see above"
}

# table AWK-PROGRAM: rows of the table, columns by tabs.
table() {
    awk -F '\t' -v OFS='\t' "$1" "$tmp/table"
}

# The flags of crabcluster(8): name and argument of each ".It Fl -name Ar ARG".
man_flags() {
    awk -v OFS='\t' '/^\.It Fl -/ { sub(/^-/, "", $3); print $3, $4 == "Ar" ? $5 : "-" }' "$man8"
}

# Name and argument of each flag in the synopsis.
synopsis_flags() {
    awk -v OFS='\t' '/^\.Sh/ { inside = $2 == "SYNOPSIS" }
        inside { for (i = 1; i < NF; i++) if ($i ~ /^\.?Fl$/) {
                     sub(/^-/, "", $(i + 1))
                     print $(i + 1), $(i + 2) == "Ar" ? $(i + 3) : "-" } }' "$man8"
}

# Section, name, default, range and reload of each option of crabcluster.conf(5).
man_options() {
    awk -v OFS='\t' '
        function flush() { if (name != "") print section, name, def, range, reload; name = "" }
        /^\.S[hs]/ { flush(); inside = 0 }
        /^\.Ss Outside of sections/ { section = "-"; inside = 1 }
        /^\.Ss Section/ { section = $3; inside = 1 }
        !inside { next }
        /^\.El/ { flush() }
        /^\.It Cm/ {
            flush(); name = $3; def = range = reload = "-"
            if ($6 == "Cm") { range = $0; sub(/.* No = Cm /, "", range) }
        }
        /^Taken over by a reload\.$/ { reload = "reload" }
        match($0, /at most [0-9]+\.$/) && name ~ /^(peers|allowed-origins)$/ {
            range = substr($0, RSTART, RLENGTH - 1) }
        after == "From" && /^\.Ql/ { range = $2 }
        after == "to" && /^\.Ql/ { range = range " to " $2 }
        after == "Default:" && /^\.Ql/ { def = $2 }
        { after = $0 }' "$man5"
}

# Section, name and value of each option of the sample, "off" when commented out.
sample_options() {
    awk -v OFS='\t' '
        BEGIN { section = "-" }
        /^[a-z]+ \{$/ { section = $1 }
        /^\}$/ { section = "-" }
        /^ *#?[a-z-]+ = / {
            state = /^ *#/ ? "off" : "on"
            sub(/^ *#?/, ""); name = $1; sub(/^[a-z-]+ = /, ""); gsub(/"/, "")
            print section, name, $0, state }' "$sample"
}

# examples PAGE: writes each literal block of EXAMPLES that is a file to $tmp/example.N.
examples() {
    rm -f "$tmp"/example.*
    awk -v out="$tmp/example." '
        /^\.Sh/ { inside = $2 == "EXAMPLES" }
        /^\.Bd -literal/ && inside { n++; block = ""; next }
        /^\.Ed/ && n && inside { if (block ~ /^[a-z-]+ *(=|\{)/) printf "%s", block > (out n); next }
        inside { block = block $0 "\n" }' "$1"
}

check_flags() {
    table '$1 == "flag" { print $2, $3 }' | sort >"$tmp/flags"
    man_flags | sort >"$tmp/found"
    same "crabcluster(8), list of flags" "$tmp/flags" "$tmp/found"
    synopsis_flags | sort >"$tmp/found"
    same "crabcluster(8), synopsis" "$tmp/flags" "$tmp/found"
    "$dump" --help | awk -v OFS='\t' '/^Flags:/ { inside = 1 } /^$/ && n { inside = 0 }
        inside && /^  --/ { n++; sub(/^--/, "", $1); print $1, $2 ~ /^[A-Z:]+$/ ? $2 : "-" }' |
        sort >"$tmp/found"
    same "--help" "$tmp/flags" "$tmp/found"
    local flag
    while read -r flag; do
        cut -f 1 "$tmp/flags" | grep -qx -- "$flag" || complain "manual pages: --$flag is no flag"
    done < <(grep -ohE '\bFl -[a-z-]+' "$man8" "$man5" | sed 's/^Fl -//' | sort -u)
    local name default
    while IFS=$'\t' read -r name default; do
        sed -n "/^\.It Fl -$name /,/^\.It/p" "$man8" | grep -qxF ".Ql $default ." ||
            complain "crabcluster(8): the default of --$name is $default"
    done < <(table '$1 == "option" && $7 != "-" && $4 != "-" && $4 != "{}" { print $7, $4 }')
    for name in $(table '$1 == "option" && $8 != "-" { print $8 }'); do
        grep -qE "^\.It Ev (.* , )?$name" "$man8" || complain "crabcluster(8): $name is missing"
    done
}

check_options() {
    table '$1 == "option" { print $2, $3, $4, $5, $6 }' >"$tmp/options"
    man_options >"$tmp/found"
    same "crabcluster.conf(5)" "$tmp/options" "$tmp/found"
    # Defaults that are computed have no text in the table.
    table '$1 == "option" { print $2, $3, $4 == "-" ? "computed" : $4,
                                  $3 == "data-dir" ? "on" : "off" }' >"$tmp/options"
    sample_options | awk -F '\t' -v OFS='\t' 'FNR == NR { if ($3 == "computed") c[$1, $2] = 1; next }
        ($1, $2) in c { $3 = "computed" } { print }' "$tmp/options" - >"$tmp/found"
    same "etc/crabcluster.conf" "$tmp/options" "$tmp/found"
}

# The sample is read as it stands and with every option switched on, to the defaults.
check_sample_values() {
    "$dump" --config /dev/null | grep -v '^data-dir' >"$tmp/defaults"
    sed -E 's/^( *)#([a-z-]+ = )/\1\2/' "$sample" >"$tmp/all.conf"
    local file
    for file in "$sample" "$tmp/all.conf"; do
        "$dump" --config "$file" >"$tmp/values" || complain "$file: is not read"
        grep -v '^data-dir' "$tmp/values" >"$tmp/found" || true
        same "etc/crabcluster.conf, as read" "$tmp/defaults" "$tmp/found"
        grep -qx 'data-dir = "/var/lib/crabcluster"' "$tmp/values" ||
            complain "$file: data-dir is not /var/lib/crabcluster"
    done
}

check_examples() {
    local page file n=0
    for page in "$man8" "$man5"; do
        examples "$page"
        for file in "$tmp"/example.*; do
            [ -e "$file" ] || { complain "$page: no example file found"; continue; }
            "$dump" --config "$file" >/dev/null || complain "$page: this example is not read"
            n=$((n + 1))
        done
    done
    [ "$n" -ge 4 ] || complain "only $n example files found"
}

# Every metric is in crabcluster-api(7), and no other.
check_metrics() {
    grep -ohE '"(crabcluster|process)_[a-z_]+"' "$src"/src/api/prometheus*.c | tr -d '"' | sort -u \
        >"$tmp/metrics"
    grep -ohE '\b(crabcluster|process)_[a-z_]+' "$src/man/crabcluster-api.7" | sort -u >"$tmp/found"
    same "crabcluster-api(7), metrics" "$tmp/metrics" "$tmp/found"
}

check_pages_are_installed() {
    local page
    for page in "$src"/man/*.[1-8]; do
        grep -q "man/${page##*/}" "$src/man/Makefile.inc" || complain "$page: is not installed"
    done
}

"$dump" >"$tmp/table"
check_flags
check_options
check_sample_values
check_examples
check_metrics
check_pages_are_installed
[ "$failures" -eq 0 ]
