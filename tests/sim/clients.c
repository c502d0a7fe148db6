/* SPDX-License-Identifier: MIT
 * Clients: writes, deletes, batches and reads through any node. One waits for
 * its answer before it goes on, tries elsewhere when it got none, sends a
 * second write beside the first, or vanishes.
 */
#include "sim.h"

#include <stdio.h>

#include "base/mem.h"
#include "kv/command.h"

static unsigned long long ull(uint64_t v)
{
    return (unsigned long long)v;
}

#define STALKER    (SIM_CLIENTS + 1) /* waits for nothing */
#define REUSED_PPM 20000             /* of the names: they were used before */

/* ---- operations ---- */

struct op *op_of(struct sim *s, uint64_t id)
{
    return &s->ops[id];
}

static uint64_t op_new(struct sim *s, enum op_type type, unsigned client)
{
    if (s->n_ops == s->cap_ops) {
        s->cap_ops *= 2;
        s->ops = mem_realloc(s->ops, s->cap_ops * sizeof *s->ops);
    }
    s->ops[s->n_ops] =
        (struct op){.type = type, .asked = type, .client = client, .invoked = ++s->moments};
    return s->n_ops++;
}

size_t client_key(unsigned key, char out[8])
{
    return (size_t)snprintf(out, 8, "k%02u", key % 100);
}

int client_key_of(const uint8_t *key, size_t len)
{
    int n = len == 3 && key[0] == 'k' ? (key[1] - '0') * 10 + (key[2] - '0') : -1;
    return n < SIM_KEYS_MAX ? n : -1;
}

static void choose_keys(struct sim *s, struct op *op)
{
    op->n_keys = 1;
    op->keys[0] = (unsigned)sim_random(s, 0, s->plan.n_keys - 1);
    if (op->type != OP_BATCH)
        return;
    unsigned wanted = (unsigned)sim_random(s, 1, SIM_BATCH_KEYS);
    while (op->n_keys < wanted && op->n_keys < s->plan.n_keys) {
        op->keys[op->n_keys] = (op->keys[op->n_keys - 1] + 1) % s->plan.n_keys;
        op->n_keys++;
    }
}

static void choose_size(struct sim *s, struct op *op)
{
    op->value_len = (uint32_t)sim_random(s, 0, s->plan.value_max);
    if (!sim_chance(s, s->plan.ppm_oversized))
        return;
    fault_count(s, FAULT_OVERSIZED);
    op->value_len = (uint32_t)s->plan.oversized_max;
}

static void put_name(const struct op *op, uint64_t id, struct buf *body)
{
    char name[LIMIT_ONCE_NAME_BYTES];
    struct kv_once once = {.name = (const uint8_t *)name};
    once.name_len = (size_t)snprintf(name, sizeof name, "%llu", ull(op->name));
    bytes_put_be(once.fingerprint, id, 8);
    kv_once_encode(&once, body);
}

static void encode(struct sim *s, uint64_t id, struct buf *body)
{
    struct op *op = op_of(s, id);
    if (op->name)
        put_name(op, id, body);
    if (ask_is_v1(op)) {
        ask_encode(s, id, body);
        return;
    }
    struct kv_op ops[SIM_BATCH_KEYS];
    char names[SIM_BATCH_KEYS][8];
    struct buf value = BUF_INIT;
    model_make_value(s, id, op->value_len, &value);
    for (unsigned i = 0; i < op->n_keys; i++) {
        ops[i] = (struct kv_op){.type = op->type == OP_DELETE ? KV_OP_DELETE : KV_OP_SET};
        ops[i].key_len = client_key(op->keys[i], names[i]);
        ops[i].key = (const uint8_t *)names[i];
        ops[i].value = value.data;
        ops[i].value_len = value.len;
    }
    kv_body_encode(op->type == OP_BATCH ? KV_BATCH : KV_SINGLE, ops, op->n_keys, body);
    buf_free(&value);
}

