/* SPDX-License-Identifier: MIT
 * raft/: appends as they are received, by hand. Numbers are items of PITFALLS part 1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "raft_cluster.h"

/* ---- appends by hand, from node 0 to node 1 ---- */

enum { BATCH_MAX = 64 };

struct batch {
    struct raft_message m;
    struct raft_entry *entries[BATCH_MAX];
};

/* Entries after prev, one for each term given (0 ends them). */
static struct batch batch(uint64_t leader_term, uint64_t seq, struct raft_pos prev, uint64_t commit,
                          const uint64_t terms[])
{
    struct batch b = {.m = cluster_message(RAFT_APPEND, 0, 1, leader_term, seq)};
    b.m.append.prev = prev;
    b.m.append.commit = commit;
    for (; terms && terms[b.m.append.n_entries]; b.m.append.n_entries++) {
        unsigned i = b.m.append.n_entries;
        struct raft_pos pos = {terms[i], prev.index + i + 1};
        b.entries[i] = raft_entry_new(RAFT_ENTRY_NOOP, pos, 0);
    }
    return b;
}

static int receive(struct cluster *c, struct batch *b)
{
    b->m.append.entries = b->entries;
    int rc = cluster_receive(c, 1, &b->m);
    for (unsigned i = 0; i < b->m.append.n_entries; i++)
        raft_entry_unref(&b->entries[i]);
    return rc;
}

static int append(struct cluster *c, uint64_t leader_term, struct raft_pos prev, uint64_t commit,
                  const uint64_t terms[])
{
    static uint64_t seq = 1000;
    struct batch b = batch(leader_term, ++seq, prev, commit, terms);
    return receive(c, &b);
}

/* The answer of node 1 to the last append, taken off the network. */
static struct raft_message answer(struct cluster *c)
{
    const struct raft_message *m = cluster_find(c, RAFT_APPEND_REPLY, 1, 0);
    assert_non_null(m);
    struct raft_message copy = *m;
    cluster_drop_all(c);
    return copy;
}

#define POS(t, i)  ((struct raft_pos){t, i})
#define TERMS(...) ((const uint64_t[]){__VA_ARGS__, 0})

/* Two nodes that know of no cluster; node 0 only lends its name. Commits come
 * from our hand, so the oracle of committed entries must not be asked: nothing
 * here is applied beyond what these tests say. */
static struct cluster *pair(void)
{
    struct cluster *c = cluster_new(1, 2, 0);
    c->by_hand = true;
    return c;
}

/* 16: a repeated or reordered append deletes nothing. */
static void test_append_repeated_or_late_truncates_nothing(void **state)
{
    (void)state;
    struct cluster *c = pair();
    assert_int_equal(append(c, 2, POS(0, 0), 0, TERMS(1, 1, 2, 2, 2)), 0);
    assert_int_equal(append(c, 2, POS(0, 0), 0, TERMS(1, 1)), 0);
    assert_int_equal(cluster_status(c, 1).last.index, 5);
    assert_int_equal(append(c, 2, POS(1, 1), 0, TERMS(1, 2)), 0);
    assert_int_equal(cluster_status(c, 1).last.index, 5);
    assert_int_equal(cluster_status(c, 1).durable, 5);
    /* The next leader begins anew and sends what is there already: nothing is written again. */
    assert_int_equal(append(c, 3, POS(0, 0), 0, NULL), 0);
    c->late_disk[1] = true;
    assert_int_equal(append(c, 3, POS(1, 1), 0, TERMS(1, 2)), 0);
    assert_null(c->nodes[1].writing);
    assert_int_equal(cluster_status(c, 1).last.index, 5);
    assert_int_equal(cluster_status(c, 1).durable, 5);
    cluster_free(&c);
}

static void test_append_conflict_truncates_from_there(void **state)
{
    (void)state;
    struct cluster *c = pair();
    assert_int_equal(append(c, 2, POS(0, 0), 0, TERMS(1, 1, 2, 2, 2)), 0);
    assert_int_equal(append(c, 3, POS(1, 1), 0, TERMS(1, 3)), 0);
    assert_true(raft_pos_equal(cluster_status(c, 1).last, POS(3, 3)));
    assert_int_equal(c->nodes[1].log_last, 3);
    assert_int_equal(c->nodes[1].log[3]->pos.term, 3);
    uint64_t term = 0;
    assert_int_equal(raft_term_at(c->nodes[1].core, 2, &term), 0);
    assert_int_equal(term, 1);
    assert_int_equal(raft_term_at(c->nodes[1].core, 4, &term), ERR_NOT_FOUND);
    cluster_free(&c);
}

