#!/bin/bash
# SPDX-License-Identifier: MIT
# Installs what crabcluster is built with (--test: what its tests need, too)
# with apt or dnf. Asks nothing, and touches neither network nor system when
# everything is there already.
set -euo pipefail

die() {
    printf 'install-deps.sh: %s\n' "$*" >&2
    exit 1
}

usage() {
    cat <<'END'
usage: contrib/install-deps.sh [--test]

Installs the build dependencies of crabcluster with apt (Debian 12) or dnf
(Fedora); with --test also what contrib/check.sh needs. Uses sudo when not root.
END
}

# One word per dependency. "a|b": either will do, and a is installed when
# neither is there (the two variants of libcurl's headers exclude each other).
deb_build=(autoconf automake make gcc libc6-dev pkg-config libmicrohttpd-dev
    'libcurl4-gnutls-dev|libcurl4-openssl-dev|libcurl4-nss-dev' libjson-c-dev libconfuse-dev
    uuid-dev liblmdb-dev libgnutls28-dev libsystemd-dev
    libmimalloc-dev curl)
deb_test=(libcmocka-dev shellcheck mandoc valgrind jq python3 clang libjson-validator-perl)
rpm_build=(autoconf automake make gcc pkgconf-pkg-config libmicrohttpd-devel libcurl-devel
    json-c-devel libconfuse-devel libuuid-devel lmdb-devel gnutls-devel systemd-devel
    mimalloc-devel curl
    util-linux diffutils)
rpm_test=(libcmocka-devel ShellCheck mandoc valgrind jq python3 clang libasan libubsan
    'perl(JSON::Validator)')

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "not root, and there is no sudo; as root, run: $*"
    fi
}

deb_has() {
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

rpm_has() {
    rpm -q --whatprovides "$1" >/dev/null 2>&1
}

# missing HAS PACKAGE...: sets $missing to those that HAS does not find.
missing=()
find_missing() {
    local has=$1 entry alternative
    shift
    missing=()
    for entry in "$@"; do
        for alternative in ${entry//|/ }; do
            if "$has" "$alternative"; then
                continue 2
            fi
        done
        missing+=("${entry%%|*}")
    done
}

with_tests=no
case "${1-}" in
'') ;;
--test) with_tests=yes ;;
-h | --help)
    usage
    exit 0
    ;;
*)
    usage >&2
    exit 2
    ;;
esac
[ $# -le 1 ] || { usage >&2; exit 2; }

deb=("${deb_build[@]}")
rpm=("${rpm_build[@]}")
if [ "$with_tests" = yes ]; then
    deb+=("${deb_test[@]}")
    rpm+=("${rpm_test[@]}")
fi

if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
    find_missing deb_has "${deb[@]}"
    if [ ${#missing[@]} -eq 0 ]; then
        echo "install-deps.sh: everything is there already"
        exit 0
    fi
    echo "install-deps.sh: installing ${missing[*]}"
    apt=(env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120)
    as_root "${apt[@]}" update </dev/null || die "apt-get update failed (see above)"
    as_root "${apt[@]}" install -y --no-install-recommends "${missing[@]}" </dev/null ||
        die "apt-get could not install: ${missing[*]}"
elif command -v dnf >/dev/null && command -v rpm >/dev/null; then
    find_missing rpm_has "${rpm[@]}"
    if [ ${#missing[@]} -eq 0 ]; then
        echo "install-deps.sh: everything is there already"
        exit 0
    fi
    echo "install-deps.sh: installing ${missing[*]}"
    as_root dnf install -y --setopt=install_weak_deps=False "${missing[@]}" </dev/null ||
        die "dnf could not install: ${missing[*]}"
else
    die "neither apt nor dnf is here. Install by hand what these Debian packages hold, with headers:
    ${deb[*]%%|*}"
fi
echo "install-deps.sh: done"
