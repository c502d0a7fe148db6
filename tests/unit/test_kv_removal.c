/* SPDX-License-Identifier: MIT
 * kv/: Remove-prefix, as a whole and slice by slice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "kv/view.h"
#include "kv_operations.h"

static void test_remove_prefix_takes_keys_wherever_they_are(void **state)
{
    struct fixture *f = *state;
    apply(f, put_op("a", "1", ""));
    apply(f, put_op("b", "2", ""));
    apply(f, put_op("b/in base", "3", ""));
    apply(f, put_op("b/gone", "4", ""));
    apply(f, put_op("c", "5", ""));
    checkpoint(f);
    apply(f, op_on(KV_OP_REMOVE, "b/gone"));
    apply(f, put_op("b/in base", "30", ""));
    struct kv_frozen *frozen;
    assert_int_equal(kv_freeze(f->kv, &frozen), 0);
    apply(f, put_op("b/in memory", "6", ""));
    assert_int_equal(apply(f, remove_prefix_op("b", 2)), KV_TOO_LARGE);
    assert_int_equal(f->item.n_deleted, 0);
    assert_key(f, "b", "2", "");
    assert_int_equal(kv_stats(f->kv).n_keys, 5);
    assert_int_equal(apply(f, remove_prefix_op("b", 3)), KV_DONE);
    assert_int_equal(f->item.n_deleted, 3);
    assert_revisions(f, f->index, 0, 0);
    assert_key(f, "a", "1", "");
    assert_key(f, "b", NULL, NULL);
    assert_key(f, "b/in base", NULL, NULL);
    assert_key(f, "b/in memory", NULL, NULL);
    assert_key(f, "c", "5", "");
    assert_int_equal(kv_stats(f->kv).n_keys, 2);
    assert_int_equal(kv_stats(f->kv).bytes, 4);
    assert_int_equal(apply(f, remove_prefix_op("b", 0)), KV_DONE);
    assert_int_equal(f->item.n_deleted, 0);
    kv_frozen_free(&frozen);
}

static void test_remove_prefix_that_is_empty_takes_all(void **state)
{
    struct fixture *f = *state;
    apply(f, put_op("a", "1", ""));
    apply(f, put_op("\xff\xff", "2", ""));
    assert_int_equal(apply(f, remove_prefix_op("", LIMIT_REMOVE_KEYS)), KV_DONE);
    assert_int_equal(f->item.n_deleted, 2);
    assert_int_equal(kv_stats(f->kv).n_keys, 0);
}

#define MANY 20000

static void put_many(struct fixture *f, unsigned from, unsigned to)
{
    char key[16];
    for (unsigned i = from; i < to; i++) {
        snprintf(key, sizeof key, "many/%05u", i);
        apply(f, put_op(key, "v", ""));
    }
}

/* Half of them in the base, and one key beside them. */
static void put_very_many(struct fixture *f)
{
    apply(f, put_op("other", "1", ""));
    put_many(f, 0, MANY / 2);
    checkpoint(f);
    put_many(f, MANY / 2, MANY);
}

static unsigned count(const struct kv *kv)
{
    struct kv_view *view = kv_view_new(kv);
    struct kv_cursor *c = kv_view_cursor(view);
    struct kv_record r;
    unsigned n = 0;
    for (int err = kv_cursor_seek(c, NULL, 0, &r); err == 0; err = kv_cursor_next(c, &r))
        n++;
    kv_cursor_close(&c);
    kv_view_close(&view);
    return n;
}

static struct kv_result begin(struct fixture *f, struct kv_op op)
{
    struct buf b = BUF_INIT;
    struct kv_result r;
    encode(f, ++f->seq, &op, &b);
    assert_int_equal(kv_apply_begin(f->kv, next_pos(f), b.data, b.len, &r), 0);
    buf_free(&b); /* nothing of it is borrowed */
    return r;
}

