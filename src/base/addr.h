/* SPDX-License-Identifier: MIT
 * "host:port" as people write it: a name, an IPv4 address, or an IPv6 address
 * in brackets.
 */
#ifndef BASE_ADDR_H
#define BASE_ADDR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define ADDR_HOST_MAX 253 /* bytes, RFC 1035 */
#define ADDR_TEXT_MAX 261 /* bytes: brackets, colon and five digits more */

struct addr {
    char host[ADDR_HOST_MAX + 1]; /* without brackets */
    uint16_t port;
    bool is_ipv6; /* literal: written in brackets */
};

/* Reads HOST:PORT, port 1 to 65535. ERR_INVALID for anything else. */
MUST_CHECK int addr_parse(const char *text, struct addr *ret_addr);
/* Writes HOST:PORT and a NUL. Returns out. */
char *addr_format(const struct addr *a, char out[ADDR_TEXT_MAX + 1]);
/* The host is an IPv4 or IPv6 literal. */
bool addr_host_is_ip(const char *host);
/* 127.0.0.0/8, ::1 or the name localhost. */
bool addr_host_is_loopback(const char *host);
/* 0.0.0.0 or ::, which others cannot reach us by. */
bool addr_host_is_wildcard(const char *host);

#endif
