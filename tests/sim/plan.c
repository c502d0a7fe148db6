/* SPDX-License-Identifier: MIT
 * What a seed decides before anything happens. Not every seed has every kind
 * of fault, or as much of it: with all of them always on, the rarer meetings
 * of a few would never be seen (Groce et al. 2012, swarm testing).
 */
#include "sim.h"

static unsigned sometimes(struct sim *s, unsigned pct, unsigned lo, unsigned hi)
{
    unsigned roll = (unsigned)sim_random(s, 0, 99);
    unsigned value = (unsigned)sim_random(s, lo, hi);
    return roll < pct ? value : 0;
}

static void plan_options(struct sim *s, struct node_options *o)
{
    static const uint32_t heartbeats_ms[] = {30, 50, 100, 100, 100, 200};
    o->heartbeat_ms = heartbeats_ms[sim_random(s, 0, 5)];
    o->election_min_ms = o->heartbeat_ms * (uint32_t)sim_random(s, 2, 5);
    o->election_max_ms = o->election_min_ms * (uint32_t)sim_random(s, 15, 30) / 10;
    o->lag_threshold_ms = (uint32_t)sim_random(s, 500, 3000);
    o->disk_stall_ms = 5 * o->election_max_ms;
    unsigned entries_max = sim_random(s, 0, 2) == 0 ? 3 : 64;
    o->append_entries_max = (unsigned)sim_random(s, 1, entries_max);
    o->clock_drift_ms = sometimes(s, 40, 1, o->election_min_ms / 2);
    o->disk_stall_ms = sometimes(s, 50, 100, 3000);
    o->append_bytes_max = (size_t)1 << sim_random(s, 8, 20);
    o->window = (unsigned)sim_random(s, 1, 8);
    o->cache_bytes = (size_t)1 << sim_random(s, 9, 20);
    o->checkpoint_entries = sometimes(s, 70, 1, 100);
    o->checkpoint_bytes = (size_t)1 << sim_random(s, 18, 22);
    o->checkpoint_age_ms = sometimes(s, 50, 100, 20000);
    o->log_tail_entries = sometimes(s, 70, 0, 100);
    o->log_tail_bytes = (size_t)1 << sim_random(s, 8, 16);
    o->snapshot_bytes = (uint32_t)1 << sim_random(s, 9, 15);
}

static void plan_cluster(struct sim *s, struct plan *p)
{
    static const unsigned sizes[] = {1, 2, 3, 3, 3, 4, 5, 5};
    p->n_founders = sizes[sim_random(s, 0, 7)];
    p->by_peers = sim_random(s, 0, 2) == 0 && p->n_founders > 1;
    unsigned spares = (unsigned)sim_random(s, 0, 3);
    p->n_slots = p->n_founders + spares > SIM_NODES ? SIM_NODES : p->n_founders + spares;
    p->operator_gap_us = sometimes(s, 50, 3, 30) * SIM_S;
    if (!p->by_peers) { /* grows from one node by the operator */
        p->n_slots = p->n_founders;
        p->operator_gap_us = sim_random(s, 3, 30) * SIM_S;
    }
}

static void plan_load(struct sim *s, struct plan *p)
{
    p->n_clients = (unsigned)sim_random(s, 1, SIM_CLIENTS);
    p->n_keys = (unsigned)sim_random(s, 1, SIM_KEYS_MAX);
    p->think_us = sim_random(s, 20, 600) * SIM_MS;
    p->pct_read = (unsigned)sim_random(s, 10, 80);
    p->pct_lease = p->options.clock_drift_ms > 0 ? (unsigned)sim_random(s, 20, 100) : 0;
    p->pct_delete = sometimes(s, 60, 1, 30);
    p->pct_batch = sometimes(s, 50, 1, 30);
    p->pct_retry = (unsigned)sim_random(s, 0, 100);
    p->pct_twin = sometimes(s, 30, 1, 20);
    p->ppm_vanish = sometimes(s, 40, 1000, 50000);
    p->ppm_oversized = sometimes(s, 30, 500, 20000);
    p->value_max = (size_t)1 << sim_random(s, 0, 9);
    p->oversized_max = p->options.append_bytes_max + sim_random(s, 1, 20000);
    /* A snapshot of nothing but such values still arrives before anybody despairs: every chunk
     * waits for the disk. */
    size_t state_bytes = p->ppm_oversized ? p->n_keys * p->oversized_max : 0;
    if (p->options.snapshot_bytes < state_bytes / 256)
        p->options.snapshot_bytes = (uint32_t)(state_bytes / 256);
}

