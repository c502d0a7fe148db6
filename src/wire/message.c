/* SPDX-License-Identifier: MIT
 * The frame of every message: header, payload by type, checksum. Which
 * functions know a payload is one table.
 */
#include "wire/wire.h"

#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "wire/codec.h"

enum { CHECKSUM_BYTES = 4 };

static const char magic[4] = {'C', 'R', 'A', 'B'};

/* NULL: nothing there to encode or decode, or nothing owned. */
struct codec {
    bool known;
    void (*encode)(const struct wire_message *m, struct buf *out);
    void (*decode)(struct bytes_reader *r, struct wire_message *m);
    void (*free)(struct wire_message *m);
};

static const struct codec codecs[] = {
    [WIRE_APPEND] = {true, wire_append_encode, wire_append_decode, wire_append_free},
    [WIRE_APPEND_REPLY] = {true, wire_append_reply_encode, wire_append_reply_decode, NULL},
    [WIRE_VOTE] = {true, wire_vote_encode, wire_vote_decode, NULL},
    [WIRE_VOTE_REPLY] = {true, wire_vote_reply_encode, wire_vote_reply_decode, NULL},
    [WIRE_READ_INDEX] = {true, NULL, NULL, NULL},
    [WIRE_READ_INDEX_REPLY] = {true, wire_read_index_reply_encode, wire_read_index_reply_decode,
                               NULL},
    [WIRE_TIMEOUT_NOW] = {true, NULL, NULL, NULL},
    [WIRE_TIMEOUT_NOW_REPLY] = {true, wire_timeout_now_reply_encode, wire_timeout_now_reply_decode,
                                NULL},
    [WIRE_SNAPSHOT] = {true, wire_snapshot_encode, wire_snapshot_decode, wire_snapshot_free},
    [WIRE_SNAPSHOT_REPLY] = {true, wire_snapshot_reply_encode, wire_snapshot_reply_decode, NULL},
    [WIRE_REFUSED] = {true, wire_refused_encode, wire_refused_decode, NULL},
    [WIRE_HELLO] = {true, NULL, NULL, NULL},
    [WIRE_HELLO_REPLY] = {true, wire_hello_reply_encode, wire_hello_reply_decode, NULL},
    [WIRE_FORWARD] = {true, wire_forward_encode, wire_forward_decode, wire_forward_free},
    [WIRE_FORWARD_REPLY] = {true, wire_forward_reply_encode, wire_forward_reply_decode,
                            wire_forward_reply_free},
    [WIRE_ADMIN] = {true, wire_admin_encode, wire_admin_decode, NULL},
    [WIRE_ADMIN_REPLY] = {true, wire_admin_reply_encode, wire_admin_reply_decode, NULL},
    [WIRE_FORM] = {true, wire_form_encode, wire_form_decode, NULL},
    [WIRE_FORM_REPLY] = {true, wire_form_reply_encode, wire_form_reply_decode, NULL},
    [WIRE_DIGEST] = {true, NULL, NULL, NULL},
    [WIRE_DIGEST_REPLY] = {true, wire_digest_reply_encode, wire_digest_reply_decode, NULL},
    [WIRE_STATUS] = {true, NULL, NULL, NULL},
    [WIRE_STATUS_REPLY] = {true, wire_status_reply_encode, wire_status_reply_decode, NULL},
};

static const struct codec *find_codec(unsigned type)
{
    if (type >= sizeof codecs / sizeof codecs[0] || !codecs[type].known)
        return NULL;
    return &codecs[type];
}

static bool is_raft(enum wire_type type)
{
    return type <= WIRE_SNAPSHOT_REPLY;
}

/* ---- encode ---- */

static void put_header(struct buf *out, const struct wire_header *h)
{
    buf_reserve(out, WIRE_HEADER_BYTES);
    buf_append(out, magic, sizeof magic);
    buf_put_u8(out, WIRE_VERSION);
    buf_put_u8(out, (uint8_t)h->type);
    buf_put_u16(out, 0);
    buf_put_uuid(out, h->cluster);
    buf_put_uuid(out, h->from);
    buf_put_uuid(out, h->to);
    buf_put_u64(out, h->to_incarnation);
    buf_put_u64(out, h->from_incarnation);
    buf_put_u64(out, h->term);
    buf_put_u64(out, h->seq);
}

