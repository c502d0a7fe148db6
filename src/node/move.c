/* SPDX-License-Identifier: MIT
 * A node's address follows its id: a member that comes up at another address
 * than the configuration says tells the leader, which it finds by asking the
 * other members, because the leader cannot find it. Where there is no leader,
 * it tells the member asked: nobody could be elected if that needs its vote and
 * does not know where to ask for it.
 */
#include <stdio.h>
#include <string.h>

#include "node/driver.h"

#define MOVE_INTERVAL_MS 500
#define MOVE_TIMEOUT_MS  1000

/* A configuration that is not committed may name our address and never come to be: as long as it
 * is all that does, the others are told. */
static const struct raft_member *moved_self(const struct driver *d)
{
    const struct raft_member *self = driver_member(d, d->identity.node);
    bool is_known = self && strcmp(self->addr, d->o.addr) == 0;
    return is_known && raft_config_is_committed(d->raft) ? NULL : self;
}

/* The leader itself: nobody else needs to be asked. Tried again if it cannot be done now. */
static void move_leader(struct driver *d, const struct raft_member *self)
{
    struct raft_change change = {.type = RAFT_UPDATE, .member = *self};
    struct raft_pos pos;
    snprintf(change.member.addr, sizeof change.member.addr, "%s", d->o.addr);
    if (raft_change_config(d->raft, &change, 1, &pos) < 0)
        d->move_next_ms = d->now_ms + DRIVER_TICK_MS;
}

static void ask_members(struct driver *d)
{
    const struct raft_config *c = raft_config(d->raft, NULL);
    for (unsigned i = 0; i < c->n_members; i++) {
        const struct raft_member *m = &c->members[i];
        if (uuid_equal(m->id, d->identity.node))
            continue;
        struct wire_message hello = {.header = peer_header(d, WIRE_HELLO, m->id, m->incarnation)};
        exchange_ask(d, EXCHANGE_MOVE_HELLO, TRANSPORT_HELLO, TRANSPORT_CONTROL, m->addr,
                     MOVE_TIMEOUT_MS, &hello);
    }
}

void move_pump(struct driver *d)
{
    if (d->now_ms < d->move_next_ms)
        return;
    d->move_next_ms = d->now_ms + MOVE_INTERVAL_MS;
    const struct raft_member *self = moved_self(d);
    if (!self || d->stopping)
        return;
    if (driver_is_leader(d))
        move_leader(d, self);
    else
        ask_members(d);
}

/* A member answered: it may know the leader. Asking the leader twice does no harm. */
void move_answered(struct driver *d, int err, const struct wire_message *m)
{
    if (err != 0 || !moved_self(d) || uuid_equal(m->hello_reply.leader, d->identity.node))
        return;
    bool has_leader = m->hello_reply.leader_addr[0] != 0;
    struct uuid to = has_leader ? m->hello_reply.leader : m->header.from;
    struct wire_message ask = {.header = peer_header(d, WIRE_ADMIN, to, 0)};
    ask.admin.op = WIRE_ADMIN_ADD_LEARNER; /* of a member: only its address changes */
    ask.admin.timeout_ms = MOVE_TIMEOUT_MS;
    ask.admin.incarnation = d->identity.incarnation;
    ask.admin.ids[0] = d->identity.node;
    ask.admin.n_ids = 1;
    snprintf(ask.admin.addr, sizeof ask.admin.addr, "%s", d->o.addr);
    exchange_ask(d, EXCHANGE_ADMIN, TRANSPORT_ADMIN, TRANSPORT_CONTROL,
                 has_leader ? m->hello_reply.leader_addr : m->hello_reply.addr, 2 * MOVE_TIMEOUT_MS,
                 &ask);
}

/* ---- the others' part ---- */

static struct moved_peer *find(const struct driver *d, struct uuid id)
{
    for (unsigned i = 0; i < LIMIT_MEMBERS; i++)
        if (uuid_equal(d->moved[i].id, id))
            return (struct moved_peer *)&d->moved[i];
    return NULL;
}

void move_note(struct driver *d, struct uuid id, const char *addr)
{
    struct moved_peer *p = find(d, id);
    if (!p)
        p = find(d, UUID_ZERO);
    if (!p)
        p = &d->moved[0]; /* of nodes that left meanwhile */
    p->id = id;
    snprintf(p->addr, sizeof p->addr, "%s", addr);
}

void move_forget(struct driver *d, struct uuid id)
{
    struct moved_peer *p = uuid_is_zero(id) ? NULL : find(d, id);
    if (p)
        p->id = UUID_ZERO;
}

const char *move_addr(const struct driver *d, const struct raft_member *m)
{
    const struct moved_peer *p = find(d, m->id);
    return p ? p->addr : m->addr;
}
