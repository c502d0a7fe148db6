/* SPDX-License-Identifier: MIT
 * A replay ends where applying one by one ends: the same commands go to two
 * instances, over the same base, and everything is compared. The model test
 * (test_kv_model.c) replays after crashes; here are the amounts and the shapes
 * that it does not have.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "kv/digest.h"
#include "kv/memtable.h"
#include "kv/view.h"
#include "mem_base.h"

static const struct uuid node = {7, 7};

/* The two, and what the next command is. */
struct two {
    struct kv *applied, *replayed;
    struct kv_base *base; /* of both; NULL: none */
    uint64_t index, seq, floor;
    struct kv_once once; /* name_len 0: commands have none */
};

static void both_members(struct two *t)
{
    struct kv_pos pos = {1, ++t->index};
    kv_apply_members(t->applied, pos, &node, 1);
    kv_apply_members(t->replayed, pos, &node, 1);
}

static struct two begin(struct kv_base *base)
{
    struct two t = {.base = base, .floor = 1};
    assert_int_equal(kv_restore(NULL, 0, base, &t.applied), 0);
    assert_int_equal(kv_restore(NULL, 0, base, &t.replayed), 0);
    both_members(&t);
    return t;
}

static void end(struct two *t)
{
    kv_free(&t->applied);
    kv_free(&t->replayed);
    if (t->base)
        t->base->ops->unref(t->base);
}

static void both(struct two *t, const void *command, size_t len)
{
    struct kv_result result;
    struct kv_pos pos = {1, ++t->index};
    assert_int_equal(kv_apply(t->applied, pos, command, len, &result), 0);
    assert_int_equal(kv_replay(t->replayed, pos, command, len), 0);
}

static void command_at(struct two *t, uint64_t seq, enum kv_kind kind, const struct kv_op ops[],
                       size_t n)
{
    uint8_t header[KV_ORIGIN_BYTES_MAX];
    struct buf command = BUF_INIT;
    struct kv_origin origin = {node, 1, seq, t->floor, kv_member_since(t->applied, node)};
    buf_append(&command, header, kv_origin_encode(&origin, header));
    if (t->once.name_len > 0)
        kv_once_encode(&t->once, &command);
    kv_body_encode(kind, ops, n, &command);
    both(t, command.data, command.len);
    buf_free(&command);
}

static void command(struct two *t, enum kv_kind kind, const struct kv_op ops[], size_t n)
{
    t->seq++;
    if (t->seq > 100)
        t->floor = t->seq - 100; /* what a node does */
    command_at(t, t->seq, kind, ops, n);
}

static struct kv_op op_of(const char *key, size_t key_len, const char *value, size_t value_len)
{
    return (struct kv_op){.type = value ? KV_OP_SET : KV_OP_DELETE,
                          .key = (const uint8_t *)key,
                          .key_len = key_len,
                          .value = (const uint8_t *)value,
                          .value_len = value_len};
}

/* A NULL value deletes. */
static void change(struct two *t, const char *key, const char *value)
{
    struct kv_op op = op_of(key, strlen(key), value, value ? strlen(value) : 0);
    command(t, KV_SINGLE, &op, 1);
}

/* Of all that a view shows. */
static uint64_t digest_of(const struct kv *kv)
{
    struct kv_view *view = kv_view_new(kv);
    uint64_t digest = 0;
    assert_int_equal(kv_view_index(view), kv_applied(kv).index);
    assert_int_equal(kv_view_digest(view, &digest), 0);
    kv_view_close(&view);
    return digest;
}

/* Ends the replay and compares meta (sessions with their answers, counts, digest) and records. */
static void check(struct two *t)
{
    struct buf a = BUF_INIT, b = BUF_INIT;
    assert_int_equal(kv_replay_end(t->replayed), 0);
    kv_meta(t->applied, &a);
    kv_meta(t->replayed, &b);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.data, b.data, a.len);
    buf_free(&a);
    buf_free(&b);
    assert_true(digest_of(t->applied) == digest_of(t->replayed));
}

/* A base that has what these two have, for the next two. */
static struct kv_base *base_of(struct two *t)
{
    struct kv_base *base = mem_base_new();
    struct kv_view *view = kv_view_new(t->applied);
    struct kv_cursor *all = kv_view_cursor(view);
    mem_base_add_run(base, &all);
    kv_view_close(&view);
    return base;
}

