/* SPDX-License-Identifier: MIT
 * The configurations that may still be needed: the latest committed one and
 * all after it in the log. The last is in force (dissertation 4.1); truncation
 * goes back to the one before, which need not be in the log any more
 * (PITFALLS 29).
 */
#ifndef RAFT_HISTORY_H
#define RAFT_HISTORY_H

#include "raft/config.h"
#include "raft/types.h"

struct raft_history; /* opaque */

/* Begins with the empty configuration at index 0. */
struct raft_history *raft_history_new(void);
void raft_history_free(struct raft_history **h);
/* Replaces everything: the configuration at the base of the log. */
void raft_history_set_base(struct raft_history *h, struct raft_pos pos,
                           const struct raft_config *config);
void raft_history_push(struct raft_history *h, struct raft_pos pos,
                       const struct raft_config *config);
/* Forgets the configurations at or after this index. True when there were any. */
bool raft_history_truncate(struct raft_history *h, uint64_t from);
void raft_history_commit(struct raft_history *h, uint64_t commit);
/* The one in force. Borrowed until the next change. */
const struct raft_config *raft_history_latest(const struct raft_history *h,
                                              struct raft_pos *ret_pos);
/* The latest one that is committed. Borrowed likewise. */
const struct raft_config *raft_history_committed(const struct raft_history *h,
                                                 struct raft_pos *ret_pos);
/* Votes in any of them. */
bool raft_history_has_voter(const struct raft_history *h, struct uuid id);
/* None waits to be committed. */
bool raft_history_is_committed(const struct raft_history *h);

#endif
