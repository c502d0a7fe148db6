/* SPDX-License-Identifier: MIT
 * raft/: replication, commit, flow control, loading and restarts, as protocol
 * stories. Numbers are items of PITFALLS part 1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "raft_cluster.h"

#define POS(t, i) ((struct raft_pos){t, i})

/* 20: each side has 100 entries the other does not know, of one term or many. */
static void reconcile(unsigned terms_leader, unsigned terms_follower)
{
    struct cluster *c = cluster_new(1, 3, 3);
    unsigned leader = cluster_elect(c);
    cluster_write_entries(c, leader, 5);
    cluster_run(c, 5);
    for (unsigned i = 0; i < 3; i++)
        cluster_crash(c, i);
    for (unsigned i = 0; i < 100; i++) { /* odd terms here, even ones there */
        cluster_plant(c, 0, 11 + 2 * (i * terms_leader / 100), 1);
        cluster_plant(c, 1, 10 + 2 * (i * terms_follower / 100), 1);
    }
    c->nodes[0].hard_state.term = c->nodes[1].hard_state.term = 500;
    cluster_restart(c, 0);
    cluster_restart(c, 1);
    cluster_restart(c, 2);
    cluster_elect_node(c, 0);
    cluster_run(c, 10);
    assert_int_equal(cluster_status(c, 1).commit, cluster_status(c, 0).commit);
    assert_true(c->nodes[1].applied > 107);
    unsigned rounds = terms_leader < terms_follower ? terms_leader : terms_follower;
    assert_true(c->nodes[1].n_appends_rejected <= rounds + 2);
    cluster_free(&c);
}

static void test_conflict_of_hundred_entries_ends_in_bounded_rounds(void **state)
{
    (void)state;
    reconcile(1, 1);
    reconcile(1, 100);
    reconcile(100, 1);
    reconcile(100, 100);
    reconcile(7, 13);
}

/* A leader moves next down even when the hint is nonsense. */
static void test_conflict_hint_that_does_not_help_still_makes_progress(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 2, 2);
    (void)cluster_elect(c);
    cluster_elect_node(c, 0);
    cluster_write_entries(c, 0, 20);
    cluster_run(c, 5);
    c->cut[0][1] = true;
    struct raft_peer_status peer;
    assert_int_equal(raft_peer(c->nodes[0].core, cluster_id(1), &peer), 0);
    uint64_t match = peer.match;
    struct raft_pos pos;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(cluster_propose(c, 0, &pos), 0);
    const struct raft_message *sent = cluster_find(c, RAFT_APPEND, 0, 1);
    assert_int_equal(sent->append.prev.index, match + 2);
    struct raft_message lie = cluster_message(RAFT_APPEND_REPLY, 1, 0, sent->term, sent->seq);
    lie.append_reply.rejected = sent->append.prev.index;
    lie.append_reply.hint = POS(sent->term, sent->append.prev.index + 5);
    assert_int_equal(cluster_receive(c, 0, &lie), 0);
    /* Below what it refused, whatever it hints; not below what it acknowledged. It is sent at once.
     */
    sent = cluster_find(c, RAFT_APPEND, 0, 1);
    assert_int_equal(sent->append.prev.index, match + 1);
    assert_int_equal(raft_peer(c->nodes[0].core, cluster_id(1), &peer), 0);
    assert_int_equal(peer.match, match);
    cluster_heal(c);
    cluster_run(c, 10 * HEARTBEAT_TICKS);
    assert_int_equal(c->nodes[1].applied, pos.index);
    cluster_free(&c);
}

static bool note_and_drop_appends(struct cluster *c, const struct raft_message *m)
{
    uint64_t *seqs = c->filter_arg;
    if (m->type != RAFT_APPEND)
        return true;
    seqs[cluster_node(m->to)] = m->seq;
    return false;
}

/* 15: figure 8 of the Raft paper. An entry of an old term on a majority is not
 * committed by counting; it may still be overwritten. */
