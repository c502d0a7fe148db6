/* SPDX-License-Identifier: MIT
 * The end of a storm: a random connected quorum is healed and everybody else
 * stays away. It must elect a leader, finish what was begun, take a write and
 * serve a read at every member, and all of it must have all, within a bounded
 * time.
 */
#include "sim.h"

#include <string.h>

#define LIVENESS_LIMIT_S 90
#define LIVENESS_STEP_MS 50

/* ---- who takes part ---- */

static bool concerns(const struct sim *s, unsigned i, unsigned mask)
{
    const struct sim_node *n = &s->nodes[i];
    return (mask >> i & 1) && n->seen_config.n_members > 0 &&
           n->seen_config_pos.index > s->config_pos.index;
}

/* Whoever of these is elected finds a quorum by its own configuration. */
static bool suffices(const struct sim *s, unsigned mask)
{
    if (!check_has_quorum(s, &s->config, mask))
        return false;
    for (unsigned i = 0; i < SIM_NODES; i++)
        if (concerns(s, i, mask) && !check_has_quorum(s, &s->nodes[i].seen_config, mask))
            return false;
    return true;
}

static unsigned smallest_quorum(struct sim *s, unsigned mask)
{
    unsigned start = (unsigned)sim_random(s, 0, s->plan.n_slots - 1);
    for (unsigned k = 0; k < s->plan.n_slots; k++) {
        unsigned i = (start + k) % s->plan.n_slots;
        if (suffices(s, mask & ~(1u << i)))
            mask &= ~(1u << i);
    }
    return mask;
}

/* How hard it is for these to agree: logs of which neither is plainly the newer one (PITFALLS 3),
 * terms that are ahead of a leader's (PITFALLS 7). */
static unsigned difficulty(const struct sim *s, unsigned mask)
{
    unsigned points = 0;
    for (unsigned i = 0; i < SIM_NODES; i++) {
        if (!(mask >> i & 1) || !process_member(s, i))
            continue;
        struct raft_status a = raft_status(s->nodes[i].driver->raft);
        for (unsigned k = 0; k < SIM_NODES; k++) {
            if (!(mask >> k & 1) || !process_member(s, k))
                continue;
            struct raft_status b = raft_status(s->nodes[k].driver->raft);
            if (a.last.term > b.last.term && a.last.index < b.last.index)
                points += 10;
            if (b.term > a.term)
                points += a.role == RAFT_LEADER ? 5 : 1;
        }
    }
    return points;
}

static unsigned choose(struct sim *s)
{
    unsigned all = (1u << s->plan.n_slots) - 1, mask = all;
    if (s->n_log == 0)
        return all;
    for (unsigned k = 0; k < 6 && sim_random(s, 0, 5) != 0; k++) {
        unsigned other = smallest_quorum(s, all);
        if (mask == all || difficulty(s, other) > difficulty(s, mask))
            mask = other;
    }
    if (mask != all)
        probe(s, PROBE_LIVENESS_MINORITY);
    return mask;
}

static unsigned gather(struct sim *s)
{
    faults_end(s);
    for (unsigned i = 0; i < s->plan.n_slots; i++) {
        if (is_up(s, i) && s->nodes[i].driver->stopping)
            process_kill(s, i);
        if (!is_up(s, i))
            process_start(s, i);
    }
    unsigned mask = choose(s);
    trace(s, "all is healed among %#x", mask);
    for (unsigned i = 0; i < s->plan.n_slots; i++) {
        if (mask >> i & 1)
            continue;
        bool member = process_member(s, i) != NULL;
        if (member || sim_random(s, 0, 1) == 0) /* who was removed may go on bothering */
            process_kill(s, i);
        else
            mask |= 1u << i; /* it may join, and even lead */
    }
    return mask;
}

/* ---- is it well? ---- */

static int leader_among(const struct sim *s, unsigned mask)
{
    int leader = -1;
    for (unsigned i = 0; i < SIM_NODES; i++)
        if (is_up(s, i) && (mask >> i & 1) && driver_is_leader(s->nodes[i].driver))
            leader = (int)i;
    return leader;
}

