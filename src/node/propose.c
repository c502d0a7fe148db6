/* SPDX-License-Identifier: MIT
 * Writes of clients. Each gets a number of this node's session (kv/command.h)
 * and goes to whoever leads: proposed here, or forwarded in batches. Because
 * the state machine applies a number once, a write whose fate is unknown is
 * simply sent again, to the next leader if need be, until its deadline: it is
 * never applied twice (dissertation 6.3, PITFALLS 49).
 *
 *      waiting --> under way --> applied or answered --> done
 *         ^------------'  lost, refused, leader changed
 */
#include <string.h>

#include "base/mem.h"
#include "node/driver.h"

#define RETRY_MS 20 /* until what the leader did not take is sent to it again */

void writes_init(struct driver *d)
{
    struct writes *w = &d->writes;
    list_init(&w->waiting);
    w->cap = 1024;
    w->by_seq = mem_array(w->cap, sizeof *w->by_seq);
    w->floor = 1;
    /* The count makes a later start win. The random part tells starts apart whose count is the same
     * because the disk was set back: what an earlier one sent is not taken for ours. */
    w->boot = d->identity.boot << 32 | (rng_next(&d->rng) & UINT32_MAX);
}

void writes_free(struct driver *d)
{
    mem_free(d->writes.by_seq);
}

/* ---- the session: numbers, and which of them are open ---- */

static struct write **slot_of(struct writes *w, uint64_t seq)
{
    return &w->by_seq[seq & (w->cap - 1)];
}

static void grow(struct writes *w)
{
    uint64_t old_cap = w->cap;
    struct write **old = w->by_seq;
    w->cap *= 2;
    w->by_seq = mem_array(w->cap, sizeof *w->by_seq);
    for (uint64_t i = 0; i < old_cap; i++)
        if (old[i])
            *slot_of(w, old[i]->seq) = old[i];
    mem_free(old);
}

static struct write *find(struct writes *w, uint64_t seq)
{
    if (seq < w->floor || seq > w->seq_last)
        return NULL;
    return *slot_of(w, seq);
}

/* Ends a write. Takes wr. */
static void settle(struct driver *d, struct write *wr, int err)
{
    struct writes *w = &d->writes;
    list_remove(&wr->link);
    *slot_of(w, wr->seq) = NULL;
    while (w->floor <= w->seq_last && !*slot_of(w, w->floor))
        w->floor++;
    if (err)
        figures_failed(d, err);
    else
        figures_took(d, NODE_TOOK_COMMIT, wr->sent_us);
    figures_request_ended(d, wr->request->taken_us, wr->sent_us, NODE_PHASE_QUEUE,
                          NODE_PHASE_COMMIT);
    driver_done(wr->request, err);
    mem_free(wr);
}

static void refuse(struct driver *d, struct node_request *r, int err)
{
    figures_failed(d, err);
    driver_done(r, err);
}

static void enqueue(struct driver *d, struct node_request *r)
{
    struct writes *w = &d->writes;
    if (w->seq_last + 1 - w->floor >= LIMIT_FORWARDED_OPS) {
        refuse(d, r, ERR_OVERLOADED);
        return;
    }
    if (w->seq_last + 1 - w->floor >= w->cap)
        grow(w);
    struct write *wr = mem_zalloc(sizeof *wr);
    wr->request = r;
    wr->seq = ++w->seq_last;
    *slot_of(w, wr->seq) = wr;
    list_push_back(&w->waiting, &wr->link);
}

void writes_add(struct driver *d, struct node_request *r)
{
    if (!driver_is_member(d)) {
        int err = form_first_write(d);
        if (err == ERR_UNINITIALIZED) {
            refuse(d, r, err);
            return;
        }
    }
    if (room_refuses(d, r)) {
        refuse(d, r, ERR_NO_SPACE);
        return;
    }
    enqueue(d, r);
}

/* ---- under way ---- */