static void test_old_term_entry_on_majority_is_not_committed(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 5, 5);
    (void)cluster_elect(c);
    cluster_elect_node(c, 0);
    cluster_run(c, 5);
    uint64_t base = cluster_status(c, 0).last.index;
    for (unsigned i = 0; i < 5; i++)
        cluster_crash(c, i);
    uint64_t term = c->nodes[0].hard_state.term;
    cluster_plant(c, 0, term + 1, 1); /* S1 led term+1, its entry is on S1 and S2 */
    cluster_plant(c, 1, term + 1, 1);
    cluster_plant(c, 4, term + 2, 1); /* S5 led term+2, its entry is on S5 alone */
    for (unsigned i = 0; i < 4; i++) {
        c->nodes[i].hard_state.term = term + 2;
        cluster_restart(c, i);
    }
    /* S1 leads again. Its old entry gets to a majority, its new one nowhere. */
    uint64_t seqs[CLUSTER_NODES] = {0};
    c->filter = note_and_drop_appends;
    c->filter_arg = seqs;
    cluster_run_node(c, 0, ELECTION_TICKS_MAX);
    struct raft_status s1 = cluster_status(c, 0);
    assert_int_equal(s1.role, RAFT_LEADER);
    assert_int_equal(s1.last.index, base + 2);
    for (unsigned i = 1; i < 4; i++) {
        struct raft_message has = cluster_message(RAFT_APPEND_REPLY, i, 0, s1.term, seqs[i]);
        has.append_reply.success = true;
        has.append_reply.match = base + 1;
        assert_int_equal(cluster_receive(c, 0, &has), 0);
    }
    assert_true(cluster_status(c, 0).commit <= base);
    /* S5 may still win, and its entry replaces that one. */
    cluster_crash(c, 0);
    c->filter = NULL;
    cluster_restart(c, 4);
    cluster_drop_all(c);
    cluster_crash(c, 1);
    cluster_elect_node(c, 4);
    cluster_run(c, 5);
    assert_int_equal(c->committed[base + 1].term, term + 2);
    cluster_restart(c, 0);
    cluster_restart(c, 1);
    cluster_run(c, 20);
    assert_int_equal(c->nodes[0].applied, c->nodes[4].applied);
    cluster_free(&c);
}

/* 22: nobody has it durable but the disk that is still writing. */
static void test_commit_of_single_voter_waits_for_its_own_disk(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 1, 1);
    c->late_disk[0] = true;
    struct raft_pos pos;
    assert_int_equal(cluster_propose(c, 0, &pos), 0);
    assert_true(cluster_status(c, 0).commit < pos.index);
    cluster_write(c, 0, 1);
    assert_int_equal(cluster_status(c, 0).commit, pos.index);
    cluster_free(&c);
}

/* The leader's own disk is the slowest: a majority of others is enough. */
static void test_commit_without_the_leaders_own_disk(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    unsigned leader = cluster_elect(c);
    cluster_run(c, 5);
    c->late_disk[leader] = true;
    struct raft_pos pos;
    assert_int_equal(cluster_propose(c, leader, &pos), 0);
    cluster_settle(c);
    assert_int_equal(cluster_status(c, leader).commit, pos.index);
    assert_int_equal(c->nodes[leader].applied, pos.index);
    assert_true(cluster_status(c, leader).durable < pos.index);
    cluster_free(&c);
}

/* One follower is down, the other one's disk is slow: nothing is committed. */
static void test_commit_needs_a_followers_disk(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    unsigned leader = cluster_elect(c), slow = (leader + 1) % 3;
    cluster_run(c, 5);
    cluster_crash(c, (leader + 2) % 3);
    c->late_disk[slow] = true;
    struct raft_pos pos;
    assert_int_equal(cluster_propose(c, leader, &pos), 0);
    cluster_run(c, 3 * ELECTION_TICKS_MAX);
    assert_int_equal(cluster_leader(c), leader); /* heartbeats are answered all the same */
    assert_true(cluster_status(c, leader).commit < pos.index);
    cluster_write(c, slow, 99);
    cluster_settle(c);
    assert_int_equal(cluster_status(c, leader).commit, pos.index);
    cluster_free(&c);
}

/* ---- flow control ---- */

