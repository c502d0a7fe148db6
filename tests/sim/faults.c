/* SPDX-License-Identifier: MIT
 * What goes wrong, and when it is mended. Never so much that nothing could be
 * expected any more: a disk is only wiped while what remains is a quorum.
 */
#include "sim.h"

#include <string.h>

static uint64_t some_time(struct sim *s)
{
    uint64_t us = sim_random_gap(s, s->plan.fault_time_us);
    uint64_t election_us = s->plan.options.election_max_ms * SIM_MS;
    if (sim_random(s, 0, 2) == 0) /* just as long as somebody else needs to take over */
        us = sim_random(s, election_us / 2, 3 * election_us);
    return us < 8 * SIM_S ? us : 8 * SIM_S;
}

/* The matching heal event: what, on which node, with which partner. */
static void heal_after(struct sim *s, uint64_t us, enum sim_fault what, unsigned node, uint64_t b)
{
    sim_at(s, s->now_us + us, EVENT_HEAL, node, (uint64_t)what, b, NULL);
}

static unsigned some_slot(struct sim *s)
{
    bool at_leader = sim_random(s, 0, 99) < s->plan.pct_at_leader;
    for (unsigned i = 0; i < SIM_NODES && at_leader; i++)
        if (is_up(s, i) && driver_is_leader(s->nodes[i].driver))
            return i;
    return (unsigned)sim_random(s, 0, s->plan.n_slots - 1);
}

/* ---- network ---- */

static void partition(struct sim *s, bool bridge)
{
    unsigned side = (unsigned)sim_random(s, 1, (1u << s->plan.n_slots) - 1);
    if (!bridge && sim_random(s, 0, 2) == 0)
        side = 1u << some_slot(s);
    unsigned middle = bridge ? some_slot(s) : SIM_NODES;
    for (unsigned i = 0; i < SIM_NODES; i++)
        for (unsigned k = 0; k < SIM_NODES; k++)
            s->cut[i][k] = (side >> i & 1) != (side >> k & 1) && i != middle && k != middle;
    trace(s, "%s: side %#x", bridge ? "bridge" : "partition", side);
    for (unsigned i = 0; i < SIM_NODES; i++)
        if (side == 1u << i && is_up(s, i) && driver_is_leader(s->nodes[i].driver))
            clients_stalk(s, i);
    heal_after(s, some_time(s), FAULT_PARTITION, 0, 0);
}

void fault_begun(struct sim *s, unsigned i)
{
    uint64_t time_us, slice_us;
    if (!ask_is_cut_off(s, &time_us, &slice_us))
        return;
    for (unsigned k = 0; k < SIM_NODES; k++)
        s->cut[i][k] = s->cut[k][i] = k != i;
    s->nodes[i].slow_us = slice_us;
    s->nodes[i].slow_until_us = s->now_us + 2 * time_us;
    trace(s, "node %u is cut off in the middle of a command", i);
    fault_count(s, FAULT_PARTITION);
    heal_after(s, time_us, FAULT_PARTITION, 0, 0);
}

static void one_way(struct sim *s)
{
    unsigned a = some_slot(s), b = some_slot(s);
    bool all = sim_random(s, 0, 1) == 0;
    for (unsigned k = 0; k < SIM_NODES; k++)
        if (k == b || all)
            s->cut[a][k] = true;
    trace(s, "one way: nothing from node %u reaches %s %u", a, all ? "anybody, nor" : "node", b);
    heal_after(s, some_time(s), FAULT_PARTITION, 0, 0);
}

static void clog_links(struct sim *s)
{
    unsigned a = some_slot(s), b = some_slot(s);
    unsigned n = (unsigned)sim_random(s, 1, 4);
    for (unsigned i = 0; i < n; i++) {
        s->clogged[a][b] = true;
        heal_after(s, some_time(s), FAULT_CLOG, a, b);
        trace(s, "clogged: from node %u to node %u", a, b);
        b = (b + 1) % s->plan.n_slots;
    }
}

/* ---- processes ---- */

static void restart_after(struct sim *s, unsigned i, uint64_t us)
{
    heal_after(s, us, FAULT_KILL, i, s->nodes[i].life);
}

