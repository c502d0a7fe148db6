/* SPDX-License-Identifier: MIT
 * A stream of bytes cut into lines, for answers that come line by line.
 */
#ifndef CTL_LINES_H
#define CTL_LINES_H

#include "base/buf.h"

struct lines {
    struct buf rest; /* of a line that has not ended */
    /* Takes a line without its end; less than 0 stops. */
    int (*take)(void *ctx, const char *line, size_t len);
    void *ctx;
};

/* ctx is a struct lines: a sink of struct request. */
int lines_feed(void *ctx, const void *p, size_t len);
/* Takes what has no end of line, and frees the memory. */
int lines_end(struct lines *l);

#endif
