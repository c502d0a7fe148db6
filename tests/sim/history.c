/* SPDX-License-Identifier: MIT
 * What the clients saw, judged without any knowledge of logs and indexes: is
 * it linearizable, key by key (lin/lin.h)?
 */
#include "sim.h"

#include "lin/lin.h"

static void add(struct lin *lin, const struct op *op, uint64_t id)
{
    struct lin_op o = {.kind = op->type == OP_READ     ? LIN_READ
                               : op->type == OP_DELETE ? LIN_DELETE
                                                       : LIN_WRITE,
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
