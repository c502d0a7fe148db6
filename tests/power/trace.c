/* SPDX-License-Identifier: MIT
 * An array of operations, and their bytes one after the other.
 */
#include "trace.h"

#include "base/crc32c.h"
#include "base/mem.h"

void trace_add(struct trace *t, const struct trace_op *op, const void *data)
{
    if (t->n_ops == t->cap_ops) {
        t->cap_ops = t->cap_ops ? 2 * t->cap_ops : 256;
        t->ops = mem_realloc(t->ops, t->cap_ops * sizeof *t->ops);
    }
    struct trace_op *added = &t->ops[t->n_ops++];
    *added = *op;
    added->data = t->bytes.len;
    if (op->kind == TRACE_WRITE || op->kind == TRACE_SYNC_WRITE)
        buf_append(&t->bytes, data, op->len);
}

void trace_mark(struct trace *t, enum trace_mark mark, uint64_t number)
{
    struct trace_op op = {.kind = TRACE_MARK, .node = (uint32_t)mark, .offset = number};
    trace_add(t, &op, NULL);
}

const uint8_t *trace_data(const struct trace *t, const struct trace_op *op)
{
    return t->bytes.data + op->data;
}

uint32_t trace_digest(const struct trace *t)
{
    uint32_t crc = crc32c(0, t->bytes.data, t->bytes.len);
    for (size_t i = 0; i < t->n_ops; i++) {
        const struct trace_op *op = &t->ops[i];
        uint64_t fields[] = {op->kind, op->node, op->dir, op->old_dir, op->offset, op->len};
        crc = crc32c(crc, fields, sizeof fields);
        crc = crc32c(crc, op->name, sizeof op->name);
    }
    return crc;
}

void trace_free(struct trace *t)
{
    MEM_FREE(t->ops);
    buf_free(&t->bytes);
    t->n_ops = t->cap_ops = 0;
}
