/* SPDX-License-Identifier: MIT */
#include "base/addr.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

static int parse_port(const char *text, uint16_t *ret_port)
{
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 5 || text[n] != 0 || text[0] == '0')
        return ERR_INVALID;
    unsigned long port = 0;
    for (size_t i = 0; i < n; i++)
        port = port * 10 + (unsigned long)(text[i] - '0');
    if (port > UINT16_MAX)
        return ERR_INVALID;
    *ret_port = (uint16_t)port;
    return 0;
}

static bool is_host_name(const char *host)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    return host[0] != 0 && strspn(host, allowed) == strlen(host);
}

int addr_parse(const char *text, struct addr *ret_addr)
{
    const char *colon = strrchr(text, ':');
    if (!colon)
        return ERR_INVALID;
    const char *start = text;
    size_t len = (size_t)(colon - text);
    bool brackets = len >= 2 && text[0] == '[' && colon[-1] == ']';
    if (brackets) {
        start++;
        len -= 2;
    }
    if (len > ADDR_HOST_MAX)
        return ERR_INVALID;
    struct addr a = {.is_ipv6 = brackets};
    memcpy(a.host, start, len);
    struct in6_addr ip6;
    if (brackets ? inet_pton(AF_INET6, a.host, &ip6) != 1 : !is_host_name(a.host))
        return ERR_INVALID;
    if (parse_port(colon + 1, &a.port) < 0)
        return ERR_INVALID;
    *ret_addr = a;
    return 0;
}

char *addr_format(const struct addr *a, char out[ADDR_TEXT_MAX + 1])
{
    snprintf(out, ADDR_TEXT_MAX + 1, a->is_ipv6 ? "[%s]:%u" : "%s:%u", a->host, (unsigned)a->port);
    return out;
}

bool addr_host_is_ip(const char *host)
{
    struct in_addr ip4;
    struct in6_addr ip6;
    return inet_pton(AF_INET, host, &ip4) == 1 || inet_pton(AF_INET6, host, &ip6) == 1;
}

bool addr_host_is_loopback(const char *host)
{
    struct in_addr ip4;
    struct in6_addr ip6;
    if (inet_pton(AF_INET, host, &ip4) == 1)
        return ntohl(ip4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, host, &ip6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&ip6);
    return strcasecmp(host, "localhost") == 0;
}

bool addr_host_is_wildcard(const char *host)
{
    struct in_addr ip4;
    struct in6_addr ip6;
    if (inet_pton(AF_INET, host, &ip4) == 1)
        return ip4.s_addr == htonl(INADDR_ANY);
    if (inet_pton(AF_INET6, host, &ip6) == 1)
        return IN6_IS_ADDR_UNSPECIFIED(&ip6);
    return false;
}
