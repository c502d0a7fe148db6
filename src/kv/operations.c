/* SPDX-License-Identifier: MIT
 * The operations on one key, each with its answer. Those of /v1 look at what
 * the key has, and change it only when the condition holds of that.
 */
#include <string.h>

#include "base/mem.h"
#include "base/number.h"
#include "kv/core.h"

/* "-9223372036854775808": more is no number of 64 bits, whatever zeros it begins with */
#define NUMBER_TEXT_MAX 20

/* ---- the classic two ---- */

static int set_key(struct kv *kv, const struct kv_op *op)
{
    struct memtable_place place;
    struct kv_value old, new = {.data = op->value, .len = op->value_len};
    int err = records_find(kv, op->key, op->key_len, &place, &old);
    if (err && err != ERR_NOT_FOUND)
        return err;
    records_put(kv, &place, op, err ? NULL : &old, &new);
    buf_put_u8(&kv->answer, KV_ANSWER_SET);
    return 0;
}

static int delete_key(struct kv *kv, const struct kv_op *op)
{
    struct kv_answer_item item = {.what = KV_ANSWER_NONE};
    struct memtable_place place;
    struct kv_value old;
    int err = records_find(kv, op->key, op->key_len, &place, &old);
    if (err && err != ERR_NOT_FOUND)
        return err;
    if (err == 0)
        item =
            (struct kv_answer_item){.what = KV_ANSWER_OLD, .value = old.data, .value_len = old.len};
    kv_answer_put(&kv->answer, &item);
    if (err == 0)
        records_delete(kv, &place, op->key, op->key_len, &old);
    return 0;
}

/* ---- those of /v1 ---- */

/* An operation on its way: what the key has, and what is answered. */
struct step {
    struct kv *kv;
    const struct kv_op *op;
    struct memtable_place place;
    const struct kv_value *old; /* NULL: the key is not there */
    struct kv_answer_item result;
};

static bool holds(const struct kv_condition *condition, const struct kv_value *old)
{
    switch (condition->what) {
    case KV_IF_ANY:
        return true;
    case KV_IF_ABSENT:
        return !old;
    case KV_IF_EXISTS:
        return old != NULL;
    case KV_IF_REVISION:
        return old && old->revision == condition->revision;
    }
    return false;
}

static void answer_with(struct step *s, const struct kv_value *value)
{
    s->result.revision = value->revision;
    s->result.create_revision = value->create_revision;
    s->result.version = value->version;
}

/* Not done: tells what the key has. */
static void decline(struct step *s, enum kv_code code)
{
    s->result.code = code;
    if (s->old)
        answer_with(s, s->old);
}

static void answer_prev(struct step *s)
{
    if (!s->op->want_prev || !s->old)
        return;
    s->result.has_value = true;
    s->result.value = s->old->data;
    s->result.value_len = s->old->len;
    s->result.attrs = s->old->attrs;
    s->result.attrs_len = s->old->attrs_len;
}

static void write_value(struct step *s, struct kv_value *value)
{
    records_put(s->kv, &s->place, s->op, s->old, value);
    s->result.created = !s->old;
    answer_with(s, value);
}

static void put(struct step *s)
{
    struct kv_value value = {.data = s->op->value,
                             .len = s->op->value_len,
                             .attrs = s->op->attrs,
                             .attrs_len = s->op->attrs_len};
    answer_prev(s);
    write_value(s, &value);
}

static void remove_key(struct step *s)
{
    if (!s->old) {
        decline(s, KV_NOT_FOUND);
        return;
    }
    answer_prev(s);
    records_delete(s->kv, &s->place, s->op->key, s->op->key_len, s->old);
    s->result.revision = s->kv->at.index;
    s->result.n_deleted = 1;
}

/* A value with the key's own attributes. */
static struct kv_value value_of(const struct step *s, const uint8_t *data, size_t len)
{
    struct kv_value value = {.data = data, .len = len};
    if (s->old) {
        value.attrs = s->old->attrs;
        value.attrs_len = s->old->attrs_len;
    }
    return value;
}

/* Digits after an optional minus, nothing else. False: no number of 64 bits. */
static bool parse_number(const uint8_t *p, size_t len, int64_t *ret_number)
{
    bool negative = len > 0 && p[0] == '-';
    int64_t number = 0;
    if (len == negative || len > NUMBER_TEXT_MAX)
        return false;
    for (size_t i = negative; i < len; i++) {
        if (p[i] < '0' || p[i] > '9')
            return false;
        int digit = negative ? '0' - p[i] : p[i] - '0'; /* the negative range is the larger one */
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, digit, &number))
            return false;
    }
    *ret_number = number;
    return true;
}

static size_t format_number(int64_t number, char out[1 + NUMBER_DIGITS_MAX + 1])
{
    bool negative = number < 0;
    out[0] = '-';
    return negative +
           number_format(negative ? 0 - (uint64_t)number : (uint64_t)number, out + negative);
}

static void incr(struct step *s, char text[1 + NUMBER_DIGITS_MAX + 1])
{
    int64_t number = 0;
    if (s->old && !parse_number(s->old->data, s->old->len, &number)) {
        decline(s, KV_NOT_A_NUMBER);
        return;
    }
    if (__builtin_add_overflow(number, s->op->by, &number)) {
        decline(s, KV_OVERFLOW);
        return;
    }
    struct kv_value value = value_of(s, (const uint8_t *)text, format_number(number, text));
    write_value(s, &value);
    s->result.has_value = true;
    s->result.value = value.data;
    s->result.value_len = value.len;
}

static void append(struct step *s)
{
    size_t old_len = s->old ? s->old->len : 0, len = old_len + s->op->value_len;
    if (len > s->op->max || len > LIMIT_VALUE_BYTES) {
        decline(s, KV_TOO_LARGE);
        return;
    }
    uint8_t *whole = mem_alloc(len + 1);
    if (old_len > 0)
        memcpy(whole, s->old->data, old_len);
    memcpy(whole + old_len, s->op->value, s->op->value_len);
    struct kv_value value = value_of(s, whole, len);
    write_value(s, &value);
    mem_free(whole);
}

static int one_key(struct kv *kv, const struct kv_op *op)
{
    struct step s = {.kv = kv, .op = op, .result = {.what = KV_ANSWER_RESULT}};
    char number[1 + NUMBER_DIGITS_MAX + 1];
    struct kv_value old;
    int err = records_find(kv, op->key, op->key_len, &s.place, &old);
    if (err && err != ERR_NOT_FOUND)
        return err;
    s.old = err ? NULL : &old;
    if (!holds(&op->condition, s.old))
        decline(&s, KV_MISMATCH);
    else if (op->type == KV_OP_PUT)
        put(&s);
    else if (op->type == KV_OP_REMOVE)
        remove_key(&s);
    else if (op->type == KV_OP_INCR)
        incr(&s, number);
    else
        append(&s);
    kv_answer_put(&kv->answer, &s.result);
    return 0;
}

int operation_apply(struct kv *kv, const struct kv_op *op)
{
    if (op->type == KV_OP_SET)
        return set_key(kv, op);
    if (op->type == KV_OP_DELETE)
        return delete_key(kv, op);
    return one_key(kv, op);
}
