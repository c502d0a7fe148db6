/* SPDX-License-Identifier: MIT
 * raft/: a snapshot takes the place of log and state. The test plays the
 * leaders, node 0 follows. Numbers are items of PITFALLS part 1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "raft_pieces.h"

/* ---- one record ---- */

/* 25: the log that contradicts it goes in the same record. */
static void test_install_replaces_log_and_state_in_one_record(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft_snapshot *s = pieces_snapshot(7, POS(3, 10));
    pieces_append(c, 1, 2, POS(0, 0), 20, 2);
    cluster_write(c, 0, UINT32_MAX);
    cluster_drop_all(c);
    for (uint64_t at = 0; at < SIZE; at += PIECE / 2)
        pieces_take_and_write(c, 2, 3, s, at, PIECE / 2);
    struct disk_record *record = c->nodes[0].writing;
    assert_non_null(record);
    assert_null(record->next);
    assert_ptr_equal(record->install, s);
    assert_true(record->has_base);
    assert_int_equal(record->base.pos.index, 10);
    assert_int_equal(record->base.pos.term, 3);
    assert_int_equal(record->base.config.n_members, 3);
    assert_int_equal(record->truncate_from, 0);
    assert_int_equal(record->n_entries, 0);
    assert_int_equal(record->hard_state.commit, 10);
    cluster_write(c, 0, 1);
    cluster_kill(c, 0);
    c->late_disk[0] = false;
    cluster_restart(c, 0);
    assert_int_equal(cluster_status(c, 0).last.index, 10);
    assert_int_equal(cluster_status(c, 0).last.term, 3);
    assert_int_equal(cluster_status(c, 0).applied, 10);
    pieces_finish(&c, &s);
}

/* 25, 30: killed before, it has what it had. */
static void test_install_that_is_not_durable_leaves_everything_as_it_was(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft_snapshot *s = pieces_snapshot(7, POS(2, 10));
    pieces_append(c, 1, 2, POS(0, 0), 3, 2);
    cluster_write(c, 0, UINT32_MAX);
    cluster_drop_all(c);
    pieces_take_all(c, 1, 2, s);
    cluster_kill(c, 0);
    cluster_restart(c, 0);
    assert_int_equal(cluster_status(c, 0).last.index, 3);
    assert_int_equal(cluster_status(c, 0).base.index, 0);
    pieces_take_all(c, 1, 2, s); /* from the beginning */
    cluster_write(c, 0, UINT32_MAX);
    assert_int_equal(cluster_status(c, 0).applied, 10);
    pieces_finish(&c, &s);
}

/* 30: until then it has all the bytes, and that is all. A slow disk is asked often, and no
 * answers pile up. */
static void test_installed_is_told_only_when_it_is_durable(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft_snapshot *s = pieces_snapshot(7, POS(2, 10));
    pieces_take_all(c, 1, 2, s);
    for (unsigned i = 0; i < 5; i++) {
        pieces_take(c, 1, 2, s, SIZE, 0);
        pieces_expect(c, 1, SIZE);
    }
    pieces_append(c, 1, 2, POS(2, 10), 0, 10); /* nor by a heartbeat */
    assert_int_equal(cluster_find(c, RAFT_APPEND_REPLY, 0, 1)->append_reply.match, 0);
    cluster_drop_all(c);
    cluster_write(c, 0, 1);
    assert_true(pieces_none_answered(c));
    pieces_take(c, 1, 2, s, SIZE, 0);
    struct raft_message m = pieces_answer(c, 1);
    assert_true(m.snapshot_reply.installed);
    assert_int_equal(m.snapshot_reply.match, 10);
    pieces_finish(&c, &s);
}

