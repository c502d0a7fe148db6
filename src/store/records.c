/* SPDX-License-Identifier: MIT
 * Each record has a fixed layout, big-endian, written field by field.
 */
#include "store/records.h"

#include <string.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"

#define FORMAT_BYTES     4
#define IDENTITY_BYTES   (16 + 8 + 8 + 16 + 16 + 1)
#define HARD_STATE_BYTES (8 + 16 + 8)
#define ENDS_BYTES       (8 + 2 * (8 + 8 + 4) + 8)
#define CRC_BYTES        4
#define RECORD_BYTES_MAX (CRC_BYTES + IDENTITY_BYTES)

/* Fills a record field by field. */
struct writer {
    uint8_t bytes[RECORD_BYTES_MAX];
    size_t len;
};

static void put_be(struct writer *w, uint64_t v, unsigned n_bytes)
{
    ASSERT(w->len + n_bytes <= sizeof w->bytes);
    bytes_put_be(w->bytes + w->len, v, n_bytes);
    w->len += n_bytes;
}

static void put_uuid(struct writer *w, struct uuid id)
{
    put_be(w, id.hi, 8);
    put_be(w, id.lo, 8);
}

static uint32_t record_crc(const char *name, const void *content, size_t len)
{
    return crc32c(crc32c(0, name, strlen(name)), content, len);
}

/* The writer left CRC_BYTES free at the beginning. */
static int record_put(MDB_txn *txn, MDB_dbi dbi, const char *name, struct writer *w)
{
    uint32_t crc = record_crc(name, w->bytes + CRC_BYTES, w->len - CRC_BYTES);
    bytes_put_be(w->bytes, crc, CRC_BYTES);
    MDB_val key = {strlen(name), (void *)name};
    MDB_val value = {w->len, w->bytes};
    return mdb_put(txn, dbi, &key, &value, 0);
}

/* The reader borrows from the transaction. */
static int record_get(MDB_txn *txn, MDB_dbi dbi, const char *name, size_t len,
                      struct bytes_reader *ret_reader)
{
    MDB_val key = {strlen(name), (void *)name}, value;
    int rc = mdb_get(txn, dbi, &key, &value);
    if (rc)
        return rc;
    if (value.mv_size != CRC_BYTES + len)
        return MDB_CORRUPTED;
    const uint8_t *bytes = value.mv_data;
    if (bytes_get_be(bytes, CRC_BYTES) != record_crc(name, bytes + CRC_BYTES, len))
        return MDB_CORRUPTED;
    *ret_reader = bytes_reader(bytes + CRC_BYTES, len);
    return 0;
}

int store_put_format(MDB_txn *txn, MDB_dbi dbi, uint32_t format)
{
    struct writer w = {.len = CRC_BYTES};
    put_be(&w, format, 4);
    return record_put(txn, dbi, "format", &w);
}

int store_get_format(MDB_txn *txn, MDB_dbi dbi, uint32_t *ret_format)
{
    struct bytes_reader r;
    int rc = record_get(txn, dbi, "format", FORMAT_BYTES, &r);
    if (!rc)
        *ret_format = bytes_read_u32(&r);
    return rc;
}

int store_put_identity(MDB_txn *txn, MDB_dbi dbi, const struct storage_identity *identity)
{
    struct writer w = {.len = CRC_BYTES};
    put_uuid(&w, identity->node);
    put_be(&w, identity->incarnation, 8);
    put_be(&w, identity->boot, 8);
    put_uuid(&w, identity->cluster);
    put_uuid(&w, identity->promised);
    put_be(&w, (uint64_t)identity->contacted | (uint64_t)identity->outsider << 1, 1);
    return record_put(txn, dbi, "identity", &w);
}

int store_get_identity(MDB_txn *txn, MDB_dbi dbi, struct storage_identity *ret_identity)
{
    struct bytes_reader r;
    int rc = record_get(txn, dbi, "identity", IDENTITY_BYTES, &r);
    if (rc)
        return rc;
    ret_identity->node = bytes_read_uuid(&r);
    ret_identity->incarnation = bytes_read_u64(&r);
    ret_identity->boot = bytes_read_u64(&r);
    ret_identity->cluster = bytes_read_uuid(&r);
    ret_identity->promised = bytes_read_uuid(&r);
    uint8_t marks = bytes_read_u8(&r);
    ret_identity->contacted = marks & 1;
    ret_identity->outsider = marks & 2;
    return 0;
}

