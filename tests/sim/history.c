/* SPDX-License-Identifier: MIT
 * What the clients saw, judged without any knowledge of logs and indexes: is
 * it linearizable, key by key (lin/lin.h)?
 */
#include "sim.h"

#include "lin/lin.h"

static enum lin_kind kind_of(const struct op *op)
{
    if (op->type == OP_READ)
        return LIN_READ;
    bool deletes = op->type == OP_DELETE || op->type == OP_REMOVE || op->type == OP_REMOVE_PREFIX;
    return deletes ? LIN_DELETE : LIN_WRITE;
}

/* What the answer to an operation of /v1 on one key told of what was there before. What was not
 * carried out is a read. */
static void tell_before(const struct op *op, struct lin_op *o)
{
    bool knows = op->seen == 0 || op->want_prev || op->condition.what == KV_IF_REVISION ||
                 op->code != KV_DONE;
    o->result = !knows ? LIN_PRESENT : op->seen ? op->seen : LIN_ABSENT;
    if (op->code != KV_DONE)
        o->kind = LIN_READ;
}

static void add_prefix(struct lin *lin, const struct op *op, struct lin_op *o)
{
    if (op->returned != 0 && op->code != KV_DONE)
        return; /* tells nothing of a single key */
    for (o->key = 0; o->key < SIM_KEYS_MAX; o->key++)
        if (op->prefix_keys >> o->key & 1)
            lin_add(lin, o);
}

static void add(struct lin *lin, const struct op *op, uint64_t id)
{
    struct lin_op o = {.kind = kind_of(op),
                       .outcome = op->returned != 0 ? LIN_OK : LIN_UNKNOWN,
                       .client = op->client,
                       .value = id,
                       .result = LIN_ANY,
                       .call = op->invoked,
                       .end = op->returned};
    if (op->refused || (op->type == OP_READ && op->returned == 0))
        return; /* tells nothing */
    if (op->type == OP_READ)
        o.result = op->read_op ? op->read_op : LIN_ABSENT;
    if (op->type == OP_REMOVE_PREFIX) {
        add_prefix(lin, op, &o);
        return;
    }
    if (ask_is_v1(op) && op->returned != 0)
        tell_before(op, &o);
    for (unsigned i = 0; i < op->n_keys; i++) {
        o.key = op->keys[i];
        lin_add(lin, &o);
    }
}

void history_check(struct sim *s)
{
    struct lin_report report;
    struct lin *lin = lin_new();
    for (uint64_t id = 1; id < s->n_ops; id++)
        add(lin, &s->ops[id], id);
    lin_check(lin, NULL, &report);
    SIM_SAFE(s, report.verdict != LIN_VIOLATED, "key %llu is not linearizable:\n%s",
             (unsigned long long)report.key, report.explanation);
    s->counts->histories += report.n_keys - report.n_keys_gave_up;
    s->counts->histories_gave_up += report.n_keys_gave_up;
    lin_free(&lin);
}
