/* SPDX-License-Identifier: MIT
 * node/: backups as operators take them: one file for all who ask, read piece
 * by piece, gone when nobody needs it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "node_world.h"

static struct node_request *open_request(struct world *w)
{
    return world_request(w, NODE_SNAPSHOT_OPEN, 600000);
}

static struct node_request *opened(struct world *w, unsigned i)
{
    struct node_request *r = world_call(w, i, open_request(w));
    assert_int_equal(r->err, 0);
    assert_int_not_equal(r->ret.snapshot.id, 0);
    return r;
}

static struct node_request *read_request(struct world *w, uint64_t id, uint64_t offset,
                                         uint32_t len)
{
    struct node_request *r = world_request(w, NODE_SNAPSHOT_READ, 5000);
    r->in.snapshot.id = id;
    r->in.snapshot.offset = offset;
    r->in.snapshot.len = len;
    return r;
}

static int read_err(struct world *w, unsigned i, uint64_t id, uint64_t offset, uint32_t len)
{
    struct node_request *r = world_call(w, i, read_request(w, id, offset, len));
    int err = r->err;
    node_request_free(&r);
    return err;
}

/* Reads all of it in pieces of three bytes. */
static void check_content(struct world *w, unsigned i, const struct node_request *backup,
                          const char *expected)
{
    struct buf all = BUF_INIT;
    uint64_t size = backup->ret.snapshot.size;
    for (uint64_t at = 0; at < size; at += 3) {
        uint32_t len = size - at < 3 ? (uint32_t)(size - at) : 3;
        struct node_request *r =
            world_call(w, i, read_request(w, backup->ret.snapshot.id, at, len));
        assert_int_equal(r->err, 0);
        assert_int_equal(r->ret.snapshot.data.len, len);
        buf_append(&all, r->ret.snapshot.data.data, len);
        node_request_free(&r);
    }
    assert_string_equal(buf_str(&all), expected);
    buf_free(&all);
}

static void close_backup(struct world *w, unsigned i, struct node_request *backup)
{
    struct node_request *r = world_request(w, NODE_SNAPSHOT_CLOSE, 5000);
    r->in.snapshot.id = backup->ret.snapshot.id;
    world_call(w, i, r);
    assert_int_equal(r->err, 0);
    node_request_free(&r);
    node_request_free(&backup);
}

static void test_backup_holds_the_state_at_one_index(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 3);
    unsigned follower = ((unsigned)world_leader(&w) + 1) % 3;
    assert_int_equal(world_write(&w, follower, "a", "1"), 0);
    assert_int_equal(world_write(&w, follower, "b", "2"), 0);
    assert_int_equal(world_read(&w, follower, "b", "2"), 0);
    uint64_t index = machine_applied(w.nodes[follower].driver->machine).index;
    struct node_request *backup = opened(&w, follower);
    assert_int_equal(world_write(&w, follower, "a", "3"), 0);
    assert_int_equal(backup->ret.snapshot.at.index, index);
    assert_int_not_equal(backup->ret.snapshot.at.term, 0);
    check_content(&w, follower, backup, "a 1\nb 2\n");
    assert_int_equal(world_files(&w, follower), 1);
    close_backup(&w, follower, backup);
    assert_int_equal(world_files(&w, follower), 0);
    world_free(&w);
}

static void test_backup_without_cluster_is_refused(void **state)
{
    (void)state;
    struct world w;
    world_init(&w, 1);
    world_start(&w, 0);
    struct node_request *r = world_call(&w, 0, open_request(&w));
    assert_int_equal(r->err, ERR_UNINITIALIZED);
    node_request_free(&r);
    assert_int_equal(w.nodes[0].disk.n_made, 0);
    world_free(&w);
}

static void test_backups_of_one_moment_share_one_file(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 1);
    assert_int_equal(world_write(&w, 0, "k", "v"), 0);
    struct node_request *first = opened(&w, 0), *second = opened(&w, 0);
    assert_int_equal(w.nodes[0].disk.n_made, 1);
    assert_int_not_equal(first->ret.snapshot.id, second->ret.snapshot.id);
    close_backup(&w, 0, first);
    assert_int_equal(world_files(&w, 0), 1);
    check_content(&w, 0, second, "k v\n");
    assert_int_equal(world_write(&w, 0, "k", "w"), 0);
    struct node_request *third = opened(&w, 0); /* what is at hand is old */
    assert_int_equal(w.nodes[0].disk.n_made, 2);
    check_content(&w, 0, third, "k w\n");
    check_content(&w, 0, second, "k v\n");
    close_backup(&w, 0, second);
    close_backup(&w, 0, third);
    assert_int_equal(world_files(&w, 0), 0);
    world_free(&w);
}

