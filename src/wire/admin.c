/* SPDX-License-Identifier: MIT
 * Payloads about who is who and who belongs to what: REFUSED, HELLO, ADMIN,
 * FORM, DIGEST and their answers. All small and of fixed shape.
 */
#include "wire/codec.h"

#include "base/assert.h"

/* ---- REFUSED ---- */

void wire_refused_encode(const struct wire_message *m, struct buf *out)
{
    ASSERT(m->refused.code != 0);
    wire_put_error(out, m->refused.code);
}

void wire_refused_decode(struct bytes_reader *r, struct wire_message *m)
{
    m->refused.code = wire_read_error(r);
    if (m->refused.code == 0)
        r->failed = true;
}

/* ---- HELLO ---- */

void wire_hello_reply_encode(const struct wire_message *m, struct buf *out)
{
    wire_put_bool(out, m->hello_reply.has_data);
    wire_put_addr(out, m->hello_reply.addr);
    buf_put_uuid(out, m->hello_reply.leader);
    wire_put_addr(out, m->hello_reply.leader_addr);
}

void wire_hello_reply_decode(struct bytes_reader *r, struct wire_message *m)
{
    m->hello_reply.has_data = wire_read_bool(r);
    wire_read_addr(r, m->hello_reply.addr);
    m->hello_reply.leader = bytes_read_uuid(r);
    wire_read_addr(r, m->hello_reply.leader_addr);
}

/* ---- ADMIN ---- */

void wire_admin_encode(const struct wire_message *m, struct buf *out)
{
    ASSERT(m->admin.n_ids <= LIMIT_MEMBERS);
    buf_put_u8(out, (uint8_t)m->admin.op);
    buf_put_u32(out, m->admin.timeout_ms);
    buf_put_u64(out, m->admin.incarnation);
    wire_put_addr(out, m->admin.addr);
    buf_put_varint(out, m->admin.n_ids);
    for (unsigned i = 0; i < m->admin.n_ids; i++)
        buf_put_uuid(out, m->admin.ids[i]);
}

void wire_admin_decode(struct bytes_reader *r, struct wire_message *m)
{
    uint8_t op = bytes_read_u8(r);
    if (op < WIRE_ADMIN_ADD_LEARNER || op > WIRE_ADMIN_LAST)
        r->failed = true;
    m->admin.op = (enum wire_admin_op)op;
    m->admin.timeout_ms = bytes_read_u32(r);
    m->admin.incarnation = bytes_read_u64(r);
    wire_read_addr(r, m->admin.addr);
    m->admin.n_ids = wire_read_count(r, LIMIT_MEMBERS, sizeof(struct uuid));
    for (unsigned i = 0; i < m->admin.n_ids; i++)
        m->admin.ids[i] = bytes_read_uuid(r);
}

void wire_admin_reply_encode(const struct wire_message *m, struct buf *out)
{
    wire_put_error(out, m->admin_reply.err);
    wire_put_pos(out, m->admin_reply.pos);
    buf_put_uuid(out, m->admin_reply.pos_leader);
    buf_put_uuid(out, m->admin_reply.id);
    buf_put_uuid(out, m->admin_reply.found);
    buf_put_uuid(out, m->admin_reply.cluster);
    buf_put_varint(out, m->admin_reply.distance);
    if (m->admin_reply.err == ERR_NO_QUORUM) {
        buf_put_varint(out, m->admin_reply.n_voters);
        buf_put_varint(out, m->admin_reply.n_alive);
    }
}

static unsigned read_members(struct bytes_reader *r)
{
    uint64_t n = bytes_read_varint(r);
    r->failed |= n > LIMIT_MEMBERS;
    return n > LIMIT_MEMBERS ? 0 : (unsigned)n;
}

void wire_admin_reply_decode(struct bytes_reader *r, struct wire_message *m)
{
    m->admin_reply.err = wire_read_error(r);
    m->admin_reply.pos = wire_read_pos(r);
    m->admin_reply.pos_leader = bytes_read_uuid(r);
    m->admin_reply.id = bytes_read_uuid(r);
    m->admin_reply.found = bytes_read_uuid(r);
    m->admin_reply.cluster = bytes_read_uuid(r);
    m->admin_reply.distance = bytes_read_varint(r);
    if (m->admin_reply.err == ERR_NO_QUORUM) {
        m->admin_reply.n_voters = read_members(r);
        m->admin_reply.n_alive = read_members(r);
    }
}

/* ---- FORM ---- */

void wire_form_encode(const struct wire_message *m, struct buf *out)
{
    ASSERT(m->form.n_peers <= LIMIT_PEERS);
    buf_put_uuid(out, m->form.new_cluster);
    buf_put_varint(out, m->form.n_peers);
    for (unsigned i = 0; i < m->form.n_peers; i++)
        wire_put_addr(out, m->form.peers[i]);
}

void wire_form_decode(struct bytes_reader *r, struct wire_message *m)
{
    m->form.new_cluster = bytes_read_uuid(r);
    m->form.n_peers = wire_read_count(r, LIMIT_PEERS, 1);
    for (unsigned i = 0; i < m->form.n_peers; i++)
        wire_read_addr(r, m->form.peers[i]);
}

void wire_form_reply_encode(const struct wire_message *m, struct buf *out)
{
    wire_put_error(out, m->form_reply.err);
}

void wire_form_reply_decode(struct bytes_reader *r, struct wire_message *m)
{
    m->form_reply.err = wire_read_error(r);
}

/* ---- DIGEST ---- */

void wire_digest_reply_encode(const struct wire_message *m, struct buf *out)
{
    buf_put_varint(out, m->digest_reply.index);
    buf_put_u64(out, m->digest_reply.digest);
}

void wire_digest_reply_decode(struct bytes_reader *r, struct wire_message *m)
{
    m->digest_reply.index = bytes_read_varint(r);
    m->digest_reply.digest = bytes_read_u64(r);
}
