/* SPDX-License-Identifier: MIT
 * store/: snapshots made, sent, received and installed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "mem_base.h"
#include "store/log.h"
#include "store_machine.h"

/* ---- made and sent ---- */

static void test_snapshot_is_as_of_its_view_whatever_is_written_meanwhile(void **state)
{
    struct store_world *w = *state;
    machine_write(&w->leader, 100);
    machine_checkpoint(&w->leader);
    machine_write(&w->leader, 50);
    struct storage_job *j = storage_job_new(STORAGE_SNAPSHOT_MAKE, 9);
    j->view = kv_view_new(w->leader.kv);
    kv_meta(w->leader.kv, &j->meta);
    machine_write(&w->leader, 100);
    machine_checkpoint(&w->leader);
    j = fixture_work(w->leader.f, j);
    assert_int_equal(j->err, 0);
    struct raft_snapshot s = {.id = 9, .size = j->size, .digest = j->digest};
    s.base.pos = (struct raft_pos){1, 150};
    storage_job_free(&j);
    assert_int_equal(machine_transfer(&w->leader, &w->follower, &s, s.size), 0);
    struct raft_snapshot *counted = raft_snapshot_new(&s);
    machine_install(&w->follower, counted);
    raft_snapshot_unref(&counted);
    machine_check_at(&w->follower, 150);
}

/* It takes longer than a view may live, when the state is large. */
static void test_snapshot_keeps_its_view_while_it_is_made(void **state)
{
    struct store_world *w = *state;
    struct kv_base *base = mem_base_new();
    struct kv *kv;
    assert_int_equal(kv_restore(NULL, 0, base, &kv), 0);
    struct storage_job *j = storage_job_new(STORAGE_SNAPSHOT_MAKE, 9);
    j->view = kv_view_new(kv);
    kv_meta(kv, &j->meta);
    j = fixture_work(w->leader.f, j);
    assert_int_equal(j->err, 0);
    assert_int_equal(mem_base_n_kept(base), 1);
    assert_int_equal(mem_base_n_views(base), 0);
    storage_job_free(&j);
    kv_free(&kv);
    base->ops->unref(base);
}

static void test_read_of_what_is_not_there_is_an_error_and_no_end(void **state)
{
    struct store_world *w = *state;
    machine_write(&w->leader, 30);
    struct raft_snapshot *s = machine_snapshot(&w->leader, 5);
    struct storage_job *j = storage_job_new(STORAGE_SNAPSHOT_READ, 5);
    j->offset = s->size - 10;
    j->len = 11; /* beyond the end */
    j = fixture_work(w->leader.f, j);
    assert_int_equal(j->err, ERR_CORRUPT);
    storage_job_free(&j);
    machine_drop(&w->leader, 5); /* whose check is a read of another */
    machine_check_files(&w->leader, 1, 0);
    j = storage_job_new(STORAGE_SNAPSHOT_READ, 5);
    j->len = 1;
    j = fixture_work(w->leader.f, j);
    assert_int_equal(j->err, ERR_NOT_FOUND);
    storage_job_free(&j);
    raft_snapshot_unref(&s);
}

/* ---- installed ---- */

static void test_install_replaces_state_and_log_and_stays(void **state)
{
    struct store_world *w = *state;
    struct store_machine *to = &w->follower;
    machine_write(to, 70);
    machine_checkpoint(to);
    machine_write(to, 10);
    machine_write(&w->leader, 500);
    machine_checkpoint(&w->leader);
    machine_write(&w->leader, 33);
    struct raft_snapshot *s = machine_snapshot(&w->leader, 77);
    assert_int_equal(machine_transfer(&w->leader, to, s, s->size), 0);
    machine_check_files(to, 2, 0); /* the file is a part of the new generation */
    machine_check_at(to, 80);

    struct kv_view *old = kv_view_new(to->kv);
    machine_install(to, s);
    machine_check_at(to, 533);
    machine_check_files(to, 1, 0);
    machine_check_view(old, 80); /* what is deleted stays until it is closed */
    kv_view_close(&old);

    machine_write(to, 40);
    machine_check_at(to, 573);
    machine_reopen(to);
    assert_int_equal(to->restored, 533);
    assert_int_equal(to->base.pos.index, 533);
    assert_int_equal(to->n_scanned, 40);
    machine_check_at(to, 573);
    machine_checkpoint(to); /* goes on as ever */
    machine_compact(to, 560);
    machine_reopen(to);
    assert_int_equal(to->restored, 573);
    assert_int_equal(to->n_scanned, 13);
    machine_check_at(to, 573);
    raft_snapshot_unref(&s);
}

