/* SPDX-License-Identifier: MIT
 * The entity tags of If-Match and If-None-Match (RFC 9110, 13.1). Ours are
 * revisions: ETag: "17". Tags of other kinds are well-formed and match nothing.
 */
#ifndef API_ETAG_H
#define API_ETAG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define ETAG_MAX 16 /* in one list */

/* What a tag that cannot be a revision of ours stands for: no key has this one. */
#define ETAG_NO_REVISION UINT64_MAX

struct etag_list {
    bool any; /* a star */
    unsigned n;
    struct {
        uint64_t revision;
        bool weak; /* W/"17" */
    } tags[ETAG_MAX];
};

/* A star, or one tag or more with commas between. The bare 17 is taken for "17": quotes are soon
 * forgotten in a shell. INVALID; TOO_LARGE: more than ETAG_MAX tags. */
MUST_CHECK int etag_parse(const char *text, struct etag_list *ret_list);

/* The revision of what is there (0: nothing is) is among the tags. If-None-Match compares weakly,
 * If-Match strongly: a weak tag matches nothing then. */
bool etag_matches(const struct etag_list *list, uint64_t revision, bool weakly);

#endif