static size_t origin_encode(const struct driver *d, const struct write *wr,
                            uint8_t out[KV_ORIGIN_BYTES_MAX])
{
    struct kv_origin origin = {.node = d->identity.node,
                               .boot = d->writes.boot,
                               .seq = wr->seq,
                               .floor = d->writes.floor,
                               .member_since = d->writes.member_since};
    return kv_origin_encode(&origin, out);
}

static struct raft_entry *entry_of(const struct driver *d, const struct write *wr)
{
    uint8_t origin[KV_ORIGIN_BYTES_MAX];
    size_t origin_len = origin_encode(d, wr, origin);
    const struct buf *body = &wr->request->in.write.body;
    struct raft_entry *e = raft_entry_new(RAFT_ENTRY_COMMAND, (struct raft_pos){0, 0},
                                          (uint32_t)(origin_len + body->len));
    memcpy(e->data, origin, origin_len);
    memcpy(e->data + origin_len, body->data, body->len);
    return e;
}

/* Proposes the first writes that wait, as one batch. False: the core cannot take them now. */
static bool propose_some(struct driver *d)
{
    struct writes *w = &d->writes;
    unsigned n = 0, n_max = d->o.append_entries_max;
    size_t total = 0;
    struct raft_entry **entries = mem_array(n_max, sizeof *entries);
    LIST_FOREACH (it, &w->waiting) {
        struct write *wr = LIST_ENTRY(it, struct write, link);
        if (n == n_max || total > d->o.append_bytes_max ||
            !room_for(d, total + wr->request->in.write.body.len))
            break;
        entries[n] = entry_of(d, wr);
        total += entries[n++]->len;
    }
    struct raft_pos first;
    bool taken = n > 0 && raft_propose(d->raft, entries, n, &first) == 0;
    for (unsigned i = 0; i < n; i++) {
        if (!taken) {
            raft_entry_unref(&entries[i]);
            continue;
        }
        struct write *wr = LIST_ENTRY(list_pop_front(&w->waiting), struct write, link);
        wr->under_way = wr->attempted = true;
        wr->term = first.term;
        wr->sent_us = d->now_us;
        wr->exchange = 0;
    }
    mem_free(entries);
    return taken;
}

/* Puts waiting writes into a FORWARD, as many as one message should carry. Returns their seqs and
 * the last of their deadlines: until then it makes sense to wait for the answer. */
static uint64_t *fill_forward(struct driver *d, struct wire_message *m, struct buf bytes[],
                              uint64_t *ret_deadline_ms)
{
    unsigned n = 0, n_max = d->o.append_entries_max;
    size_t total = 0;
    uint64_t *seqs = mem_array(n_max, sizeof *seqs);
    m->forward.commands = mem_array(n_max, sizeof *m->forward.commands);
    while (n < n_max && !list_is_empty(&d->writes.waiting)) {
        struct write *wr = LIST_ENTRY(d->writes.waiting.next, struct write, link);
        const struct buf *body = &wr->request->in.write.body;
        if (n > 0 && total + body->len > d->o.append_bytes_max)
            break;
        uint8_t origin[KV_ORIGIN_BYTES_MAX];
        buf_append(&bytes[n], origin, origin_encode(d, wr, origin));
        buf_append(&bytes[n], body->data, body->len);
        m->forward.commands[n] = (struct wire_bytes){bytes[n].data, bytes[n].len};
        total += bytes[n].len;
        seqs[n++] = wr->seq;
        list_remove(&wr->link);
        wr->under_way = true;
        wr->term = m->header.term;
        wr->sent_us = d->now_us;
        if (wr->request->deadline_ms > *ret_deadline_ms)
            *ret_deadline_ms = wr->request->deadline_ms;
    }
    m->forward.n_commands = n;
    return seqs;
}

