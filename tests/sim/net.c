/* SPDX-License-Identifier: MIT
 * The network: a question travels, is answered by the receiver's driver, and
 * the answer travels back. Both ways it may be lost, late, or meet a cut.
 *
 *      send -> ASK --arrive--> at the receiver --answer--> HOME -> the sender
 *                 '-- held while the link is clogged         ^
 *                 '-- lost: TIMEOUT or UNREACHABLE ----------'
 */
#include "sim.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

enum stage { ASK, VISIT, HOME };

struct flight {
    struct list link; /* while held */
    struct sim *sim;
    enum stage stage;
    struct transport_request *request;
    unsigned from, to; /* to: SIM_NODES when nobody is known to live there */
    uint32_t from_life;
    struct list visiting; /* at the receiver, until it answers */
    uint64_t told_term;   /* by the answer, for the sender to be in at least */
    bool ghost;           /* a copy: nobody waits for the answer */
    bool foreign;         /* of another cluster: must be refused */
    bool copied;          /* there is a copy: nobody can say that it was not delivered */
    uint64_t number, deadline_us;
};

void flight_free(struct flight *f)
{
    transport_request_free(&f->request);
    mem_free(f);
}

/* ---- who lives where ---- */

static unsigned resident(const struct sim *s, const char *addr)
{
    for (unsigned i = 0; i < SIM_NODES; i++)
        if (strcmp(s->nodes[i].options.addr, addr) == 0)
            return i;
    return SIM_NODES;
}

static bool is_cut(const struct sim *s, unsigned from, unsigned to)
{
    return to < SIM_NODES && s->cut[from][to];
}

/* ---- on the way ---- */

static uint64_t latency(struct sim *s, enum transport_path path)
{
    uint64_t us = sim_random(s, s->plan.latency_min_us, s->plan.latency_max_us);
    bool of_election = path == TRANSPORT_VOTE || path == TRANSPORT_TIMEOUT_NOW;
    if (s->healing || !sim_chance(s, of_election ? s->plan.ppm_delay_vote : s->plan.ppm_delay))
        return us;
    fault_count(s, FAULT_DELAY);
    uint64_t max_us = 3 * (uint64_t)s->plan.options.election_max_ms * SIM_MS;
    return us + sim_random(s, SIM_MS, max_us);
}

/* Those of the core are too many to read, but for votes. */
static void trace_message(const struct flight *f, const char *what)
{
    enum transport_path path = f->request->path;
    if (f->sim->verbose && path != TRANSPORT_APPEND && path != TRANSPORT_READ_INDEX)
        trace(f->sim, "%s: node %u to %s, %s", what, f->from, f->request->addr,
              transport_path_text(path));
}

static void go_home(struct flight *f, int err, uint64_t at_us)
{
    trace_message(f, err ? err_text(err) : "answered");
    f->stage = HOME;
    f->request->err = err == ERR_UNREACHABLE && f->copied ? ERR_IO : err;
    sim_at(f->sim, at_us, EVENT_NET, f->from, 0, 0, f);
}

/* Nobody answers: the sender finds out when its time is up, or that it cannot even connect. */
static void lose(struct flight *f)
{
    struct sim *s = f->sim;
    if (f->ghost) {
        flight_free(f);
        return;
    }
    if (sim_random(s, 0, 3) == 0)
        go_home(f, ERR_UNREACHABLE, s->now_us + 10 * SIM_MS);
    else
        go_home(f, ERR_TIMEOUT, f->deadline_us);
}

static struct flight *ghost_of(const struct flight *f)
{
    struct flight *g = mem_zalloc(sizeof *g);
    *g = *f;
    g->ghost = true;
    g->request = transport_request_new();
    g->request->path = f->request->path;
    g->request->lane = f->request->lane;
    g->request->timeout_ms = f->request->timeout_ms;
    memcpy(g->request->addr, f->request->addr, sizeof g->request->addr);
    buf_append(&g->request->body, f->request->body.data, f->request->body.len);
    return g;
}

