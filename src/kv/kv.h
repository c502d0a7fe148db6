/* SPDX-License-Identifier: MIT
 * The replicated state machine: the same entries in the same order give the
 * same state and the same answers on every node. One writer; no locks of its
 * own (node/ guards it).
 *
 * Beside the keys, the state holds a session for each member of the cluster:
 * its boot, its floor and the answers of its commands from floor on. A command
 * seen before is not applied again and gets its first answer. A command of an
 * earlier boot or membership, below the floor, too far above it
 * (LIMIT_FORWARDED_OPS), or of a node that is no member is STALE and changes
 * nothing: it is a late copy of one that was settled.
 */
#ifndef KV_KV_H
#define KV_KV_H

#include "base/err.h"
#include "base/uuid.h"
#include "kv/command.h"
#include "kv/cursor.h"

/* One old value of the largest size always fits. */
#define KV_ANSWER_BYTES_MAX (LIMIT_VALUE_BYTES + LIMIT_COMMAND_OVERHEAD)

struct kv; /* opaque */

struct kv_pos {
    uint64_t term;
    uint64_t index;
};

struct kv *kv_new(void);
void kv_free(struct kv **kv);

struct kv_result {
    /* 0, or what left the state as it was, the same everywhere: STALE; INVALID (not decodable);
     * TOO_LARGE (old values of a batch's Deletes would make an answer beyond KV_ANSWER_BYTES_MAX)
     */
    int err;
    struct kv_pos pos;     /* where the command was first applied; zero when STALE or INVALID */
    const uint8_t *answer; /* see kv_answer_next(); borrowed until the next apply */
    size_t answer_len;
};

/* Applies the command at pos. pos.index is above every index applied before. */
void kv_apply(struct kv *kv, struct kv_pos pos, const void *command, size_t len,
              struct kv_result *ret_result);
/* The index of the configuration entry that made this node a member, the last time if it was one
 * before; 0: it is none. */
uint64_t kv_member_since(const struct kv *kv, struct uuid node);

/* Applies a configuration entry: sessions of nodes not in ids[] end, those new begin. */
void kv_apply_members(struct kv *kv, struct kv_pos pos, const struct uuid ids[], unsigned n);
/* Notes that an entry without meaning for the state was passed. */
void kv_apply_nothing(struct kv *kv, struct kv_pos pos);

/* The last position applied. */
struct kv_pos kv_applied(const struct kv *kv);

/* NOT_FOUND. The value is borrowed until the next apply. */
MUST_CHECK int kv_get(const struct kv *kv, const void *key, size_t key_len,
                      struct kv_value *ret_value);

/* Visits keys in byte order from `from` (inclusive; len 0: the first) until fn returns false. */
typedef bool kv_visit_fn(void *ctx, const uint8_t *key, size_t key_len,
                         const struct kv_value *value);
void kv_visit(const struct kv *kv, const void *from, size_t from_len, kv_visit_fn *fn, void *ctx);

struct kv_stats {
    uint64_t n_keys;
    uint64_t bytes; /* memory held by keys, values and their nodes */
    unsigned n_sessions;
};
struct kv_stats kv_stats(const struct kv *kv);

#endif
