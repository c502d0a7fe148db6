/* SPDX-License-Identifier: MIT
 * Fetching the pages of LMDB in which some keys lie.
 *
 * With many keys a look-up waits most of its time for memory: some twenty places
 * in four pages, each known only when the one before it has come (measured: 3.4
 * us with 10 million keys). LMDB takes one key at a time. Here several keys go
 * down the tree side by side, each asking for its next place and leaving the
 * turn to the others; LMDB then finds everything in the processor's cache.
 *
 * This knows how LMDB's pages are laid out, which its files cannot change, as
 * they could be read no more. Nothing but speed depends on it: what does not look
 * as expected ends the walk, no offset is followed out of its page, no page number
 * out of the file, and none further down than the tree is deep.
 */
#include <stdint.h>
#include <string.h>

#include "store/run_file.h"
#include "store/state_impl.h"

#define LINE_BYTES 64 /* of the processor's cache */

enum page_kind { PAGE_BRANCH = 1, PAGE_LEAF = 2 };

struct page {
    uint64_t number;
    uint16_t pad;
    uint16_t flags;
    uint16_t end;      /* of nodes, from the page's beginning */
    uint16_t free_end; /* where the first node begins, of those that were put last */
    uint16_t nodes[];  /* where each node is in the page, in the order of their keys */
};

struct node {
    uint16_t child[3]; /* of a branch: a page's number, the lowest part first */
    uint16_t key_len;
    uint8_t key[]; /* the first of a branch has none: it is below all */
};

/* The record of a table: 48 bytes, in the main table. */
enum { TABLE_ROOT = 40, TABLE_BYTES = 48 };

struct tree {
    const uint8_t *map;
    size_t page_bytes;
    uint64_t n_pages;
    uint64_t root;
    unsigned depth; /* pages from the root to a leaf */
};

/* Where the search for one key is: its place is in [low, high]. */
struct walk {
    const struct kv_bytes *key;
    const struct page *page;
    unsigned depth; /* of the page, from 1 */
    unsigned low, high;
    bool entered;
};

/* False: it cannot be known. */
static bool find_tree(const struct state_db *db, MDB_txn *txn, struct tree *ret_tree)
{
    MDB_val name = {strlen("keys"), "keys"}, table;
    MDB_stat stat;
    MDB_envinfo info;
    if (mdb_stat(txn, db->keys, &stat) != 0 || stat.ms_depth < 2 ||
        mdb_env_info(db->env, &info) != 0 || mdb_get(txn, db->records, &name, &table) != 0 ||
        table.mv_size != TABLE_BYTES)
        return false;
    size_t in_page = (uintptr_t)table.mv_data % stat.ms_psize;
    const struct page *page = (const void *)((const uint8_t *)table.mv_data - in_page);
    if (page->flags != PAGE_LEAF || page->number > info.me_last_pgno)
        return false;
    ret_tree->map = (const uint8_t *)page - page->number * stat.ms_psize;
    ret_tree->page_bytes = stat.ms_psize;
    ret_tree->n_pages = info.me_last_pgno + 1;
    ret_tree->depth = stat.ms_depth;
    memcpy(&ret_tree->root, (const uint8_t *)table.mv_data + TABLE_ROOT, sizeof ret_tree->root);
    return true;
}

/* False: there is no such page, or not so deep. */
static bool go_to(struct walk *w, const struct tree *t, uint64_t number)
{
    if (number >= t->n_pages || w->depth == t->depth)
        return false;
    w->depth++;
    const uint8_t *page = t->map + number * t->page_bytes;
    w->page = (const void *)page;
    w->entered = false;
    __builtin_prefetch(page);
    __builtin_prefetch(page + LINE_BYTES);
    __builtin_prefetch(page + 2 * LINE_BYTES);
    return true;
}

static const struct node *node_at(const struct walk *w, unsigned i)
{
    return (const void *)((const uint8_t *)w->page + w->page->nodes[i]);
}

/* NULL: none can be there. */
static const struct node *checked_node(const struct walk *w, const struct tree *t, unsigned i)
{
    const struct node *n = node_at(w, i);
    size_t at = w->page->nodes[i];
    if (at % _Alignof(struct node) != 0 || at + sizeof *n > t->page_bytes)
        return NULL;
    return at + sizeof *n + n->key_len <= t->page_bytes ? n : NULL;
}

/* The next node to look at; false: there is none in this page. */
static bool ask(const struct walk *w)
{
    if (w->low == w->high)
        return false;
    __builtin_prefetch(node_at(w, (w->low + w->high) / 2));
    return true;
}

/* The page has come. */
static bool enter(struct walk *w, const struct tree *t)
{
    const struct page *p = w->page;
    if ((p->flags != PAGE_BRANCH && p->flags != PAGE_LEAF) || p->end > t->page_bytes ||
        p->end < sizeof *p)
        return false;
    w->low = p->flags == PAGE_BRANCH;
    w->high = (p->end - (unsigned)sizeof *p) / 2;
    w->entered = true;
    return w->low < w->high && ask(w);
}

static bool descend(struct walk *w, const struct tree *t)
{
    if (w->page->flags != PAGE_BRANCH)
        return false;
    const struct node *n = checked_node(w, t, w->low - 1);
    return n &&
           go_to(w, t, n->child[0] | (uint64_t)n->child[1] << 16 | (uint64_t)n->child[2] << 32);
}

/* What was asked for has come; asks for the next. False: the walk is at its end, maybe
 * because it came to the record. */
static bool step(struct walk *w, const struct tree *t, unsigned *n_found)
{
    if (!w->entered)
        return enter(w, t);
    unsigned middle = (w->low + w->high) / 2;
    const struct node *n = checked_node(w, t, middle);
    if (!n)
        return false;
    int order = run_key_compare(w->key->p, w->key->len, n->key, n->key_len);
    if (order == 0 && w->page->flags == PAGE_LEAF) {
        __builtin_prefetch(n->key + n->key_len + LINE_BYTES);
        ++*n_found;
        return false;
    }
    if (order >= 0)
        w->low = middle + 1;
    else
        w->high = middle;
    return ask(w) || descend(w, t);
}

/* Pages are in the order of the processor that wrote them; this is of those with 64 bits and the
 * lowest first. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && SIZE_MAX == UINT64_MAX
enum { LAYOUT_IS_KNOWN = 1 };
#else
enum { LAYOUT_IS_KNOWN = 0 };
#endif

unsigned state_fetch_ahead(struct state_view *v, const struct kv_bytes keys[], unsigned n)
{
    struct walk walks[KV_PREFETCH_MAX];
    struct tree tree;
    unsigned n_walks = 0, n_found = 0;
    if (!LAYOUT_IS_KNOWN || !find_tree(&v->state->db, v->txn, &tree))
        return 0;
    for (unsigned i = 0; i < n; i++) {
        walks[n_walks] = (struct walk){.key = &keys[i]};
        n_walks += go_to(&walks[n_walks], &tree, tree.root);
    }
    while (n_walks > 0)
        for (unsigned i = 0; i < n_walks;)
            if (step(&walks[i], &tree, &n_found))
                i++;
            else
                walks[i] = walks[--n_walks];
    return n_found;
}
