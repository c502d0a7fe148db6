/* SPDX-License-Identifier: MIT
 * The entry at 1 makes this node a member, so that its commands count; each
 * further one sets a key or deletes one.
 */
#include "store_machine.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"

#define TERM        1
#define PIECE_BYTES 700

static const struct uuid node = {7, 7};

/* ---- what an index means ---- */

struct meaning {
    char key[16], value[64];
    bool deletes;
};

static struct meaning meaning_of(uint64_t index)
{
    struct meaning w;
    snprintf(w.key, sizeof w.key, "key-%02u", (unsigned)(index * 7919 % MACHINE_KEYS));
    snprintf(w.value, sizeof w.value, "value of the entry at %llu", (unsigned long long)index);
    w.deletes = index % 7 == 3;
    return w;
}

static void apply(struct kv *kv, uint64_t index)
{
    struct kv_pos pos = {TERM, index};
    if (index == 1) {
        kv_apply_members(kv, pos, &node, 1);
        return;
    }
    struct meaning w = meaning_of(index);
    struct kv_op op = {.type = w.deletes ? KV_OP_DELETE : KV_OP_SET,
                       .key = (const uint8_t *)w.key,
                       .key_len = strlen(w.key),
                       .value = (const uint8_t *)w.value,
                       .value_len = w.deletes ? 0 : strlen(w.value)};
    struct kv_origin origin = {node, 1, index, index, 1};
    uint8_t head[KV_ORIGIN_BYTES_MAX];
    struct buf command = BUF_INIT;
    struct kv_result result;
    buf_append(&command, head, kv_origin_encode(&origin, head));
    kv_body_encode(KV_SINGLE, &op, 1, &command);
    assert_int_equal(kv_apply(kv, pos, command.data, command.len, &result), 0);
    assert_int_equal(result.err, 0);
    buf_free(&command);
}

/* ---- opening ---- */

static int on_state(void *ctx, const void *meta, size_t len, struct kv_base *base)
{
    struct store_machine *m = ctx;
    int err = kv_restore(meta, len, base, &m->kv);
    if (!err)
        m->restored = m->checkpointed = m->last = kv_applied(m->kv).index;
    return err;
}

/* As the driver does: nobody has what lies between. */
static int on_base(void *ctx, const struct raft_base *base)
{
    struct store_machine *m = ctx;
    m->base = *base;
    return base->pos.index > m->restored ? ERR_CORRUPT : 0;
}

static void on_hard_state(void *ctx, struct raft_hard_state hs)
{
    (void)ctx;
    (void)hs;
}

static int on_entry(void *ctx, struct raft_entry *e)
{
    struct store_machine *m = ctx;
    if (!fixture_entry_is_right(e))
        return ERR_INVALID;
    m->n_scanned++;
    if (e->pos.index > m->restored) {
        assert_int_equal(e->pos.index, m->last + 1);
        apply(m->kv, e->pos.index);
        m->last++;
    }
    return 0;
}

int machine_try_open(struct store_machine *m)
{
    *m = (struct store_machine){.f = m->f};
    int err = fixture_try_open(m->f);
    if (err)
        return err;
    struct store_visitor visitor = {.state = on_state,
                                    .base = on_base,
                                    .hard_state = on_hard_state,
                                    .entry = on_entry,
                                    .ctx = m};
    err = store_scan(m->f->store, &visitor, &m->f->reason);
    if (err) {
        buf_str(&m->f->reason);
        machine_close(m);
        return err;
    }
    kv_end_batch(m->kv);
    fixture_start(m->f);
    return 0;
}

void machine_open(struct store_machine *m)
{
    if (machine_try_open(m) != 0)
        fail_msg("open: %s", buf_str(&m->f->reason));
}

void machine_close(struct store_machine *m)
{
    kv_free(&m->kv);
    fixture_close(m->f);
}

void machine_reopen(struct store_machine *m)
{
    machine_close(m);
    machine_open(m);
}

/* ---- writing ---- */

void machine_write(struct store_machine *m, unsigned n)
{
    fixture_append(m->f, m->last + 1, n, TERM);
    for (unsigned i = 0; i < n; i++)
        apply(m->kv, ++m->last);
    kv_end_batch(m->kv);
}

struct storage_job *machine_freeze(struct store_machine *m)
{
    struct storage_job *j = storage_job_new(STORAGE_CHECKPOINT, 0);
    kv_meta(m->kv, &j->meta);
    assert_int_equal(kv_freeze(m->kv, &j->frozen), 0);
    return j;
}