/* -1, or the leader: all its members among these have all it has. */
static int settled(const struct sim *s, unsigned mask)
{
    int leader = leader_among(s, mask);
    if (leader < 0)
        return -1;
    const struct raft *raft = s->nodes[leader].driver->raft;
    struct raft_status now = raft_status(raft);
    const struct raft_config *c = raft_config(raft, NULL);
    if (!now.in_own_term || now.commit != now.last.index || raft_config_is_joint(c) ||
        !raft_config_is_committed(raft))
        return -1;
    for (unsigned i = 0; i < c->n_members; i++) {
        int slot = process_of(s, &c->members[i]);
        if (slot < 0 || !(mask >> slot & 1))
            continue;
        if (!is_up(s, (unsigned)slot) ||
            raft_status(s->nodes[slot].driver->raft).applied != now.commit)
            return -1;
    }
    return leader;
}

/* Who counts for whom, by numbers of nodes; '?': a disk that is gone. */
static void trace_config(struct sim *s, const char *whose, unsigned i, const struct raft_config *c,
                         uint64_t index)
{
    char text[100];
    size_t len = 0;
    for (unsigned k = 0; k < c->n_members && len < sizeof text - 8; k++) {
        int slot = process_of(s, &c->members[k]);
        text[len++] = ' ';
        text[len++] = slot < 0 ? '?' : (char)('0' + slot);
        if (c->members[k].roles & RAFT_VOTER)
            text[len++] = 'v';
        if (c->members[k].roles & RAFT_VOTER_OLD)
            text[len++] = 'o';
    }
    text[len] = '\0';
    trace(s, "%s %u goes by configuration %llu:%s", whose, i, (unsigned long long)index, text);
}

/* What a leader knows of the others. */
static void trace_peers(struct sim *s, unsigned i)
{
    const struct raft_config *c = &s->nodes[i].seen_config;
    struct raft_peer_status p;
    for (unsigned k = 0; k < c->n_members; k++)
        if (raft_peer(s->nodes[i].driver->raft, c->members[k].id, &p) == 0)
            trace(s,
                  "  of member %u: match %llu, next %llu, %u in flight%s%s, heard %llu ticks ago",
                  k, (unsigned long long)p.match, (unsigned long long)p.next, p.in_flight,
                  p.in_snapshot ? ", gets a snapshot" : "", p.lost_data ? ", lost data" : "",
                  (unsigned long long)p.ticks_since_heard);
}

static _Noreturn void give_up(struct sim *s, unsigned mask, const char *what)
{
    for (unsigned i = 0; i < SIM_NODES; i++) {
        if (!is_up(s, i))
            continue;
        struct raft_status now = raft_status(s->nodes[i].driver->raft);
        trace(s, "node %u: role %d, term %llu, log %llu to %llu, commit %llu, durable %llu", i,
              (int)now.role, (unsigned long long)now.term, (unsigned long long)now.base.index,
              (unsigned long long)now.last.index, (unsigned long long)now.commit,
              (unsigned long long)now.durable);
        trace_config(s, "node", i, &s->nodes[i].seen_config, s->nodes[i].seen_config_pos.index);
        trace_peers(s, i);
    }
    const struct plan *p = &s->plan;
    trace(s, "heartbeat %u, election %u to %u ms; appends of %u entries, %zu bytes, window %u",
          p->options.heartbeat_ms, p->options.election_min_ms, p->options.election_max_ms,
          p->options.append_entries_max, p->options.append_bytes_max, p->options.window);
    trace(s, "latency %llu to %llu us, disk %llu to %llu us", (unsigned long long)p->latency_min_us,
          (unsigned long long)p->latency_max_us, (unsigned long long)p->disk_min_us,
          (unsigned long long)p->disk_max_us);
    trace_config(s, "whoever has all up to", (unsigned)s->n_log, &s->config, s->config_pos.index);
    sim_fail(s, SIM_EXIT_LIVENESS, "among %#x, all healed for %d simulated seconds: %s", mask,
             LIVENESS_LIMIT_S, what);
}

static void wait_settled(struct sim *s, unsigned mask, uint64_t limit_us)
{
    while (settled(s, mask) < 0) {
        if (s->now_us > limit_us)
            give_up(s, mask, "not settled");
        sim_run(s, s->now_us + LIVENESS_STEP_MS * SIM_MS, NULL);
        if (s->n_log == 0 && s->admin_calls == 0)
            operator_found(s);
    }
}

