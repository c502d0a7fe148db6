/* SPDX-License-Identifier: MIT
 * raft/: a log that begins later, and what its base has to remember. Numbers
 * are items of PITFALLS part 1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "raft_cluster.h"

/* Node 0 leads, all others have everything. */
static struct cluster *led_by_0(unsigned n_nodes, unsigned n_voters)
{
    struct cluster *c = cluster_new(1, n_nodes, n_voters);
    c->snapshot_size = 100;
    cluster_settle(c);
    cluster_elect_node(c, 0);
    cluster_write_entries(c, 0, 5);
    cluster_run(c, 2 * HEARTBEAT_TICKS);
    return c;
}

static uint64_t base_of(const struct cluster *c, unsigned node)
{
    return cluster_status(c, node).base.index;
}

/* ---- how far ---- */

static void test_compaction_ends_at_what_is_applied(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    uint64_t applied = cluster_status(c, 0).applied;
    cluster_cut_off(c, 0);
    cluster_write_entries(c, 0, 2);
    assert_int_equal(cluster_status(c, 0).durable, applied + 2);
    raft_compact(c->nodes[0].core, UINT64_MAX);
    assert_int_equal(base_of(c, 0), applied);
    raft_check(c->nodes[0].core);
    cluster_free(&c);
}

static void test_compaction_ends_at_what_is_durable(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    uint64_t durable = cluster_status(c, 0).durable;
    c->late_disk[0] = true;
    cluster_write_entries(c, 0, 2);
    assert_int_equal(cluster_status(c, 0).applied, durable + 2);
    raft_compact(c->nodes[0].core, UINT64_MAX);
    assert_int_equal(base_of(c, 0), durable);
    cluster_free(&c);
}

static void test_compaction_up_to_an_index_keeps_what_follows(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    struct raft_status s = cluster_status(c, 0);
    uint64_t term;
    cluster_compact(c, 0, s.applied - 2);
    assert_int_equal(base_of(c, 0), s.applied - 2);
    assert_int_equal(cluster_status(c, 0).last.index, s.last.index);
    assert_int_equal(raft_term_at(c->nodes[0].core, s.applied - 2, &term), 0); /* of the base */
    assert_int_equal(term, s.term);
    assert_int_equal(raft_term_at(c->nodes[0].core, s.applied - 3, &term), ERR_NOT_FOUND);
    cluster_write_entries(c, 0, 2);
    assert_int_equal(cluster_status(c, 1).last.index, s.last.index + 2);
    cluster_free(&c);
}

static void test_compaction_below_the_base_changes_nothing(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    cluster_compact(c, 0, 4);
    raft_compact(c->nodes[0].core, 4);
    raft_compact(c->nodes[0].core, 3);
    raft_compact(c->nodes[0].core, 0);
    assert_int_equal(base_of(c, 0), 4);
    assert_int_equal(raft_effects(c->nodes[0].core)->persist.seq, 0);
    cluster_free(&c);
}

/* Terms of several leaders before, at and after the base. */
static void test_compaction_keeps_the_terms_of_what_is_left(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    cluster_elect_node(c, 1);
    cluster_write_entries(c, 1, 2);
    cluster_elect_node(c, 0);
    cluster_write_entries(c, 0, 2);
    cluster_run(c, 2 * HEARTBEAT_TICKS);
    for (uint64_t base = 1; base <= cluster_status(c, 0).applied; base++) {
        cluster_compact(c, 0, base);
        for (uint64_t i = base; i <= cluster_status(c, 0).last.index; i++) {
            uint64_t term = 0;
            assert_int_equal(raft_term_at(c->nodes[0].core, i, &term), 0);
            assert_int_equal(term, c->committed[i].term);
        }
    }
    cluster_write_entries(c, 0, 1);
    assert_int_equal(cluster_status(c, 1).last.index, cluster_status(c, 0).last.index);
    cluster_free(&c);
}

/* ---- the record ---- */

/* 26: place, term and configuration at once. */
static void test_base_is_one_record_with_place_and_configuration(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    struct raft_status s = cluster_status(c, 0);
    raft_compact(c->nodes[0].core, s.applied - 1);
    const struct raft_effects *e = raft_effects(c->nodes[0].core);
    assert_true(e->persist.seq > 0);
    assert_null(e->persist.install);
    assert_non_null(e->persist.base);
    assert_int_equal(e->persist.base->pos.index, s.applied - 1);
    assert_int_equal(e->persist.base->pos.term, s.term);
    assert_int_equal(e->persist.base->config_pos.index, 1);
    assert_int_equal(e->persist.base->config.n_members, 3);
    assert_true(e->persist.hard_state.commit >= e->persist.base->pos.index);
    raft_persisted(c->nodes[0].core, e->persist.seq);
    assert_null(raft_effects(c->nodes[0].core)->persist.base); /* once */
    raft_persisted(c->nodes[0].core, e->persist.seq);          /* said twice */
    raft_check(c->nodes[0].core);
    cluster_free(&c);
}

