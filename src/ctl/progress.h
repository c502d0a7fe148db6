/* SPDX-License-Identifier: MIT
 * A line on standard error that says how far long work is, where that is a
 * terminal; nothing elsewhere.
 */
#ifndef CTL_PROGRESS_H
#define CTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool shown; /* there is a line to be wiped out */
    bool on;
    const char *what; /* borrowed */
    uint64_t next_ms, begin_ms;
};

void progress_start(struct progress *p, bool on, const char *what);
/* done of total bytes; total 0: not known. */
void progress_bytes(struct progress *p, uint64_t done, uint64_t total);
/* Wipes the line out. */
void progress_end(struct progress *p);

#endif
