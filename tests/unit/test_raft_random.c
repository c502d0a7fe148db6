/* SPDX-License-Identifier: MIT
 * raft/: clusters under random faults of network, disks and processes, with
 * changing membership. Every step is checked (raft_oracle.c); then everything
 * heals and the cluster must work again.
 *
 * RAFT_SEED=n runs that seed alone; RAFT_SEEDS=n runs so many, from RAFT_SEED on.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

#include "raft_cluster.h"

enum { SEEDS = 300, STEPS = 24000, POOL = 6, SEED_WALL_S = 120 };

/* How often what happens, in thousandths of the steps. */
struct weather {
    unsigned drop, duplicate, reorder, crash, cut, change, transfer, skip_pump, hunt, compact;
};

struct tally {
    unsigned elections, crashes, changes, transfers, joint, committed, reads, loads, refusals,
        pieces, installed;
};

static unsigned node_of(struct cluster *c)
{
    return (unsigned)rng_range(&c->rng, 0, c->n_nodes - 1);
}

static bool chance(struct cluster *c, unsigned thousandths)
{
    return rng_range(&c->rng, 0, 999) < thousandths;
}

static struct weather random_weather(struct cluster *c)
{
    bool storm = chance(c, 300);
    return (struct weather){
        .drop = (unsigned)rng_range(&c->rng, 0, storm ? 300 : 30),
        .duplicate = (unsigned)rng_range(&c->rng, 0, 100),
        .reorder = (unsigned)rng_range(&c->rng, 0, 500),
        .crash = (unsigned)rng_range(&c->rng, 0, 6),
        .cut = (unsigned)rng_range(&c->rng, 0, 6),
        .change = (unsigned)rng_range(&c->rng, 0, 15),
        .transfer = (unsigned)rng_range(&c->rng, 0, 6),
        .skip_pump = (unsigned)rng_range(&c->rng, 0, 300),
        .compact = chance(c, 700) ? (unsigned)rng_range(&c->rng, 0, 30) : 0,
        .hunt = chance(c, 500) ? (unsigned)rng_range(&c->rng, 5, 50) : 0,
    };
}

static void step_network(struct cluster *c, const struct weather *w)
{
    if (c->n_in_flight == 0)
        return;
    unsigned k = chance(c, w->reorder) ? (unsigned)rng_range(&c->rng, 0, c->n_in_flight - 1) : 0;
    if (chance(c, w->duplicate))
        cluster_duplicate(c, k);
    if (chance(c, w->drop))
        cluster_drop(c, k);
    else
        cluster_deliver(c, k);
}

static void step_cut(struct cluster *c)
{
    unsigned kind = (unsigned)rng_range(&c->rng, 0, 4);
    if (kind <= 1)
        cluster_heal(c);
    else if (kind == 2)
        cluster_cut_off(c, node_of(c));
    else if (kind == 3)
        c->cut[node_of(c)][node_of(c)] = true; /* one way */
    else
        for (unsigned i = 0, side = (unsigned)rng_next(&c->rng); i < c->n_nodes; i++)
            for (unsigned k = 0; k < c->n_nodes; k++)
                c->cut[i][k] = (side >> i & 1) != (side >> k & 1);
}

static void step_change(struct cluster *c, struct tally *tally)
{
    int leader = cluster_leader(c);
    if (leader < 0)
        return;
    struct raft_change changes[3];
    unsigned n = (unsigned)rng_range(&c->rng, 1, 3);
    for (unsigned i = 0; i < n; i++) {
        /* More voters than others, so that there is mostly somebody left. */
        static const enum raft_change_type types[] = {RAFT_ADD_VOTER, RAFT_ADD_VOTER,
                                                      RAFT_ADD_LEARNER, RAFT_REMOVE};
        changes[i] = cluster_wish(types[rng_range(&c->rng, 0, 3)], node_of(c));
    }
    if (cluster_change(c, (unsigned)leader, changes, n) != 0)
        return;
    struct raft_pos pos;
    tally->changes++;
    tally->joint += raft_config_is_joint(raft_config(c->nodes[leader].core, &pos));
}

static void step_transfer(struct cluster *c, struct tally *tally)
{
    int leader = cluster_leader(c);
    struct uuid to = chance(c, 500) ? UUID_ZERO : cluster_id(node_of(c));
    if (leader < 0)
        return;
    tally->transfers += cluster_transfer(c, (unsigned)leader, to) == 0;
}

