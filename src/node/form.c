/* SPDX-License-Identifier: MIT
 * How a cluster comes to be: by /init, by the first write of a client, or by
 * the nodes that were configured as peers of each other (OPERATIONS.md).
 *
 * Forming never makes two clusters: the first node in the list asks every
 * other for a durable promise to join only the cluster it is about to make,
 * and makes it when it has all of them. A node whose list differs, that holds
 * data, or that has promised another refuses. If any peer has a cluster
 * already, a node without one asks to join that.
 *
 * A peer whose disk was lost is as empty as a new one. Were all of them emptied
 * one after another while the cluster lives on elsewhere, they would form a
 * second. So whoever hears of a cluster, by any message that names one, keeps
 * that for good: it neither leads forming nor promises, and one such peer is
 * enough, because forming takes the promises of all.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/driver.h"

#define FORM_INTERVAL_MS 500
#define FORM_TIMEOUT_MS  1000
#define FORM_LOG_MS      10000

struct form_peer {
    bool answered, promised;
    struct uuid id;
    uint64_t incarnation;
    int err;     /* of the last answer, or the lack of one */
    int refused; /* the promise, when it was last asked for it */
};

/* A peer that waits until our promise is durable. */
struct promise {
    struct list link;
    struct node_request *request;
    struct wire_header question;
};

/* ---- making a cluster ---- */

static struct uuid random_uuid(struct driver *d)
{
    uint64_t hi = rng_next(&d->rng), lo = rng_next(&d->rng);
    hi = (hi & ~(uint64_t)0xf000) | 0x4000; /* RFC 9562: version 4, variant 10 */
    lo = (lo & ~((uint64_t)3 << 62)) | (uint64_t)2 << 62;
    return (struct uuid){hi, lo};
}

static struct raft_member self_member(const struct driver *d)
{
    struct raft_member m = {
        .id = d->identity.node, .incarnation = d->identity.incarnation, .roles = RAFT_VOTER};
    snprintf(m.addr, sizeof m.addr, "%s", d->o.addr);
    return m;
}

static void make_cluster(struct driver *d, struct uuid cluster, const struct raft_config *config)
{
    char text[UUID_TEXT_LEN + 1];
    d->identity.cluster = cluster;
    if (raft_bootstrap(d->raft, config) < 0) {
        driver_save_identity(d);
        return;
    }
    /* One write: a node that came up as a member of a cluster without a first entry would wait
     * for others for good. */
    d->founding = d->unfounded = true;
    LOG_INFO("made cluster %s with %u voter%s", uuid_format(cluster, text), config->n_members,
             config->n_members == 1 ? "" : "s");
}

static void make_cluster_of_one(struct driver *d)
{
    struct raft_config *config = mem_zalloc(sizeof *config);
    config->n_members = 1;
    config->members[0] = self_member(d);
    make_cluster(d, random_uuid(d), config);
    mem_free(config);
}

int form_first_write(struct driver *d)
{
    if (driver_is_member(d))
        return 0;
    if (d->o.n_peers > 0)
        return ERR_IN_PROGRESS; /* a cluster is forming */
    if (!d->o.auto_init || d->identity.contacted)
        return ERR_UNINITIALIZED;
    if (d->now_ms - d->started_ms < DRIVER_FIRST_WRITE_MS)
        return ERR_IN_PROGRESS; /* someone may still know this address */
    make_cluster_of_one(d);
    return 0;
}

/* ---- /init ---- */

static void refuse_init(const struct driver *d, struct node_request *r)
{
    struct raft_status s = raft_status(d->raft);
    r->ret.admin.log_id = driver_log_id(d, s.last);
    r->ret.admin.term = s.term;
    r->ret.admin.vote = uuid_is_zero(s.leader) ? d->identity.node : s.leader;
    r->ret.admin.vote_committed = !uuid_is_zero(s.leader);
    driver_done(r, ERR_NOT_ALLOWED);
}

void form_init_request(struct driver *d, struct node_request *r)
{
    if (driver_is_member(d) || !uuid_is_zero(d->identity.promised)) {
        refuse_init(d, r);
        return;
    }
    if (d->o.n_peers == 0)
        make_cluster_of_one(d);
    d->form.next_ms = d->now_ms;
    list_push_back(&d->inits, &r->link);
}

static bool is_up(const struct driver *d)
{
    return driver_is_member(d) && !uuid_is_zero(raft_status(d->raft).leader) &&
           machine_applied(d->machine).index > 0;
}

