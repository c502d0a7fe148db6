/* SPDX-License-Identifier: MIT */
#include "kv_machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/crc32c.h"
#include "base/mem.h"
#include "mem_base.h"

struct logged {
    struct kv_pos pos;
    bool is_members;
    struct buf command; /* of members: their ids */
};

enum { FREEZE, WRITE_RUN, DROP, CRASH, INSTALL, HOLD_VIEW, END_BATCH, EXPIRE, N_KINDS };

struct kv_machine {
    struct kv *kv;
    struct logged *log; /* all of it */
    size_t n_logged, log_cap;
    /* durable: */
    struct kv_base *base;
    struct buf meta;
    /* a checkpoint under way: */
    struct kv_frozen *frozen;
    struct buf frozen_meta;
    bool run_written;
    /* a view held for a while, and what it showed at first */
    struct kv_view *view;
    uint32_t view_crc;
    unsigned n_done[N_KINDS];
};

struct kv_machine *kv_machine_new(void)
{
    struct kv_machine *m = mem_zalloc(sizeof *m);
    m->base = mem_base_new();
    assert_int_equal(kv_restore(NULL, 0, m->base, &m->kv), 0);
    return m;
}

void kv_machine_free(struct kv_machine **m)
{
    kv_view_close(&(*m)->view);
    kv_frozen_free(&(*m)->frozen);
    buf_free(&(*m)->frozen_meta);
    kv_free(&(*m)->kv);
    assert_int_equal(mem_base_n_views((*m)->base), 0);
    (*m)->base->ops->unref((*m)->base);
    buf_free(&(*m)->meta);
    for (size_t i = 0; i < (*m)->n_logged; i++)
        buf_free(&(*m)->log[i].command);
    mem_free((*m)->log);
    MEM_FREE(*m);
}

struct kv *kv_machine_kv(struct kv_machine *m)
{
    return m->kv;
}

unsigned kv_machine_least_done(const struct kv_machine *m)
{
    unsigned least = m->n_done[0];
    for (unsigned i = 1; i < N_KINDS; i++)
        least = m->n_done[i] < least ? m->n_done[i] : least;
    return least;
}

uint32_t kv_view_crc(struct kv_view *view)
{
    struct kv_cursor *c = kv_view_cursor(view);
    struct kv_record r;
    uint8_t last[LIMIT_KEY_BYTES + 1] = {0};
    uint32_t crc = 0;
    int err = kv_cursor_seek(c, NULL, 0, &r);
    for (; err == 0; err = kv_cursor_next(c, &r)) {
        uint8_t key[LIMIT_KEY_BYTES + 1] = {0};
        uint64_t numbers[] = {r.value.revision, r.value.create_revision, r.value.version};
        memcpy(key, r.key, r.key_len);
        assert_true(memcmp(last, key, sizeof key) < 0);
        memcpy(last, key, sizeof key);
        crc = crc32c(crc, r.key, r.key_len);
        crc = crc32c(crc, r.value.data, r.value.len);
        crc = crc32c(crc, r.value.attrs, r.value.attrs_len);
        crc = crc32c(crc, numbers, sizeof numbers);
        assert_true(!r.deleted && r.value.revision <= kv_view_index(view));
    }
    assert_int_equal(err, ERR_NOT_FOUND);
    kv_cursor_close(&c);
    return crc;
}

/* ---- the log ---- */

static void keep(struct kv_machine *m, struct kv_pos pos, bool is_members, const void *p,
                 size_t len)
{
    if (m->n_logged == m->log_cap) {
        m->log_cap = m->log_cap ? 2 * m->log_cap : 64;
        m->log = mem_realloc(m->log, m->log_cap * sizeof *m->log);
    }
    struct logged *l = &m->log[m->n_logged++];
    *l = (struct logged){.pos = pos, .is_members = is_members};
    buf_append(&l->command, p, len);
}

void kv_machine_apply(struct kv_machine *m, struct kv_pos pos, const void *command, size_t len,
                      struct kv_result *ret_result)
{
    keep(m, pos, false, command, len);
    assert_int_equal(kv_apply(m->kv, pos, command, len, ret_result), 0);
}

void kv_machine_apply_members(struct kv_machine *m, struct kv_pos pos, const struct uuid ids[],
                              unsigned n)
{
    keep(m, pos, true, ids, n * sizeof ids[0]);
    kv_apply_members(m->kv, pos, ids, n);
}

static void replay_one(struct kv_machine *m, const struct logged *l)
{
    struct uuid ids[LIMIT_MEMBERS];
    if (!l->is_members) {
        assert_int_equal(kv_replay(m->kv, l->pos, l->command.data, l->command.len), 0);
        return;
    }
    if (l->command.len)
        memcpy(ids, l->command.data, l->command.len);
    kv_apply_members(m->kv, l->pos, ids, (unsigned)(l->command.len / sizeof ids[0]));
}