static void forward_waiting(struct driver *d, const struct raft_member *leader)
{
    struct wire_message m = {.header =
                                 peer_header(d, WIRE_FORWARD, leader->id, leader->incarnation)};
    struct buf *bytes = mem_array(d->o.append_entries_max, sizeof *bytes);
    uint64_t deadline_ms = d->now_ms + 1;
    uint64_t *seqs = fill_forward(d, &m, bytes, &deadline_ms);
    unsigned n = m.forward.n_commands;
    struct exchange *x =
        exchange_ask(d, EXCHANGE_FORWARD, TRANSPORT_FORWARD, TRANSPORT_CONTROL,
                     move_addr(d, leader), (uint32_t)(deadline_ms - d->now_ms), &m);
    x->seqs = seqs;
    x->n_seqs = n;
    x->owner = d->writes.generation;
    for (unsigned i = 0; i < n; i++)
        find(&d->writes, seqs[i])->exchange = x->id;
    d->writes.forwards_in_flight++;
    for (unsigned i = 0; i < n; i++)
        buf_free(&bytes[i]);
    mem_free(bytes);
    mem_free(m.forward.commands);
}

/* What was sent nowhere and cannot be taken: for certain not attempted. */
static void refuse_waiting(struct driver *d)
{
    if (!room_is_short(d))
        return;
    LIST_FOREACH_SAFE (it, following, &d->writes.waiting) {
        struct write *wr = LIST_ENTRY(it, struct write, link);
        if (!wr->attempted && room_refuses(d, wr->request))
            settle(d, wr, ERR_NO_SPACE);
    }
}

void writes_pump(struct driver *d)
{
    struct raft_status s = raft_status(d->raft);
    batches_release_held(d);
    refuse_waiting(d);
    if (list_is_empty(&d->writes.waiting))
        return;
    if (!driver_is_member(d)) {
        if (form_first_write(d) == ERR_UNINITIALIZED)
            writes_expire(d, true);
        return;
    }
    if (!uuid_is_zero(s.transfer_to))
        return; /* for this leader or the next */
    if (d->writes.member_since == 0)
        return; /* nobody would take them: not a member yet, as far as was applied here, or no more
                 */
    if (s.role == RAFT_LEADER) {
        if (checkpoint_is_behind(d))
            return;
        while (!list_is_empty(&d->writes.waiting) && propose_some(d))
            ;
        return;
    }
    const struct raft_member *leader = driver_member(d, s.leader);
    while (leader && !list_is_empty(&d->writes.waiting) && d->writes.pause_until_ms <= d->now_ms &&
           d->writes.forwards_in_flight < DRIVER_FORWARDS_MAX)
        forward_waiting(d, leader);
}

/* ---- answers of the leader ---- */

static void back_to_waiting(struct driver *d, struct write *wr)
{
    wr->under_way = false;
    list_push_back(&d->writes.waiting, &wr->link);
}

static void settle_forwarded(struct driver *d, struct write *wr,
                             const struct wire_forward_result *result)
{
    struct node_request *r = wr->request;
    machine_note_leader(d->machine, result->pos.term, result->leader);
    r->ret.write.log_id = (struct node_log_id){result->pos.index, result->pos.term, result->leader};
    buf_append(&r->ret.write.answer, result->answer.data, result->answer.len);
    settle(d, wr, 0);
}

void writes_forward_answered(struct driver *d, struct exchange *x, int err,
                             const struct wire_message *m)
{
    if (x->owner == d->writes.generation)
        d->writes.forwards_in_flight--;
    bool matches = err == 0 && m->forward_reply.n_results == x->n_seqs;
    for (unsigned i = 0; i < x->n_seqs; i++) {
        struct write *wr = find(&d->writes, x->seqs[i]);
        if (!wr || !wr->under_way)
            continue; /* applied here before the answer came */
        if (matches && m->forward_reply.results[i].err == 0) {
            settle_forwarded(d, wr, &m->forward_reply.results[i]);
            continue;
        }
        if (wr->exchange != x->id)
            continue; /* sent again meanwhile: what becomes of that is another answer's to say */
        /* "Not the leader" is no proof: what was delivered once may be delivered again, to whoever
         * leads then (PITFALLS 50, 59). */
        wr->attempted |= err != ERR_UNREACHABLE;
        back_to_waiting(d, wr);
        d->writes.pause_until_ms = d->now_ms + RETRY_MS;
    }
}

