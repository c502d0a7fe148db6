/* SPDX-License-Identifier: MIT
 * What the driver can tell about itself: members, log positions, who has caught
 * up, and the whole status.
 */
#include <string.h>

#include "node/driver.h"
#include "raft/quorum.h"

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
    struct raft_peer_status peer = {.match = s->durable, .full = d->room.full};
    struct raft_pos pos = {0, 0};
    uint64_t distance;
    if (s->role != RAFT_LEADER)
        return;
    if (!uuid_equal(out->id, d->identity.node) && raft_peer(d->raft, out->id, &peer) < 0)
        return;
    out->lag = s->last.index - peer.match;
    out->alive = driver_is_alive(d, out->id);
    out->caught_up = driver_has_caught_up(d, out->id, &distance);
    out->lost_data = peer.lost_data;
    out->in_snapshot = peer.in_snapshot;
    out->full = peer.full;
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

static void roles_status(unsigned roles, struct node_member_status *out)
{
    out->voter = (roles & RAFT_VOTER) != 0;
    out->voter_old = (roles & RAFT_VOTER_OLD) != 0;
    out->voter_soon = (roles & RAFT_VOTER_SOON) != 0;
    out->learner = !out->voter && !out->voter_old;
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
        roles_status(m->roles, out);
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
    ret->leader_view = s.role == RAFT_LEADER;
    ret->full = s.full;
    ret->disk_full = d->room.full;
    ret->disk_stalled = s.disk_stalled;
    ret->outsider = d->identity.outsider && !driver_is_member(d);
    ret->lag_threshold_ms = d->o.lag_threshold_ms;
    form_status(d, ret);
    members_status(d, &s, ret);
    disk_status(d, ret);
    ret->proposals_pending = s.last.index - s.commit;
    ret->n_keys = kv.n_keys;
    ret->memtable_bytes = kv.memtable_bytes;
    ret->n_once = kv.n_once;
    ret->figures = d->figures;
}

static void member_merge(const struct driver *d, const struct wire_member_status *s,
                         struct node_member_status *out)
{
    struct raft_pos matched = {0, s->match};
    *out = (struct node_member_status){.id = s->id,
                                       .lag = s->lag,
                                       .alive = s->alive,
                                       .caught_up = s->caught_up,
                                       .lost_data = s->lost_data,
                                       .in_snapshot = s->in_snapshot,
                                       .full = s->full,
                                       .rtt_us = s->rtt_us,
                                       .heard = s->heard,
                                       .heard_us_ago = s->heard_us_ago,
                                       .send_failures = figures_peer(d, s->id).send_failures,
                                       .digest.index = s->digest_index,
                                       .digest.digest = s->digest,
                                       .digest.compared = s->digest_compared};
    memcpy(out->addr, s->addr, sizeof out->addr);
    roles_status(s->roles, out);
    if (raft_term_at(d->raft, matched.index, &matched.term) == 0)
        out->matched = driver_log_id(d, matched);
}

void driver_status_merge(const struct driver *d, struct node_status *status,
                         const struct wire_message *m)
{
    status->leader_view = true;
    status->leader = m->header.from;
    status->full = m->status_reply.full;
    status->joint = m->status_reply.joint;
    status->config_id = driver_log_id(d, m->status_reply.config_pos);
    status->n_members = m->status_reply.n_members;
    for (unsigned i = 0; i < status->n_members; i++)
        member_merge(d, &m->status_reply.members[i], &status->members[i]);
}

bool driver_is_alive(const struct driver *d, struct uuid id)
{
    struct raft_peer_status peer;
    if (uuid_equal(id, d->identity.node))
        return true;
    return raft_peer(d->raft, id, &peer) == 0 && !peer.lost_data &&
           peer.ticks_since_heard * DRIVER_TICK_MS <=
               (uint64_t)DRIVER_ALIVE_ELECTIONS * d->o.election_max_ms;
}

/* When a quorum, as a leader, or the leader last sent anything; 0: never, or not known. */
static uint64_t confirmed_ms(const struct driver *d)
{
    const struct raft_config *c = raft_config(d->raft, NULL);
    struct raft_status s = raft_status(d->raft);
    uint64_t heard_ms[LIMIT_MEMBERS] = {0};
    struct raft_peer_status peer;
    if (s.role != RAFT_LEADER)
        return figures_peer(d, s.leader).heard_us / 1000;
    if (!s.in_own_term)
        return 0;
    for (unsigned i = 0; i < c->n_members; i++) {
        if (uuid_equal(c->members[i].id, d->identity.node))
            heard_ms[i] = d->now_ms;
        else if (raft_peer(d->raft, c->members[i].id, &peer) == 0 &&
                 d->now_ms > peer.ticks_since_heard * DRIVER_TICK_MS)
            heard_ms[i] = d->now_ms - peer.ticks_since_heard * DRIVER_TICK_MS;
    }
    return raft_quorum_index(c, heard_ms);
}

void driver_note_standing(struct driver *d)
{
    struct machine_standing known = machine_standing(d->machine);
    uint64_t now_known_ms = driver_is_member(d) ? confirmed_ms(d) : 0;
    known.member = driver_is_member(d);
    if (now_known_ms > known.confirmed_ms && now_known_ms <= d->now_ms)
        known.confirmed_ms = now_known_ms;
    machine_set_standing(d->machine, known);
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
