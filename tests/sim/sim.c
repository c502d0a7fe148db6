/* SPDX-License-Identifier: MIT
 * The world, its events in the order of simulated time, and the life of a seed.
 */
#include "sim.h"

#include "base/assert.h"
#include "base/mem.h"

/* ---- events ---- */

static bool comes_before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

void events_push(struct events *q, struct event e)
{
    if (q->n == q->cap) {
        q->cap = q->cap ? 2 * q->cap : 256;
        q->items = mem_realloc(q->items, q->cap * sizeof *q->items);
    }
    e.seq = ++q->seq;
    size_t i = q->n++;
    for (; i > 0 && comes_before(&e, &q->items[(i - 1) / 2]); i = (i - 1) / 2)
        q->items[i] = q->items[(i - 1) / 2];
    q->items[i] = e;
}

bool events_pop(struct events *q, struct event *ret_event)
{
    if (q->n == 0)
        return false;
    *ret_event = q->items[0];
    struct event last = q->items[--q->n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < q->n && comes_before(&q->items[child + 1], &q->items[child]))
            child++;
        if (child >= q->n || !comes_before(&q->items[child], &last))
            break;
        q->items[i] = q->items[child];
        i = child;
    }
    if (q->n > 0)
        q->items[i] = last;
    return true;
}

void sim_at(struct sim *s, uint64_t at_us, enum event_kind kind, unsigned node, uint64_t a,
            uint64_t b, void *what)
{
    struct event e = {.at_us = at_us < s->now_us ? s->now_us : at_us,
                      .kind = kind,
                      .node = node,
                      .a = a,
                      .b = b,
                      .what = what};
    events_push(&s->events, e);
}

/* ---- chance ---- */

uint64_t sim_random_gap(struct sim *s, uint64_t mean_us)
{
    /* Half the time up to the mean, then up to twice, four times and eight times as long. */
    uint64_t doubled = mean_us;
    for (unsigned i = 0; i < 3 && (sim_random(s, 0, 3) == 0); i++)
        doubled *= 2;
    return sim_random(s, 1, doubled) + mean_us / 4;
}

void sim_mix(struct sim *s, uint64_t value)
{
    struct rng mixer = {s->hash ^ value};
    s->hash = rng_next(&mixer);
}

/* ---- time ---- */

static void happen(struct sim *s, const struct event *e)
{
    bool of_storm = e->kind >= EVENT_CLIENT && e->kind <= EVENT_STALK;
    if (of_storm && (s->healing || e->a != s->storm))
        return;
    switch (e->kind) {
    case EVENT_TURN:
        if (s->nodes[e->node].life == e->a)
            process_turn(s, e->node, e->at_us);
        break;
    case EVENT_NET:
        net_event(s, e->what);
        break;
    case EVENT_FILES:
        files_done(s, e->node, e->a, (unsigned)e->b);
        break;
    case EVENT_DISK:
        disk_done(s, e->node, e->a);
        break;
    case EVENT_CLIENT:
        client_act(s, e->node);
        break;
    case EVENT_OPERATOR:
        operator_act(s);
        break;
    case EVENT_BACKUP:
        backup_act(s);
        break;
    case EVENT_FAULT:
        fault_act(s);
        break;
    case EVENT_HUNT:
        fault_hunt(s, e->node);
        break;
    case EVENT_STALK:
        client_stalk(s, e->node, (enum op_type)(e->b / 2), e->b % 2);
        break;
    case EVENT_HEAL:
        fault_heal(s, e);
        break;
    }
}

void sim_run(struct sim *s, uint64_t end_us, bool (*until)(struct sim *s))
{
    struct event e;
    while (s->events.n > 0 && s->events.items[0].at_us <= end_us) {
        if (!events_pop(&s->events, &e))
            break;
        s->now_us = e.at_us;
        s->counts->events++;
        happen(s, &e);
        sim_mix(s, e.at_us ^ (uint64_t)e.kind << 56 ^ (uint64_t)e.node << 48);
        if (until && until(s))
            return;
    }
    if (s->now_us < end_us)
        s->now_us = end_us;
}

/* ---- life ---- */

struct sim *sim_new(uint64_t seed, uint64_t seconds, struct counts *counts)
{
    struct sim *s = mem_zalloc(sizeof *s);
    s->seed = seed;
    s->seconds = seconds;
    s->counts = counts;
    s->rng.state = seed;
    (void)rng_next(&s->rng);
    s->now_us = SIM_S;
    s->model = model_new();
    s->ops = mem_array(64, sizeof *s->ops);
    s->cap_ops = 64;
    s->n_ops = 1;
    list_init(&s->calls);
    list_init(&s->completed);
    plan_make(s);
    for (unsigned i = 0; i < SIM_NODES; i++) {
        disk_init(s, i);
        net_init(s, i);
        process_init(s, i);
    }
    return s;
}

static void free_events(struct sim *s)
{
    struct event e;
    while (events_pop(&s->events, &e))
        if (e.kind == EVENT_NET)
            flight_free(e.what);
    mem_free(s->events.items);
}

void sim_free(struct sim **s)
{
    struct sim *mine = *s;
    for (unsigned i = 0; i < SIM_NODES; i++)
        if (is_up(mine, i))
            process_kill(mine, i);
    clients_completed(mine);
    ASSERT(list_is_empty(&mine->calls));
    free_events(mine);
    net_free(mine);
    for (unsigned i = 0; i < SIM_NODES; i++)
        disk_free(&mine->nodes[i].disk);
    for (uint64_t i = 0; i < mine->n_log; i++)
        raft_entry_unref(&mine->log[i].entry);
    model_free(&mine->model);
    past_free(mine);
    mem_free(mine->log);
    mem_free(mine->leaders.items);
    mem_free(mine->ops);
    mem_free(mine);
    *s = NULL;
}

static bool storm_is_over(struct sim *s)
{
    return s->now_us >= s->storm_ends_us;
}

static void storm(struct sim *s, uint64_t us)
{
    s->storm++;
    s->healing = false;
    s->storm_ends_us = s->now_us + us;
    clients_start(s);
    operator_start(s);
    backups_start(s);
    faults_start(s);
    sim_run(s, s->storm_ends_us, storm_is_over);
    s->healing = true;
}

void sim_live(struct sim *s)
{
    report_watch(s);
    for (unsigned i = 0; i < s->plan.n_founders; i++)
        process_start(s, i);
    uint64_t left_us = s->plan.storm_us;
    while (left_us > 2 * s->plan.round_us) {
        storm(s, s->plan.round_us);
        left_us -= s->plan.round_us;
        liveness_run(s, false);
        faults_resume(s);
    }
    storm(s, left_us);
    liveness_run(s, true);
    check_end(s);
    history_check(s);

    s->counts->simulated_us += s->now_us;
    s->counts->seeds++;
}
