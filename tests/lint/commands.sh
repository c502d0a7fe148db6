#!/bin/bash
# SPDX-License-Identifier: MIT
# Holds the tables of crabclusterctl (src/ctl/commands.c), its --help, its
# completion and crabclusterctl(1) against each other: every command with its
# words and its flags, every flag with its argument, every exit status.
set -euo pipefail
# shellcheck disable=SC2016 # the single-quoted programs are awk's

src=${top_srcdir:-$(cd "$(dirname "$0")/../.." && pwd)}
build=${top_builddir:-.}
page=$src/man/crabclusterctl.1
ctl=$build/crabclusterctl

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
    diff -u --label "the tables" --label "$1" "$2" "$3" || complain "$1: see above"
}

# Name and words of each ".It Ic NAME Ar WORD Op Ar WORD" of the page.
page_commands() {
    sed -nE 's/^\.It Ic //p' "$page" | awk -v OFS='\t' '{
        name = words = ""
        for (i = 1; i <= NF; i++) {
            if ($i == "Op") { open = 1; continue }
            if ($i == "Ar" || $i == "Cm") { marked = 1; continue }
            word = open ? "[" $i "]" : $i
            if (marked) words = words (words ? " " : "") word
            else name = name (name ? " " : "") word
            open = 0
        }
        marked = 0
        print name, words ? words : "-" }'
}

# Name of each command, and each flag beyond the global ones that its entry names.
page_takes() {
    awk -v OFS='\t' '
        FNR == NR { if ($1 == "flag" && !done) own[$2] = 1; if ($1 == "command") done = 1; next }
        /^\.S[hs]/ || /^\.El/ { name = "" }
        /^\.It Ic/ { name = ""; for (i = 3; i <= NF && $i !~ /^(Ar|Op|Cm)$/; i++)
                         name = name (name ? " " : "") $i; next }
        name != "" { for (i = 1; i < NF; i++) if ($i ~ /^\.?Fl$/) {
                         flag = $(i + 1); sub(/^-/, "", flag); print name, flag } }' \
        "$tmp/table" "$page" | sort -u | grep -vP "\t($globals)$"
}

"$build/tests/lint/commands_dump" >"$tmp/table"
globals=$("$ctl" --help | awk '/^Flags of every command/ { inside = 1; next } /^$/ { inside = 0 }
    inside { sub(/^--/, "", $1); print $1 }' | paste -sd '|')

awk -F '\t' -v OFS='\t' '$1 == "command" { print $2, $3 }' "$tmp/table" | sort >"$tmp/expected"
page_commands | sort >"$tmp/found"
same "crabclusterctl(1), commands" "$tmp/expected" "$tmp/found"

awk -F '\t' -v OFS='\t' '$1 == "takes" { print $2, $3 }' "$tmp/table" | sort >"$tmp/expected"
page_takes | sort >"$tmp/found"
same "crabclusterctl(1), flags of the commands" "$tmp/expected" "$tmp/found"

awk -F '\t' -v OFS='\t' '$1 == "flag" { print $2, $3 }' "$tmp/table" | sort >"$tmp/expected"
awk -v OFS='\t' '/^\.It Fl -/ { sub(/^-/, "", $3); print $3, $4 == "Ar" ? $5 : "-" }' "$page" |
    sort >"$tmp/found"
same "crabclusterctl(1), list of flags" "$tmp/expected" "$tmp/found"

sed -nE 's/^ *CTL_[A-Z_]+ = ([0-9]+).*/\1/p' "$src/src/ctl/ctl.h" >"$tmp/expected"
awk '/^\.Sh/ { inside = $2 " " $3 == "EXIT STATUS" } inside && /^\.It/ { print $2 }' "$page" >"$tmp/found"
same "crabclusterctl(1), exit statuses" "$tmp/expected" "$tmp/found"

# --help of every command says what it takes; the completion offers it.
"$ctl" completion bash >"$tmp/completion"
bash -n "$tmp/completion" || complain "the completion is no bash"
while IFS=$'\t' read -r name flag; do
    read -ra words <<<"$name"
    "$ctl" "${words[@]}" --help | grep -qE -- "^  --$flag( |$)" || complain "$name --help: no --$flag"
    grep -F "'$name') flags=" "$tmp/completion" | grep -qE -- "--${flag}[ \"]" ||
        complain "completion of $name: no --$flag"
done < <(awk -F '\t' -v OFS='\t' '$1 == "takes" { print $2, $3 }' "$tmp/table")

# complete_line WORD...: what bash would offer for the last of the words.
complete_line() {
    bash -c 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); compopt() { :; }
        _crabclusterctl; printf "%s\n" "${COMPREPLY[@]}"' - "$tmp/completion" "$@"
}
complete_line crabclusterctl sn | grep -qx snapshot || complain "completion: sn is no snapshot"
complete_line crabclusterctl --endpoints a:1 member pro | grep -qx promote ||
    complain "completion: member pro is no promote"
complete_line crabclusterctl put --if-a | grep -qx -- --if-absent ||
    complain "completion: put --if-a is no --if-absent"
[ -z "$(complete_line crabclusterctl get --if-a)" ] || complain "completion: get takes no --if-absent"

[ "$failures" -eq 0 ]