/* Keeps a copy of one message in a few, to be sent again much later. Commands of operators are
 * not kept: an operator whose old wish comes true anew may take away a needed voter. */
static void remember(struct sim *s, const struct flight *f)
{
    if (f->request->path == TRANSPORT_ADMIN || sim_random(s, 0, 15) != 0)
        return;
    struct replay *r = &s->replays[s->replays_next++ % SIM_REPLAYS];
    r->path = f->request->path;
    r->from = f->from;
    memcpy(r->addr, f->request->addr, sizeof r->addr);
    buf_clear(&r->body);
    buf_append(&r->body, f->request->body.data, f->request->body.len);
}

static void depart(struct flight *f)
{
    struct sim *s = f->sim;
    uint64_t at_us = s->now_us + latency(s, f->request->path);
    s->counts->messages++;
    f->number = ++s->sent;
    if (!s->healing && sim_chance(s, s->plan.ppm_drop)) {
        fault_count(s, FAULT_DROP);
        lose(f);
        return;
    }
    if (at_us > f->deadline_us && !f->ghost) { /* the sender gives up, the message comes late */
        struct flight *late = ghost_of(f);
        go_home(f, ERR_TIMEOUT, f->deadline_us);
        f = late;
    }
    sim_at(s, at_us, EVENT_NET, f->from, 0, 0, f);
}

static void link_send(struct transport *t, struct transport_request *r)
{
    struct link *l = (struct link *)t;
    struct sim *s = l->sim;
    struct flight *f = mem_zalloc(sizeof *f);
    f->sim = s;
    f->request = r;
    f->from = l->self;
    f->from_life = s->nodes[l->self].life;
    f->deadline_us = s->now_us + (uint64_t)r->timeout_ms * SIM_MS;
    if (!s->healing) {
        if (sim_chance(s, s->plan.ppm_duplicate)) {
            fault_count(s, FAULT_DUPLICATE);
            f->copied = true;
            depart(ghost_of(f));
        }
    }
    depart(f);
}

/* ---- at the receiver ---- */

static void answered(struct node_request *r)
{
    struct flight *f = r->owner;
    struct sim *s = f->sim;
    struct transport_request *t = f->request;
    bool died = s->nodes[f->to].dying;
    list_remove(&f->visiting);
    t->http_status = r->err == 0 ? r->ret.reply.http_status : 503;
    if (!died)
        buf_append(&t->reply, r->ret.reply.body.data, r->ret.reply.body.len);
    if (f->foreign && !died)
        check_refused(s, f->to, &r->ret.reply.body);
    node_request_free(&r);
    if (f->ghost) { /* not freed here: its bytes may be looked at by the caller */
        go_home(f, ERR_IO, s->now_us);
        return;
    }
    f->told_term = check_answered(s, f->to, t);
    uint64_t at_us = s->now_us + latency(s, f->request->path);
    if (died)
        go_home(f, ERR_IO, at_us);
    else if (!s->healing && sim_chance(s, s->plan.ppm_reset)) {
        fault_count(s, FAULT_RESET);
        go_home(f, ERR_IO, at_us);
    } else if (is_cut(s, f->to, f->from) || at_us > f->deadline_us)
        go_home(f, ERR_TIMEOUT, f->deadline_us);
    else
        go_home(f, 0, at_us);
}

static void visit(struct flight *f)
{
    struct sim *s = f->sim;
    struct node_request *r = node_request_new(NODE_PEER);
    f->stage = VISIT;
    if (!s->healing && !f->foreign)
        remember(s, f);
    trace_message(f, "arrived");
    r->owner = f;
    r->done = answered;
    list_push_back(&s->nodes[f->to].visitors, &f->visiting);
    r->deadline_ms = process_now_ms(s, f->to) + 5000;
    r->in.peer.path = f->request->path;
    buf_append(&r->in.peer.body, f->request->body.data, f->request->body.len);
    process_submit(s, f->to, r);
}

