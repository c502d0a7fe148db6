/* SPDX-License-Identifier: MIT
 * Log entries, shared between threads by reference count.
 */
#include "raft/types.h"

#include "base/mem.h"

struct raft_entry *raft_entry_new(enum raft_entry_type type, struct raft_pos pos, uint32_t len)
{
    struct raft_entry *e = mem_alloc(sizeof *e + len);
    refs_init(&e->refs);
    e->type = type;
    e->pos = pos;
    e->len = len;
    return e;
}

struct raft_entry *raft_entry_ref(struct raft_entry *e)
{
    refs_take(&e->refs);
    return e;
}

void raft_entry_unref(struct raft_entry **e)
{
    struct raft_entry *mine = *e;
    *e = NULL;
    if (mine && refs_drop(&mine->refs))
        mem_free(mine);
}