/* 17: a stale entry 3 stands where the leader's commit index points. */
static void test_commit_does_not_reach_beyond_verified_prefix(void **state)
{
    (void)state;
    struct cluster *c = pair();
    assert_int_equal(append(c, 1, POS(0, 0), 0, TERMS(1, 1, 1)), 0);
    assert_int_equal(append(c, 2, POS(1, 1), 3, TERMS(1)), 0); /* [2], and 3 is committed */
    assert_int_equal(cluster_status(c, 1).commit, 2);
    assert_int_equal(append(c, 2, POS(0, 0), 3, NULL), 0); /* a heartbeat that knows nothing */
    assert_int_equal(cluster_status(c, 1).commit, 2);
    assert_int_equal(append(c, 2, POS(1, 2), 3, TERMS(2)), 0);
    assert_int_equal(cluster_status(c, 1).commit, 3);
    cluster_free(&c);
}

/* 18: an append of long ago, before the commit index, is no conflict. */
static void test_append_before_commit_index_is_no_conflict(void **state)
{
    (void)state;
    struct cluster *c = pair();
    assert_int_equal(append(c, 2, POS(0, 0), 4, TERMS(1, 1, 2, 2)), 0);
    assert_int_equal(append(c, 2, POS(1, 1), 4, TERMS(1)), 0);
    assert_true(answer(c).append_reply.success);
    assert_int_equal(cluster_status(c, 1).last.index, 4);
    /* Something else in place of what is committed can only be a mistake. */
    assert_int_equal(append(c, 3, POS(1, 1), 4, TERMS(3)), ERR_INVALID);
    assert_int_equal(append(c, 3, POS(2, 2), 4, NULL), ERR_INVALID);
    assert_int_equal(cluster_status(c, 1).term, 2);
    assert_int_equal(cluster_status(c, 1).last.index, 4);
    cluster_free(&c);
}

static void test_append_malformed_is_invalid_and_changes_nothing(void **state)
{
    (void)state;
    struct cluster *c = pair();
    assert_int_equal(append(c, 2, POS(0, 0), 0, TERMS(1, 2)), 0);
    assert_int_equal(append(c, 5, POS(2, 2), 0, TERMS(1)), ERR_INVALID); /* term goes back */
    assert_int_equal(append(c, 5, POS(2, 2), 0, TERMS(6)), ERR_INVALID); /* of the future */
    assert_int_equal(append(c, 5, POS(2, 0), 0, NULL), ERR_INVALID);
    assert_int_equal(append(c, 5, POS(0, 2), 0, NULL), ERR_INVALID);
    struct batch b = batch(5, 1, POS(2, 2), 0, TERMS(5, 5));
    b.entries[1]->pos.index++; /* a gap */
    assert_int_equal(receive(c, &b), ERR_INVALID);
    b = batch(5, 1, POS(2, 2), 0, TERMS(5));
    b.entries[0]->type = RAFT_ENTRY_CONFIG; /* of no bytes */
    assert_int_equal(receive(c, &b), ERR_INVALID);
    assert_int_equal(cluster_status(c, 1).term, 2);
    assert_int_equal(cluster_status(c, 1).last.index, 2);
    cluster_free(&c);
}

/* The answer claims what is durable, when it is; heartbeats are answered at once. */
static void test_append_reply_waits_for_disk_and_heartbeat_does_not(void **state)
{
    (void)state;
    struct cluster *c = pair();
    c->late_disk[1] = true;
    assert_int_equal(append(c, 1, POS(0, 0), 0, TERMS(1)), 0);
    assert_null(cluster_find(c, RAFT_APPEND_REPLY, 1, 0));
    cluster_write(c, 1, 1);
    assert_int_equal(answer(c).append_reply.match, 1);
    assert_int_equal(append(c, 1, POS(1, 1), 0, TERMS(1, 1)), 0);
    assert_int_equal(append(c, 1, POS(1, 3), 0, TERMS(1)), 0);
    assert_int_equal(c->n_in_flight, 0);
    assert_int_equal(append(c, 1, POS(1, 1), 0, NULL), 0);
    assert_int_equal(answer(c).append_reply.match, 1);
    cluster_write(c, 1, 1);
    assert_int_equal(answer(c).append_reply.match, 3);
    cluster_write(c, 1, 1);
    assert_int_equal(answer(c).append_reply.match, 4);
    cluster_free(&c);
}

