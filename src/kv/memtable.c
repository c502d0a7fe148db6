/* SPDX-License-Identifier: MIT
 * A key's node holds its tower; its versions are a list, newest first:
 *
 *      height 3   head ------------------> b ---------------------> NULL
 *      height 2   head --------> a ------> b ---------------------> NULL
 *      height 1   head --------> a ------> b ---------> c --------> NULL
 *                                |         |            |
 *      versions                 @17       @16          @12 (tombstone)
 *                                |
 *                               @9
 *
 * A node or a version is filled in first and then linked by a release store;
 * readers follow links by acquire loads. What is linked never changes but for
 * its links. Everything lives in an arena of blocks.
 */
#include "kv/memtable.h"

#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/refs.h"
#include "base/rng.h"

#define HEIGHT_SEED     0x63726162u
#define BLOCK_BYTES_MIN (4 * KIB) /* the first one; each is twice as large as the one before */
#define BLOCK_BYTES_MAX (1 * MIB)
#define LINE_BYTES      64 /* of the processor's cache; only speed depends on it */

struct version {
    const struct version *older;
    uint64_t revision;
    uint64_t create_revision;
    uint64_t version;
    uint32_t len;
    bool deleted;
    uint8_t attrs_len;
    uint8_t data[]; /* len bytes, then attrs_len bytes of attributes */
};

#define DELETED UINT32_MAX /* in place of a length */

struct memtable_node {
    _Atomic(const struct version *) newest;
    /* The writer's own, what the newest version says: it need not be fetched to write the next one,
     * which saves a cache miss per write. */
    uint64_t revision;
    uint64_t create_revision;
    uint64_t version;
    uint64_t digest;
    uint32_t len; /* DELETED: a tombstone */
    uint8_t attrs_len;
    /* All that a search looks at, side by side: */
    uint8_t height;
    uint16_t key_len;
    _Atomic(struct memtable_node *) next[]; /* height pointers, then key_len bytes of key */
};

struct block {
    struct block *older;
    _Alignas(max_align_t) uint8_t bytes[];
};

struct memtable {
    _Atomic(struct memtable_node *) head[MEMTABLE_HEIGHT_MAX]; /* first node of each level */
    atomic_uint
        height; /* levels in use, at least 1; a reader may see it too low, which is slower */
    struct refs refs;
    struct rng heights;
    uint64_t n_keys;
    /* the arena: */
    struct block *blocks; /* newest first */
    uint8_t *free;        /* of the block in use */
    size_t n_free;
    size_t block_bytes; /* of the next one */
    uint64_t bytes;
};

/* ---- arena ---- */

static uint8_t *add_block(struct memtable *m, size_t bytes)
{
    struct block *b = mem_alloc(sizeof *b + bytes);
    b->older = m->blocks;
    m->blocks = b;
    m->bytes += sizeof *b + bytes;
    return b->bytes;
}

/* Aligned for pointers and 64-bit integers. */
static void *arena_alloc(struct memtable *m, size_t bytes)
{
    bytes = (bytes + 7) & ~(size_t)7;
    if (bytes > m->n_free) {
        if (bytes > m->block_bytes / 4) /* a block of its own: what is free in this one stays */
            return add_block(m, bytes);
        m->free = add_block(m, m->block_bytes);
        m->n_free = m->block_bytes;
        if (m->block_bytes < BLOCK_BYTES_MAX)
            m->block_bytes *= 2;
    }
    void *p = m->free;
    m->free += bytes;
    m->n_free -= bytes;
    return p;
}

struct memtable *memtable_new(void)
{
    struct memtable *m = mem_zalloc(sizeof *m);
    for (unsigned i = 0; i < MEMTABLE_HEIGHT_MAX; i++)
        atomic_init(&m->head[i], NULL);
    atomic_init(&m->height, 1);
    refs_init(&m->refs);
    m->heights.state = HEIGHT_SEED;
    m->block_bytes = BLOCK_BYTES_MIN;
    m->bytes = sizeof *m;
    return m;
}

struct memtable *memtable_ref(struct memtable *m)
{
    if (m)
        refs_take(&m->refs);
    return m;
}

static void memtable_free(struct memtable *m)
{
    for (struct block *b = m->blocks, *older; b; b = older) {
        older = b->older;
        mem_free(b);
    }
    mem_free(m);
}

void memtable_unref(struct memtable **m)
{
    if (*m && refs_drop(&(*m)->refs))
        memtable_free(*m);
    *m = NULL;
}

uint64_t memtable_bytes(const struct memtable *m)
{
    return m->bytes;
}

uint64_t memtable_keys(const struct memtable *m)
{
    return m->n_keys;
}

/* ---- search ---- */

static const uint8_t *node_key(const struct memtable_node *n)
{
    return (const uint8_t *)(n->next + n->height);
}

