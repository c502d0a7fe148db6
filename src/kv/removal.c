/* SPDX-License-Identifier: MIT
 * Remove-prefix: all keys of a prefix are counted and then removed, both slice
 * by slice, so that whoever applies can do something else in between. No view
 * sees any of it before the last key is gone: they read as of an earlier index
 * until then, and nothing may be frozen meanwhile (kv.h).
 */
#include <string.h>

#include "kv/core.h"

void removal_begin(struct kv *kv, const struct kv_op *op, struct session_answer *answer)
{
    struct removal *rm = &kv->removal;
    rm->under_way = true;
    rm->counted = false;
    memcpy(rm->prefix, op->key, op->key_len);
    rm->prefix_len = op->key_len;
    rm->max = op->max;
    rm->n_found = rm->n_removed = 0;
    rm->last_len = 0;
    rm->answer = answer;
}

static void answer(struct kv *kv, enum kv_code code)
{
    struct removal *rm = &kv->removal;
    struct kv_answer_item item = {
        .what = KV_ANSWER_RESULT,
        .code = code,
        .revision = code == KV_DONE ? kv->at.index : 0,
        .n_deleted = rm->n_removed,
    };
    kv_answer_put(&kv->answer, &item);
    rm->under_way = false;
}

static bool is_last(const struct removal *rm, const struct kv_record *r)
{
    return r->key_len == rm->last_len && memcmp(r->key, rm->last, rm->last_len) == 0;
}

static bool has_prefix(const struct removal *rm, const struct kv_record *r)
{
    return r->key_len >= rm->prefix_len && memcmp(r->key, rm->prefix, rm->prefix_len) == 0;
}

static void remove_one(struct kv *kv, const struct kv_record *r)
{
    struct memtable_place place;
    struct kv_record active;
    memtable_find(kv->active, r->key, r->key_len, &place, &active);
    records_delete(kv, &place, r->key, r->key_len, &r->value);
    kv->removal.n_removed++;
}

static void take(struct kv *kv, const struct kv_record *r)
{
    struct removal *rm = &kv->removal;
    memcpy(rm->last, r->key, r->key_len);
    rm->last_len = r->key_len;
    if (r->deleted)
        return;
    if (rm->counted)
        remove_one(kv, r);
    else
        rm->n_found++;
}

/* NOT_FOUND: that was the last one. */
static int walk(struct kv *kv, struct kv_cursor *c)
{
    struct removal *rm = &kv->removal;
    struct kv_record r;
    size_t bytes = 0;
    int err = rm->last_len ? kv_cursor_seek(c, rm->last, rm->last_len, &r)
                           : kv_cursor_seek(c, rm->prefix, rm->prefix_len, &r);
    if (err == 0 && rm->last_len && is_last(rm, &r))
        err = kv_cursor_next(c, &r);
    for (unsigned n = 0; err == 0 && n < kv->slice_keys && bytes < SLICE_BYTES; n++) {
        if (!has_prefix(rm, &r))
            return ERR_NOT_FOUND;
        take(kv, &r);
        bytes += r.value.len;
        if (rm->n_found > rm->max)
            return ERR_NOT_FOUND;
        err = kv_cursor_next(c, &r);
    }
    return err;
}

static int slice(struct kv *kv)
{
    struct kv_cursor *c = records_cursor(kv);
    int err = walk(kv, c);
    kv_cursor_close(&c);
    kv_end_batch(kv);
    return err;
}

int removal_step(struct kv *kv)
{
    struct removal *rm = &kv->removal;
    int err = slice(kv);
    if (err == ERR_TIMEOUT) /* the process was stopped in the middle: goes on behind `last` */
        err = slice(kv);
    if (err != ERR_NOT_FOUND)
        return err;
    if (rm->n_found > rm->max) {
        answer(kv, KV_TOO_LARGE);
    } else if (rm->counted || rm->n_found == 0) {
        answer(kv, KV_DONE);
    } else {
        rm->counted = true;
        rm->last_len = 0;
    }
    return 0;
}
