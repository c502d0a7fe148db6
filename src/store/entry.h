/* SPDX-License-Identifier: MIT
 * One log entry <-> its value in the table of entries:
 *
 *      crc u32 | crc of the entry before u32 | term u64 | type u8 | data
 *
 * crc is CRC-32C over the entry's index and all that follows crc. So each entry
 * is checked alone, and the chain shows an entry that is missing, or that was
 * left behind by another write.
 */
#ifndef STORE_ENTRY_H
#define STORE_ENTRY_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "raft/types.h"

#define STORE_ENTRY_HEADER_BYTES 17

/* A link of the chain: where, and the checksum there. Zero before the first entry. */
struct store_link {
    struct raft_pos pos;
    uint32_t crc;
};

static inline bool store_link_equal(struct store_link a, struct store_link b)
{
    return raft_pos_equal(a.pos, b.pos) && a.crc == b.crc;
}

/* Writes STORE_ENTRY_HEADER_BYTES + e->len bytes for e after `before`; returns e's link. */
struct store_link store_entry_encode(const struct raft_entry *e, struct store_link before,
                                     uint8_t *out);

struct store_entry_view {
    struct store_link link;
    uint32_t before_crc;
    enum raft_entry_type type;
    const uint8_t *data; /* borrowed from the bytes decoded */
    uint32_t len;
};
/* CORRUPT. */
MUST_CHECK int store_entry_decode(uint64_t index, const void *p, size_t len,
                                  struct store_entry_view *ret_view);
/* The view follows on `before`: next index, same or later term, chained to it. */
bool store_entry_follows(const struct store_entry_view *view, struct store_link before);
/* A copy with one reference. */
struct raft_entry *store_entry_copy(const struct store_entry_view *view);

#endif
