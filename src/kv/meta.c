/* SPDX-License-Identifier: MIT */
#include "kv/meta.h"

#include "base/crc32c.h"

#define CRC_BYTES 4

void meta_encode(const struct meta *meta, struct buf *out)
{
    size_t start = out->len;
    buf_put_u8(out, KV_META_VERSION);
    buf_put_varint(out, meta->info.applied.term);
    buf_put_varint(out, meta->info.applied.index);
    buf_put_varint(out, meta->info.n_keys);
    buf_put_varint(out, meta->info.bytes);
    buf_put_u64(out, meta->info.digest);
    session_table_encode(meta->sessions, out);
    once_table_encode(meta->once, out);
    buf_put_u32(out, crc32c(0, out->data + start, out->len - start));
}

/* The reader stands behind version and is confined to what the checksum covers. */
static int open_meta(const uint8_t *p, size_t len, struct bytes_reader *ret_reader)
{
    if (len < 1 + CRC_BYTES)
        return ERR_CORRUPT;
    len -= CRC_BYTES;
    if (bytes_get_be(p + len, CRC_BYTES) != crc32c(0, p, len))
        return ERR_CORRUPT;
    *ret_reader = bytes_reader(p, len);
    return bytes_read_u8(ret_reader) == KV_META_VERSION ? 0 : ERR_VERSION;
}

static struct kv_meta_info read_info(struct bytes_reader *r)
{
    struct kv_meta_info info;
    info.applied.term = bytes_read_varint(r);
    info.applied.index = bytes_read_varint(r);
    info.n_keys = bytes_read_varint(r);
    info.bytes = bytes_read_varint(r);
    info.digest = bytes_read_u64(r);
    return info;
}

int kv_meta_info(const void *p, size_t len, struct kv_meta_info *ret_info)
{
    struct bytes_reader r;
    int err = open_meta(p, len, &r);
    if (err)
        return err;
    struct kv_meta_info info = read_info(&r);
    if (!bytes_reader_ok(&r))
        return ERR_CORRUPT;
    *ret_info = info;
    return 0;
}

void meta_free(struct meta *meta)
{
    session_table_free(&meta->sessions);
    once_table_free(&meta->once);
}

int meta_decode(const void *p, size_t len, struct meta *ret_meta)
{
    struct bytes_reader r;
    int err = open_meta(p, len, &r);
    if (err)
        return err;
    struct meta meta = {.info = read_info(&r)};
    err = session_table_decode(&r, meta.info.applied, &meta.sessions);
    if (!err)
        err = once_table_decode(&r, meta.info.applied, &meta.once);
    if (!err && !bytes_reader_done(&r))
        err = ERR_CORRUPT;
    if (err) {
        meta_free(&meta);
        return err;
    }
    *ret_meta = meta;
    return 0;
}
