/* SPDX-License-Identifier: MIT
 * Questions of other nodes. Every one names cluster, sender,
 * receiver and the receiver's incarnation, and is refused when one of these is
 * not what this node is (PITFALLS 34, 41, 59): the refusal says who is really
 * here. Questions of the core wait here for the core's answer.
 */
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "node/driver.h"

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
    r->ret.reply.http_status =
        answer->header.type == WIRE_REFUSED ? PEER_HTTP_REFUSED : PEER_HTTP_OK;
    wire_encode(answer, &r->ret.reply.body);
    driver_done(r, 0);
}

/* ---- is this for us? ---- */

bool peer_is_question_of_core(enum wire_type type)
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
        peer_is_question_of_core(h->type) && !driver_is_member(d) && !uuid_is_zero(h->cluster) &&
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
    if (log_allow(&limit, PEER_REFUSAL_LOG_MS))
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
    if (driver_is_member(d) || !peer_is_question_of_core(h->type))
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
        batches_take(d, r, m);
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

/* ---- answers of our core ---- */

bool peer_answer_question(struct driver *d, const struct raft_message *m)
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
