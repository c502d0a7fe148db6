/* SPDX-License-Identifier: MIT
 * The operator: makes the cluster, adds nodes as learners, changes who votes,
 * replaces nodes that lost their disk. One command at a time; whom it wants as
 * voters it chooses among those that still have their disk.
 */
#include "sim.h"

#include <string.h>

#include "base/mem.h"

#define QUIET_MS        30000 /* after a command's deadline no copy of it is about any more */
#define PATIENCE_MS     8000  /* an operator waits at most so long */
#define LAST_COMMAND_MS 12000 /* before the end of the storm */
#define STALE_MS        5000  /* a leader may take itself for one so long */

static int some_node(struct sim *s)
{
    unsigned start = (unsigned)sim_random(s, 0, SIM_NODES - 1);
    for (unsigned i = 0; i < SIM_NODES; i++)
        if (is_up(s, (start + i) % SIM_NODES) &&
            !uuid_is_zero(s->nodes[(start + i) % SIM_NODES].disk.identity.cluster))
            return (int)((start + i) % SIM_NODES);
    return -1;
}

static void command(struct sim *s, unsigned node, struct node_request *r)
{
    uint64_t patience_ms = sim_random(s, 1000, PATIENCE_MS);
    r->deadline_ms = process_now_ms(s, node) + patience_ms;
    s->admin_calls++;
    uint64_t quiet_at_us = s->now_us + (patience_ms + QUIET_MS) * SIM_MS;
    if (quiet_at_us > s->admin_quiet_at_us)
        s->admin_quiet_at_us = quiet_at_us;
    call_submit(s, node, r);
}

void operator_found(struct sim *s)
{
    if (!s->plan.by_peers && is_up(s, 0))
        command(s, 0, node_request_new(NODE_INIT));
}

/* ---- wishes ---- */

/* By its id: the disk may be another. */
static bool is_member(const struct sim *s, unsigned i)
{
    return raft_config_find(&s->config, s->nodes[i].disk.identity.node) != NULL;
}

/* By its id as a learner, or by its address alone, mostly to become a voter. */
static struct node_request *adding(struct sim *s, unsigned i)
{
    const char *addr = s->nodes[i].options.addr;
    struct node_request *r;
    if (sim_random(s, 0, 1) == 0) {
        r = node_request_new(NODE_ADD_LEARNER);
        r->in.add_learner.id = s->nodes[i].disk.identity.node;
        memcpy(r->in.add_learner.addr, addr, sizeof r->in.add_learner.addr);
    } else {
        r = node_request_new(NODE_MEMBER_ADD);
        memcpy(r->in.member_add.addr, addr, sizeof r->in.member_add.addr);
        r->in.member_add.voter = sim_random(s, 0, 3) != 0;
    }
    return r;
}

static bool add_somebody(struct sim *s)
{
    unsigned start = (unsigned)sim_random(s, 0, s->plan.n_slots - 1);
    int at = some_node(s);
    for (unsigned k = 0; k < s->plan.n_slots && at >= 0; k++) {
        unsigned i = (start + k) % s->plan.n_slots;
        if (is_member(s, i) || !is_up(s, i) || s->nodes[i].id_used_up)
            continue;
        trace(s, "operator at node %d: add node %u", at, i);
        command(s, (unsigned)at, adding(s, i));
        return true;
    }
    return false;
}

static void change_voters(struct sim *s)
{
    int at = some_node(s);
    if (at < 0)
        return;
    struct node_request *r = node_request_new(NODE_CHANGE_MEMBERSHIP);
    unsigned n = 0, keep_pct = (unsigned)sim_random(s, 50, 100), mask = 0;
    for (unsigned k = 0; k < s->config.n_members; k++) {
        const struct raft_member *m = &s->config.members[k];
        int slot = process_of(s, m);
        bool last_chance = n == 0 && k + 1 == s->config.n_members;
        if (slot < 0 || (sim_random(s, 0, 99) >= keep_pct && !last_chance))
            continue;
        r->in.change_membership.ids[n++] = m->id;
        mask |= 1u << slot;
    }
    r->in.change_membership.n_ids = n;
    trace(s, "operator at node %d: voters shall be %#x", at, mask);
    command(s, (unsigned)at, r);
}

