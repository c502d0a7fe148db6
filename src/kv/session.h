/* SPDX-License-Identifier: MIT
 * The sessions of the cluster's members: which commands of each were applied
 * before, and what was answered (dissertation 6.3, PITFALLS 49). Part of the
 * replicated state: it depends on the log alone.
 */
#ifndef KV_SESSION_H
#define KV_SESSION_H

#include "base/bytes.h"
#include "base/uuid.h"
#include "kv/kv.h"

/* What was answered to one command. */
struct session_answer {
    struct kv_pos pos; /* index 0: not seen yet */
    int err;           /* 0, TOO_LARGE, CONFLICT or OVERLOADED; UNKNOWN: its bytes are forgotten */
    uint32_t len;
    uint8_t *bytes; /* owned; NULL: len times KV_ANSWER_SET */
};

struct session_table; /* opaque */

struct session_table *session_table_new(void);
/* Frees *t and nulls the pointer; NULL is accepted. */
void session_table_free(struct session_table **t);

/* Sessions of nodes not in ids[] end, those new begin with this index, the others stay as they
 * are. */
void session_table_set_members(struct session_table *t, uint64_t index, const struct uuid ids[],
                               unsigned n);
/* The index with which the session began; 0: there is none. */
uint64_t session_member_since(const struct session_table *t, struct uuid node);

/* The place of this command's answer, borrowed until the next call; pos.index is
 * 0 when it was not seen before, then the caller applies it and fills the place.
 * STALE: changes nothing. A later boot than known starts the session again; a
 * floor above the known one forgets the answers below it. */
MUST_CHECK int session_admit(struct session_table *t, const struct kv_origin *origin,
                             struct session_answer **ret_answer);

/* The answer of a command that was admitted and applied at index; NULL: it is forgotten. Borrowed
 * like that of session_admit(). */
struct session_answer *session_find_answer(const struct session_table *t,
                                           const struct kv_origin *origin, uint64_t index);

unsigned session_table_count(const struct session_table *t);

/* Appends an answer: 0 when it was not seen, else what (1 to 5), term and index as varints and
 * then, 1: how many KV_ANSWER_SET as varint; 2: its bytes with their length; 3 (TOO_LARGE), 4
 * (CONFLICT), 5 (OVERLOADED), 6 (UNKNOWN): nothing. */
void session_answer_encode(const struct session_answer *a, struct buf *out);
/* Reads one at this position, from untrusted bytes; false: it cannot be. The caller owns its bytes
 * whatever is said. */
MUST_CHECK bool session_answer_decode(struct bytes_reader *r, struct kv_pos applied,
                                      struct session_answer *ret_answer);

/* Appends the sessions with their answers; the same sessions give the same bytes. For each:
 *
 *      node uuid | member_since, boot, floor, count: varints | count answers
 *
 * The first answer is that of floor, the last one was seen. Old values that many commands at a time
 * answered may be more than a file should hold, or memory when it is read: from the first answer on
 * that goes beyond KV_ANSWER_BYTES_MAX in all, those with bytes are as if their bytes were
 * forgotten. */
void session_table_encode(const struct session_table *t, struct buf *out);
/* Reads what was encoded at this position, from untrusted bytes. CORRUPT. The caller owns the
 * table. */
MUST_CHECK int session_table_decode(struct bytes_reader *r, struct kv_pos applied,
                                    struct session_table **ret_table);

#endif
