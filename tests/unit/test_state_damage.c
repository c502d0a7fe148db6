/* SPDX-License-Identifier: MIT
 * store/state: damage in records, chunks, marks and runs. It is told with file,
 * record and remedy, and never served.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/mem.h"
#include "state_fixture.h"
#include "store/env.h"
#include "store/records.h"
#include "store/state_db.h"
#include "store/state_impl.h"

#define VICTIM 123

/* ---- spoiling ---- */

/* Flips a bit in the middle of where the file holds these bytes, everywhere: pages that are of no
 * use any more may hold them too. */
static void flip(const char *path, const void *bytes, size_t len)
{
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size_t size = (size_t)ftell(file);
    uint8_t *content = mem_alloc(size);
    rewind(file);
    assert_int_equal(fread(content, 1, size, file), size);
    unsigned n = 0;
    for (size_t i = 0; i + len <= size; i++) {
        if (memcmp(content + i, bytes, len) != 0)
            continue;
        content[i + len / 2] ^= 0x10;
        n++;
    }
    assert_true(n > 0);
    rewind(file);
    assert_int_equal(fwrite(content, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    mem_free(content);
}

/* A state with everything merged, the victim's value among it; closed. */
static void make_merged(struct state_fixture *f, size_t victim_len)
{
    state_start(f->state);
    fixture_add(f, 0, MODEL_KEYS - 1, 70);
    fixture_add_value(f, VICTIM, victim_len);
    fixture_wait_merged(f);
    state_close(&f->state);
}

static void assert_told(struct state_fixture *f, const char *path, const char *what)
{
    pthread_mutex_lock(&f->lock);
    assert_int_equal(f->n_damaged, 1);
    if (!strstr(f->text, path) || !strstr(f->text, what) || !strstr(f->text, RUN_REMEDY_NODE))
        fail_msg("%s and %s are not in: %s", path, what, f->text);
    pthread_mutex_unlock(&f->lock);
    assert_true(state_stats(f->state).is_damaged);
}

/* Of all keys only the victim cannot be read. */
static void assert_only_victim_is_damaged(struct state_fixture *f)
{
    struct kv_base *base = state_base(f->state);
    struct kv_base_view *view = base->ops->view(base);
    for (unsigned i = 0; i < MODEL_KEYS; i++) {
        struct kv_value v = {0};
        size_t len;
        const uint8_t *key = fixture_key(i, &len);
        int expected = i == VICTIM ? ERR_CORRUPT : f->model[i].present ? 0 : ERR_NOT_FOUND;
        assert_int_equal(view->ops->get(view, key, len, &v), expected);
        if (i == VICTIM)
            assert_null(v.data);
    }
    struct kv_cursor *c = view->ops->cursor(view);
    struct kv_record r;
    int err = kv_cursor_seek(c, NULL, 0, &r);
    while (!err) {
        size_t len;
        assert_memory_not_equal(r.key, fixture_key(VICTIM, &len), 8);
        err = kv_cursor_next(c, &r);
    }
    assert_int_equal(err, ERR_CORRUPT);
    kv_cursor_close(&c);
    view->ops->close(view);
}

/* ---- records ---- */

static void test_flipped_bit_in_a_value_is_told_and_not_served(void **state)
{
    struct state_fixture *f = *state;
    make_merged(f, 300);
    flip(fixture_state_path(f, "data.mdb"), fixture_value(f->model[VICTIM].seed, 300), 300);
    fixture_state_open(f);
    assert_only_victim_is_damaged(f);
    assert_told(f, fixture_state_path(f, "data.mdb"), "the record of key \"key-0123\\x00");
    assert_int_equal(state_scrub(f->state, &f->reason), ERR_CORRUPT);
    assert_non_null(strstr(buf_str(&f->reason), "key-0123"));
}

static void test_flipped_bit_in_a_chunk_is_told_and_not_served(void **state)
{
    struct state_fixture *f = *state;
    make_merged(f, 50000);
    const uint8_t *value = fixture_value(f->model[VICTIM].seed, 50000);
    flip(fixture_state_path(f, "data.mdb"), value + 30000, 20);
    fixture_state_open(f);
    assert_only_victim_is_damaged(f);
    assert_told(f, fixture_state_path(f, "data.mdb"), "key-0123");
    assert_int_equal(state_scrub(f->state, &f->reason), ERR_CORRUPT);
}

static bool has(const uint8_t *page, size_t len, const char *bytes, size_t n)
{
    for (size_t i = 0; i + n <= len; i++)
        if (memcmp(page + i, bytes, n) == 0)
            return true;
    return false;
}

/* Some bytes of some page change, but not of LMDB's own, nor of the one that names the tables. */
static void scramble(int fd, struct rng *rng, size_t n_pages)
{
    static const char name[] = "\4\0keys"; /* its length, and it */
    uint8_t page[4096];
    off_t at = (off_t)(rng_range(rng, 2, n_pages - 1) * sizeof page);
    assert_int_equal(pread(fd, page, sizeof page, at), sizeof page);
    if (has(page, sizeof page, name, sizeof name - 1))
        return;
    for (uint64_t n = rng_range(rng, 1, 8); n > 0; n--) /* half of them in its head */
        page[rng_range(rng, 0, n % 2 ? 63 : sizeof page - 1)] = (uint8_t)rng_next(rng);
    assert_int_equal(pwrite(fd, page, sizeof page, at), sizeof page);
}

/* All that a branch page of LMDB names is page `to`; 0: the branch itself. */
static void lead_branches(int fd, size_t n_pages, uint64_t to)
{
    union {
        uint8_t bytes[4096];
        uint16_t words[2048];
    } page;
    unsigned n_branches = 0;
    for (size_t number = 2; number < n_pages; number++) {
        off_t at = (off_t)(number * sizeof page);
        assert_int_equal(pread(fd, page.bytes, sizeof page, at), sizeof page);
        if (page.words[5] != 1) /* its flags: a branch */
            continue;
        n_branches++;
        for (unsigned i = 8; i < page.words[6] / 2; i++)
            for (unsigned part = 0; part < 3; part++)
                page.words[page.words[i] / 2 + part] = (uint16_t)((to ? to : number) >> 16 * part);
        assert_int_equal(pwrite(fd, page.bytes, sizeof page, at), sizeof page);
    }
    assert_true(n_branches > 0);
}

/* What is fetched ahead is not checked: it may be anything, and must lead nowhere. */
static void test_fetching_ahead_bears_any_bytes(void **state)
{
    struct state_fixture *f = *state;
    uint8_t names[KV_PREFETCH_MAX][LIMIT_KEY_BYTES];
    struct kv_bytes keys[KV_PREFETCH_MAX];
    struct stat st;
    unsigned n_found = 0;
    make_merged(f, 300);
    fixture_state_open(f);
    struct kv_base *base = state_base(f->state);
    struct kv_base_view *view = base->ops->view(base);
    for (unsigned i = 0; i < KV_PREFETCH_MAX; i++) {
        const uint8_t *key = fixture_key(i * (MODEL_KEYS / KV_PREFETCH_MAX), &keys[i].len);
        keys[i].p = memcpy(names[i], key, keys[i].len);
    }
    assert_true(state_fetch_ahead(state_view_of(view), keys, KV_PREFETCH_MAX) > 0);
    int fd = open(fixture_state_path(f, "data.mdb"), O_RDWR | O_CLOEXEC);
    assert_int_equal(fstat(fd, &st), 0);
    size_t n_pages = (size_t)st.st_size / 4096;
    lead_branches(fd, n_pages, 0);
    assert_int_equal(state_fetch_ahead(state_view_of(view), keys, KV_PREFETCH_MAX), 0);
    lead_branches(fd, n_pages, n_pages); /* behind the end of the file, and of the map */
    assert_int_equal(state_fetch_ahead(state_view_of(view), keys, KV_PREFETCH_MAX), 0);
    lead_branches(fd, n_pages, UINT64_MAX >> 16);
    assert_int_equal(state_fetch_ahead(state_view_of(view), keys, KV_PREFETCH_MAX), 0);
    for (unsigned i = 0; i < 20000; i++) {
        scramble(fd, &f->rng, n_pages);
        n_found += state_fetch_ahead(state_view_of(view), keys, KV_PREFETCH_MAX);
    }
    assert_true(n_found < 20000);
    close(fd);
    view->ops->close(view);
}

static void test_merge_that_meets_damage_stops_and_tells(void **state)
{
    struct state_fixture *f = *state;
    make_merged(f, 300);
    flip(fixture_state_path(f, "data.mdb"), fixture_value(f->model[VICTIM].seed, 300), 300);
    fixture_state_open(f);
    fixture_add_value(f, VICTIM, 20);
    state_start(f->state);
    pthread_mutex_lock(&f->lock);
    while (f->n_damaged == 0)
        pthread_cond_wait(&f->more, &f->lock);
    pthread_mutex_unlock(&f->lock);
    assert_told(f, fixture_state_path(f, "data.mdb"), "key-0123");
    assert_int_equal(state_stats(f->state).n_runs, 1);
    struct kv_base *base = state_base(f->state);
    struct kv_base_view *view = base->ops->view(base);
    struct kv_value v;
    size_t len;
    const uint8_t *key = fixture_key(VICTIM, &len);
    assert_int_equal(view->ops->get(view, key, len, &v), 0); /* the run shadows what is damaged */
    assert_int_equal(v.len, 20);
    view->ops->close(view);
    assert_int_equal(f->n_fatal, 0);
}

static void test_background_scrub_finds_damage_by_itself(void **state)
{
    struct state_fixture *f = *state;
    make_merged(f, 300);
    flip(fixture_state_path(f, "data.mdb"), fixture_value(f->model[VICTIM].seed, 300), 300);
    f->options.scrub_ms = 1;
    f->options.scrub_bytes_max = 100 * MIB;
    fixture_state_open(f);
    state_start(f->state);
    pthread_mutex_lock(&f->lock);
    while (f->n_damaged == 0)
        pthread_cond_wait(&f->more, &f->lock);
    pthread_mutex_unlock(&f->lock);
    usleep(20000); /* said once, however often it is found */
    assert_told(f, fixture_state_path(f, "data.mdb"), "key-0123");
}

/* ---- what LMDB holds, changed by its own means ---- */

static void spoil_tables(struct state_fixture *f, void (*spoil)(struct state_db *db, MDB_txn *txn))
{
    struct state_db db;
    struct state_mark mark;
    MDB_txn *txn;
    char path[128];
    snprintf(path, sizeof path, "%s/state-1", f->root);
    assert_int_equal(state_db_open(&db, path, 0, &mark, &f->reason), 0);
    assert_int_equal(mdb_txn_begin(db.env, NULL, 0, &txn), 0);
    assert_int_equal(state_db_put_mark(&db, txn, &mark), 0);
    spoil(&db, txn);
    assert_int_equal(mdb_txn_commit(txn), 0);
    state_db_close(&db);
}

static void delete_victim(struct state_db *db, MDB_txn *txn)
{
    size_t len;
    const uint8_t *bytes = fixture_key(VICTIM, &len);
    MDB_val key = {len, (void *)bytes};
    assert_int_equal(mdb_del(txn, db->keys, &key, NULL), 0);
}

/* The whole record of a neighbour, valid there. */
static void copy_neighbour(struct state_db *db, MDB_txn *txn)
{
    uint8_t key_bytes[LIMIT_KEY_BYTES];
    MDB_val key, item;
    MDB_cursor *c;
    size_t len;
    memcpy(key_bytes, fixture_key(VICTIM, &len), sizeof key_bytes);
    key = (MDB_val){len, key_bytes};
    assert_int_equal(mdb_cursor_open(txn, db->keys, &c), 0);
    assert_int_equal(mdb_cursor_get(c, &key, &item, MDB_SET), 0);
    assert_int_equal(mdb_cursor_get(c, &key, &item, MDB_NEXT), 0);
    uint8_t *copy = mem_dup(item.mv_data, item.mv_size);
    item.mv_data = copy;
    key = (MDB_val){len, key_bytes};
    assert_int_equal(mdb_put(txn, db->keys, &key, &item, 0), 0);
    mdb_cursor_close(c);
    mem_free(copy);
}

static void delete_chunk(struct state_db *db, MDB_txn *txn)
{
    MDB_cursor *c;
    MDB_val key, item;
    assert_int_equal(mdb_cursor_open(txn, db->chunks, &c), 0);
    for (int rc = mdb_cursor_get(c, &key, &item, MDB_FIRST); !rc;
         rc = mdb_cursor_get(c, &key, &item, MDB_NEXT))
        if (((const uint8_t *)key.mv_data)[STATE_CHUNK_KEY_BYTES - 1] == 7)
            assert_int_equal(mdb_cursor_del(c, 0), 0);
    mdb_cursor_close(c);
}

static void set_format(struct state_db *db, MDB_txn *txn)
{
    assert_int_equal(store_put_format(txn, db->records, STATE_FORMAT + 1), 0);
}

static void test_record_that_is_missing_is_found_by_the_scrub(void **state)
{
    struct state_fixture *f = *state;
    make_merged(f, 300);
    spoil_tables(f, delete_victim);
    fixture_state_open(f);
    assert_int_equal(state_scrub(f->state, &f->reason), ERR_CORRUPT);
    assert_told(f, fixture_state_path(f, "data.mdb"), "as many records");
}

static void test_record_of_another_key_is_told_and_not_served(void **state)
{
    struct state_fixture *f = *state;
    make_merged(f, 300);
    spoil_tables(f, copy_neighbour);
    fixture_state_open(f);
    assert_only_victim_is_damaged(f);
    assert_told(f, fixture_state_path(f, "data.mdb"), "key-0123");
}

static void test_chunk_that_is_missing_is_told_and_not_served(void **state)
{
    struct state_fixture *f = *state;
    f->value_bytes_max = 4040; /* no other is large */
    make_merged(f, 50000);
    spoil_tables(f, delete_chunk);
    fixture_state_open(f);
    assert_only_victim_is_damaged(f);
    assert_told(f, fixture_state_path(f, "data.mdb"), "lacks a chunk");
}

static void test_other_format_is_refused_by_name(void **state)
{
    struct state_fixture *f = *state;
    make_merged(f, 300);
    spoil_tables(f, set_format);
    assert_int_equal(fixture_state_try_open(f), ERR_VERSION);
    assert_non_null(strstr(buf_str(&f->reason), "has format 3"));
}

/* A transaction that left the mark as it was is none of ours: so would an older
 * meta page look, over pages that are of a newer state. */
static void test_mark_of_another_transaction_is_refused(void **state)
{
    struct state_fixture *f = *state;
    struct state_db db;
    struct state_mark mark;
    MDB_txn *txn;
    char path[128];
    snprintf(path, sizeof path, "%s/state-1", f->root);
    make_merged(f, 300);
    assert_int_equal(state_db_open(&db, path, 0, &mark, &f->reason), 0);
    assert_int_equal(mdb_txn_begin(db.env, NULL, 0, &txn), 0);
    delete_victim(&db, txn);
    assert_int_equal(mdb_txn_commit(txn), 0);
    state_db_close(&db);
    assert_int_equal(fixture_state_try_open(f), ERR_CORRUPT);
    assert_non_null(strstr(buf_str(&f->reason), "the mark"));
}

static void test_any_byte_of_a_record_that_is_flipped_is_noticed(void **state)
{
    struct state_fixture *f = *state;
    f->value_bytes_max = 4040;
    make_merged(f, 300);
    const char *path = fixture_state_path(f, "data.mdb");
    const uint8_t *value = fixture_value(f->model[VICTIM].seed, 300);
    for (size_t i = 0; i < 280; i += 37) { /* each time another byte of one record */
        f->n_damaged = 0;
        flip(path, value + i, 16);
        fixture_state_open(f);
        assert_only_victim_is_damaged(f);
        state_close(&f->state);
        uint8_t flipped[16];
        memcpy(flipped, value + i, sizeof flipped);
        flipped[8] ^= 0x10;
        flip(path, flipped, sizeof flipped);
    }
    fixture_state_open(f);
    fixture_check(f);
}

/* ---- runs ---- */

static void test_damaged_run_is_told_and_not_served_and_not_merged(void **state)
{
    struct state_fixture *f = *state;
    fixture_add(f, 0, MODEL_KEYS - 1, 70);
    fixture_add_value(f, VICTIM, 300);
    state_close(&f->state);
    flip(fixture_state_path(f, "run-2"), fixture_value(f->model[VICTIM].seed, 300), 300);
    fixture_state_open(f);
    struct kv_base *base = state_base(f->state);
    struct kv_base_view *view = base->ops->view(base);
    struct kv_value v;
    size_t len;
    const uint8_t *key = fixture_key(VICTIM, &len);
    assert_int_equal(view->ops->get(view, key, len, &v), ERR_CORRUPT);
    view->ops->close(view);
    assert_told(f, fixture_state_path(f, "run-2"), "");
    state_start(f->state);
    usleep(50000);
    assert_int_equal(state_stats(f->state).n_runs, 2);
    assert_int_equal(f->n_steps[STATE_STEP_MERGED], 0);
    assert_told(f, fixture_state_path(f, "run-2"), "");
}

static void test_run_that_is_missing_and_partly_merged_is_refused(void **state)
{
    struct state_fixture *f = *state;
    fixture_add(f, 0, MODEL_KEYS - 1, 90);
    fixture_add(f, 0, MODEL_KEYS - 1, 90);
    f->kill_step = STATE_STEP_SLICE;
    state_start(f->state);
    fixture_wait_merged(f);
    state_close(&f->state);
    assert_int_equal(unlink(fixture_state_path(f, "run-2")), 0);
    assert_int_equal(fixture_state_try_open(f), ERR_CORRUPT);
    assert_non_null(strstr(buf_str(&f->reason), "lacks run-2, which is partly merged"));
}

static void test_run_that_is_missing_between_others_is_refused(void **state)
{
    struct state_fixture *f = *state;
    for (int i = 0; i < 3; i++)
        fixture_add(f, 0, 20, 50);
    state_close(&f->state);
    assert_int_equal(unlink(fixture_state_path(f, "run-2")), 0);
    assert_int_equal(fixture_state_try_open(f), ERR_CORRUPT);
    assert_non_null(strstr(buf_str(&f->reason), "run-2"));
}

static void test_run_that_is_cut_short_is_refused(void **state)
{
    struct state_fixture *f = *state;
    fixture_add(f, 0, 200, 50);
    state_close(&f->state);
    assert_int_equal(truncate(fixture_state_path(f, "run-1"), 1000), 0);
    assert_int_equal(fixture_state_try_open(f), ERR_CORRUPT);
    assert_non_null(strstr(buf_str(&f->reason), "run-1"));
}

#define TEST(name)                                                                                 \
    cmocka_unit_test_setup_teardown(name, state_fixture_setup, state_fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_flipped_bit_in_a_value_is_told_and_not_served),
        TEST(test_flipped_bit_in_a_chunk_is_told_and_not_served),
        TEST(test_fetching_ahead_bears_any_bytes),
        TEST(test_merge_that_meets_damage_stops_and_tells),
        TEST(test_background_scrub_finds_damage_by_itself),
        TEST(test_record_that_is_missing_is_found_by_the_scrub),
        TEST(test_record_of_another_key_is_told_and_not_served),
        TEST(test_chunk_that_is_missing_is_told_and_not_served),
        TEST(test_other_format_is_refused_by_name),
        TEST(test_mark_of_another_transaction_is_refused),
        TEST(test_any_byte_of_a_record_that_is_flipped_is_noticed),
        TEST(test_damaged_run_is_told_and_not_served_and_not_merged),
        TEST(test_run_that_is_missing_between_others_is_refused),
        TEST(test_run_that_is_missing_and_partly_merged_is_refused),
        TEST(test_run_that_is_cut_short_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
