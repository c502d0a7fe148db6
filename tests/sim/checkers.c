/* SPDX-License-Identifier: MIT
 * The promises of Raft, checked after every turn of a node: what has changed
 * since the last look is enough, so that it stays cheap.
 */
#include "sim.h"

#include <string.h>

#include "base/bytes.h"
#include "base/mem.h"
#include "kv/digest.h"

#define CHECK_EVERY 32 /* turns between the checks that look at everything */

#define LONG_CATCH_UP         500 /* entries */
#define ACKNOWLEDGED_BEFORE_S 10

static unsigned long long ull(uint64_t v)
{
    return (unsigned long long)v;
}

/* ---- elections ---- */

/* One leader in a term, and never again after a restart. */
static void note_leader(struct sim *s, unsigned i, uint64_t term)
{
    if (term >= s->leaders.cap) {
        uint64_t cap = 2 * term + 64;
        s->leaders.items = mem_realloc(s->leaders.items, cap * sizeof *s->leaders.items);
        memset(s->leaders.items + s->leaders.cap, 0,
               (cap - s->leaders.cap) * sizeof *s->leaders.items);
        s->leaders.cap = cap;
    }
    unsigned *leader = &s->leaders.items[term], me = s->nodes[i].life * SIM_NODES + i + 1;
    SIM_SAFE(s, *leader == 0 || *leader == me, "term %llu has two leaders: nodes %u and %u",
             ull(term), (*leader - 1) % SIM_NODES, i);
    *leader = me;
}

/* It has every entry that was committed in an earlier term. */
static void check_complete(struct sim *s, unsigned i, uint64_t term)
{
    /* Up to there it is in the state. */
    uint64_t base = raft_status(s->nodes[i].driver->raft).base.index;
    for (uint64_t k = base > 0 ? base : 1; k <= s->n_log && s->log[k - 1].known_in_term < term;
         k++) {
        uint64_t found = 0;
        int err = raft_term_at(s->nodes[i].driver->raft, k, &found);
        SIM_SAFE(s, err == 0 && found == s->log[k - 1].entry->pos.term,
                 "node %u leads term %llu without entry %llu, committed in term %llu", i, ull(term),
                 ull(k), ull(s->log[k - 1].known_in_term));
    }
}

static bool is_voter(const struct sim *s, unsigned i)
{
    const struct raft_config *c = raft_config(s->nodes[i].driver->raft, NULL);
    const struct raft_member *m = raft_config_find(c, s->nodes[i].disk.identity.node);
    return m && raft_member_votes(m);
}

/* It is or was a voter: it may have to lead while the configuration that takes its vote away is
 * not committed. Its vote for itself is on its disk. */
static void check_electable(struct sim *s, unsigned i, uint64_t term)
{
    const struct storage_identity *identity = &s->nodes[i].disk.identity;
    const struct raft_hard_state *hs = &s->nodes[i].disk.hard_state;
    SIM_SAFE(s, s->nodes[i].ever_voted || is_voter(s, i),
             "node %u leads term %llu without being a voter", i, ull(term));
    SIM_SAFE(s, hs->term > term || (hs->term == term && uuid_equal(hs->vote, identity->node)),
             "node %u leads term %llu before its own vote is on its disk", i, ull(term));
}

static void check_role(struct sim *s, unsigned i, const struct raft_status *now)
{
    const struct raft_status *before = &s->nodes[i].seen;
    if (now->role == RAFT_LEADER) {
        if (before->role == RAFT_LEADER && before->term == now->term)
            return;
        note_leader(s, i, now->term);
        check_electable(s, i, now->term);
        check_complete(s, i, now->term);
        s->counts->elections++;
        trace(s, "node %u leads term %llu, log up to %llu", i, ull(now->term),
              ull(now->last.index));
    } else if (before->role == RAFT_LEADER) {
        probe(s, now->term == before->term ? PROBE_CHECK_QUORUM : PROBE_DEPOSED);
        if (!uuid_is_zero(before->transfer_to) && uuid_equal(before->transfer_to, now->leader))
            probe(s, PROBE_TRANSFERRED);
        trace(s, "node %u leads no more, term %llu", i, ull(now->term));
    } else if (before->role != now->role || before->term != now->term) {
        trace(s, "node %u: %s in term %llu", i,
              now->role == RAFT_FOLLOWER ? "follower" : "candidate", ull(now->term));
    }
}