static void test_backup_asked_for_while_one_is_made_waits_for_that(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 1);
    struct node_request *first = open_request(&w), *second = open_request(&w);
    world_submit(&w, 0, first);
    assert_false(world_is_done(first));
    struct raft_pos at = machine_applied(w.nodes[0].driver->machine);
    assert_int_equal(backup_needs_log_from(w.nodes[0].driver), at.index);
    world_submit(&w, 0, second);
    world_run(&w, 20);
    assert_true(world_is_done(first) && world_is_done(second));
    assert_int_equal(w.nodes[0].disk.n_made, 1);
    assert_true(backup_needs_log_from(w.nodes[0].driver) == UINT64_MAX);
    close_backup(&w, 0, first);
    close_backup(&w, 0, second);
    assert_int_equal(world_files(&w, 0), 0);
    world_free(&w);
}

static void test_core_and_operator_share_one_file(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 1);
    struct driver *d = w.nodes[0].driver;
    struct node_request *backup = opened(&w, 0);
    backup_for_core(d); /* nobody is behind: it is dropped in the next turn */
    assert_int_equal(w.nodes[0].disk.n_made, 1);
    world_run(&w, 20);
    assert_int_equal(world_files(&w, 0), 1);
    close_backup(&w, 0, backup);
    assert_int_equal(world_files(&w, 0), 0);
    backup_for_core(d);
    backup = open_request(&w);
    world_submit(&w, 0, backup);
    world_run(&w, 20);
    assert_true(world_is_done(backup));
    assert_int_equal(w.nodes[0].disk.n_made, 2);
    assert_int_equal(world_files(&w, 0), 1);
    close_backup(&w, 0, backup);
    assert_int_equal(world_files(&w, 0), 0);
    world_free(&w);
}

static void test_operator_who_vanishes_is_forgotten(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 1);
    assert_int_equal(world_write(&w, 0, "k", "v"), 0);
    struct node_request *backup = opened(&w, 0);
    uint64_t id = backup->ret.snapshot.id;
    for (unsigned i = 0; i < 3; i++) { /* slow is not gone */
        world_run(&w, NODE_SNAPSHOT_IDLE_MS - 1000);
        assert_int_equal(read_err(&w, 0, id, 0, 1), 0);
    }
    world_run(&w, NODE_SNAPSHOT_IDLE_MS - 1000);
    assert_int_equal(world_files(&w, 0), 1);
    world_run(&w, 2000);
    assert_int_equal(world_files(&w, 0), 0);
    assert_int_equal(read_err(&w, 0, id, 0, 1), ERR_NOT_FOUND);
    close_backup(&w, 0, backup);
    world_free(&w);
}

static void test_backup_waits_no_longer_than_its_deadline(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 1);
    struct node_request *late = world_request(&w, NODE_SNAPSHOT_OPEN, 1000);
    w.nodes[0].disk.stalled = true;
    world_submit(&w, 0, late);
    world_run(&w, 900);
    assert_false(world_is_done(late));
    world_run(&w, 200);
    assert_int_equal(late->err, ERR_TIMEOUT);
    node_request_free(&late);
    w.nodes[0].disk.stalled = false;
    world_run(&w, 20); /* made, and nobody wants it */
    assert_int_equal(world_files(&w, 0), 0);
    world_free(&w);
}

static void test_piece_that_comes_late_is_no_answer_to_anything(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 1);
    assert_int_equal(world_write(&w, 0, "k", "v"), 0);
    struct node_request *backup = opened(&w, 0);
    struct node_request *late = read_request(&w, backup->ret.snapshot.id, 0, 1);
    w.nodes[0].disk.stalled = true;
    world_submit(&w, 0, late);
    assert_int_equal(read_err(&w, 0, backup->ret.snapshot.id, 1, 1),
                     ERR_INVALID); /* one at a time */
    world_run(&w, 6000);
    assert_int_equal(late->err, ERR_TIMEOUT);
    w.nodes[0].disk.stalled = false;
    world_run(&w, 1000);
    assert_int_equal(world_files(&w, 0), 0);
    assert_int_equal(read_err(&w, 0, backup->ret.snapshot.id, 0, 1), ERR_NOT_FOUND);
    node_request_free(&late);
    node_request_free(&backup);
    world_free(&w);
}

