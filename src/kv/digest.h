/* SPDX-License-Identifier: MIT
 * The digest of the state: the sum, modulo 2^64, of a number for each live
 * record. Every apply keeps it up to date, so that two nodes can be compared at
 * the same index without reading anything; and it can be made anew from a view.
 * It finds damage and bugs, not somebody who looks for a collision.
 */
#ifndef KV_DIGEST_H
#define KV_DIGEST_H

#include "kv/view.h"

/* The number of a record: of its key, its value and all that is known of it. 0: a tombstone. */
uint64_t kv_record_digest(const struct kv_record *record);

/* What the digest is at the view's index, by reading all of it; CORRUPT, TIMEOUT or IO. Not of a
 * lazy view. */
MUST_CHECK int kv_view_digest(struct kv_view *view, uint64_t *ret_digest);

#endif
