/* SPDX-License-Identifier: MIT
 * Messages of other nodes, in and out. Every one names cluster, sender,
 * receiver and the receiver's incarnation, and is refused when one of these is
 * not what this node is (PITFALLS 34, 41, 59): the refusal says who is really
 * here. Questions of the core wait here for the core's answer.
 */
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/driver.h"

#define REFUSAL_LOG_MS 10000
#define HTTP_OK        200
#define HTTP_REFUSED   409 /* with a REFUSED in the body */

/* A question of a peer's core that ours has not answered yet. */
struct inbound {
    struct list link;
    struct node_request *request;
    struct wire_header question;
};

void peer_fail(struct node_request *r, int http_status, const char *why)
{
    r->ret.reply.http_status = http_status;
    buf_append_str(&r->ret.reply.body, why);
    driver_done(r, 0);
}

/* ---- headers ---- */

struct wire_header peer_header(const struct driver *d, enum wire_type type, struct uuid to,
                               uint64_t to_incarnation)
{
    /* Nobody hears of a cluster that may yet not come to be: it would be waited for. */
    return (struct wire_header){.type = type,
                                .cluster = d->unfounded ? UUID_ZERO : d->identity.cluster,
                                .from = d->identity.node,
                                .to = to,
                                .to_incarnation = to_incarnation,
                                .from_incarnation = d->identity.incarnation,
                                .term = raft_status(d->raft).term};
}

void peer_answer(struct driver *d, struct node_request *r, const struct wire_header *question,
                 struct wire_message *answer)
{
    uint64_t term = answer->header.term; /* the core's word, where it has one */
    answer->header =
        peer_header(d, answer->header.type, question->from, question->from_incarnation);
    answer->header.seq = question->seq;
    if (term != 0)
        answer->header.term = term;
    r->ret.reply.http_status = answer->header.type == WIRE_REFUSED ? HTTP_REFUSED : HTTP_OK;
    wire_encode(answer, &r->ret.reply.body);
    driver_done(r, 0);
}

/* ---- is this for us? ---- */

static bool is_core_message(enum wire_type type)
{
    return type == WIRE_APPEND || type == WIRE_VOTE || type == WIRE_READ_INDEX ||
           type == WIRE_TIMEOUT_NOW || type == WIRE_SNAPSHOT;
}

static bool asks_whoever_lives_here(enum wire_type type)
{
    return type == WIRE_HELLO || type == WIRE_FORM;
}

static int judge_receiver(const struct driver *d, const struct wire_header *h)
{
    bool anyone = asks_whoever_lives_here(h->type) && uuid_is_zero(h->to);
    if (!anyone && !uuid_equal(h->to, d->identity.node))
        return ERR_ID_MISMATCH;
    if (h->to_incarnation != 0 && h->to_incarnation != d->identity.incarnation)
        return ERR_INCARNATION_MISMATCH;
    return 0;
}

static int judge_cluster(const struct driver *d, const struct wire_header *h)
{
    if (asks_whoever_lives_here(h->type))
        return 0;
    if (driver_is_member(d) && uuid_equal(h->cluster, d->identity.cluster))
        return 0;
    if (h->type == WIRE_ADMIN && uuid_is_zero(h->cluster))
        return 0; /* a newcomer that asks to join */
    bool may_adopt =
        is_core_message(h->type) && !driver_is_member(d) && !uuid_is_zero(h->cluster) &&
        h->to_incarnation != 0 &&
        (uuid_is_zero(d->identity.promised) || uuid_equal(d->identity.promised, h->cluster));
    return may_adopt ? 0 : ERR_CLUSTER_MISMATCH;
}

static int judge_sender(const struct driver *d, const struct wire_header *h)
{
    const struct raft_member *m = driver_member(d, h->from);
    if (uuid_is_zero(h->from) || uuid_equal(h->from, d->identity.node))
        return asks_whoever_lives_here(h->type) ? 0 : ERR_ID_MISMATCH;
    if (m && m->incarnation != h->from_incarnation)
        return ERR_INCARNATION_MISMATCH;
    return 0;
}

