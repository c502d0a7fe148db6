/* SPDX-License-Identifier: MIT */
#include "node/machine.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/mem.h"
#include "node/meta.h"
#include "kv/view.h"
#include "raft/config.h"

#define DIGESTS 8192 /* indexes: a fraction of a second at full speed */

struct digest_at {
    uint64_t index, digest;
};

struct machine {
    /* Of leader_hint and of which memtables and base kv has, never held for long: what was read of
     * them is read through a view, without a lock. */
    pthread_mutex_t lock;
    struct kv *kv;
    struct uuid leader_hint;
    struct term_leader terms[NODE_META_TERMS]; /* ring, by term */
    unsigned terms_next;
    unsigned slice_keys, ahead_keys;
    struct digest_at digest;           /* after the last entry that is whole */
    struct digest_at digests[DIGESTS]; /* those before too: a ring, by index */
    kv_change_fn *on_change;
    void *on_change_ctx;
    atomic_bool member;
    atomic_ullong confirmed_ms;
};

struct machine *machine_new(void)
{
    struct machine *s = mem_zalloc(sizeof *s);
    ASSERT(pthread_mutex_init(&s->lock, NULL) == 0);
    s->kv = kv_new();
    return s;
}

void machine_set_sizes(struct machine *s, unsigned slice_keys, unsigned ahead_keys)
{
    s->slice_keys = slice_keys;
    s->ahead_keys = ahead_keys;
    kv_set_sizes(s->kv, slice_keys, ahead_keys);
}

void machine_free(struct machine **s)
{
    if (!*s)
        return;
    kv_free(&(*s)->kv);
    pthread_mutex_destroy(&(*s)->lock);
    MEM_FREE(*s);
}

void machine_note_leader(struct machine *s, uint64_t term, struct uuid leader)
{
    if (uuid_is_zero(leader) || !uuid_is_zero(machine_leader_of(s, term)))
        return;
    s->terms[s->terms_next] = (struct term_leader){term, leader};
    s->terms_next = (s->terms_next + 1) % NODE_META_TERMS;
}

struct uuid machine_leader_of(const struct machine *s, uint64_t term)
{
    for (unsigned i = 0; i < NODE_META_TERMS; i++)
        if (s->terms[i].term == term)
            return s->terms[i].leader;
    return UUID_ZERO;
}

static int apply_config(struct machine *s, const struct raft_entry *e)
{
    struct raft_config *config = mem_alloc(sizeof *config);
    struct uuid ids[LIMIT_MEMBERS];
    int err = raft_config_decode(e->data, e->len, config);
    if (err == 0) {
        for (unsigned i = 0; i < config->n_members; i++)
            ids[i] = config->members[i].id;
        kv_apply_members(s->kv, (struct kv_pos){e->pos.term, e->pos.index}, ids, config->n_members);
        /* The first entry of all is nobody's proposal: its founder's, by convention the first. */
        if (e->pos.index == 1)
            machine_note_leader(s, e->pos.term, ids[0]);
    }
    mem_free(config);
    return err == 0 ? 0 : ERR_CORRUPT;
}

/* A command that takes long: the first slice of it, or the next. */
static int apply_one(struct machine *s, const struct raft_entry *e, struct kv_result *ret_result)
{
    struct kv_pos pos = {e->pos.term, e->pos.index};
    *ret_result = (struct kv_result){.pos = pos};
    switch (e->type) {
    case RAFT_ENTRY_COMMAND:
        if (kv_is_applying(s->kv))
            return kv_apply_more(s->kv, ret_result);
        return kv_apply_begin(s->kv, pos, e->data, e->len, ret_result);
    case RAFT_ENTRY_CONFIG:
        return apply_config(s, e);
    case RAFT_ENTRY_NOOP:
        if (e->len == RAFT_NOOP_BYTES)
            machine_note_leader(
                s, e->pos.term,
                (struct uuid){bytes_get_be(e->data, 8), bytes_get_be(e->data + 8, 8)});
        kv_apply_nothing(s->kv, pos);
        return 0;
    }
    return ERR_CORRUPT;
}

static void note_digest(struct machine *s)
{
    s->digest = (struct digest_at){kv_applied(s->kv).index, kv_digest(s->kv)};
    s->digests[s->digest.index % DIGESTS] = s->digest;
}

