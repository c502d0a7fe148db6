/* SPDX-License-Identifier: MIT
 * The memtable, cursors and their merging; and readers beside the writer, which
 * is for the thread sanitizer too.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"
#include "kv/memtable.h"
#include "kv/view.h"
#include "mem_base.h"

/* ---- one thread ---- */

static struct kv_record record(const char *key, const char *value, uint64_t revision)
{
    return (struct kv_record){
        .key = (const uint8_t *)key,
        .key_len = strlen(key),
        .deleted = !value,
        .value = {.data = (const uint8_t *)value,
                  .len = value ? strlen(value) : 0,
                  .revision = revision,
                  .create_revision = revision,
                  .version = 1},
    };
}

/* A NULL value is a tombstone. */
static void put(struct memtable *m, const char *key, const char *value, uint64_t revision)
{
    struct kv_record r = record(key, value, revision), old;
    struct memtable_place place;
    memtable_find(m, key, strlen(key), &place, &old);
    memtable_put(m, &place, &r);
}

/* "NOT_FOUND", "deleted" or the value. */
static const char *get_at(struct memtable *m, const char *key, uint64_t index)
{
    static char text[64];
    struct kv_record r;
    if (memtable_get(m, key, strlen(key), index, &r) != 0)
        return "NOT_FOUND";
    assert_true(r.value.revision <= index);
    snprintf(text, sizeof text, "%.*s", (int)r.value.len, (const char *)r.value.data);
    return r.deleted ? "deleted" : text;
}

/* "key=value " for every record from a key on, of a tombstone "key- "; or the error's name. */
static const char *list(struct kv_cursor *c, const char *from)
{
    static char text[256];
    struct kv_record r;
    size_t n = 0;
    text[0] = '\0';
    int err = kv_cursor_seek(c, from, strlen(from), &r);
    for (; err == 0; err = kv_cursor_next(c, &r))
        n += (size_t)snprintf(text + n, sizeof text - n, r.deleted ? "%.*s- " : "%.*s=%.*s ",
                              (int)r.key_len, (const char *)r.key, (int)r.value.len,
                              (const char *)r.value.data);
    if (err != ERR_NOT_FOUND)
        return err_name(err);
    assert_int_equal(kv_cursor_next(c, &r), ERR_NOT_FOUND);
    return text;
}

/* The same from the last record below a key on, backwards. */
static const char *list_back(struct kv_cursor *c, const char *from)
{
    static char text[256];
    struct kv_record r;
    size_t n = 0;
    text[0] = '\0';
    int err = kv_cursor_below(c, from, strlen(from), &r);
    for (; err == 0; err = kv_cursor_below(c, r.key, r.key_len, &r))
        n += (size_t)snprintf(text + n, sizeof text - n, r.deleted ? "%.*s- " : "%.*s=%.*s ",
                              (int)r.key_len, (const char *)r.key, (int)r.value.len,
                              (const char *)r.value.data);
    return err == ERR_NOT_FOUND ? text : err_name(err);
}

static void test_memtable_shows_each_index_its_own_versions(void **state)
{
    (void)state;
    struct memtable *m = memtable_new();
    put(m, "b", "one", 10);
    put(m, "b", "two", 20);
    put(m, "a", "new", 25);
    put(m, "b", NULL, 30);
    put(m, "b", "", 40);
    assert_string_equal(get_at(m, "b", 9), "NOT_FOUND");
    assert_string_equal(get_at(m, "b", 10), "one");
    assert_string_equal(get_at(m, "b", 29), "two");
    assert_string_equal(get_at(m, "b", 30), "deleted");
    assert_string_equal(get_at(m, "b", MEMTABLE_NEWEST), "");
    assert_string_equal(get_at(m, "a", 24), "NOT_FOUND");
    assert_string_equal(get_at(m, "aa", MEMTABLE_NEWEST), "NOT_FOUND");
    const struct {
        uint64_t index;
        const char *text, *backwards;
    } cases[] = {{9, "", ""},
                 {15, "b=one ", "b=one "},
                 {25, "a=new b=two ", "b=two a=new "},
                 {30, "a=new b- ", "b- a=new "}};
    for (unsigned i = 0; i < 4; i++) {
        struct kv_cursor *c = memtable_cursor(m, cases[i].index);
        assert_string_equal(list(c, ""), cases[i].text);
        assert_string_equal(list_back(c, ""), cases[i].backwards);
        kv_cursor_close(&c);
    }
    memtable_unref(&m);
}

