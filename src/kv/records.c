/* SPDX-License-Identifier: MIT
 * What a key has comes from the active memtable, the frozen one or the base;
 * what is written goes into the active memtable, and the counts follow.
 */
#include "kv/core.h"
#include "kv/digest.h"

/* ---- reading ---- */

void kv_end_batch(struct kv *kv)
{
    if (kv->below)
        kv->below->ops->close(kv->below);
    kv->below = NULL;
    records_end_ahead(kv);
}

static struct kv_base_view *below(struct kv *kv)
{
    if (!kv->below)
        kv->below = kv->base->ops->view(kv->base);
    return kv->below;
}

static int get_from_base(struct kv *kv, const void *key, size_t key_len, struct kv_value *ret_value)
{
    if (!kv->base)
        return ERR_NOT_FOUND;
    return below(kv)->ops->get(kv->below, key, key_len, ret_value);
}

static int get_below_active(struct kv *kv, const void *key, size_t key_len,
                            struct kv_value *ret_value)
{
    struct kv_record r;
    if (kv->frozen && memtable_get(kv->frozen, key, key_len, MEMTABLE_NEWEST, &r) == 0) {
        if (r.deleted)
            return ERR_NOT_FOUND;
        *ret_value = r.value;
        return 0;
    }
    int err = get_from_base(kv, key, key_len, ret_value);
    if (err == ERR_TIMEOUT) { /* the process was stopped in the middle of a batch */
        kv_end_batch(kv);
        err = get_from_base(kv, key, key_len, ret_value);
    }
    return err;
}

/* NULL: this key was not searched for ahead. Some that were are never asked for: those of a command
 * that was carried out before. */
static const struct memtable_ahead *found_ahead(struct ahead *a, const void *key)
{
    for (unsigned i = a->next; i < a->n; i++) {
        if (a->keys[i] == key) {
            a->next = i + 1;
            return &a->found[i];
        }
    }
    return NULL;
}

static bool find_in_active(struct kv *kv, const void *key, size_t key_len,
                           struct memtable_place *ret_place, struct kv_record *ret_record)
{
    if (kv->near) {
        bool is_there = memtable_find_on(kv->active, key, key_len, kv->near, ret_record);
        *ret_place = *kv->near;
        return is_there;
    }
    const struct memtable_ahead *from = found_ahead(&kv->ahead, key);
    return from ? memtable_find_from(kv->active, key, key_len, from, ret_place, ret_record)
                : memtable_find(kv->active, key, key_len, ret_place, ret_record);
}

int records_find(struct kv *kv, const void *key, size_t key_len, struct memtable_place *ret_place,
                 struct kv_value *ret_value)
{
    struct kv_record r;
    if (!find_in_active(kv, key, key_len, ret_place, &r))
        return get_below_active(kv, key, key_len, ret_value);
    if (r.deleted)
        return ERR_NOT_FOUND;
    *ret_value = r.value;
    return 0;
}

/* What is below is seldom asked when the active memtable has most of the keys. */
void records_find_ahead(struct kv *kv, const struct kv_bytes keys[], unsigned n)
{
    struct ahead *a = &kv->ahead;
    if (kv->frozen)
        memtable_find_ahead(kv->frozen, keys, n, a->found); /* only fetches */
    memtable_find_ahead(kv->active, keys, n, a->found);
    for (a->n = 0; a->n < n; a->n++)
        a->keys[a->n] = keys[a->n].p;
    a->next = 0;
    if (kv->base && memtable_keys(kv->active) < kv->n_keys / 2)
        below(kv)->ops->prefetch(kv->below, keys, n);
}

int kv_get(struct kv *kv, const void *key, size_t key_len, struct kv_value *ret_value)
{
    struct memtable_place place;
    return records_find(kv, key, key_len, &place, ret_value);
}

struct kv_cursor *records_cursor(struct kv *kv)
{
    struct kv_cursor *sources[3];
    unsigned n = 0;
    sources[n++] = memtable_cursor(kv->active, MEMTABLE_NEWEST);
    if (kv->frozen)
        sources[n++] = memtable_cursor(kv->frozen, MEMTABLE_NEWEST);
    if (kv->base)
        sources[n++] = below(kv)->ops->cursor(kv->below);
    return kv_merge_new(sources, n, true);
}

/* ---- writing ---- */

/* The memtable remembers the digest of what it has; below it is made from the value again. */
static uint64_t digest_of_old(const struct memtable_place *place, const struct kv_value *old,
                              const struct kv_record *new)
{
    if (!old || place->node)
        return old ? place->digest : 0;
    struct kv_record record = {.key = new->key, .key_len = new->key_len, .value = *old};
    return kv_record_digest(&record);
}

void records_replace(struct kv *kv, struct memtable_place *place, const struct kv_value *old,
                     const struct kv_record *new)
{
    kv->digest -= digest_of_old(place, old, new);
    if (old) {
        kv->n_keys--;
        kv->bytes -= new->key_len + old->len;
    }
    if (!new->deleted) {
        kv->n_keys++;
        kv->bytes += new->key_len + new->value.len;
    }
    place->digest = kv_record_digest(new);
    kv->digest += place->digest;
    memtable_put(kv->active, place, new);
    if (kv->on_change)
        kv->on_change(kv->on_change_ctx, new);
}

void records_put(struct kv *kv, struct memtable_place *place, const struct kv_op *op,
                 const struct kv_value *old, struct kv_value *value)
{
    value->revision = kv->at.index;
    value->create_revision = old ? old->create_revision : kv->at.index;
    value->version = old ? old->version + 1 : 1;
    struct kv_record record = {.key = op->key, .key_len = op->key_len, .value = *value};
    records_replace(kv, place, old, &record);
}

void records_delete(struct kv *kv, struct memtable_place *place, const void *key, size_t key_len,
                    const struct kv_value *old)
{
    struct kv_record tombstone = {
        .key = key,
        .key_len = key_len,
        .deleted = true,
        .value = {.revision = kv->at.index},
    };
    records_replace(kv, place, old, &tombstone);
}
