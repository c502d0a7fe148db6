/* SPDX-License-Identifier: MIT
 * Committed entries into the state machine. A command that takes long is
 * applied slice by slice, one in each turn, so that heartbeats and votes go on
 * meanwhile; what was committed after it waits here. The core does not know of
 * that: for it an entry is applied when it was handed out.
 */
#include "base/mem.h"
#include "node/driver.h"

static void applied(void *ctx, const struct raft_entry *e, const struct kv_result *result)
{
    struct driver *d = ctx;
    if (e->type == RAFT_ENTRY_CONFIG)
        writes_membership_applied(d);
    if (e->type != RAFT_ENTRY_COMMAND)
        return;
    d->figures.committed++;
    writes_applied(d, e, result);
}

/* Returns how many of them are applied now. */
static unsigned apply(struct driver *d, struct raft_entry *const entries[], unsigned n)
{
    uint64_t from_us = figures_clock_us(d);
    unsigned n_done = 0;
    int err = machine_apply_some(d->machine, entries, n, applied, d, &n_done);
    if (err != 0) /* what it changes cannot be read: the storage has said which file and record */
        driver_die("cannot apply what was committed", err);
    histogram_add(&d->figures.duration[NODE_TOOK_APPLY], figures_clock_us(d) - from_us);
    if (n_done > 0) {
        checkpoint_applied(d, entries, n_done);
        reads_applied(d);
    }
    return n_done;
}

/* ---- what waits ---- */

static void wait(struct backlog *b, struct raft_entry *const entries[], unsigned n)
{
    if (b->n + n > b->cap) {
        b->cap = 2 * (b->n + n);
        b->entries = mem_realloc(b->entries, b->cap * sizeof *b->entries);
    }
    for (unsigned i = 0; i < n; i++)
        b->entries[b->n++] = raft_entry_ref(entries[i]);
}

static void forget(struct backlog *b, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        raft_entry_unref(&b->entries[b->first++]);
    if (b->first < b->n)
        return;
    MEM_FREE(b->entries);
    *b = (struct backlog){.entries = NULL};
}

void apply_committed(struct driver *d, struct raft_entry *const entries[], unsigned n)
{
    struct backlog *b = &d->backlog;
    if (n == 0) /* there may be no array then */
        return;
    unsigned n_done = b->n == 0 ? apply(d, entries, n) : 0;
    wait(b, entries + n_done, n - n_done);
}

void apply_pump(struct driver *d)
{
    struct backlog *b = &d->backlog;
    if (b->n > 0)
        forget(b, apply(d, b->entries + b->first, b->n - b->first));
}

bool driver_is_applying(const struct driver *d)
{
    return d->backlog.n > 0;
}

void apply_installed(struct driver *d)
{
    forget(&d->backlog, d->backlog.n - d->backlog.first);
}

void apply_free(struct driver *d)
{
    apply_installed(d);
}