static const struct uuid foreign_cluster = {0xf0f0f0f0, 1};

/* What any node answers that is asked for another; or who it is. */
static void answer_as_foreigner(struct flight *f)
{
    struct sim *s = f->sim;
    struct wire_message question, answer = {0};
    if (wire_decode(f->request->body.data, f->request->body.len, &question) < 0) {
        go_home(f, ERR_IO, s->now_us);
        return;
    }
    const struct wire_header *h = &question.header;
    answer.header = (struct wire_header){.type = WIRE_REFUSED,
                                         .cluster = foreign_cluster,
                                         .from = {0xf0f0f0f0, 2},
                                         .to = h->from,
                                         .to_incarnation = h->from_incarnation,
                                         .from_incarnation = 3,
                                         .term = 1000000,
                                         .seq = h->seq};
    answer.refused.code = ERR_ID_MISMATCH;
    if (h->type == WIRE_HELLO && uuid_is_zero(h->to)) {
        answer.header.type = WIRE_HELLO_REPLY;
        answer.hello_reply.has_data = true;
        memcpy(answer.hello_reply.addr, f->request->addr, sizeof answer.hello_reply.addr);
        answer.hello_reply.leader = answer.header.from;
        memcpy(answer.hello_reply.leader_addr, f->request->addr, sizeof answer.hello_reply.addr);
    }
    wire_message_free(&question);
    f->request->http_status = answer.header.type == WIRE_REFUSED ? 409 : 200;
    wire_encode(&answer, &f->request->reply);
    go_home(f, 0, s->now_us + latency(s, f->request->path));
}

static void arrive(struct flight *f)
{
    struct sim *s = f->sim;
    f->to = resident(s, f->request->addr);
    /* Whoever belongs to no cluster yet may be taken into any. */
    bool no_way = f->foreign && f->to < SIM_NODES && is_up(s, f->to) &&
                  uuid_is_zero(s->nodes[f->to].driver->identity.cluster);
    if (f->to == SIM_NODES || !is_up(s, f->to) || no_way) {
        if (f->ghost)
            flight_free(f);
        else if (f->to < SIM_NODES && s->nodes[f->to].squatted && !is_cut(s, f->from, f->to))
            answer_as_foreigner(f);
        else
            go_home(f, ERR_UNREACHABLE, s->now_us + s->plan.latency_min_us);
        return;
    }
    if (is_cut(s, f->from, f->to)) {
        lose(f);
        return;
    }
    if (s->clogged[f->from][f->to]) {
        list_push_back(&s->held[f->from][f->to], &f->link);
        return;
    }
    uint64_t *last = &s->arrived[f->from][f->to];
    if (f->number < *last)
        fault_count(s, FAULT_REORDER);
    else
        *last = f->number;
    visit(f);
}

static void come_home(struct flight *f)
{
    struct sim_node *n = &f->sim->nodes[f->from];
    if (!f->ghost && n->driver && n->life == f->from_life) {
        list_push_back(&n->answered, &f->request->link);
        if (f->request->err == 0)
            promise_heard(f->sim, f->from, f->to, f->told_term);
        f->request = NULL;
        process_wake(f->sim, f->from);
    }
    flight_free(f);
}

void net_event(struct sim *s, struct flight *f)
{
    (void)s;
    if (f->stage == ASK)
        arrive(f);
    else
        come_home(f);
}

const struct transport_request *net_overdue(const struct sim *s, unsigned i)
{
    const struct sim_node *n = &s->nodes[i];
    bool leads = driver_is_leader(n->driver);
    bool disk_is_done = !n->disk.busy && list_is_empty(&n->written) && list_is_empty(&n->loaded);
    LIST_FOREACH (it, &n->visitors) {
        const struct transport_request *t = LIST_ENTRY(it, struct flight, visiting)->request;
        if (t->path == TRANSPORT_FORWARD
                ? !leads
                : disk_is_done && (t->path == TRANSPORT_VOTE || t->path == TRANSPORT_APPEND ||
                                   t->path == TRANSPORT_TIMEOUT_NOW))
            return t;
    }
    return NULL;
}

