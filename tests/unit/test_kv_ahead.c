/* SPDX-License-Identifier: MIT
 * kv/: searching for keys before their time changes nothing but the speed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/rng.h"
#include "kv/kv.h"

#define N_KEYS    400
#define OPS_MAX   50 /* of a batch: more than are searched for at a time */
#define NEVER     UINT32_MAX
#define KEY_BYTES 16

static const struct uuid NODE = {1, 2};

static size_t key_of(unsigned i, char out[KEY_BYTES])
{
    return (size_t)snprintf(out, KEY_BYTES, "%.*s%u", (int)(i % 4), "////", i);
}

/* A command of one operation, of several, or of none that is carried out: it came before. */
static void encode(struct rng *rng, uint64_t seq, struct buf *out)
{
    char keys[OPS_MAX][KEY_BYTES], values[OPS_MAX][KEY_BYTES];
    struct kv_op ops[OPS_MAX];
    uint8_t header[KV_ORIGIN_BYTES_MAX];
    bool single = rng_range(rng, 0, 9) > 0, again = seq > 1 && rng_range(rng, 0, 9) == 0;
    unsigned n = single ? 1 : (unsigned)rng_range(rng, 1, OPS_MAX);
    for (unsigned i = 0; i < n; i++) {
        size_t key_len = key_of((unsigned)rng_range(rng, 0, N_KEYS - 1), keys[i]);
        int value_len = snprintf(values[i], KEY_BYTES, "%u.%u", (unsigned)seq, i);
        ops[i] = (struct kv_op){.type = rng_range(rng, 0, 3) ? KV_OP_SET : KV_OP_DELETE,
                                .key = (uint8_t *)keys[i],
                                .key_len = key_len,
                                .value = (uint8_t *)values[i],
                                .value_len = (size_t)value_len};
    }
    struct kv_origin origin = {NODE, 1, again ? seq - 1 : seq, seq > 9 ? seq - 9 : 1, 1};
    buf_append(out, header, kv_origin_encode(&origin, header));
    kv_body_encode(single ? KV_SINGLE : KV_BATCH, ops, n, out);
}

static void apply_to_both(struct kv *ahead, struct kv *plain, const struct buf *command,
                          uint64_t index)
{
    struct kv_result a, b;
    struct kv_pos pos = {1, index};
    assert_int_equal(kv_apply(ahead, pos, command->data, command->len, &a), 0);
    assert_int_equal(kv_apply(plain, pos, command->data, command->len, &b), 0);
    assert_int_equal(a.err, b.err);
    assert_int_equal(a.pos.index, b.pos.index);
    assert_int_equal(a.answer_len, b.answer_len);
    assert_memory_equal(a.answer, b.answer, a.answer_len);
}

static void assert_same(struct kv *a, struct kv *b)
{
    assert_int_equal(kv_digest(a), kv_digest(b));
    assert_int_equal(kv_stats(a).n_keys, kv_stats(b).n_keys);
    for (unsigned i = 0; i < N_KEYS; i++) {
        struct kv_value x = {.data = (const uint8_t *)""}, y = x;
        char key[KEY_BYTES];
        size_t len = key_of(i, key);
        assert_int_equal(kv_get(a, key, len, &x), kv_get(b, key, len, &y));
        assert_int_equal(x.version, y.version);
        assert_int_equal(x.create_revision, y.create_revision);
        assert_int_equal(x.len, y.len);
        assert_memory_equal(x.data, y.data, x.len);
    }
}

/* As a node does it: some entries at a time, whose bytes go after them; others lie there then. Not
 * all that were announced are applied, and not all that are applied were announced. */
static void test_ahead_changes_nothing(void **state)
{
    (void)state;
    struct kv *ahead = kv_new(), *plain = kv_new();
    struct kv_frozen *frozen[2] = {NULL, NULL};
    struct rng rng = {5};
    struct buf bytes[KV_PREFETCH_MAX] = {BUF_INIT};
    uint64_t index = 1;
    kv_set_sizes(ahead, 0, 1);
    kv_set_sizes(plain, 0, NEVER);
    kv_apply_members(ahead, (struct kv_pos){1, 1}, &NODE, 1);
    kv_apply_members(plain, (struct kv_pos){1, 1}, &NODE, 1);
    for (unsigned round = 0; round < 300; round++) {
        struct kv_bytes commands[KV_PREFETCH_MAX];
        unsigned n = (unsigned)rng_range(&rng, 1, KV_PREFETCH_MAX);
        for (unsigned i = 0; i < n; i++) {
            buf_clear(&bytes[i]);
            encode(&rng, index + i, &bytes[i]);
            commands[i] = (struct kv_bytes){bytes[i].data, bytes[i].len};
        }
        bool announced = rng_range(&rng, 0, 2) > 0;
        if (announced)
            kv_prefetch(ahead, commands, n);
        for (unsigned i = 0, n_applied = (unsigned)rng_range(&rng, 1, n); i < n_applied; i++)
            apply_to_both(ahead, plain, &bytes[i], ++index);
        if (announced || rng_range(&rng, 0, 1))
            kv_end_batch(ahead);
        kv_end_batch(plain);
        if (round == 100) {
            assert_int_equal(kv_freeze(ahead, &frozen[0]), 0);
            assert_int_equal(kv_freeze(plain, &frozen[1]), 0);
        }
        assert_same(ahead, plain);
    }
    for (unsigned i = 0; i < KV_PREFETCH_MAX; i++)
        buf_free(&bytes[i]);
    kv_frozen_free(&frozen[0]);
    kv_frozen_free(&frozen[1]);
    kv_free(&ahead);
    kv_free(&plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ahead_changes_nothing)};
    return cmocka_run_group_tests_name("kv_ahead", tests, NULL, NULL);
}