static void test_memtable_last_of_two_writes_at_one_index_counts(void **state)
{
    (void)state;
    struct memtable *m = memtable_new();
    put(m, "k", "first", 5);
    put(m, "k", NULL, 5);
    assert_string_equal(get_at(m, "k", 5), "deleted");
    assert_string_equal(get_at(m, "k", 4), "NOT_FOUND");
    memtable_unref(&m);
}

static void test_memtable_find_gives_the_newest_record_to_the_writer(void **state)
{
    (void)state;
    struct memtable *m = memtable_new();
    struct memtable_place place;
    struct kv_record r;
    assert_false(memtable_find(m, "k", 1, &place, &r));
    put(m, "k", "value", 7);
    assert_true(memtable_find(m, "k", 1, &place, &r));
    assert_int_equal(r.value.revision, 7);
    assert_int_equal(r.value.len, 5);
    assert_memory_equal(r.value.data, "value", 5);
    put(m, "k", NULL, 8);
    assert_true(memtable_find(m, "k", 1, &place, &r));
    assert_true(r.deleted);
    memtable_unref(&m);
}

/* Of any number of keys, there or not, below and above all; in an empty one too. */
static void test_memtable_find_ahead_changes_nothing(void **state)
{
    (void)state;
    struct memtable *m = memtable_new();
    struct memtable_ahead ahead[KV_PREFETCH_MAX];
    struct kv_bytes keys[KV_PREFETCH_MAX];
    char texts[KV_PREFETCH_MAX][8];
    for (unsigned i = 0; i < KV_PREFETCH_MAX; i++) {
        snprintf(texts[i], sizeof texts[i], "%c%02u", i % 2 ? 'm' : 'a' + (int)i % 26, i);
        keys[i] = (struct kv_bytes){texts[i], i == 5 ? 0 : strlen(texts[i])};
    }
    memtable_find_ahead(m, keys, KV_PREFETCH_MAX, ahead);
    for (unsigned i = 0; i < KV_PREFETCH_MAX; i += 3) {
        uint64_t bytes = memtable_bytes(m);
        memtable_find_ahead(m, keys, i, ahead);
        assert_int_equal(memtable_bytes(m), bytes);
        put(m, texts[i], texts[i], i + 1);
    }
    memtable_find_ahead(m, keys, KV_PREFETCH_MAX, ahead);
    for (unsigned i = 0; i < KV_PREFETCH_MAX; i++)
        assert_string_equal(get_at(m, texts[i], 100), i % 3 ? "NOT_FOUND" : texts[i]);
    memtable_unref(&m);
}

/* Keys of a set that grows, so that some of those searched for ahead are put next to each other, or
 * twice; the list grows higher meanwhile. */
static void test_memtable_find_from_is_find(void **state)
{
    (void)state;
    struct memtable *m = memtable_new();
    struct memtable_ahead ahead[KV_PREFETCH_MAX];
    struct kv_bytes keys[KV_PREFETCH_MAX];
    char texts[KV_PREFETCH_MAX][16];
    struct rng rng = {7};
    unsigned n_new = 0, n_old = 0;
    for (unsigned round = 1; round < 1000; round++) {
        unsigned n = (unsigned)rng_range(&rng, 1, KV_PREFETCH_MAX);
        for (unsigned i = 0; i < n; i++) {
            int len = snprintf(texts[i], sizeof texts[i], "%.*s%u", (int)rng_range(&rng, 0, 3),
                               "kkk", (unsigned)rng_range(&rng, 0, round));
            keys[i] = (struct kv_bytes){texts[i], (size_t)len};
        }
        memtable_find_ahead(m, keys, n, ahead);
        for (unsigned i = 0; i < n; i++) {
            struct memtable_place expected = {0}, place = {0};
            struct kv_record old, r = record(texts[i], texts[i], round);
            bool is_there = memtable_find(m, texts[i], keys[i].len, &expected, &old);
            assert_int_equal(memtable_find_from(m, texts[i], keys[i].len, &ahead[i], &place, &old),
                             is_there);
            assert_ptr_equal(place.node, expected.node);
            assert_memory_equal(place.links, expected.links, sizeof place.links);
            memtable_put(m, &place, &r);
            n_new += !is_there;
            n_old += is_there;
        }
    }
    assert_true(n_new > 1000 && n_old > 1000);
    memtable_unref(&m);
}

