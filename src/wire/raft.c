/* SPDX-License-Identifier: MIT
 * Payloads of the consensus core's messages. Decoding refuses what no core
 * can have sent: entries whose terms fall or exceed the sender's, positions
 * half zero, an index beyond 64 bits. What depends on the log is the core's to judge.
 */
#include "wire/codec.h"

#include "base/assert.h"
#include "base/mem.h"

/* type, term, length: the least that an entry takes */
enum { ENTRY_BYTES_MIN = 3 };

/* ---- APPEND ---- */

/* The index is not sent: entries follow prev one by one. */
static void put_entry(struct buf *out, const struct raft_entry *e)
{
    buf_put_u8(out, (uint8_t)e->type);
    buf_put_varint(out, e->pos.term);
    buf_put_string(out, e->data, e->len);
}

void wire_append_encode(const struct wire_message *m, struct buf *out)
{
    unsigned n = m->raft.append.n_entries;
    size_t bytes = 0;
    for (unsigned i = 0; i < n; i++)
        bytes += 1 + 2 * BYTES_VARINT_MAX + m->raft.append.entries[i]->len;
    buf_reserve(out, bytes + 4 * BYTES_VARINT_MAX + sizeof(uint32_t));

    ASSERT(n <= LIMIT_APPEND_ENTRIES);
    wire_put_pos(out, m->raft.append.prev);
    buf_put_varint(out, m->raft.append.commit);
    wire_put_bool(out, m->raft.append.full);
    buf_put_varint(out, n);
    for (unsigned i = 0; i < n; i++) {
        const struct raft_entry *e = m->raft.append.entries[i];
        ASSERT(e->pos.index == m->raft.append.prev.index + 1 + i);
        put_entry(out, e);
    }
}

static bool is_entry_sane(uint8_t type, uint64_t term, size_t len, uint64_t term_min,
                          uint64_t term_max)
{
    if (term == 0 || term < term_min || term > term_max)
        return false;
    if (type == RAFT_ENTRY_NOOP)
        return len == RAFT_NOOP_BYTES;
    return type == RAFT_ENTRY_COMMAND || type == RAFT_ENTRY_CONFIG;
}

/* The entry at index, whose term is in [term_min, term_max]; NULL and a failed
 * reader when it is not one. */
static struct raft_entry *read_entry(struct bytes_reader *r, uint64_t index, uint64_t term_min,
                                     uint64_t term_max)
{
    uint8_t type = bytes_read_u8(r);
    uint64_t term = bytes_read_varint(r);
    size_t len = 0;
    const uint8_t *data = bytes_read_string(r, LIMIT_APPEND_BYTES, &len);
    if (!bytes_reader_ok(r) || !is_entry_sane(type, term, len, term_min, term_max)) {
        r->failed = true;
        return NULL;
    }
    struct raft_entry *e =
        raft_entry_new((enum raft_entry_type)type, (struct raft_pos){term, index}, (uint32_t)len);
    if (len > 0)
        memcpy(e->data, data, len);
    return e;
}

void wire_append_decode(struct bytes_reader *r, struct wire_message *m)
{
    struct raft_pos prev = wire_read_pos(r);
    m->raft.append.prev = prev;
    m->raft.append.commit = bytes_read_varint(r);
    m->raft.append.full = wire_read_bool(r);
    unsigned n = wire_read_count(r, LIMIT_APPEND_ENTRIES, ENTRY_BYTES_MIN);
    if (prev.term > m->header.term || prev.index > UINT64_MAX - n)
        r->failed = true;
    if (!bytes_reader_ok(r) || n == 0)
        return;

    m->raft.append.entries = mem_array(n, sizeof(struct raft_entry *));
    uint64_t term = prev.term;
    for (unsigned i = 0; i < n; i++) {
        struct raft_entry *e = read_entry(r, prev.index + 1 + i, term, m->header.term);
        if (!e)
            return;
        term = e->pos.term;
        m->raft.append.entries[m->raft.append.n_entries++] = e;
    }
}