static void test_kv_replay_of_changes_of_one_key_keeps_their_order(void **state)
{
    (void)state;
    static const char *const values[] = {"a", "", "long enough to move", NULL};
    for (unsigned history = 0; history < 256; history++) { /* of four changes each */
        struct two t = begin(NULL);
        for (unsigned i = 0, rest = history; i < 4; i++, rest /= 4) {
            change(&t, "other", "x");
            change(&t, "key", values[rest % 4]);
        }
        check(&t);
        struct two below = begin(base_of(&t));
        for (unsigned i = 0, rest = history; i < 4; i++, rest /= 4)
            change(&below, "key", values[(rest + 1) % 4]);
        check(&below);
        end(&below);
        end(&t);
    }
}

static void test_kv_replay_compares_keys_by_all_their_bytes(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        size_t len;
    } keys[] = {{"a", 1},
                {"a\0", 2},
                {"a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16},
                {"a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 17},
                {"\xff", 1},
                {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 17},
                {"the same sixteen", 16},
                {"the same sixteen and more", 25},
                {"the same sixteen and less", 25},
                {"b", 1}};
    enum { N = sizeof keys / sizeof keys[0] };
    struct rng rng = {5};
    for (unsigned round = 0; round < 50; round++) {
        struct two t = begin(NULL);
        for (unsigned i = 0; i < 60; i++) {
            unsigned k = (unsigned)rng_range(&rng, 0, N - 1);
            const char *value = rng_range(&rng, 0, 3) ? "value" : NULL;
            struct kv_op op = op_of(keys[k].key, keys[k].len, value, i % 6);
            command(&t, KV_SINGLE, &op, 1);
        }
        check(&t);
        end(&t);
    }
}

static void test_kv_replay_of_batches_repetitions_and_nonsense(void **state)
{
    (void)state;
    struct rng rng = {9};
    struct two t = begin(NULL);
    for (unsigned i = 0; i < 5000; i++) {
        char keys[20][16];
        struct kv_op ops[20];
        size_t n = (size_t)rng_range(&rng, 0, 20);
        bool deletes = rng_range(&rng, 0, 9) == 0;
        for (size_t k = 0; k < n; k++) {
            size_t len =
                (size_t)snprintf(keys[k], sizeof keys[k], "k%u", (unsigned)rng_range(&rng, 0, 300));
            const char *value = deletes && k % 2 ? NULL : "abcdefghijklmnop";
            ops[k] = op_of(keys[k], len, value, value ? len * 3 : 0);
        }
        command(&t, KV_BATCH, ops, n);
        if (rng_range(&rng, 0, 9) == 0) /* once more, known or too old */
            command_at(&t, t.seq > 50 ? t.seq - rng_range(&rng, 0, 50) : 1, KV_BATCH, ops, n);
        if (rng_range(&rng, 0, 50) == 0)
            both(&t, "nonsense", 8);
        if (rng_range(&rng, 0, 200) == 0)
            both_members(&t);
    }
    check(&t);
    end(&t);
}

/* Every operation of /v1 on few keys, with conditions that hold at times. */
static void test_kv_replay_of_every_operation(void **state)
{
    (void)state;
    struct rng rng = {13};
    struct two t = begin(NULL);
    for (unsigned i = 0; i < 20000; i++) {
        char key[16], number[8];
        size_t len = (size_t)snprintf(key, sizeof key, "%c/k%u", (int)rng_range(&rng, 'a', 'c'),
                                      (unsigned)rng_range(&rng, 0, 30));
        size_t value_len = (size_t)snprintf(number, sizeof number, "%u", i % 1000);
        struct kv_op op = op_of(key, len, number, value_len);
        op.type = (enum kv_op_type)rng_range(&rng, KV_OP_SET, KV_OP_APPEND);
        static const struct kv_condition conditions[] = {
            {KV_IF_ANY, 0}, {KV_IF_ABSENT, 0}, {KV_IF_EXISTS, 0}, {KV_IF_REVISION, 0}};
        op.condition = conditions[rng_range(&rng, 0, 3)];
        op.condition.revision = t.index - rng_range(&rng, 0, t.index < 40 ? t.index : 40);
        op.want_prev = rng_range(&rng, 0, 1);
        op.by = (int64_t)rng_range(&rng, 0, 100) - 50;
        op.max = 40;
        if (op.type == KV_OP_REMOVE_PREFIX) {
            if (rng_range(&rng, 0, 30) > 0)
                continue;
            op.key_len = 2;
        }
        command(&t, KV_SINGLE, &op, 1);
    }
    check(&t);
    end(&t);
}

/* More than is gathered at a time, by number and by bytes, over a base with half of the keys. */
static void test_kv_replay_of_named_commands_and_time(void **state)
{
    (void)state;
    static const char *const names[] = {"one", "two", "three"};
    struct rng rng = {11};
    struct two t = begin(NULL);
    for (unsigned i = 0; i < 2000; i++) {
        const char *name = names[rng_range(&rng, 0, 2)];
        t.once = (struct kv_once){.name = (const uint8_t *)name,
                                  .name_len = rng_range(&rng, 0, 1) ? strlen(name) : 0};
        t.once.fingerprint[0] = (uint8_t)rng_range(&rng, 0, 1);
        change(&t, names[rng_range(&rng, 0, 2)], rng_range(&rng, 0, 3) ? "value" : NULL);
        if (rng_range(&rng, 0, 9) == 0) {
            struct buf clock = BUF_INIT;
            kv_clock_encode(rng_range(&rng, 0, 200000), &clock);
            both(&t, clock.data, clock.len);
            buf_free(&clock);
        }
    }
    check(&t);
    end(&t);
}

static void test_kv_replay_of_more_than_is_gathered_at_once(void **state)
{
    (void)state;
    struct rng rng = {3};
    char key[32];
    struct two first = begin(NULL);
    for (unsigned i = 0; i < 20000; i++) {
        snprintf(key, sizeof key, "key-%08u", i * 2);
        change(&first, key, "below");
    }
    check(&first);
    struct two t = begin(base_of(&first));
    char *large = mem_zalloc(2 * MIB);
    for (unsigned i = 0; i < 200000; i++) {
        snprintf(key, sizeof key, "key-%08u", (unsigned)rng_range(&rng, 0, 40000));
        size_t len = i % 20000 == 0 ? 2 * MIB - 7 : i % 1000 == 0 ? 100000 : i % 40;
        struct kv_op op = op_of(key, strlen(key), i % 9 == 8 ? NULL : large, len);
        large[i % 40] = (char)i;
        command(&t, KV_SINGLE, &op, 1);
    }
    check(&t);
    mem_free(large);
    end(&t);
    end(&first);
}

static void test_kv_replay_looks_up_each_key_once(void **state)
{
    (void)state;
    struct two t = begin(mem_base_new());
    char key[32];
    unsigned before = 0;
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(key, sizeof key, "key-%u", i % 10);
        change(&t, key, "x");
        before = mem_base_n_gets(t.base);
    }
    assert_int_equal(before, 10); /* those of kv_apply() */
    check(&t);
    assert_int_equal(mem_base_n_gets(t.base), before + 10);
    end(&t);
}

