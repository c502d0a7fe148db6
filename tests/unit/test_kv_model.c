/* SPDX-License-Identifier: MIT
 * kv/ against a naive model: random histories with repetitions, late copies,
 * restarts and membership changes, run on two instances at once: one that has
 * all in its memtable, and one over a base with checkpoints, crashes and
 * snapshots in between.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kv/digest.h"
#include "kv_machine.h"

#define MODEL_KEYS  40
#define MODEL_NODES 3
#define MODEL_SEQS  300

/* Everything by plain tables: no list, no ring. */
struct model {
    struct {
        bool there;
        uint64_t value, revision, create_revision, version;
    } keys[MODEL_KEYS];
    struct {
        bool member;
        uint64_t boot, floor;
        uint64_t pos[MODEL_SEQS]; /* of this boot; 0: not seen */
        uint64_t old[MODEL_SEQS]; /* answer to a Delete; 0: none */
    } nodes[MODEL_NODES];
};

struct model_op {
    unsigned node, key;
    bool is_delete;
    uint64_t value, boot, seq, floor;
};

static int model_apply(struct model *m, const struct model_op *op, uint64_t index, uint64_t *pos,
                       uint64_t *old)
{
    if (!m->nodes[op->node].member || op->boot < m->nodes[op->node].boot)
        return ERR_STALE;
    if (op->boot > m->nodes[op->node].boot) {
        memset(&m->nodes[op->node], 0, sizeof m->nodes[0]);
        m->nodes[op->node].member = true;
        m->nodes[op->node].boot = op->boot;
    }
    if (op->seq < m->nodes[op->node].floor)
        return ERR_STALE;
    if (op->floor > m->nodes[op->node].floor)
        m->nodes[op->node].floor = op->floor;
    if (m->nodes[op->node].pos[op->seq] == 0) {
        m->nodes[op->node].pos[op->seq] = index;
        m->nodes[op->node].old[op->seq] = m->keys[op->key].there ? m->keys[op->key].value : 0;
        m->keys[op->key].create_revision =
            m->keys[op->key].there ? m->keys[op->key].create_revision : index;
        m->keys[op->key].version = m->keys[op->key].there ? m->keys[op->key].version + 1 : 1;
        m->keys[op->key].there = !op->is_delete;
        m->keys[op->key].value = op->value;
        m->keys[op->key].revision = index;
    }
    *pos = m->nodes[op->node].pos[op->seq];
    *old = m->nodes[op->node].old[op->seq];
    return 0;
}

/* A command with a number about where its node is, sometimes of an earlier
 * start. What it asks for depends on its number alone, as for a real copy. */
static struct model_op random_op(struct rng *rng, const uint64_t boots[], const uint64_t heads[])
{
    struct model_op op = {.node = (unsigned)rng_range(rng, 0, MODEL_NODES - 1)};
    op.boot = boots[op.node] - (rng_range(rng, 0, 9) == 0 && boots[op.node] > 1);
    uint64_t head = heads[op.node];
    op.seq = head > 20 ? rng_range(rng, head - 20, head) : rng_range(rng, 1, head);
    op.floor = op.seq > 15 ? rng_range(rng, op.seq - 15, op.seq) : 1;
    struct rng content = {op.node * 1000003 + op.boot * 1009 + op.seq};
    op.key = (unsigned)rng_range(&content, 0, MODEL_KEYS - 1);
    op.is_delete = rng_range(&content, 0, 3) == 0;
    op.value = rng_next(&content) | 1;
    return op;
}

/* A value of its own length for every number, to exercise reallocation. */
static size_t value_bytes(uint64_t value, uint8_t out[300])
{
    struct rng rng = {value};
    size_t len = 8 + (size_t)(value % 7 == 0 ? value % 290 : value % 24);
    for (size_t i = 8; i < len; i++)
        out[i] = (uint8_t)rng_next(&rng);
    bytes_put_be(out, value, 8);
    return len;
}

