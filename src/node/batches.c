/* SPDX-License-Identifier: MIT
 * Writes that other nodes forward to this one as the leader, batch by batch:
 * proposed all or none, and answered when the last of them is applied, or when
 * it is not known any more what becomes of them; then their node sends them
 * again (propose.c).
 */
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "node/driver.h"

#define FORWARD_RESULT_BYTES 64 /* of one result beyond its answer, at most */

/* A FORWARD of another node, until every command in it has its result. */
struct batch {
    struct list link;
    struct node_request *request;
    struct wire_header question;
    struct wire_forward_result *results;
    struct buf *answers; /* one for each result, so that they outlive the apply */
    unsigned n, n_missing;
    uint64_t term; /* proposed in */
};

/* A command proposed for another node, in log order; answered when applied. */
struct proposed {
    struct list link;
    struct raft_pos pos;
    struct batch *batch;
    unsigned slot;
};

void batches_init(struct driver *d)
{
    list_init(&d->batches.proposed);
    list_init(&d->batches.open);
    list_init(&d->batches.held);
}

/* Those of one batch, or all for NULL. */
static void forget_proposed(struct driver *d, const struct batch *batch)
{
    LIST_FOREACH_SAFE (it, following, &d->batches.proposed) {
        struct proposed *p = LIST_ENTRY(it, struct proposed, link);
        if (batch && p->batch != batch)
            continue;
        list_remove(&p->link);
        mem_free(p);
    }
}

void batches_free(struct driver *d)
{
    forget_proposed(d, NULL);
}

static void note_proposed(struct driver *d, struct raft_pos pos, struct batch *batch, unsigned slot)
{
    struct proposed *p = mem_alloc(sizeof *p);
    *p = (struct proposed){.pos = pos, .batch = batch, .slot = slot};
    list_push_back(&d->batches.proposed, &p->link);
}

/* ---- answers ---- */

/* Old values can be large. Those beyond what one message carries are asked for again: the state
 * machine remembers the answers. The first always fits. */
static void attach_answers(struct batch *b)
{
    size_t total = 0;
    for (unsigned i = 0; i < b->n; i++) {
        total += b->answers[i].len;
        if (total > LIMIT_APPEND_BYTES - LIMIT_COMMAND_OVERHEAD - b->n * FORWARD_RESULT_BYTES)
            b->results[i].err = ERR_UNKNOWN;
        else
            b->results[i].answer = (struct wire_bytes){b->answers[i].data, b->answers[i].len};
    }
}

static void answer(struct driver *d, struct batch *b)
{
    struct wire_message m = {.header = {.type = WIRE_FORWARD_REPLY}};
    m.forward_reply.results = b->results;
    m.forward_reply.n_results = b->n;
    attach_answers(b);
    peer_answer(d, b->request, &b->question, &m);
    list_remove(&b->link);
    for (unsigned i = 0; i < b->n; i++)
        buf_free(&b->answers[i]);
    mem_free(b->answers);
    mem_free(b->results);
    mem_free(b);
}

static struct batch *batch_new(struct driver *d, struct node_request *r,
                               const struct wire_message *m)
{
    struct batch *b = mem_zalloc(sizeof *b);
    b->request = r;
    b->question = m->header;
    b->n = b->n_missing = m->forward.n_commands;
    b->term = raft_status(d->raft).term;
    b->results = mem_array(b->n, sizeof *b->results);
    b->answers = mem_array(b->n, sizeof *b->answers);
    list_push_back(&d->batches.open, &b->link);
    return b;
}

static void fail(struct driver *d, struct batch *b, int err)
{
    for (unsigned i = 0; i < b->n; i++)
        if (b->results[i].pos.index == 0)
            b->results[i].err = err;
    answer(d, b);
}

/* A leader proposes nothing while it hands over, or while memory fills faster than the disk. */
static bool must_hold(const struct driver *d)
{
    struct raft_status s = raft_status(d->raft);
    return s.role == RAFT_LEADER && (!uuid_is_zero(s.transfer_to) || checkpoint_is_behind(d));
}