static void end_process(struct sim *s, unsigned i, bool in_order)
{
    if (in_order) {
        process_stop(s, i);
        uint64_t patience_us = sim_random(s, 0, SIM_S);
        heal_after(s, patience_us, FAULT_STOP, i, s->nodes[i].life);
        return;
    }
    process_kill(s, i);
    uint64_t us = sim_random(s, 0, 1) == 0 ? sim_random(s, 1, 100 * SIM_MS) : some_time(s);
    restart_after(s, i, us);
}

/* While it is down, its address is another's: a node of another cluster that answers. */
static bool squat(struct sim *s, unsigned i)
{
    if (s->n_log == 0)
        return false;
    process_kill(s, i);
    s->nodes[i].squatted = true;
    trace(s, "a node of another cluster lives at the address of node %u", i);
    restart_after(s, i, some_time(s));
    return true;
}

static void cut_power(struct sim *s)
{
    for (unsigned i = 0; i < SIM_NODES; i++)
        if (is_up(s, i))
            end_process(s, i, false);
}

static void pause_node(struct sim *s, unsigned i, bool suspend)
{
    struct sim_node *n = &s->nodes[i];
    if (n->clock.drift_ppm == CLOCK_STANDS)
        return;
    uint64_t us = some_time(s);
    n->paused_until_us = s->now_us + us;
    trace(s, "node %u %s for %llu ms", i, suspend ? "suspended" : "paused",
          (unsigned long long)(us / SIM_MS));
    if (!suspend)
        return;
    uint64_t clock = clock_us(s, i);
    int64_t drift_ppm = n->clock.drift_ppm;
    clock_set(s, i, clock, CLOCK_STANDS);
    heal_after(s, us, FAULT_SUSPEND, i, (uint64_t)drift_ppm);
}

static void slow(struct sim *s, unsigned i)
{
    struct sim_node *n = &s->nodes[i];
    n->slow_us = sim_random(s, SIM_MS, 80 * SIM_MS);
    n->slow_until_us = s->now_us + 3 * some_time(s);
    trace(s, "node %u is slow", i);
}

/* ---- disks ---- */

static void stall(struct sim *s, unsigned i)
{
    s->nodes[i].disk.stalled_until_us = s->now_us + some_time(s);
    trace(s, "the disk of node %u stalls", i);
}

/* One disk, or all: then nothing can be committed that needs room. */
static void fill(struct sim *s, unsigned i)
{
    uint64_t until_us = s->now_us + some_time(s);
    bool all = sim_random(s, 0, 2) == 0, has_log_room = sim_random(s, 0, 2) > 0;
    for (unsigned k = 0; k < SIM_NODES; k++) {
        if (k != i && !all)
            continue;
        s->nodes[k].disk.full_until_us = until_us;
        s->nodes[k].disk.has_log_room = has_log_room;
    }
    trace(s, "the disk of %s %u is full%s", all ? "all, and of node" : "node", i,
          has_log_room ? "" : ", without room for the log");
}

void fault_disk_failed(struct sim *s, unsigned i)
{
    enum sim_fault what = s->nodes[i].disk.fails;
    trace(s, "the disk of node %u: %s", i, fault_text(what));
    fault_count(s, what);
    process_kill(s, i);
    restart_after(s, i, some_time(s));
}

/* ---- clocks ---- */

static void change_drift(struct sim *s, unsigned i)
{
    uint64_t clock = clock_us(s, i);
    if (s->nodes[i].clock.drift_ppm == CLOCK_STANDS)
        return;
    int64_t max = (int64_t)s->plan.drift_ppm_max;
    int64_t drift_ppm = (int64_t)sim_random(s, 0, (uint64_t)(2 * max)) - max;
    clock_set(s, i, clock, drift_ppm);
}

static void jump(struct sim *s, unsigned i)
{
    uint64_t clock = clock_us(s, i);
    uint64_t us = sim_random(s, 1, 3 * SIM_S);
    clock_set(s, i, clock + us, s->nodes[i].clock.drift_ppm);
    trace(s, "the clock of node %u jumps by %llu ms", i, (unsigned long long)(us / SIM_MS));
    if (is_up(s, i))
        process_wake(s, i);
}

/* ---- membership ---- */

