/* SPDX-License-Identifier: MIT
 * The leader compares the members' states while they run: about once a second
 * it asks each what digest (kv/digest.h) it has at the last index it applied,
 * and looks what its own was there. Who differs has a damaged disk or memory,
 * or has met a bug; nothing is decided by it, but somebody has to look.
 */
#include "base/log.h"
#include "node/driver.h"

#define ASK_MS 1000

/* ---- as a member ---- */

void digest_question(struct driver *d, struct node_request *r, const struct wire_header *h)
{
    struct wire_message m = {.header = {.type = WIRE_DIGEST_REPLY}};
    m.digest_reply.digest = machine_digest(d->machine, &m.digest_reply.index);
    peer_answer(d, r, h, &m);
}

/* ---- as a leader ---- */

void digest_pump(struct driver *d)
{
    if (!driver_is_leader(d) || d->now_ms < d->digest_next_ms || d->unfounded)
        return;
    const struct raft_config *c = raft_config(d->raft, NULL);
    d->digest_next_ms = d->now_ms + ASK_MS;
    for (unsigned i = 0; i < c->n_members; i++) {
        const struct raft_member *peer = &c->members[i];
        if (uuid_equal(peer->id, d->identity.node))
            continue;
        struct wire_message m = {.header =
                                     peer_header(d, WIRE_DIGEST, peer->id, peer->incarnation)};
        exchange_ask(d, EXCHANGE_DIGEST, TRANSPORT_DIGEST, TRANSPORT_CONTROL, move_addr(d, peer),
                     ASK_MS, &m);
    }
}

static void tell(const struct driver *d, struct uuid id, const struct node_digest *theirs,
                 uint64_t own)
{
    const struct raft_member *m = driver_member(d, id);
    char text[UUID_TEXT_LEN + 1];
    LOG_ERROR("node %s at %s has another state than this node, the leader: hash %016llx instead of "
              "%016llx at index %llu. If no other member differs, stop it, remove it, and add it "
              "again with an empty data directory; if all do, hand over the leadership and do so "
              "with this node",
              uuid_format(id, text), m ? m->addr : "?", (unsigned long long)theirs->digest,
              (unsigned long long)own, (unsigned long long)theirs->index);
}

/* What was applied here too long ago, or not yet, cannot be compared: another time. */
void digest_answered(struct driver *d, struct exchange *x, int err, const struct wire_message *m)
{
    uint64_t own;
    if (err != 0 || !driver_is_leader(d) ||
        machine_digest_at(d->machine, m->digest_reply.index, &own) != 0)
        return;
    struct node_digest theirs = {
        .index = m->digest_reply.index,
        .digest = m->digest_reply.digest,
        .compared = own == m->digest_reply.digest ? NODE_DIGEST_SAME : NODE_DIGEST_DIFFERS,
    };
    bool is_news = figures_peer(d, x->peer).digest.compared != theirs.compared;
    if (is_news && theirs.compared == NODE_DIGEST_DIFFERS)
        tell(d, x->peer, &theirs, own);
    figures_digest(d, x->peer, &theirs);
}