static void test_read_of_what_is_not_there_is_refused(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 1);
    assert_int_equal(world_write(&w, 0, "k", "v"), 0);
    struct node_request *backup = opened(&w, 0);
    uint64_t id = backup->ret.snapshot.id;
    assert_int_equal(backup->ret.snapshot.size, 4);
    assert_int_equal(read_err(&w, 0, id, 4, 1), ERR_INVALID);
    assert_int_equal(read_err(&w, 0, id, 0, 5), ERR_INVALID);
    assert_int_equal(read_err(&w, 0, id, UINT64_MAX, 2), ERR_INVALID);
    assert_int_equal(read_err(&w, 0, id, 0, 0), ERR_INVALID);
    assert_int_equal(read_err(&w, 0, id + 1, 0, 1), ERR_NOT_FOUND);
    assert_int_equal(read_err(&w, 0, id, 0, 4), 0);
    close_backup(&w, 0, backup);
    world_free(&w);
}

static void test_backup_that_cannot_be_written_is_told_and_tried_again(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 1);
    w.nodes[0].disk.make_fails = ERR_NO_SPACE;
    struct node_request *r = world_call(&w, 0, open_request(&w));
    assert_int_equal(r->err, ERR_NO_SPACE);
    node_request_free(&r);
    w.nodes[0].disk.make_fails = 0;
    close_backup(&w, 0, opened(&w, 0));
    assert_int_equal(world_files(&w, 0), 0);
    world_free(&w);
}

static void test_backups_of_many_moments_are_bounded(void **state)
{
    (void)state;
    struct world w;
    struct node_request *open[WORLD_FILES], *r;
    unsigned n = 0;
    world_cluster(&w, 1);
    for (;; n++) {
        assert_int_equal(world_write(&w, 0, "k", "v"), 0);
        r = world_call(&w, 0, open_request(&w));
        if (r->err)
            break;
        open[n] = r;
    }
    assert_int_equal(r->err, ERR_OVERLOADED);
    node_request_free(&r);
    assert_true(n >= 2);
    close_backup(&w, 0, open[--n]);
    close_backup(&w, 0, opened(&w, 0));
    while (n > 0)
        close_backup(&w, 0, open[--n]);
    assert_int_equal(world_files(&w, 0), 0);
    world_free(&w);
}

static void test_backup_at_the_end_of_the_node_is_answered(void **state)
{
    (void)state;
    struct world w;
    world_cluster(&w, 1);
    struct node_request *backup = opened(&w, 0);
    struct node_request *waits = open_request(&w);
    assert_int_equal(world_write(&w, 0, "k", "v"), 0);
    w.nodes[0].disk.stalled = true;
    world_submit(&w, 0, waits);
    assert_false(world_is_done(waits));
    world_kill(&w, 0);
    assert_true(world_is_done(waits));
    assert_int_equal(waits->err, ERR_SHUTDOWN);
    node_request_free(&waits);
    node_request_free(&backup);
    world_free(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backup_holds_the_state_at_one_index),
        cmocka_unit_test(test_backup_without_cluster_is_refused),
        cmocka_unit_test(test_backups_of_one_moment_share_one_file),
        cmocka_unit_test(test_backup_asked_for_while_one_is_made_waits_for_that),
        cmocka_unit_test(test_core_and_operator_share_one_file),
        cmocka_unit_test(test_operator_who_vanishes_is_forgotten),
        cmocka_unit_test(test_backup_waits_no_longer_than_its_deadline),
        cmocka_unit_test(test_piece_that_comes_late_is_no_answer_to_anything),
        cmocka_unit_test(test_read_of_what_is_not_there_is_refused),
        cmocka_unit_test(test_backup_that_cannot_be_written_is_told_and_tried_again),
        cmocka_unit_test(test_backups_of_many_moments_are_bounded),
        cmocka_unit_test(test_backup_at_the_end_of_the_node_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
