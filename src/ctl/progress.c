/* SPDX-License-Identifier: MIT */
#include "ctl/progress.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/clock.h"
#include "ctl/text.h"

#define STEP_MS   100
#define BAR_WIDTH 30

void progress_start(struct progress *p, bool on, const char *what)
{
    *p = (struct progress){.on = on, .what = what, .begin_ms = clock_now_ms()};
    p->next_ms = p->begin_ms + STEP_MS; /* what is over at once shows no bar */
}

static void put_bar(struct buf *line, uint64_t done, uint64_t total)
{
    unsigned full = (unsigned)((double)done / (double)total * BAR_WIDTH);
    buf_append_str(line, " [");
    for (unsigned i = 0; i < BAR_WIDTH; i++)
        buf_append_str(line, i < full ? "#" : ".");
    buf_printf(line, "] %3.0f%%", (double)done * 100 / (double)total);
}

void progress_bytes(struct progress *p, uint64_t done, uint64_t total)
{
    uint64_t now = clock_now_ms();
    struct buf line = BUF_INIT;
    if (!p->on || now < p->next_ms)
        return;
    p->next_ms = now + STEP_MS;
    buf_printf(&line, "%s", p->what);
    if (total > 0)
        put_bar(&line, done < total ? done : total, total);
    buf_append_str(&line, "  ");
    text_bytes((double)done, &line);
    buf_append_str(&line, ", ");
    text_bytes((double)done * 1000 / (double)(now - p->begin_ms), &line);
    buf_append_str(&line, "/s");
    fprintf(stderr, "\r%s\033[K", buf_str(&line));
    fflush(stderr);
    p->shown = true;
    buf_free(&line);
}

void progress_end(struct progress *p)
{
    if (p->shown)
        fprintf(stderr, "\r\033[K");
    p->shown = false;
}