static void key_text(unsigned key, char out[40])
{
    snprintf(out, 40, "%.*skey%u", (int)(key % 5), "//////", key * 7919 % 1000);
}

/* The command's bytes, appended. */
static void encode_op(const struct kv *kv, const struct model_op *op, struct buf *out)
{
    uint8_t value[300], header[KV_ORIGIN_BYTES_MAX];
    char key[40];
    key_text(op->key, key);
    struct kv_op kv_op = {.type = op->is_delete ? KV_OP_DELETE : KV_OP_SET,
                          .key = (const uint8_t *)key,
                          .key_len = strlen(key),
                          .value = value,
                          .value_len = value_bytes(op->value, value)};
    struct kv_origin origin = {{0xd, op->node},
                               op->boot,
                               op->seq,
                               op->floor,
                               kv_member_since(kv, (struct uuid){0xd, op->node})};
    buf_append(out, header, kv_origin_encode(&origin, header));
    kv_body_encode(KV_SINGLE, &kv_op, 1, out);
}

static void assert_same_answer(const struct kv_result *r, const struct model_op *op, uint64_t old)
{
    struct bytes_reader reader = bytes_reader(r->answer, r->answer_len);
    struct kv_answer_item item;
    uint8_t value[300];
    assert_true(kv_answer_next(&reader, &item));
    assert_true(bytes_reader_done(&reader));
    int expected = !op->is_delete ? KV_ANSWER_SET : old ? KV_ANSWER_OLD : KV_ANSWER_NONE;
    assert_int_equal(item.what, expected);
    if (expected == KV_ANSWER_OLD) {
        assert_int_equal(item.value_len, value_bytes(old, value));
        assert_memory_equal(item.value, value, item.value_len);
    }
}

static void assert_same_keys(struct kv *kv, const struct model *m)
{
    unsigned n = 0;
    for (unsigned k = 0; k < MODEL_KEYS; k++) {
        struct kv_value v;
        uint8_t value[300];
        char key[40];
        key_text(k, key);
        int err = kv_get(kv, key, strlen(key), &v);
        assert_int_equal(err, m->keys[k].there ? 0 : ERR_NOT_FOUND);
        if (err)
            continue;
        n++;
        assert_int_equal(v.len, value_bytes(m->keys[k].value, value));
        assert_memory_equal(v.data, value, v.len);
        assert_int_equal(v.revision, m->keys[k].revision);
        assert_int_equal(v.create_revision, m->keys[k].create_revision);
        assert_int_equal(v.version, m->keys[k].version);
    }
    assert_int_equal(kv_stats(kv).n_keys, n);
}

static uint32_t dump_crc(const struct kv *kv)
{
    struct kv_view *view = kv_view_new(kv);
    uint32_t crc = kv_view_crc(view);
    uint64_t digest;
    assert_int_equal(kv_view_digest(view, &digest), 0);
    assert_true(digest == kv_digest(kv));
    kv_view_close(&view);
    return crc;
}

/* Keys, sessions, counts and digest, byte for byte. */
static void assert_same_state(const struct kv *a, const struct kv *b)
{
    struct buf meta_a = BUF_INIT, meta_b = BUF_INIT;
    kv_meta(a, &meta_a);
    kv_meta(b, &meta_b);
    assert_int_equal(meta_a.len, meta_b.len);
    assert_memory_equal(meta_a.data, meta_b.data, meta_a.len);
    buf_free(&meta_a);
    buf_free(&meta_b);
    assert_int_equal(dump_crc(a), dump_crc(b));
}

/* The two instances. */
struct pair {
    struct kv *plain;
    struct kv_machine *machine;
};

