/* SPDX-License-Identifier: MIT
 * Forced operations (O_DSYNC writes that returned) are in every image; the
 * others as the kind of damage says.
 */
#include "damage.h"

#include "base/assert.h"

static const struct {
    const char *name, *text;
} kinds[] = {
#define X(name, text) {#name, text},
    DAMAGE_LIST(X)
#undef X
};

/* The images of a point, most telling first. (The first k operations alone are what KEPT made k
 * points ago.) Those after the first META only inside of a synced write. */
static const uint8_t variants[] = {
    DAMAGE_LOST,     DAMAGE_KEPT,     DAMAGE_NAMES,    DAMAGE_SUBSET,   DAMAGE_TORN_512,
    DAMAGE_ONE_LOST, DAMAGE_ONE_KEPT, DAMAGE_CUT,      DAMAGE_SUBSET,   DAMAGE_TORN_4K,
    DAMAGE_SIZE,     DAMAGE_NAMES,    DAMAGE_TORN_512, DAMAGE_SUBSET,   DAMAGE_TORN_4K,
    DAMAGE_CUT,      DAMAGE_LOCKS,    DAMAGE_NAMES,    DAMAGE_ONE_LOST, DAMAGE_TORN_512,
    DAMAGE_META,     DAMAGE_META,     DAMAGE_META,     DAMAGE_META,     DAMAGE_META,
    DAMAGE_META,     DAMAGE_META,     DAMAGE_META,     DAMAGE_META,     DAMAGE_META,
};
#define N_VARIANTS (sizeof variants / sizeof variants[0])
#define N_META     10

const char *damage_name(enum damage damage)
{
    return kinds[damage].name;
}

const char *damage_text(enum damage damage)
{
    return kinds[damage].text;
}

unsigned damage_variants(const struct disk *d)
{
    return (unsigned)N_VARIANTS - (disk_is_inside(d) ? 0 : N_META);
}

enum damage damage_of_variant(unsigned variant)
{
    return variants[variant];
}

static bool coin(struct rng *rng)
{
    return rng_next(rng) & 1;
}

static bool is_write(const struct disk_pending *p)
{
    return p->op->kind == TRACE_WRITE || p->op->kind == TRACE_SYNC_WRITE;
}

static bool is_name(const struct disk_pending *p)
{
    return !is_write(p) && p->op->kind != TRACE_TRUNCATE;
}

/* Some blocks of a write, which begin and end where the disk's do. */
static void put_torn(struct disk *d, const struct disk_pending *p, size_t block, struct rng *rng)
{
    size_t len = p->op->len, from = 0;
    while (from < len) {
        size_t n = block - (size_t)((p->op->offset + from) % block);
        n = n < len - from ? n : len - from;
        if (coin(rng))
            disk_put_bytes(d, p, from, n);
        from += n;
    }
}

/* The beginning of a write, up to a border between sectors. */
static void put_cut(struct disk *d, const struct disk_pending *p, struct rng *rng)
{
    uint64_t first = p->op->offset / DISK_SECTOR + 1;
    uint64_t last = (p->op->offset + p->op->len - 1) / DISK_SECTOR;
    if (first <= last)
        disk_put_bytes(d, p, 0,
                       (size_t)(rng_range(rng, first, last) * DISK_SECTOR - p->op->offset));
}

/* Within a sector: the beginning, the end, or some words. */
static void put_meta(struct disk *d, const struct disk_pending *p, struct rng *rng)
{
    size_t len = p->op->len, at = (size_t)rng_range(rng, 0, len), word = coin(rng) ? 8 : 2;
    switch (rng_range(rng, 0, 2)) {
    case 0:
        disk_put_bytes(d, p, 0, at);
        break;
    case 1:
        disk_put_bytes(d, p, at, len - at);
        break;
    default:
        put_torn(d, p, word, rng);
    }
}

static void put_sizes(struct disk *d, const struct disk_pending *p)
{
    if (is_write(p))
        disk_put_size(d, p->op->node, (size_t)p->op->offset + p->op->len);
}

/* What one kind of damage does to one pending operation, the i-th of n. */
struct choice {
    enum damage damage;
    size_t border; /* of CUT; of ONE_*: that one */
    bool all_data; /* of NAMES */
};

static void put_one(struct disk *d, const struct disk_pending *p, size_t i, const struct choice *c,
                    struct rng *rng)
{
    bool put = false;
    switch (c->damage) {
    case DAMAGE_KEPT:
        put = true;
        break;
    case DAMAGE_CUT:
        put = i < c->border;
        if (i == c->border && is_write(p))
            put_cut(d, p, rng);
        break;
    case DAMAGE_SUBSET:
        put = coin(rng);
        break;
    case DAMAGE_ONE_LOST:
        put = i != c->border;
        break;
    case DAMAGE_ONE_KEPT:
        put = i == c->border;
        break;
    case DAMAGE_TORN_512:
    case DAMAGE_TORN_4K:
        if (is_write(p))
            put_torn(d, p, c->damage == DAMAGE_TORN_4K ? DISK_PAGE : DISK_SECTOR, rng);
        else
            put = coin(rng);
        break;
    case DAMAGE_SIZE:
        put = is_name(p) && coin(rng);
        put_sizes(d, p);
        break;
    case DAMAGE_NAMES:
        put = is_name(p) ? coin(rng) : c->all_data;
        break;
    case DAMAGE_LOCKS:
        put = c->all_data;
        break;
    default: /* LOST, META */
        break;
    }
    if (put)
        disk_put(d, p);
}

/* Where nothing is pending, only the durable part can be there. */
static bool applies(const struct disk *d, enum damage damage, size_t n_unforced, bool names)
{
    switch (damage) {
    case DAMAGE_LOST:
        return true;
    case DAMAGE_LOCKS: /* not at every point: they have little to do with it */
        return d->at % 8 == 0;
    case DAMAGE_NAMES:
        return names;
    case DAMAGE_META:
        return disk_is_inside(d);
    case DAMAGE_KEPT:
    case DAMAGE_CUT:
    case DAMAGE_TORN_512:
    case DAMAGE_TORN_4K:
    case DAMAGE_SIZE:
        return n_unforced > 0;
    default:
        return n_unforced > 1;
    }
}

bool damage_build(struct disk *d, unsigned variant, struct rng *rng, enum stage_locks *ret_locks)
{
    struct choice c = {.damage = variants[variant]};
    size_t n = 0, i = 0;
    bool names = false;
    for (size_t k = 0; k < d->n_pending; k++) {
        n += !d->pending[k].forced;
        names |= is_name(&d->pending[k]);
    }
    *ret_locks = STAGE_LOCKS_KEPT;
    if (!applies(d, c.damage, n, names))
        return false;
    c.border = n ? (size_t)rng_range(rng, 0, n - 1) : 0;
    c.all_data = coin(rng);
    if (c.damage == DAMAGE_LOCKS)
        *ret_locks = (enum stage_locks)rng_range(rng, STAGE_LOCKS_ABSENT, STAGE_LOCKS_GARBAGE);
    for (size_t k = 0; k < d->n_pending; k++) {
        const struct disk_pending *p = &d->pending[k];
        if (p->forced)
            disk_put(d, p);
        else
            put_one(d, p, i++, &c, rng);
    }
    if (c.damage == DAMAGE_META)
        put_meta(d, &d->pending[d->n_pending - 1], rng);
    return true;
}
