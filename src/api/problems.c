/* SPDX-License-Identifier: MIT */
#include "api/problems.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "api/json_out.h"

#define TEXT_BYTES 700

struct report {
    struct buf *out;
    const struct node_status *s;
    const char *here;
    bool asked; /* the leader */
    unsigned n;
};

/* ---- arithmetic ---- */

/* Of the incoming voters, or of the outgoing ones. */
static struct problems_quorum quorum_of(const struct node_status *s, bool old)
{
    struct problems_quorum q = {0};
    for (unsigned i = 0; i < s->n_members; i++) {
        const struct node_member_status *m = &s->members[i];
        if (!(old ? m->voter_old : m->voter))
            continue;
        q.n_voters++;
        q.n_alive += s->leader_view && m->alive;
    }
    q.quorum = q.n_voters > 0 ? q.n_voters / 2 + 1 : 0;
    q.tolerance = q.n_alive > q.quorum ? q.n_alive - q.quorum : 0;
    return q;
}

struct problems_quorum problems_quorum(const struct node_status *s)
{
    struct problems_quorum q = quorum_of(s, false), old = quorum_of(s, true);
    return s->joint && old.tolerance < q.tolerance ? old : q;
}

/* ---- one problem ---- */

static void begin(struct report *r, const char *code, const struct node_member_status *m,
                  const char *fmt, va_list ap)
{
    char text[TEXT_BYTES];
    vsnprintf(text, sizeof text, fmt, ap);
    buf_printf(r->out, "%s{\"code\":\"%s\",\"member\":", r->n++ ? "," : "", code);
    json_out_uuid(r->out, m ? m->id : UUID_ZERO);
    buf_append_str(r->out, ",\"message\":");
    json_out_text(r->out, text, strlen(text));
}

/* What is wrong; put_fix() follows. */
static void PRINTF_LIKE(4, 5) put_problem(struct report *r, const char *code,
                                          const struct node_member_status *m, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    begin(r, code, m, fmt, ap);
    va_end(ap);
}

static void PRINTF_LIKE(2, 3) put_fix(struct report *r, const char *fmt, ...)
{
    char text[TEXT_BYTES];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    buf_append_str(r->out, ",\"fix\":");
    json_out_text(r->out, text, strlen(text));
    buf_append(r->out, "}", 1);
}

/* ---- no cluster yet ---- */

static void report_forming_peer(struct report *r, const struct node_forming_peer *p)
{
    if (p->err == ERR_NOT_ALLOWED) {
        put_problem(r, "peer_list_differs", NULL, "the list of peers of %s is another", p->addr);
        put_fix(r, "write the same list in the same order into peers of every node, and start "
                   "those again that had another");
    } else if (p->err == ERR_EXISTS || p->err == ERR_CLUSTER_MISMATCH) {
        put_problem(r, "peer_has_cluster", NULL,
                    "%s has data, belongs to a cluster, or has heard of one", p->addr);
        put_fix(r,
                "if that cluster is the one wanted: crabclusterctl --endpoints MEMBER member add "
                "%s , with any member of it; else empty the data directory of %s",
                r->here, p->addr);
    } else if (p->err == ERR_IN_PROGRESS) {
        put_problem(r, "peer_promised", NULL, "%s has promised to join another cluster", p->addr);
        put_fix(r, "empty its data directory, unless that cluster is the one wanted");
    } else if (p->err == ERR_ID_MISMATCH) {
        put_problem(r, "peer_twice", NULL, "%s is the same node as another of the peers", p->addr);
        put_fix(r, "write each node once into peers, the same list on every node, and start them "
                   "again");
    } else {
        put_problem(r, "peer_silent", NULL, "%s, one of the peers, does not answer: %s", p->addr,
                    err_text(p->err));
        put_fix(r, "start the node there; if the address is wrong, correct it in peers of every "
                   "node and start them again");
    }
}

static void report_forming(struct report *r)
{
    unsigned before = r->n;
    for (unsigned i = 0; i < r->s->n_forming; i++)
        if (!r->s->forming[i].is_self && r->s->forming[i].err != 0)
            report_forming_peer(r, &r->s->forming[i]);
    if (r->n > before)
        return;
    put_problem(r, "forming", NULL, "the cluster forms: all peers answer this node");
    put_fix(r, "wait a moment; then see http://%s/v1/status, the first of the peers",
            r->s->forming[0].addr);
}

static void report_no_cluster(struct report *r)
{
    if (r->s->n_forming > 0 && !r->s->outsider) {
        report_forming(r);
    } else if (r->s->outsider) {
        put_problem(r, "outsider", NULL,
                    "a cluster exists, and this node waits to be taken into it");
        put_fix(r, "at any member of it: crabclusterctl --endpoints MEMBER member add %s", r->here);
    } else {
        put_problem(r, "uninitialized", NULL, "this node belongs to no cluster");
        put_fix(r,
                "to make it a cluster of its own: crabclusterctl --endpoints %s init ; to add it "
                "to one, at any member of that: crabclusterctl --endpoints MEMBER member add %s",
                r->here, r->here);
    }
}

/* ---- this node ---- */