static unsigned in_flight_to(struct cluster *c, unsigned leader, unsigned peer)
{
    struct raft_peer_status s;
    assert_int_equal(raft_peer(c->nodes[leader].core, cluster_id(peer), &s), 0);
    return s.in_flight;
}

/* 24: the window fills, the peer answers nothing; heartbeats go on, and when it
 * is back all goes on, again and again. */
static void test_window_full_blocks_no_heartbeat_and_never_leaks(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    unsigned leader = cluster_elect(c), peer = (leader + 1) % 3;
    cluster_run(c, 5);
    for (unsigned round = 0; round < 20; round++) {
        c->cut[peer][leader] = true; /* its answers get lost */
        cluster_write_entries(c, leader, 30);
        assert_true(in_flight_to(c, leader, peer) <= c->options.window);
        for (unsigned i = 0; i < 3 * HEARTBEAT_TICKS; i++) {
            cluster_tick(c, leader);
            if (round % 2)
                raft_unreachable(c->nodes[leader].core, cluster_id(peer));
        }
        const struct raft_message *heartbeat = cluster_find(c, RAFT_APPEND, leader, peer);
        assert_true(heartbeat && heartbeat->append.n_entries == 0);
        cluster_heal(c);
        cluster_run(c, 8 * HEARTBEAT_TICKS);
        assert_int_equal(in_flight_to(c, leader, peer), 0);
        assert_int_equal(c->nodes[peer].applied, c->nodes[leader].applied);
    }
    cluster_free(&c);
}

/* 24: an answer takes an append out of flight and claims less than it had. */
static void test_answer_that_claims_too_little_stalls_nothing(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 2, 2);
    (void)cluster_elect(c);
    cluster_elect_node(c, 0);
    cluster_run(c, 5);
    struct raft_pos pos;
    assert_int_equal(cluster_propose(c, 0, &pos), 0);
    uint64_t seq = cluster_find(c, RAFT_APPEND, 0, 1)->seq;
    cluster_drop_all(c);
    struct raft_message less = cluster_message(RAFT_APPEND_REPLY, 1, 0, pos.term, seq);
    less.append_reply.success = true;
    less.append_reply.match = pos.index - 1;
    assert_int_equal(cluster_receive(c, 0, &less), 0);
    cluster_settle(c);
    assert_int_equal(c->nodes[1].log_last, pos.index);
    cluster_free(&c);
}

/* A connection that is refused at once must not become a busy loop. */
static void test_unreachable_peer_gets_one_append_per_heartbeat(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    unsigned leader = cluster_elect(c), peer = (leader + 1) % 3;
    cluster_run(c, 5);
    cluster_crash(c, peer);
    cluster_write_entries(c, leader, 5);
    unsigned sent = 0;
    for (unsigned i = 0; i < 100; i++) {
        raft_unreachable(c->nodes[leader].core, cluster_id(peer));
        cluster_pump(c, leader);
        sent += cluster_find(c, RAFT_APPEND, leader, peer) != NULL;
        cluster_drop_all(c);
    }
    assert_int_equal(sent, 0);
    for (unsigned i = 0; i < HEARTBEAT_TICKS; i++)
        cluster_tick(c, leader);
    assert_int_equal(in_flight_to(c, leader, peer), 1);
    cluster_free(&c);
}

static void test_append_limits_of_entries_and_bytes_hold(void **state)
{
    (void)state;
    struct raft_options o = cluster_default_options();
    o.append_entries_max = 5;
    o.append_bytes_max = 1000;
    o.window = 100;
    struct cluster *c = cluster_new_with(1, 2, 2, &o);
    (void)cluster_elect(c);
    cluster_elect_node(c, 0);
    cluster_run(c, 5);
    struct raft_entry *entries[12];
    for (unsigned i = 0; i < 12; i++) { /* seven small ones, then big ones */
        entries[i] = raft_entry_new(RAFT_ENTRY_COMMAND, POS(0, 0), i < 7 ? 8 : 2000);
        memset(entries[i]->data, 0, entries[i]->len);
    }
    struct raft_pos first;
    assert_int_equal(raft_propose(c->nodes[0].core, entries, 12, &first), 0);
    cluster_pump(c, 0);
    static const unsigned expected[] = {5, 2, 1, 1, 1, 1, 1};
    const struct sim_message *m = c->in_flight;
    for (unsigned i = 0; i < sizeof expected / sizeof expected[0]; i++, m = m->next) {
        assert_non_null(m);
        assert_int_equal(m->m.append.n_entries, expected[i]);
    }
    assert_null(m);
    cluster_settle(c);
    assert_int_equal(cluster_status(c, 0).commit, first.index + 11);
    cluster_free(&c);
}