/* ---- commits ---- */

/* Its disk was wiped so short a time ago that its acknowledgements may still be on their way. */
static bool was_wiped(const struct sim *s, const struct raft_member *m)
{
    for (unsigned i = 0; i < SIM_WIPED && i < s->n_wiped; i++)
        if (uuid_equal(s->wiped[i].id, m->id) && s->wiped[i].incarnation == m->incarnation)
            return s->now_us - s->wiped[i].at_us < ACKNOWLEDGED_BEFORE_S * SIM_S;
    return false;
}

/* More than half of the voters of one kind. */
static bool has_majority(const struct sim *s, const struct raft_config *c, unsigned mask,
                         bool with_wiped, uint8_t role)
{
    unsigned n = 0, there = 0;
    for (unsigned k = 0; k < c->n_members; k++) {
        int slot = process_of(s, &c->members[k]);
        if (!(c->members[k].roles & role))
            continue;
        n++;
        there += slot >= 0 ? mask >> slot & 1 : with_wiped && was_wiped(s, &c->members[k]);
    }
    return n == 0 || 2 * there > n;
}

bool check_has_quorum(const struct sim *s, const struct raft_config *c, unsigned mask)
{
    return has_majority(s, c, mask, false, RAFT_VOTER) &&
           has_majority(s, c, mask, false, RAFT_VOTER_OLD);
}

bool check_had_quorum(const struct sim *s, const struct raft_config *c, unsigned mask)
{
    return has_majority(s, c, mask, true, RAFT_VOTER) &&
           has_majority(s, c, mask, true, RAFT_VOTER_OLD);
}

static bool is_on_quorum(const struct sim *s, const struct raft_config *c, struct raft_pos pos)
{
    unsigned mask = 0;
    for (unsigned i = 0; i < SIM_NODES; i++)
        mask |= (unsigned)disk_has(&s->nodes[i].disk, pos) << i;
    return check_had_quorum(s, c, mask);
}

static struct raft_entry *find_durable(const struct sim *s, struct raft_pos pos)
{
    for (unsigned i = 0; i < SIM_NODES; i++)
        if (pos.index > s->nodes[i].disk.base.pos.index && disk_has(&s->nodes[i].disk, pos))
            return s->nodes[i].disk.log[pos.index - 1];
    return NULL;
}

static void compare_members(struct sim *s, const struct raft_config *old,
                            const struct raft_config *new)
{
    for (unsigned k = 0; k < new->n_members; k++) {
        const struct raft_member *m = &new->members[k], *was = raft_config_find(old, m->id);
        int slot = process_of(s, m);
        if (!was)
            fault_count(s, FAULT_ADD);
        if (!was && slot >= 0 && s->nodes[slot].lost)
            probe(s, PROBE_REPLACED);
        if (was && !(was->roles & RAFT_VOTER) && (m->roles & RAFT_VOTER))
            fault_count(s, FAULT_PROMOTE);
        if (was && strcmp(was->addr, m->addr) != 0)
            probe(s, PROBE_MOVED);
    }
    for (unsigned k = 0; k < old->n_members; k++)
        if (!raft_config_find(new, old->members[k].id))
            fault_count(s, FAULT_REMOVE);
}

static void note_config(struct sim *s, unsigned i, const struct raft_entry *e)
{
    struct raft_config c;
    if (raft_config_decode(e->data, e->len, &c) < 0)
        return; /* the model complains */
    s->counts->configs++;
    if (e->pos.index > 1)
        compare_members(s, &s->config, &c);
    else if (c.n_members > 1)
        probe(s, PROBE_FORMED);
    bool joint = raft_config_is_joint(&c);
    if (joint) {
        probe(s, PROBE_JOINT);
        fault_count(s, FAULT_REPLACE);
    }
    if (!joint && raft_config_is_joint(&s->config) && s->config_pos.term != e->pos.term)
        probe(s, PROBE_JOINT_OTHER_LEADER);
    const struct raft_member *self = raft_config_find(&c, s->nodes[i].disk.identity.node);
    if (s->nodes[i].seen.role == RAFT_LEADER && (!self || !raft_member_votes(self)))
        probe(s, PROBE_LEADER_REMOVED);
    s->config = c;
    s->config_pos = e->pos;
    trace(s, "configuration %llu is committed: %u members%s", ull(e->pos.index), c.n_members,
          joint ? ", joint" : "");
}