static void test_memtable_bytes_are_what_it_has_allocated(void **state)
{
    (void)state;
    struct memtable *m = memtable_new();
    uint64_t empty = memtable_bytes(m);
    assert_true(empty > 0 && empty < 1 * KIB);
    put(m, "k", "v", 1);
    uint64_t small = memtable_bytes(m);
    assert_in_range(small, 4 * KIB, 6 * KIB);
    put(m, "k", "w", 2); /* the block has room */
    assert_int_equal(memtable_bytes(m), small);
    char *large = mem_zalloc(100 * KIB + 1);
    memset(large, 'x', 100 * KIB);
    put(m, "l", large, 3);
    assert_in_range(memtable_bytes(m), small + 100 * KIB, small + 101 * KIB);
    uint64_t before = memtable_bytes(m);
    put(m, "k", "x", 4); /* in the first block still */
    assert_int_equal(memtable_bytes(m), before);
    mem_free(large);
    memtable_unref(&m);
}

static void test_memtable_lives_as_long_as_a_reference(void **state)
{
    (void)state;
    struct memtable *m = memtable_new(), *other = memtable_ref(m);
    put(m, "k", "v", 1);
    memtable_unref(&m);
    assert_null(m);
    assert_string_equal(get_at(other, "k", 1), "v");
    memtable_unref(&other);
    assert_null(memtable_ref(NULL));
}

static void test_merge_gives_each_key_once_from_the_newest_source(void **state)
{
    (void)state;
    struct memtable *m[3];
    for (unsigned i = 0; i < 3; i++)
        m[i] = memtable_new();
    put(m[0], "b", "new", 9);
    put(m[0], "c", NULL, 9);
    put(m[1], "a", NULL, 5);
    put(m[1], "b", "old", 5);
    put(m[1], "d", "old", 5);
    put(m[2], "a", "oldest", 1);
    put(m[2], "b", NULL, 1);
    put(m[2], "c", "oldest", 1);
    put(m[2], "e", "oldest", 1);
    for (unsigned keep = 0; keep < 2; keep++) {
        struct kv_cursor *sources[3];
        for (unsigned i = 0; i < 3; i++)
            sources[i] = memtable_cursor(m[i], MEMTABLE_NEWEST);
        struct kv_cursor *c = kv_merge_new(sources, 3, keep);
        assert_string_equal(list(c, ""),
                            keep ? "a- b=new c- d=old e=oldest " : "b=new d=old e=oldest ");
        assert_string_equal(list(c, "bb"), keep ? "c- d=old e=oldest " : "d=old e=oldest ");
        assert_string_equal(list(c, "a"),
                            keep ? "a- b=new c- d=old e=oldest " : "b=new d=old e=oldest ");
        assert_string_equal(list(c, "f"), "");
        assert_string_equal(list_back(c, ""),
                            keep ? "e=oldest d=old c- b=new a- " : "e=oldest d=old b=new ");
        assert_string_equal(list_back(c, "d"), keep ? "c- b=new a- " : "b=new ");
        assert_string_equal(list_back(c, "e"), keep ? "d=old c- b=new a- " : "d=old b=new ");
        assert_string_equal(list(c, "d"), "d=old e=oldest ");
        assert_string_equal(list_back(c, "bb"), keep ? "b=new a- " : "b=new ");
        assert_string_equal(list_back(c, "a"), "");
        kv_cursor_close(&c);
    }
    for (unsigned i = 0; i < 3; i++)
        memtable_unref(&m[i]);
}

