/* SPDX-License-Identifier: MIT
 * Payloads of a snapshot's transfer. The frame's checksum is the piece's
 * (PITFALLS 32).
 */
#include "base/assert.h"
#include "base/mem.h"
#include "wire/codec.h"

void wire_snapshot_encode(const struct wire_message *m, struct buf *out)
{
    const struct raft_snapshot *s = m->raft.snapshot.snapshot;
    struct buf config = BUF_INIT;
    ASSERT(m->raft.snapshot.len == 0 || m->raft.snapshot.data);
    raft_config_encode(&s->base.config, &config);
    buf_put_u64(out, s->id);
    wire_put_pos(out, s->base.pos);
    wire_put_pos(out, s->base.config_pos);
    buf_put_string(out, config.data, config.len);
    buf_put_varint(out, s->size);
    buf_put_u32(out, s->digest);
    buf_put_varint(out, m->raft.snapshot.offset);
    buf_put_string(out, m->raft.snapshot.data, m->raft.snapshot.len);
    buf_free(&config);
}

static bool is_sane(const struct wire_message *m, const struct raft_snapshot *s)
{
    uint64_t offset = m->raft.snapshot.offset;
    return s->base.pos.index > 0 && s->base.pos.term <= m->header.term &&
           s->base.config_pos.index > 0 && s->base.config_pos.index <= s->base.pos.index &&
           s->base.config_pos.term <= s->base.pos.term && s->size > 0 && offset <= s->size &&
           m->raft.snapshot.len <= s->size - offset;
}

void wire_snapshot_decode(struct bytes_reader *r, struct wire_message *m)
{
    struct raft_snapshot *s = mem_zalloc(sizeof *s);
    size_t config_len = 0, len = 0;
    s->id = bytes_read_u64(r);
    s->base.pos = wire_read_pos(r);
    s->base.config_pos = wire_read_pos(r);
    const uint8_t *config = bytes_read_string(r, LIMIT_CONTROL_BYTES, &config_len);
    s->size = bytes_read_varint(r);
    s->digest = bytes_read_u32(r);
    m->raft.snapshot.offset = bytes_read_varint(r);
    m->raft.snapshot.data = bytes_read_string(r, LIMIT_APPEND_BYTES, &len);
    m->raft.snapshot.len = (uint32_t)len;
    if (bytes_reader_ok(r) && raft_config_decode(config, config_len, &s->base.config) == 0 &&
        is_sane(m, s))
        m->raft.snapshot.snapshot = raft_snapshot_new(s);
    else
        r->failed = true;
    mem_free(s);
}

void wire_snapshot_free(struct wire_message *m)
{
    raft_snapshot_unref(&m->raft.snapshot.snapshot);
}

void wire_snapshot_reply_encode(const struct wire_message *m, struct buf *out)
{
    buf_put_u64(out, m->raft.snapshot_reply.id);
    wire_put_bool(out, m->raft.snapshot_reply.installed);
    buf_put_varint(out, m->raft.snapshot_reply.offset);
    buf_put_varint(out, m->raft.snapshot_reply.match);
}

void wire_snapshot_reply_decode(struct bytes_reader *r, struct wire_message *m)
{
    m->raft.snapshot_reply.id = bytes_read_u64(r);
    m->raft.snapshot_reply.installed = wire_read_bool(r);
    m->raft.snapshot_reply.offset = bytes_read_varint(r);
    m->raft.snapshot_reply.match = bytes_read_varint(r);
}