static void test_remove_prefix_is_not_seen_before_its_end(void **state)
{
    struct fixture *f = *state;
    put_very_many(f);
    struct kv_frozen *frozen = NULL, *second;
    assert_int_equal(kv_freeze(f->kv, &frozen), 0);
    struct kv_result r = begin(f, remove_prefix_op("many/", MANY));
    unsigned n_slices = 0;
    while (r.more) {
        assert_true(kv_is_applying(f->kv));
        assert_int_equal(kv_applied(f->kv).index, f->index - 1);
        assert_int_equal(count(f->kv), MANY + 1);
        assert_int_equal(kv_freeze(f->kv, &second), ERR_NOT_ALLOWED);
        if (n_slices == 7) { /* the frozen records are in the base now */
            struct kv_cursor *run = kv_frozen_cursor(frozen);
            mem_base_add_run(f->base, &run);
            kv_drop_frozen(f->kv, &frozen);
        }
        if (n_slices % 2)
            kv_end_batch(f->kv);
        assert_int_equal(kv_apply_more(f->kv, &r), 0);
        n_slices++;
    }
    assert_true(n_slices >= 10);
    assert_null(frozen);
    struct kv_answer_item item = item_of(&r);
    assert_int_equal(item.code, KV_DONE);
    assert_int_equal(item.n_deleted, MANY);
    assert_int_equal(r.pos.index, f->index);
    assert_false(kv_is_applying(f->kv));
    assert_int_equal(kv_applied(f->kv).index, f->index);
    assert_int_equal(count(f->kv), 1);
    assert_int_equal(kv_stats(f->kv).n_keys, 1);
    checkpoint(f);
    assert_int_equal(mem_base_n_records(f->base), 1);
}

static void test_remove_prefix_of_too_many_says_so_early(void **state)
{
    struct fixture *f = *state;
    put_very_many(f);
    struct kv_result r = begin(f, remove_prefix_op("many/", 100));
    assert_true(r.more);
    assert_int_equal(kv_apply_more(f->kv, &r), 0);
    assert_false(r.more);
    assert_int_equal(item_of(&r).code, KV_TOO_LARGE);
    assert_int_equal(count(f->kv), MANY + 1);
}

static void test_remove_prefix_goes_on_when_views_expire(void **state)
{
    struct fixture *f = *state;
    put_very_many(f);
    struct kv_result r = begin(f, remove_prefix_op("many/", MANY));
    while (r.more) {
        mem_base_expire_views(f->base);
        assert_int_equal(kv_apply_more(f->kv, &r), 0);
    }
    assert_int_equal(item_of(&r).n_deleted, MANY);
    assert_int_equal(count(f->kv), 1);
}

static void test_remove_prefix_over_a_base_that_cannot_be_read_fails(void **state)
{
    struct fixture *f = *state;
    put_very_many(f);
    struct kv_result r = begin(f, remove_prefix_op("many/", MANY));
    mem_base_fail(f->base, ERR_CORRUPT);
    assert_int_equal(kv_apply_more(f->kv, &r), ERR_CORRUPT);
    mem_base_fail(f->base, 0);
}

static void test_remove_prefix_ends_with_an_install(void **state)
{
    struct fixture *f = *state;
    struct buf meta = BUF_INIT;
    put_very_many(f);
    struct kv *later;
    kv_meta(f->kv, &meta);
    assert_int_equal(kv_restore(meta.data, meta.len, f->base, &later), 0);
    kv_apply_nothing(later, (struct kv_pos){1, f->index + 2});
    buf_clear(&meta);
    kv_meta(later, &meta);
    struct kv_result r = begin(f, remove_prefix_op("many/", MANY));
    assert_int_equal(kv_apply_more(f->kv, &r), 0);
    assert_int_equal(kv_install(f->kv, meta.data, meta.len, f->base), 0);
    assert_false(kv_is_applying(f->kv));
    f->index += 2;
    f->seq = 30000; /* what was begun was not seen by the other */
    assert_int_equal(apply(f, put_op("k", "v", "")), KV_DONE);
    kv_free(&later);
    buf_free(&meta);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_remove_prefix_takes_keys_wherever_they_are),
        TEST(test_remove_prefix_that_is_empty_takes_all),
        TEST(test_remove_prefix_is_not_seen_before_its_end),
        TEST(test_remove_prefix_of_too_many_says_so_early),
        TEST(test_remove_prefix_goes_on_when_views_expire),
        TEST(test_remove_prefix_over_a_base_that_cannot_be_read_fails),
        TEST(test_remove_prefix_ends_with_an_install),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
