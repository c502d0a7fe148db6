/* SPDX-License-Identifier: MIT
 * The state machine made anew from its description alone (kv/kv.h): which of
 * the committed commands count, and what they change. What the nodes hold at
 * any applied index is compared with it.
 */
#include "sim.h"

#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "kv/command.h"

#define CLOCK_SLACK_MS 1000 /* a turn is long */

struct seen {
    uint64_t seq, term;
};

struct session {
    struct uuid node;
    uint64_t member_since;
    uint64_t boot, floor;
    struct seen *seen;
    size_t n, cap;
};

/* What is remembered under a name. */
struct once {
    uint64_t name, op, term;
    uint64_t time; /* 1 + when the cluster's clock was told next; 0: not yet */
};

struct model {
    struct session sessions[LIMIT_MEMBERS];
    unsigned n_sessions;
    struct once *once;
    size_t n_once, cap_once;
    uint64_t clock_ms;
    struct buf scratch, attrs;
};

struct model *model_new(void)
{
    return mem_zalloc(sizeof(struct model));
}

void model_free(struct model **m)
{
    for (unsigned i = 0; i < (*m)->n_sessions; i++)
        mem_free((*m)->sessions[i].seen);
    mem_free((*m)->once);
    buf_free(&(*m)->scratch);
    buf_free(&(*m)->attrs);
    MEM_FREE(*m);
}

/* ---- values ---- */

void model_make_value(struct sim *s, uint64_t op, uint32_t len, struct buf *out)
{
    (void)s;
    uint8_t head[8];
    bytes_put_be(head, op, 8);
    buf_append(out, head, sizeof head);
    buf_reserve(out, len);
    memset(out->data + out->len, (int)(op & 0x7f), len);
    out->len += len;
}

bool model_parse_value(struct sim *s, const void *p, size_t len, uint64_t *ret_op)
{
    const uint8_t *bytes = p;
    if (len < 8)
        return false;
    uint64_t op = bytes_get_be(bytes, 8);
    if (op == 0 || op >= s->n_ops || s->ops[op].value_len != len - 8)
        return false;
    for (size_t i = 8; i < len; i++)
        if (bytes[i] != (op & 0x7f))
            return false;
    *ret_op = op;
    return true;
}

/* ---- sessions ---- */

static struct session *session_of(struct model *m, struct uuid node)
{
    for (unsigned i = 0; i < m->n_sessions; i++)
        if (uuid_equal(m->sessions[i].node, node))
            return &m->sessions[i];
    return NULL;
}

static void commit_config(struct sim *s, const struct raft_entry *e)
{
    struct model *m = s->model;
    struct raft_config c;
    struct session next[LIMIT_MEMBERS];
    SIM_SAFE(s, raft_config_decode(e->data, e->len, &c) == 0, "a configuration does not decode");
    memset(next, 0, sizeof next);
    for (unsigned i = 0; i < c.n_members; i++) {
        struct session *known = session_of(m, c.members[i].id);
        next[i] = known ? *known
                        : (struct session){
                              .node = c.members[i].id,
                              .member_since = e->pos.index,
                              .floor = 1,
                          };
        if (known)
            known->seen = NULL;
    }
    for (unsigned i = 0; i < m->n_sessions; i++)
        mem_free(m->sessions[i].seen);
    memcpy(m->sessions, next, sizeof next);
    m->n_sessions = c.n_members;
}

static void forget_below(struct session *session)
{
    size_t kept = 0;
    for (size_t i = 0; i < session->n; i++)
        if (session->seen[i].seq >= session->floor)
            session->seen[kept++] = session->seen[i];
    session->n = kept;
}

static void note_seen(struct session *session, uint64_t seq, uint64_t term)
{
    if (session->n == session->cap) {
        session->cap = session->cap ? 2 * session->cap : 16;
        session->seen = mem_realloc(session->seen, session->cap * sizeof *session->seen);
    }
    session->seen[session->n++] = (struct seen){seq, term};
}

/* Whether the command is new, by what kv/kv.h says of sessions. */
static bool admit(struct sim *s, const struct kv_origin *o, uint64_t term)
{
    struct session *session = session_of(s->model, o->node);
    if (session && o->member_since != session->member_since)
        session = NULL;
    if (session && o->boot > session->boot) {
        session->boot = o->boot;
        session->floor = o->floor;
        session->n = 0;
    }
    if (!session || o->boot < session->boot || o->seq < session->floor) {
        probe(s, PROBE_STALE);
        return false;
    }
    if (o->floor > session->floor) {
        session->floor = o->floor;
        forget_below(session);
    }
    for (size_t i = 0; i < session->n; i++) {
        if (session->seen[i].seq != o->seq)
            continue;
        probe(s, PROBE_DEDUPLICATED);
        if (session->seen[i].term != term)
            probe(s, PROBE_DEDUPLICATED_TERM);
        return false;
    }
    note_seen(session, o->seq, term);
    return true;
}

