/* SPDX-License-Identifier: MIT
 * Payloads of FORWARD and its answer: commands of clients on their way to the
 * leader, and what became of each.
 */
#include "wire/codec.h"

#include "base/assert.h"
#include "base/mem.h"

enum {
    COMMAND_BYTES_MIN = 1,             /* a length */
    RESULT_BYTES_MIN = 1 + 2 + 16 + 1, /* error, position, leader, length */
};

static struct wire_bytes read_bytes(struct bytes_reader *r)
{
    size_t len = 0;
    const uint8_t *p = bytes_read_string(r, LIMIT_APPEND_BYTES, &len);
    return (struct wire_bytes){p, len};
}

void wire_forward_encode(const struct wire_message *m, struct buf *out)
{
    unsigned n = m->forward.n_commands;
    ASSERT(n <= LIMIT_FORWARDED_OPS);
    buf_put_varint(out, n);
    for (unsigned i = 0; i < n; i++)
        buf_put_string(out, m->forward.commands[i].data, m->forward.commands[i].len);
}

void wire_forward_decode(struct bytes_reader *r, struct wire_message *m)
{
    unsigned n = wire_read_count(r, LIMIT_FORWARDED_OPS, COMMAND_BYTES_MIN);
    if (n == 0)
        return;
    m->forward.commands = mem_array(n, sizeof(struct wire_bytes));
    m->forward.n_commands = n;
    for (unsigned i = 0; i < n && bytes_reader_ok(r); i++)
        m->forward.commands[i] = read_bytes(r);
}

void wire_forward_free(struct wire_message *m)
{
    MEM_FREE(m->forward.commands);
    m->forward.n_commands = 0;
}

void wire_forward_reply_encode(const struct wire_message *m, struct buf *out)
{
    unsigned n = m->forward_reply.n_results;
    ASSERT(n <= LIMIT_FORWARDED_OPS);
    buf_put_varint(out, n);
    for (unsigned i = 0; i < n; i++) {
        const struct wire_forward_result *result = &m->forward_reply.results[i];
        wire_put_error(out, result->err);
        wire_put_pos(out, result->pos);
        buf_put_uuid(out, result->leader);
        buf_put_string(out, result->answer.data, result->answer.len);
    }
}

void wire_forward_reply_decode(struct bytes_reader *r, struct wire_message *m)
{
    unsigned n = wire_read_count(r, LIMIT_FORWARDED_OPS, RESULT_BYTES_MIN);
    if (n == 0)
        return;
    m->forward_reply.results = mem_array(n, sizeof(struct wire_forward_result));
    m->forward_reply.n_results = n;
    for (unsigned i = 0; i < n && bytes_reader_ok(r); i++) {
        struct wire_forward_result *result = &m->forward_reply.results[i];
        result->err = wire_read_error(r);
        result->pos = wire_read_pos(r);
        result->leader = bytes_read_uuid(r);
        result->answer = read_bytes(r);
    }
}

void wire_forward_reply_free(struct wire_message *m)
{
    MEM_FREE(m->forward_reply.results);
    m->forward_reply.n_results = 0;
}