/* 27: what follows on it waits for it; and it can be applied already. */
static void test_nothing_is_applied_or_compacted_before_the_install_is_durable(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft_snapshot *s = pieces_snapshot(7, POS(2, 10));
    pieces_take_all(c, 1, 2, s);
    pieces_append(c, 1, 2, POS(2, 10), 3, 12);
    assert_int_equal(cluster_status(c, 0).commit, 12);
    assert_int_equal(cluster_status(c, 0).applied, 0);
    assert_int_equal(c->nodes[0].applied, 0);
    raft_compact(c->nodes[0].core, 12);
    assert_int_equal(cluster_status(c, 0).base.index, 10);
    cluster_write(c, 0, 1);
    assert_int_equal(c->nodes[0].applied, 12);
    assert_int_equal(cluster_status(c, 0).durable, 10);
    cluster_write(c, 0, UINT32_MAX);
    assert_int_equal(cluster_status(c, 0).durable, 13);
    cluster_compact(c, 0, 12);
    assert_int_equal(cluster_status(c, 0).base.index, 12);
    pieces_finish(&c, &s);
}

/* Entries that came in the same batch are in the record, after the install. */
static void test_entries_after_the_install_may_share_its_record(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft *core = c->nodes[0].core;
    struct raft_snapshot *s = pieces_snapshot(7, POS(2, 10));
    pieces_take_and_write(c, 1, 2, s, 0, PIECE);
    pieces_take_and_write(c, 1, 2, s, PIECE, PIECE);
    pieces_take(c, 1, 2, s, 2 * PIECE, 20);
    c->nodes[0].received += 20; /* written, and reported without a look at the effects */
    raft_snapshot_unref(&c->nodes[0].piece_of);
    raft_piece_written(core, 7, 2 * PIECE, true);
    pieces_append(c, 1, 2, POS(2, 10), 2, 11);
    struct disk_record *record = c->nodes[0].writing;
    assert_null(record->next);
    assert_ptr_equal(record->install, s);
    assert_int_equal(record->n_entries, 2);
    cluster_write(c, 0, 1);
    assert_int_equal(cluster_status(c, 0).durable, 12);
    assert_int_equal(c->nodes[0].applied, 11);
    pieces_finish(&c, &s);
}

/* Records that were handed out before tell nothing of the new log. */
static void test_older_records_do_not_make_the_install_durable(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft_snapshot *s = pieces_snapshot(7, POS(2, 10));
    pieces_take_and_write(c, 1, 2, s, 0, PIECE);
    pieces_take_and_write(c, 1, 2, s, PIECE, PIECE);
    pieces_append(c, 1, 2, POS(0, 0), 5, 0); /* a record that waits */
    cluster_drop_all(c);
    pieces_take(c, 1, 2, s, 2 * PIECE, 20);
    cluster_serve_loads(c, 0);
    cluster_write(c, 0, 1);
    assert_int_equal(cluster_status(c, 0).durable, 0);
    assert_int_equal(cluster_status(c, 0).applied, 0);
    cluster_drop_all(c);
    pieces_take(c, 1, 2, s, SIZE, 0);
    pieces_expect(c, 1, SIZE);
    cluster_write(c, 0, 1);
    assert_int_equal(cluster_status(c, 0).durable, 10);
    assert_int_equal(cluster_status(c, 0).applied, 10);
    pieces_finish(&c, &s);
}

/* ---- configurations and roles ---- */

/* 28 */
static void test_install_puts_a_joint_configuration_in_force_as_it_is(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft_snapshot *s = pieces_snapshot(7, POS(2, 10));
    struct raft_pos pos;
    s->base.config_pos = POS(2, 9);
    s->base.config.auto_leave = true;
    s->base.config.members[1].roles = RAFT_VOTER_OLD;
    s->base.config.members[2].roles = RAFT_VOTER | RAFT_VOTER_OLD;
    pieces_take_all(c, 1, 2, s);
    for (unsigned restarted = 0; restarted < 2; restarted++) {
        const struct raft_config *config = raft_config(c->nodes[0].core, &pos);
        assert_true(raft_config_is_joint(config) && config->auto_leave);
        assert_int_equal(config->members[1].roles, RAFT_VOTER_OLD);
        assert_int_equal(pos.index, 9);
        assert_true(raft_config_is_committed(c->nodes[0].core));
        cluster_write(c, 0, UINT32_MAX);
        cluster_kill(c, 0);
        cluster_restart(c, 0);
    }
    pieces_finish(&c, &s);
}