/* Looked at again from the beginning when it is known who leads. */
void batches_release_held(struct driver *d)
{
    struct list *it, held;
    list_init(&held);
    if (!must_hold(d))
        list_splice(&held, &d->batches.held);
    while ((it = list_pop_front(&held)) != NULL)
        peer_request(d, LIST_ENTRY(it, struct node_request, link));
}

void batches_take(struct driver *d, struct node_request *r, const struct wire_message *m)
{
    if (must_hold(d)) {
        list_push_back(&d->batches.held, &r->link);
        return;
    }
    struct batch *b = batch_new(d, r, m);
    uint64_t bytes = 0;
    for (unsigned i = 0; i < b->n; i++)
        bytes += m->forward.commands[i].len;
    if (!room_for(d, bytes)) {
        fail(d, b, ERR_NO_SPACE);
        return;
    }
    struct raft_entry **entries = mem_array(b->n, sizeof *entries);
    for (unsigned i = 0; i < b->n; i++) {
        const struct wire_bytes *c = &m->forward.commands[i];
        entries[i] = raft_entry_new(RAFT_ENTRY_COMMAND, (struct raft_pos){0, 0}, (uint32_t)c->len);
        memcpy(entries[i]->data, c->data, c->len);
    }
    struct raft_pos first = {0, 0};
    int err = b->n ? raft_propose(d->raft, entries, b->n, &first) : 0;
    for (unsigned i = 0; i < b->n; i++) {
        if (err)
            raft_entry_unref(&entries[i]);
        else
            note_proposed(d, (struct raft_pos){.term = first.term, .index = first.index + i}, b, i);
    }
    mem_free(entries);
    if (err || b->n == 0)
        fail(d, b, err);
}

static void applied_for_other(struct driver *d, struct proposed *p, const struct kv_result *result)
{
    struct batch *b = p->batch;
    struct wire_forward_result *res = &b->results[p->slot];
    res->err = result->err == ERR_STALE ? ERR_UNKNOWN : result->err;
    res->pos = (struct raft_pos){.term = result->pos.term, .index = result->pos.index};
    res->leader = machine_leader_of(d->machine, res->pos.term);
    buf_append(&b->answers[p->slot], result->answer, result->answer_len);
    if (--b->n_missing == 0)
        answer(d, b);
}

/* ---- what becomes of them ---- */

bool batches_applied(struct driver *d, const struct raft_entry *e, const struct kv_result *result)
{
    struct list *first = d->batches.proposed.next;
    if (first == &d->batches.proposed)
        return false;
    struct proposed *p = LIST_ENTRY(first, struct proposed, link);
    ASSERT(p->pos.index >= e->pos.index || p->pos.term != e->pos.term);
    if (!raft_pos_equal(p->pos, e->pos))
        return false;
    list_remove(&p->link);
    applied_for_other(d, p, result);
    mem_free(p);
    return true;
}

void batches_role_changed(struct driver *d)
{
    struct raft_status s = raft_status(d->raft);
    LIST_FOREACH_SAFE (it, following, &d->batches.open) {
        struct batch *b = LIST_ENTRY(it, struct batch, link);
        if (b->term == s.term && s.role == RAFT_LEADER)
            continue;
        forget_proposed(d, b);
        fail(d, b, ERR_UNKNOWN);
    }
}

void batches_expire(struct driver *d, bool all)
{
    LIST_FOREACH_SAFE (it, following, &d->batches.held) {
        struct node_request *r = LIST_ENTRY(it, struct node_request, link);
        if (!all && r->deadline_ms > d->now_ms)
            continue;
        list_remove(it);
        peer_fail(r, 503, "no answer to give\n");
    }
    LIST_FOREACH_SAFE (it, following, &d->batches.open) {
        struct batch *b = LIST_ENTRY(it, struct batch, link);
        if (!all && b->request->deadline_ms > d->now_ms)
            continue;
        forget_proposed(d, b);
        fail(d, b, ERR_UNKNOWN);
    }
}