/* What the next commands need is fetched for several of them at a time. */
static void prefetch(struct machine *s, struct raft_entry *const entries[], unsigned n)
{
    struct kv_bytes commands[KV_PREFETCH_MAX];
    unsigned n_commands = 0;
    for (unsigned i = 0; i < n && i < KV_PREFETCH_MAX; i++)
        if (entries[i]->type == RAFT_ENTRY_COMMAND)
            commands[n_commands++] = (struct kv_bytes){entries[i]->data, entries[i]->len};
    kv_prefetch(s->kv, commands, n_commands);
}

int machine_apply_some(struct machine *s, struct raft_entry *const entries[], unsigned n,
                       machine_applied_fn *done, void *ctx, unsigned *ret_n)
{
    unsigned i = 0;
    int err = 0;
    for (; i < n; i++) {
        struct kv_result result;
        if (i % KV_PREFETCH_MAX == 0)
            prefetch(s, entries + i, n - i);
        err = apply_one(s, entries[i], &result);
        if (err != 0 || result.more)
            break;
        note_digest(s);
        if (done)
            done(ctx, entries[i], &result);
    }
    kv_end_batch(s->kv);
    if (err == 0)
        *ret_n = i;
    return err;
}

int machine_apply(struct machine *s, struct raft_entry *const entries[], unsigned n,
                  machine_applied_fn *done, void *ctx)
{
    int err = 0;
    for (unsigned i = 0, n_done = 0; i < n && err == 0; i += n_done)
        err = machine_apply_some(s, entries + i, n - i, done, ctx, &n_done);
    return err;
}

int machine_replay(struct machine *s, const struct raft_entry *e)
{
    struct kv_result result;
    if (e->type == RAFT_ENTRY_COMMAND)
        return kv_replay(s->kv, (struct kv_pos){e->pos.term, e->pos.index}, e->data, e->len);
    return apply_one(s, e, &result);
}

int machine_replay_end(struct machine *s)
{
    int err = kv_replay_end(s->kv);
    if (err == 0)
        note_digest(s);
    return err;
}

struct raft_pos machine_applied(const struct machine *s)
{
    struct kv_pos pos = kv_applied(s->kv);
    return (struct raft_pos){.term = pos.term, .index = pos.index};
}

uint64_t machine_digest(const struct machine *s, uint64_t *ret_index)
{
    *ret_index = s->digest.index;
    return s->digest.digest;
}

int machine_digest_at(const struct machine *s, uint64_t index, uint64_t *ret_digest)
{
    const struct digest_at *at = &s->digests[index % DIGESTS];
    if (index == 0 || at->index != index)
        return ERR_NOT_FOUND;
    *ret_digest = at->digest;
    return 0;
}

uint64_t machine_version(const struct machine *s, const void *key, size_t key_len)
{
    struct kv_value value;
    int err = kv_get(s->kv, key, key_len, &value);
    kv_end_batch(s->kv);
    return err == 0 ? value.version : 0;
}

bool machine_is_applying(const struct machine *s)
{
    return kv_is_applying(s->kv);
}

void machine_on_change(struct machine *s, kv_change_fn *fn, void *ctx)
{
    s->on_change = fn;
    s->on_change_ctx = ctx;
    kv_on_change(s->kv, fn, ctx);
}

uint64_t machine_member_since(const struct machine *s, struct uuid node)
{
    return kv_member_since(s->kv, node);
}

struct kv_stats machine_stats(const struct machine *s)
{
    return kv_stats(s->kv);
}

/* ---- checkpoints and snapshots ---- */

void machine_meta(const struct machine *s, struct uuid cluster, const struct raft_config *config,
                  struct raft_pos config_pos, struct buf *out)
{
    struct node_meta *m = mem_zalloc(sizeof *m);
    struct buf kv = BUF_INIT;
    kv_meta(s->kv, &kv);
    m->cluster = cluster;
    m->base = (struct raft_base){machine_applied(s), config_pos, *config};
    for (unsigned i = 0; i < NODE_META_TERMS; i++)
        if (s->terms[i].term > 0)
            m->terms[m->n_terms++] = s->terms[i];
    m->kv = kv.data;
    m->kv_len = kv.len;
    node_meta_encode(m, out);
    buf_free(&kv);
    mem_free(m);
}

/* Bytes -> meta; no bytes: all zero. */
static int open_meta(const void *p, size_t len, struct node_meta **ret_meta)
{
    struct node_meta *m = mem_zalloc(sizeof *m);
    int err = len > 0 ? node_meta_decode(p, len, m) : 0;
    if (err)
        mem_free(m);
    else
        *ret_meta = m;
    return err;
}