void machine_checkpoint(struct store_machine *m)
{
    struct storage_job *j = fixture_work(m->f, machine_freeze(m));
    assert_int_equal(j->err, 0);
    m->checkpointed = j->frozen->applied.index;
    kv_drop_frozen(m->kv, &j->frozen);
    storage_job_free(&j);
}

static struct raft_base base_at(uint64_t index)
{
    struct raft_base base = {.pos = {TERM, index}, .config_pos = {TERM, 1}};
    base.config.n_members = 1;
    base.config.members[0].id = node;
    base.config.members[0].incarnation = 7;
    base.config.members[0].roles = RAFT_VOTER;
    snprintf(base.config.members[0].addr, sizeof base.config.members[0].addr, "127.0.0.1:1");
    return base;
}

static struct raft_base *base_new(uint64_t index)
{
    struct raft_base base = base_at(index);
    return mem_dup(&base, sizeof base);
}

void machine_compact(struct store_machine *m, uint64_t index)
{
    uint64_t seq = m->f->written + 1; /* before it may be done */
    struct storage_write *w = fixture_write_new(seq, m->last + 1, 0, TERM);
    w->base = base_new(index);
    fixture_submit(m->f, w);
    fixture_wait(m->f, seq);
}

/* ---- checking ---- */

/* The last entry up to this index about this key; 0: none. */
static uint64_t last_about(const char *key, uint64_t index)
{
    for (; index > 1; index--)
        if (strcmp(meaning_of(index).key, key) == 0)
            return index;
    return 0;
}

void machine_check_view(struct kv_view *view, uint64_t index)
{
    assert_int_equal(kv_view_index(view), index);
    for (unsigned i = 0; i < MACHINE_KEYS; i++) {
        char key[16];
        snprintf(key, sizeof key, "key-%02u", i);
        uint64_t at = last_about(key, index);
        struct meaning w = meaning_of(at);
        struct kv_value v;
        int err = kv_view_get(view, key, strlen(key), &v);
        if (err != (at == 0 || w.deletes ? ERR_NOT_FOUND : 0))
            fail_msg("%s at %llu: %s", key, (unsigned long long)index, err_text(err));
        if (err == 0) {
            assert_int_equal(v.revision, at);
            assert_int_equal(v.len, strlen(w.value));
            assert_memory_equal(v.data, w.value, v.len);
        }
    }
}

void machine_check_at(struct store_machine *m, uint64_t index)
{
    assert_int_equal(kv_applied(m->kv).index, index);
    struct kv_view *view = kv_view_new(m->kv);
    machine_check_view(view, index);
    kv_view_close(&view);
}

void machine_check(struct store_machine *m)
{
    machine_check_at(m, m->last);
}

/* ---- snapshots ---- */

struct raft_snapshot *machine_snapshot(struct store_machine *m, uint64_t id)
{
    struct storage_job *j = storage_job_new(STORAGE_SNAPSHOT_MAKE, id);
    j->view = kv_view_new(m->kv);
    kv_meta(m->kv, &j->meta);
    j = fixture_work(m->f, j);
    assert_int_equal(j->err, 0);
    assert_true(j->size > 0 && !j->view);
    struct raft_snapshot s = {
        .id = id, .base = base_at(m->last), .size = j->size, .digest = j->digest};
    storage_job_free(&j);
    return raft_snapshot_new(&s);
}

struct storage_job *machine_piece_new(const struct raft_snapshot *s, uint64_t offset,
                                      const void *data, size_t len)
{
    struct storage_job *j = storage_job_new(STORAGE_SNAPSHOT_WRITE, s->id);
    j->offset = offset;
    j->size = s->size;
    j->digest = s->digest;
    buf_append(&j->data, data, len);
    return j;
}

int machine_send_piece(struct store_machine *to, const struct raft_snapshot *s, uint64_t offset,
                       const void *data, size_t len)
{
    struct storage_job *j = fixture_work(to->f, machine_piece_new(s, offset, data, len));
    int err = j->err;
    if (!err && offset + len == s->size) {
        struct kv_meta_info info;
        assert_int_equal(kv_meta_info(j->meta.data, j->meta.len, &info), 0);
        assert_int_equal(info.applied.index, s->base.pos.index);
    }
    storage_job_free(&j);
    return err;
}

