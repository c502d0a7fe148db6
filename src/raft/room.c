/* SPDX-License-Identifier: MIT
 * Disks that are full (PITFALLS 56). Every voter says so in its answers to
 * appends, and the leader in its appends whether the cluster should grow:
 * whoever takes commands from clients refuses there what needs room. The core
 * itself refuses nothing, so that deletions, configurations and no-ops go on.
 */
#include "raft/core.h"

void raft_set_full(struct raft *r, bool full)
{
    r->full = full;
}

/* With what has room alone nothing could be committed, or the leader has none. */
static bool lacks_room(const struct raft *r)
{
    enum raft_ballot room[LIMIT_MEMBERS];
    for (unsigned i = 0; i < r->n_peers; i++)
        room[i] = r->peers[i].full ? RAFT_BALLOT_NO : RAFT_BALLOT_YES;
    return r->full || raft_quorum_vote(raft_config_in_force(r), room) != RAFT_VOTE_WON;
}

bool raft_is_full(const struct raft *r)
{
    if (r->role == RAFT_LEADER)
        return lacks_room(r);
    return !uuid_is_zero(r->leader) && r->leader_full;
}