static void test_log_and_install_in_one_queue_are_carried_out_in_order(void **state)
{
    struct store_world *w = *state;
    struct store_machine *to = &w->follower;
    machine_write(to, 5);
    machine_write(&w->leader, 200);
    struct raft_snapshot *s = machine_snapshot(&w->leader, 3);
    assert_int_equal(machine_transfer(&w->leader, to, s, s->size), 0);
    uint64_t seq = to->f->written;
    fixture_submit(to->f, fixture_write_new(seq + 1, 6, 20, 1)); /* goes with the install */
    struct storage_write *install = machine_install_new(to, s);
    install->seq = seq + 2;
    fixture_submit(to->f, install);
    fixture_submit(to->f, fixture_write_new(seq + 3, 201, 9, 1));
    fixture_wait(to->f, seq + 3);
    assert_int_equal(to->f->n_disordered, 0);
    machine_reopen(to);
    assert_int_equal(to->base.pos.index, 200);
    assert_int_equal(to->n_scanned, 9);
    machine_check_at(to, 209);
    raft_snapshot_unref(&s);
}

/* Entries that nobody committed, and another leader's snapshot in their place (PITFALLS 25). */
static void test_longer_log_is_emptied_by_an_install(void **state)
{
    struct store_world *w = *state;
    struct store_machine *to = &w->follower;
    fixture_append(to->f, 1, 500, 1);
    machine_write(&w->leader, 200);
    struct raft_snapshot *s = machine_snapshot(&w->leader, 3);
    assert_int_equal(machine_transfer(&w->leader, to, s, s->size), 0);
    machine_install(to, s);
    machine_write(to, 3);
    machine_reopen(to);
    assert_int_equal(to->n_scanned, 3);
    machine_check_at(to, 203);
    raft_snapshot_unref(&s);
}

/* Closes the store. */
static size_t n_transactions(struct store_machine *m)
{
    struct store_log *log;
    struct buf reason = BUF_INIT;
    bool is_new;
    MDB_envinfo info;
    machine_close(m);
    assert_int_equal(store_log_open(m->f->dir, "log", 0, &log, &is_new, &reason), 0);
    assert_int_equal(mdb_env_info(log->env, &info), 0);
    store_log_close(&log);
    return info.me_last_txnid;
}

/* A kill in between is a rare thing to meet; that there is no between is not. */
static void test_install_is_one_transaction(void **state)
{
    struct store_world *w = *state;
    struct store_machine *to = &w->follower;
    machine_write(to, 100);
    machine_write(&w->leader, 200);
    struct raft_snapshot *s = machine_snapshot(&w->leader, 3);
    size_t before = n_transactions(to);
    machine_open(to);
    assert_int_equal(machine_transfer(&w->leader, to, s, s->size), 0);
    machine_install(to, s);
    assert_int_equal(n_transactions(to), before + 2); /* and that of the boot */
    raft_snapshot_unref(&s);
}

static void test_second_install_right_after_the_first(void **state)
{
    struct store_world *w = *state;
    struct store_machine *to = &w->follower;
    machine_write(to, 20);
    struct kv_view *views[4];
    for (unsigned i = 0; i < 4; i++) {
        machine_write(&w->leader, 150);
        struct raft_snapshot *s = machine_snapshot(&w->leader, 100 + i);
        assert_int_equal(machine_transfer(&w->leader, to, s, s->size), 0);
        views[i] = kv_view_new(to->kv);
        machine_install(to, s);
        machine_check_at(to, 150 * (i + 1));
        raft_snapshot_unref(&s);
    }
    machine_check_files(to, 1, 0);
    for (unsigned i = 0; i < 4; i++) {
        machine_check_view(views[i], i == 0 ? 20 : 150 * i);
        kv_view_close(&views[i]);
    }
    machine_reopen(to);
    machine_check_at(to, 600);
    assert_int_equal(to->restored, 600);
}