/* Peers that were all emptied before one of them heard of the cluster are as new: nobody can tell
 * them from a beginning, and they form a second. So one must know of it. */
static bool another_peer_knows(const struct sim *s, unsigned victim)
{
    for (unsigned i = 0; i < s->plan.n_founders && s->plan.by_peers; i++) {
        const struct storage_identity *identity = &s->nodes[i].disk.identity;
        if (i != victim && (identity->outsider || uuid_equal(identity->cluster, s->cluster)))
            return true;
    }
    return !s->plan.by_peers || victim >= s->plan.n_founders;
}

/* It is about to become a voter, and nobody but the leader knows when. */
static bool is_learner(const struct raft_config *c, const struct storage_identity *identity)
{
    const struct raft_member *m = raft_config_find(c, identity->node);
    return m && m->incarnation == identity->incarnation && !raft_member_votes(m);
}

/* The same, by its mark: whoever the operator added to be one. */
static bool is_voter_soon(const struct raft_config *c, const struct storage_identity *identity)
{
    const struct raft_member *m = raft_config_find(c, identity->node);
    return m && (m->roles & RAFT_VOTER_SOON);
}

/* Whether those with this node's disk gone would still be a quorum, by every
 * configuration that anybody goes by. */
static bool may_wipe(const struct sim *s, unsigned victim)
{
    if (s->n_log == 0 || s->admin_calls > 0 || s->now_us < s->admin_quiet_at_us)
        return false;
    if (!another_peer_knows(s, victim) ||
        (s->plan.by_peers && is_learner(&s->config, &s->nodes[victim].disk.identity)))
        return false;
    if (is_voter_soon(&s->config, &s->nodes[victim].disk.identity))
        return false;
    unsigned mask = ((1u << SIM_NODES) - 1) & ~(1u << victim);
    if (raft_config_is_joint(&s->config) || !check_has_quorum(s, &s->config, mask))
        return false;
    for (unsigned i = 0; i < SIM_NODES; i++) {
        const struct sim_node *n = &s->nodes[i];
        if (n->seen_config.n_members > 0 && n->seen_config_pos.index > s->config_pos.index)
            return false; /* a change is on its way */
    }
    return true;
}

static bool wipe(struct sim *s, unsigned i, bool same_id)
{
    if (!may_wipe(s, i))
        return false;
    if (is_up(s, i))
        process_kill(s, i);
    process_wipe(s, i, same_id);
    s->nodes[i].lost = true;
    if (same_id) /* everybody refuses it; then it gets a new id */
        heal_after(s, 3 * some_time(s), FAULT_WIPE_SAME, i, s->n_wiped);
    restart_after(s, i, some_time(s));
    return true;
}

/* At rest, found when the node starts again: it refuses to, and is rebuilt from the others with an
 * empty disk. */
static bool flip_bit(struct sim *s, unsigned i)
{
    const struct disk *d = &s->nodes[i].disk;
    if (d->n_log == d->base.pos.index || !may_wipe(s, i))
        return false;
    if (is_up(s, i))
        process_kill(s, i);
    if (d->n_log == d->base.pos.index)
        return true; /* what was under way emptied the log */
    SIM_SAFE(s, disk_flip_bit(s, i), "node %u starts from a damaged disk", i);
    trace(s, "the disk of node %u is damaged: it refuses to start", i);
    process_wipe(s, i, false);
    s->nodes[i].lost = true;
    restart_after(s, i, some_time(s));
    return true;
}

/* Two that move at the same time, or one that does not know where the others are now, could not
 * find each other: every address must be known to all first. */
static bool may_move(const struct sim *s, unsigned i)
{
    const struct sim_node *n = &s->nodes[i];
    if (!process_member(s, i) || n->seen_config_pos.index != s->config_pos.index ||
        n->disk.n_log < s->config_pos.index)
        return false;
    for (unsigned k = 0; k < s->config.n_members; k++) {
        const struct raft_member *m = &s->config.members[k];
        int slot = process_of(s, m);
        if (slot < 0 || strcmp(m->addr, s->nodes[slot].options.addr) != 0)
            return false;
    }
    return true;
}

static bool move(struct sim *s, unsigned i)
{
    if (!may_move(s, i))
        return false;
    process_kill(s, i);
    process_move(s, i);
    restart_after(s, i, some_time(s));
    return true;
}