static void answer_inits(struct driver *d)
{
    LIST_FOREACH_SAFE (it, following, &d->inits) {
        struct node_request *r = LIST_ENTRY(it, struct node_request, link);
        bool up = is_up(d);
        if (!up && r->deadline_ms > d->now_ms && !d->stopping)
            continue;
        list_remove(&r->link);
        if (up)
            driver_done(r, 0);
        else
            refuse_init(d, r);
    }
}

/* ---- an outsider ---- */

static void become_outsider(struct driver *d)
{
    d->identity.outsider = true;
    driver_save_identity(d);
}

void form_note_cluster(struct driver *d, struct uuid cluster)
{
    char text[UUID_TEXT_LEN + 1];
    bool is_the_one_promised = uuid_equal(cluster, d->identity.promised);
    if (uuid_is_zero(cluster) || is_the_one_promised || driver_is_member(d) || d->identity.outsider)
        return;
    LOG_INFO("heard of cluster %s: this node forms no other", uuid_format(cluster, text));
    become_outsider(d);
}

static void say_what_it_waits_for(const struct driver *d)
{
    static struct log_limit limit;
    if (d->identity.outsider && log_allow(&limit, FORM_LOG_MS))
        LOG_WARN("not forming: a cluster exists, and this node waits to be taken into it; if no "
                 "listed peer is in it, add this one there by POST /v1/members");
}

/* ---- forming: the questions ---- */

static unsigned own_place(const struct driver *d)
{
    unsigned i = 0;
    while (i < d->o.n_peers && strcmp(d->o.peers[i], d->o.addr) != 0)
        i++;
    return i;
}

/* The first in the list, unless there is a cluster already. */
static bool leads_forming(const struct driver *d)
{
    return own_place(d) == 0 && !driver_is_member(d) && !d->identity.outsider;
}

static bool all_peers(const struct driver *d, bool promised)
{
    unsigned own = own_place(d);
    for (unsigned i = 0; i < d->o.n_peers; i++) {
        const struct form_peer *p = &d->form.peers[i];
        if (i != own && !(promised ? p->promised : p->answered))
            return false;
    }
    return true;
}

static void ask(struct driver *d, unsigned place, enum wire_type type)
{
    struct wire_message m = {.header = peer_header(d, type, UUID_ZERO, 0)};
    bool hello = type == WIRE_HELLO;
    if (!hello) {
        m.form.new_cluster = d->identity.promised;
        m.form.n_peers = d->o.n_peers;
        memcpy(m.form.peers, d->o.peers, sizeof m.form.peers);
    }
    struct exchange *x = exchange_ask(d, hello ? EXCHANGE_FORM_HELLO : EXCHANGE_FORM,
                                      hello ? TRANSPORT_HELLO : TRANSPORT_FORM, TRANSPORT_CONTROL,
                                      d->o.peers[place], FORM_TIMEOUT_MS, &m);
    x->owner = place;
    d->form.n_waiting++;
}

static void ask_all(struct driver *d, enum wire_type type)
{
    unsigned own = own_place(d);
    for (unsigned i = 0; i < d->o.n_peers; i++)
        if (i != own)
            ask(d, i, type);
}

static void ask_to_join(struct driver *d, const char *addr, struct uuid to)
{
    struct wire_message m = {.header = peer_header(d, WIRE_ADMIN, to, 0)};
    m.admin.op = WIRE_ADMIN_JOIN;
    m.admin.timeout_ms = 2 * FORM_TIMEOUT_MS;
    m.admin.incarnation = d->identity.incarnation;
    m.admin.ids[0] = d->identity.node;
    m.admin.n_ids = 1;
    snprintf(m.admin.addr, sizeof m.admin.addr, "%s", d->o.addr);
    exchange_ask(d, EXCHANGE_ADMIN, TRANSPORT_ADMIN, TRANSPORT_CONTROL, addr, 3 * FORM_TIMEOUT_MS,
                 &m);
}

/* ---- forming: the answers ---- */

/* The node at another address of the list; NULL: none of those that answered. */
static const char *address_of(const struct driver *d, struct uuid id, unsigned but_for)
{
    if (uuid_equal(id, d->identity.node))
        return d->o.addr;
    for (unsigned i = 0; i < d->o.n_peers; i++)
        if (i != but_for && d->form.peers[i].answered && uuid_equal(d->form.peers[i].id, id))
            return d->o.peers[i];
    return NULL;
}