static void test_checkpoint_frozen_before_an_install_is_skipped(void **state)
{
    struct store_world *w = *state;
    struct store_machine *to = &w->follower;
    machine_write(to, 60);
    machine_write(&w->leader, 200);
    struct raft_snapshot *s = machine_snapshot(&w->leader, 8);
    assert_int_equal(machine_transfer(&w->leader, to, s, s->size), 0);
    struct storage_job *frozen = machine_freeze(to);
    machine_install(to, s);
    frozen = fixture_work(to->f, frozen);
    assert_int_equal(frozen->err, 0);
    kv_drop_frozen(to->kv, &frozen->frozen);
    storage_job_free(&frozen);
    machine_check_at(to, 200);
    machine_reopen(to);
    assert_int_equal(to->restored, 200);
    machine_check_at(to, 200);
    raft_snapshot_unref(&s);
}

/* What is installed takes the place of a damaged state, whatever waits for that one. */
static void test_install_ends_the_waiting_for_a_state_that_takes_no_more(void **state)
{
    struct store_world *w = *state;
    struct store_machine *to = &w->follower;
    machine_stop_merging(to);
    machine_write(&w->leader, 200);
    struct raft_snapshot *s = machine_snapshot(&w->leader, 8);
    assert_int_equal(machine_transfer(&w->leader, to, s, s->size), 0);
    struct storage_job *waits = machine_freeze_nothing(to);
    fixture_expect(to->f, waits);
    usleep(50000);
    machine_install(to, s);
    waits = fixture_answer(to->f);
    assert_int_equal(waits->err, 0);
    storage_job_free(&waits);
    machine_check_at(to, 200);
    machine_check_files(to, 1, 0);
    machine_write(to, 10);
    machine_checkpoint(to);
    machine_reopen(to);
    assert_int_equal(to->restored, 210);
    raft_snapshot_unref(&s);
}

/* ---- dropped, superseded, damaged ---- */

static void test_dropped_snapshots_leave_nothing(void **state)
{
    struct store_world *w = *state;
    machine_write(&w->leader, 100);
    struct raft_snapshot *s = machine_snapshot(&w->leader, 1);
    machine_check_files(&w->leader, 1, 1);
    assert_int_equal(machine_transfer(&w->leader, &w->follower, s, s->size / 2), 0);
    machine_check_files(&w->follower, 1, 1);
    machine_drop(&w->follower, 1);
    machine_check_files(&w->follower, 1, 0);
    assert_int_equal(machine_transfer(&w->leader, &w->follower, s, s->size), 0);
    machine_check_files(&w->follower, 2, 0);
    machine_drop(&w->follower, 1); /* complete, and not installed */
    machine_check_files(&w->follower, 1, 0);
    assert_int_equal(machine_transfer(&w->leader, &w->follower, s, s->size), 0);
    machine_install(&w->follower, s); /* and another time it counts */
    machine_check_at(&w->follower, 100);
    machine_drop(&w->follower, 1); /* a late one: it is in force */
    machine_check_files(&w->follower, 1, 0);
    machine_check_at(&w->follower, 100);
    machine_drop(&w->leader, 1);
    machine_check_files(&w->leader, 1, 0);
    raft_snapshot_unref(&s);
}

