/* SPDX-License-Identifier: MIT
 * STATUS_REPLY: what only the leader knows of the members.
 */
#include "base/assert.h"
#include "wire/codec.h"

enum {
    ALIVE = 1,
    HEARD = 2,
    LOST_DATA = 4,
    IN_SNAPSHOT = 8,
    FULL = 16,
    CAUGHT_UP = 32,
    FLAGS_END = 64
};
enum { MEMBER_BYTES_MIN = 33, DIGEST_COMPARED_MAX = 2 };

static void encode_member(const struct wire_member_status *s, struct buf *out)
{
    unsigned flags = (s->alive ? ALIVE : 0u) | (s->heard ? HEARD : 0u) |
                     (s->lost_data ? LOST_DATA : 0u) | (s->in_snapshot ? IN_SNAPSHOT : 0u) |
                     (s->full ? FULL : 0u) | (s->caught_up ? CAUGHT_UP : 0u);
    buf_put_uuid(out, s->id);
    wire_put_addr(out, s->addr);
    buf_put_u8(out, s->roles);
    buf_put_u8(out, (uint8_t)flags);
    buf_put_varint(out, s->match);
    buf_put_varint(out, s->lag);
    buf_put_varint(out, s->rtt_us);
    buf_put_varint(out, s->heard_us_ago);
    buf_put_varint(out, s->digest_index);
    buf_put_u64(out, s->digest);
    buf_put_u8(out, s->digest_compared);
}

void wire_status_reply_encode(const struct wire_message *m, struct buf *out)
{
    ASSERT(m->status_reply.n_members <= LIMIT_MEMBERS);
    wire_put_bool(out, m->status_reply.leads);
    wire_put_bool(out, m->status_reply.full);
    wire_put_bool(out, m->status_reply.joint);
    wire_put_pos(out, m->status_reply.config_pos);
    buf_put_varint(out, m->status_reply.n_members);
    for (unsigned i = 0; i < m->status_reply.n_members; i++)
        encode_member(&m->status_reply.members[i], out);
}

static void decode_member(struct bytes_reader *r, struct wire_member_status *s)
{
    s->id = bytes_read_uuid(r);
    wire_read_addr(r, s->addr);
    s->roles = bytes_read_u8(r);
    uint8_t flags = bytes_read_u8(r);
    if (flags >= FLAGS_END)
        r->failed = true;
    s->alive = flags & ALIVE;
    s->heard = flags & HEARD;
    s->lost_data = flags & LOST_DATA;
    s->in_snapshot = flags & IN_SNAPSHOT;
    s->full = flags & FULL;
    s->caught_up = flags & CAUGHT_UP;
    s->match = bytes_read_varint(r);
    s->lag = bytes_read_varint(r);
    s->rtt_us = bytes_read_varint(r);
    s->heard_us_ago = bytes_read_varint(r);
    s->digest_index = bytes_read_varint(r);
    s->digest = bytes_read_u64(r);
    s->digest_compared = bytes_read_u8(r);
    r->failed |= s->digest_compared > DIGEST_COMPARED_MAX;
}

void wire_status_reply_decode(struct bytes_reader *r, struct wire_message *m)
{
    m->status_reply.leads = wire_read_bool(r);
    m->status_reply.full = wire_read_bool(r);
    m->status_reply.joint = wire_read_bool(r);
    m->status_reply.config_pos = wire_read_pos(r);
    m->status_reply.n_members = wire_read_count(r, LIMIT_MEMBERS, MEMBER_BYTES_MIN);
    for (unsigned i = 0; i < m->status_reply.n_members; i++)
        decode_member(r, &m->status_reply.members[i]);
}