static void test_kv_replay_tells_that_the_base_cannot_be_read(void **state)
{
    (void)state;
    struct two t = begin(mem_base_new());
    change(&t, "k", "v");
    mem_base_fail(t.base, ERR_CORRUPT);
    assert_int_equal(kv_replay_end(t.replayed), ERR_CORRUPT);
    end(&t);
    t = begin(mem_base_new());
    change(&t, "k", "v");
    end(&t); /* what was gathered is forgotten */
}

/* ---- the memtable's part ---- */

static void test_memtable_find_on_finds_what_find_does(void **state)
{
    (void)state;
    struct rng rng = {11};
    struct memtable *m = memtable_new();
    for (unsigned round = 0; round < 100; round++) {
        struct memtable_place place, other;
        memtable_begin(m, &place);
        uint64_t key = rng_range(&rng, 0, 100), step = 1ull << rng_range(&rng, 0, 15);
        for (; key < 50000; key += rng_range(&rng, 1, step)) {
            uint8_t bytes[8];
            struct kv_record found, expected;
            bytes_put_be(bytes, key, sizeof bytes);
            bool there = memtable_find(m, bytes, sizeof bytes, &other, &expected);
            assert_int_equal(memtable_find_on(m, bytes, sizeof bytes, &place, &found), there);
            assert_ptr_equal(place.node, other.node);
            if (there)
                assert_int_equal(found.value.revision, expected.value.revision);
            if (rng_range(&rng, 0, 3) > 0 || round > 20)
                continue;
            place.digest = key;
            struct kv_record r = {
                .key = bytes, .key_len = sizeof bytes, .value.revision = round + 1};
            memtable_put(m, &place, &r);
        }
    }
    memtable_unref(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kv_replay_of_changes_of_one_key_keeps_their_order),
        cmocka_unit_test(test_kv_replay_compares_keys_by_all_their_bytes),
        cmocka_unit_test(test_kv_replay_of_batches_repetitions_and_nonsense),
        cmocka_unit_test(test_kv_replay_of_every_operation),
        cmocka_unit_test(test_kv_replay_of_named_commands_and_time),
        cmocka_unit_test(test_kv_replay_of_more_than_is_gathered_at_once),
        cmocka_unit_test(test_kv_replay_looks_up_each_key_once),
        cmocka_unit_test(test_kv_replay_tells_that_the_base_cannot_be_read),
        cmocka_unit_test(test_memtable_find_on_finds_what_find_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
