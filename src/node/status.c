/* SPDX-License-Identifier: MIT
 * What the driver can tell about itself: members, log positions, who has caught
 * up, and the whole status.
 */
#include <string.h>

#include "node/driver.h"

const struct raft_member *driver_member(const struct driver *d, struct uuid id)
{
    return uuid_is_zero(id) ? NULL : raft_config_find(raft_config(d->raft, NULL), id);
}

struct node_log_id driver_log_id(const struct driver *d, struct raft_pos pos)
{
    return (struct node_log_id){pos.index, pos.term, machine_leader_of(d->machine, pos.term)};
}

static int state_number(const struct driver *d, const struct raft_status *s)
{
    const struct raft_member *self = driver_member(d, d->identity.node);
    switch (s->role) {
    case RAFT_LEADER:
        return NODE_STATE_LEADER;
    case RAFT_CANDIDATE:
    case RAFT_PRE_CANDIDATE:
        return NODE_STATE_CANDIDATE;
    case RAFT_FOLLOWER:
        break;
    }
    return self && raft_member_votes(self) ? NODE_STATE_FOLLOWER : NODE_STATE_LEARNER;
}

/* What the leader knows of a member, itself too. */
static void replication_status(const struct driver *d, const struct raft_status *s,
                               struct node_member_status *out)
{
    struct raft_peer_status peer = {.match = s->durable};
    struct raft_pos pos = {0, 0};
    if (s->role != RAFT_LEADER)
        return;
    if (!uuid_equal(out->id, d->identity.node) && raft_peer(d->raft, out->id, &peer) < 0)
        return;
    out->lag = s->last.index - peer.match;
    pos.index = peer.match;
    if (raft_term_at(d->raft, pos.index, &pos.term) == 0)
        out->matched = driver_log_id(d, pos);
}

static void peer_status(const struct driver *d, struct node_member_status *out)
{
    struct peer_figures p = figures_peer(d, out->id);
    out->send_failures = p.send_failures;
    out->rtt_us = driver_is_leader(d) ? p.rtt_us : 0;
    out->heard = p.heard_us > 0;
    out->heard_us_ago = d->now_us - p.heard_us;
    out->digest = p.digest;
    if (uuid_equal(out->id, d->identity.node))
        out->digest.digest = machine_digest(d->machine, &out->digest.index);
}

static void members_status(const struct driver *d, const struct raft_status *s,
                           struct node_status *ret)
{
    struct raft_pos pos;
    const struct raft_config *c = raft_config(d->raft, &pos);
    ret->config_id = driver_log_id(d, pos);
    ret->joint = raft_config_is_joint(c);
    ret->n_members = c->n_members;
    for (unsigned i = 0; i < c->n_members; i++) {
        const struct raft_member *m = &c->members[i];
        struct node_member_status *out = &ret->members[i];
        out->id = m->id;
        memcpy(out->addr, m->addr, sizeof out->addr);
        out->voter = (m->roles & RAFT_VOTER) != 0;
        out->voter_old = (m->roles & RAFT_VOTER_OLD) != 0;
        out->learner = !raft_member_votes(m);
        replication_status(d, s, out);
        peer_status(d, out);
    }
}

static void disk_status(const struct driver *d, struct node_status *ret)
{
    struct storage_stats stats = {0};
    if (!d->storage->stats)
        return;
    d->storage->stats(d->storage, &stats);
    ret->has_disk = true;
    ret->log_bytes = stats.log_bytes;
    ret->state_bytes = stats.state_bytes;
    ret->disk_free_bytes = stats.disk_free_bytes;
}

void driver_status(const struct driver *d, struct node_status *ret)
{
    struct raft_status s = raft_status(d->raft);
    struct kv_stats kv = machine_stats(d->machine);
    ret->id = d->identity.node;
    ret->cluster = d->identity.cluster;
    ret->state = state_number(d, &s);
    ret->term = s.term;
    ret->last_log_index = s.last.index;
    ret->commit_index = s.commit;
    ret->base_index = s.base.index;
    ret->applied = driver_log_id(d, machine_applied(d->machine));
    ret->snapshot = driver_log_id(d, d->checkpoint.pos);
    ret->leader = s.leader;
    members_status(d, &s, ret);
    disk_status(d, ret);
    ret->proposals_pending = s.last.index - s.commit;
    ret->n_keys = kv.n_keys;
    ret->memtable_bytes = kv.memtable_bytes;
    ret->figures = d->figures;
}

bool driver_has_caught_up(const struct driver *d, struct uuid id, uint64_t *ret_distance)
{
    struct raft_peer_status peer;
    struct raft_status s = raft_status(d->raft);
    uint64_t wanted = s.last.index;
    if (uuid_equal(id, d->identity.node))
        return true;
    if (raft_peer(d->raft, id, &peer) < 0)
        peer.match = 0;
    for (unsigned i = 0; i < DRIVER_LAG_SAMPLES; i++)
        if (d->lag[i].at_ms != 0 && d->lag[i].at_ms + d->o.lag_threshold_ms >= d->now_ms &&
            d->lag[i].last_index < wanted)
            wanted = d->lag[i].last_index;
    *ret_distance = s.last.index > peer.match ? s.last.index - peer.match : 0;
    return peer.match > 0 && peer.match >= wanted;
}