static void add_committed(struct sim *s, unsigned i, struct raft_pos pos, uint64_t term)
{
    struct raft_entry *e = find_durable(s, pos);
    SIM_SAFE(s, e, "node %u commits %llu, which is on no disk", i, ull(pos.index));
    if (s->n_log == s->cap_log) {
        s->cap_log = s->cap_log ? 2 * s->cap_log : 256;
        s->log = mem_realloc(s->log, s->cap_log * sizeof *s->log);
    }
    struct committed *c = &s->log[s->n_log++];
    *c = (struct committed){.entry = raft_entry_ref(e), .known_in_term = term, .at_us = s->now_us};
    s->counts->entries++;
    sim_mix(s, e->pos.index ^ e->pos.term << 32);
    if (e->type == RAFT_ENTRY_CONFIG)
        note_config(s, i, e);
    model_commit(s, c);
}

static void check_same(struct sim *s, unsigned i, uint64_t index)
{
    const struct raft_entry *e = s->log[index - 1].entry;
    const struct disk *d = &s->nodes[i].disk;
    uint64_t term = 0;
    if (index < raft_status(s->nodes[i].driver->raft).base.index)
        return; /* it is in the state, and that is compared */
    int err = raft_term_at(s->nodes[i].driver->raft, index, &term);
    SIM_SAFE(s, err == 0 && term == e->pos.term,
             "node %u commits entry %llu of term %llu, others of term %llu", i, ull(index),
             ull(term), ull(e->pos.term));
    if (index <= d->base.pos.index || !disk_has(d, e->pos) || d->log[index - 1] == e)
        return;
    const struct raft_entry *mine = d->log[index - 1];
    SIM_SAFE(
        s, mine->type == e->type && mine->len == e->len && memcmp(mine->data, e->data, e->len) == 0,
        "entry %llu of node %u differs from that of others", ull(index), i);
}

/* Durable on a quorum of the configuration that was in force before or after the turn. */
static void check_durable(struct sim *s, unsigned i, uint64_t index, uint64_t term)
{
    const struct sim_node *n = &s->nodes[i];
    struct raft_pos pos = {0, index};
    SIM_SAFE(s, raft_term_at(n->driver->raft, index, &pos.term) == 0,
             "node %u commits %llu, which it does not have", i, ull(index));
    SIM_SAFE(s,
             is_on_quorum(s, raft_config(n->driver->raft, NULL), pos) ||
                 is_on_quorum(s, &n->seen_config, pos),
             "node %u commits %llu in term %llu, which is on no quorum of disks", i, ull(index),
             ull(term));
    if (s->n_log > 0 && index > s->n_log + 1) {
        uint64_t first_term = 0;
        if (raft_term_at(n->driver->raft, s->n_log + 1, &first_term) == 0 && first_term < pos.term)
            probe(s, PROBE_OLD_TERM_COMMIT);
    }
}

static void check_commit(struct sim *s, unsigned i, const struct raft_status *now)
{
    struct sim_node *n = &s->nodes[i];
    bool leads_on =
        n->seen.role == RAFT_LEADER && now->role == RAFT_LEADER && n->seen.term == now->term;
    uint64_t term = 0;
    if (leads_on && now->commit > n->seen.commit)
        SIM_SAFE(s, raft_term_at(n->driver->raft, now->commit, &term) == 0 && term == now->term,
                 "node %u, leader of term %llu, commits up to an entry of term %llu", i,
                 ull(now->term), ull(term));
    SIM_SAFE(s, now->commit >= n->seen.commit, "node %u takes back its commit index", i);
    for (uint64_t k = n->seen.commit + 1; k <= now->commit && k <= s->n_log; k++)
        check_same(s, i, k);
    if (now->commit > s->n_log)
        check_durable(s, i, now->commit, now->term);
    while (s->n_log < now->commit) {
        struct raft_pos pos = {0, s->n_log + 1};
        SIM_SAFE(s, raft_term_at(n->driver->raft, pos.index, &pos.term) == 0,
                 "node %u commits %llu, which it does not have", i, ull(pos.index));
        add_committed(s, i, pos, now->term);
    }
    if (now->commit == 0)
        return;
    struct uuid cluster = n->driver->identity.cluster;
    if (uuid_is_zero(s->cluster))
        s->cluster = cluster;
    SIM_SAFE(s, uuid_equal(cluster, s->cluster), "node %u made a second cluster", i);
}