/* ---- awkward moments ---- */

void fault_hunt(struct sim *s, unsigned i)
{
    if (!is_up(s, i))
        return;
    fault_count(s, FAULT_KILL);
    end_process(s, i, false);
}

/* Now and then the leader dies while it hands over: others campaign as well. */
static bool transfer(struct sim *s, unsigned i)
{
    if (!process_transfer(s, i))
        return false;
    clients_stalk(s, i);
    if (sim_chance(s, s->plan.ppm_hunt))
        sim_at(s, s->now_us + sim_random(s, 1, 50 * SIM_MS), EVENT_HUNT, i, s->storm, 0, NULL);
    return true;
}

/* Two disks of which one ends in a newer term and the other at a higher index (PITFALLS 3). */
static bool logs_are_at_odds(const struct sim *s)
{
    for (unsigned i = 0; i < SIM_NODES; i++)
        for (unsigned k = 0; k < SIM_NODES; k++) {
            struct raft_pos a = disk_last(&s->nodes[i].disk), b = disk_last(&s->nodes[k].disk);
            if (a.term > b.term && a.index < b.index && process_member(s, i) &&
                process_member(s, k))
                return true;
        }
    return false;
}

/* The storm is over at once, by a loss of power: all must agree from what is on the disks. */
static void end_awkwardly(struct sim *s)
{
    bool is_quiet = s->admin_calls == 0 && s->now_us >= s->admin_quiet_at_us;
    if (!is_quiet || !logs_are_at_odds(s) || sim_random(s, 0, 1) == 0)
        return;
    trace(s, "the logs are at odds: power loss");
    probe(s, PROBE_AT_ODDS);
    for (unsigned i = 0; i < SIM_NODES; i++)
        if (is_up(s, i))
            process_kill(s, i);
    s->storm_ends_us = s->now_us;
}

/* ---- choosing ---- */

static enum sim_fault choose(struct sim *s)
{
    unsigned sum = 0;
    for (unsigned i = 0; i < SIM_FAULT_KINDS; i++)
        sum += s->plan.weights[i];
    if (sum == 0)
        return SIM_FAULT_KINDS;
    unsigned roll = (unsigned)sim_random(s, 0, sum - 1);
    for (unsigned i = 0; i < SIM_FAULT_KINDS; i++) {
        if (roll < s->plan.weights[i])
            return (enum sim_fault)i;
        roll -= s->plan.weights[i];
    }
    return SIM_FAULT_KINDS;
}

/* False: not now. */
static bool inject_into(struct sim *s, enum sim_fault what, unsigned i)
{
    if (what == FAULT_BIT_FLIP)
        return flip_bit(s, i);
    if (what == FAULT_WIPE || what == FAULT_WIPE_SAME)
        return wipe(s, i, what == FAULT_WIPE_SAME);
    if (what == FAULT_DRIFT) {
        change_drift(s, i);
        return true;
    }
    if (!is_up(s, i))
        return false;
    if (what == FAULT_EIO_WRITE || what == FAULT_EIO_SYNC) {
        s->nodes[i].disk.fails = what;
        return false; /* counted when it happens */
    }
    if (what == FAULT_KILL || what == FAULT_STOP)
        end_process(s, i, what == FAULT_STOP);
    else if (what == FAULT_SQUATTER)
        return squat(s, i);
    else if (what == FAULT_TWICE)
        process_start_twice(s, i);
    else if (what == FAULT_PAUSE || what == FAULT_SUSPEND)
        pause_node(s, i, what == FAULT_SUSPEND);
    else if (what == FAULT_SLOW)
        slow(s, i);
    else if (what == FAULT_STALL)
        stall(s, i);
    else if (what == FAULT_FULL)
        fill(s, i);
    else if (what == FAULT_JUMP)
        jump(s, i);
    else if (what == FAULT_MOVE)
        return move(s, i);
    else if (what == FAULT_TRANSFER)
        return transfer(s, i);
    return true;
}