/* The configuration that it campaigned in is gone, and with it its ballots. */
static void test_install_ends_a_campaign(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft_snapshot *first = pieces_snapshot(7, POS(2, 10)),
                         *s = pieces_snapshot(8, POS(2, 20));
    pieces_take_all(c, 1, 2, first);
    cluster_write(c, 0, UINT32_MAX);
    pieces_take_and_write(c, 1, 2, s, 0, PIECE);
    pieces_take_and_write(c, 1, 2, s, PIECE, PIECE);
    pieces_take(c, 1, 2, s, 2 * PIECE, 20);
    for (unsigned i = 0; i < 2 * ELECTION_TICKS_MAX; i++)
        cluster_tick(c, 0);
    assert_int_equal(cluster_status(c, 0).role, RAFT_PRE_CANDIDATE);
    cluster_serve_loads(c, 0);
    assert_int_equal(cluster_status(c, 0).role, RAFT_FOLLOWER);
    assert_int_equal(cluster_status(c, 0).base.index, 20);
    cluster_write(c, 0, UINT32_MAX);
    assert_int_equal(cluster_status(c, 0).applied, 20);
    raft_snapshot_unref(&first);
    pieces_finish(&c, &s);
}

/* It needs none any more. */
static void test_new_leader_drops_what_it_was_receiving(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    c->snapshot_size = SIZE;
    (void)cluster_elect(c);
    cluster_run(c, 2 * HEARTBEAT_TICKS);
    cluster_elect_node(c, 1);
    cluster_run(c, 2 * HEARTBEAT_TICKS);
    c->late_loads = true;
    struct raft_status st = cluster_status(c, 0);
    struct raft_snapshot *s = pieces_snapshot(7, POS(st.term, st.last.index + 10));
    pieces_last_seq = (uint64_t)1 << 50;
    pieces_take(c, 1, st.term, s, 0, PIECE);
    cluster_drop_all(c);
    cluster_elect_node(c, 0);
    assert_int_equal(c->nodes[0].last_dropped, 7);
    assert_null(c->nodes[0].piece_of);
    pieces_finish(&c, &s);
}

/* ---- what cannot be right ---- */

static void test_stale_piece_is_told_the_term(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft_snapshot *s = pieces_snapshot(7, POS(2, 10));
    pieces_append(c, 2, 5, POS(0, 0), 1, 1);
    cluster_write(c, 0, UINT32_MAX);
    cluster_drop_all(c);
    pieces_take(c, 1, 4, s, 0, PIECE);
    struct raft_message m = pieces_answer(c, 1);
    assert_int_equal(m.term, 5);
    assert_false(m.snapshot_reply.installed);
    assert_null(c->nodes[0].piece_of);
    pieces_finish(&c, &s);
}

static int refused(struct cluster *c, struct raft_snapshot *s, uint64_t offset, uint32_t len)
{
    struct raft_status before = cluster_status(c, 0);
    struct raft_message m = cluster_message(RAFT_SNAPSHOT, 1, 0, 3, ++pieces_last_seq);
    uint8_t bytes[4 * SIZE] = {0};
    m.snapshot.snapshot = s;
    m.snapshot.offset = offset;
    m.snapshot.len = len;
    m.snapshot.data = bytes;
    int rc = cluster_receive(c, 0, &m);
    assert_null(c->nodes[0].piece_of);
    assert_int_equal(cluster_status(c, 0).term, before.term);
    assert_true(pieces_none_answered(c));
    return rc;
}