/* It belongs to no cluster. */
static void take_hello(struct driver *d, unsigned place, const struct wire_header *h)
{
    static struct log_limit limit;
    struct form_peer *p = &d->form.peers[place];
    const char *same = address_of(d, h->from, place);
    p->answered = !same;
    p->id = h->from;
    p->incarnation = h->from_incarnation;
    if (!same)
        return;
    p->err = ERR_ID_MISMATCH; /* the place of a node that is not there */
    if (log_allow(&limit, FORM_LOG_MS))
        LOG_WARN("forming: %s and %s, both in the list of peers, are the same node",
                 d->o.peers[place], same);
}

static void hello_came(struct driver *d, unsigned place, const struct wire_message *m)
{
    if (uuid_is_zero(m->header.cluster)) {
        take_hello(d, place, &m->header);
        return;
    }
    if (driver_is_member(d) && !uuid_equal(m->header.cluster, d->identity.cluster))
        return;
    if (m->hello_reply.leader_addr[0])
        ask_to_join(d, m->hello_reply.leader_addr, m->hello_reply.leader);
}

static void form_came(struct driver *d, unsigned place, const struct wire_message *m)
{
    static struct log_limit limit;
    struct form_peer *p = &d->form.peers[place];
    if (m->form_reply.err == ERR_EXISTS && !driver_is_member(d) && !d->identity.outsider)
        become_outsider(d); /* even if that peer should be wiped next */
    p->promised = m->form_reply.err == 0 && uuid_equal(p->id, m->header.from) &&
                  p->incarnation == m->header.from_incarnation;
    p->refused = p->promised ? 0 : m->form_reply.err ? m->form_reply.err : ERR_INCARNATION_MISMATCH;
    if (!p->promised && log_allow(&limit, FORM_LOG_MS))
        LOG_WARN("forming: %s does not promise to join: %s", d->o.peers[place],
                 m->form_reply.err == ERR_NOT_ALLOWED
                     ? "its list of peers differs; the same list in the same order belongs on "
                       "every node"
                     : err_text(m->form_reply.err));
}

void form_answered(struct driver *d, struct exchange *x, int err, const struct wire_message *m)
{
    static struct log_limit limit;
    unsigned place = (unsigned)x->owner;
    d->form.n_waiting--;
    d->form.peers[place].answered = d->form.peers[place].promised = false;
    d->form.peers[place].err = err;
    if (err == 0 && x->kind == EXCHANGE_FORM_HELLO)
        hello_came(d, place, m);
    else if (err == 0)
        form_came(d, place, m);
    else if (log_allow(&limit, FORM_LOG_MS))
        LOG_WARN("forming: no answer from %s: %s; is the address right, is the node up?",
                 d->o.peers[place], err_text(err));
    if (d->form.n_waiting == 0 && leads_forming(d) &&
        (all_peers(d, true) || (!d->form.asking && all_peers(d, false))))
        d->form.next_ms = d->now_ms; /* the next step need not wait */
}

/* ---- forming: the steps ---- */

static int compare_members(const void *a, const void *b)
{
    const struct raft_member *m = a, *n = b;
    return uuid_compare(m->id, n->id);
}

static void make_cluster_of_peers(struct driver *d)
{
    struct raft_config *config = mem_zalloc(sizeof *config);
    unsigned own = own_place(d);
    config->n_members = d->o.n_peers;
    for (unsigned i = 0; i < d->o.n_peers; i++) {
        const struct form_peer *p = &d->form.peers[i];
        struct raft_member *m = &config->members[i];
        *m = self_member(d);
        if (i == own)
            continue;
        m->id = p->id;
        m->incarnation = p->incarnation;
        memcpy(m->addr, d->o.peers[i], sizeof m->addr);
    }
    qsort(config->members, config->n_members, sizeof *config->members, compare_members);
    make_cluster(d, d->identity.promised, config);
    mem_free(config);
}

/* The own promise first: were it forgotten in a crash, the others would wait for it for good. */
static void ask_for_promises(struct driver *d)
{
    if (uuid_is_zero(d->identity.promised)) {
        d->identity.promised = random_uuid(d);
        d->form.unpromised = true;
        driver_save_identity(d);
    } else if (!d->form.unpromised) {
        d->form.asking = true;
        ask_all(d, WIRE_FORM);
    }
}

/* The first of the list: a round of HELLO, then a round of FORM, then the cluster. */
static void lead_forming(struct driver *d)
{
    if (all_peers(d, true)) {
        make_cluster_of_peers(d);
    } else if (!d->form.asking && all_peers(d, false)) {
        ask_for_promises(d);
    } else {
        d->form.asking = false;
        ask_all(d, WIRE_HELLO);
    }
}