/* Faster than messages are, and not for this node; -1: for all. */
static void let_time_pass(struct cluster *c, int stopped)
{
    unsigned ticks = (unsigned)rng_range(&c->rng, 1, ELECTION_TICKS_MIN);
    for (unsigned i = 0; i < c->n_nodes; i++) {
        if ((int)i == stopped)
            continue;
        for (unsigned k = 0; k < ticks && c->nodes[i].core; k++)
            raft_tick(c->nodes[i].core);
        if (c->nodes[i].core)
            cluster_pump(c, i);
        if (c->nodes[i].core && chance(c, 500))
            cluster_write(c, i, UINT32_MAX);
    }
}

/* Whoever leads is in for it: the old schedules all need several leaders in a row,
 * each gone before its entries are everywhere. */
static void step_hunt(struct cluster *c, struct tally *tally)
{
    int leader = cluster_leader(c);
    if (leader < 0) {
        let_time_pass(c, -1);
        return;
    }
    switch (rng_range(&c->rng, 0, 3)) {
    case 0:
        cluster_crash(c, (unsigned)leader);
        tally->crashes++;
        break;
    case 1:
        cluster_heal(c);
        cluster_cut_off(c, (unsigned)leader);
        break;
    case 2: /* cut off and slow, and it is asked what it knows */
        cluster_cut_off(c, (unsigned)leader);
        let_time_pass(c, leader);
        let_time_pass(c, leader);
        break;
    default:
        cluster_heal(c);
    }
}

/* Whoever believes to lead. */
static void step_read_at_leaders(struct cluster *c)
{
    for (unsigned i = 0; i < c->n_nodes; i++)
        if (c->nodes[i].core && cluster_status(c, i).role == RAFT_LEADER)
            (void)cluster_read(c, i);
}

static void step_node(struct cluster *c, const struct weather *w, struct tally *tally)
{
    unsigned node = node_of(c);
    struct raft *core = c->nodes[node].core;
    if (!core) {
        if (chance(c, 100))
            cluster_restart(c, node);
        return;
    }
    if (chance(c, w->crash)) {
        cluster_crash(c, node);
        tally->crashes++;
        return;
    }
    if (chance(c, w->compact)) {
        struct raft_status s = raft_status(core);
        cluster_compact(c, node, rng_range(&c->rng, s.base.index, s.applied));
        return;
    }
    switch (rng_range(&c->rng, 0, 8)) {
    case 0:
        cluster_write(c, node, (unsigned)rng_range(&c->rng, 1, 3));
        break;
    case 1: {
        struct raft_pos pos;
        int leader = cluster_leader(c);
        if (c->n_committed < CLUSTER_LOG / 4)
            (void)cluster_propose(c, leader >= 0 ? (unsigned)leader : node, &pos);
        break;
    }
    case 2:
        if (chance(c, 300))
            (void)cluster_read(c, node);
        break;
    case 3:
        if (chance(c, 30))
            raft_unreachable(core, cluster_id(node_of(c)));
        cluster_serve_loads(c, node);
        break;
    default:
        raft_tick(core);
        if (!chance(c, w->skip_pump)) /* else: several inputs, then their effects */
            cluster_pump(c, node);
    }
}

static void storm(struct cluster *c, struct tally *tally)
{
    struct weather w = random_weather(c);
    for (unsigned i = 0; i < STEPS; i++) {
        if (i % 1000 == 999)
            w = random_weather(c);
        if (chance(c, w.cut))
            step_cut(c);
        if (chance(c, w.hunt))
            step_hunt(c, tally);
        if (chance(c, w.hunt))
            step_read_at_leaders(c);
        if (chance(c, w.change))
            step_change(c, tally);
        if (chance(c, w.transfer))
            step_transfer(c, tally);
        if (chance(c, 600))
            step_network(c, &w);
        else
            step_node(c, &w, tally);
        while (c->n_in_flight > 200)
            cluster_drop(c, 0);
    }
}

static bool all_agree(const struct cluster *c, unsigned leader)
{
    struct raft_pos pos;
    const struct raft_config *config = raft_config(c->nodes[leader].core, &pos);
    struct raft_status s = raft_status(c->nodes[leader].core);
    if (!s.in_own_term || s.commit != s.last.index || raft_config_is_joint(config))
        return false;
    for (unsigned i = 0; i < config->n_members; i++)
        if (c->nodes[cluster_node(config->members[i].id)].applied != s.commit)
            return false;
    return true;
}