/* <0, 0, >0: order of n's key and the given one. */
static int node_compare(const struct memtable_node *n, const void *key, size_t key_len)
{
    size_t n_common = n->key_len < key_len ? n->key_len : key_len;
    int order = n_common ? memcmp(node_key(n), key, n_common) : 0;
    if (order)
        return order;
    return (n->key_len > key_len) - (n->key_len < key_len);
}

static struct memtable_node *follow(_Atomic(struct memtable_node *) *link)
{
    return atomic_load_explicit(link, memory_order_acquire);
}

/* The first node whose key is not below the given one; NULL when there is none. Begins at a link of
 * this level that comes before it. Sets the links of each level from there down, unless place is
 * NULL. */
static struct memtable_node *descend(_Atomic(struct memtable_node *) *link, unsigned level,
                                     const void *key, size_t key_len, struct memtable_place *place)
{
    struct memtable_node *not_below = NULL; /* found so a level above: need not be compared again */
    for (;; level--, link--) {
        struct memtable_node *n;
        while ((n = follow(link)) && n != not_below && node_compare(n, key, key_len) < 0)
            link = &n->next[level];
        not_below = n;
        if (place)
            place->links[level] = link;
        if (level == 0)
            return not_below;
    }
}

/* The same from the top; place: of all levels in use. */
static struct memtable_node *search(struct memtable *m, const void *key, size_t key_len,
                                    struct memtable_place *place)
{
    unsigned top = atomic_load_explicit(&m->height, memory_order_relaxed) - 1;
    return descend(&m->head[top], top, key, key_len, place);
}

/* Where the search for one of many keys is: at a link of this level. */
struct walk {
    _Atomic(struct memtable_node *) *link; /* NULL: it has come to its end */
    unsigned level;
};

/* A step of descend(). */
static void step(struct walk *w, const struct kv_bytes *k, struct memtable_ahead *a)
{
    struct memtable_node *n = follow(w->link);
    if (n && n != a->not_below[w->level + 1] && node_compare(n, k->p, k->len) < 0) {
        w->link = &n->next[w->level];
        return;
    }
    a->links[w->level] = w->link;
    a->not_below[w->level] = n;
    w->link = w->level > 0 ? w->link - 1 : NULL;
    w->level -= w->level > 0;
}

/* The next step looks at the links and the key of the node there. */
static void fetch(const struct walk *w)
{
    const struct memtable_node *n = follow(w->link);
    if (n) {
        __builtin_prefetch(&n->height);
        __builtin_prefetch(&n->height + LINE_BYTES - 1);
    }
}

void memtable_find_ahead(struct memtable *m, const struct kv_bytes keys[], unsigned n,
                         struct memtable_ahead ret_ahead[])
{
    struct walk walks[KV_PREFETCH_MAX];
    unsigned top = atomic_load_explicit(&m->height, memory_order_relaxed) - 1, n_left = n;
    ASSERT(n <= KV_PREFETCH_MAX);
    for (unsigned i = 0; i < n; i++) {
        walks[i] = (struct walk){&m->head[top], top};
        for (unsigned level = top + 1; level < MEMTABLE_HEIGHT_MAX; level++)
            ret_ahead[i].links[level] = &m->head[level];
        for (unsigned level = top + 1; level <= MEMTABLE_HEIGHT_MAX; level++)
            ret_ahead[i].not_below[level] = NULL;
    }
    while (n_left > 0) {
        for (unsigned i = 0; i < n; i++) {
            if (!walks[i].link)
                continue;
            step(&walks[i], &keys[i], &ret_ahead[i]);
            if (walks[i].link)
                fetch(&walks[i]);
            else
                n_left--;
        }
    }
}

static struct kv_record record_of(const struct memtable_node *n, const struct version *v)
{
    return (struct kv_record){
        .key = node_key(n),
        .key_len = n->key_len,
        .deleted = v->deleted,
        .value = {.data = v->data,
                  .len = v->len,
                  .revision = v->revision,
                  .create_revision = v->create_revision,
                  .version = v->version,
                  .attrs = v->data + v->len,
                  .attrs_len = v->attrs_len},
    };
}

/* The newest version up to index; NULL when the key was written later only. */
static const struct version *version_at(const struct memtable_node *n, uint64_t index)
{
    const struct version *v = atomic_load_explicit(&n->newest, memory_order_acquire);
    while (v && v->revision > index)
        v = v->older;
    return v;
}

/* ---- the writer ---- */

static struct kv_record newest_record(const struct memtable_node *n)
{
    const struct version *v = atomic_load_explicit(&n->newest, memory_order_relaxed);
    size_t len = n->len == DELETED ? 0 : n->len;
    return (struct kv_record){
        .key = node_key(n),
        .key_len = n->key_len,
        .deleted = n->len == DELETED,
        .value = {.data = v->data,
                  .len = len,
                  .revision = n->revision,
                  .create_revision = n->create_revision,
                  .version = n->version,
                  .attrs = v->data + len,
                  .attrs_len = n->attrs_len},
    };
}

