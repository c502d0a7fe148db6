/* SPDX-License-Identifier: MIT
 * Log entries, shared between threads by reference count.
 */
#include "raft/types.h"

#include "base/assert.h"
#include "base/mem.h"

struct raft_entry *raft_entry_new(enum raft_entry_type type, struct raft_pos pos, uint32_t len)
{
    struct raft_entry *e = mem_alloc(sizeof *e + len);
    atomic_init(&e->refs, 1);
    e->type = type;
    e->pos = pos;
    e->len = len;
    return e;
}

struct raft_entry *raft_entry_ref(struct raft_entry *e)
{
    atomic_fetch_add_explicit(&e->refs, 1, memory_order_relaxed);
    return e;
}

void raft_entry_unref(struct raft_entry **e)
{
    struct raft_entry *mine = *e;
    *e = NULL;
    if (!mine)
        return;
    /* acq_rel: whoever frees it sees what the others did with it before. */
    unsigned before = atomic_fetch_sub_explicit(&mine->refs, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before == 1)
        mem_free(mine);
}
