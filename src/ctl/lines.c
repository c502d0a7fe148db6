/* SPDX-License-Identifier: MIT */
#include "ctl/lines.h"

#include <string.h>

static int take_rest(struct lines *l)
{
    int err = l->take(l->ctx, (const char *)l->rest.data, l->rest.len);
    buf_clear(&l->rest);
    return err;
}

int lines_feed(void *ctx, const void *bytes, size_t len)
{
    struct lines *l = ctx;
    const char *p = bytes, *end = p + len;
    while (p < end) {
        const char *newline = memchr(p, '\n', (size_t)(end - p));
        size_t n = (size_t)((newline ? newline : end) - p);
        if (!newline || l->rest.len > 0)
            buf_append(&l->rest, p, n);
        if (!newline)
            return 0;
        int err = l->rest.len > 0 ? take_rest(l) : l->take(l->ctx, p, n);
        if (err < 0)
            return err;
        p = newline + 1;
    }
    return 0;
}

int lines_end(struct lines *l)
{
    int err = l->rest.len > 0 ? take_rest(l) : 0;
    buf_free(&l->rest);
    return err;
}
