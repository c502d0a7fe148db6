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
    MEM_FREE(*w);
}

void storage_load_free(struct storage_load **l)
{
    if (!*l)
        return;
    free_entries((*l)->entries, (*l)->n_entries);
    MEM_FREE(*l);
}