static void test_uncommitted_bytes_are_bounded_without_quorum(void **state)
{
    (void)state;
    struct raft_options o = cluster_default_options();
    o.uncommitted_bytes_max = 2000;
    struct cluster *c = cluster_new_with(1, 3, 3, &o);
    unsigned leader = cluster_elect(c);
    cluster_run(c, 5);
    c->cut[(leader + 1) % 3][leader] = c->cut[(leader + 2) % 3][leader] = true;
    struct raft_pos pos;
    unsigned accepted = 0;
    int rc;
    while ((rc = cluster_propose(c, leader, &pos)) == 0)
        accepted++;
    assert_int_equal(rc, ERR_OVERLOADED);
    assert_true(accepted > 10 && accepted < 100);
    cluster_heal(c);
    cluster_run(c, 10);
    assert_int_equal(cluster_propose(c, leader, &pos), 0);
    /* One batch beyond the limit passes when nothing else waits. */
    cluster_settle(c);
    struct raft_entry *big = raft_entry_new(RAFT_ENTRY_COMMAND, POS(0, 0), 5000);
    memset(big->data, 0, big->len);
    assert_int_equal(raft_propose(c->nodes[leader].core, &big, 1, &pos), 0);
    assert_int_equal(cluster_propose(c, leader, &pos), ERR_OVERLOADED);
    cluster_settle(c);
    assert_int_equal(cluster_propose(c, leader, &pos), 0);
    cluster_free(&c);
}

static void test_propose_to_follower_is_refused(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    unsigned leader = cluster_elect(c);
    struct raft_pos pos = {77, 77};
    assert_int_equal(cluster_propose(c, (leader + 1) % 3, &pos), ERR_NOT_LEADER);
    assert_int_equal(pos.index, 77);
    cluster_free(&c);
}

/* ---- old entries ---- */

static void test_slow_follower_gets_old_entries_by_load(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    unsigned leader = cluster_elect(c), slow = (leader + 1) % 3;
    cluster_crash(c, slow);
    cluster_write_entries(c, leader, 500);
    cluster_restart(c, slow);
    cluster_run(c, 30);
    assert_int_equal(c->nodes[slow].applied, c->nodes[leader].applied);
    assert_true(c->nodes[leader].n_loads_served >= 400 / c->options.append_entries_max);
    cluster_free(&c);
}

/* At most one load for a peer; what cannot be read is asked for again later. */
static void test_load_is_asked_once_and_again_after_failure(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    unsigned leader = cluster_elect(c), slow = (leader + 1) % 3;
    struct sim_node *n = &c->nodes[leader];
    cluster_crash(c, slow);
    cluster_write_entries(c, leader, 300);
    c->late_loads = true;
    cluster_restart(c, slow);
    cluster_run(c, 10 * HEARTBEAT_TICKS);
    assert_int_equal(n->n_loads, 1);
    assert_true(uuid_equal(n->loads[0].peer, cluster_id(slow)));
    n->n_loads = 0;
    raft_loaded(n->core, cluster_id(slow), NULL, 0);
    cluster_pump(c, leader);
    assert_int_equal(n->n_loads, 0); /* not at once */
    cluster_run(c, 2 * HEARTBEAT_TICKS);
    assert_int_equal(n->n_loads, 1);
    c->late_loads = false;
    cluster_serve_loads(c, leader);
    cluster_run(c, 30);
    assert_int_equal(c->nodes[slow].applied, n->applied);
    cluster_free(&c);
}