/* What memtable_find() answers when the search ended at n. */
static bool found(struct memtable_node *n, const void *key, size_t key_len,
                  struct memtable_place *place, struct kv_record *ret_record)
{
    place->node = n && node_compare(n, key, key_len) == 0 ? n : NULL;
    place->digest = 0;
    if (!place->node)
        return false;
    place->digest = n->digest;
    *ret_record = newest_record(n);
    return true;
}

bool memtable_find(struct memtable *m, const void *key, size_t key_len,
                   struct memtable_place *ret_place, struct kv_record *ret_record)
{
    return found(search(m, key, key_len, ret_place), key, key_len, ret_place, ret_record);
}

/* Forward over what was put there in between, on every level. */
bool memtable_find_from(struct memtable *m, const void *key, size_t key_len,
                        const struct memtable_ahead *ahead, struct memtable_place *ret_place,
                        struct kv_record *ret_record)
{
    unsigned level = atomic_load_explicit(&m->height, memory_order_relaxed);
    struct memtable_node *n = NULL;
    while (level-- > 0) {
        _Atomic(struct memtable_node *) *link = ahead->links[level];
        while ((n = follow(link)) && n != ahead->not_below[level] &&
               node_compare(n, key, key_len) < 0)
            link = &n->next[level];
        ret_place->links[level] = link;
    }
    return found(n, key, key_len, ret_place, ret_record);
}

void memtable_begin(struct memtable *m, struct memtable_place *ret_place)
{
    *ret_place = (struct memtable_place){.node = NULL};
    for (unsigned level = 0; level < MEMTABLE_HEIGHT_MAX; level++)
        ret_place->links[level] = &m->head[level];
}

/* Up while the next node of a level is still below the key, then down as ever. */
bool memtable_find_on(struct memtable *m, const void *key, size_t key_len,
                      struct memtable_place *place, struct kv_record *ret_record)
{
    unsigned top = atomic_load_explicit(&m->height, memory_order_relaxed) - 1, level = 0;
    struct memtable_node *n;
    while (level < top && (n = follow(place->links[level])) && node_compare(n, key, key_len) < 0)
        level++;
    n = descend(place->links[level], level, key, key_len, place);
    return found(n, key, key_len, place, ret_record);
}

static unsigned random_height(struct memtable *m)
{
    uint64_t bits = rng_next(&m->heights);
    unsigned height = 1;
    for (; height < MEMTABLE_HEIGHT_MAX && (bits & 3) == 0; bits >>= 2)
        height++;
    return height;
}

static struct version *version_new(struct memtable *m, const struct kv_record *record)
{
    struct version *v = arena_alloc(m, offsetof(struct version, data) + record->value.len +
                                           record->value.attrs_len);
    v->older = NULL;
    v->revision = record->value.revision;
    v->create_revision = record->value.create_revision;
    v->version = record->value.version;
    v->len = (uint32_t)record->value.len;
    v->deleted = record->deleted;
    v->attrs_len = (uint8_t)record->value.attrs_len;
    if (v->len)
        memcpy(v->data, record->value.data, v->len);
    if (v->attrs_len)
        memcpy(v->data + v->len, record->value.attrs, v->attrs_len);
    return v;
}

/* Brings the writer's own notes in n up to date. */
static void note_newest(struct memtable_node *n, const struct kv_record *record, uint64_t digest)
{
    n->len = record->deleted ? DELETED : (uint32_t)record->value.len;
    n->attrs_len = (uint8_t)record->value.attrs_len;
    n->revision = record->value.revision;
    n->create_revision = record->value.create_revision;
    n->version = record->value.version;
    n->digest = digest;
}

static struct memtable_node *node_new(struct memtable *m, const struct kv_record *record,
                                      unsigned height, uint64_t digest)
{
    size_t tower_bytes = height * sizeof(_Atomic(struct memtable_node *));
    struct memtable_node *n = arena_alloc(m, sizeof *n + tower_bytes + record->key_len);
    n->height = (uint8_t)height;
    n->key_len = (uint16_t)record->key_len;
    memcpy(n->next + height, record->key, record->key_len);
    note_newest(n, record, digest);
    atomic_init(&n->newest, version_new(m, record));
    return n;
}