#define MANY_KEYS 300

/* What a merge gives from `from` on is what the model says: of each key the newest source's. */
static void check_many(struct kv_cursor *c, unsigned from, bool keep,
                       const unsigned newest[MANY_KEYS], const bool deleted[MANY_KEYS])
{
    struct kv_record r;
    char key[8], value[8];
    snprintf(key, sizeof key, "%03u", from);
    int err = kv_cursor_seek(c, key, from ? 3 : 0, &r);
    for (unsigned k = from; k < MANY_KEYS; k++) {
        if (newest[k] == KV_MERGE_MAX || (deleted[k] && !keep))
            continue;
        snprintf(key, sizeof key, "%03u", k);
        snprintf(value, sizeof value, "%u", newest[k]);
        assert_int_equal(err, 0);
        assert_int_equal(r.key_len, 3);
        assert_memory_equal(r.key, key, 3);
        assert_int_equal(r.deleted, deleted[k]);
        assert_int_equal(r.value.len, deleted[k] ? 0 : strlen(value));
        assert_memory_equal(r.value.data, value, r.value.len);
        err = kv_cursor_next(c, &r);
    }
    assert_int_equal(err, ERR_NOT_FOUND);
}

static void test_merge_of_as_many_as_may_be_is_as_one(void **state)
{
    (void)state;
    struct rng rng = {7};
    for (unsigned round = 0; round < 60; round++) {
        unsigned n = 1 + (unsigned)(rng_next(&rng) % KV_MERGE_MAX), newest[MANY_KEYS];
        bool deleted[MANY_KEYS] = {false}, keep = round % 2;
        struct memtable *m[KV_MERGE_MAX];
        struct kv_cursor *sources[KV_MERGE_MAX];
        for (unsigned k = 0; k < MANY_KEYS; k++)
            newest[k] = KV_MERGE_MAX;
        for (unsigned i = n; i-- > 0;) { /* the oldest first */
            m[i] = memtable_new();
            for (unsigned k = 0; k < MANY_KEYS; k++) {
                char key[8], value[8];
                if (rng_next(&rng) % (round % 3 ? n + 1 : 2) != 0)
                    continue;
                newest[k] = i;
                deleted[k] = rng_next(&rng) % 4 == 0;
                snprintf(key, sizeof key, "%03u", k);
                snprintf(value, sizeof value, "%u", i);
                put(m[i], key, deleted[k] ? NULL : value, 1);
            }
            sources[i] = memtable_cursor(m[i], MEMTABLE_NEWEST);
        }
        struct kv_cursor *c = kv_merge_new(sources, n, keep);
        check_many(c, 0, keep, newest, deleted);
        for (unsigned i = 0; i < 10; i++)
            check_many(c, (unsigned)(rng_next(&rng) % MANY_KEYS), keep, newest, deleted);
        kv_cursor_close(&c);
        for (unsigned i = 0; i < n; i++)
            memtable_unref(&m[i]);
    }
}

static void test_merge_passes_the_error_of_a_source_on(void **state)
{
    (void)state;
    struct memtable *m = memtable_new();
    struct kv_base *base = mem_base_new();
    struct kv_cursor *run = memtable_cursor(m, MEMTABLE_NEWEST);
    struct kv_record r;
    put(m, "a", "1", 1);
    put(m, "b", "1", 1);
    mem_base_add_run(base, &run);
    struct kv_base_view *view = base->ops->view(base);
    struct kv_cursor *sources[] = {memtable_cursor(m, MEMTABLE_NEWEST), view->ops->cursor(view)};
    struct kv_cursor *c = kv_merge_new(sources, 2, false);
    assert_int_equal(kv_cursor_seek(c, "", 0, &r), 0);
    mem_base_fail(base, ERR_CORRUPT);
    assert_int_equal(kv_cursor_next(c, &r), ERR_CORRUPT);
    assert_string_equal(list(c, ""), "CORRUPT");
    assert_string_equal(list_back(c, ""), "CORRUPT");
    mem_base_fail(base, 0);
    assert_string_equal(list(c, ""), "a=1 b=1 ");
    /* the key sought may be the cursor's own */
    assert_int_equal(kv_cursor_seek(c, "b", 1, &r), 0);
    assert_int_equal(kv_cursor_seek(c, r.key, r.key_len, &r), 0);
    assert_memory_equal(r.key, "b", 1);
    kv_cursor_close(&c);
    view->ops->close(view);
    base->ops->unref(base);
    memtable_unref(&m);
}

