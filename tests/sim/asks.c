/* SPDX-License-Identifier: MIT
 * What clients ask by the operations of /v1: puts, counters, appends and
 * removals, with conditions; and what they are told, compared with the model at
 * the index it is told of. What is chosen here comes from numbers of its own, so
 * that without these operations a seed is what it is.
 */
#include "sim.h"

#include <string.h>

#include "base/mem.h"

#define BIG_ID ((int64_t)1 << 40) /* numbers of operations are below */

static unsigned long long ull(uint64_t v)
{
    return (unsigned long long)v;
}

static uint64_t roll(struct sim *s, uint64_t lo, uint64_t hi)
{
    return rng_range(&s->asks_rng, lo, hi);
}

/* Where many commands take long at a node, logs are short, and nodes are cut off for a short time,
 * a snapshot comes in the middle of one. */
static void plan_long_commands(struct plan *p)
{
    p->options.checkpoint_entries = 1 + p->options.checkpoint_entries % 16;
    p->options.log_tail_entries %= 4;
    p->options.log_tail_bytes = 256;
    p->options.slice_keys = 1;
    p->pct_delete = 20;
    p->weights[FAULT_PARTITION] = 20;
    p->fault_gap_us = p->fault_time_us = 2 * SIM_S;
}

void asks_plan(struct sim *s)
{
    struct plan *p = &s->plan;
    s->asks_rng.state = s->seed ^ 0x61736b73;
    p->pct_v1 = roll(s, 0, 3) ? (unsigned)roll(s, 10, 100) : 0;
    p->options.slice_keys = (unsigned)roll(s, 0, 3);
    p->options.ahead_keys = s->seed % 2; /* always, or never: there are too few */
    p->long_commands = p->pct_v1 > 0 && roll(s, 0, 3) == 0;
    if (p->long_commands)
        plan_long_commands(p);
}

bool ask_is_cut_off(struct sim *s, uint64_t *ret_time_us, uint64_t *ret_slice_us)
{
    if (!s->plan.long_commands || s->healing || roll(s, 0, 1))
        return false;
    *ret_time_us = roll(s, SIM_S, 6 * SIM_S);
    *ret_slice_us = roll(s, 50 * SIM_MS, 500 * SIM_MS);
    return true;
}

/* ---- asking ---- */

static struct kv_condition choose_condition(struct sim *s, unsigned key)
{
    uint64_t kind = roll(s, 0, 9);
    struct kv_condition c = {.what = KV_IF_ANY};
    if (kind < 5)
        return c;
    c.what = kind < 7 ? KV_IF_ABSENT : kind < 8 ? KV_IF_EXISTS : KV_IF_REVISION;
    if (c.what == KV_IF_REVISION)
        c.revision = s->seen_revisions[key] - (roll(s, 0, 4) == 0);
    return c;
}

static enum op_type choose_type(struct sim *s, enum op_type type)
{
    uint64_t kind = roll(s, 0, 99);
    if (type == OP_SET)
        return kind < 50 ? OP_PUT : kind < 75 ? OP_INCR : OP_APPEND;
    return kind < 70 ? OP_REMOVE : OP_REMOVE_PREFIX;
}

/* Counters have keys of their own as a rule, or they would seldom be numbers. */
static void choose_key(struct sim *s, struct op *op)
{
    unsigned n_counters = s->plan.n_keys / 4;
    if (n_counters == 0 || roll(s, 0, 9) == 0)
        return;
    if (op->type == OP_INCR)
        op->keys[0] %= n_counters;
    else if (op->type != OP_REMOVE && op->keys[0] < n_counters)
        op->keys[0] += n_counters;
}

static void choose_prefix(struct sim *s, struct op *op)
{
    char name[8];
    client_key(op->keys[0], name);
    op->prefix_len = (unsigned)roll(s, 1, 3);
    op->prefix_keys = past_keys_with(s, (const uint8_t *)name, op->prefix_len);
    op->max = roll(s, 0, 3) ? LIMIT_REMOVE_KEYS : roll(s, 0, 3);
}

