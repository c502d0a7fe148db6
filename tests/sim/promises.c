/* SPDX-License-Identifier: MIT
 * Promises that are kept long before anything is lost when they are broken:
 * every question is answered, a higher term is believed, a vote is given once,
 * a leader that hears nobody gives up, a change of leader loses no time.
 */
#include "sim.h"

#include <string.h>

static unsigned long long ull(uint64_t v)
{
    return (unsigned long long)v;
}

/* ---- answers ---- */

/* Only a granted pre-vote names a term that is nobody's yet. */
uint64_t promise_told_term(const struct wire_message *answer)
{
    const struct raft_message *m = &answer->raft;
    bool is_of_core =
        answer->header.type == WIRE_APPEND_REPLY || answer->header.type == WIRE_VOTE_REPLY ||
        answer->header.type == WIRE_SNAPSHOT_REPLY || answer->header.type == WIRE_TIMEOUT_NOW_REPLY;
    bool is_wish =
        answer->header.type == WIRE_VOTE_REPLY && m->vote_reply.pre && m->vote_reply.granted;
    return is_of_core && !is_wish ? answer->header.term : 0;
}

void promise_heard(struct sim *s, unsigned i, unsigned from, uint64_t told_term)
{
    struct sim_node *n = &s->nodes[i];
    if (told_term > n->heard_term)
        n->heard_term = told_term;
    if (told_term != 0)
        n->heard_now |= 1u << from;
}

/* Raft 5.1: whoever learns of a higher term is in it (PITFALLS 4, 6). */
static void check_term(struct sim *s, unsigned i, const struct raft_status *now)
{
    SIM_SAFE(s, now->term >= s->nodes[i].heard_term,
             "node %u was told of term %llu and stays in term %llu", i, ull(s->nodes[i].heard_term),
             ull(now->term));
}

static void check_overdue(struct sim *s, unsigned i)
{
    const struct transport_request *t = net_overdue(s, i);
    SIM_SAFE(s, !t, "node %u does not answer a question by %s", i, transport_path_text(t->path));
}

/* ---- votes ---- */

/* One for each term, with this disk (PITFALLS 12). */
void promise_vote(struct sim *s, unsigned i, const struct raft_message *answer)
{
    struct sim_node *n = &s->nodes[i];
    if (!answer->vote_reply.granted || answer->vote_reply.pre)
        return;
    SIM_SAFE(s, answer->term != n->voted_term || uuid_equal(answer->to, n->voted_for),
             "node %u votes twice in term %llu", i, ull(answer->term));
    n->voted_term = answer->term;
    n->voted_for = answer->to;
}

/* ---- leaders ---- */

/* Check-quorum: dissertation 6.2. A pause is over with the turn that finds it. */
static void check_contact(struct sim *s, unsigned i, const struct raft_status *now)
{
    struct sim_node *n = &s->nodes[i];
    uint64_t now_ms = process_now_ms(s, i), since_ms = n->led_since_ms;
    for (unsigned k = 0; k < SIM_NODES; k++)
        if (n->heard_now >> k & 1)
            n->heard_ms[k] = now_ms;
    n->heard_now = 0;
    if (now->role != RAFT_LEADER || n->seen.role != RAFT_LEADER || n->seen.term != now->term) {
        n->led_since_ms = now_ms;
        return;
    }
    if (since_ms < n->config_since_ms)
        since_ms = n->config_since_ms;
    uint64_t patience_ms = n->options.election_max_ms + 2 * DRIVER_TICK_MS;
    if (now_ms - since_ms <= patience_ms)
        return;
    unsigned mask = 1u << i;
    for (unsigned k = 0; k < SIM_NODES; k++)
        mask |= (unsigned)(now_ms - n->heard_ms[k] <= patience_ms) << k;
    SIM_SAFE(s, check_had_quorum(s, &n->seen_config, mask),
             "node %u leads term %llu and has not heard a quorum for %llu ms", i, ull(now->term),
             ull(patience_ms));
}

/* PITFALLS 13: whoever takes over may not be left behind. */
static void check_transfer(struct sim *s, unsigned i, const struct raft_status *now)
{
    const struct raft_status *before = &s->nodes[i].seen;
    bool goes_on = !uuid_is_zero(before->transfer_to) && now->term == before->term &&
                   before->n_transfers == now->n_transfers &&
                   uuid_equal(before->transfer_to, now->transfer_to);
    SIM_SAFE(s, !goes_on || now->last.index == before->last.index,
             "node %u hands over and goes on writing", i);
}

/* Who campaigns without asking first was told to, and has its log on its disk (PITFALLS 12). */
static void check_handed_over(struct sim *s, unsigned i, const struct raft_status *now)
{
    const struct sim_node *n = &s->nodes[i];
    bool told = n->seen.role == RAFT_FOLLOWER && now->role == RAFT_CANDIDATE;
    if (!told || check_has_quorum(s, &n->seen_config, 1u << i)) /* alone it need not ask */
        return;
    probe(s, PROBE_TIMEOUT_NOW);
    SIM_SAFE(s, now->durable == now->last.index,
             "node %u takes over with entries up to %llu, on its disk up to %llu", i,
             ull(now->last.index), ull(now->durable));
}

/* ---- configurations ---- */

static bool same_members(const struct raft_config *a, const struct raft_config *b)
{
    if (a->n_members != b->n_members)
        return false;
    for (unsigned k = 0; k < a->n_members; k++)
        if (!uuid_equal(a->members[k].id, b->members[k].id) ||
            a->members[k].roles != b->members[k].roles ||
            a->members[k].incarnation != b->members[k].incarnation)
            return false;
    return true;
}

/* It is what its entry says, whoever restarts (PITFALLS 28). */
void promise_config(struct sim *s, unsigned i)
{
    const struct sim_node *n = &s->nodes[i];
    struct raft_config c;
    if (raft_config_is_joint(&n->seen_config) && sim_chance(s, s->plan.ppm_hunt))
        sim_at(s, s->now_us + sim_random(s, 1, 30 * SIM_MS), EVENT_HUNT, i, s->storm, 0, NULL);
    const struct raft_pos pos = n->seen_config_pos;
    if (pos.index <= n->disk.base.pos.index || !disk_has(&n->disk, pos))
        return;
    const struct raft_entry *e = n->disk.log[pos.index - 1];
    SIM_SAFE(s, raft_config_decode(e->data, e->len, &c) == 0 && same_members(&c, &n->seen_config),
             "node %u goes by another configuration than entry %llu", i, ull(pos.index));
}

/* ---- all ---- */

void promises_check(struct sim *s, unsigned i, const struct raft_status *now)
{
    check_term(s, i, now);
    check_overdue(s, i);
    check_contact(s, i, now);
    check_transfer(s, i, now);
    check_handed_over(s, i, now);
}