/* ---- calls ---- */

static void capture_read(struct call *c)
{
    struct sim *s = c->sim;
    struct machine *state = s->nodes[c->node].driver->machine;
    char name[8];
    size_t len = client_key(op_of(s, c->op)->keys[0], name);
    c->applied = machine_applied(state).index;
    c->found = machine_get_value(state, name, len, &c->info, &c->value, &c->attrs) == 0;
    c->info.data = c->value.data;
    c->info.len = c->value.len;
    c->info.attrs = c->attrs.data;
    c->info.attrs_len = c->attrs.len;
}

/* In the middle of a turn: judged when it is over. */
static void call_done(struct node_request *r)
{
    struct call *c = r->owner;
    c->reset = c->sim->nodes[c->node].dying;
    if (r->type == NODE_READ && r->err == 0 && !c->reset)
        capture_read(c);
    if (r->type == NODE_READ && r->err == 0 && r->in.read.by_lease &&
        raft_status(c->sim->nodes[c->node].driver->raft).lease_ticks > 0)
        probe(c->sim, PROBE_READ_LEASE);
    list_remove(&c->link);
    list_push_back(&c->sim->completed, &c->link);
}

static void submit(struct sim *s, uint64_t id, unsigned client, unsigned node, bool twin)
{
    struct op *op = op_of(s, id);
    struct call *c = mem_zalloc(sizeof *c);
    *c = (struct call){.sim = s, .op = id, .node = node, .client = client, .twin = twin};
    c->floor = s->acked;
    op->n_calls++;
    op->refused = false; /* maybe it is not this time */
    c->request = node_request_new(op->type == OP_READ ? NODE_READ : NODE_WRITE);
    c->request->owner = c;
    c->request->done = call_done;
    uint64_t patience_ms = sim_random(s, 300, 5000);
    if (client == SIM_CLIENTS) /* the liveness phase waits */
        patience_ms = 18000;
    c->request->deadline_ms = process_now_ms(s, node) + patience_ms;
    if (op->type != OP_READ)
        encode(s, id, &c->request->in.write.body);
    else
        c->request->in.read.by_lease = sim_random(s, 0, 99) < s->plan.pct_lease;
    list_push_back(&s->calls, &c->link);
    process_submit(s, node, c->request);
    if (client < SIM_CLIENTS && !twin && sim_chance(s, s->plan.ppm_vanish)) {
        fault_count(s, FAULT_VANISH);
        c->vanished = true;
        s->clients[client].waiting = false;
        sim_at(s, s->now_us + sim_random(s, 1, 500 * SIM_MS), EVENT_CLIENT, client, s->storm, 0,
               NULL);
    }
}

/* A node that is up; the one talked to last as a rule, unless it did not answer. */
static int choose_node(struct sim *s, struct client *c)
{
    unsigned up[SIM_NODES], n = 0;
    for (unsigned i = 0; i < SIM_NODES; i++)
        if (is_up(s, i))
            up[n++] = i;
    if (n == 0)
        return -1;
    if (is_up(s, c->node) && !c->retry && sim_random(s, 0, 3) != 0)
        return (int)c->node;
    c->node = up[sim_random(s, 0, n - 1)];
    return (int)c->node;
}

static enum op_type choose_type(struct sim *s)
{
    unsigned roll = (unsigned)sim_random(s, 0, 99);
    if (roll < s->plan.pct_read)
        return OP_READ;
    roll = (unsigned)sim_random(s, 0, 99);
    if (roll < s->plan.pct_delete)
        return OP_DELETE;
    return roll < s->plan.pct_delete + s->plan.pct_batch ? OP_BATCH : OP_SET;
}

static void go_on(struct sim *s, unsigned client, uint64_t after_us)
{
    s->clients[client].waiting = false;
    sim_at(s, s->now_us + after_us, EVENT_CLIENT, client, s->storm, 0, NULL);
}