/* One member alone, of those that still have their disk; or another leader. */
static void change_member(struct sim *s)
{
    static const enum node_request_type types[] = {NODE_MEMBER_REMOVE, NODE_MEMBER_PROMOTE,
                                                   NODE_MEMBER_PROMOTE, NODE_MEMBER_DEMOTE,
                                                   NODE_TRANSFER};
    static const char *const texts[] = {"remove", "promote", "promote", "demote", "hand over to"};
    unsigned what = (unsigned)sim_random(s, 0, 4);
    int at = some_node(s);
    if (at < 0 || s->config.n_members == 0)
        return;
    const struct raft_member *m = &s->config.members[sim_random(s, 0, s->config.n_members - 1)];
    int slot = process_of(s, m);
    if (slot < 0)
        return;
    struct node_request *r = node_request_new(types[what]);
    if (types[what] != NODE_TRANSFER || sim_random(s, 0, 1) == 0)
        r->in.member.id = m->id;
    trace(s, "operator at node %d: %s node %d", at, texts[what], slot);
    command(s, (unsigned)at, r);
}

/* Whoever is to stay connected is chosen when the storm ends; nobody takes voters away from them
 * after that. */
static bool is_over(const struct sim *s)
{
    return s->now_us + LAST_COMMAND_MS * SIM_MS > s->storm_ends_us;
}

static void reorganise(struct sim *s)
{
    if (sim_random(s, 0, 1) == 0 && add_somebody(s))
        return;
    if (sim_random(s, 0, 1) == 0)
        change_voters(s);
    else
        change_member(s);
}

void operator_act(struct sim *s)
{
    if (s->healing || (s->n_log > 0 && is_over(s)))
        return;
    if (s->admin_calls == 0) {
        if (s->n_log == 0)
            operator_found(s);
        else if (s->plan.operator_gap_us != 0)
            reorganise(s);
    }
    uint64_t mean_us = s->plan.operator_gap_us;
    if (s->n_log == 0)
        mean_us = SIM_S;
    if (mean_us != 0)
        sim_at(s, s->now_us + sim_random_gap(s, mean_us), EVENT_OPERATOR, 0, s->storm, 0, NULL);
}

void operator_start(struct sim *s)
{
    sim_at(s, s->now_us + 10 * SIM_MS, EVENT_OPERATOR, 0, s->storm, 0, NULL);
}

/* ---- answers ---- */

static bool wants(const struct node_request *r, struct uuid id)
{
    for (unsigned i = 0; i < r->in.change_membership.n_ids; i++)
        if (uuid_equal(r->in.change_membership.ids[i], id))
            return true;
    return false;
}

static bool has_these_voters(const struct raft_config *c, const struct node_request *r)
{
    for (unsigned i = 0; i < c->n_members; i++)
        if (wants(r, c->members[i].id) != ((c->members[i].roles & RAFT_VOTER) != 0))
            return false;
    return raft_config_n_voters(c) == r->in.change_membership.n_ids;
}

/* The configuration is what the command asked for. */
static bool is_as_asked(const struct raft_config *c, const struct node_request *r)
{
    const struct raft_member *m = raft_config_find(c, r->ret.admin.id);
    switch (r->type) {
    case NODE_CHANGE_MEMBERSHIP:
        return has_these_voters(c, r);
    case NODE_ADD_LEARNER:
        return raft_config_find(c, r->in.add_learner.id) != NULL;
    case NODE_MEMBER_ADD:
        return m && (!r->in.member_add.voter || (m->roles & RAFT_VOTER));
    case NODE_MEMBER_REMOVE:
        return !m;
    case NODE_MEMBER_PROMOTE:
        return m && (m->roles & RAFT_VOTER);
    case NODE_MEMBER_DEMOTE:
        return m && !(m->roles & RAFT_VOTER);
    default:
        return true;
    }
}

/* What was answered came to be: in what was committed meanwhile, or shortly before, there is a
 * configuration like that. */
static void check_done(struct sim *s, const struct call *c)
{
    struct raft_config config;
    /* Leadership is handed over in any configuration, joint ones too. */
    bool found = c->request->type == NODE_INIT || c->request->type == NODE_TRANSFER;
    for (uint64_t i = s->n_log; i-- > 0 && !found;) {
        const struct raft_entry *e = s->log[i].entry;
        if (e->type != RAFT_ENTRY_CONFIG || raft_config_decode(e->data, e->len, &config) != 0)
            continue;
        found = !raft_config_is_joint(&config) && is_as_asked(&config, c->request);
        if (s->log[i].at_us + STALE_MS * SIM_MS < c->asked_us)
            break;
    }
    SIM_SAFE(s, found, "node %u says that a change of members is done, which it is not", c->node);
}

void operator_completed(struct sim *s, struct call *c)
{
    s->admin_calls--;
    if (!c->reset && c->request->err == 0)
        check_done(s, c);
    trace(s, "operator at node %u: %s", c->node, c->reset ? "reset" : err_text(c->request->err));
}