/* ---- faults ---- */

void net_unclog(struct sim *s, unsigned from, unsigned to)
{
    struct list *it;
    if (!s->clogged[from][to])
        return;
    s->clogged[from][to] = false;
    fault_count(s, FAULT_UNCLOG);
    while ((it = list_pop_front(&s->held[from][to])) != NULL) {
        struct flight *f = LIST_ENTRY(it, struct flight, link);
        if (s->healing && f->request->path == TRANSPORT_ADMIN) {
            lose(f); /* see operator.c: no old wish comes true now */
            continue;
        }
        if (f->deadline_us < s->now_us && !f->ghost) {
            struct flight *late = ghost_of(f);
            go_home(f, ERR_TIMEOUT, s->now_us);
            f = late;
        }
        uint64_t at_us = s->now_us + sim_random(s, 0, 20 * SIM_MS);
        sim_at(s, at_us, EVENT_NET, from, 0, 0, f);
    }
}

void net_heal(struct sim *s)
{
    memset(s->cut, 0, sizeof s->cut);
    for (unsigned from = 0; from < SIM_NODES; from++)
        for (unsigned to = 0; to < SIM_NODES; to++)
            net_unclog(s, from, to);
}

/* The ids are right, the cluster is not, and the term is above all. */
static bool make_foreign(const struct buf *body, struct buf *ret_body)
{
    struct wire_message m;
    if (wire_decode(body->data, body->len, &m) < 0)
        return false;
    bool is_of_core = m.header.type == WIRE_APPEND || m.header.type == WIRE_VOTE ||
                      m.header.type == WIRE_READ_INDEX || m.header.type == WIRE_TIMEOUT_NOW;
    if (is_of_core) {
        m.header.cluster = foreign_cluster;
        m.header.term = m.raft.term = m.header.term + 3;
        wire_encode(&m, ret_body);
    }
    wire_message_free(&m);
    return is_of_core;
}

void net_replay(struct sim *s, bool foreign)
{
    const struct replay *r = &s->replays[sim_random(s, 0, SIM_REPLAYS - 1)];
    struct buf body = BUF_INIT;
    if (r->body.len == 0 || (foreign && !make_foreign(&r->body, &body)))
        return;
    if (!foreign)
        buf_append(&body, r->body.data, r->body.len);
    fault_count(s, foreign ? FAULT_FOREIGN : FAULT_REPLAY);
    struct flight *f = mem_zalloc(sizeof *f);
    f->sim = s;
    f->from = r->from;
    f->ghost = true;
    f->foreign = foreign;
    f->deadline_us = s->now_us;
    f->request = transport_request_new();
    f->request->path = r->path;
    memcpy(f->request->addr, r->addr, sizeof r->addr);
    f->request->body = body;
    f->number = ++s->sent;
    sim_at(s, s->now_us + 1, EVENT_NET, f->from, 0, 0, f);
}

/* ---- life ---- */

void net_init(struct sim *s, unsigned i)
{
    s->nodes[i].link = (struct link){.transport = {.send = link_send}, .sim = s, .self = i};
    for (unsigned k = 0; k < SIM_NODES; k++)
        list_init(&s->held[i][k]);
}

void net_free(struct sim *s)
{
    struct list *it;
    for (unsigned i = 0; i < SIM_NODES; i++)
        for (unsigned k = 0; k < SIM_NODES; k++)
            while ((it = list_pop_front(&s->held[i][k])) != NULL)
                flight_free(LIST_ENTRY(it, struct flight, link));
    for (unsigned i = 0; i < SIM_REPLAYS; i++)
        buf_free(&s->replays[i].body);
}