static int judge(const struct driver *d, const struct wire_header *h)
{
    int err = judge_receiver(d, h);
    if (err == 0)
        err = judge_cluster(d, h);
    return err ? err : judge_sender(d, h);
}

static void refuse(struct driver *d, struct node_request *r, const struct wire_header *h, int code)
{
    static struct log_limit limit;
    char id[UUID_TEXT_LEN + 1];
    if (log_allow(&limit, REFUSAL_LOG_MS))
        LOG_WARN("refused a message of node %s: %s", uuid_format(h->from, id), err_text(code));
    struct wire_message m = {.header = {.type = WIRE_REFUSED}, .refused = {.code = code}};
    peer_answer(d, r, h, &m);
}

/* Whoever is asked anything by another node, be it by mistake, is known to others and never makes
 * a cluster of its own unasked. */
static void note_contact(struct driver *d)
{
    if (d->identity.contacted)
        return;
    d->identity.contacted = true;
    driver_save_identity(d);
}

/* The first message of a cluster's core makes this node its member; durable before the answer,
 * because identity and log are written in order. */
static void adopt_cluster(struct driver *d, const struct wire_header *h)
{
    char cluster[UUID_TEXT_LEN + 1];
    if (driver_is_member(d) || !is_core_message(h->type))
        return;
    d->identity.cluster = h->cluster;
    driver_save_identity(d);
    LOG_INFO("joined cluster %s", uuid_format(h->cluster, cluster));
}

/* ---- questions ---- */

static void answer_hello(struct driver *d, struct node_request *r, const struct wire_header *h)
{
    struct raft_status s = raft_status(d->raft);
    struct wire_message m = {.header = {.type = WIRE_HELLO_REPLY}};
    const struct raft_member *leader = driver_member(d, s.leader);
    m.hello_reply.has_data = s.last.index > 0;
    snprintf(m.hello_reply.addr, sizeof m.hello_reply.addr, "%s", d->o.addr);
    m.hello_reply.leader = s.leader;
    if (leader)
        snprintf(m.hello_reply.leader_addr, sizeof m.hello_reply.leader_addr, "%s",
                 move_addr(d, leader));
    peer_answer(d, r, h, &m);
}

/* What a full disk cannot take for sure is not taken: the leader sends it again. */
static bool has_room(const struct driver *d, const struct wire_message *m)
{
    uint64_t bytes = 0;
    if (m->header.type == WIRE_SNAPSHOT)
        return !d->room.full;
    if (m->header.type != WIRE_APPEND || m->raft.append.n_entries == 0)
        return true;
    for (unsigned i = 0; i < m->raft.append.n_entries; i++)
        bytes += sizeof(struct raft_entry) + m->raft.append.entries[i]->len;
    return room_for(d, bytes);
}

static void ask_core(struct driver *d, struct node_request *r, const struct wire_message *m)
{
    if (!has_room(d, m)) {
        refuse(d, r, &m->header, ERR_NO_SPACE);
        return;
    }
    struct inbound *in = mem_alloc(sizeof *in);
    in->request = r;
    in->question = m->header;
    list_push_back(&d->inbound, &in->link);
    if (raft_receive(d->raft, &m->raft) < 0) {
        list_remove(&in->link);
        mem_free(in);
        peer_fail(r, 400, "entries or positions that do not follow on\n");
    }
}

