/* SPDX-License-Identifier: MIT
 * Majorities of one voter set, combined for two.
 */
#include "raft/quorum.h"

/* The highest index that a majority of the members with this role has reached:
 * with the n indexes sorted, the one with n/2 + 1 at or above it. */
static uint64_t majority_index(const struct raft_config *config, const uint64_t indexes[],
                               uint8_t role)
{
    uint64_t sorted[LIMIT_MEMBERS]; /* descending */
    unsigned n = 0;
    for (unsigned i = 0; i < config->n_members; i++) {
        if (!(config->members[i].roles & role))
            continue;
        unsigned at = n++;
        for (; at > 0 && sorted[at - 1] < indexes[i]; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = indexes[i];
    }
    return n == 0 ? UINT64_MAX : sorted[n / 2];
}

static enum raft_vote_result majority_vote(const struct raft_config *config,
                                           const enum raft_ballot ballots[], uint8_t role)
{
    unsigned n = 0, yes = 0, no = 0;
    for (unsigned i = 0; i < config->n_members; i++) {
        if (!(config->members[i].roles & role))
            continue;
        n++;
        yes += ballots[i] == RAFT_BALLOT_YES;
        no += ballots[i] == RAFT_BALLOT_NO;
    }
    unsigned majority = n / 2 + 1;
    if (n == 0 || yes >= majority)
        return RAFT_VOTE_WON;
    return n - no >= majority ? RAFT_VOTE_PENDING : RAFT_VOTE_LOST;
}

uint64_t raft_quorum_index(const struct raft_config *config, const uint64_t indexes[])
{
    uint64_t incoming = majority_index(config, indexes, RAFT_VOTER);
    uint64_t outgoing = majority_index(config, indexes, RAFT_VOTER_OLD);
    return incoming < outgoing ? incoming : outgoing;
}

enum raft_vote_result raft_quorum_vote(const struct raft_config *config,
                                       const enum raft_ballot ballots[])
{
    enum raft_vote_result incoming = majority_vote(config, ballots, RAFT_VOTER);
    enum raft_vote_result outgoing = majority_vote(config, ballots, RAFT_VOTER_OLD);
    if (incoming == RAFT_VOTE_LOST || outgoing == RAFT_VOTE_LOST)
        return RAFT_VOTE_LOST;
    if (incoming == RAFT_VOTE_WON && outgoing == RAFT_VOTE_WON)
        return RAFT_VOTE_WON;
    return RAFT_VOTE_PENDING;
}
