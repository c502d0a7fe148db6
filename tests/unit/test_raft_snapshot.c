/* SPDX-License-Identifier: MIT
 * raft/: the pieces of snapshots as they are received. The test plays the
 * leaders, node 0 follows. Numbers are items of PITFALLS part 1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "raft_pieces.h"

/* ---- pieces ---- */

static void test_pieces_in_order_make_the_snapshot(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft_snapshot *s = pieces_snapshot(7, POS(2, 10));
    pieces_take_all(c, 1, 2, s);
    assert_int_equal(c->nodes[0].n_pieces, 3);
    cluster_write(c, 0, UINT32_MAX);
    assert_int_equal(c->nodes[0].n_installed, 1);
    struct raft_status st = cluster_status(c, 0);
    assert_int_equal(st.base.index, 10);
    assert_int_equal(st.base.term, 2);
    assert_int_equal(st.last.index, 10);
    assert_int_equal(st.commit, 10);
    assert_int_equal(st.applied, 10);
    assert_int_equal(st.durable, 10);
    assert_int_equal(raft_config(c->nodes[0].core, NULL)->n_members, 3);
    pieces_append(c, 1, 2, POS(2, 10), 2, 12);
    assert_int_equal(c->nodes[0].applied, 12);
    pieces_finish(&c, &s);
}

/* 32: it takes the piece that follows, and tells whoever sends another where it is. */
static void test_piece_at_another_place_is_not_taken(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft_snapshot *s = pieces_snapshot(7, POS(2, 10));
    pieces_take(c, 1, 2, s, PIECE, PIECE); /* the first one was lost */
    cluster_write(c, 0, UINT32_MAX);
    pieces_expect(c, 1, 0);
    pieces_take_and_write(c, 1, 2, s, 0, PIECE);
    pieces_take(c, 1, 2, s, 0, PIECE); /* again */
    pieces_expect(c, 1, PIECE);
    pieces_take(c, 1, 2, s, PIECE / 2, PIECE); /* shifted */
    pieces_expect(c, 1, PIECE);
    pieces_take(c, 1, 2, s, 2 * PIECE, SIZE - 2 * PIECE);
    pieces_expect(c, 1, PIECE);
    pieces_take(c, 1, 2, s, PIECE, 0); /* a question */
    pieces_expect(c, 1, PIECE);
    pieces_take(c, 1, 2, s, SIZE, 0);
    pieces_expect(c, 1, PIECE);
    assert_int_equal(c->nodes[0].n_pieces, 1);
    assert_null(c->nodes[0].piece_of);
    pieces_finish(&c, &s);
}

/* 32: one piece at a time; the one that is being written is answered when it is. */
static void test_piece_that_comes_while_one_is_written_changes_nothing(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft_snapshot *s = pieces_snapshot(7, POS(2, 10));
    pieces_take_and_write(c, 1, 2, s, 0, PIECE);
    pieces_take(c, 1, 2, s, PIECE, PIECE);
    assert_true(pieces_none_answered(c));
    uint64_t seq = pieces_last_seq;
    pieces_take(c, 1, 2, s, PIECE, PIECE);
    pieces_expect(c, 1, PIECE);
    cluster_serve_loads(c, 0);
    const struct raft_message *m = cluster_find(c, RAFT_SNAPSHOT_REPLY, 0, 1);
    assert_int_equal(m->seq, seq);
    assert_int_equal(m->snapshot_reply.offset, 2 * PIECE);
    assert_int_equal(c->nodes[0].n_pieces, 2);
    pieces_finish(&c, &s);
}

static void test_report_of_a_piece_that_is_not_being_written_is_ignored(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft *core = c->nodes[0].core;
    struct raft_snapshot *s = pieces_snapshot(7, POS(2, 10));
    raft_piece_written(core, 7, 0, true); /* none at all */
    pieces_take_and_write(c, 1, 2, s, 0, PIECE);
    raft_piece_written(core, 7, PIECE, true); /* not yet */
    pieces_take(c, 1, 2, s, PIECE, PIECE);
    raft_piece_written(core, 7, 0, true);     /* once more */
    raft_piece_written(core, 8, PIECE, true); /* of another */
    cluster_pump(c, 0);
    assert_true(pieces_none_answered(c));
    cluster_serve_loads(c, 0);
    pieces_expect(c, 1, 2 * PIECE);
    pieces_finish(&c, &s);
}

