/* SPDX-License-Identifier: MIT
 * Snapshots as a leader sends them: one for all peers in need, to each piece
 * after piece, one piece in flight. The follower says where it is; what is
 * lost on the way is asked for again by that (PITFALLS 32).
 */
#include "base/assert.h"
#include "raft/core.h"

/* So many of the longest election timeouts a peer may be silent before its transfer is given up. */
enum { PATIENCE_ELECTIONS = 30 };

/* A snapshot of which a peer had every piece, and that it begins anew all the same, is damaged: on
 * the peer's way to its disk, or here. When that is seen twice, another is made. Of one that is a
 * single piece that answer may also mean that the peer is busy, so it counts for less. */
enum { USELESS_WHOLE = 4, USELESS_PIECE = 1, USELESS_MAX = 8 };

static void want(struct raft *r)
{
    if (!r->snapshot_asked && r->tick >= r->snapshot_retry_tick)
        r->snapshot_wanted = true;
}

static bool outgoing_helps(const struct raft *r)
{
    return r->outgoing && r->outgoing->base.pos.index >= raft_log_base(r->log).index;
}

static void send_piece(struct raft *r, struct raft_progress *p)
{
    uint64_t left = r->outgoing->size - p->snapshot_offset;
    struct raft_message *m = raft_send(r, RAFT_SNAPSHOT, p->id);
    m->seq = ++r->seq;
    m->snapshot.snapshot = raft_snapshot_ref(r->outgoing);
    m->snapshot.offset = p->snapshot_offset;
    m->snapshot.len = left < r->opt.snapshot_bytes_max ? (uint32_t)left : r->opt.snapshot_bytes_max;
    p->snapshot_seq = m->seq;
    p->snapshot_tick = r->tick;
}

void raft_send_snapshot(struct raft *r, unsigned i)
{
    struct raft_progress *p = &r->peers[i];
    if (!outgoing_helps(r)) {
        want(r);
        return;
    }
    if (p->snapshot_id != r->outgoing->id) {
        raft_progress_snapshot(p);
        p->snapshot_id = r->outgoing->id;
        p->snapshot_useless = 0;
    }
    if (p->snapshot_seq == 0 && r->tick >= p->paused_upto_tick)
        send_piece(r, p);
}

void raft_snapshot_made(struct raft *r, struct raft_snapshot *s)
{
    r->snapshot_asked = false;
    if (!s) {
        r->snapshot_retry_tick = r->tick + r->opt.election_ticks_max;
        return;
    }
    if (r->role == RAFT_LEADER)
        raft_drop_snapshot(r, &r->outgoing);
    struct raft_snapshot *mine = raft_snapshot_ref(s);
    if (r->role == RAFT_LEADER)
        r->outgoing = mine;
    else
        raft_drop_snapshot(r, &mine);
}

void raft_release_outgoing(struct raft *r)
{
    for (unsigned i = 0; i < r->n_peers; i++)
        if (r->peers[i].state == RAFT_SEND_SNAPSHOT)
            return;
    raft_drop_snapshot(r, &r->outgoing);
}

void raft_snapshot_tick(struct raft *r, struct raft_progress *p)
{
    if (p->state != RAFT_SEND_SNAPSHOT)
        return;
    uint64_t patience = (uint64_t)r->opt.election_ticks_max * PATIENCE_ELECTIONS;
    if (r->tick - p->heard_tick > patience)
        raft_probe_again(r, p);
    else if (p->snapshot_seq != 0 &&
             r->tick - p->snapshot_tick > r->opt.heartbeat_ticks * RAFT_LOST_AFTER_HEARTBEATS)
        p->snapshot_seq = 0;
}

static void note_anew(struct raft *r, struct raft_progress *p, uint64_t offset)
{
    uint64_t left = r->outgoing->size - p->snapshot_offset;
    if (offset != 0 || left > r->opt.snapshot_bytes_max)
        return;
    p->snapshot_useless += p->snapshot_offset > 0 ? USELESS_WHOLE : USELESS_PIECE;
    if (p->snapshot_useless >= USELESS_MAX)
        raft_drop_snapshot(r, &r->outgoing);
}

void raft_on_snapshot_reply(struct raft *r, const struct raft_message *m)
{
    int i = r->role == RAFT_LEADER ? raft_member_index(r, m->from) : -1;
    if (i < 0 || m->seq < r->leader_first_seq || m->seq > r->seq || r->peers[i].lost_data)
        return;
    struct raft_progress *p = &r->peers[i];
    p->heard_tick = r->tick;
    p->paused_upto_tick = 0;
    if (m->snapshot_reply.installed) {
        if (m->snapshot_reply.match <= raft_log_last(r->log).index)
            raft_peer_matched(r, p, m->snapshot_reply.match);
        return;
    }
    if (p->state != RAFT_SEND_SNAPSHOT || m->seq != p->snapshot_seq ||
        m->snapshot_reply.id != p->snapshot_id || !r->outgoing)
        return;
    p->snapshot_seq = 0;
    uint64_t size = r->outgoing->size;
    note_anew(r, p, m->snapshot_reply.offset);
    if (m->snapshot_reply.offset == p->snapshot_offset) /* it is busy with what it has */
        p->paused_upto_tick = r->tick + r->opt.heartbeat_ticks;
    if (m->snapshot_reply.offset <= size)
        p->snapshot_offset = m->snapshot_reply.offset;
}
