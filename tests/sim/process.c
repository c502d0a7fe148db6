/* SPDX-License-Identifier: MIT
 * Nodes: what node.c is in the daemon. A turn takes whatever came in, in the
 * order of node.c: time first, then what the disk wrote, answers, requests.
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

/* ---- clocks ---- */

uint64_t clock_us(const struct sim *s, unsigned i)
{
    const struct node_clock *c = &s->nodes[i].clock;
    int64_t passed_us = (int64_t)(s->now_us - c->since_us);
    return c->base_us + (uint64_t)(passed_us + passed_us * c->drift_ppm / 1000000);
}

void clock_set(struct sim *s, unsigned i, uint64_t now_us, int64_t drift_ppm)
{
    s->nodes[i].clock =
        (struct node_clock){.base_us = now_us, .since_us = s->now_us, .drift_ppm = drift_ppm};
}

uint64_t process_now_ms(const struct sim *s, unsigned i)
{
    return clock_us(s, i) / 1000;
}

/* ---- the loop ---- */

static void turn_at(struct sim *s, unsigned i, uint64_t at_us)
{
    struct sim_node *n = &s->nodes[i];
    if (at_us < n->paused_until_us)
        at_us = n->paused_until_us;
    if (n->turn_at_us <= at_us)
        return;
    n->turn_at_us = at_us;
    sim_at(s, at_us, EVENT_TURN, i, n->life, 0, NULL);
}

void process_wake(struct sim *s, unsigned i)
{
    struct sim_node *n = &s->nodes[i];
    uint64_t slow_us = n->slow_until_us > s->now_us ? n->slow_us : 0;
    turn_at(s, i, s->now_us + sim_random(s, 20, 120) + slow_us);
}

static void wake_at_tick(struct sim *s, unsigned i)
{
    struct sim_node *n = &s->nodes[i];
    uint64_t clock = clock_us(s, i), tick_us = n->driver->next_tick_ms * 1000;
    uint64_t left_us = tick_us > clock ? tick_us - clock : 0;
    uint64_t slow_us = n->slow_until_us > s->now_us ? n->slow_us : 0;
    left_us = (uint64_t)((int64_t)left_us - (int64_t)left_us * n->clock.drift_ppm / 1000000);
    turn_at(s, i, s->now_us + left_us + 1 + slow_us);
}

static void take_mail(struct sim_node *n)
{
    struct driver *d = n->driver;
    struct list *it;
    while ((it = list_pop_front(&n->written)) != NULL)
        driver_written(d, LIST_ENTRY(it, struct storage_write, link));
    while ((it = list_pop_front(&n->answered)) != NULL)
        driver_answered(d, LIST_ENTRY(it, struct transport_request, link));
    while ((it = list_pop_front(&n->loaded)) != NULL)
        driver_loaded(d, LIST_ENTRY(it, struct storage_load, link));
    while ((it = list_pop_front(&n->worked)) != NULL)
        driver_worked(d, LIST_ENTRY(it, struct storage_job, link));
    while ((it = list_pop_front(&n->requests)) != NULL)
        driver_request(d, LIST_ENTRY(it, struct node_request, link));
}

void process_turn(struct sim *s, unsigned i, uint64_t at_us)
{
    struct sim_node *n = &s->nodes[i];
    if (n->turn_at_us != at_us || !n->driver)
        return;
    n->turn_at_us = UINT64_MAX;
    if (n->paused_until_us > s->now_us) {
        turn_at(s, i, n->paused_until_us);
        return;
    }
    s->counts->turns++;
    s->turns++;
    driver_advance(n->driver, process_now_ms(s, i));
    take_mail(n);
    driver_pump(n->driver);
    check_turn(s, i);
    clients_completed(s);
    if (driver_is_applying(n->driver))
        process_wake(s, i);
    wake_at_tick(s, i);
}

void process_submit(struct sim *s, unsigned i, struct node_request *r)
{
    list_push_back(&s->nodes[i].requests, &r->link);
    process_wake(s, i);
}

/* ---- life ---- */

static void name_address(struct sim *s, unsigned i)
{
    struct node_options *o = &s->nodes[i].options;
    snprintf(o->addr, sizeof o->addr, "10.0.%u.%u:7000", s->nodes[i].moves, i + 1);
}

void process_init(struct sim *s, unsigned i)
{
    struct sim_node *n = &s->nodes[i];
    n->options = s->plan.options;
    list_init(&n->requests);
    list_init(&n->visitors);
    list_init(&n->written);
    list_init(&n->loaded);
    list_init(&n->worked);
    list_init(&n->answered);
    n->turn_at_us = UINT64_MAX;
    name_address(s, i);
    uint64_t skew_us = sim_random(s, 0, 100 * SIM_S);
    clock_set(s, i, s->now_us + skew_us, 0);
    disk_wipe(&n->disk, false);
    if (!s->plan.by_peers || i >= s->plan.n_founders)
        return;
    n->options.n_peers = s->plan.n_founders;
    for (unsigned k = 0; k < s->plan.n_founders; k++)
        snprintf(n->options.peers[k], sizeof n->options.peers[k], "10.0.0.%u:7000", k + 1);
}

void process_move(struct sim *s, unsigned i)
{
    s->nodes[i].moves++;
    name_address(s, i);
    trace(s, "node %u moves to %s", i, s->nodes[i].options.addr);
}