/* ---- a writer and its readers ---- */

#define N_KEYS    64
#define N_INDEXES 20000u
#define N_READERS 2

/* Every command sets two keys to its index, in one step, or deletes both: a view in which they
 * differ has seen half of it. */
struct shared {
    pthread_mutex_t lock; /* as in node/machine.c */
    struct kv *kv;
    struct kv_base *base;
    atomic_bool done;
    atomic_uint n_views, n_found;
};

static void key_of(unsigned i, char half, char out[16])
{
    snprintf(out, 16, "%c%03u", half, i);
}

static void write_index(struct shared *s, struct rng *rng, uint64_t index)
{
    static const struct uuid node = {1, 1};
    uint8_t value[8], header[KV_ORIGIN_BYTES_MAX];
    char a[16], b[16];
    unsigned key = (unsigned)rng_range(rng, 0, N_KEYS - 1);
    enum kv_op_type type = rng_range(rng, 0, 3) ? KV_OP_SET : KV_OP_DELETE;
    key_of(key, 'a', a);
    key_of(key, 'b', b);
    bytes_put_be(value, index, 8);
    struct kv_op ops[] = {
        {.type = type, .key = (uint8_t *)a, .key_len = 4, .value = value, .value_len = 8},
        {.type = type, .key = (uint8_t *)b, .key_len = 4, .value = value, .value_len = 8}};
    struct kv_origin origin = {node, 1, index, index, 1};
    struct kv_result result;
    struct buf command = BUF_INIT;
    buf_append(&command, header, kv_origin_encode(&origin, header));
    kv_body_encode(KV_BATCH, ops, 2, &command);
    assert_int_equal(kv_apply(s->kv, (struct kv_pos){1, index}, command.data, command.len, &result),
                     0);
    assert_int_equal(result.err, 0);
    buf_free(&command);
}

/* The part that another thread does in a node, the writing of the run, lies between two locks. */
static void checkpoint(struct shared *s)
{
    struct kv_frozen *frozen;
    pthread_mutex_lock(&s->lock);
    assert_int_equal(kv_freeze(s->kv, &frozen), 0);
    pthread_mutex_unlock(&s->lock);
    struct kv_cursor *run = kv_frozen_cursor(frozen);
    mem_base_add_run(s->base, &run);
    pthread_mutex_lock(&s->lock);
    kv_drop_frozen(s->kv, &frozen);
    pthread_mutex_unlock(&s->lock);
}

/* Readers: cmocka's assertions are for the main thread only. */

static uint64_t view_value(struct kv_view *view, unsigned key, char half)
{
    struct kv_value v;
    char text[16];
    key_of(key, half, text);
    int err = kv_view_get(view, text, 4, &v);
    if (err == ERR_NOT_FOUND)
        return 0;
    ASSERT(err == 0);
    ASSERT(v.revision <= kv_view_index(view));
    ASSERT(bytes_get_be(v.data, 8) == v.revision);
    return v.revision;
}

static unsigned read_all(struct kv_view *view)
{
    struct kv_cursor *c = kv_view_cursor(view);
    struct kv_record r;
    uint64_t first[N_KEYS] = {0};
    unsigned n = 0;
    int err = kv_cursor_seek(c, NULL, 0, &r);
    for (; err == 0; err = kv_cursor_next(c, &r), n++) {
        unsigned key = (unsigned)strtoul(
            (char[]){(char)r.key[1], (char)r.key[2], (char)r.key[3], 0}, NULL, 10);
        ASSERT(r.value.revision <= kv_view_index(view));
        if (r.key[0] == 'a')
            first[key] = r.value.revision;
        else
            ASSERT(first[key] == r.value.revision);
    }
    ASSERT(err == ERR_NOT_FOUND);
    ASSERT(n % 2 == 0);
    kv_cursor_close(&c);
    return n;
}