static void dispatch(struct driver *d, struct node_request *r, const struct wire_message *m)
{
    switch (m->header.type) {
    case WIRE_APPEND:
    case WIRE_VOTE:
    case WIRE_READ_INDEX:
    case WIRE_TIMEOUT_NOW:
    case WIRE_SNAPSHOT:
        ask_core(d, r, m);
        break;
    case WIRE_HELLO:
        answer_hello(d, r, &m->header);
        break;
    case WIRE_FORWARD:
        writes_forwarded(d, r, m);
        break;
    case WIRE_ADMIN:
        admin_forwarded(d, r, m);
        break;
    case WIRE_FORM:
        form_forwarded(d, r, m);
        break;
    case WIRE_DIGEST:
        digest_question(d, r, &m->header);
        break;
    case WIRE_STATUS:
        overview_forwarded(d, r, m);
        break;
    default:
        peer_fail(r, 400, "an answer where a question is expected\n");
    }
}

static bool path_fits(enum transport_path path, enum wire_type type)
{
    static const enum wire_type types[TRANSPORT_PATHS] = {
        [TRANSPORT_APPEND] = WIRE_APPEND,
        [TRANSPORT_VOTE] = WIRE_VOTE,
        [TRANSPORT_READ_INDEX] = WIRE_READ_INDEX,
        [TRANSPORT_TIMEOUT_NOW] = WIRE_TIMEOUT_NOW,
        [TRANSPORT_SNAPSHOT] = WIRE_SNAPSHOT,
        [TRANSPORT_FORWARD] = WIRE_FORWARD,
        [TRANSPORT_ADMIN] = WIRE_ADMIN,
        [TRANSPORT_HELLO] = WIRE_HELLO,
        [TRANSPORT_FORM] = WIRE_FORM,
        [TRANSPORT_DIGEST] = WIRE_DIGEST,
        [TRANSPORT_STATUS] = WIRE_STATUS,
    };
    return types[path] == type;
}

void peer_request(struct driver *d, struct node_request *r)
{
    struct wire_message m;
    int err = wire_decode(r->in.peer.body.data, r->in.peer.body.len, &m);
    if (err < 0) {
        peer_fail(r, 400,
                  err == ERR_VERSION ? "a message of another protocol version; this node speaks 1\n"
                  : err == ERR_CORRUPT ? "the checksum of the message is wrong\n"
                                       : "not a message of crabcluster-protocol(7)\n");
        return;
    }
    note_contact(d);
    if (!path_fits(r->in.peer.path, m.header.type))
        peer_fail(r, 400, "a message of another kind than this path takes\n");
    else if ((err = judge(d, &m.header)) < 0)
        refuse(d, r, &m.header, err);
    else {
        adopt_cluster(d, &m.header);
        figures_heard(d, m.header.from);
        dispatch(d, r, &m);
    }
    form_note_cluster(d, m.header.cluster);
    wire_message_free(&m);
}

void peer_expire(struct driver *d, bool all)
{
    LIST_FOREACH_SAFE (it, following, &d->inbound) {
        struct inbound *in = LIST_ENTRY(it, struct inbound, link);
        if (in->request->deadline_ms > d->now_ms && !all)
            continue;
        list_remove(&in->link);
        peer_fail(in->request, 503, "no answer to give\n");
        mem_free(in);
    }
}

/* ---- messages of our core ---- */

static bool answer_question(struct driver *d, const struct raft_message *m)
{
    LIST_FOREACH (it, &d->inbound) {
        struct inbound *in = LIST_ENTRY(it, struct inbound, link);
        if (in->question.seq != m->seq || !uuid_equal(in->question.from, m->to))
            continue;
        struct wire_message w = {.raft = *m};
        w.header.type = (enum wire_type)m->type;
        w.header.term = m->term;
        list_remove(&in->link);
        peer_answer(d, in->request, &in->question, &w);
        mem_free(in);
        return true;
    }
    return false;
}