static void test_snapshots_that_cannot_be_are_invalid(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    const struct {
        struct raft_pos pos, config_pos;
        uint64_t size, offset;
        uint32_t len;
    } bad[] = {
        {POS(0, 0), POS(0, 0), SIZE, 0, PIECE},   /* nowhere */
        {POS(2, 10), POS(0, 0), SIZE, 0, PIECE},  /* no configuration */
        {POS(2, 10), POS(0, 1), SIZE, 0, PIECE},  /* none of any term */
        {POS(0, 10), POS(1, 1), SIZE, 0, PIECE},  /* a place of no term */
        {POS(4, 10), POS(1, 1), SIZE, 0, PIECE},  /* of a term to come */
        {POS(2, 10), POS(2, 11), SIZE, 0, PIECE}, /* a configuration to come */
        {POS(2, 10), POS(3, 9), SIZE, 0, PIECE},
        {POS(2, 10), POS(1, 10), SIZE, 0, PIECE}, /* two entries in one place */
        {POS(2, 10), POS(1, 1), 0, 0, 0},         /* no bytes */
        {POS(2, 10), POS(1, 1), SIZE, SIZE + 1, 0},
        {POS(2, 10), POS(1, 1), SIZE, UINT64_MAX, PIECE},
        {POS(2, 10), POS(1, 1), SIZE, SIZE - 1, 2},
        {POS(2, 10), POS(1, 1), SIZE, 0, SIZE + 1},
    };
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct raft_snapshot *s = pieces_snapshot(7, bad[i].pos);
        s->base.config_pos = bad[i].config_pos;
        s->size = bad[i].size;
        assert_int_equal(refused(c, s, bad[i].offset, bad[i].len), ERR_INVALID);
        raft_snapshot_unref(&s);
    }
    cluster_free(&c);
}

/* A second snapshot by the name of the one that is being received. */
static void test_another_snapshot_by_the_same_name_is_invalid(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    struct raft_snapshot *s = pieces_snapshot(7, POS(2, 10));
    pieces_take_and_write(c, 1, 3, s, 0, PIECE);
    for (unsigned i = 0; i < 3; i++) {
        struct raft_snapshot *other = pieces_snapshot(7, POS(2, i == 0 ? 11 : 10));
        other->size += i == 1;
        other->digest += i == 2;
        assert_int_equal(refused(c, other, PIECE, PIECE), ERR_INVALID);
        raft_snapshot_unref(&other);
    }
    struct raft_snapshot *same = pieces_snapshot(7, POS(2, 10)); /* as it is decoded each time */
    pieces_take_and_write(c, 1, 3, same, PIECE, PIECE);
    raft_snapshot_unref(&same);
    pieces_finish(&c, &s);
}

static void test_snapshot_that_contradicts_what_is_known_is_invalid(void **state)
{
    (void)state;
    struct cluster *c = pieces_follower();
    pieces_append(c, 1, 3, POS(0, 0), 10, 5);
    cluster_write(c, 0, UINT32_MAX);
    cluster_drop_all(c);
    struct raft_snapshot *committed = pieces_snapshot(7, POS(2, 4));
    struct raft_snapshot *verified = pieces_snapshot(8, POS(2, 8)); /* by this very leader */
    assert_int_equal(refused(c, committed, 0, PIECE), ERR_INVALID);
    assert_int_equal(refused(c, verified, 0, PIECE), ERR_INVALID);
    raft_snapshot_unref(&verified);
    struct raft_snapshot *s = pieces_snapshot(9, POS(3, 20));
    assert_int_equal(pieces_send(c, 2, 3, s, 0, PIECE), ERR_INVALID); /* it is 1 who leads */
    raft_snapshot_unref(&s);
    pieces_finish(&c, &committed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_install_replaces_log_and_state_in_one_record),
        cmocka_unit_test(test_install_that_is_not_durable_leaves_everything_as_it_was),
        cmocka_unit_test(test_installed_is_told_only_when_it_is_durable),
        cmocka_unit_test(test_nothing_is_applied_or_compacted_before_the_install_is_durable),
        cmocka_unit_test(test_entries_after_the_install_may_share_its_record),
        cmocka_unit_test(test_older_records_do_not_make_the_install_durable),
        cmocka_unit_test(test_install_puts_a_joint_configuration_in_force_as_it_is),
        cmocka_unit_test(test_install_ends_a_campaign),
        cmocka_unit_test(test_new_leader_drops_what_it_was_receiving),
        cmocka_unit_test(test_stale_piece_is_told_the_term),
        cmocka_unit_test(test_snapshots_that_cannot_be_are_invalid),
        cmocka_unit_test(test_another_snapshot_by_the_same_name_is_invalid),
        cmocka_unit_test(test_snapshot_that_contradicts_what_is_known_is_invalid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
