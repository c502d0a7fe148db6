/* SPDX-License-Identifier: MIT
 * Quorum arithmetic over one or two voter sets (Raft dissertation 4.3: a joint
 * decision needs a majority of the old and of the new set). No special case
 * for one voter or for an empty second set (PITFALLS 22).
 */
#ifndef RAFT_QUORUM_H
#define RAFT_QUORUM_H

#include <stdint.h>

#include "raft/config.h"

enum raft_vote_result { RAFT_VOTE_PENDING, RAFT_VOTE_LOST, RAFT_VOTE_WON };

enum raft_ballot { RAFT_BALLOT_NONE = 0, RAFT_BALLOT_YES, RAFT_BALLOT_NO };

/* The highest index that a quorum has reached. indexes[i] belongs to
 * config->members[i]; those of non-voters are ignored. An empty voter set
 * does not limit: with no voters at all the result is UINT64_MAX. */
uint64_t raft_quorum_index(const struct raft_config *config, const uint64_t indexes[]);
/* The state of a vote; ballots[i] belongs to config->members[i]. An empty
 * voter set counts as won. */
enum raft_vote_result raft_quorum_vote(const struct raft_config *config,
                                       const enum raft_ballot ballots[]);

#endif
