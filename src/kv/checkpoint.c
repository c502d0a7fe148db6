/* SPDX-License-Identifier: MIT
 * The state machine as a whole: made, frozen for a run file, replaced by a
 * snapshot.
 */
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "kv/core.h"
#include "kv/meta.h"

static struct kv_base *base_ref(struct kv_base *base)
{
    if (base)
        base->ops->ref(base);
    return base;
}

static void base_unref(struct kv_base **base)
{
    if (*base)
        (*base)->ops->unref(*base);
    *base = NULL;
}

/* ---- made and freed ---- */

struct kv *kv_new(void)
{
    struct kv *kv = mem_zalloc(sizeof *kv);
    kv->active = memtable_new();
    kv->sessions = session_table_new();
    kv->once = once_table_new();
    kv_set_sizes(kv, 0, 0);
    atomic_init(&kv->published, 0);
    memset(kv->all_set, KV_ANSWER_SET, sizeof kv->all_set);
    return kv;
}

void kv_free(struct kv **kv)
{
    struct kv *it = *kv;
    if (!it)
        return;
    kv_end_batch(it);
    replay_free(it);
    memtable_unref(&it->active);
    memtable_unref(&it->frozen);
    base_unref(&it->base);
    session_table_free(&it->sessions);
    once_table_free(&it->once);
    buf_free(&it->answer);
    MEM_FREE(*kv);
}

/* ---- meta ---- */

static struct meta meta_of(const struct kv *kv)
{
    return (struct meta){.info = {kv->applied, kv->n_keys, kv->bytes, kv->digest},
                         .sessions = kv->sessions,
                         .once = kv->once};
}

void kv_meta(const struct kv *kv, struct buf *out)
{
    ASSERT(!kv->removal.under_way);
    struct meta meta = meta_of(kv);
    meta_encode(&meta, out);
}

int kv_meta_move(const void *p, size_t len, struct kv_pos to, const struct uuid ids[], unsigned n,
                 struct buf *out)
{
    struct meta meta;
    int err = meta_decode(p, len, &meta);
    if (err)
        return err;
    if (to.index > meta.info.applied.index && to.term >= meta.info.applied.term) {
        session_table_set_members(meta.sessions, to.index, ids, n);
        meta.info.applied = to;
        meta_encode(&meta, out);
    } else {
        err = ERR_INVALID;
    }
    meta_free(&meta);
    return err;
}

static int decode(const void *p, size_t len, struct meta *ret_meta)
{
    if (len > 0)
        return meta_decode(p, len, ret_meta);
    *ret_meta = (struct meta){.sessions = session_table_new(), .once = once_table_new()};
    return 0;
}

/* Everything is as meta says, and lies in base. Takes what meta owns. */
static void replace(struct kv *kv, const struct meta *meta, struct kv_base *base)
{
    base_ref(base); /* before the old one goes: it may be the same */
    kv_end_batch(kv);
    memtable_unref(&kv->active);
    memtable_unref(&kv->frozen);
    base_unref(&kv->base);
    session_table_free(&kv->sessions);
    once_table_free(&kv->once);
    kv->active = memtable_new();
    kv->base = base;
    kv->applied = kv->at = meta->info.applied;
    kv->removal.under_way = false;
    kv->n_keys = meta->info.n_keys;
    kv->bytes = meta->info.bytes;
    kv->digest = meta->info.digest;
    kv->sessions = meta->sessions;
    kv->once = meta->once;
    kv->once_pending.name_len = 0;
    kv_publish(kv);
}

int kv_restore(const void *meta, size_t len, struct kv_base *base, struct kv **ret_kv)
{
    struct meta decoded;
    int err = decode(meta, len, &decoded);
    if (err)
        return err;
    *ret_kv = kv_new();
    replace(*ret_kv, &decoded, base);
    return 0;
}

int kv_install(struct kv *kv, const void *meta, size_t len, struct kv_base *base)
{
    struct meta decoded;
    int err = meta_decode(meta, len, &decoded);
    if (err)
        return err;
    if (decoded.info.applied.index <= kv->applied.index) {
        meta_free(&decoded);
        return ERR_STALE;
    }
    replace(kv, &decoded, base);
    return 0;
}

/* ---- frozen ---- */

int kv_freeze(struct kv *kv, struct kv_frozen **ret_frozen)
{
    if (kv->frozen || kv->removal.under_way)
        return ERR_NOT_ALLOWED;
    ASSERT(!kv->replay);
    struct kv_frozen *f = mem_zalloc(sizeof *f);
    f->applied = kv->applied;
    f->records = memtable_ref(kv->active);
    kv_end_batch(kv);
    kv->frozen = kv->active;
    kv->active = memtable_new();
    *ret_frozen = f;
    return 0;
}

struct kv_cursor *kv_frozen_cursor(const struct kv_frozen *frozen)
{
    return memtable_cursor(frozen->records, MEMTABLE_NEWEST);
}

void kv_frozen_free(struct kv_frozen **frozen)
{
    if (!*frozen)
        return;
    memtable_unref(&(*frozen)->records);
    MEM_FREE(*frozen);
}

void kv_drop_frozen(struct kv *kv, struct kv_frozen **frozen)
{
    if (kv->frozen == (*frozen)->records) {
        kv_end_batch(kv); /* a view from before the run was there would miss it */
        memtable_unref(&kv->frozen);
    }
    kv_frozen_free(frozen);
}