void wire_append_free(struct wire_message *m)
{
    for (unsigned i = 0; i < m->raft.append.n_entries; i++)
        raft_entry_unref(&m->raft.append.entries[i]);
    m->raft.append.n_entries = 0;
    MEM_FREE(m->raft.append.entries);
}

/* The hint's index is of the follower's log, which may begin after a position
 * whose term it no longer knows: so not wire_put_pos(). */
void wire_append_reply_encode(const struct wire_message *m, struct buf *out)
{
    wire_put_bool(out, m->raft.append_reply.success);
    buf_put_varint(out, m->raft.append_reply.match);
    buf_put_varint(out, m->raft.append_reply.rejected);
    buf_put_varint(out, m->raft.append_reply.hint.term);
    buf_put_varint(out, m->raft.append_reply.hint.index);
    buf_put_varint(out, m->raft.append_reply.promise_ticks);
    wire_put_bool(out, m->raft.append_reply.full);
}

void wire_append_reply_decode(struct bytes_reader *r, struct wire_message *m)
{
    m->raft.append_reply.success = wire_read_bool(r);
    m->raft.append_reply.match = bytes_read_varint(r);
    m->raft.append_reply.rejected = bytes_read_varint(r);
    m->raft.append_reply.hint.term = bytes_read_varint(r);
    m->raft.append_reply.hint.index = bytes_read_varint(r);
    m->raft.append_reply.promise_ticks = bytes_read_varint(r);
    m->raft.append_reply.full = wire_read_bool(r);
    if (m->raft.append_reply.hint.term > m->header.term)
        r->failed = true;
}

/* ---- VOTE ---- */

enum { VOTE_REAL, VOTE_PRE, VOTE_HANDED_OVER };

void wire_vote_encode(const struct wire_message *m, struct buf *out)
{
    ASSERT(!(m->raft.vote.pre && m->raft.vote.handed_over));
    buf_put_u8(out, m->raft.vote.pre           ? VOTE_PRE
                    : m->raft.vote.handed_over ? VOTE_HANDED_OVER
                                               : VOTE_REAL);
    wire_put_pos(out, m->raft.vote.last);
}

void wire_vote_decode(struct bytes_reader *r, struct wire_message *m)
{
    uint8_t kind = bytes_read_u8(r);
    m->raft.vote.pre = kind == VOTE_PRE;
    m->raft.vote.handed_over = kind == VOTE_HANDED_OVER;
    m->raft.vote.last = wire_read_pos(r);
    if (kind > VOTE_HANDED_OVER || m->raft.vote.last.term > m->header.term)
        r->failed = true;
}

void wire_vote_reply_encode(const struct wire_message *m, struct buf *out)
{
    wire_put_bool(out, m->raft.vote_reply.pre);
    wire_put_bool(out, m->raft.vote_reply.granted);
}

void wire_vote_reply_decode(struct bytes_reader *r, struct wire_message *m)
{
    m->raft.vote_reply.pre = wire_read_bool(r);
    m->raft.vote_reply.granted = wire_read_bool(r);
}

/* ---- READ_INDEX ---- */

void wire_read_index_reply_encode(const struct wire_message *m, struct buf *out)
{
    wire_put_bool(out, m->raft.read_index_reply.ok);
    buf_put_varint(out, m->raft.read_index_reply.index);
}

void wire_read_index_reply_decode(struct bytes_reader *r, struct wire_message *m)
{
    m->raft.read_index_reply.ok = wire_read_bool(r);
    m->raft.read_index_reply.index = bytes_read_varint(r);
}

/* ---- TIMEOUT_NOW ---- */

void wire_timeout_now_reply_encode(const struct wire_message *m, struct buf *out)
{
    wire_put_bool(out, m->raft.timeout_now_reply.ok);
}

void wire_timeout_now_reply_decode(struct bytes_reader *r, struct wire_message *m)
{
    m->raft.timeout_now_reply.ok = wire_read_bool(r);
}