int store_put_hard_state(MDB_txn *txn, MDB_dbi dbi, const struct raft_hard_state *hs)
{
    struct writer w = {.len = CRC_BYTES};
    put_be(&w, hs->term, 8);
    put_uuid(&w, hs->vote);
    put_be(&w, hs->commit, 8);
    return record_put(txn, dbi, "hard-state", &w);
}

int store_get_hard_state(MDB_txn *txn, MDB_dbi dbi, struct raft_hard_state *ret_hs)
{
    struct bytes_reader r;
    int rc = record_get(txn, dbi, "hard-state", HARD_STATE_BYTES, &r);
    if (rc)
        return rc;
    ret_hs->term = bytes_read_u64(&r);
    ret_hs->vote = bytes_read_uuid(&r);
    ret_hs->commit = bytes_read_u64(&r);
    return 0;
}

int store_put_base(MDB_txn *txn, MDB_dbi dbi, const struct store_base *base)
{
    static const char name[] = "base";
    struct buf b = BUF_INIT;
    buf_put_u32(&b, 0); /* the checksum's place */
    buf_put_u64(&b, base->generation);
    buf_put_u64(&b, base->raft.pos.term);
    buf_put_u64(&b, base->raft.pos.index);
    buf_put_u64(&b, base->raft.config_pos.term);
    buf_put_u64(&b, base->raft.config_pos.index);
    if (base->raft.config_pos.index > 0)
        raft_config_encode(&base->raft.config, &b);
    bytes_put_be(b.data, record_crc(name, b.data + CRC_BYTES, b.len - CRC_BYTES), CRC_BYTES);
    MDB_val key = {strlen(name), (void *)name};
    MDB_val value = {b.len, b.data};
    int rc = mdb_put(txn, dbi, &key, &value, 0);
    buf_free(&b);
    return rc;
}

static bool read_base(struct bytes_reader *r, struct store_base *ret_base)
{
    struct store_base b = {0};
    b.generation = bytes_read_u64(r);
    b.raft.pos.term = bytes_read_u64(r);
    b.raft.pos.index = bytes_read_u64(r);
    b.raft.config_pos.term = bytes_read_u64(r);
    b.raft.config_pos.index = bytes_read_u64(r);
    bool has_config = b.raft.config_pos.index > 0;
    if (has_config && raft_config_decode(r->p, r->left, &b.raft.config) != 0)
        return false;
    if (!bytes_reader_ok(r) || (!has_config && r->left > 0))
        return false;
    *ret_base = b;
    return true;
}

int store_get_base(MDB_txn *txn, MDB_dbi dbi, struct store_base *ret_base)
{
    static const char name[] = "base";
    MDB_val key = {strlen(name), (void *)name}, value;
    int rc = mdb_get(txn, dbi, &key, &value);
    if (rc)
        return rc;
    const uint8_t *bytes = value.mv_data;
    if (value.mv_size < CRC_BYTES ||
        bytes_get_be(bytes, CRC_BYTES) !=
            record_crc(name, bytes + CRC_BYTES, value.mv_size - CRC_BYTES))
        return MDB_CORRUPTED;
    struct bytes_reader r = bytes_reader(bytes + CRC_BYTES, value.mv_size - CRC_BYTES);
    return read_base(&r, ret_base) ? 0 : MDB_CORRUPTED;
}

static void put_link(struct writer *w, struct store_link link)
{
    put_be(w, link.pos.term, 8);
    put_be(w, link.pos.index, 8);
    put_be(w, link.crc, 4);
}

static struct store_link read_link(struct bytes_reader *r)
{
    struct store_link link;
    link.pos.term = bytes_read_u64(r);
    link.pos.index = bytes_read_u64(r);
    link.crc = bytes_read_u32(r);
    return link;
}

int store_put_ends(MDB_txn *txn, MDB_dbi dbi, const struct store_ends *ends)
{
    struct writer w = {.len = CRC_BYTES};
    put_be(&w, mdb_txn_id(txn), 8);
    put_link(&w, ends->base);
    put_link(&w, ends->last);
    put_be(&w, ends->journal_seq, 8);
    return record_put(txn, dbi, "ends", &w);
}

int store_get_ends(MDB_txn *txn, MDB_dbi dbi, struct store_ends *ret_ends)
{
    struct bytes_reader r;
    int rc = record_get(txn, dbi, "ends", ENDS_BYTES, &r);
    if (!rc && bytes_read_u64(&r) != mdb_txn_id(txn))
        rc = MDB_CORRUPTED;
    if (rc)
        return rc;
    ret_ends->base = read_link(&r);
    ret_ends->last = read_link(&r);
    ret_ends->journal_seq = bytes_read_u64(&r);
    return 0;
}