void peer_ask(struct driver *d, const struct raft_message *m)
{
    static const enum transport_path paths[] = {[RAFT_APPEND] = TRANSPORT_APPEND,
                                                [RAFT_VOTE] = TRANSPORT_VOTE,
                                                [RAFT_READ_INDEX] = TRANSPORT_READ_INDEX,
                                                [RAFT_TIMEOUT_NOW] = TRANSPORT_TIMEOUT_NOW,
                                                [RAFT_SNAPSHOT] = TRANSPORT_SNAPSHOT};
    const struct raft_member *peer = driver_member(d, m->to);
    if (!peer)
        return; /* left the configuration meanwhile */
    /* Whoever hears of a cluster belongs to it for good, and it may yet not come to be. */
    if (d->unfounded)
        return;
    bool is_data = m->type == RAFT_SNAPSHOT || (m->type == RAFT_APPEND && m->append.n_entries > 0);
    struct wire_message w = {.raft = *m};
    w.header = peer_header(d, (enum wire_type)m->type, m->to, peer->incarnation);
    w.header.term = m->term;
    w.header.seq = m->seq;
    exchange_ask(d, EXCHANGE_RAFT, paths[m->type], is_data ? TRANSPORT_DATA : TRANSPORT_CONTROL,
                 move_addr(d, peer), is_data ? 10 * d->o.election_max_ms : 2 * d->o.election_max_ms,
                 &w);
}

/* ---- large appends ---- */

/* To put 64 MiB into a message takes tens of milliseconds, and time stands still meanwhile: no
 * heartbeat goes out. So there is one such message in a turn, not one for each peer. */
#define LARGE_BYTES (4 * MIB)

struct large {
    struct list link;
    struct raft_message message; /* with its own array of own references */
};

static bool is_large(const struct raft_message *m)
{
    size_t bytes = 0;
    if (m->type != RAFT_APPEND)
        return false;
    for (unsigned i = 0; i < m->append.n_entries; i++)
        bytes += m->append.entries[i]->len;
    return bytes >= LARGE_BYTES;
}

static void hold_large(struct driver *d, const struct raft_message *m)
{
    struct large *l = mem_alloc(sizeof *l);
    l->message = *m;
    l->message.append.entries = mem_array(m->append.n_entries, sizeof(struct raft_entry *));
    for (unsigned i = 0; i < m->append.n_entries; i++)
        l->message.append.entries[i] = raft_entry_ref(m->append.entries[i]);
    list_push_back(&d->large, &l->link);
}

static void large_free(struct large *l)
{
    for (unsigned i = 0; i < l->message.append.n_entries; i++)
        raft_entry_unref(&l->message.append.entries[i]);
    mem_free(l->message.append.entries);
    mem_free(l);
}

void peer_pump(struct driver *d)
{
    struct list *it = list_pop_front(&d->large);
    if (!it)
        return;
    struct large *l = LIST_ENTRY(it, struct large, link);
    struct raft_status s = raft_status(d->raft);
    if (s.role == RAFT_LEADER && s.term == l->message.term)
        peer_ask(d, &l->message);
    large_free(l);
}

void peer_free(struct driver *d)
{
    struct list *it;
    while ((it = list_pop_front(&d->large)) != NULL)
        large_free(LIST_ENTRY(it, struct large, link));
}

void peer_send(struct driver *d, const struct raft_message *m)
{
    if (m->type == RAFT_SNAPSHOT && m->snapshot.len > 0)
        snapshot_send(d, m);
    else if (is_large(m))
        hold_large(d, m);
    else if (is_core_message((enum wire_type)m->type))
        peer_ask(d, m);
    else
        answer_question(d, m);
}

/* ---- answers to our questions ---- */

static int judge_answer(const struct driver *d, const struct exchange *x,
                        const struct wire_message *m)
{
    const struct wire_header *h = &m->header;
    if (!uuid_equal(h->to, d->identity.node) || h->to_incarnation != d->identity.incarnation)
        return ERR_ID_MISMATCH;
    if (h->type == WIRE_REFUSED)
        return m->refused.code;
    if (h->type == WIRE_HELLO_REPLY || h->type == WIRE_FORM_REPLY)
        return 0; /* whoever lives there was asked */
    if (!uuid_equal(h->from, x->peer))
        return ERR_ID_MISMATCH;
    bool of_cluster = x->kind == EXCHANGE_RAFT || x->kind == EXCHANGE_DIGEST;
    if (of_cluster && !uuid_equal(h->cluster, d->identity.cluster))
        return ERR_CLUSTER_MISMATCH;
    return 0;
}

