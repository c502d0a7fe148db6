/* SPDX-License-Identifier: MIT
 * One node that follows, and leaders that are played: what they send of
 * snapshots and entries, and what they hear.
 */
#ifndef TESTS_UNIT_RAFT_PIECES_H
#define TESTS_UNIT_RAFT_PIECES_H

#include "raft_cluster.h"

#define POS(t, i) ((struct raft_pos){t, i})

enum { SIZE = 100, PIECE = 40 }; /* of snapshots; three pieces */

/* Node 0 knows nothing; nodes 1 and 2 are played. It writes pieces and records only when told. */
struct cluster *pieces_follower(void);
void pieces_finish(struct cluster **c, struct raft_snapshot **s);

/* With nodes 0, 1 and 2 as voters. */
struct raft_snapshot *pieces_snapshot(uint64_t id, struct raft_pos pos);

extern uint64_t pieces_last_seq; /* of what was sent */

int pieces_send(struct cluster *c, unsigned from, uint64_t term, struct raft_snapshot *s,
                uint64_t offset, uint32_t len);
/* It must not be refused as invalid. */
void pieces_take(struct cluster *c, unsigned from, uint64_t term, struct raft_snapshot *s,
                 uint64_t offset, uint32_t len);
/* Sends one piece, writes it, and wants it acknowledged. */
void pieces_take_and_write(struct cluster *c, unsigned from, uint64_t term, struct raft_snapshot *s,
                           uint64_t offset, uint32_t len);
/* All of them; then the install is in a record that is being written. */
void pieces_take_all(struct cluster *c, unsigned from, uint64_t term, struct raft_snapshot *s);
/* n entries of this term after prev. */
void pieces_append(struct cluster *c, unsigned from, uint64_t term, struct raft_pos prev,
                   unsigned n, uint64_t commit);

/* The newest answer, which is for what was sent last; nothing is in flight any more. */
struct raft_message pieces_answer(struct cluster *c, unsigned to);
/* It says that the bytes up to there are written, and no more. */
void pieces_expect(struct cluster *c, unsigned to, uint64_t offset);
bool pieces_none_answered(struct cluster *c);

#endif
