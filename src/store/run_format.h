/* SPDX-License-Identifier: MIT
 * The bytes of a run file, for those who write and read it; crabcluster-format(5)
 * is the full description. Integers are big-endian.
 *
 *      header   magic 8 | version u32 | crc u32
 *      block    crc u32 | length of records u32 | n u16 | records | n starts u16
 *      record   kind u8 | key length u16 | key | revision varint
 *               | create revision varint | version varint             (not of tombstones)
 *               | attributes length u8 | attributes                   (if it has any)
 *               | value                                               (not of tombstones)
 *      meta     as the writer's caller made it
 *      filter   lines of 64 bytes, see run_filter.h; none in a large run
 *      index    for each block: offset u64 | end of its key u64; then the keys
 *      footer   see struct run_footer | crc u32 | magic 8
 *
 * Starts are offsets from the beginning of the records; a record ends where the
 * next one starts. A block's key in the index is above all keys of the block
 * before, and not above its own first one; it is the shortest such, and empty
 * for the first block.
 */
#ifndef STORE_RUN_FORMAT_H
#define STORE_RUN_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "base/limits.h"

#define RUN_MAGIC       "CRABRUN\n"
#define RUN_MAGIC_END   "CRABEND\n"
#define RUN_MAGIC_BYTES 8

#define RUN_HEADER_BYTES       16
#define RUN_BLOCK_HEADER_BYTES 10
#define RUN_INDEX_ENTRY_BYTES  16
#define RUN_FOOTER_BYTES       88
#define RUN_FILE_BYTES_MIN     (RUN_HEADER_BYTES + RUN_FOOTER_BYTES)

/* Of a record without its value. */
#define RUN_RECORD_HEAD_BYTES_MAX                                                                  \
    (3 + LIMIT_KEY_BYTES + 3 * BYTES_VARINT_MAX + 1 + LIMIT_ATTRS_BYTES)

/* What a block is filled up to; a larger record has a block of its own. Starts
 * are below it, so that they fit into u16. Every look-up reads a whole block for
 * its checksum, so the first ones are small: those of checkpoints. It doubles with every so many
 * blocks, which keeps the index of a large file small. */
#define RUN_BLOCK_BYTES     (2 * KIB)
#define RUN_BLOCK_BYTES_MAX (64 * KIB)
#define RUN_BLOCKS_OF_SIZE  32768

enum run_record_kind {
    RUN_RECORD_VALUE = 1,
    RUN_RECORD_TOMBSTONE = 2,
    RUN_RECORD_VALUE_ATTRS = 3, /* a value with attributes (kv/attrs.h) */
};

/* In the order of its bytes. */
struct run_footer {
    uint64_t meta_offset; /* the end of the blocks */
    uint64_t filter_offset;
    uint64_t index_offset;
    uint64_t n_blocks;
    uint64_t n_records;
    uint64_t n_deleted;
    uint64_t content_bytes;
    uint32_t meta_crc;
    uint32_t filter_crc;
    uint32_t index_crc;
    uint32_t digest;
    uint32_t version;
};

void run_header_encode(uint8_t out[RUN_HEADER_BYTES]);
void run_footer_encode(const struct run_footer *footer, uint8_t out[RUN_FOOTER_BYTES]);
/* False when checksum or magic do not match. */
bool run_header_decode(const uint8_t *p, uint32_t *ret_version);
bool run_footer_decode(const uint8_t *p, struct run_footer *ret_footer);

/* What a block's checksum starts from: where the block is, so that one written elsewhere is seen.
 */
uint32_t run_block_crc_start(uint64_t offset);

#endif