static void insert(struct memtable *m, struct memtable_place *place, const struct kv_record *record)
{
    unsigned height = random_height(m);
    unsigned used = atomic_load_explicit(&m->height, memory_order_relaxed);
    for (unsigned level = used; level < height; level++)
        place->links[level] = &m->head[level];
    struct memtable_node *n = node_new(m, record, height, place->digest);
    m->n_keys++;
    for (unsigned level = 0; level < height; level++) {
        atomic_init(&n->next[level], follow(place->links[level]));
        atomic_store_explicit(place->links[level], n, memory_order_release);
    }
    if (height > used)
        atomic_store_explicit(&m->height, height, memory_order_relaxed);
}

void memtable_put(struct memtable *m, struct memtable_place *place, const struct kv_record *record)
{
    ASSERT(record->key_len >= 1 && record->key_len <= LIMIT_KEY_BYTES);
    ASSERT(record->value.len <= LIMIT_VALUE_BYTES);
    ASSERT(record->value.attrs_len <= LIMIT_ATTRS_BYTES);
    struct memtable_node *n = place->node;
    if (!n) {
        insert(m, place, record);
        return;
    }
    struct version *v = version_new(m, record);
    v->older = atomic_load_explicit(&n->newest, memory_order_relaxed);
    ASSERT(n->revision <= v->revision);
    note_newest(n, record, place->digest);
    atomic_store_explicit(&n->newest, v, memory_order_release);
}

/* ---- readers ---- */

int memtable_get(struct memtable *m, const void *key, size_t key_len, uint64_t index,
                 struct kv_record *ret_record)
{
    const struct memtable_node *n = search(m, key, key_len, NULL);
    if (!n || node_compare(n, key, key_len) != 0)
        return ERR_NOT_FOUND;
    const struct version *v = version_at(n, index);
    if (!v)
        return ERR_NOT_FOUND;
    *ret_record = record_of(n, v);
    return 0;
}

struct memtable_cursor {
    struct kv_cursor cursor; /* first: it is what others see */
    struct memtable *m;
    uint64_t index;
    struct memtable_node *at; /* NULL: at the end */
};

/* A cursor will come here next; a small first version follows on its node. */
static void fetch_whole(const struct memtable_node *n)
{
    if (n)
        for (size_t at = 0; at < 3 * LINE_BYTES; at += LINE_BYTES)
            __builtin_prefetch((const uint8_t *)n + at);
}

/* Goes on to the first node from n on that was there at the cursor's index. */
static int settle(struct memtable_cursor *c, struct memtable_node *n, struct kv_record *ret_record)
{
    const struct version *v = NULL;
    while (n && !(v = version_at(n, c->index)))
        n = follow(&n->next[0]);
    c->at = n;
    if (!n)
        return ERR_NOT_FOUND;
    fetch_whole(follow(&n->next[0]));
    *ret_record = record_of(n, v);
    return 0;
}

static int cursor_seek(struct kv_cursor *cursor, const void *key, size_t len,
                       struct kv_record *ret_record)
{
    struct memtable_cursor *c = (struct memtable_cursor *)cursor;
    return settle(c, len ? search(c->m, key, len, NULL) : follow(&c->m->head[0]), ret_record);
}

static int cursor_next(struct kv_cursor *cursor, struct kv_record *ret_record)
{
    struct memtable_cursor *c = (struct memtable_cursor *)cursor;
    return settle(c, c->at ? follow(&c->at->next[0]) : NULL, ret_record);
}

/* The last node whose key is below the given one, len 0: the last of all; NULL: there is none. */
static struct memtable_node *last_below(struct memtable *m, const void *key, size_t len)
{
    unsigned level = atomic_load_explicit(&m->height, memory_order_relaxed) - 1;
    _Atomic(struct memtable_node *) *link = &m->head[level];
    struct memtable_node *last = NULL, *n;
    for (;; level--, link--) {
        while ((n = follow(link)) && (len == 0 || node_compare(n, key, len) < 0)) {
            last = n;
            link = &n->next[level];
        }
        if (level == 0)
            return last;
    }
}

static int cursor_below(struct kv_cursor *cursor, const void *key, size_t len,
                        struct kv_record *ret_record)
{
    struct memtable_cursor *c = (struct memtable_cursor *)cursor;
    struct memtable_node *n = last_below(c->m, key, len);
    const struct version *v = NULL;
    while (n && !(v = version_at(n, c->index))) /* written later only */
        n = last_below(c->m, node_key(n), n->key_len);
    if (!n)
        return ERR_NOT_FOUND;
    *ret_record = record_of(n, v);
    return 0;
}

static void cursor_close(struct kv_cursor *cursor)
{
    mem_free(cursor);
}

struct kv_cursor *memtable_cursor(struct memtable *m, uint64_t index)
{
    static const struct kv_cursor_ops ops = {cursor_seek, cursor_next, cursor_below, cursor_close};
    struct memtable_cursor *c = mem_zalloc(sizeof *c);
    *c = (struct memtable_cursor){.cursor = {&ops}, .m = m, .index = index};
    return &c->cursor;
}