static void test_new_transfer_supersedes_the_one_before(void **state)
{
    struct store_world *w = *state;
    machine_write(&w->leader, 100);
    struct raft_snapshot *first = machine_snapshot(&w->leader, 1);
    machine_write(&w->leader, 10);
    struct raft_snapshot *second = machine_snapshot(&w->leader, 2);
    assert_int_equal(machine_transfer(&w->leader, &w->follower, first, first->size / 2), 0);
    assert_int_equal(machine_transfer(&w->leader, &w->follower, second, second->size / 2), 0);
    machine_check_files(&w->follower, 1, 1);
    /* A late piece of the first has no place any more. */
    assert_int_equal(machine_send_piece(&w->follower, first, first->size / 2, "late", 4),
                     ERR_CORRUPT);
    machine_check_files(&w->follower, 1, 1);
    assert_int_equal(machine_transfer(&w->leader, &w->follower, first, first->size), 0);
    machine_check_files(&w->follower, 2, 0);
    assert_int_equal(machine_transfer(&w->leader, &w->follower, second, second->size / 2), 0);
    machine_check_files(&w->follower, 1, 1); /* what was complete is not wanted any more */
    assert_int_equal(machine_transfer(&w->leader, &w->follower, second, second->size), 0);
    machine_install(&w->follower, second);
    machine_check_at(&w->follower, 110);
    machine_check_files(&w->follower, 1, 0);
    raft_snapshot_unref(&first);
    raft_snapshot_unref(&second);
}

static void check_refused(struct store_machine *to, const struct raft_snapshot *s,
                          const uint8_t *bytes, size_t len)
{
    assert_int_equal(machine_send_piece(to, s, 0, bytes, len), ERR_CORRUPT);
    machine_check_files(to, 1, 0);
}

static void test_damaged_snapshots_are_refused_and_leave_nothing(void **state)
{
    struct store_world *w = *state;
    struct store_machine *to = &w->follower;
    machine_write(to, 20);
    machine_write(&w->leader, 100);
    struct raft_snapshot *s = machine_snapshot(&w->leader, 1);
    uint8_t *bytes = machine_read_all(&w->leader, s);
    for (uint64_t at = 0; at < s->size; at += 1 + s->size / 50) {
        bytes[at] ^= 0x10;
        check_refused(to, s, bytes, s->size);
        bytes[at] ^= 0x10;
    }
    struct raft_snapshot other = *s;
    other.digest++;
    check_refused(to, &other, bytes, s->size);
    for (other = *s; other.size > 1; other.size /= 2) {
        other.size--; /* cut short */
        check_refused(to, &other, bytes, other.size);
    }
    other = *s;
    other.size = 21;
    check_refused(to, &other, (const uint8_t *)"not a snapshot at all", 21);
    /* A piece left out. */
    assert_int_equal(machine_send_piece(to, s, 0, bytes, 100), 0);
    assert_int_equal(machine_send_piece(to, s, 200, bytes + 200, s->size - 200), ERR_CORRUPT);
    machine_check_files(to, 1, 0);
    /* Bytes beyond what the leader said. */
    assert_int_equal(machine_send_piece(to, s, 0, bytes, 100), 0);
    uint8_t *longer = mem_alloc(s->size);
    memset(longer, 0, s->size);
    assert_int_equal(machine_send_piece(to, s, 100, longer, s->size), ERR_CORRUPT);
    mem_free(longer);
    machine_check_at(to, 20);
    machine_write(to, 5);
    assert_int_equal(machine_send_piece(to, s, 0, bytes, s->size), 0);
    machine_install(to, s);
    machine_check_at(to, 100);
    mem_free(bytes);
    raft_snapshot_unref(&s);
}

/* ---- stopping ---- */

static void test_stop_while_jobs_wait_drops_them(void **state)
{
    struct store_world *w = *state;
    machine_write(&w->leader, 100);
    struct raft_snapshot *s = machine_snapshot(&w->leader, 1);
    for (unsigned i = 0; i < 50; i++) {
        struct storage_job *j = storage_job_new(STORAGE_SNAPSHOT_MAKE, 10 + i);
        j->view = kv_view_new(w->leader.kv);
        kv_meta(w->leader.kv, &j->meta);
        fixture_work_unanswered(w->leader.f, j);
        fixture_work_unanswered(w->follower.f, machine_piece_new(s, 0, "abc", 3));
    }
    fixture_work_unanswered(w->leader.f, machine_freeze(&w->leader));
    machine_reopen(&w->leader);
    machine_reopen(&w->follower);
    machine_check_files(&w->leader, 1, 0); /* nothing of them outlives the process */
    machine_check_files(&w->follower, 1, 0);
    machine_check_at(&w->leader, 100);
    raft_snapshot_unref(&s);
}