static void replay(struct kv_machine *m)
{
    struct kv_pos applied = kv_applied(m->kv);
    for (size_t i = 0; i < m->n_logged; i++)
        if (m->log[i].pos.index > applied.index)
            replay_one(m, &m->log[i]);
    assert_int_equal(kv_replay_end(m->kv), 0);
}

/* ---- disturbances: each returns whether it came to something ---- */

static bool freeze(struct kv_machine *m)
{
    struct kv_frozen *frozen = NULL;
    struct buf meta = BUF_INIT;
    kv_meta(m->kv, &meta);
    int err = kv_freeze(m->kv, &frozen);
    if (m->frozen) {
        assert_int_equal(err, ERR_NOT_ALLOWED);
        buf_free(&meta);
        return false;
    }
    assert_int_equal(err, 0);
    struct kv_meta_info info;
    buf_free(&m->frozen_meta);
    m->frozen_meta = meta;
    assert_int_equal(kv_meta_info(meta.data, meta.len, &info), 0);
    assert_int_equal(info.applied.index, kv_applied(m->kv).index);
    assert_int_equal(info.n_keys, kv_stats(m->kv).n_keys);
    m->frozen = frozen;
    m->run_written = false;
    return true;
}

static bool write_run(struct kv_machine *m)
{
    if (!m->frozen || m->run_written)
        return false;
    struct kv_cursor *run = kv_frozen_cursor(m->frozen);
    struct kv_meta_info info;
    mem_base_add_run(m->base, &run);
    buf_clear(&m->meta);
    buf_append(&m->meta, m->frozen_meta.data, m->frozen_meta.len);
    m->run_written = true;
    assert_int_equal(kv_meta_info(m->meta.data, m->meta.len, &info), 0);
    assert_int_equal(mem_base_n_records(m->base), info.n_keys);
    return true;
}

static bool drop(struct kv_machine *m)
{
    if (!m->run_written)
        return false;
    kv_drop_frozen(m->kv, &m->frozen);
    assert_null(m->frozen);
    m->run_written = false;
    return true;
}

static void restart(struct kv_machine *m)
{
    kv_free(&m->kv);
    kv_frozen_free(&m->frozen);
    m->run_written = false;
    assert_int_equal(kv_restore(m->meta.data, m->meta.len, m->base, &m->kv), 0);
}

static bool crash(struct kv_machine *m)
{
    restart(m);
    replay(m);
    return true;
}

/* A snapshot comes while the node is behind, and maybe while it writes a run. */
static bool install(struct kv_machine *m, struct kv *other)
{
    restart(m);
    if (kv_applied(m->kv).index == kv_applied(other).index)
        return false;
    assert_int_equal(kv_freeze(m->kv, &m->frozen), 0);
    struct kv_base *base = mem_base_new();
    struct kv_view *view = kv_view_new(other);
    struct kv_cursor *records = kv_view_cursor(view);
    mem_base_add_run(base, &records);
    kv_view_close(&view);
    buf_clear(&m->meta);
    kv_meta(other, &m->meta);
    assert_int_equal(kv_install(m->kv, m->meta.data, m->meta.len, base), 0);
    assert_int_equal(kv_install(m->kv, m->meta.data, m->meta.len, base), ERR_STALE);
    m->base->ops->unref(m->base);
    m->base = base;
    struct kv_frozen *late = m->frozen, *frozen;
    buf_clear(&m->frozen_meta);
    kv_meta(m->kv, &m->frozen_meta);
    assert_int_equal(kv_freeze(m->kv, &frozen), 0);
    kv_drop_frozen(m->kv, &late); /* the old checkpoint ends; it is not this one */
    assert_int_equal(kv_freeze(m->kv, &late), ERR_NOT_ALLOWED);
    m->frozen = frozen;
    return true;
}

static bool hold_view(struct kv_machine *m)
{
    bool held = m->view != NULL;
    if (held)
        assert_int_equal(kv_view_crc(m->view), m->view_crc);
    kv_view_close(&m->view);
    m->view = kv_view_new(m->kv);
    m->view_crc = kv_view_crc(m->view);
    assert_int_equal(kv_view_index(m->view), kv_applied(m->kv).index);
    return held;
}

/* The writer takes another view then; a reader's has ended. */
static bool expire(struct kv_machine *m)
{
    kv_view_close(&m->view);
    mem_base_expire_views(m->base);
    return true;
}

void kv_machine_disturb(struct kv_machine *m, struct rng *rng, struct kv *other)
{
    /* Half of them bring a checkpoint on, or few would reach their end. */
    unsigned kind = (unsigned)rng_range(rng, 0, rng_range(rng, 0, 1) ? DROP : N_KINDS - 1);
    bool done = kind == FREEZE      ? freeze(m)
                : kind == WRITE_RUN ? write_run(m)
                : kind == DROP      ? drop(m)
                : kind == CRASH     ? crash(m)
                : kind == INSTALL   ? install(m, other)
                : kind == HOLD_VIEW ? hold_view(m)
                : kind == EXPIRE    ? expire(m)
                                    : (kv_end_batch(m->kv), true);
    m->n_done[kind] += done;
}