static void require(struct sim *s, unsigned mask, unsigned node, enum op_type type,
                    uint64_t limit_us)
{
    for (;;) {
        uint64_t id = client_probe(s, node, type);
        uint64_t patience_us = s->now_us + 21 * SIM_S;
        while (op_of(s, id)->returned == 0 && s->now_us < patience_us)
            sim_run(s, s->now_us + LIVENESS_STEP_MS * SIM_MS, NULL);
        if (op_of(s, id)->returned != 0)
            return;
        if (s->now_us > limit_us)
            give_up(s, mask, type == OP_SET ? "a write fails" : "a read fails");
    }
}

/* A write that is under way when the leader steps down is not forgotten (PITFALLS 51). */
static void require_across_leaders(struct sim *s, unsigned mask, unsigned node)
{
    uint64_t id = client_probe(s, node, OP_SET);
    uint64_t end_us = s->now_us + SIM_S * 20;
    uint64_t pause_us = sim_random(s, 0, 20 * SIM_MS);
    sim_run(s, s->now_us + pause_us, NULL);
    int leader = leader_among(s, mask);
    if (leader >= 0) {
        raft_step_down(s->nodes[leader].driver->raft);
        process_wake(s, (unsigned)leader);
    }
    /* One that found the disks still counted as full was answered, too. */
    while (op_of(s, id)->returned == 0 && !op_of(s, id)->refused && s->now_us < end_us)
        sim_run(s, s->now_us + LIVENESS_STEP_MS * SIM_MS, NULL);
    if (op_of(s, id)->returned == 0 && !op_of(s, id)->refused)
        give_up(s, mask, "a write is forgotten when the leader steps down");
}

static void require_all(struct sim *s, unsigned mask, uint64_t limit_us, bool last)
{
    unsigned start = (unsigned)sim_random(s, 0, SIM_NODES - 1);
    for (unsigned k = 0; k < SIM_NODES; k++) {
        unsigned i = (start + k) % SIM_NODES;
        if (!process_member(s, i) || !(mask >> i & 1) || !is_up(s, i))
            continue;
        require(s, mask, i, OP_SET, limit_us);
        require(s, mask, i, OP_READ, limit_us);
        if (!last)
            return; /* one will do */
        require_across_leaders(s, mask, i);
    }
}

/* The cluster's clock leaps, as if it had been led for so long: a name that is forgotten by what
 * was told before it, not after it, goes too soon then. */
static void leap(struct sim *s, unsigned mask, uint64_t limit_us)
{
    wait_settled(s, mask, limit_us);
    int leader = settled(s, mask);
    struct buf b = BUF_INIT;
    struct raft_pos pos;
    kv_clock_encode(SIM_LEAP_MS + sim_random(s, 0, 30000), &b);
    struct raft_entry *e =
        raft_entry_new(RAFT_ENTRY_COMMAND, (struct raft_pos){0, 0}, (uint32_t)b.len);
    memcpy(e->data, b.data, b.len);
    buf_free(&b);
    if (raft_propose(s->nodes[leader].driver->raft, &e, 1, &pos) != 0)
        raft_entry_unref(&e);
    process_wake(s, (unsigned)leader);
    sim_run(s, s->now_us + SIM_S, NULL);
    wait_settled(s, mask, limit_us);
}

/* Long after, nobody remembers any name, and each is free for another write. */
static void require_names_forgotten(struct sim *s, unsigned mask)
{
    uint64_t limit_us = s->now_us + LIVENESS_LIMIT_S * SIM_S;
    while (model_n_once(s) > 0) {
        if (s->now_us > limit_us)
            give_up(s, mask, "names are remembered for good");
        leap(s, mask, limit_us);
    }
    uint64_t id = client_probe_old_name(s, (unsigned)settled(s, mask));
    while (id && op_of(s, id)->returned == 0) {
        if (s->now_us > limit_us || op_of(s, id)->conflicted)
            give_up(s, mask, "a name is not free again");
        sim_run(s, s->now_us + LIVENESS_STEP_MS * SIM_MS, NULL);
    }
}

void liveness_run(struct sim *s, bool last)
{
    unsigned mask = gather(s);
    uint64_t limit_us = s->now_us + LIVENESS_LIMIT_S * SIM_S;
    wait_settled(s, mask, limit_us);
    require_all(s, mask, limit_us, last);
    wait_settled(s, mask, limit_us);
    if (!last)
        return;
    sim_run(s, s->now_us + 20 * SIM_S, NULL);
    if (!list_is_empty(&s->calls))
        give_up(s, mask, "a request is never answered");
    wait_settled(s, mask, s->now_us + LIVENESS_LIMIT_S * SIM_S);
    require_names_forgotten(s, mask);
}