static bool inject(struct sim *s, enum sim_fault what)
{
    if (what == SIM_FAULT_KINDS)
        return false;
    if (what == FAULT_PARTITION || what == FAULT_BRIDGE)
        partition(s, what == FAULT_BRIDGE);
    else if (what == FAULT_ONE_WAY)
        one_way(s);
    else if (what == FAULT_POWER)
        cut_power(s);
    else if (what == FAULT_CLOG)
        clog_links(s);
    else if (what == FAULT_REPLAY || what == FAULT_FOREIGN) {
        net_replay(s, what == FAULT_FOREIGN);
        return false; /* counts itself */
    } else
        return inject_into(s, what, some_slot(s));
    return true;
}

void fault_act(struct sim *s)
{
    if (s->healing)
        return;
    end_awkwardly(s);
    enum sim_fault what = choose(s);
    if (inject(s, what))
        fault_count(s, what);
    uint64_t gap_us = sim_random_gap(s, s->plan.fault_gap_us);
    sim_at(s, s->now_us + gap_us, EVENT_FAULT, 0, s->storm, 0, NULL);
}

void faults_start(struct sim *s)
{
    uint64_t calm_us = sim_random(s, 0, 10 * SIM_S);
    for (unsigned i = 0; i < s->plan.n_slots; i++) {
        fault_count(s, FAULT_SKEW); /* every node's clock shows something else */
        if (s->plan.drift_ppm_max > 0) {
            fault_count(s, FAULT_DRIFT);
            change_drift(s, i);
        }
        if (!is_up(s, i))
            process_start(s, i);
    }
    sim_at(s, s->now_us + calm_us, EVENT_FAULT, 0, s->storm, 0, NULL);
}

/* ---- mending ---- */

/* Whose disk is refused gets a new one. Who came to have an id that no member had, however, is
 * not refused: it may be a needed voter by now. */
static void end_refused(struct sim *s, unsigned i, unsigned wipe_number)
{
    struct sim_node *n = &s->nodes[i];
    if (s->healing || !n->id_used_up || n->wiped_as != wipe_number)
        return;
    if (!may_wipe(s, i)) {
        heal_after(s, SIM_S, FAULT_WIPE_SAME, i, wipe_number);
        return;
    }
    if (n->driver)
        process_kill(s, i);
    process_wipe(s, i, false);
    restart_after(s, i, SIM_MS);
}

void fault_heal(struct sim *s, const struct event *e)
{
    struct sim_node *n = &s->nodes[e->node];
    switch ((enum sim_fault)e->a) {
    case FAULT_STOP:
        if (!s->healing && n->driver && n->life == e->b)
            end_process(s, e->node, false);
        break;
    case FAULT_PARTITION:
        if (!s->healing)
            memset(s->cut, 0, sizeof s->cut);
        break;
    case FAULT_CLOG:
        net_unclog(s, e->node, (unsigned)e->b);
        break;
    case FAULT_WIPE_SAME:
        end_refused(s, e->node, (unsigned)e->b);
        break;
    case FAULT_KILL:
        if (!s->healing && !n->driver && n->life == e->b) {
            fault_count(s, FAULT_RESTART);
            process_start(s, e->node);
        }
        break;
    case FAULT_SUSPEND:
        clock_set(s, e->node, clock_us(s, e->node), (int64_t)e->b);
        break;
    default:
        break;
    }
}

void faults_resume(struct sim *s)
{
    for (unsigned i = 0; i < SIM_NODES; i++)
        if (s->nodes[i].id_used_up)
            heal_after(s, 3 * some_time(s), FAULT_WIPE_SAME, i, s->nodes[i].wiped_as);
}

void faults_end(struct sim *s)
{
    net_heal(s);
    for (unsigned i = 0; i < SIM_NODES; i++) {
        struct sim_node *n = &s->nodes[i];
        n->slow_until_us = 0;
        n->disk.fails = SIM_FAULT_KINDS;
        n->disk.stalled_until_us = 0;
        if (n->disk.busy)
            sim_at(s, s->now_us, EVENT_DISK, i, n->life, 0, NULL);
        if (n->clock.drift_ppm == CLOCK_STANDS)
            clock_set(s, i, clock_us(s, i), 0);
        if (n->paused_until_us <= s->now_us)
            continue;
        n->paused_until_us = 0;
        n->turn_at_us = UINT64_MAX;
        if (n->driver)
            process_wake(s, i);
    }
}