/* A state that takes for ever to read: that of a node with many keys. */
enum { ENDLESS_RECORDS = 20000000 };

struct endless {
    struct kv_base base;      /* first */
    struct kv_base_view view; /* one, of which there is only one cursor */
    struct kv_cursor cursor;
    atomic_uint n;
    uint8_t key[4];
};

#define ENDLESS_OF(p, member) ((struct endless *)((char *)(p)-offsetof(struct endless, member)))

static void endless_ref(struct kv_base *base)
{
    (void)base;
}

static int endless_next(struct kv_cursor *c, struct kv_record *ret_record)
{
    struct endless *e = ENDLESS_OF(c, cursor);
    unsigned n = atomic_fetch_add(&e->n, 1);
    if (n == ENDLESS_RECORDS)
        return ERR_NOT_FOUND;
    bytes_put_be(e->key, n, sizeof e->key);
    *ret_record = (struct kv_record){.key = e->key,
                                     .key_len = sizeof e->key,
                                     .value = {.revision = 1, .create_revision = 1, .version = 1}};
    return 0;
}

static int endless_seek(struct kv_cursor *c, const void *key, size_t len,
                        struct kv_record *ret_record)
{
    (void)key;
    (void)len;
    return endless_next(c, ret_record);
}

static void endless_close_cursor(struct kv_cursor *c)
{
    (void)c;
}

static struct kv_cursor *endless_cursor(struct kv_base_view *view)
{
    return &ENDLESS_OF(view, view)->cursor;
}

static void endless_close(struct kv_base_view *view)
{
    (void)view;
}

static struct kv_base_view *endless_view(struct kv_base *base)
{
    return &ENDLESS_OF(base, base)->view;
}

static void test_stop_ends_a_snapshot_that_is_being_made(void **state)
{
    static const struct kv_cursor_ops cursor_ops = {endless_seek, endless_next, NULL,
                                                    endless_close_cursor};
    static const struct kv_base_view_ops view_ops = {
        .cursor = endless_cursor, .keep = endless_close, .close = endless_close};
    static const struct kv_base_ops base_ops = {endless_ref, endless_ref, endless_view};
    struct store_world *w = *state;
    struct endless e = {{&base_ops}, {&view_ops}, {&cursor_ops}, 0, {0}};
    struct kv *kv;
    assert_int_equal(kv_restore(NULL, 0, &e.base, &kv), 0);
    struct storage_job *j = storage_job_new(STORAGE_SNAPSHOT_MAKE, 7);
    j->view = kv_view_new(kv);
    fixture_work_unanswered(w->leader.f, j);
    while (atomic_load(&e.n) == 0)
        usleep(100);
    machine_reopen(&w->leader);
    assert_true(atomic_load(&e.n) < ENDLESS_RECORDS);
    kv_free(&kv);
    machine_check_files(&w->leader, 1, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, store_world_setup, store_world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_snapshot_is_as_of_its_view_whatever_is_written_meanwhile),
        TEST(test_snapshot_keeps_its_view_while_it_is_made),
        TEST(test_read_of_what_is_not_there_is_an_error_and_no_end),
        TEST(test_install_replaces_state_and_log_and_stays),
        TEST(test_log_and_install_in_one_queue_are_carried_out_in_order),
        TEST(test_longer_log_is_emptied_by_an_install),
        TEST(test_install_is_one_transaction),
        TEST(test_second_install_right_after_the_first),
        TEST(test_checkpoint_frozen_before_an_install_is_skipped),
        TEST(test_install_ends_the_waiting_for_a_state_that_takes_no_more),
        TEST(test_dropped_snapshots_leave_nothing),
        TEST(test_new_transfer_supersedes_the_one_before),
        TEST(test_damaged_snapshots_are_refused_and_leave_nothing),
        TEST(test_stop_while_jobs_wait_drops_them),
        TEST(test_stop_ends_a_snapshot_that_is_being_made),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