/* ---- names and time (kv/idempotency.h) ---- */

/* The oldest ones go whose time has come, n_max at most. */
static void forget_names(struct sim *s, size_t n_max)
{
    struct model *m = s->model;
    size_t n = 0;
    while (n < n_max && n < m->n_once && m->once[n].time != 0 &&
           m->clock_ms - (m->once[n].time - 1) >= KV_ONCE_KEEP_MS)
        n++;
    if (n == 0)
        return;
    probe(s, PROBE_ONCE_EXPIRED);
    m->n_once -= n;
    memmove(m->once, m->once + n, m->n_once * sizeof *m->once);
}

/* Whether the command is the first under its name. */
static bool admit_name(struct sim *s, const struct kv_once *once, uint64_t term)
{
    struct model *m = s->model;
    uint64_t name = 0, op = bytes_get_be(once->fingerprint, 8);
    forget_names(s, KV_ONCE_PER_COMMAND);
    for (size_t i = 0; i < once->name_len; i++)
        name = 10 * name + once->name[i] - '0';
    for (size_t i = 0; i < m->n_once; i++) {
        if (m->once[i].name != name)
            continue;
        if (m->once[i].op != op) {
            op_of(s, op)->conflicted = true;
            return false;
        }
        probe(s, PROBE_ONCE_REPEATED);
        if (m->once[i].term != term)
            probe(s, PROBE_ONCE_REPEATED_TERM);
        return false;
    }
    if (m->n_once == m->cap_once) {
        m->cap_once = m->cap_once ? 2 * m->cap_once : 64;
        m->once = mem_realloc(m->once, m->cap_once * sizeof *m->once);
    }
    m->once[m->n_once++] = (struct once){name, op, term, 0};
    return true;
}

/* By the clock of who leads this term, no more passed since that began. */
static void check_clock(struct sim *s, uint64_t term, uint64_t elapsed_ms)
{
    if (s->clock_term != term)
        s->clock_ms = 0;
    s->clock_term = term;
    s->clock_ms += elapsed_ms;
    probe(s, PROBE_CLOCK);
    for (unsigned i = 0; i < SIM_NODES; i++) {
        const struct sim_node *n = &s->nodes[i];
        if (!n->driver || n->seen.role != RAFT_LEADER || n->seen.term != term)
            continue;
        uint64_t led_ms = process_now_ms(s, i) - n->led_since_ms;
        SIM_SAFE(s, s->clock_ms <= led_ms + CLOCK_SLACK_MS,
                 "node %u leads term %llu for %llu ms and told of %llu", i,
                 (unsigned long long)term, (unsigned long long)led_ms,
                 (unsigned long long)s->clock_ms);
    }
}

static void commit_clock(struct sim *s, uint64_t term, uint64_t elapsed_ms)
{
    struct model *m = s->model;
    if (elapsed_ms < SIM_LEAP_MS)
        check_clock(s, term, elapsed_ms);
    m->clock_ms += elapsed_ms;
    for (size_t i = 0; i < m->n_once; i++)
        if (m->once[i].time == 0)
            m->once[i].time = 1 + m->clock_ms;
    forget_names(s, KV_ONCE_PER_CLOCK);
}

size_t model_n_once(const struct sim *s)
{
    return s->model->n_once;
}

/* ---- commands ---- */

/* A write that says who wrote it is in the log. */
static void note_effect(struct sim *s, uint64_t id, uint64_t index)
{
    struct op *o = op_of(s, id);
    SIM_SAFE(s, o->index == 0 || o->index == index, "write %llu took effect at %llu and at %llu",
             (unsigned long long)id, (unsigned long long)o->index, (unsigned long long)index);
    SIM_SAFE(s, !o->refused, "write %llu was refused as not attempted, and is entry %llu",
             (unsigned long long)id, (unsigned long long)index);
    if (o->index == 0 && o->unknown)
        probe(s, PROBE_UNKNOWN_COMMITTED);
    o->index = index;
}

static void commit_prefix(struct sim *s, struct committed *c, const struct kv_op *kv)
{
    uint64_t index = c->entry->pos.index;
    uint32_t keys = past_keys_with(s, kv->key, kv->key_len);
    c->keys |= keys;
    if (past_count(s, keys, index) > kv->max)
        return;
    for (unsigned key = 0; key < s->plan.n_keys; key++)
        if (keys >> key & 1)
            past_remove(s, key, index);
}