static struct form_peer *peers_new(unsigned n)
{
    struct form_peer *peers = mem_array(n, sizeof *peers);
    for (unsigned i = 0; i < n; i++)
        peers[i].err = ERR_UNREACHABLE;
    return peers;
}

static bool wants_to_join(const struct driver *d)
{
    const struct raft_member *self = driver_member(d, d->identity.node);
    bool was_removed = driver_is_member(d) && !self && machine_applied(d->machine).index > 0;
    return d->o.n_peers > 0 && own_place(d) < d->o.n_peers && !self && !was_removed;
}

void form_pump(struct driver *d)
{
    answer_inits(d);
    if (!wants_to_join(d) || d->form.n_waiting > 0 || d->now_ms < d->form.next_ms)
        return;
    if (!d->form.peers)
        d->form.peers = peers_new(d->o.n_peers);
    d->form.next_ms = d->now_ms + FORM_INTERVAL_MS;
    if (leads_forming(d))
        lead_forming(d);
    else
        ask_all(d, WIRE_HELLO);
    if (!driver_is_member(d))
        say_what_it_waits_for(d);
}

static int peer_err(const struct form_peer *p)
{
    return p->err ? p->err : p->refused;
}

/* Until an answer came, or did not come, a peer counts as silent: which it may well be. */
void form_status(const struct driver *d, struct node_status *status)
{
    unsigned own = own_place(d);
    if (driver_is_member(d))
        return;
    status->n_forming = d->o.n_peers;
    for (unsigned i = 0; i < d->o.n_peers; i++) {
        struct node_forming_peer *p = &status->forming[i];
        memcpy(p->addr, d->o.peers[i], sizeof p->addr);
        p->is_self = i == own;
        if (!p->is_self)
            p->err = d->form.peers ? peer_err(&d->form.peers[i]) : ERR_UNREACHABLE;
    }
}

void form_free(struct driver *d)
{
    mem_free(d->form.peers);
}

/* ---- promising ---- */

static bool same_list(const struct driver *d, const struct wire_message *m)
{
    if (m->form.n_peers != d->o.n_peers)
        return false;
    for (unsigned i = 0; i < d->o.n_peers; i++)
        if (strcmp(m->form.peers[i], d->o.peers[i]) != 0)
            return false;
    return true;
}

static int judge_form(const struct driver *d, const struct wire_message *m)
{
    if (d->unfounded)
        return ERR_IN_PROGRESS; /* it may yet not come to be */
    if (driver_is_member(d) || d->identity.outsider || raft_status(d->raft).last.index > 0)
        return ERR_EXISTS;
    if (!same_list(d, m) || uuid_is_zero(m->form.new_cluster))
        return ERR_NOT_ALLOWED;
    if (!uuid_is_zero(d->identity.promised) &&
        !uuid_equal(d->identity.promised, m->form.new_cluster))
        return ERR_IN_PROGRESS;
    return 0;
}

static void answer_form(struct driver *d, struct node_request *r, const struct wire_header *h,
                        int err)
{
    struct wire_message m = {.header = {.type = WIRE_FORM_REPLY}, .form_reply = {.err = err}};
    peer_answer(d, r, h, &m);
}

void form_forwarded(struct driver *d, struct node_request *r, const struct wire_message *m)
{
    int err = judge_form(d, m);
    if (err != 0) {
        answer_form(d, r, &m->header, err);
        return;
    }
    struct promise *p = mem_alloc(sizeof *p);
    p->request = r;
    p->question = m->header;
    list_push_back(&d->promises, &p->link);
    d->identity.promised = m->form.new_cluster;
    driver_save_identity(d);
}

void form_written(struct driver *d, const struct storage_identity *written)
{
    if (d->form.unpromised && uuid_equal(written->promised, d->identity.promised)) {
        d->form.unpromised = false;
        d->form.next_ms = d->now_ms;
    }
    LIST_FOREACH_SAFE (it, following, &d->promises) {
        struct promise *p = LIST_ENTRY(it, struct promise, link);
        if (!uuid_equal(written->promised, d->identity.promised))
            continue;
        list_remove(&p->link);
        answer_form(d, p->request, &p->question, 0);
        mem_free(p);
    }
}

void form_abandon(struct driver *d)
{
    LIST_FOREACH_SAFE (it, following, &d->promises) {
        struct promise *p = LIST_ENTRY(it, struct promise, link);
        list_remove(&p->link);
        answer_form(d, p->request, &p->question, ERR_SHUTDOWN);
        mem_free(p);
    }
    answer_inits(d);
}