static void plan_weather(struct sim *s, struct plan *p)
{
    p->latency_min_us = sim_random(s, 50, 2000);
    p->latency_max_us = p->latency_min_us + sim_random(s, 100, 10000);
    p->ppm_drop = sometimes(s, 60, 100, 50000);
    unsigned delay_max = sim_random(s, 0, 3) == 0 ? 200000 : 20000;
    p->ppm_delay = sometimes(s, 50, 100, delay_max);
    /* Late votes and hand-overs are the dangerous ones. */
    p->ppm_delay_vote = sometimes(s, 30, 50000, 400000);
    if (p->ppm_delay_vote == 0)
        p->ppm_delay_vote = p->ppm_delay;
    p->ppm_duplicate = sometimes(s, 50, 100, 50000);
    p->ppm_reset = sometimes(s, 50, 100, 30000);
    p->ppm_replay = sometimes(s, 50, 1, 1);
    static const uint64_t disks_us[] = {500, 5000, 30000, 300000};
    p->disk_min_us = sim_random(s, 50, 1000);
    uint64_t disk_us = disks_us[sim_random(s, 0, 3)];
    p->disk_max_us = p->disk_min_us + sim_random(s, 100, disk_us);
    p->drift_ppm_max = sometimes(s, 50, 10, 100000);
    if (p->options.clock_drift_ms == 0)
        return;
    /* Two clocks go apart by twice that over an election timeout, and by less than was promised. */
    unsigned bound_ppm = p->options.clock_drift_ms * 450000 / p->options.election_min_ms;
    p->drift_ppm_max = (unsigned)sim_random(s, 0, bound_ppm < 300000 ? bound_ppm : 300000);
}

static void plan_faults(struct sim *s, struct plan *p)
{
    static const enum sim_fault picked[] = {
        FAULT_PARTITION, FAULT_ONE_WAY,  FAULT_BRIDGE,  FAULT_CLOG,  FAULT_REPLAY,
        FAULT_KILL,      FAULT_STOP,     FAULT_PAUSE,   FAULT_SLOW,  FAULT_STALL,
        FAULT_EIO_WRITE, FAULT_EIO_SYNC, FAULT_DRIFT,   FAULT_TWICE, FAULT_FOREIGN,
        FAULT_SQUATTER,  FAULT_JUMP,     FAULT_SUSPEND, FAULT_POWER, FAULT_TRANSFER};
    static const uint64_t gaps_ms[] = {100, 300, 1000, 4000};
    uint64_t gap_ms = gaps_ms[sim_random(s, 0, 3)];
    p->fault_gap_us = sim_random(s, gap_ms / 2, 2 * gap_ms) * SIM_MS;
    p->fault_time_us = sim_random(s, gap_ms / 2, 5 * gap_ms) * SIM_MS;
    p->pct_at_leader = (unsigned)sim_random(s, 0, 100);
    for (unsigned i = 0; i < sizeof picked / sizeof picked[0]; i++)
        p->weights[picked[i]] = sometimes(s, 60, 1, 10);
    p->weights[FAULT_BIT_FLIP] = sometimes(s, 60, 1, 8);
    p->weights[FAULT_WIPE] = sometimes(s, 60, 1, 5);
    p->weights[FAULT_WIPE_SAME] = sometimes(s, 60, 1, 8);
    /* Only where nobody removes it from the configuration: then nobody may add it again. */
    if (!p->by_peers || p->operator_gap_us != 0)
        p->weights[FAULT_WIPE_SAME] = 0;
    p->weights[FAULT_MOVE] = sometimes(s, 40, 1, 3);
    /* Leases are for clocks that do not lie. */
    if (p->options.clock_drift_ms > 0)
        p->weights[FAULT_JUMP] = p->weights[FAULT_SUSPEND] = 0;
    if (p->ppm_replay == 0)
        p->weights[FAULT_REPLAY] = 0;
    /* Without a roll, and in none of the pinned seeds, so that they are what they were. */
    bool is_later = s->seed % 9 == 3 || s->seed % 9 == 8;
    p->weights[FAULT_FULL] = is_later ? 8 : 0;
    p->weights[FAULT_BIT_FLIP] += is_later ? 8 : 0; /* so that they are many enough */
}

void plan_make(struct sim *s)
{
    struct plan *p = &s->plan;
    plan_cluster(s, p);
    plan_options(s, &p->options);
    plan_load(s, p);
    plan_weather(s, p);
    plan_faults(s, p);
    asks_plan(s);
    p->storm_us = s->seconds * SIM_S;
    /* An operator wants quiet before the end of a storm. */
    p->round_us = p->operator_gap_us ? sim_random(s, 45, 90) * SIM_S : sim_random(s, 8, 25) * SIM_S;
    p->ppm_hunt = sometimes(s, 60, 100000, 900000);
    p->pct_once = sometimes(s, 60, 5, 100);
}