/* In the order of node.h. */
static void restore(struct sim *s, struct sim_node *n)
{
    struct disk *d = &n->disk;
    int err =
        driver_restore_state(n->driver, d->files.meta.data, d->files.meta.len, d->files.state);
    if (err == 0 && d->base.pos.index > 0)
        err = driver_restore_base(n->driver, &d->base);
    driver_restore_hard_state(n->driver, d->hard_state);
    for (uint64_t k = d->base.pos.index; err == 0 && k < d->n_log; k++)
        err = driver_restore_entry(n->driver, d->log[k]);
    if (err == 0)
        err = driver_restore_end(n->driver);
    SIM_SAFE(s, err == 0, "node %u cannot read its own disk: %s", d->self, err_text(err));
    if (d->files.meta.len > 0)
        probe(s, PROBE_RESTART_STATE);
}

void process_start(struct sim *s, unsigned i)
{
    struct sim_node *n = &s->nodes[i];
    ASSERT(!n->driver);
    n->life++;
    n->squatted = false;
    n->disk.identity.boot++;
    n->options.seed = rng_next(&s->rng);
    n->driver = driver_new(&n->options, &n->disk.identity);
    restore(s, n);
    driver_start(n->driver, &n->disk.storage, &n->link.transport, process_now_ms(s, i));
    n->turn_at_us = UINT64_MAX;
    n->paused_until_us = 0;
    n->heard_term = 0;
    n->heard_now = 0;
    trace(s, "node %u starts: boot %llu, log up to %llu", i,
          (unsigned long long)n->disk.identity.boot, (unsigned long long)n->disk.n_log);
    check_started(s, i);
    process_wake(s, i);
}

/* Here the lock is only said to be there; store/ has it, and tests of its own. It comes before
 * anything is written: the one that runs must not see a difference. */
void process_start_twice(struct sim *s, unsigned i)
{
    const struct sim_node *n = &s->nodes[i];
    ASSERT(n->driver);
    trace(s, "node %u is started a second time: the data directory is in use", i);
    SIM_SAFE(s, n->driver->identity.boot == n->disk.identity.boot,
             "node %u: the second start counts", i);
}

static void drop_mail(struct sim_node *n)
{
    struct list *it;
    while ((it = list_pop_front(&n->written)) != NULL) {
        struct storage_write *w = LIST_ENTRY(it, struct storage_write, link);
        storage_write_free(&w);
    }
    while ((it = list_pop_front(&n->loaded)) != NULL) {
        struct storage_load *l = LIST_ENTRY(it, struct storage_load, link);
        storage_load_free(&l);
    }
    while ((it = list_pop_front(&n->worked)) != NULL) {
        struct storage_job *j = LIST_ENTRY(it, struct storage_job, link);
        storage_job_free(&j);
    }
    while ((it = list_pop_front(&n->answered)) != NULL) {
        struct transport_request *t = LIST_ENTRY(it, struct transport_request, link);
        transport_request_free(&t);
    }
    while ((it = list_pop_front(&n->requests)) != NULL)
        driver_done(LIST_ENTRY(it, struct node_request, link), ERR_SHUTDOWN);
}

void process_kill(struct sim *s, unsigned i)
{
    struct sim_node *n = &s->nodes[i];
    ASSERT(n->driver);
    trace(s, "node %u dies", i);
    if (driver_is_leader(n->driver))
        probe(s, PROBE_RESTART_LEADER);
    if (driver_is_applying(n->driver))
        probe(s, PROBE_SLICED_KILLED);
    n->dying = true; /* whatever it would answer now, nobody hears it */
    disk_crash(s, i);
    driver_abandon(n->driver);
    drop_mail(n);
    driver_free(&n->driver);
    n->dying = false;
    n->turn_at_us = UINT64_MAX;
    clients_completed(s);
}

void process_stop(struct sim *s, unsigned i)
{
    trace(s, "node %u is told to stop", i);
    driver_stop(s->nodes[i].driver);
    process_wake(s, i);
}

bool process_transfer(struct sim *s, unsigned i)
{
    if (raft_transfer(s->nodes[i].driver->raft, UUID_ZERO) < 0)
        return false;
    trace(s, "node %u hands over its leadership", i);
    process_wake(s, i);
    return true;
}

void process_wipe(struct sim *s, unsigned i, bool same_id)
{
    struct sim_node *n = &s->nodes[i];
    ASSERT(!n->driver);
    trace(s, "the disk of node %u is wiped%s", i, same_id ? ", but not its id" : "");
    unsigned place = s->n_wiped++ % SIM_WIPED;
    n->wiped_as = s->n_wiped;
    s->wiped[place].id = n->disk.identity.node;
    s->wiped[place].incarnation = n->disk.identity.incarnation;
    s->wiped[place].at_us = s->now_us;
    disk_wipe(&n->disk, same_id);
    n->id_used_up = same_id;
    n->seen_config = (struct raft_config){0};
    n->ever_voted = n->seen_outsider = false;
    n->voted_term = 0;
}

int process_of(const struct sim *s, const struct raft_member *m)
{
    for (unsigned i = 0; i < SIM_NODES; i++)
        if (uuid_equal(s->nodes[i].disk.identity.node, m->id) &&
            s->nodes[i].disk.identity.incarnation == m->incarnation)
            return (int)i;
    return -1;
}

const struct raft_member *process_member(const struct sim *s, unsigned i)
{
    const struct storage_identity *identity = &s->nodes[i].disk.identity;
    const struct raft_member *m = raft_config_find(&s->config, identity->node);
    return m && m->incarnation == identity->incarnation ? m : NULL;
}