int machine_transfer(struct store_machine *from, struct store_machine *to,
                     const struct raft_snapshot *s, uint64_t upto)
{
    int err = 0;
    for (uint64_t at = 0; at < upto && !err; at += PIECE_BYTES) {
        struct storage_job *j = storage_job_new(STORAGE_SNAPSHOT_READ, s->id);
        j->offset = at;
        j->len = (uint32_t)(upto - at < PIECE_BYTES ? upto - at : PIECE_BYTES);
        j = fixture_work(from->f, j);
        assert_int_equal(j->err, 0);
        assert_int_equal(j->data.len, j->len);
        err = machine_send_piece(to, s, at, j->data.data, j->data.len);
        storage_job_free(&j);
    }
    return err;
}

struct storage_write *machine_install_new(struct store_machine *to, const struct raft_snapshot *s)
{
    uint64_t index = s->base.pos.index;
    struct storage_write *w = fixture_write_new(to->f->written + 1, index + 1, 0, TERM);
    w->install = raft_snapshot_ref((struct raft_snapshot *)s);
    w->base = base_new(index);
    return w;
}

void machine_install(struct store_machine *to, const struct raft_snapshot *s)
{
    uint64_t seq = to->f->written + 1;
    fixture_submit(to->f, machine_install_new(to, s));
    fixture_wait(to->f, seq);
    struct storage_write *w = fixture_take_installed(to->f);
    assert_int_equal(kv_install(to->kv, w->meta.data, w->meta.len, w->state), 0);
    to->last = to->checkpointed = s->base.pos.index;
    storage_write_free(&w);
}

void machine_drop(struct store_machine *m, uint64_t id)
{
    fixture_work_unanswered(m->f, storage_job_new(STORAGE_SNAPSHOT_DROP, id));
    /* A job of the same lane is answered when the one before it was done. */
    struct storage_job *j = storage_job_new(STORAGE_SNAPSHOT_READ, UINT64_MAX);
    j->len = 1;
    j = fixture_work(m->f, j);
    assert_int_equal(j->err, ERR_NOT_FOUND);
    storage_job_free(&j);
}

/* ---- a state that takes no more ---- */

struct storage_job *machine_freeze_nothing(struct store_machine *m)
{
    kv_apply_nothing(m->kv, (struct kv_pos){TERM, ++m->last});
    return machine_freeze(m);
}

void machine_stop_merging(struct store_machine *m)
{
    machine_write(m, 60);
    struct raft_snapshot *s = machine_snapshot(m, 4);
    uint8_t *bytes = machine_read_all(m, s);
    machine_close(m);
    bytes[100] ^= 1; /* in its block, which is read when it is merged */
    fixture_file_make(m->f, "state-1/run-1", bytes, s->size);
    machine_open(m);
    mem_free(bytes);
    raft_snapshot_unref(&s);
    for (unsigned i = 0; i < 7; i++) {
        struct storage_job *j = fixture_work(m->f, machine_freeze_nothing(m));
        assert_int_equal(j->err, 0);
        kv_drop_frozen(m->kv, &j->frozen);
        storage_job_free(&j);
    }
}

/* ---- two nodes ---- */

int store_world_setup(void **state)
{
    struct store_world *w = mem_zalloc(sizeof *w);
    void *f;
    *state = w;
    if (store_fixture_setup(&f) != 0)
        return -1;
    w->leader.f = f;
    if (store_fixture_setup(&f) != 0)
        return -1;
    w->follower.f = f;
    machine_open(&w->leader);
    machine_open(&w->follower);
    return 0;
}

int store_world_teardown(void **state)
{
    struct store_world *w = *state;
    struct store_machine *machines[] = {&w->leader, &w->follower};
    for (unsigned i = 0; i < 2; i++) {
        void *f = machines[i]->f;
        machine_close(machines[i]);
        store_fixture_teardown(&f);
    }
    mem_free(w);
    return 0;
}

void machine_check_files(const struct store_machine *m, unsigned n_states, unsigned n_files)
{
    struct fixture_files files;
    for (unsigned ms = 0; ms < 20000; ms += 5) {
        files = fixture_files(m->f);
        if (files.n_states == n_states && files.n_snapshots == n_files)
            return;
        usleep(5000);
    }
    fail_msg("%u states and %u snapshots, not %u and %u", files.n_states, files.n_snapshots,
             n_states, n_files);
}

uint8_t *machine_read_all(struct store_machine *m, const struct raft_snapshot *s)
{
    struct storage_job *j = storage_job_new(STORAGE_SNAPSHOT_READ, s->id);
    j->len = (uint32_t)s->size;
    j = fixture_work(m->f, j);
    assert_int_equal(j->err, 0);
    uint8_t *bytes = mem_dup(j->data.data, j->data.len);
    storage_job_free(&j);
    return bytes;
}