/* Each of them, with its own seq, though one write made all durable. */
static void test_append_every_request_has_its_own_answer(void **state)
{
    (void)state;
    struct cluster *c = pair();
    c->late_disk[1] = true;
    for (uint64_t i = 0; i < 3; i++) {
        struct batch b = batch(1, 500 + i, POS(i ? 1 : 0, i), 0, TERMS(1));
        assert_int_equal(receive(c, &b), 0);
    }
    cluster_write(c, 1, 9);
    assert_int_equal(c->n_in_flight, 3);
    const struct sim_message *m = c->in_flight;
    for (uint64_t i = 0; i < 3; i++, m = m->next) {
        assert_int_equal(m->m.seq, 500 + i);
        assert_true(m->m.append_reply.success);
    }
    cluster_free(&c);
}

/* The leader of an old term never hears that its entries are durable. */
static void test_append_reply_held_across_terms_turns_into_refusal(void **state)
{
    (void)state;
    struct cluster *c = pair();
    c->late_disk[1] = true;
    assert_int_equal(append(c, 1, POS(0, 0), 0, TERMS(1)), 0);
    struct raft_message ask = cluster_message(RAFT_VOTE, 0, 1, 2, 77);
    ask.vote.last = POS(1, 1);
    /* stickiness passes */
    for (unsigned i = 0; i < ELECTION_TICKS_MIN; i++)
        cluster_tick(c, 1);
    assert_int_equal(cluster_receive(c, 1, &ask), 0);
    cluster_write(c, 1, 9);
    struct raft_message refused = *cluster_find(c, RAFT_APPEND_REPLY, 1, 0);
    assert_false(refused.append_reply.success);
    assert_int_equal(refused.term, 2);
    assert_true(cluster_find(c, RAFT_VOTE_REPLY, 1, 0)->vote_reply.granted);
    cluster_free(&c);
}

/* 21: the write of an entry completes after the entry was overwritten. The old
 * completion must not vouch for the new entry. */
static void test_durable_index_survives_overwriting_aba(void **state)
{
    (void)state;
    struct cluster *c = pair();
    c->late_disk[1] = true;
    assert_int_equal(append(c, 1, POS(0, 0), 0, TERMS(1, 1, 1)), 0); /* record 1: 1..3 of term 1 */
    assert_int_equal(append(c, 2, POS(1, 1), 0, TERMS(2, 2)), 0);    /* record 2: 2..3 of term 2 */
    cluster_write(c, 1, 1);
    assert_int_equal(cluster_status(c, 1).durable, 1);
    assert_int_equal(c->n_in_flight, 0);
    assert_int_equal(append(c, 3, POS(1, 1), 0, TERMS(1, 1, 1)), 0); /* ABA: term 1 again */
    cluster_write(c, 1, 1);
    assert_int_equal(cluster_status(c, 1).durable, 1);
    cluster_write(c, 1, 1);
    assert_int_equal(cluster_status(c, 1).durable, 4);
    assert_int_equal(c->nodes[1].log_last, 4);
    cluster_free(&c);
}

/* The hint lies below what was refused, however the logs look. */
static void test_refusal_hint_lies_below_refused_place(void **state)
{
    (void)state;
    struct cluster *c = pair();
    assert_int_equal(append(c, 3, POS(0, 0), 0, TERMS(1, 1, 2, 2, 3, 3)), 0);
    static const struct {
        struct raft_pos prev, hint;
    } cases[] = {
        {{4, 9}, {3, 6}}, /* beyond the end */
        {{4, 5}, {2, 4}}, /* another term there: what is before may still match */
        {{2, 6}, {2, 4}}, /* all of term 3 is skipped at once */
        {{1, 6}, {1, 2}},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cluster_drop_all(c);
        assert_int_equal(append(c, 5 + i, cases[i].prev, 0, NULL), 0);
        struct raft_message m = answer(c);
        assert_false(m.append_reply.success);
        assert_int_equal(m.append_reply.rejected, cases[i].prev.index);
        assert_true(raft_pos_equal(m.append_reply.hint, cases[i].hint));
    }
    cluster_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append_repeated_or_late_truncates_nothing),
        cmocka_unit_test(test_append_conflict_truncates_from_there),
        cmocka_unit_test(test_commit_does_not_reach_beyond_verified_prefix),
        cmocka_unit_test(test_append_before_commit_index_is_no_conflict),
        cmocka_unit_test(test_append_malformed_is_invalid_and_changes_nothing),
        cmocka_unit_test(test_append_reply_waits_for_disk_and_heartbeat_does_not),
        cmocka_unit_test(test_append_every_request_has_its_own_answer),
        cmocka_unit_test(test_append_reply_held_across_terms_turns_into_refusal),
        cmocka_unit_test(test_durable_index_survives_overwriting_aba),
        cmocka_unit_test(test_refusal_hint_lies_below_refused_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