static bool answer_fits(const struct exchange *x, enum wire_type type)
{
    switch (x->kind) {
    case EXCHANGE_RAFT:
        return type == WIRE_APPEND_REPLY || type == WIRE_VOTE_REPLY ||
               type == WIRE_READ_INDEX_REPLY || type == WIRE_TIMEOUT_NOW_REPLY ||
               type == WIRE_SNAPSHOT_REPLY;
    case EXCHANGE_FORWARD:
        return type == WIRE_FORWARD_REPLY;
    case EXCHANGE_ADMIN:
        return type == WIRE_ADMIN_REPLY;
    case EXCHANGE_HELLO:
    case EXCHANGE_FORM_HELLO:
    case EXCHANGE_MOVE_HELLO:
        return type == WIRE_HELLO_REPLY;
    case EXCHANGE_FORM:
        return type == WIRE_FORM_REPLY;
    case EXCHANGE_DIGEST:
        return type == WIRE_DIGEST_REPLY;
    case EXCHANGE_STATUS:
        return type == WIRE_STATUS_REPLY;
    }
    return false;
}

static void core_answered(struct driver *d, struct exchange *x, int err,
                          const struct wire_message *m)
{
    static struct log_limit limit;
    if (err == 0) {
        if (raft_receive(d->raft, &m->raft) < 0)
            figures_send_failed(d, x->peer);
        return;
    }
    figures_send_failed(d, x->peer);
    if (err != ERR_TIMEOUT)
        raft_unreachable(d->raft, x->peer);
    if (m && log_allow(&limit, REFUSAL_LOG_MS)) {
        char id[UUID_TEXT_LEN + 1];
        LOG_WARN("node %s refuses our messages: %s", uuid_format(x->peer, id), err_text(err));
    }
}

static void deliver(struct driver *d, struct exchange *x, int err, const struct wire_message *m)
{
    switch (x->kind) {
    case EXCHANGE_RAFT:
        core_answered(d, x, err, m);
        break;
    case EXCHANGE_FORWARD:
        writes_forward_answered(d, x, err, m);
        break;
    case EXCHANGE_ADMIN:
    case EXCHANGE_HELLO:
        admin_answered(d, x, err, m);
        break;
    case EXCHANGE_FORM_HELLO:
    case EXCHANGE_FORM:
        form_answered(d, x, err, m);
        break;
    case EXCHANGE_MOVE_HELLO:
        move_answered(d, err, m);
        break;
    case EXCHANGE_DIGEST:
        digest_answered(d, x, err, m);
        break;
    case EXCHANGE_STATUS:
        overview_answered(d, x, err, m);
        break;
    }
}

void driver_answered(struct driver *d, struct transport_request *t)
{
    struct wire_message m;
    struct exchange *x = exchanges_take(&d->exchanges, t->exchange);
    int err = t->err;
    bool decoded = false;
    if (err == 0 && t->http_status != HTTP_OK && t->http_status != HTTP_REFUSED)
        err = ERR_IO;
    if (err == 0) {
        err = wire_decode(t->reply.data, t->reply.len, &m);
        decoded = err == 0;
    }
    if (decoded)
        err = judge_answer(d, x, &m);
    if (decoded && err == 0 && !answer_fits(x, m.header.type))
        err = ERR_INVALID;
    if (decoded)
        form_note_cluster(d, m.header.cluster);
    if (err != 0)
        move_forget(d, x->peer);
    else
        figures_heard(d, m.header.from);
    if (err == 0 && x->asked_us)
        figures_round_trip(d, x->peer, x->asked_us);
    deliver(d, x, err, decoded ? &m : NULL);
    if (decoded)
        wire_message_free(&m);
    exchange_free(&x);
    transport_request_free(&t);
}