static void change_members(struct model *m, struct pair *p, struct rng *rng, struct kv_pos pos)
{
    struct uuid ids[MODEL_NODES];
    unsigned n = 0;
    for (unsigned i = 0; i < MODEL_NODES; i++) {
        bool member = rng_range(rng, 0, 3) > 0;
        if (!member || !m->nodes[i].member)
            memset(&m->nodes[i], 0, sizeof m->nodes[i]);
        m->nodes[i].member = member;
        if (member)
            ids[n++] = (struct uuid){0xd, i};
    }
    kv_apply_members(p->plain, pos, ids, n);
    kv_machine_apply_members(p->machine, pos, ids, n);
}

/* What happened in a run, so that a run that tests nothing is noticed. */
struct tally {
    unsigned n_applied, n_repeated, n_stale;
};

/* Changes nothing: the other one has not heard of it. */
static void expect(struct kv *kv, const struct buf *command)
{
    const struct kv_bytes commands[] = {{command->data, command->len},
                                        {command->data, command->len / 2},
                                        {command->data, command->len}};
    kv_prefetch(kv, commands, 3);
}

static void step(struct model *m, struct pair *p, const struct model_op *op, struct kv_pos pos,
                 struct tally *tally)
{
    uint64_t expected_pos = 0, old = 0;
    int expected = model_apply(m, op, pos.index, &expected_pos, &old);
    struct kv_result results[2];
    struct buf command = BUF_INIT;
    encode_op(p->plain, op, &command);
    expect(p->plain, &command);
    assert_int_equal(kv_apply(p->plain, pos, command.data, command.len, &results[0]), 0);
    kv_machine_apply(p->machine, pos, command.data, command.len, &results[1]);
    kv_end_batch(p->plain);
    buf_free(&command);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(results[i].err, expected);
        if (expected)
            continue;
        assert_int_equal(results[i].pos.index, expected_pos);
        assert_same_answer(&results[i], op, old);
    }
    tally->n_stale += expected != 0;
    tally->n_applied += !expected && expected_pos == pos.index;
    tally->n_repeated += !expected && expected_pos != pos.index;
}

static void run_history(struct model *m, struct pair *p, struct rng *rng, struct tally *tally)
{
    uint64_t boots[MODEL_NODES] = {1, 1, 1}, heads[MODEL_NODES] = {1, 1, 1};
    for (uint64_t index = 2; index < 4000; index++) {
        struct kv_pos pos = {1 + index / 100, index};
        unsigned node = (unsigned)rng_range(rng, 0, MODEL_NODES - 1);
        heads[node]++;
        if (heads[node] == MODEL_SEQS || rng_range(rng, 0, 200) == 0) {
            boots[node]++;
            heads[node] = 1;
        }
        if (rng_range(rng, 0, 300) == 0) {
            change_members(m, p, rng, pos);
            continue;
        }
        struct model_op op = random_op(rng, boots, heads);
        step(m, p, &op, pos, tally);
        if (rng_range(rng, 0, 9) == 0)
            kv_machine_disturb(p->machine, rng, p->plain);
        if (index % 50 == 0) {
            assert_same_keys(p->plain, m);
            assert_same_keys(kv_machine_kv(p->machine), m);
            assert_same_state(p->plain, kv_machine_kv(p->machine));
        }
    }
}

static void run_model(uint64_t seed)
{
    struct rng rng = {seed};
    struct model *m = mem_zalloc(sizeof *m);
    struct pair p = {kv_new(), kv_machine_new()};
    struct tally tally = {0};
    kv_set_sizes(p.plain, 0, 1);
    change_members(m, &p, &rng, (struct kv_pos){1, 1});
    run_history(m, &p, &rng, &tally);
    assert_true(tally.n_applied > 300 && tally.n_repeated > 100 && tally.n_stale > 100);
    assert_true(kv_machine_least_done(p.machine) >= 5);
    assert_same_state(p.plain, kv_machine_kv(p.machine));
    kv_free(&p.plain);
    kv_machine_free(&p.machine);
    mem_free(m);
}

static void test_kv_random_history_agrees_with_a_naive_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++)
        run_model(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kv_random_history_agrees_with_a_naive_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
