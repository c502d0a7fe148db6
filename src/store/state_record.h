/* SPDX-License-Identifier: MIT
 * One key's record in the checkpointed state <-> its value in LMDB:
 *
 *      crc u32 | flags u8 | revision | create_revision | version | attributes
 *                                                 | value
 *                                                 | id u64 | bytes u64 | crc u32
 *
 * flags: bits 0-2 the width of both revisions less 1, bits 3-5 that of version
 * less 1, bit 6: the value is large and lies in chunks under `id`, under a
 * checksum of its own; bit 7: it has attributes, their length as u8 before them. crc is CRC-32C
 * over the key and all that follows crc. Widths seldom change when a key is written again, so that
 * its record is replaced in place and no page is split.
 */
#ifndef STORE_STATE_RECORD_H
#define STORE_STATE_RECORD_H

#include <stdbool.h>

#include "kv/cursor.h"

/* What one page of 4096 bytes holds beside LMDB's header: a longer item takes
 * several pages in a row, which a fragmented file does not have (PITFALLS part 2). */
#define STATE_ITEM_BYTES_MAX   4080
#define STATE_RECORD_HEAD_MAX  (4 + 1 + 3 * 8)
#define STATE_INLINE_BYTES_MAX (STATE_ITEM_BYTES_MAX - STATE_RECORD_HEAD_MAX) /* attributes too */

struct state_record {
    uint32_t crc;
    struct kv_value value; /* data: NULL when chunked, else borrowed, as attrs */
    bool chunked;
    uint64_t id;        /* of the chunks */
    uint32_t value_crc; /* of a chunked value */
};

/* Whether the value is too large to stand in its record. */
bool state_record_must_be_chunked(const struct kv_value *value);
/* Writes at most STATE_ITEM_BYTES_MAX bytes and returns their number; sets r->crc. */
size_t state_record_encode(struct state_record *r, const void *key, size_t key_len, uint8_t *out);
/* CORRUPT. */
MUST_CHECK int state_record_decode(const void *key, size_t key_len, const void *p, size_t len,
                                   struct state_record *ret_record);

#endif