/* Its own name, as a rule; a client that is not careful takes one twice. */
static void choose_name(struct sim *s, uint64_t id)
{
    struct op *op = op_of(s, id);
    if (op->type == OP_READ || s->plan.pct_once == 0 || sim_random(s, 0, 99) >= s->plan.pct_once)
        return;
    op->name = id;
    if (!sim_chance(s, REUSED_PPM))
        return;
    const struct op *other = op_of(s, sim_random(s, id > 50 ? id - 50 : 1, id));
    if (other->name == 0 || other->name == id)
        return;
    op->name = other->name;
    fault_count(s, FAULT_ONCE_OTHER);
}

static uint64_t next_op(struct sim *s, unsigned client)
{
    uint64_t id = s->clients[client].again;
    s->clients[client].again = 0;
    if (id) {
        fault_count(s, FAULT_ONCE_AGAIN);
        return id;
    }
    id = op_new(s, choose_type(s), client);
    choose_keys(s, op_of(s, id));
    if (op_of(s, id)->type == OP_SET || op_of(s, id)->type == OP_BATCH)
        choose_size(s, op_of(s, id));
    choose_name(s, id);
    ask_choose(s, id);
    return id;
}

void client_act(struct sim *s, unsigned client)
{
    struct client *c = &s->clients[client];
    if (s->healing || c->waiting)
        return;
    bool again = c->retry;
    int node = choose_node(s, c);
    c->retry = false;
    if (node < 0) {
        go_on(s, client, 100 * SIM_MS);
        return;
    }
    if (again)
        fault_count(s, FAULT_RETRY);
    uint64_t id = next_op(s, client);
    bool is_set = op_of(s, id)->asked == OP_SET;
    c->waiting = true;
    submit(s, id, client, (unsigned)node, false);
    if (!is_set || sim_random(s, 0, 99) >= s->plan.pct_twin)
        return;
    struct client other = {.retry = true};
    int second = choose_node(s, &other);
    if (op_of(s, id)->name) {
        fault_count(s, FAULT_ONCE_TWIN);
        submit(s, id, client, (unsigned)second, true);
        return;
    }
    fault_count(s, FAULT_TWIN); /* the same again, by another way at the same time */
    uint64_t twin = op_new(s, OP_SET, SIM_CLIENTS + client);
    s->ops[twin].n_keys = 1;
    s->ops[twin].keys[0] = s->ops[id].keys[0];
    submit(s, twin, client, (unsigned)second, true);
}

void clients_start(struct sim *s)
{
    for (unsigned i = 0; i < s->plan.n_clients; i++) {
        uint64_t at_us = s->now_us + sim_random(s, 0, 2 * SIM_S);
        s->clients[i].node = (unsigned)sim_random(s, 0, s->plan.n_founders - 1);
        sim_at(s, at_us, EVENT_CLIENT, i, s->storm, 0, NULL);
    }
}

/* ---- judging the answers ---- */

static void judge_read(struct sim *s, const struct call *c)
{
    struct op *op = op_of(s, c->op);
    SIM_SAFE(s, c->applied >= c->floor,
             "node %u served a read at %llu; when it was asked, %llu had been acknowledged",
             c->node, ull(c->applied), ull(c->floor));
    const struct version *v = past_at(s, op->keys[0], c->applied);
    SIM_SAFE(s, model_is_key(s, op->keys[0], c->applied, c->found ? &c->info : NULL),
             "node %u: a read of key %u at %llu gives what is of %llu, not write %llu of %llu",
             c->node, op->keys[0], ull(c->applied), ull(c->info.revision), ull(v->op),
             ull(v->index));
    op->read_op = v->op;
    s->seen_revisions[op->keys[0]] = c->info.revision;
    if (!driver_is_leader(s->nodes[c->node].driver))
        probe(s, PROBE_READ_FOLLOWER);
    if (c->applied > s->acked)
        s->acked = c->applied;
    s->counts->reads++;
}

