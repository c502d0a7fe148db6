/* SPDX-License-Identifier: MIT */
#include "api/guard.h"

#include <string.h>
#include <strings.h>

#include "base/addr.h"

/* Copies the host of HOST, HOST:PORT or [HOST]:PORT; false when it is none. */
static bool host_part(const char *text, char out[ADDR_HOST_MAX + 1])
{
    size_t len;
    if (*text == '[') {
        text++;
        len = strcspn(text, "]");
        if (text[len] != ']')
            return false;
    } else {
        len = strcspn(text, ":");
    }
    if (len == 0 || len > ADDR_HOST_MAX)
        return false;
    memcpy(out, text, len);
    out[len] = 0;
    return true;
}

static bool same_host(const char *host, const char *addr)
{
    char ours[ADDR_HOST_MAX + 1];
    return addr && host_part(addr, ours) && strcasecmp(host, ours) == 0;
}

bool guard_host_is_ours(const struct api_options *o, const char *value)
{
    char host[ADDR_HOST_MAX + 1];
    if (!host_part(value, host))
        return false;
    if (addr_host_is_ip(host) || strcasecmp(host, "localhost") == 0)
        return true;
    if (same_host(host, o->bind_addr) || same_host(host, o->advertise_addr))
        return true;
    for (unsigned i = 0; i < o->n_own_names; i++)
        if (strcasecmp(host, o->own_names[i]) == 0)
            return true;
    for (unsigned i = 0; i < o->n_allowed_origins; i++) {
        const char *authority = strstr(o->allowed_origins[i], "://");
        if (same_host(host, authority ? authority + 3 : o->allowed_origins[i]))
            return true;
    }
    return false;
}

static bool origin_is_allowed(const struct api_options *o, const char *origin)
{
    for (unsigned i = 0; i < o->n_allowed_origins; i++)
        if (strcasecmp(origin, o->allowed_origins[i]) == 0)
            return true;
    return false;
}

const char *guard_refusal(const struct api_options *o, const char *origin, const char *fetch_site,
                          const char *bad_host)
{
    bool allowed = origin && origin_is_allowed(o, origin);
    if (origin && !allowed)
        return "the request comes from a web page (Origin) that allowed-origins does not list";
    if (fetch_site && !allowed && strcasecmp(fetch_site, "none") != 0 &&
        strcasecmp(fetch_site, "same-origin") != 0)
        return "the request comes from another web site (Sec-Fetch-Site)";
    if (bad_host)
        return "the Host header is neither an IP address, localhost nor a name of this node; "
               "allowed-origins can list it";
    return NULL;
}