static void test_pieces_that_make_up_no_snapshot_begin_anew(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft_snapshot *s = pieces_snapshot(7, POS(2, 10));
    pieces_take_and_write(c, 1, 2, s, 0, PIECE);
    pieces_take_and_write(c, 1, 2, s, PIECE, PIECE);
    pieces_take(c, 1, 2, s, 2 * PIECE, SIZE - 2 * PIECE);
    raft_snapshot_unref(&c->nodes[0].piece_of);
    raft_piece_written(c->nodes[0].core, 7, 2 * PIECE, false);
    cluster_pump(c, 0);
    pieces_expect(c, 1, 0);
    assert_null(c->nodes[0].writing);
    assert_int_equal(cluster_status(c, 0).base.index, 0);
    pieces_take_all(c, 1, 2, s);
    cluster_write(c, 0, UINT32_MAX);
    assert_int_equal(c->nodes[0].n_installed, 1);
    pieces_finish(&c, &s);
}

/* ---- one after the other ---- */

static void test_newer_snapshot_of_the_same_leader_replaces_the_one_before(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft_snapshot *s = pieces_snapshot(7, POS(2, 10)),
                         *newer = pieces_snapshot(8, POS(2, 20));
    pieces_take_and_write(c, 1, 2, s, 0, PIECE);
    pieces_take(c, 1, 2, s, PIECE, PIECE);
    pieces_take_and_write(c, 1, 2, newer, 0, PIECE);
    assert_int_equal(c->nodes[0].n_dropped, 1);
    assert_int_equal(c->nodes[0].last_dropped, 7);
    raft_piece_written(c->nodes[0].core, 7, PIECE, true); /* it had gone out */
    /* What comes late of the one before is not worth an answer. */
    pieces_take(c, 1, 2, s, 2 * PIECE, 20);
    assert_true(pieces_none_answered(c));
    pieces_take(c, 1, 2, newer, SIZE, 0);
    pieces_expect(c, 1, PIECE);
    assert_int_equal(c->nodes[0].n_dropped, 1);
    pieces_finish(&c, &newer);
    raft_snapshot_unref(&s);
}

/* Not by its place: an older snapshot of the one who leads now is as good. */
static void test_snapshot_of_a_newer_leader_replaces_the_one_before(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft_snapshot *s = pieces_snapshot(7, POS(2, 20)),
                         *other = pieces_snapshot(8, POS(2, 10));
    pieces_take_and_write(c, 1, 2, s, 0, PIECE);
    pieces_take(c, 2, 3, other, PIECE, PIECE);
    cluster_write(c, 0, UINT32_MAX);
    pieces_expect(c, 2, 0);
    assert_int_equal(c->nodes[0].last_dropped, 7);
    pieces_take(c, 1, 2, s, PIECE, PIECE); /* late: told that its term is over */
    assert_int_equal(pieces_answer(c, 1).term, 3);
    pieces_take_all(c, 2, 3, other);
    cluster_write(c, 0, UINT32_MAX);
    assert_int_equal(cluster_status(c, 0).base.index, 10);
    assert_int_equal(c->nodes[0].n_dropped, 1);
    pieces_finish(&c, &other);
    raft_snapshot_unref(&s);
}

/* 31 */
static void test_nothing_of_a_second_snapshot_is_taken_before_the_first_is_durable(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft_snapshot *s = pieces_snapshot(7, POS(2, 10)),
                         *newer = pieces_snapshot(8, POS(2, 20));
    pieces_take_all(c, 1, 2, s);
    pieces_take(c, 1, 2, newer, 0, PIECE);
    pieces_expect(c, 1, 0);
    assert_null(c->nodes[0].piece_of);
    cluster_write(c, 0, UINT32_MAX);
    pieces_take_all(c, 1, 2, newer);
    cluster_write(c, 0, UINT32_MAX);
    assert_int_equal(c->nodes[0].n_installed, 2);
    assert_int_equal(cluster_status(c, 0).applied, 20);
    pieces_take(c, 1, 2, s, 0, PIECE); /* the first one comes again */
    assert_true(pieces_answer(c, 1).snapshot_reply.installed);
    assert_int_equal(cluster_status(c, 0).applied, 20);
    pieces_finish(&c, &newer);
    raft_snapshot_unref(&s);
}