/* ---- apply and roles ---- */

static void applied_for_self(struct driver *d, const struct raft_entry *e,
                             const struct kv_result *result)
{
    struct kv_origin origin;
    if (kv_origin_decode(e->data, e->len, &origin) < 0 ||
        !uuid_equal(origin.node, d->identity.node) || origin.boot != d->writes.boot)
        return;
    struct write *wr = find(&d->writes, origin.seq);
    if (!wr)
        return; /* given up, or answered by the leader */
    struct node_request *r = wr->request;
    r->ret.write.log_id =
        driver_log_id(d, (struct raft_pos){.term = result->pos.term, .index = result->pos.index});
    buf_append(&r->ret.write.answer, result->answer, result->answer_len);
    settle(d, wr, result->err == ERR_STALE ? ERR_UNKNOWN : result->err);
}

void writes_applied(struct driver *d, const struct raft_entry *e, const struct kv_result *result)
{
    if (!batches_applied(d, e, result))
        applied_for_self(d, e, result);
}

/* Whatever of ours was on its way when this node left the cluster or came back into it has not been
 * applied, or it would have been answered, and never will be: copies of it are stale. */
void writes_membership_applied(struct driver *d)
{
    struct writes *w = &d->writes;
    uint64_t member_since = machine_member_since(d->machine, d->identity.node);
    if (member_since == w->member_since)
        return;
    w->member_since = member_since;
    for (uint64_t seq = w->floor; seq <= w->seq_last; seq++) {
        struct write *wr = *slot_of(w, seq);
        if (!wr)
            continue;
        wr->attempted = false;
        if (wr->under_way)
            back_to_waiting(d, wr);
    }
}

void writes_installed(struct driver *d)
{
    struct writes *w = &d->writes;
    uint64_t last = w->seq_last;
    /* In the same membership whatever is sent again is known by its number. If this node left and
     * came back, that is forgotten: what may have been applied before must not be sent again. */
    bool same = machine_member_since(d->machine, d->identity.node) == w->member_since;
    for (uint64_t seq = w->floor; !same && seq <= last; seq++) {
        struct write *wr = *slot_of(w, seq);
        if (wr && (wr->attempted || wr->under_way))
            settle(d, wr, ERR_UNKNOWN);
    }
    writes_membership_applied(d);
}

/* What was proposed in an earlier term may or may not come to be: ours wait for the next leader
 * (PITFALLS 50, 51). */
void writes_role_changed(struct driver *d)
{
    struct writes *w = &d->writes;
    struct raft_status s = raft_status(d->raft);
    w->generation++;
    w->forwards_in_flight = 0; /* a dead leader may hold its own for long */
    w->pause_until_ms = 0;
    batches_role_changed(d);
    for (uint64_t seq = w->floor; seq <= w->seq_last; seq++) {
        struct write *wr = *slot_of(w, seq);
        bool same_leader = wr && wr->term == s.term && !uuid_is_zero(s.leader);
        if (!wr || !wr->under_way || same_leader)
            continue;
        wr->attempted = true;
        back_to_waiting(d, wr);
    }
}

void writes_expire(struct driver *d, bool all)
{
    struct writes *w = &d->writes;
    uint64_t last = w->seq_last;
    for (uint64_t seq = w->floor; seq <= last; seq++) {
        struct write *wr = *slot_of(w, seq);
        if (!wr || (!all && wr->request->deadline_ms > d->now_ms))
            continue;
        bool unknown = wr->attempted || wr->under_way;
        settle(d, wr,
               unknown                ? ERR_UNKNOWN
               : !driver_is_member(d) ? ERR_UNINITIALIZED
               : all                  ? ERR_SHUTDOWN
                                      : ERR_NO_LEADER);
    }
    batches_expire(d, all);
}