static void judge_old_value(struct sim *s, const struct call *c, const struct op *op)
{
    const struct buf *answer = &c->request->ret.write.answer;
    struct bytes_reader r = bytes_reader(answer->data, answer->len);
    struct kv_answer_item item;
    struct version v = *past_at(s, op->keys[0], op->index - 1);
    v.attrs_op = 0; /* they are not told */
    SIM_SAFE(s, kv_answer_next(&r, &item), "a delete without an answer");
    SIM_SAFE(s,
             item.what == KV_ANSWER_OLD ? v.op != 0 && past_is_value(s, op->keys[0], &v, item.value,
                                                                     item.value_len, NULL, 0)
                                        : v.op == 0,
             "delete %llu at %llu found something else than write %llu", ull(c->op), ull(op->index),
             ull(v.op));
}

/* What was acknowledged is in the log, at the place told, and took effect there. */
static void judge_write(struct sim *s, const struct call *c)
{
    struct op *op = op_of(s, c->op);
    uint64_t index = c->request->ret.write.log_id.index;
    SIM_SAFE(s, index > 0 && index <= s->n_log && s->log[index - 1].effective,
             "write %llu is acknowledged at %llu, where it is not", ull(c->op), ull(index));
    if (op->type == OP_DELETE || op->type == OP_REMOVE || op->type == OP_REMOVE_PREFIX) {
        uint32_t keys = op->type == OP_REMOVE_PREFIX ? op->prefix_keys : 1u << op->keys[0];
        SIM_SAFE(s, op->index == 0 || op->index == index,
                 "delete %llu is acknowledged at %llu and at %llu", ull(c->op), ull(op->index),
                 ull(index));
        op->index = index;
        const struct sim_node *n = &s->nodes[c->node];
        if (n->driver && raft_status(n->driver->raft).full)
            probe(s, PROBE_DELETED_FULL);
        SIM_SAFE(s, s->log[index - 1].keys == keys,
                 "delete %llu is acknowledged at %llu, where it is not", ull(c->op), ull(index));
    }
    if (op->type == OP_DELETE)
        judge_old_value(s, c, op);
    SIM_SAFE(s, op->index == index, "write %llu is acknowledged at %llu, but is at %llu",
             ull(c->op), ull(index), ull(op->index));
    if (ask_is_v1(op))
        ask_judge(s, c, index);
    if (op->n_calls > 1)
        probe(s, PROBE_ONCE_ANSWERED);
    if (index > s->acked)
        s->acked = index;
    s->counts->writes++;
}

static void judge_failed_write(struct sim *s, const struct call *c)
{
    struct op *op = op_of(s, c->op);
    int err = c->request->err;
    if (err == ERR_UNKNOWN) {
        op->unknown = true;
        probe(s, PROBE_WRITE_UNKNOWN);
        return;
    }
    if (err == ERR_NO_LEADER)
        probe(s, PROBE_WRITE_NO_LEADER);
    if (err == ERR_NO_SPACE)
        probe(s, PROBE_WRITE_NO_SPACE);
    if (err == ERR_CONFLICT) {
        SIM_SAFE(s, op->conflicted, "write %llu is refused because of its name, which was free",
                 ull(c->op));
        probe(s, PROBE_ONCE_CONFLICT);
    }
    if (op->n_calls > 1)
        return; /* another time it may have been taken */
    op->refused = true;
    SIM_SAFE(s, op->index == 0, "write %llu is refused (%s), but is at %llu", ull(c->op),
             err_text(err), ull(op->index));
}

static void judge(struct sim *s, const struct call *c)
{
    struct op *op = op_of(s, c->op);
    bool ok = c->request->err == 0;
    if (c->reset || (c->vanished && !ok))
        return;
    if (op->type == OP_READ && ok)
        judge_read(s, c);
    else if (ok)
        judge_write(s, c);
    else if (op->type == OP_READ)
        probe(s, PROBE_READ_FAILED);
    else
        judge_failed_write(s, c);
    if (ok && !c->vanished && op->returned == 0)
        op->returned = ++s->moments;
}