void ask_choose(struct sim *s, uint64_t id)
{
    struct op *op = op_of(s, id);
    bool fits = op->type == OP_SET || op->type == OP_DELETE;
    if (s->plan.pct_v1 == 0 || !fits)
        return;
    if (roll(s, 0, 99) < s->plan.pct_v1)
        op->type = choose_type(s, op->type);
    choose_key(s, op);
    if (op->type == OP_SET || op->type == OP_DELETE)
        return;
    if (op->type == OP_REMOVE_PREFIX) {
        choose_prefix(s, op);
        return;
    }
    op->condition = choose_condition(s, op->keys[0]);
    op->want_prev = roll(s, 0, 1);
    op->max = roll(s, 8, 600);
    op->by = roll(s, 0, 1) ? (int64_t)id : -(int64_t)id;
    if (roll(s, 0, 15) == 0)
        op->by = op->by > 0 ? INT64_MAX - op->by : INT64_MIN - op->by;
}

bool ask_is_v1(const struct op *op)
{
    return op->type >= OP_PUT;
}

void ask_encode(struct sim *s, uint64_t id, struct buf *body)
{
    static const enum kv_op_type types[] = {[OP_PUT] = KV_OP_PUT,
                                            [OP_REMOVE] = KV_OP_REMOVE,
                                            [OP_REMOVE_PREFIX] = KV_OP_REMOVE_PREFIX,
                                            [OP_INCR] = KV_OP_INCR,
                                            [OP_APPEND] = KV_OP_APPEND};
    const struct op *op = op_of(s, id);
    struct buf value = BUF_INIT, attrs = BUF_INIT;
    char name[8];
    size_t len = client_key(op->keys[0], name);
    model_make_value(s, id, op->value_len, &value);
    past_attrs(id, &attrs);
    struct kv_op kv = {
        .type = types[op->type],
        .key = (const uint8_t *)name,
        .key_len = op->type == OP_REMOVE_PREFIX ? op->prefix_len : len,
        .value = value.data,
        .value_len = value.len,
        .attrs = attrs.data,
        .attrs_len = attrs.len,
        .condition = op->condition,
        .want_prev = op->want_prev,
        .by = op->by,
        .max = op->max,
    };
    kv_body_encode(KV_SINGLE, &kv, 1, body);
    buf_free(&value);
    buf_free(&attrs);
}

uint64_t ask_id(struct sim *s, const struct kv_op *kv)
{
    uint64_t id = 0;
    bool known = false;
    if (kv->type == KV_OP_INCR) {
        int64_t by = kv->by;
        if (by > BIG_ID || by < -BIG_ID)
            by = by > 0 ? INT64_MAX - by : by - INT64_MIN;
        id = (uint64_t)(by < 0 ? -by : by);
        known = id > 0 && id < s->n_ops;
    } else {
        known = model_parse_value(s, kv->value, kv->value_len, &id);
    }
    SIM_SAFE(s, known, "the log holds a write that nobody asked for");
    return id;
}

/* ---- judging ---- */

static struct kv_op op_at(struct sim *s, uint64_t index)
{
    const struct raft_entry *e = s->log[index - 1].entry;
    struct kv_command_reader command;
    struct kv_op kv;
    SIM_SAFE(s, kv_command_open(e->data, e->len, &command) == 0 && kv_op_next(&command.ops, &kv),
             "entry %llu is no command", ull(index));
    return kv;
}