/* The same digest at the same index, whoever applied it and whatever happened in between. */
static void check_digests(struct sim *s, unsigned i, uint64_t from, uint64_t to)
{
    for (uint64_t k = from + 1; k <= to; k++) {
        struct committed *c = &s->log[k - 1];
        uint64_t digest;
        if (machine_digest_at(s->nodes[i].driver->machine, k, &digest) != 0)
            continue; /* a snapshot was installed */
        SIM_SAFE(s, !c->has_digest || c->digest == digest,
                 "node %u at %llu has the digest %llx instead of %llx", i, ull(k), ull(digest),
                 ull(c->digest));
        c->digest = digest;
        c->has_digest = true;
    }
}

/* And it is that of the records there. */
static void check_whole_digest(struct sim *s, unsigned i)
{
    struct kv_view *view = machine_view(s->nodes[i].driver->machine);
    uint64_t index, digest = machine_digest(s->nodes[i].driver->machine, &index), found = 0;
    SIM_SAFE(s,
             kv_view_index(view) == index && kv_view_digest(view, &found) == 0 && found == digest,
             "node %u at %llu has the digest %llx, its records have %llx", i, ull(index),
             ull(digest), ull(found));
    kv_view_close(&view);
    SIM_SAFE(s, index == 0 || !s->log[index - 1].has_digest || s->log[index - 1].digest == digest,
             "node %u at %llu has the digest %llx, others have %llx", i, ull(index), ull(digest),
             ull(s->log[index - 1].digest));
}

/* What the leaders find out by asking. */
static void check_compared(struct sim *s, unsigned i)
{
    const struct driver *d = s->nodes[i].driver;
    for (unsigned k = 0; k < LIMIT_MEMBERS; k++) {
        SIM_SAFE(s, d->peers[k].digest.compared != NODE_DIGEST_DIFFERS,
                 "node %u takes the state of a member for another than its own", i);
        if (d->peers[k].digest.compared == NODE_DIGEST_SAME)
            probe(s, PROBE_DIGEST);
    }
}

static void check_applied(struct sim *s, unsigned i, const struct raft_status *now)
{
    struct sim_node *n = &s->nodes[i];
    uint64_t digest;
    if (now->base.index > n->seen.applied && machine_stats(n->driver->machine).n_once > 0)
        probe(s, PROBE_ONCE_INSTALLED);
    SIM_SAFE(s, now->applied <= now->commit && now->applied >= n->seen.applied,
             "node %u: applied %llu, before %llu, commit %llu", i, ull(now->applied),
             ull(n->seen.applied), ull(now->commit));
    uint64_t applied = machine_applied(n->driver->machine).index;
    bool begun = driver_is_applying(n->driver);
    SIM_SAFE(s, begun ? applied < now->applied : applied == now->applied,
             "node %u: its state is at %llu instead of %llu", i, ull(applied), ull(now->applied));
    SIM_SAFE(s, applied >= n->seen_applied, "node %u: its state was at %llu, and is at %llu", i,
             ull(n->seen_applied), ull(applied));
    /* In the middle of a command all its keys are as before: those of the next entry too. */
    if (applied > n->seen_applied || begun)
        model_check_applied(s, i, n->seen_applied, applied, applied + begun);
    check_digests(s, i, n->seen_applied, applied);
    if (begun)
        probe(s, PROBE_SLICED);
    if (begun && n->seen_begun != applied + 1)
        fault_begun(s, i);
    if (n->seen_begun != 0 && applied > n->seen_begun &&
        machine_digest_at(n->driver->machine, n->seen_begun, &digest) != 0)
        probe(s, PROBE_SLICED_INSTALLED);
    n->seen_applied = applied;
    n->seen_begun = begun ? applied + 1 : 0;
    uint64_t lag = s->n_log - now->applied;
    if (lag > n->lag_max)
        n->lag_max = lag;
    if (lag != 0)
        return;
    if (n->lag_max > LONG_CATCH_UP)
        probe(s, PROBE_LONG_CATCH_UP);
    n->lag_max = 0;
}