/* What comes back from the disk is sent only if it is still our log. */
static void test_load_that_is_not_our_log_is_ignored(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    unsigned leader = cluster_elect(c), slow = (leader + 1) % 3;
    struct sim_node *n = &c->nodes[leader];
    cluster_crash(c, slow);
    cluster_write_entries(c, leader, 300);
    c->late_loads = true;
    cluster_restart(c, slow);
    cluster_run(c, 10 * HEARTBEAT_TICKS);
    assert_int_equal(n->n_loads, 1);
    uint64_t first = n->loads[0].first;
    cluster_drop_all(c);
    struct raft_entry *wrong = raft_entry_new(RAFT_ENTRY_NOOP, POS(999, first), 0);
    raft_loaded(n->core, cluster_id(slow), &wrong, 1);
    raft_entry_unref(&wrong);
    cluster_pump(c, leader);
    const struct raft_message *m = cluster_find(c, RAFT_APPEND, leader, slow);
    assert_true(!m || m->append.n_entries == 0);
    raft_loaded(n->core, cluster_id(slow), &n->log[first + 1], 1); /* not what was asked */
    raft_loaded(n->core, cluster_id(7), &n->log[first], 1);        /* nobody */
    cluster_pump(c, leader);
    m = cluster_find(c, RAFT_APPEND, leader, slow);
    assert_true(!m || m->append.n_entries == 0);
    cluster_free(&c);
}

/* ---- restart ---- */

static void test_restart_resumes_with_log_and_applies_the_rest(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    for (unsigned round = 0; round < 10; round++) {
        unsigned leader = cluster_elect(c);
        cluster_write_entries(c, leader, 20);
        for (unsigned i = 0; i < 3; i++)
            cluster_crash(c, i);
        cluster_drop_all(c);
        for (unsigned i = 0; i < 3; i++)
            cluster_restart(c, i);
    }
    unsigned leader = cluster_elect(c);
    cluster_run(c, 10);
    assert_true(c->n_committed >= 200);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(c->nodes[i].applied, cluster_status(c, leader).commit);
    cluster_free(&c);
}

static int restore(struct raft_pos pos, enum raft_entry_type type, uint64_t hard_term)
{
    struct raft_options o = cluster_default_options();
    o.id = cluster_id(0);
    struct raft *r = raft_new(&o);
    raft_restore_hard_state(r, (struct raft_hard_state){.term = hard_term}, 0);
    struct raft_entry *first = raft_entry_new(RAFT_ENTRY_NOOP, POS(2, 1), 0);
    assert_int_equal(raft_restore_entry(r, first), 0);
    struct raft_entry *e = raft_entry_new(type, pos, 0);
    int rc = raft_restore_entry(r, e);
    raft_entry_unref(&first);
    raft_entry_unref(&e);
    raft_free(&r);
    return rc;
}

static void test_restore_of_broken_log_is_corrupt(void **state)
{
    (void)state;
    assert_int_equal(restore(POS(2, 2), RAFT_ENTRY_NOOP, 5), 0);
    assert_int_equal(restore(POS(2, 3), RAFT_ENTRY_NOOP, 5), ERR_CORRUPT);
    assert_int_equal(restore(POS(2, 1), RAFT_ENTRY_NOOP, 5), ERR_CORRUPT);
    assert_int_equal(restore(POS(1, 2), RAFT_ENTRY_NOOP, 5), ERR_CORRUPT);
    assert_int_equal(restore(POS(6, 2), RAFT_ENTRY_NOOP, 5), ERR_CORRUPT);
    assert_int_equal(restore(POS(2, 2), RAFT_ENTRY_CONFIG, 5), ERR_CORRUPT);
}

