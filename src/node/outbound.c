/* SPDX-License-Identifier: MIT
 * Messages to other nodes: those of the core, and the answers to whatever was
 * asked. An answer counts when it is from whom it was expected of (PITFALLS 34,
 * 41, 59).
 */
#include "base/log.h"
#include "base/mem.h"
#include "node/driver.h"

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
    else if (peer_is_question_of_core((enum wire_type)m->type))
        peer_ask(d, m);
    else
        peer_answer_question(d, m);
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
    if (m && log_allow(&limit, PEER_REFUSAL_LOG_MS)) {
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
    if (err == 0 && t->http_status != PEER_HTTP_OK && t->http_status != PEER_HTTP_REFUSED)
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
