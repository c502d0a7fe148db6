/* SPDX-License-Identifier: MIT
 * The protocol in words. A place in the log is written 5(t2): index 5, term 2;
 * a configuration {1 2 3}, joint {1 2 4 | 1 2 3} with the old voters last.
 */
#ifndef TESTS_SCENARIO_TRACE_H
#define TESTS_SCENARIO_TRACE_H

#include "base/buf.h"
#include "raft/raft.h"

void trace_pos(struct buf *b, struct raft_pos pos);
/* Snapshots are called A, B, C. */
void trace_snapshot_name(struct buf *b, uint64_t id);
void trace_config(struct buf *b, const struct raft_config *config);
/* A few with what is in them, many as ranges; "nothing" for n = 0. */
void trace_entries(struct buf *b, struct raft_entry *const entries[], unsigned n);
/* As ranges. */
void trace_ranges(struct buf *b, struct raft_entry *const entries[], unsigned n);
/* append, heartbeat, append-reply, vote, pre-vote, vote-reply, ... Static. */
const char *trace_message_name(const struct raft_message *m);
/* "1>2 append ..." without an end of line. */
void trace_message(struct buf *b, const struct raft_message *m);
const char *trace_role_name(enum raft_role role);
/* The whole log of a core, as ranges. */
void trace_log(struct buf *b, const struct raft *core);

#endif