static void read_once(struct shared *s, struct rng *rng, uint64_t *last_index)
{
    pthread_mutex_lock(&s->lock);
    bool lazy = rng_range(rng, 0, 1);
    struct kv_view *view = lazy ? kv_view_new_lazy(s->kv) : kv_view_new(s->kv);
    pthread_mutex_unlock(&s->lock);
    ASSERT(kv_view_index(view) >= *last_index);
    *last_index = kv_view_index(view);
    unsigned key = (unsigned)rng_range(rng, 0, N_KEYS - 1);
    if (lazy) {
        struct kv_value v;
        char text[16];
        key_of(key, 'a', text);
        int err = kv_view_get(view, text, 4, &v);
        ASSERT(err == 0 || err == ERR_NOT_FOUND);
    } else {
        ASSERT(view_value(view, key, 'a') == view_value(view, key, 'b'));
        atomic_fetch_add(&s->n_found, read_all(view));
    }
    kv_view_close(&view);
    atomic_fetch_add(&s->n_views, 1);
}

struct reader {
    pthread_t thread;
    struct shared *s;
    uint64_t seed;
};

static void *reader_main(void *arg)
{
    struct reader *reader = arg;
    struct rng rng = {reader->seed};
    uint64_t last_index = 0;
    while (!atomic_load(&reader->s->done))
        read_once(reader->s, &rng, &last_index);
    return NULL;
}

static void test_views_beside_the_writer_see_one_index_each(void **state)
{
    (void)state;
    static const struct uuid node = {1, 1};
    struct shared s = {.base = mem_base_new()};
    struct reader readers[N_READERS];
    struct rng rng = {4711};
    assert_int_equal(pthread_mutex_init(&s.lock, NULL), 0);
    assert_int_equal(kv_restore(NULL, 0, s.base, &s.kv), 0);
    kv_apply_members(s.kv, (struct kv_pos){1, 1}, &node, 1);
    for (unsigned i = 0; i < N_READERS; i++) {
        readers[i] = (struct reader){.s = &s, .seed = i};
        assert_int_equal(pthread_create(&readers[i].thread, NULL, reader_main, &readers[i]), 0);
    }
    for (uint64_t index = 2; index < N_INDEXES || atomic_load(&s.n_views) < 1000; index++) {
        write_index(&s, &rng, index);
        if (index % 16 == 0)
            kv_end_batch(s.kv);
        if (index % 400 == 0)
            checkpoint(&s);
    }
    atomic_store(&s.done, true);
    for (unsigned i = 0; i < N_READERS; i++)
        pthread_join(readers[i].thread, NULL);
    assert_true(atomic_load(&s.n_found) > 1000);
    kv_free(&s.kv);
    assert_int_equal(mem_base_n_views(s.base), 0);
    s.base->ops->unref(s.base);
    pthread_mutex_destroy(&s.lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memtable_shows_each_index_its_own_versions),
        cmocka_unit_test(test_memtable_last_of_two_writes_at_one_index_counts),
        cmocka_unit_test(test_memtable_find_gives_the_newest_record_to_the_writer),
        cmocka_unit_test(test_memtable_find_ahead_changes_nothing),
        cmocka_unit_test(test_memtable_find_from_is_find),
        cmocka_unit_test(test_memtable_bytes_are_what_it_has_allocated),
        cmocka_unit_test(test_memtable_lives_as_long_as_a_reference),
        cmocka_unit_test(test_merge_gives_each_key_once_from_the_newest_source),
        cmocka_unit_test(test_merge_of_as_many_as_may_be_is_as_one),
        cmocka_unit_test(test_merge_passes_the_error_of_a_source_on),
        cmocka_unit_test(test_views_beside_the_writer_see_one_index_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