/* ---- everything ---- */

/* Same index and term: same everything before. */
static void check_log_matching(struct sim *s, unsigned i, unsigned k)
{
    const struct raft *a = s->nodes[i].driver->raft, *b = s->nodes[k].driver->raft;
    struct raft_status sa = raft_status(a), sb = raft_status(b);
    uint64_t low = sa.commit < sb.commit ? sa.commit : sb.commit;
    low = low > sa.base.index ? low : sa.base.index;
    low = low > sb.base.index ? low : sb.base.index;
    uint64_t high = sa.last.index < sb.last.index ? sa.last.index : sb.last.index;
    bool met = false;
    for (uint64_t index = high; index > low; index--) {
        uint64_t ta = 0, tb = 0;
        bool known = raft_term_at(a, index, &ta) == 0 && raft_term_at(b, index, &tb) == 0;
        SIM_SAFE(s, known && (!met || ta == tb),
                 "the logs of nodes %u and %u differ at %llu and meet above", i, k, ull(index));
        met = met || ta == tb;
    }
}

static void check_deep(struct sim *s, unsigned i)
{
    raft_check(s->nodes[i].driver->raft);
    check_compared(s, i);
    model_check_names(s, i);
    unsigned k = (unsigned)(s->turns / CHECK_EVERY % SIM_NODES);
    if (k != i && is_up(s, k))
        check_log_matching(s, i, k);
}

static void see(struct sim *s, unsigned i, const struct raft_status *now)
{
    struct sim_node *n = &s->nodes[i];
    struct raft_pos pos;
    const struct raft_config *c = raft_config(n->driver->raft, &pos);
    if (!raft_pos_equal(pos, n->seen_config_pos) || n->seen_config.n_members != c->n_members) {
        n->seen_config = *c;
        n->ever_voted = n->ever_voted || is_voter(s, i);
        n->seen_config_pos = pos;
        n->config_since_ms = process_now_ms(s, i);
        promise_config(s, i);
    }
    n->seen = *now;
}

void check_turn(struct sim *s, unsigned i)
{
    struct raft_status now = raft_status(s->nodes[i].driver->raft);
    SIM_SAFE(s, now.term >= s->nodes[i].seen.term, "node %u goes back to term %llu", i,
             ull(now.term));
    check_role(s, i, &now);
    if (now.disk_stalled && !s->nodes[i].seen.disk_stalled)
        probe(s, PROBE_DISK_STALLED);
    check_commit(s, i, &now);
    check_applied(s, i, &now);
    promises_check(s, i, &now);
    see(s, i, &now);
    if (s->nodes[i].driver->identity.outsider && !s->nodes[i].seen_outsider) {
        s->nodes[i].seen_outsider = true;
        probe(s, PROBE_OUTSIDER);
    }
    sim_mix(s, now.term << 40 ^ now.last.index << 20 ^ now.commit << 3 ^ (uint64_t)now.role);
    if (s->turns % CHECK_EVERY == 0)
        check_deep(s, i);
}

/* ---- other moments ---- */

void check_started(struct sim *s, unsigned i)
{
    struct sim_node *n = &s->nodes[i];
    struct raft_status now = raft_status(n->driver->raft);
    SIM_SAFE(s, now.commit <= s->n_log, "node %u starts with %llu committed, all others have %llu",
             i, ull(now.commit), ull(s->n_log));
    SIM_SAFE(s, now.term >= n->disk.hard_state.term, "node %u forgot its term", i);
    for (uint64_t k = 1; k <= now.commit; k++)
        check_same(s, i, k);
    n->seen_config_pos = (struct raft_pos){0, 0};
    n->seen_config.n_members = 0;
    n->lag_max = 0;
    n->seen_applied = machine_applied(n->driver->machine).index;
    n->seen_begun = 0;
    see(s, i, &now);
    model_check_all(s, i);
    check_whole_digest(s, i);
    if (now.last.index > now.commit)
        probe(s, PROBE_RESTART_UNCOMMITTED);
}