/* 26: killed before the record is durable, and after. */
static void test_restart_in_the_middle_of_compaction_leaves_no_gap(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    uint64_t last = cluster_status(c, 1).last.index;
    for (unsigned written = 0; written < 2; written++) {
        c->late_disk[1] = true;
        cluster_compact(c, 1, 4);
        assert_non_null(c->nodes[1].writing);
        cluster_write(c, 1, written);
        cluster_kill(c, 1);
        c->late_disk[1] = false;
        cluster_restart(c, 1);
        assert_int_equal(base_of(c, 1), written ? 4 : 0);
        assert_int_equal(cluster_status(c, 1).last.index, last);
    }
    cluster_write_entries(c, 0, 2);
    cluster_run(c, 4 * HEARTBEAT_TICKS);
    assert_int_equal(c->nodes[1].applied, last + 2);
    cluster_free(&c);
}

/* What a restart is told of the commit index is a hint, and of the state machine that it will hold
 * as much: neither lies outside the log. */
static void test_start_brings_commit_and_applied_into_the_log(void **state)
{
    (void)state;
    const struct {
        uint64_t hint, told, commit, applied;
    } cases[] = {{0, 0, 5, 5}, {6, 6, 6, 6}, {6, 5, 6, 5}, {100, 0, 7, 5}, {100, 50, 7, 7}};
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct raft_options o = cluster_default_options();
        o.id = cluster_id(0);
        struct raft *r = raft_new(&o);
        struct raft_base base = {.pos = {2, 5}, .config_pos = {1, 1}};
        base.config.n_members = 1;
        base.config.members[0] = cluster_member(1);
        base.config.members[0].roles = RAFT_VOTER;
        raft_restore_base(r, &base);
        raft_restore_hard_state(r, (struct raft_hard_state){.term = 3, .commit = cases[i].hint},
                                cases[i].told);
        for (uint64_t k = 6; k <= 7; k++) {
            struct raft_entry *e = raft_entry_new(RAFT_ENTRY_COMMAND, (struct raft_pos){3, k}, 0);
            assert_int_equal(raft_restore_entry(r, e), 0);
            raft_entry_unref(&e);
        }
        raft_start(r);
        raft_check(r);
        assert_int_equal(raft_status(r).commit, cases[i].commit);
        assert_int_equal(raft_status(r).applied, cases[i].applied);
        assert_int_equal(raft_status(r).durable, 7);
        assert_int_equal(raft_config_committed(r, NULL)->n_members, 1);
        assert_int_equal(raft_bootstrap(r, &base.config), ERR_NOT_ALLOWED);
        raft_free(&r);
    }
}

static void test_log_that_does_not_follow_on_the_base_is_corrupt(void **state)
{
    (void)state;
    struct raft_options o = cluster_default_options();
    o.id = cluster_id(0);
    const struct raft_pos bad[] = {{2, 5}, {2, 7}, {1, 6}, {4, 6}};
    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct raft *r = raft_new(&o);
        struct raft_base base = {.pos = {2, 5}, .config_pos = {1, 1}};
        raft_restore_base(r, &base);
        raft_restore_hard_state(r, (struct raft_hard_state){.term = 3, .commit = 5}, 5);
        struct raft_entry *e = raft_entry_new(RAFT_ENTRY_COMMAND, bad[i], 0);
        assert_int_equal(raft_restore_entry(r, e), ERR_CORRUPT);
        raft_entry_unref(&e);
        raft_free(&r);
    }
}

/* All of it compacted: the next leader has no entry to show, and leads all the same. */
static void test_cluster_of_empty_logs_elects_and_goes_on(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    uint64_t last = cluster_status(c, 0).last.index;
    for (unsigned i = 0; i < 3; i++)
        cluster_compact(c, i, UINT64_MAX);
    for (unsigned i = 0; i < 3; i++)
        cluster_crash(c, i);
    for (unsigned i = 0; i < 3; i++)
        cluster_restart(c, i);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(base_of(c, i), last);
    cluster_elect_node(c, 2);
    cluster_write_entries(c, 2, 3);
    cluster_run(c, 2 * HEARTBEAT_TICKS);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(c->nodes[i].applied, last + 4);
        assert_int_equal(c->nodes[i].n_wanted + c->nodes[i].n_installed, 0);
    }
    cluster_free(&c);
}