/* With nothing in the way there is a leader soon, it takes writes and reads, and all have all. */
static void require_recovery(struct cluster *c)
{
    cluster_heal(c);
    c->late_loads = false;
    for (unsigned i = 0; i < c->n_nodes; i++) {
        c->late_disk[i] = false;
        if (!c->nodes[i].core)
            cluster_restart(c, i);
        cluster_serve_loads(c, i);
        cluster_write(c, i, UINT32_MAX);
    }
    cluster_run(c, 20 * ELECTION_TICKS_MAX);
    int leader = cluster_leader(c);
    assert_true(leader >= 0);
    assert_true(all_agree(c, (unsigned)leader)); /* without another entry to help */
    uint64_t ctx = cluster_read(c, (unsigned)leader);
    struct raft_pos pos;
    assert_int_equal(cluster_propose(c, (unsigned)leader, &pos), 0);
    cluster_run(c, 4 * ELECTION_TICKS_MAX);
    assert_true(all_agree(c, (unsigned)leader));
    assert_non_null(cluster_read_result(c, (unsigned)leader, ctx));
    assert_int_equal(cluster_read_result(c, (unsigned)leader, ctx)->err, 0);
}

static void add_up(const struct cluster *c, struct tally *tally)
{
    for (unsigned term = 0; term < CLUSTER_TERMS; term++)
        tally->elections += c->leader_of_term[term] >= 0;
    tally->committed += (unsigned)c->n_committed;
    for (unsigned i = 0; i < c->n_nodes; i++) {
        tally->loads += c->nodes[i].n_loads_served;
        tally->refusals += c->nodes[i].n_appends_rejected;
        tally->pieces += c->nodes[i].n_pieces;
        tally->installed += c->nodes[i].n_installed;
        for (unsigned k = 0; k < c->nodes[i].n_reads; k++)
            tally->reads += c->nodes[i].reads[k].done && c->nodes[i].reads[k].err == 0;
    }
}

static void run_seed(uint64_t seed, struct tally *tally)
{
    struct raft_options o = cluster_default_options();
    struct rng rng = {seed};
    o.cache_bytes = rng_range(&rng, 0, 1024);
    o.append_entries_max = (unsigned)rng_range(&rng, 1, 16);
    o.window = (unsigned)rng_range(&rng, 1, 4);
    unsigned voters = (unsigned)rng_range(&rng, 3, 5);
    struct cluster *c = cluster_new_with(seed, POOL, voters, &o);
    (void)cluster_elect(c);
    c->late_loads = true;
    for (unsigned i = 0; i < c->n_nodes; i++)
        c->late_disk[i] = true;
    storm(c, tally);
    require_recovery(c);
    add_up(c, tally);
    cluster_free(&c);
}

static uint64_t running; /* seed; 0: none */

static int name_failed_seed(void **state)
{
    (void)state;
    if (running)
        print_message("failed: RAFT_SEED=%llu\n", (unsigned long long)running);
    return 0;
}

/* A failed assertion of the product, or a seed without end. */
static void name_fatal_seed(int number)
{
    signal(number, SIG_DFL);
    (void)name_failed_seed(NULL);
    fflush(NULL);
    raise(number);
}

static void test_random_faults_break_no_promise_and_heal(void **state)
{
    (void)state;
    const char *one = getenv("RAFT_SEED"), *many = getenv("RAFT_SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1;
    uint64_t n = many ? strtoull(many, NULL, 10) : one ? 1 : SEEDS;
    struct tally t = {0};
    signal(SIGABRT, name_fatal_seed);
    signal(SIGALRM, name_fatal_seed);
    for (uint64_t seed = first; seed < first + n; seed++) {
        running = seed;
        alarm(SEED_WALL_S);
        run_seed(seed, &t);
    }
    alarm(0);
    print_message("%u elections, %u crashes, %u changes (%u joint), %u transfers, %u entries, "
                  "%u reads, %u loads, %u refusals, %u pieces of snapshots, %u installed\n",
                  t.elections, t.crashes, t.changes, t.joint, t.transfers, t.committed, t.reads,
                  t.loads, t.refusals, t.pieces, t.installed);
    running = 0;
    if (n < SEEDS)
        return;
    /* A run in which hardly anything happens proves nothing. */
    assert_true(t.elections > 5 * n / 2 && t.crashes > n && t.changes > n && t.joint > n / 2);
    assert_true(t.transfers > n);
    assert_true(t.committed > 50 * n && t.reads > n && t.loads > n && t.refusals > n);
    assert_true(t.pieces > 2 * n && t.installed > n / 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_random_faults_break_no_promise_and_heal, name_failed_seed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