static void judge_prefix(struct sim *s, const struct op *op, const struct kv_op *kv, uint64_t index,
                         const struct kv_answer_item *item)
{
    unsigned n = past_count(s, op->prefix_keys, index - 1);
    bool fits = n <= kv->max;
    SIM_SAFE(s, item->code == (fits ? KV_DONE : KV_TOO_LARGE),
             "the removal of %u keys at %llu, at most %llu, ends with code %u", n, ull(index),
             ull(kv->max), item->code);
    SIM_SAFE(s, item->n_deleted == (fits ? n : 0) && item->revision == (fits ? index : 0),
             "a removal at %llu says %llu keys instead of %u", ull(index), ull(item->n_deleted), n);
    if (fits && n > 1)
        probe(s, PROBE_PREFIX_REMOVED);
}

static void judge_numbers(struct sim *s, const struct op *op, uint64_t index,
                          const struct kv_answer_item *item)
{
    const struct version *before = past_at(s, op->keys[0], index - 1),
                         *after = past_at(s, op->keys[0], index);
    bool removed = item->code == KV_DONE && op->type == OP_REMOVE;
    uint64_t revision = removed ? index : after->op ? after->index : 0;
    SIM_SAFE(s,
             item->revision == revision && item->create_revision == after->create &&
                 item->version == after->count && item->n_deleted == removed,
             "an operation at %llu says revision %llu, created at %llu, version %llu", ull(index),
             ull(item->revision), ull(item->create_revision), ull(item->version));
    SIM_SAFE(s, item->created == (before->op == 0 && after->op != 0),
             "an operation at %llu says wrongly whether it created its key", ull(index));
}

static void judge_value(struct sim *s, const struct op *op, uint64_t index,
                        const struct kv_answer_item *item)
{
    bool counted = item->code == KV_DONE && op->type == OP_INCR;
    bool may_want = op->type == OP_PUT || op->type == OP_REMOVE;
    const struct version *v = past_at(s, op->keys[0], counted ? index : index - 1);
    bool wants = counted || (item->code == KV_DONE && may_want && op->want_prev && v->op != 0);
    SIM_SAFE(s, item->has_value == wants, "an operation at %llu has a value or lacks one",
             ull(index));
    if (!wants)
        return;
    struct version without = *v;
    without.attrs_op = counted ? 0 : v->attrs_op;
    SIM_SAFE(s,
             past_is_value(s, op->keys[0], &without, item->value, item->value_len, item->attrs,
                           item->attrs_len),
             "an operation at %llu answers another value than that of write %llu", ull(index),
             ull(v->op));
}

static void probe_code(struct sim *s, enum kv_code code)
{
    static const enum sim_probe probes[KV_CODES] = {
        [KV_MISMATCH] = PROBE_MISMATCH,         [KV_NOT_FOUND] = PROBE_NOT_FOUND,
        [KV_NOT_A_NUMBER] = PROBE_NOT_A_NUMBER, [KV_OVERFLOW] = PROBE_OVERFLOW,
        [KV_TOO_LARGE] = PROBE_TOO_LARGE,
    };
    if (code != KV_DONE)
        probe(s, probes[code]);
}

void ask_judge(struct sim *s, const struct call *c, uint64_t index)
{
    struct op *op = op_of(s, c->op);
    const struct buf *answer = &c->request->ret.write.answer;
    struct bytes_reader r = bytes_reader(answer->data, answer->len);
    struct kv_answer_item item;
    SIM_SAFE(s, kv_answer_next(&r, &item) && bytes_reader_done(&r) && item.what == KV_ANSWER_RESULT,
             "operation %llu has no answer", ull(c->op));
    struct kv_op kv = op_at(s, index);
    op->code = item.code;
    probe_code(s, item.code);
    if (op->type == OP_REMOVE_PREFIX) {
        judge_prefix(s, op, &kv, index, &item);
        return;
    }
    const struct version *before = past_at(s, op->keys[0], index - 1);
    SIM_SAFE(s, item.code == past_decide(&kv, before), "operation %llu at %llu ends with code %u",
             ull(c->op), ull(index), item.code);
    judge_numbers(s, op, index, &item);
    judge_value(s, op, index, &item);
    op->seen = before->op;
    s->seen_revisions[op->keys[0]] = item.revision;
}