/* ---- configurations ---- */

/* 28: as whole as it was in the log. */
static void test_base_in_a_joint_configuration_restores_both_halves(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(4, 3);
    struct raft_change swap[] = {cluster_wish(RAFT_ADD_VOTER, 3), cluster_wish(RAFT_REMOVE, 2)};
    struct raft_pos pos;
    assert_int_equal(cluster_change(c, 0, swap, 2), 0);
    while (!raft_config_is_joint(raft_config_committed(c->nodes[0].core, &pos)))
        cluster_deliver(c, 0);
    cluster_drop_all(c); /* leaving it gets nowhere */
    cluster_compact(c, 0, UINT64_MAX);
    assert_int_equal(base_of(c, 0), pos.index);
    assert_true(raft_config_is_joint(&c->nodes[0].base.config));
    cluster_crash(c, 0);
    cluster_restart(c, 0);
    const struct raft_config *config = raft_config_committed(c->nodes[0].core, &pos);
    assert_true(raft_config_is_joint(config) && config->auto_leave);
    assert_int_equal(config->n_members, 4);
    cluster_run(c, 10 * ELECTION_TICKS_MAX); /* whoever leads leaves it */
    int leader = cluster_leader(c);
    assert_true(leader >= 0);
    assert_false(raft_config_is_joint(raft_config(c->nodes[leader].core, NULL)));
    cluster_free(&c);
}

/* 29: the one in force is not committed, and its entry may be deleted. */
static void test_change_that_is_lost_after_compaction_is_taken_back(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(4, 3);
    cluster_run(c, 2 * HEARTBEAT_TICKS);
    cluster_cut_off(c, 0);
    struct raft_change add = cluster_wish(RAFT_ADD_VOTER, 3);
    struct raft_pos pos;
    assert_int_equal(cluster_change(c, 0, &add, 1), 0);
    cluster_compact(c, 0, UINT64_MAX);
    assert_int_equal(c->nodes[0].base.config.n_members, 3);
    cluster_crash(c, 0);
    cluster_restart(c, 0);
    assert_int_equal(raft_config(c->nodes[0].core, &pos)->n_members, 4);
    assert_int_equal(pos.index, base_of(c, 0) + 1);
    assert_false(raft_config_is_committed(c->nodes[0].core));
    cluster_elect_node(c, 1);
    cluster_write_entries(c, 1, 3);
    cluster_heal(c);
    cluster_run(c, 4 * ELECTION_TICKS_MAX);
    assert_int_equal(raft_config(c->nodes[0].core, &pos)->n_members, 3);
    assert_int_equal(pos.index, 1);
    assert_int_equal(c->nodes[0].applied, cluster_status(c, 1).commit);
    cluster_free(&c);
}

/* 29: the latest committed one comes after the place where the log begins. */
static void test_base_may_know_a_configuration_of_a_later_entry(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(4, 3);
    uint64_t before = cluster_status(c, 0).last.index;
    struct raft_change add = cluster_wish(RAFT_ADD_LEARNER, 3);
    assert_int_equal(cluster_change(c, 0, &add, 1), 0);
    cluster_settle(c);
    cluster_write_entries(c, 0, 2);
    cluster_compact(c, 0, before);
    assert_int_equal(c->nodes[0].base.config_pos.index, before + 1);
    cluster_kill(c, 0);
    c->nodes[0].hard_state.commit = c->nodes[0].saved = before; /* a hint that is behind */
    cluster_restart(c, 0);
    struct raft_pos pos;
    assert_int_equal(raft_config(c->nodes[0].core, &pos)->n_members, 4);
    assert_int_equal(pos.index, before + 1);
    assert_true(raft_config_is_committed(c->nodes[0].core));
    assert_int_equal(cluster_status(c, 0).last.index, before + 3);
    assert_int_equal(cluster_status(c, 0).commit, before + 1);
    cluster_compact(c, 0, before + 1); /* past its entry: the same one */
    assert_int_equal(c->nodes[0].base.config.n_members, 4);
    cluster_free(&c);
}

/* ---- heartbeats and hints ---- */