static const struct node_member_status *member(const struct node_status *s, struct uuid id)
{
    for (unsigned i = 0; i < s->n_members; i++)
        if (uuid_equal(s->members[i].id, id))
            return &s->members[i];
    return NULL;
}

static void report_leader(struct report *r)
{
    const struct node_status *s = r->s;
    const struct node_member_status *leader = member(s, s->leader);
    struct problems_quorum q = problems_quorum(s);
    if (s->leader_view)
        return;
    if (leader && r->asked) {
        put_problem(r, "leader_silent", leader, "the leader, %s, does not answer this node",
                    leader->addr);
        put_fix(r, "if that lasts, look after the network between %s and %s", r->here,
                leader->addr);
    } else if (!leader) {
        put_problem(r, "no_leader", NULL,
                    "no leader is known here: %u of the %u voters must answer each other", q.quorum,
                    q.n_voters);
        put_fix(r, "start the voters that are down, and see that they reach each other; if most "
                   "of them are gone for good, see the loss of a majority in crabcluster(8)");
    }
}

static void report_self(struct report *r)
{
    const struct node_status *s = r->s;
    const struct node_member_status *self = member(s, s->id);
    if (s->leader_view && !self) {
        put_problem(r, "not_a_member", NULL, "this node was removed from the cluster");
        put_fix(r,
                "stop it and delete its data directory; to have it back, at any member: "
                "crabclusterctl --endpoints MEMBER member add %s",
                r->here);
    }
    if (s->disk_stalled) {
        put_problem(r, "disk_stalled", self, "the disk of this node does not answer");
        put_fix(r, "look after the disk below data-dir: dmesg, iostat");
    }
    if (s->disk_full && !(s->leader_view && self)) {
        put_problem(r, "disk_full", self, "the disk of this node is full");
        put_fix(r, "make room on the disk of data-dir");
    }
}

/* ---- the members, as the leader sees them ---- */

static void report_silent_member(struct report *r, const struct node_member_status *m)
{
    struct problems_quorum q = problems_quorum(r->s);
    char id[UUID_TEXT_LEN + 1], since[64] = "since this leader leads";
    if (m->heard)
        snprintf(since, sizeof since, "for %" PRIu64 " s", m->heard_us_ago / 1000000);
    if (m->learner)
        put_problem(r, "member_unreachable", m, "the learner %s has not answered %s", m->addr,
                    since);
    else
        put_problem(r, "member_unreachable", m,
                    "the voter %s has not answered %s; %u of %u voters answer, %u are needed",
                    m->addr, since, q.n_alive, q.n_voters, q.quorum);
    put_fix(r,
            "start it, or look after the network; if it is gone for good: crabclusterctl "
            "--endpoints %s member remove %s",
            r->here, uuid_format(m->id, id));
}

static void report_new_disk(struct report *r, const struct node_member_status *m)
{
    char id[UUID_TEXT_LEN + 1];
    put_problem(r, "disk_set_back", m,
                "%s lacks entries that it had on its disk, and counts no more", m->addr);
    put_fix(r,
            "stop it, remove it: crabclusterctl --endpoints %s member remove %s , empty its data "
            "directory, start it, add it again: crabclusterctl --endpoints %s member add %s",
            r->here, uuid_format(m->id, id), r->here, m->addr);
}

static void report_other_state(struct report *r, const struct node_member_status *m)
{
    char id[UUID_TEXT_LEN + 1];
    put_problem(r, "state_hash_mismatch", m,
                "%s has another state than the leader, hash %016" PRIx64 " at index %" PRIu64,
                m->addr, m->digest.digest, m->digest.index);
    put_fix(r,
            "if no other member differs: stop it, crabclusterctl --endpoints %s member remove %s , "
            "empty its data directory, start it, and add it again; if all differ, hand over the "
            "leadership first and do so with the leader",
            r->here, uuid_format(m->id, id));
}

static void report_member(struct report *r, const struct node_member_status *m)
{
    if (m->lost_data)
        report_new_disk(r, m);
    else if (!m->alive)
        report_silent_member(r, m);
    if (m->digest.compared == NODE_DIGEST_DIFFERS)
        report_other_state(r, m);
    if (m->full) {
        put_problem(r, "disk_full", m, "the disk of %s is full%s", m->addr,
                    r->s->full ? ", and writes are refused" : "");
        put_fix(r, "make room on the disk of its data-dir; deleting keys helps after a while");
    }
    if (m->voter && m->alive && !m->caught_up && !m->lost_data) {
        put_problem(r, "member_lagging", m, "the voter %s lacks %" PRIu64 " entries%s", m->addr,
                    m->lag, m->in_snapshot ? " and is sent a snapshot" : "");
        put_fix(r, "wait while the number falls; else look after its disk and the network");
    }
}

unsigned problems_write(struct buf *b, const struct node_status *s, const char *here, bool asked)
{
    struct report r = {b, s, here, asked, 0};
    buf_append(b, "[", 1);
    if (s->n_members == 0 && uuid_is_zero(s->cluster)) {
        report_no_cluster(&r);
    } else {
        report_leader(&r);
        report_self(&r);
        for (unsigned i = 0; s->leader_view && i < s->n_members; i++)
            report_member(&r, &s->members[i]);
    }
    buf_append(b, "]", 1);
    return r.n;
}
