/* SPDX-License-Identifier: MIT
 * A kv with a little of everything that its meta holds: sessions with answers of
 * every kind, with gaps, and one that has none. For unit tests and fuzzing.
 */
#ifndef TESTS_KV_SAMPLE_H
#define TESTS_KV_SAMPLE_H

#include "kv/view.h"

#define KV_SAMPLE_COMMANDS 11
#define KV_SAMPLE_KEY      "kept" /* is there */

/* After all commands. Its terms begin at 2. */
struct kv *kv_sample_new(void);
/* Applies one of the commands again, 0 to KV_SAMPLE_COMMANDS - 1, at the next index. */
struct kv_result kv_sample_apply(struct kv *kv, unsigned i);
/* A command not applied before, whose key is KV_SAMPLE_KEY: 0 a Set, 1 a Delete, 2 a batch. */
void kv_sample_new_command(const struct kv *kv, unsigned i, struct buf *out);
/* Puts the right checksum at the end of meta bytes. */
void kv_sample_reseal(uint8_t *meta, size_t len);

#endif