/* Takes m. */
static void take_over(struct machine *s, struct node_meta *m, struct raft_base *ret_base)
{
    *ret_base = m->base;
    note_digest(s);
    for (unsigned i = 0; i < m->n_terms; i++)
        machine_note_leader(s, m->terms[i].term, m->terms[i].leader);
    mem_free(m);
}

int machine_install(struct machine *s, const void *meta, size_t len, struct kv_base *base,
                    struct raft_base *ret_base)
{
    struct node_meta *m;
    int err = len > 0 ? open_meta(meta, len, &m) : ERR_CORRUPT;
    if (err)
        return err;
    pthread_mutex_lock(&s->lock);
    err = kv_install(s->kv, m->kv, m->kv_len, base);
    pthread_mutex_unlock(&s->lock);
    if (err)
        mem_free(m);
    else
        take_over(s, m, ret_base);
    return err;
}

int machine_restore(struct machine *s, const void *meta, size_t len, struct kv_base *base,
                    struct raft_base *ret_base)
{
    struct node_meta *m;
    struct kv *kv;
    int err = open_meta(meta, len, &m);
    if (err)
        return err;
    err = kv_restore(m->kv, m->kv_len, base, &kv);
    if (err) {
        mem_free(m);
        return err;
    }
    kv_free(&s->kv);
    s->kv = kv;
    kv_on_change(kv, s->on_change, s->on_change_ctx);
    kv_set_sizes(kv, s->slice_keys, s->ahead_keys);
    take_over(s, m, ret_base);
    return 0;
}

int machine_freeze(struct machine *s, struct kv_frozen **ret_frozen)
{
    pthread_mutex_lock(&s->lock);
    int err = kv_freeze(s->kv, ret_frozen);
    pthread_mutex_unlock(&s->lock);
    return err;
}

void machine_drop_frozen(struct machine *s, struct kv_frozen **frozen)
{
    pthread_mutex_lock(&s->lock);
    kv_drop_frozen(s->kv, frozen);
    pthread_mutex_unlock(&s->lock);
}

struct kv_view *machine_view(struct machine *s)
{
    pthread_mutex_lock(&s->lock);
    struct kv_view *view = kv_view_new(s->kv);
    pthread_mutex_unlock(&s->lock);
    return view;
}

int machine_get_value(struct machine *s, const void *key, size_t key_len, struct kv_value *ret_info,
                      struct buf *value, struct buf *attrs)
{
    struct kv_value found;
    pthread_mutex_lock(&s->lock);
    struct kv_view *view = kv_view_new_lazy(s->kv);
    pthread_mutex_unlock(&s->lock);
    int err = kv_view_get(view, key, key_len, &found);
    if (err == 0) {
        if (value)
            buf_append(value, found.data, found.len);
        if (attrs)
            buf_append(attrs, found.attrs, found.attrs_len);
        *ret_info = found;
        ret_info->data = ret_info->attrs = NULL; /* they go with the view */
    }
    kv_view_close(&view);
    return err;
}

int machine_get(struct machine *s, const void *key, size_t key_len, struct buf *out)
{
    struct kv_value info;
    return machine_get_value(s, key, key_len, &info, out, NULL);
}

uint64_t machine_revision(struct machine *s, const void *key, size_t key_len)
{
    struct kv_value info;
    return machine_get_value(s, key, key_len, &info, NULL, NULL) == 0 ? info.revision : 0;
}

/* The kv is the same from the start of the node on. */
uint64_t machine_visible(const struct machine *s)
{
    return kv_visible(s->kv);
}

struct machine_standing machine_standing(const struct machine *s)
{
    return (struct machine_standing){
        .member = atomic_load_explicit(&s->member, memory_order_relaxed),
        .confirmed_ms = atomic_load_explicit(&s->confirmed_ms, memory_order_relaxed),
    };
}

void machine_set_standing(struct machine *s, struct machine_standing standing)
{
    atomic_store_explicit(&s->member, standing.member, memory_order_relaxed);
    atomic_store_explicit(&s->confirmed_ms, standing.confirmed_ms, memory_order_relaxed);
}

struct uuid machine_leader_hint(struct machine *s)
{
    pthread_mutex_lock(&s->lock);
    struct uuid leader = s->leader_hint;
    pthread_mutex_unlock(&s->lock);
    return leader;
}

void machine_set_leader_hint(struct machine *s, struct uuid leader)
{
    pthread_mutex_lock(&s->lock);
    s->leader_hint = leader;
    pthread_mutex_unlock(&s->lock);
}
