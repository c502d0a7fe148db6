/* SPDX-License-Identifier: MIT
 * A short stack of configurations; nearly always one or two.
 */
#include "raft/history.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "raft/array.h"

struct record {
    struct raft_pos pos;
    struct raft_config config;
};

struct raft_history {
    struct record **items; /* by ascending index; all but the first are not committed */
    size_t n, cap;
};

struct raft_history *raft_history_new(void)
{
    struct raft_history *h = mem_zalloc(sizeof *h);
    const struct raft_config none = {0};
    raft_history_push(h, (struct raft_pos){0, 0}, &none);
    return h;
}

void raft_history_free(struct raft_history **h)
{
    struct raft_history *mine = *h;
    *h = NULL;
    if (!mine)
        return;
    for (size_t i = 0; i < mine->n; i++)
        mem_free(mine->items[i]);
    mem_free(mine->items);
    mem_free(mine);
}

void raft_history_set_base(struct raft_history *h, struct raft_pos pos,
                           const struct raft_config *config)
{
    while (h->n > 0)
        mem_free(h->items[--h->n]);
    raft_history_push(h, pos, config);
}

void raft_history_push(struct raft_history *h, struct raft_pos pos,
                       const struct raft_config *config)
{
    ASSERT(h->n == 0 || pos.index > h->items[h->n - 1]->pos.index);
    struct record *record = mem_alloc(sizeof *record);
    record->pos = pos;
    record->config = *config;
    RAFT_ARRAY_PUSH(h, record);
}

bool raft_history_truncate(struct raft_history *h, uint64_t from)
{
    size_t before = h->n;
    while (h->n > 1 && h->items[h->n - 1]->pos.index >= from)
        mem_free(h->items[--h->n]);
    ASSERT(h->items[0]->pos.index < from); /* what is committed is never taken back */
    return h->n != before;
}

void raft_history_commit(struct raft_history *h, uint64_t commit)
{
    size_t old = 0; /* records before the latest committed one */
    while (old + 1 < h->n && h->items[old + 1]->pos.index <= commit)
        mem_free(h->items[old++]);
    h->n -= old;
    if (old > 0)
        memmove(h->items, h->items + old, h->n * sizeof *h->items);
}

const struct raft_config *raft_history_latest(const struct raft_history *h,
                                              struct raft_pos *ret_pos)
{
    *ret_pos = h->items[h->n - 1]->pos;
    return &h->items[h->n - 1]->config;
}

const struct raft_config *raft_history_committed(const struct raft_history *h,
                                                 struct raft_pos *ret_pos)
{
    *ret_pos = h->items[0]->pos;
    return &h->items[0]->config;
}

bool raft_history_has_voter(const struct raft_history *h, struct uuid id)
{
    for (size_t i = 0; i < h->n; i++) {
        const struct raft_member *m = raft_config_find(&h->items[i]->config, id);
        if (m && raft_member_votes(m))
            return true;
    }
    return false;
}

bool raft_history_is_committed(const struct raft_history *h)
{
    return h->n == 1;
}
