/* SPDX-License-Identifier: MIT
 * The promises of Raft.
 */
#include "raft_oracle.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#include "base/bytes.h"
#include "raft/quorum.h"

static uint64_t payload_of(const struct raft_entry *e)
{
    return e->type == RAFT_ENTRY_COMMAND ? bytes_get_be(e->data, 8) : 0;
}

static bool on_disk(const struct sim_node *n, struct raft_pos pos)
{
    if (pos.index <= n->base.pos.index)
        return true; /* committed, for its state machine is durable */
    return pos.index <= n->log_last && n->log[pos.index]->pos.term == pos.term;
}

/* Whatever is committed for the first time is on the disks of a quorum. */
static void check_on_quorum(struct cluster *c, unsigned node, struct raft_pos pos)
{
    struct raft_pos config_pos;
    const struct raft_config *config = raft_config(c->nodes[node].core, &config_pos);
    uint64_t has[LIMIT_MEMBERS] = {0};
    for (unsigned i = 0; i < config->n_members; i++) {
        int member = cluster_node(config->members[i].id);
        has[i] = on_disk(&c->nodes[member], pos) ? pos.index : 0;
    }
    assert_true(raft_quorum_index(config, has) >= pos.index);
}

void oracle_applied(struct cluster *c, unsigned node, const struct raft_entry *e)
{
    struct sim_node *n = &c->nodes[node];
    uint64_t i = e->pos.index;
    assert_int_equal(i, n->applied + 1);
    n->applied = i;
    if (c->by_hand)
        return;
    if (i > c->n_committed) {
        assert_int_equal(i, c->n_committed + 1);
        assert_true(i <= CLUSTER_LOG);
        struct raft_status s = raft_status(n->core);
        assert_int_equal(s.role, RAFT_LEADER); /* the leader knows first */
        check_on_quorum(c, node, e->pos);
        c->committed[i].term = e->pos.term;
        c->committed[i].type = (uint8_t)e->type;
        c->committed[i].payload = payload_of(e);
        c->committed[i].known_in_term = s.term;
        c->n_committed = i;
    }
    assert_int_equal(c->committed[i].term, e->pos.term);
    assert_int_equal(c->committed[i].type, e->type);
    assert_int_equal(c->committed[i].payload, payload_of(e));
}

void oracle_sent(struct cluster *c, unsigned node, const struct raft_message *m)
{
    const struct sim_node *n = &c->nodes[node];
    assert_true(uuid_equal(m->from, cluster_id(node)));
    assert_false(uuid_equal(m->to, m->from));
    if (m->type == RAFT_VOTE_REPLY && m->vote_reply.granted && !m->vote_reply.pre) {
        assert_int_equal(n->hard_state.term, m->term);
        assert_true(uuid_equal(n->hard_state.vote, m->to));
    }
    if (m->type == RAFT_APPEND_REPLY) {
        if (m->append_reply.success)
            assert_true(n->hard_state.term == m->term && n->log_last >= m->append_reply.match);
        else
            c->nodes[node].n_appends_rejected++;
    }
    if (m->type == RAFT_SNAPSHOT_REPLY && m->snapshot_reply.installed)
        assert_true(n->log_last >= m->snapshot_reply.match); /* PITFALLS 30 */
    if (m->type == RAFT_APPEND)
        assert_true(m->append.commit <= raft_status(n->core).commit);
}

/* At most one leader per term; it has every entry that was committed in an
 * earlier term or its own. */
static void check_leader(struct cluster *c, unsigned node)
{
    struct raft *core = c->nodes[node].core;
    struct raft_status s = raft_status(core);
    if (s.role != RAFT_LEADER)
        return;
    assert_true(s.term < CLUSTER_TERMS);
    int *leader = &c->leader_of_term[s.term];
    if (*leader == (int)node)
        return;
    assert_int_equal(*leader, -1);
    *leader = (int)node;
    assert_true(s.base.index <= c->n_committed);
    for (uint64_t i = s.base.index > 0 ? s.base.index : 1; i <= c->n_committed; i++) {
        if (c->committed[i].known_in_term > s.term)
            break;
        uint64_t term = 0;
        assert_int_equal(raft_term_at(core, i, &term), 0);
        assert_int_equal(term, c->committed[i].term);
    }
}

/* What a leader commits ends with an entry of its own term (dissertation 3.6.2, PITFALLS 15):
 * seen at once, where the schedule that makes it matter takes three leaders more. */
static void check_commits_own_term(const struct cluster *c, unsigned node)
{
    struct raft_status s = raft_status(c->nodes[node].core);
    bool is_its = s.role == RAFT_LEADER && s.commit == c->n_committed && s.commit > 0 &&
                  c->committed[s.commit].known_in_term == s.term;
    if (is_its)
        assert_int_equal(c->committed[s.commit].term, s.term);
}

/* Same index and term: same everything up to there. Below the smaller commit
 * index the logs were compared when it was reached. */
static void check_log_matching(const struct raft *a, const struct raft *b)
{
    struct raft_status sa = raft_status(a), sb = raft_status(b);
    uint64_t low = sa.commit < sb.commit ? sa.commit : sb.commit;
    low = low > sa.base.index ? low : sa.base.index;
    low = low > sb.base.index ? low : sb.base.index;
    uint64_t high = sa.last.index < sb.last.index ? sa.last.index : sb.last.index;
    bool met = false;
    for (uint64_t i = high; i > low; i--) {
        uint64_t ta = 0, tb = 0;
        assert_int_equal(raft_term_at(a, i, &ta), 0);
        assert_int_equal(raft_term_at(b, i, &tb), 0);
        assert_true(!met || ta == tb);
        met = met || ta == tb;
    }
}

/* No disk is said to have forgotten anything that has not. */
static void check_suspicions(const struct cluster *c, const struct raft *core)
{
    struct raft_peer_status peer;
    for (unsigned i = 0; i < c->n_nodes; i++)
        if (raft_peer(core, cluster_id(i), &peer) == 0 && peer.lost_data)
            assert_true(c->nodes[i].rolled_back);
}

void cluster_check(struct cluster *c, unsigned node)
{
    const struct raft *core = c->nodes[node].core;
    raft_check(core);
    check_leader(c, node);
    check_commits_own_term(c, node);
    check_suspicions(c, core);
    for (unsigned i = 0; i < c->n_nodes; i++)
        if (i != node && c->nodes[i].core)
            check_log_matching(core, c->nodes[i].core);
}
