/* SPDX-License-Identifier: MIT
 * A node holds its tower and its key in one block and its value in another,
 * which is reused when the next value fits:
 *
 *      height 3   head ------------------> b ---------------------> NULL
 *      height 2   head --------> a ------> b ---------------------> NULL
 *      height 1   head --------> a ------> b ---------> c --------> NULL
 */
#include "kv/memtable.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/rng.h"

/* One node in four has a level more: good for 4^12 = 16 million keys. */
#define HEIGHT_MAX    12
#define HEIGHT_SEED   0x63726162u
#define VALUE_CAP_MIN 16

struct node {
    uint8_t *value; /* owned, value_cap bytes */
    size_t value_len;
    size_t value_cap;
    uint64_t revision;
    uint64_t create_revision;
    uint64_t version;
    uint16_t key_len;
    uint8_t height;
    struct node *next[]; /* height pointers, then key_len bytes of key */
};

struct memtable {
    struct node *head[HEIGHT_MAX]; /* first node of each level */
    unsigned height;               /* levels in use, at least 1 */
    struct rng heights;
    uint64_t n_keys;
    uint64_t bytes;
};

static const uint8_t *node_key(const struct node *n)
{
    return (const uint8_t *)(n->next + n->height);
}

static size_t node_bytes(const struct node *n)
{
    return sizeof *n + n->height * sizeof n->next[0] + n->key_len;
}

/* <0, 0, >0: order of n's key and the given one. */
static int node_compare(const struct node *n, const void *key, size_t key_len)
{
    size_t n_common = n->key_len < key_len ? n->key_len : key_len;
    int order = n_common ? memcmp(node_key(n), key, n_common) : 0;
    if (order)
        return order;
    return (n->key_len > key_len) - (n->key_len < key_len);
}

static struct kv_value node_value(const struct node *n)
{
    return (struct kv_value){n->value, n->value_len, n->revision, n->create_revision, n->version};
}

/* The links of each level in use that lead to the first node not below key. */
struct path {
    struct node **links[HEIGHT_MAX];
};

/* The first node whose key is not below the given one; NULL when there is none. */
static struct node *find(struct memtable *m, const void *key, size_t key_len, struct path *path)
{
    struct node **tower = m->head;
    struct node *not_below = NULL; /* found so on the level above: need not be compared again */
    for (unsigned level = m->height; level-- > 0;) {
        struct node *n;
        while ((n = tower[level]) && n != not_below && node_compare(n, key, key_len) < 0)
            tower = n->next;
        not_below = n;
        if (path)
            path->links[level] = &tower[level];
    }
    return not_below;
}

static struct node *find_exact(const struct memtable *m, const void *key, size_t key_len)
{
    /* Without a path, find() hands out nothing to write through. */
    struct node *n = find((struct memtable *)m, key, key_len, NULL);
    return n && node_compare(n, key, key_len) == 0 ? n : NULL;
}

struct memtable *memtable_new(void)
{
    struct memtable *m = mem_zalloc(sizeof *m);
    m->height = 1;
    m->heights.state = HEIGHT_SEED;
    m->bytes = sizeof *m;
    return m;
}

void memtable_free(struct memtable **m)
{
    if (!*m)
        return;
    for (struct node *n = (*m)->head[0], *next; n; n = next) {
        next = n->next[0];
        mem_free(n->value);
        mem_free(n);
    }
    MEM_FREE(*m);
}

int memtable_get(const struct memtable *m, const void *key, size_t key_len,
                 struct kv_value *ret_value)
{
    const struct node *n = find_exact(m, key, key_len);
    if (!n)
        return ERR_NOT_FOUND;
    *ret_value = node_value(n);
    return 0;
}

/* Reuses the value's block unless it is too small, or a small value would hold a large block. */
static void node_set_value(struct memtable *m, struct node *n, const void *value, size_t len)
{
    size_t cap = len > VALUE_CAP_MIN ? len : VALUE_CAP_MIN;
    if (cap > n->value_cap || cap < n->value_cap / 4) {
        mem_free(n->value);
        n->value = mem_alloc(cap);
        m->bytes = m->bytes - n->value_cap + cap;
        n->value_cap = cap;
    }
    if (len)
        memcpy(n->value, value, len);
    n->value_len = len;
}

static uint8_t random_height(struct memtable *m)
{
    uint64_t bits = rng_next(&m->heights);
    uint8_t height = 1;
    for (; height < HEIGHT_MAX && (bits & 3) == 0; bits >>= 2)
        height++;
    return height;
}

static struct node *insert(struct memtable *m, const void *key, size_t key_len, struct path *path)
{
    uint8_t height = random_height(m);
    for (; m->height < height; m->height++)
        path->links[m->height] = &m->head[m->height];
    struct node *n = mem_zalloc(sizeof *n + height * sizeof n->next[0] + key_len);
    n->height = height;
    n->key_len = (uint16_t)key_len;
    memcpy(n->next + height, key, key_len);
    for (unsigned level = 0; level < height; level++) {
        n->next[level] = *path->links[level];
        *path->links[level] = n;
    }
    m->n_keys++;
    m->bytes += node_bytes(n);
    return n;
}

void memtable_put(struct memtable *m, const void *key, size_t key_len, const void *value,
                  size_t value_len, uint64_t revision)
{
    ASSERT(key_len >= 1 && key_len <= LIMIT_KEY_BYTES);
    struct path path;
    struct node *n = find(m, key, key_len, &path);
    if (!n || node_compare(n, key, key_len) != 0) {
        n = insert(m, key, key_len, &path);
        n->create_revision = revision;
    }
    node_set_value(m, n, value, value_len);
    n->revision = revision;
    n->version++;
}

bool memtable_delete(struct memtable *m, const void *key, size_t key_len)
{
    struct path path;
    struct node *n = find(m, key, key_len, &path);
    if (!n || node_compare(n, key, key_len) != 0)
        return false;
    for (unsigned level = 0; level < n->height; level++) {
        ASSERT(*path.links[level] == n);
        *path.links[level] = n->next[level];
    }
    while (m->height > 1 && !m->head[m->height - 1])
        m->height--;
    m->n_keys--;
    m->bytes -= node_bytes(n) + n->value_cap;
    mem_free(n->value);
    mem_free(n);
    return true;
}

void memtable_visit(const struct memtable *m, const void *from, size_t from_len, kv_visit_fn *fn,
                    void *ctx)
{
    const struct node *n = from_len ? find((struct memtable *)m, from, from_len, NULL) : m->head[0];
    for (; n; n = n->next[0]) {
        struct kv_value value = node_value(n);
        if (!fn(ctx, node_key(n), n->key_len, &value))
            return;
    }
}

uint64_t memtable_n_keys(const struct memtable *m)
{
    return m->n_keys;
}

uint64_t memtable_bytes(const struct memtable *m)
{
    return m->bytes;
}