static void commit_op(struct sim *s, struct committed *c, const struct kv_op *kv)
{
    uint64_t id = 0, index = c->entry->pos.index;
    if (kv->type == KV_OP_REMOVE_PREFIX) {
        commit_prefix(s, c, kv);
        return;
    }
    int key = client_key_of(kv->key, kv->key_len);
    SIM_SAFE(s, key >= 0, "entry %llu: a key that nobody wrote", (unsigned long long)index);
    c->keys |= 1u << key;
    if (kv->type != KV_OP_DELETE && kv->type != KV_OP_REMOVE) {
        id = ask_id(s, kv);
        note_effect(s, id, index);
    }
    past_apply(s, (unsigned)key, kv, index, id);
}

static void commit_command(struct sim *s, struct committed *c)
{
    const struct raft_entry *e = c->entry;
    struct kv_command_reader command;
    struct kv_op kv;
    int err = kv_command_open(e->data, e->len, &command);
    SIM_SAFE(s, err == 0, "entry %llu is no command", (unsigned long long)e->pos.index);
    if (command.kind == KV_CLOCK) {
        commit_clock(s, e->pos.term, command.elapsed_ms);
        return;
    }
    c->effective = admit(s, &command.origin, e->pos.term);
    if (c->effective && command.once.name_len > 0)
        c->effective = admit_name(s, &command.once, e->pos.term);
    while (c->effective && kv_op_next(&command.ops, &kv))
        commit_op(s, c, &kv);
}

void model_commit(struct sim *s, struct committed *c)
{
    if (c->entry->type == RAFT_ENTRY_CONFIG)
        commit_config(s, c->entry);
    else if (c->entry->type == RAFT_ENTRY_COMMAND)
        commit_command(s, c);
}

/* ---- comparing ---- */

bool model_is_key(struct sim *s, unsigned key, uint64_t index, const struct kv_value *value)
{
    const struct version *v = past_at(s, key, index);
    if (!value || v->op == 0)
        return !value && v->op == 0;
    return value->revision == v->index && value->create_revision == v->create &&
           value->version == v->count &&
           past_is_value(s, key, v, value->data, value->len, value->attrs, value->attrs_len);
}

static void check_key(struct sim *s, unsigned i, unsigned key, uint64_t index)
{
    struct machine *state = s->nodes[i].driver->machine;
    struct kv_value value = {.data = NULL};
    struct buf *bytes = &s->model->scratch, *attrs = &s->model->attrs;
    char name[8];
    size_t len = client_key(key, name);
    buf_clear(bytes);
    buf_clear(attrs);
    bool found = machine_get_value(state, name, len, &value, bytes, attrs) == 0;
    value.data = bytes->data;
    value.len = bytes->len;
    value.attrs = attrs->data;
    value.attrs_len = attrs->len;
    SIM_SAFE(s, model_is_key(s, key, index, found ? &value : NULL),
             "node %u at %llu: key %u is of %llu, number %llu, instead of write %llu at %llu, "
             "number %llu, or has another value",
             i, (unsigned long long)index, key, (unsigned long long)value.revision,
             (unsigned long long)value.version, (unsigned long long)past_at(s, key, index)->op,
             (unsigned long long)past_at(s, key, index)->index,
             (unsigned long long)past_at(s, key, index)->count);
}

void model_check_applied(struct sim *s, unsigned i, uint64_t from, uint64_t applied, uint64_t to)
{
    uint32_t keys = 0;
    for (uint64_t k = from + 1; k <= to; k++)
        keys |= s->log[k - 1].keys;
    for (unsigned key = 0; key < s->plan.n_keys; key++)
        if (keys >> key & 1)
            check_key(s, i, key, applied);
}

void model_check_names(struct sim *s, unsigned i)
{
    if (machine_applied(s->nodes[i].driver->machine).index != s->n_log)
        return; /* the model has nothing but the last ones */
    struct kv_stats stats = machine_stats(s->nodes[i].driver->machine);
    SIM_SAFE(s, stats.n_once == s->model->n_once && stats.clock_ms == s->model->clock_ms,
             "node %u remembers %u names at %llu ms instead of %zu at %llu", i, stats.n_once,
             (unsigned long long)stats.clock_ms, s->model->n_once,
             (unsigned long long)s->model->clock_ms);
}

void model_check_all(struct sim *s, unsigned i)
{
    uint64_t applied = machine_applied(s->nodes[i].driver->machine).index;
    uint64_t n = 0;
    for (unsigned key = 0; key < s->plan.n_keys; key++) {
        check_key(s, i, key, applied);
        n += past_at(s, key, applied)->op != 0;
    }
    model_check_names(s, i);
    bool in_the_middle = driver_is_applying(s->nodes[i].driver);
    SIM_SAFE(s, in_the_middle || machine_stats(s->nodes[i].driver->machine).n_keys == n,
             "node %u at %llu holds %llu keys instead of %llu", i, (unsigned long long)applied,
             (unsigned long long)machine_stats(s->nodes[i].driver->machine).n_keys,
             (unsigned long long)n);
}
