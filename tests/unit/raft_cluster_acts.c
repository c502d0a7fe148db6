/* SPDX-License-Identifier: MIT
 * What tests do with the cluster as a whole: time passes, somebody is elected,
 * clients ask.
 */
#include "raft_cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

#include "base/bytes.h"

void cluster_run(struct cluster *c, unsigned ticks)
{
    while (ticks-- > 0) {
        for (unsigned i = 0; i < c->n_nodes; i++)
            cluster_tick(c, i);
        cluster_settle(c);
    }
}

void cluster_run_node(struct cluster *c, unsigned node, unsigned ticks)
{
    while (ticks-- > 0) {
        cluster_tick(c, node);
        cluster_settle(c);
    }
}

struct raft_status cluster_status(const struct cluster *c, unsigned node)
{
    return raft_status(c->nodes[node].core);
}

int cluster_leader(const struct cluster *c)
{
    int leader = -1;
    uint64_t term = 0;
    for (unsigned i = 0; i < c->n_nodes; i++) {
        if (!c->nodes[i].core)
            continue;
        struct raft_status s = raft_status(c->nodes[i].core);
        if (s.role == RAFT_LEADER && s.term > term) {
            leader = (int)i;
            term = s.term;
        }
    }
    return leader;
}

unsigned cluster_elect(struct cluster *c)
{
    cluster_settle(c);
    for (unsigned i = 0; i < 100 * ELECTION_TICKS_MAX; i++) {
        int leader = cluster_leader(c);
        if (leader >= 0 && raft_status(c->nodes[leader].core).in_own_term)
            return (unsigned)leader;
        cluster_run(c, 1);
    }
    fail_msg("no leader");
    return 0;
}

void cluster_elect_node(struct cluster *c, unsigned node)
{
    int leader = cluster_leader(c);
    if (leader == (int)node && cluster_status(c, node).in_own_term)
        return;
    if (leader >= 0 && leader != (int)node) {
        raft_step_down(c->nodes[leader].core);
        cluster_pump(c, (unsigned)leader);
    }
    cluster_settle(c);
    /* All forget that they heard a leader, nobody reaches its own timeout. */
    for (unsigned k = 0; k < c->n_nodes; k++)
        for (unsigned i = 0; i < ELECTION_TICKS_MIN && k != node; i++)
            if (c->nodes[k].core && cluster_status(c, k).role == RAFT_FOLLOWER)
                raft_tick(c->nodes[k].core);
    cluster_drop_all(c);
    for (unsigned i = 0; i < 4 * ELECTION_TICKS_MAX; i++) {
        struct raft_status s = cluster_status(c, node);
        if (s.role == RAFT_LEADER && s.in_own_term)
            return;
        cluster_run_node(c, node, 1);
    }
    fail_msg("node %u is not elected", node);
}

int cluster_propose(struct cluster *c, unsigned node, struct raft_pos *ret_pos)
{
    if (!c->nodes[node].core)
        return ERR_NOT_LEADER;
    struct raft_entry *e = raft_entry_new(RAFT_ENTRY_COMMAND, (struct raft_pos){0, 0}, 8);
    bytes_put_be(e->data, ++c->next_ctx, 8);
    int rc = raft_propose(c->nodes[node].core, &e, 1, ret_pos);
    raft_entry_unref(&e); /* taken on success: NULL then */
    cluster_pump(c, node);
    return rc;
}

void cluster_write_entries(struct cluster *c, unsigned node, unsigned n)
{
    struct raft_pos pos;
    while (n-- > 0)
        assert_int_equal(cluster_propose(c, node, &pos), 0);
    cluster_settle(c);
}

struct raft_change cluster_wish(enum raft_change_type type, unsigned node)
{
    return (struct raft_change){type, cluster_member(node)};
}

int cluster_change(struct cluster *c, unsigned node, const struct raft_change changes[], unsigned n)
{
    struct raft_pos pos;
    int rc = raft_change_config(c->nodes[node].core, changes, n, &pos);
    cluster_pump(c, node);
    return rc;
}

int cluster_transfer(struct cluster *c, unsigned node, struct uuid to)
{
    int rc = raft_transfer(c->nodes[node].core, to);
    cluster_pump(c, node);
    return rc;
}

static uint64_t start_read(struct cluster *c, unsigned node)
{
    struct sim_node *n = &c->nodes[node];
    if (n->n_reads == CLUSTER_READS) { /* forget the oldest half */
        memmove(n->reads, n->reads + CLUSTER_READS / 2, sizeof n->reads / 2);
        n->n_reads /= 2;
    }
    uint64_t ctx = ++c->next_ctx;
    n->reads[n->n_reads++] = (struct sim_read){.ctx = ctx, .at_least = c->n_committed};
    return ctx;
}

uint64_t cluster_read(struct cluster *c, unsigned node)
{
    uint64_t ctx = start_read(c, node);
    raft_read(c->nodes[node].core, ctx);
    cluster_pump(c, node);
    return ctx;
}

uint64_t cluster_read_lease(struct cluster *c, unsigned node)
{
    uint64_t ctx = start_read(c, node);
    raft_read_lease(c->nodes[node].core, ctx);
    cluster_pump(c, node);
    return ctx;
}

const struct sim_read *cluster_read_result(const struct cluster *c, unsigned node, uint64_t ctx)
{
    const struct sim_node *n = &c->nodes[node];
    for (unsigned i = 0; i < n->n_reads; i++)
        if (n->reads[i].ctx == ctx)
            return n->reads[i].done ? &n->reads[i] : NULL;
    return NULL;
}