/* Whoever gets the vote has a log at least as long; judged while nothing has changed since. */
static void check_vote(struct sim *s, unsigned i, const struct transport_request *t,
                       const struct raft_message *answer)
{
    struct raft_status now = raft_status(s->nodes[i].driver->raft);
    struct wire_message question;
    if (!answer->vote_reply.granted || answer->vote_reply.pre || !uuid_is_zero(now.leader) ||
        now.term != answer->term || now.last.term == now.term ||
        wire_decode(t->body.data, t->body.len, &question) < 0)
        return;
    struct raft_pos theirs = question.raft.vote.last, own = now.last;
    SIM_SAFE(s, theirs.term > own.term || (theirs.term == own.term && theirs.index >= own.index),
             "node %u, last (%llu,%llu), votes for a log ending at (%llu,%llu)", i, ull(own.term),
             ull(own.index), ull(theirs.term), ull(theirs.index));
    wire_message_free(&question);
}

static void check_refusal(struct sim *s, const struct wire_message *m)
{
    if (m->refused.code == ERR_ID_MISMATCH)
        probe(s, PROBE_REFUSED_ID);
    else if (m->refused.code == ERR_INCARNATION_MISMATCH)
        probe(s, PROBE_REFUSED_INCARNATION);
}

void check_refused(struct sim *s, unsigned i, const struct buf *answer)
{
    struct wire_message m;
    SIM_SAFE(s, wire_decode(answer->data, answer->len, &m) == 0 && m.header.type == WIRE_REFUSED,
             "node %u answers a message of another cluster", i);
    if (m.refused.code == ERR_CLUSTER_MISMATCH)
        probe(s, PROBE_REFUSED_CLUSTER);
    wire_message_free(&m);
}

/* A promise given is on the disk. */
static void check_promise(struct sim *s, unsigned i, const struct raft_message *m)
{
    const struct disk *d = &s->nodes[i].disk;
    const struct raft_hard_state *hs = &d->hard_state;
    if (m->type == RAFT_APPEND_REPLY) {
        SIM_SAFE(s, hs->term >= m->term, "node %u tells term %llu, which is not on its disk", i,
                 ull(m->term));
        SIM_SAFE(s, !m->append_reply.success || d->n_log >= m->append_reply.match,
                 "node %u acknowledges entry %llu, which is not on its disk", i,
                 ull(m->append_reply.match));
    }
    if (m->type == RAFT_VOTE_REPLY && m->vote_reply.granted && !m->vote_reply.pre)
        SIM_SAFE(s, hs->term > m->term || (hs->term == m->term && uuid_equal(hs->vote, m->to)),
                 "node %u votes in term %llu, which is not on its disk", i, ull(m->term));
}

uint64_t check_answered(struct sim *s, unsigned node, const struct transport_request *t)
{
    struct wire_message m;
    if (wire_decode(t->reply.data, t->reply.len, &m) < 0)
        return 0;
    uint64_t term = promise_told_term(&m);
    check_promise(s, node, &m.raft);
    if (m.header.type == WIRE_VOTE_REPLY)
        promise_vote(s, node, &m.raft);
    bool knows_leader = !uuid_is_zero(raft_status(s->nodes[node].driver->raft).leader);
    if (m.header.type == WIRE_REFUSED)
        check_refusal(s, &m);
    else if (m.header.type == WIRE_VOTE_REPLY)
        check_vote(s, node, t, &m.raft);
    if (m.header.type == WIRE_APPEND_REPLY && !m.raft.append_reply.success)
        probe(s, PROBE_APPEND_REFUSED);
    else if (m.header.type == WIRE_VOTE_REPLY && !m.raft.vote_reply.granted)
        probe(s, knows_leader ? PROBE_VOTE_STICKY : PROBE_VOTE_REFUSED);
    else if (m.header.type == WIRE_READ_INDEX_REPLY && !m.raft.read_index_reply.ok)
        probe(s, PROBE_READ_REFUSED);
    wire_message_free(&m);
    return term;
}

void check_end(struct sim *s)
{
    for (unsigned i = 0; i < SIM_NODES; i++) {
        if (!is_up(s, i))
            continue;
        uint64_t commit = raft_status(s->nodes[i].driver->raft).commit;
        for (uint64_t k = 1; k <= commit; k++)
            check_same(s, i, k);
        check_deep(s, i);
        model_check_all(s, i);
        check_whole_digest(s, i);
    }
    for (uint64_t k = 1; k < s->n_ops; k++)
        SIM_SAFE(s, !s->ops[k].refused || s->ops[k].index == 0,
                 "write %llu was refused and took effect", ull(k));
}