/* What has a name is sent again until something is known of it, as a rule. */
static void send_again(struct sim *s, const struct call *c)
{
    const struct op *op = op_of(s, c->op);
    if (op->name && !op->returned && c->request->err != ERR_CONFLICT && sim_random(s, 0, 9) != 0)
        s->clients[c->client].again = c->op;
}

void clients_completed(struct sim *s)
{
    struct list *it;
    while ((it = list_pop_front(&s->completed)) != NULL) {
        struct call *c = LIST_ENTRY(it, struct call, link);
        bool failed = c->reset || c->request->err != 0;
        if (c->request->type == NODE_READ || c->request->type == NODE_WRITE)
            judge(s, c);
        else if (c->request->type >= NODE_SNAPSHOT_OPEN)
            backup_completed(s, c);
        else
            operator_completed(s, c);
        sim_mix(s, c->op ^ (uint64_t)(unsigned)-c->request->err << 40);
        if (c->client < SIM_CLIENTS && !c->vanished && !c->twin) {
            s->clients[c->client].retry = failed && sim_random(s, 0, 99) < s->plan.pct_retry;
            if (failed)
                send_again(s, c);
            uint64_t gap_us = sim_random_gap(s, s->plan.think_us);
            go_on(s, c->client, gap_us);
        }
        node_request_free(&c->request);
        buf_free(&c->value);
        buf_free(&c->attrs);
        mem_free(c);
    }
}

/* ---- the liveness phase ---- */

uint64_t client_probe(struct sim *s, unsigned node, enum op_type type)
{
    uint64_t id = op_new(s, type, SIM_CLIENTS);
    choose_keys(s, op_of(s, id));
    submit(s, id, SIM_CLIENTS, node, false);
    return id;
}

uint64_t client_probe_old_name(struct sim *s, unsigned node)
{
    uint64_t name = 0;
    for (uint64_t k = s->n_ops - 1; k > 0 && name == 0; k--)
        name = s->ops[k].index ? s->ops[k].name : 0;
    if (name == 0)
        return 0;
    uint64_t id = op_new(s, OP_SET, SIM_CLIENTS);
    choose_keys(s, op_of(s, id));
    op_of(s, id)->name = name;
    submit(s, id, SIM_CLIENTS, node, false);
    return id;
}

/* ---- around a leader that was cut off ---- */

void clients_stalk(struct sim *s, unsigned leader)
{
    uint64_t window_us = 3 * s->plan.options.election_max_ms * SIM_MS;
    for (unsigned k = 0; k < 16; k++) {
        uint64_t at_us = s->now_us + sim_random(s, 0, window_us);
        enum op_type type = k % 4 < 2 ? OP_SET : OP_READ;
        sim_at(s, at_us, EVENT_STALK, leader, s->storm, 2 * (uint64_t)type + k % 2, NULL);
    }
}

void client_stalk(struct sim *s, unsigned leader, enum op_type type, bool elsewhere)
{
    struct client other = {.retry = true};
    int node = elsewhere && type != OP_READ ? choose_node(s, &other) : (int)leader;
    if (node < 0 || !is_up(s, (unsigned)node))
        return;
    uint64_t id = op_new(s, type, STALKER);
    choose_keys(s, op_of(s, id));
    submit(s, id, STALKER, (unsigned)node, true);
}

void call_submit(struct sim *s, unsigned node, struct node_request *r)
{
    struct call *c = mem_zalloc(sizeof *c);
    *c = (struct call){
        .sim = s, .node = node, .client = SIM_CLIENTS, .request = r, .asked_us = s->now_us};
    r->owner = c;
    r->done = call_done;
    list_push_back(&s->calls, &c->link);
    process_submit(s, node, r);
}
