/* SPDX-License-Identifier: MIT
 * A listing on its way: what was asked for, and where it is.
 */
#ifndef API_LIST_H
#define API_LIST_H

#include "api/lister.h"

/* How long a stream may look at one revision: it pins memory and pages. */
#define LIST_VIEW_MS 60000
/* Streams at a time; each of them has a view. */
#define LIST_STREAMS_MAX 32

struct listing {
    struct lister lister;
    bool keys_only;
    bool streams;   /* lines, not a page */
    uint64_t limit; /* keys and groups; 0: any number */
    uint64_t n;     /* given so far */
    bool done;      /* the last line is written */
};

#endif