static void assert_raft_repeats_header(const struct wire_message *m)
{
    ASSERT((unsigned)m->raft.type == (unsigned)m->header.type);
    ASSERT(uuid_equal(m->raft.from, m->header.from));
    ASSERT(uuid_equal(m->raft.to, m->header.to));
    ASSERT(m->raft.term == m->header.term);
    ASSERT(m->raft.seq == m->header.seq);
}

void wire_encode(const struct wire_message *m, struct buf *out)
{
    const struct codec *codec = find_codec(m->header.type);
    ASSERT(codec);
    if (is_raft(m->header.type))
        assert_raft_repeats_header(m);
    size_t start = out->len;
    put_header(out, &m->header);
    if (codec->encode)
        codec->encode(m, out);
    buf_put_u32(out, crc32c(0, out->data + start, out->len - start));
}

/* ---- decode ---- */

/* Magic, version and checksum; everything up to the checksum is the reader's then. */
static int open_frame(const void *p, size_t len, struct bytes_reader *ret_reader)
{
    const uint8_t *bytes = p;
    if (len < sizeof magic + 1 || memcmp(bytes, magic, sizeof magic) != 0)
        return ERR_INVALID;
    if (bytes[sizeof magic] != WIRE_VERSION)
        return ERR_VERSION;
    if (len < WIRE_HEADER_BYTES + CHECKSUM_BYTES || len > LIMIT_APPEND_BYTES)
        return ERR_INVALID;
    size_t body = len - CHECKSUM_BYTES;
    if (crc32c(0, bytes, body) != (uint32_t)bytes_get_be(bytes + body, CHECKSUM_BYTES))
        return ERR_CORRUPT;
    size_t skip = sizeof magic + 1;
    *ret_reader = bytes_reader(bytes + skip, body - skip);
    return 0;
}

/* False when type or flags are not of this version. */
static bool read_header(struct bytes_reader *r, struct wire_header *ret_header)
{
    uint8_t type = bytes_read_u8(r);
    uint16_t flags = bytes_read_u16(r);
    if (!find_codec(type) || flags != 0)
        return false;
    struct wire_header *h = ret_header;
    h->type = (enum wire_type)type;
    h->cluster = bytes_read_uuid(r);
    h->from = bytes_read_uuid(r);
    h->to = bytes_read_uuid(r);
    h->to_incarnation = bytes_read_u64(r);
    h->from_incarnation = bytes_read_u64(r);
    h->term = bytes_read_u64(r);
    h->seq = bytes_read_u64(r);
    return bytes_reader_ok(r);
}

static void repeat_header_in_raft(struct wire_message *m)
{
    m->raft.type = (enum raft_message_type)m->header.type;
    m->raft.from = m->header.from;
    m->raft.to = m->header.to;
    m->raft.to_incarnation = m->header.to_incarnation;
    m->raft.term = m->header.term;
    m->raft.seq = m->header.seq;
}

int wire_decode(const void *p, size_t len, struct wire_message *ret_message)
{
    struct bytes_reader r;
    int err = open_frame(p, len, &r);
    if (err < 0)
        return err;
    struct wire_message m;
    memset(&m, 0, sizeof m); /* all of the union, which {0} does not promise */
    if (!read_header(&r, &m.header))
        return ERR_INVALID;
    if (is_raft(m.header.type))
        repeat_header_in_raft(&m);
    const struct codec *codec = find_codec(m.header.type);
    if (codec->decode)
        codec->decode(&r, &m);
    if (!bytes_reader_done(&r)) {
        wire_message_free(&m);
        return ERR_INVALID;
    }
    *ret_message = m;
    return 0;
}

void wire_message_free(struct wire_message *m)
{
    const struct codec *codec = find_codec(m->header.type);
    if (codec && codec->free)
        codec->free(m);
}
