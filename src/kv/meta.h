/* SPDX-License-Identifier: MIT
 * What of the state is not keys, as bytes: it stands beside the keys in run
 * files, in the checkpointed state and in snapshots.
 *
 *      version u8 | term, index, n_keys, bytes: varints | digest u64 | sessions
 *      | idempotency keys | crc32c u32
 *
 * The checksum is over everything before it and stays at the end in every
 * version. The same state gives the same bytes on every node.
 */
#ifndef KV_META_H
#define KV_META_H

#include "kv/idempotency.h"
#include "kv/kv.h"
#include "kv/session.h"

#define KV_META_VERSION 3

struct meta {
    struct kv_meta_info info;
    struct session_table *sessions; /* decoded: this and what follows is owned by who decoded */
    struct once_table *once;
};

void meta_encode(const struct meta *meta, struct buf *out);
/* Untrusted bytes. CORRUPT; VERSION when they are of another version. */
MUST_CHECK int meta_decode(const void *p, size_t len, struct meta *ret_meta);
/* Frees what a decoded one owns. */
void meta_free(struct meta *meta);

#endif
