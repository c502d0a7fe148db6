/* SPDX-License-Identifier: MIT
 * The past of every key: who wrote what at which index. What an operation does
 * to a key, and what it answers, is said here once more, from the description
 * in kv/command.h and kv/answer.h.
 */
#include "sim.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "kv/attrs.h"

void past_free(struct sim *s)
{
    for (unsigned i = 0; i < SIM_KEYS_MAX; i++)
        mem_free(s->pasts[i].items);
}

const struct version *past_at(const struct sim *s, unsigned key, uint64_t index)
{
    static const struct version none;
    const struct past *p = &s->pasts[key];
    size_t lo = 0, hi = p->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (p->items[mid].index <= index)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo == 0 ? &none : &p->items[lo - 1];
}

/* ---- values ---- */

static void number_text(int64_t number, struct buf *out)
{
    buf_printf(out, "%" PRId64, number);
}

void past_value(struct sim *s, unsigned key, const struct version *v, struct buf *out)
{
    const struct past *p = &s->pasts[key];
    if (v->how == HOW_COUNTED) {
        number_text(v->number, out);
        return;
    }
    if (v->how == HOW_APPENDED && v->before > 0)
        past_value(s, key, &p->items[v->before - 1], out);
    model_make_value(s, v->op, op_of(s, v->op)->value_len, out);
}

void past_attrs(uint64_t op, struct buf *out)
{
    char text[32];
    int len = snprintf(text, sizeof text, "text/x-%llu", (unsigned long long)op);
    if (op % 3 == 1)
        kv_attrs_put(out, KV_ATTR_CONTENT_TYPE, text, (size_t)len);
}

static bool same_bytes(const uint8_t *p, size_t len, const struct buf *expected)
{
    return len == expected->len && (len == 0 || memcmp(p, expected->data, len) == 0);
}

bool past_is_value(struct sim *s, unsigned key, const struct version *v, const uint8_t *value,
                   size_t len, const uint8_t *attrs, size_t attrs_len)
{
    struct buf expected = BUF_INIT;
    past_value(s, key, v, &expected);
    bool same = same_bytes(value, len, &expected);
    buf_clear(&expected);
    if (v->attrs_op)
        past_attrs(v->attrs_op, &expected);
    same = same && same_bytes(attrs, attrs_len, &expected);
    buf_free(&expected);
    return same;
}

/* ---- what operations do ---- */

static bool holds(const struct kv_condition *c, const struct version *before)
{
    return c->what == KV_IF_ANY || (c->what == KV_IF_ABSENT && before->op == 0) ||
           (c->what == KV_IF_EXISTS && before->op != 0) ||
           (c->what == KV_IF_REVISION && before->op != 0 && before->index == c->revision);
}

static enum kv_code decide_incr(const struct kv_op *op, const struct version *before)
{
    int64_t number = before->op ? before->number : 0;
    if (before->op && before->how != HOW_COUNTED)
        return KV_NOT_A_NUMBER;
    if (op->by > 0 ? number > INT64_MAX - op->by : number < INT64_MIN - op->by)
        return KV_OVERFLOW;
    return KV_DONE;
}

enum kv_code past_decide(const struct kv_op *op, const struct version *before)
{
    if (op->type != KV_OP_SET && op->type != KV_OP_DELETE && !holds(&op->condition, before))
        return KV_MISMATCH;
    if (op->type == KV_OP_REMOVE && before->op == 0)
        return KV_NOT_FOUND;
    if (op->type == KV_OP_INCR)
        return decide_incr(op, before);
    if (op->type == KV_OP_APPEND && before->len + op->value_len > op->max)
        return KV_TOO_LARGE;
    return KV_DONE;
}

static void add(struct past *p, struct version v)
{
    if (p->n == p->cap) {
        p->cap = p->cap ? 2 * p->cap : 64;
        p->items = mem_realloc(p->items, p->cap * sizeof *p->items);
    }
    p->items[p->n++] = v;
}

static void write_version(struct sim *s, unsigned key, const struct kv_op *op, uint64_t index,
                          uint64_t id)
{
    struct past *p = &s->pasts[key];
    const struct version *before = past_at(s, key, index);
    struct version v = {.index = index, .op = id, .count = before->count + 1};
    v.create = before->op ? before->create : index;
    v.attrs_op = op->type == KV_OP_PUT ? id : op->type == KV_OP_SET ? 0 : before->attrs_op;
    v.len = op->value_len;
    if (op->type == KV_OP_INCR) {
        struct buf text = BUF_INIT;
        v.how = HOW_COUNTED;
        v.number = (before->op ? before->number : 0) + op->by;
        number_text(v.number, &text);
        v.len = text.len;
        buf_free(&text);
    } else if (op->type == KV_OP_APPEND) {
        v.how = HOW_APPENDED;
        v.before = before->op ? (size_t)(before - p->items) + 1 : 0;
        v.len += before->len;
    }
    add(p, v);
}

void past_remove(struct sim *s, unsigned key, uint64_t index)
{
    if (past_at(s, key, index)->op != 0)
        add(&s->pasts[key], (struct version){.index = index});
}

enum kv_code past_apply(struct sim *s, unsigned key, const struct kv_op *op, uint64_t index,
                        uint64_t id)
{
    enum kv_code code = past_decide(op, past_at(s, key, index));
    if (code != KV_DONE)
        return code;
    if (op->type == KV_OP_DELETE || op->type == KV_OP_REMOVE)
        past_remove(s, key, index);
    else
        write_version(s, key, op, index, id);
    return KV_DONE;
}

/* ---- prefixes ---- */

uint32_t past_keys_with(const struct sim *s, const uint8_t *prefix, size_t len)
{
    uint32_t mask = 0;
    for (unsigned key = 0; key < s->plan.n_keys; key++) {
        char name[8];
        if (client_key(key, name) >= len && memcmp(name, prefix, len) == 0)
            mask |= 1u << key;
    }
    return mask;
}

unsigned past_count(const struct sim *s, uint32_t keys, uint64_t index)
{
    unsigned n = 0;
    for (unsigned key = 0; key < s->plan.n_keys; key++)
        n += (keys >> key & 1) && past_at(s, key, index)->op != 0;
    return n;
}