/* A log that begins after a base; its configuration lies outside it (28, 29). */
static void test_restore_with_base_keeps_its_configuration(void **state)
{
    (void)state;
    struct raft_options o = cluster_default_options();
    o.id = cluster_id(0);
    struct raft *r = raft_new(&o);
    struct raft_base base = {.pos = POS(3, 10), .config_pos = POS(3, 10)};
    base.config = (struct raft_config){.n_members = 2, .auto_leave = true};
    base.config.members[0] = cluster_member(0);
    base.config.members[0].roles = RAFT_VOTER;
    base.config.members[1] = cluster_member(1);
    base.config.members[1].roles = RAFT_VOTER_OLD | RAFT_LEARNER_NEXT;
    raft_restore_base(r, &base);
    raft_restore_hard_state(r, (struct raft_hard_state){.term = 4, .commit = 10}, 10);
    struct raft_entry *e = raft_entry_new(RAFT_ENTRY_NOOP, POS(4, 11), 0);
    assert_int_equal(raft_restore_entry(r, e), 0);
    raft_entry_unref(&e);
    raft_start(r);
    raft_check(r);
    struct raft_pos pos;
    assert_true(raft_config_is_joint(raft_config(r, &pos)));
    assert_true(raft_pos_equal(pos, POS(3, 10)) && raft_config_is_committed(r));
    uint64_t term = 0;
    assert_int_equal(raft_term_at(r, 10, &term), 0);
    assert_int_equal(term, 3);
    assert_int_equal(raft_term_at(r, 9, &term), ERR_NOT_FOUND);
    assert_int_equal(raft_effects(r)->n_apply, 0);
    /* 19: an append that reaches back before the base is no conflict. */
    struct raft_message old = cluster_message(RAFT_APPEND, 1, 0, 4, 1);
    old.append.prev = POS(2, 5);
    assert_int_equal(raft_receive(r, &old), 0);
    const struct raft_effects *effects = raft_effects(r);
    assert_int_equal(effects->n_messages, 1);
    assert_true(effects->messages[0].append_reply.success);
    assert_int_equal(effects->messages[0].append_reply.match, 10);
    raft_free(&r);
}

/* A restart once kept the whole log in memory until the first effects were taken. */
static void test_restore_of_a_long_log_keeps_only_its_end_in_memory(void **state)
{
    (void)state;
    struct raft_options o = cluster_default_options();
    o.id = cluster_id(0);
    struct raft *r = raft_new(&o);
    raft_restore_hard_state(r, (struct raft_hard_state){.term = 1, .commit = 900}, 900);
    struct raft_entry *first = NULL;
    for (uint64_t i = 1; i <= 1000; i++) {
        struct raft_entry *e = raft_entry_new(RAFT_ENTRY_COMMAND, POS(1, i), 100);
        assert_int_equal(raft_restore_entry(r, e), 0);
        if (i == 1)
            first = raft_entry_ref(e);
        raft_entry_unref(&e);
    }
    assert_int_equal(first->refs.n, 1); /* ours alone */
    raft_entry_unref(&first);
    raft_start(r);
    raft_check(r);
    raft_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restore_of_a_long_log_keeps_only_its_end_in_memory),
        cmocka_unit_test(test_conflict_of_hundred_entries_ends_in_bounded_rounds),
        cmocka_unit_test(test_conflict_hint_that_does_not_help_still_makes_progress),
        cmocka_unit_test(test_old_term_entry_on_majority_is_not_committed),
        cmocka_unit_test(test_commit_of_single_voter_waits_for_its_own_disk),
        cmocka_unit_test(test_commit_without_the_leaders_own_disk),
        cmocka_unit_test(test_commit_needs_a_followers_disk),
        cmocka_unit_test(test_window_full_blocks_no_heartbeat_and_never_leaks),
        cmocka_unit_test(test_answer_that_claims_too_little_stalls_nothing),
        cmocka_unit_test(test_unreachable_peer_gets_one_append_per_heartbeat),
        cmocka_unit_test(test_append_limits_of_entries_and_bytes_hold),
        cmocka_unit_test(test_uncommitted_bytes_are_bounded_without_quorum),
        cmocka_unit_test(test_propose_to_follower_is_refused),
        cmocka_unit_test(test_slow_follower_gets_old_entries_by_load),
        cmocka_unit_test(test_load_is_asked_once_and_again_after_failure),
        cmocka_unit_test(test_load_that_is_not_our_log_is_ignored),
        cmocka_unit_test(test_restart_resumes_with_log_and_applies_the_rest),
        cmocka_unit_test(test_restore_of_broken_log_is_corrupt),
        cmocka_unit_test(test_restore_with_base_keeps_its_configuration),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
