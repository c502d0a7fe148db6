/* SPDX-License-Identifier: MIT */
#include "api/etag.h"

#include <string.h>

#include "api/decode.h"

static const char *skip_blanks(const char *p)
{
    return p + strspn(p, " \t");
}

/* The revision that the text inside of the quotes is, if it is one. */
static uint64_t revision_of(const char *p, size_t len)
{
    uint64_t revision;
    bool canonical = len > 0 && p[0] != '0';
    return canonical && decode_u64(p, len, &revision) == 0 ? revision : ETAG_NO_REVISION;
}

/* One tag; moves *p behind it. False: there is none. */
static bool read_tag(const char **p, uint64_t *ret_revision, bool *ret_weak)
{
    const char *at = *p;
    *ret_weak = strncmp(at, "W/", 2) == 0;
    at += *ret_weak ? 2 : 0;
    bool quoted = *at == '"';
    at += quoted;
    size_t len = quoted ? strcspn(at, "\"") : strspn(at, "0123456789");
    if (quoted ? at[len] != '"' : len == 0 || *ret_weak)
        return false;
    *ret_revision = revision_of(at, len);
    *p = at + len + quoted;
    return true;
}

int etag_parse(const char *text, struct etag_list *ret_list)
{
    struct etag_list list = {.n = 0};
    const char *p = skip_blanks(text);
    if (*p == '*') {
        list.any = true;
        p = skip_blanks(p + 1);
    }
    while (!list.any) {
        if (list.n == ETAG_MAX)
            return ERR_TOO_LARGE;
        if (!read_tag(&p, &list.tags[list.n].revision, &list.tags[list.n].weak))
            return ERR_INVALID;
        list.n++;
        p = skip_blanks(p);
        if (*p != ',')
            break;
        p = skip_blanks(p + 1);
    }
    if (*p)
        return ERR_INVALID;
    *ret_list = list;
    return 0;
}

bool etag_matches(const struct etag_list *list, uint64_t revision, bool weakly)
{
    if (revision == 0)
        return false;
    bool found = list->any;
    for (unsigned i = 0; i < list->n; i++)
        found |= list->tags[i].revision == revision && (weakly || !list->tags[i].weak);
    return found;
}