/* 31: idempotent. */
static void test_snapshot_of_what_is_committed_is_not_received(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft_snapshot *s = pieces_snapshot(7, POS(2, 2));
    pieces_append(c, 1, 2, POS(0, 0), 3, 3);
    cluster_write(c, 0, UINT32_MAX);
    cluster_drop_all(c);
    pieces_take(c, 1, 2, s, 0, PIECE);
    struct raft_message m = pieces_answer(c, 1);
    assert_true(m.snapshot_reply.installed);
    assert_int_equal(m.snapshot_reply.match, 3);
    assert_null(c->nodes[0].piece_of);
    pieces_finish(&c, &s);
}

/* In the log, though not known to be committed: now it is. */
static void test_snapshot_of_what_is_in_the_log_commits_that(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft_snapshot *s = pieces_snapshot(7, POS(2, 2));
    pieces_append(c, 1, 2, POS(0, 0), 3, 0);
    cluster_write(c, 0, 1);
    cluster_drop_all(c);
    pieces_take(c, 2, 3, s, 0, PIECE);
    cluster_write(c, 0, UINT32_MAX);
    struct raft_message m = pieces_answer(c, 2);
    assert_true(m.snapshot_reply.installed);
    assert_int_equal(m.snapshot_reply.match, 2);
    assert_int_equal(cluster_status(c, 0).commit, 2);
    assert_int_equal(cluster_status(c, 0).last.index, 3);
    assert_int_equal(c->nodes[0].n_installed, 0);
    pieces_finish(&c, &s);
}

/* 33: entries came by another way; what was received is of no use. */
static void test_entries_that_overtake_the_snapshot_end_it(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft_snapshot *s = pieces_snapshot(7, POS(2, 3));
    pieces_take_and_write(c, 1, 2, s, 0, PIECE);
    pieces_take(c, 1, 2, s, PIECE, PIECE);
    pieces_append(c, 1, 2, POS(0, 0), 4, 3);
    assert_int_equal(c->nodes[0].last_dropped, 7);
    assert_null(c->nodes[0].piece_of);
    raft_piece_written(c->nodes[0].core, 7, PIECE, true); /* too late */
    cluster_write(c, 0, UINT32_MAX);
    assert_int_equal(c->nodes[0].applied, 3);
    pieces_take(c, 1, 2, s, 2 * PIECE, 20);
    assert_true(pieces_answer(c, 1).snapshot_reply.installed);
    assert_int_equal(c->nodes[0].n_installed, 0);
    pieces_finish(&c, &s);
}

/* The same, when only the last piece tells that they are committed. */
static void test_whole_snapshot_of_what_is_in_the_log_is_not_installed(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft_snapshot *s = pieces_snapshot(7, POS(2, 3));
    pieces_take_and_write(c, 1, 2, s, 0, PIECE);
    pieces_take_and_write(c, 1, 2, s, PIECE, PIECE);
    pieces_take(c, 1, 2, s, 2 * PIECE, 20);
    pieces_append(c, 1, 2, POS(0, 0), 4, 0);
    cluster_serve_loads(c, 0);
    assert_int_equal(cluster_status(c, 0).commit, 3);
    assert_int_equal(cluster_status(c, 0).last.index, 4);
    assert_int_equal(c->nodes[0].last_dropped, 7);
    cluster_write(c, 0, UINT32_MAX);
    assert_int_equal(c->nodes[0].n_installed, 0);
    pieces_finish(&c, &s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_in_order_make_the_snapshot),
        cmocka_unit_test(test_piece_at_another_place_is_not_taken),
        cmocka_unit_test(test_piece_that_comes_while_one_is_written_changes_nothing),
        cmocka_unit_test(test_report_of_a_piece_that_is_not_being_written_is_ignored),
        cmocka_unit_test(test_pieces_that_make_up_no_snapshot_begin_anew),
        cmocka_unit_test(test_newer_snapshot_of_the_same_leader_replaces_the_one_before),
        cmocka_unit_test(test_snapshot_of_a_newer_leader_replaces_the_one_before),
        cmocka_unit_test(test_nothing_of_a_second_snapshot_is_taken_before_the_first_is_durable),
        cmocka_unit_test(test_snapshot_of_what_is_committed_is_not_received),
        cmocka_unit_test(test_snapshot_of_what_is_in_the_log_commits_that),
        cmocka_unit_test(test_entries_that_overtake_the_snapshot_end_it),
        cmocka_unit_test(test_whole_snapshot_of_what_is_in_the_log_is_not_installed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
