/* SPDX-License-Identifier: MIT
 * The objects that travel between driver and storage.
 */
#include "node/storage.h"

#include "base/mem.h"

static void free_entries(struct raft_entry **entries, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        raft_entry_unref(&entries[i]);
    mem_free(entries);
}

struct storage_write *storage_write_new(unsigned n_entries)
{
    struct storage_write *w = mem_zalloc(sizeof *w);
    list_init(&w->link);
    if (n_entries)
        w->entries = mem_array(n_entries, sizeof(struct raft_entry *));
    w->n_entries = n_entries;
    return w;
}

void storage_write_free(struct storage_write **w)
{
    if (!*w)
        return;
    free_entries((*w)->entries, (*w)->n_entries);
    raft_snapshot_unref(&(*w)->install);
    mem_free((*w)->base);
    if ((*w)->state)
        (*w)->state->ops->unref((*w)->state);
    buf_free(&(*w)->meta);
    MEM_FREE(*w);
}

void storage_load_free(struct storage_load **l)
{
    if (!*l)
        return;
    free_entries((*l)->entries, (*l)->n_entries);
    MEM_FREE(*l);
}

struct storage_job *storage_job_new(enum storage_job_type type, uint64_t snapshot_id)
{
    struct storage_job *j = mem_zalloc(sizeof *j);
    list_init(&j->link);
    j->type = type;
    j->snapshot_id = snapshot_id;
    return j;
}

void storage_job_free(struct storage_job **j)
{
    if (!*j)
        return;
    kv_frozen_free(&(*j)->frozen);
    kv_view_close(&(*j)->view);
    buf_free(&(*j)->meta);
    buf_free(&(*j)->data);
    raft_snapshot_unref(&(*j)->snapshot);
    MEM_FREE(*j);
}
