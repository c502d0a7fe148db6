/* SPDX-License-Identifier: MIT
 * The two ends of a run file, which are of fixed size.
 */
#include "store/run_format.h"

#include "base/crc32c.h"
#include "store/run.h"

#define HEADER_SEALED_BYTES (RUN_MAGIC_BYTES + 4)
#define FOOTER_SEALED_BYTES (RUN_FOOTER_BYTES - RUN_MAGIC_BYTES - 4)

void run_header_encode(uint8_t out[RUN_HEADER_BYTES])
{
    memcpy(out, RUN_MAGIC, RUN_MAGIC_BYTES);
    bytes_put_be(out + RUN_MAGIC_BYTES, RUN_FORMAT_VERSION, 4);
    bytes_put_be(out + HEADER_SEALED_BYTES, crc32c(0, out, HEADER_SEALED_BYTES), 4);
}

bool run_header_decode(const uint8_t *p, uint32_t *ret_version)
{
    if (memcmp(p, RUN_MAGIC, RUN_MAGIC_BYTES) != 0 ||
        bytes_get_be(p + HEADER_SEALED_BYTES, 4) != crc32c(0, p, HEADER_SEALED_BYTES))
        return false;
    *ret_version = (uint32_t)bytes_get_be(p + RUN_MAGIC_BYTES, 4);
    return true;
}

void run_footer_encode(const struct run_footer *footer, uint8_t out[RUN_FOOTER_BYTES])
{
    bytes_put_be(out, footer->meta_offset, 8);
    bytes_put_be(out + 8, footer->filter_offset, 8);
    bytes_put_be(out + 16, footer->index_offset, 8);
    bytes_put_be(out + 24, footer->n_blocks, 8);
    bytes_put_be(out + 32, footer->n_records, 8);
    bytes_put_be(out + 40, footer->n_deleted, 8);
    bytes_put_be(out + 48, footer->content_bytes, 8);
    bytes_put_be(out + 56, footer->meta_crc, 4);
    bytes_put_be(out + 60, footer->filter_crc, 4);
    bytes_put_be(out + 64, footer->index_crc, 4);
    bytes_put_be(out + 68, footer->digest, 4);
    bytes_put_be(out + 72, footer->version, 4);
    bytes_put_be(out + FOOTER_SEALED_BYTES, crc32c(0, out, FOOTER_SEALED_BYTES), 4);
    memcpy(out + FOOTER_SEALED_BYTES + 4, RUN_MAGIC_END, RUN_MAGIC_BYTES);
}

bool run_footer_decode(const uint8_t *p, struct run_footer *ret_footer)
{
    if (memcmp(p + FOOTER_SEALED_BYTES + 4, RUN_MAGIC_END, RUN_MAGIC_BYTES) != 0 ||
        bytes_get_be(p + FOOTER_SEALED_BYTES, 4) != crc32c(0, p, FOOTER_SEALED_BYTES))
        return false;
    *ret_footer = (struct run_footer){
        .meta_offset = bytes_get_be(p, 8),
        .filter_offset = bytes_get_be(p + 8, 8),
        .index_offset = bytes_get_be(p + 16, 8),
        .n_blocks = bytes_get_be(p + 24, 8),
        .n_records = bytes_get_be(p + 32, 8),
        .n_deleted = bytes_get_be(p + 40, 8),
        .content_bytes = bytes_get_be(p + 48, 8),
        .meta_crc = (uint32_t)bytes_get_be(p + 56, 4),
        .filter_crc = (uint32_t)bytes_get_be(p + 60, 4),
        .index_crc = (uint32_t)bytes_get_be(p + 64, 4),
        .digest = (uint32_t)bytes_get_be(p + 68, 4),
        .version = (uint32_t)bytes_get_be(p + 72, 4),
    };
    return true;
}

uint32_t run_block_crc_start(uint64_t offset)
{
    uint8_t bytes[8];
    bytes_put_be(bytes, offset, 8);
    return crc32c(0, bytes, sizeof bytes);
}