/* 19: no term is made up for a place that is gone. */
static void test_heartbeat_below_the_base_claims_nothing(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    struct raft_peer_status peer;
    assert_int_equal(raft_peer(c->nodes[0].core, cluster_id(2), &peer), 0);
    cluster_cut_off(c, 2);
    cluster_write_entries(c, 0, 4);
    cluster_compact(c, 0, peer.match + 2);
    for (unsigned i = 0; i < HEARTBEAT_TICKS; i++)
        cluster_tick(c, 0);
    const struct raft_message *m = cluster_find(c, RAFT_APPEND, 0, 2);
    assert_int_equal(m->append.n_entries, 0);
    assert_int_equal(m->append.prev.index, 0);
    assert_int_equal(m->append.prev.term, 0);
    assert_int_equal(m->append.commit, 0);
    cluster_heal(c);
    cluster_settle(c);
    assert_int_equal(raft_peer(c->nodes[0].core, cluster_id(2), &peer), 0);
    assert_true(peer.ticks_since_heard == 0);
    assert_true(peer.match < base_of(c, 0));
    cluster_run(c, 20 * HEARTBEAT_TICKS);
    assert_int_equal(c->nodes[2].n_installed, 1);
    assert_int_equal(c->nodes[2].applied, c->nodes[0].applied);
    cluster_free(&c);
}

/* A leader probes after its base and hears where the peer's log ends: at the very base. */
static void test_peer_that_ends_at_the_base_needs_no_snapshot(void **state)
{
    (void)state;
    struct cluster *c = led_by_0(3, 3);
    uint64_t last = cluster_status(c, 2).last.index;
    cluster_cut_off(c, 2);
    cluster_write_entries(c, 0, 4);
    cluster_compact(c, 0, last);
    cluster_elect_node(c, 1);
    cluster_compact(c, 1, last);
    cluster_heal(c);
    cluster_run(c, 20 * HEARTBEAT_TICKS);
    assert_int_equal(c->nodes[2].applied, last + 5);
    assert_int_equal(c->nodes[0].n_wanted + c->nodes[1].n_wanted, 0);
    cluster_free(&c);
}

/* Entries that were being read from the disk when the log let go of them. */
static void test_entries_loaded_from_before_the_base_are_not_sent(void **state)
{
    (void)state;
    struct raft_options o = cluster_default_options();
    o.cache_bytes = 0;
    struct cluster *c = cluster_new_with(1, 3, 3, &o);
    c->snapshot_size = 100;
    cluster_settle(c);
    cluster_elect_node(c, 0);
    cluster_write_entries(c, 0, 5);
    cluster_run(c, 2 * HEARTBEAT_TICKS);
    cluster_cut_off(c, 2);
    cluster_write_entries(c, 0, 5);
    cluster_run(c, 2 * HEARTBEAT_TICKS);
    cluster_heal(c);
    c->late_loads = true;
    raft_unreachable(c->nodes[0].core, cluster_id(2));
    cluster_run_node(c, 0, HEARTBEAT_TICKS);
    assert_int_equal(c->nodes[0].n_loads, 1);
    struct raft_load load = c->nodes[0].loads[0];
    c->nodes[0].n_loads = 0;
    struct raft_entry *e[1] = {raft_entry_ref(c->nodes[0].log[load.first])};
    cluster_compact(c, 0, UINT64_MAX);
    raft_loaded(c->nodes[0].core, cluster_id(2), e, 1);
    cluster_pump(c, 0);
    raft_entry_unref(&e[0]);
    assert_null(cluster_find(c, RAFT_APPEND, 0, 2));
    c->late_loads = false;
    cluster_serve_loads(c, 0);
    cluster_run(c, 20 * HEARTBEAT_TICKS);
    assert_int_equal(c->nodes[2].n_installed, 1);
    cluster_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compaction_ends_at_what_is_applied),
        cmocka_unit_test(test_compaction_ends_at_what_is_durable),
        cmocka_unit_test(test_compaction_up_to_an_index_keeps_what_follows),
        cmocka_unit_test(test_compaction_below_the_base_changes_nothing),
        cmocka_unit_test(test_compaction_keeps_the_terms_of_what_is_left),
        cmocka_unit_test(test_base_is_one_record_with_place_and_configuration),
        cmocka_unit_test(test_restart_in_the_middle_of_compaction_leaves_no_gap),
        cmocka_unit_test(test_start_brings_commit_and_applied_into_the_log),
        cmocka_unit_test(test_log_that_does_not_follow_on_the_base_is_corrupt),
        cmocka_unit_test(test_cluster_of_empty_logs_elects_and_goes_on),
        cmocka_unit_test(test_base_in_a_joint_configuration_restores_both_halves),
        cmocka_unit_test(test_change_that_is_lost_after_compaction_is_taken_back),
        cmocka_unit_test(test_base_may_know_a_configuration_of_a_later_entry),
        cmocka_unit_test(test_heartbeat_below_the_base_claims_nothing),
        cmocka_unit_test(test_peer_that_ends_at_the_base_needs_no_snapshot),
        cmocka_unit_test(test_entries_loaded_from_before_the_base_are_not_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
