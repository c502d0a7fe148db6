/* SPDX-License-Identifier: MIT
 * The image becomes the beginning of a trace: operations that make it, all
 * synced, for after a loss of power nothing is unsynced.
 */
#include "recover.h"

#include <stdio.h>

#include "base/mem.h"
#include "base/rng.h"
#include "damage.h"
#include "record.h"
#include "stage.h"

/* A point somewhere, and an image of it that is no torn meta page: those may be refused. */
static void lose_power(struct disk *d, const struct history *h, struct rng *rng,
                       enum stage_locks *ret_locks)
{
    size_t last = (size_t)rng_range(rng, 1, h->trace.n_ops);
    while (d->at < last) {
        disk_step(d);
        disk_settle(d);
    }
    for (;;) {
        unsigned variant = (unsigned)rng_range(rng, 0, damage_variants(d) - 1);
        if (damage_build(d, variant, rng, ret_locks))
            return;
    }
}

static void add_name(struct trace *t, const struct disk *d, const struct disk_name *n)
{
    const struct disk_file *f = &d->files[n->node];
    struct trace_op op = {.kind = TRACE_MAKE, .node = n->node, .dir = n->dir, .is_dir = f->is_dir};
    snprintf(op.name, sizeof op.name, "%s", n->name);
    trace_add(t, &op, NULL);
    if (!f->is_dir && f->work_size > 0) {
        op = (struct trace_op){.kind = TRACE_WRITE, .node = n->node, .len = (uint32_t)f->work_size};
        trace_add(t, &op, f->work);
    }
    op = (struct trace_op){.kind = TRACE_SYNC, .node = n->node, .is_dir = f->is_dir};
    trace_add(t, &op, NULL);
}

static void add_dir_sync(struct trace *t, uint32_t dir)
{
    struct trace_op op = {.kind = TRACE_SYNC, .node = dir, .is_dir = true};
    trace_add(t, &op, NULL);
}

/* With what is in a directory before its sync, and all that was said until then. */
static void add_dir(struct trace *t, const struct disk *d, uint32_t dir)
{
    for (size_t i = 0; i < d->image.n; i++) {
        const struct disk_name *n = &d->image.names[i];
        if (n->dir != dir)
            continue;
        add_name(t, d, n);
        if (d->files[n->node].is_dir)
            add_dir(t, d, n->node);
    }
    add_dir_sync(t, dir);
}

static void know_dir(const struct disk *d, uint32_t dir)
{
    for (size_t i = 0; i < d->image.n; i++) {
        const struct disk_name *n = &d->image.names[i];
        if (n->dir != dir)
            continue;
        record_known(dir, n->name, n->node, d->files[n->node].is_dir);
        if (d->files[n->node].is_dir)
            know_dir(d, n->node);
    }
}

static void to_trace(void *ctx, const struct trace_op *op, const void *data)
{
    trace_add(ctx, op, data);
}

void recover(struct history *h, const char *root)
{
    struct disk *d = mem_alloc(sizeof *d);
    struct trace t = {0};
    struct rng rng = {history_mixed(h->seed, 1)};
    enum stage_locks locks;
    char dir[256];
    disk_init(d, &h->trace);
    lose_power(d, h, &rng, &locks);
    disk_split(d);
    stage_leave(root, d, locks);
    add_dir(&t, d, TRACE_ROOT);
    for (unsigned mark = 0; mark < MARKS; mark++)
        trace_mark(&t, mark, d->marks[mark]);
    h->first_point = t.n_ops - 1;
    snprintf(dir, sizeof dir, "%s/data", root);
    record_begin(root, to_trace, &t);
    know_dir(d, TRACE_ROOT);
    if (history_group(h->kind) == HISTORY_STATE)
        history_state_recover(h, dir, d->marks[MARK_BOOT]);
    else if (history_group(h->kind) == HISTORY_NODE)
        history_node_recover(h, dir, d->marks);
    else
        history_log_recover(h, dir);
    record_end();
    disk_free(d);
    mem_free(d);
    trace_free(&h->trace);
    h->trace = t;
}
