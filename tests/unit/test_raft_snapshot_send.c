/* SPDX-License-Identifier: MIT
 * raft/: snapshots as a leader sends them. Numbers are items of PITFALLS
 * part 1.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "raft_cluster.h"

enum { SIZE = 200, PIECE = 64, LOST_AFTER = 4 * HEARTBEAT_TICKS, PATIENCE = 30 };

/* Node 0 leads and all have everything, but the last `behind` nodes, who are cut off and of
 * whose entries it has let go. */
static struct cluster *with_some_behind(unsigned n_nodes, unsigned behind)
{
    struct cluster *c = cluster_new(1, n_nodes, n_nodes);
    c->snapshot_size = SIZE;
    cluster_settle(c);
    cluster_elect_node(c, 0);
    cluster_write_entries(c, 0, 3);
    cluster_run(c, 2 * HEARTBEAT_TICKS);
    for (unsigned i = n_nodes - behind; i < n_nodes; i++)
        cluster_cut_off(c, i);
    cluster_write_entries(c, 0, 5);
    cluster_run(c, LOST_AFTER + 2);
    cluster_compact(c, 0, cluster_status(c, 0).applied - 1);
    return c;
}

static struct raft_peer_status peer_of(const struct cluster *c, unsigned node)
{
    struct raft_peer_status p;
    assert_int_equal(raft_peer(c->nodes[0].core, cluster_id(node), &p), 0);
    return p;
}

/* The peer is back, and its first piece is in flight. Only node 0's clock runs. */
static struct raft_message first_piece(struct cluster *c, unsigned node)
{
    cluster_heal(c);
    for (unsigned i = 0; i < 10 * HEARTBEAT_TICKS; i++) {
        cluster_tick(c, 0);
        while (c->n_in_flight > 0 && !cluster_find(c, RAFT_SNAPSHOT, 0, node))
            cluster_deliver(c, 0);
        const struct raft_message *m = cluster_find(c, RAFT_SNAPSHOT, 0, node);
        if (!m)
            continue;
        struct raft_message copy = *m;
        cluster_drop_all(c); /* so it is a name only; the leader holds it */
        return copy;
    }
    fail_msg("no piece");
    return (struct raft_message){0};
}

/* An answer to the piece with this seq. */
static void reply(struct cluster *c, unsigned from, uint64_t seq, uint64_t id, uint64_t offset)
{
    struct raft_message m =
        cluster_message(RAFT_SNAPSHOT_REPLY, from, 0, cluster_status(c, 0).term, seq);
    m.snapshot_reply.id = id;
    m.snapshot_reply.offset = offset;
    assert_int_equal(cluster_receive(c, 0, &m), 0);
}

static void reply_installed(struct cluster *c, unsigned from, uint64_t seq, uint64_t match)
{
    struct raft_message m =
        cluster_message(RAFT_SNAPSHOT_REPLY, from, 0, cluster_status(c, 0).term, seq);
    m.snapshot_reply.installed = true;
    m.snapshot_reply.match = match;
    assert_int_equal(cluster_receive(c, 0, &m), 0);
}

/* The piece in flight to the node; NULL: none. */
static const struct raft_message *piece_to(const struct cluster *c, unsigned node)
{
    return cluster_find(c, RAFT_SNAPSHOT, 0, node);
}

/* Time passes at node 0, all that it sends is lost, until it sends a piece to the node. */
static unsigned ticks_until_piece(struct cluster *c, unsigned node, unsigned ticks_max)
{
    unsigned ticks = 0;
    while (!piece_to(c, node) && ticks < ticks_max) {
        cluster_drop_all(c);
        cluster_tick(c, 0);
        ticks++;
    }
    return ticks;
}

/* ---- who gets one ---- */

static void test_peers_behind_the_base_share_one_snapshot(void **state)
{
    (void)state;
    struct cluster *c = with_some_behind(5, 2);
    uint64_t last = cluster_status(c, 0).last.index;
    cluster_heal(c);
    cluster_run(c, 20 * HEARTBEAT_TICKS);
    assert_int_equal(c->nodes[0].n_wanted, 1);
    assert_int_equal(c->nodes[0].n_dropped, 1);
    for (unsigned i = 3; i < 5; i++) {
        assert_int_equal(c->nodes[i].n_installed, 1);
        assert_int_equal(c->nodes[i].applied, last);
        assert_false(peer_of(c, i).in_snapshot);
        assert_int_equal(peer_of(c, i).match, last);
    }
    cluster_write_entries(c, 0, 2);
    assert_int_equal(cluster_status(c, 4).last.index, last + 2);
    cluster_free(&c);
}

/* The second comes later, and has its own place in it. */
static void test_peer_that_comes_later_gets_the_same_snapshot(void **state)
{
    (void)state;
    struct cluster *c = with_some_behind(5, 2);
    struct raft_message m = first_piece(c, 3);
    reply(c, 3, m.seq, c->nodes[0].last_dropped, 0);
    uint64_t id = 0;
    cluster_drop_all(c);
    (void)ticks_until_piece(c, 3, 2 * LOST_AFTER);
    m = *piece_to(c, 3);
    id = m.snapshot.snapshot->id;
    reply(c, 3, m.seq, id, PIECE);
    assert_int_equal(peer_of(c, 3).snapshot_offset, PIECE);
    cluster_drop_all(c);
    cluster_cut_off(c, 3);
    cluster_run_node(c, 0, 0);
    for (unsigned i = 0; i < 20 * HEARTBEAT_TICKS && !piece_to(c, 4); i++) {
        cluster_tick(c, 0);
        while (c->n_in_flight > 0 && !piece_to(c, 4))
            cluster_deliver(c, 0);
    }
    assert_non_null(piece_to(c, 4));
    assert_int_equal(piece_to(c, 4)->snapshot.snapshot->id, id);
    assert_int_equal(piece_to(c, 4)->snapshot.offset, 0);
    assert_int_equal(peer_of(c, 3).snapshot_offset, PIECE);
    assert_int_equal(c->nodes[0].n_wanted, 1);
    cluster_free(&c);
}

/* A message lost says nothing of where the log of a peer ends. */
static void test_lost_appends_are_no_reason_for_a_snapshot(void **state)
{
    (void)state;
    struct cluster *c = cluster_new(1, 3, 3);
    c->snapshot_size = SIZE;
    cluster_settle(c);
    cluster_elect_node(c, 0);
    cluster_write_entries(c, 0, 5);
    cluster_run(c, 2 * HEARTBEAT_TICKS);
    for (unsigned i = 0; i < 3; i++)
        cluster_compact(c, i, 5);
    cluster_elect_node(c, 1); /* knows nothing of 2 yet */
    c->cut[1][2] = true;
    cluster_write_entries(c, 1, 2);
    cluster_run_node(c, 1, 3 * LOST_AFTER);
    raft_unreachable(c->nodes[1].core, cluster_id(2));
    cluster_run_node(c, 1, HEARTBEAT_TICKS);
    cluster_heal(c);
    cluster_run_node(c, 1, 8 * LOST_AFTER);
    assert_int_equal(cluster_status(c, 2).last.index, cluster_status(c, 1).last.index);
    assert_int_equal(c->nodes[1].n_wanted, 0);
    cluster_free(&c);
}

static void test_nobody_makes_a_snapshot_for_the_dead(void **state)
{
    (void)state;
    struct cluster *c = with_some_behind(3, 1);
    cluster_crash(c, 2);
    cluster_heal(c);
    for (unsigned i = 0; i < 10; i++) {
        cluster_run(c, ELECTION_TICKS_MAX);
        raft_unreachable(c->nodes[0].core, cluster_id(2));
        cluster_write_entries(c, 0, 1);
        cluster_compact(c, 0, UINT64_MAX);
    }
    assert_int_equal(c->nodes[0].n_wanted, 0);
    cluster_restart(c, 2);
    cluster_run(c, 20 * HEARTBEAT_TICKS);
    assert_int_equal(c->nodes[0].n_wanted, 1);
    assert_int_equal(c->nodes[2].applied, c->nodes[0].applied);
    cluster_free(&c);
}

static void test_snapshot_that_could_not_be_made_is_asked_for_later(void **state)
{
    (void)state;
    struct cluster *c = with_some_behind(3, 1);
    c->late_loads = true;
    cluster_heal(c);
    cluster_run(c, ELECTION_TICKS_MAX);
    assert_int_equal(c->nodes[0].n_wanted, 1);
    cluster_run(c, 2 * ELECTION_TICKS_MAX); /* the answer takes its time */
    assert_int_equal(c->nodes[0].n_wanted, 1);
    c->nodes[0].wants_snapshot = false;
    raft_snapshot_made(c->nodes[0].core, NULL);
    cluster_run(c, ELECTION_TICKS_MAX - 1);
    assert_int_equal(c->nodes[0].n_wanted, 1);
    cluster_run(c, 1);
    assert_int_equal(c->nodes[0].n_wanted, 2);
    c->late_loads = false;
    cluster_serve_loads(c, 0);
    cluster_run(c, 20 * HEARTBEAT_TICKS);
    assert_int_equal(c->nodes[2].n_installed, 1);
    cluster_free(&c);
}

/* The log has gone on while it was made: it leads to no entry that is left. */
static void test_snapshot_from_before_the_base_is_replaced(void **state)
{
    (void)state;
    struct cluster *c = with_some_behind(3, 1);
    c->late_loads = true;
    struct raft_snapshot old = {.id = 77, .size = SIZE};
    old.base.pos = (struct raft_pos){cluster_status(c, 0).term, cluster_status(c, 0).applied};
    old.base.config = *raft_config_committed(c->nodes[0].core, &old.base.config_pos);
    cluster_write_entries(c, 0, 2);
    cluster_compact(c, 0, UINT64_MAX);
    cluster_heal(c);
    cluster_run(c, ELECTION_TICKS_MAX);
    assert_int_equal(c->nodes[0].n_wanted, 1);
    c->nodes[0].wants_snapshot = false;
    struct raft_snapshot *made = raft_snapshot_new(&old);
    raft_snapshot_made(c->nodes[0].core, made);
    raft_snapshot_unref(&made);
    cluster_run(c, 2);
    assert_int_equal(c->nodes[0].n_wanted, 2);
    c->late_loads = false;
    cluster_serve_loads(c, 0);
    assert_int_equal(c->nodes[0].last_dropped, 77);
    cluster_run(c, 20 * HEARTBEAT_TICKS);
    assert_int_equal(c->nodes[2].n_installed, 1);
    assert_int_equal(c->nodes[2].applied, c->nodes[0].applied);
    cluster_free(&c);
}

static void test_snapshot_that_nobody_needs_any_more_is_dropped(void **state)
{
    (void)state;
    struct cluster *c = with_some_behind(3, 0);
    struct raft_snapshot s = {.id = 77, .size = SIZE};
    s.base.pos = (struct raft_pos){cluster_status(c, 0).term, cluster_status(c, 0).applied};
    s.base.config = *raft_config_committed(c->nodes[0].core, &s.base.config_pos);
    for (unsigned node = 0; node < 2; node++) { /* of a leader, and of a follower */
        struct raft_snapshot *made = raft_snapshot_new(&s);
        raft_snapshot_made(c->nodes[node].core, made);
        raft_snapshot_unref(&made);
        cluster_pump(c, node);
        assert_int_equal(c->nodes[node].n_dropped, 1);
        assert_int_equal(c->nodes[node].last_dropped, 77);
    }
    cluster_free(&c);
}

/* ---- pieces ---- */

static void test_piece_follows_on_the_one_before(void **state)
{
    (void)state;
    struct cluster *c = with_some_behind(3, 1);
    (void)first_piece(c, 2);
    for (uint64_t at = 0; at < SIZE; at += PIECE) {
        (void)ticks_until_piece(c, 2, 2 * LOST_AFTER);
        const struct raft_message *m = piece_to(c, 2);
        assert_int_equal(m->snapshot.offset, at);
        assert_int_equal(m->snapshot.len, SIZE - at < PIECE ? SIZE - at : PIECE);
        assert_null(m->snapshot.data);
        uint64_t seq = m->seq, id = m->snapshot.snapshot->id;
        cluster_drop_all(c);
        cluster_pump(c, 0);
        assert_null(piece_to(c, 2)); /* one at a time */
        reply(c, 2, seq, id, at + PIECE < SIZE ? at + PIECE : SIZE);
    }
    assert_int_equal(piece_to(c, 2)->snapshot.offset, SIZE); /* how far is it? */
    assert_int_equal(piece_to(c, 2)->snapshot.len, 0);
    cluster_free(&c);
}

static void test_piece_has_a_megabyte_when_nothing_else_is_said(void **state)
{
    (void)state;
    struct raft_options o = cluster_default_options();
    o.snapshot_bytes_max = 0;
    struct cluster *c = cluster_new_with(1, 3, 3, &o);
    c->snapshot_size = (uint64_t)3 << 20;
    cluster_settle(c);
    cluster_elect_node(c, 0);
    cluster_cut_off(c, 2);
    cluster_write_entries(c, 0, 3);
    cluster_compact(c, 0, UINT64_MAX);
    struct raft_message m = first_piece(c, 2);
    assert_int_equal(m.snapshot.len, 1 << 20);
    cluster_free(&c);
}

/* 32 */
static void test_lost_piece_is_sent_again_in_its_place(void **state)
{
    (void)state;
    struct cluster *c = with_some_behind(3, 1);
    struct raft_message m = first_piece(c, 2);
    assert_int_equal(ticks_until_piece(c, 2, 2 * LOST_AFTER), LOST_AFTER + 1);
    assert_int_equal(piece_to(c, 2)->snapshot.offset, 0);
    assert_true(piece_to(c, 2)->seq > m.seq);
    cluster_free(&c);
}

static void test_transfer_goes_on_where_it_was_after_a_lost_connection(void **state)
{
    (void)state;
    struct cluster *c = with_some_behind(3, 1);
    (void)first_piece(c, 2);
    (void)ticks_until_piece(c, 2, 2 * LOST_AFTER);
    struct raft_message m = *piece_to(c, 2);
    reply(c, 2, m.seq, m.snapshot.snapshot->id, PIECE);
    cluster_drop_all(c);
    raft_unreachable(c->nodes[0].core, cluster_id(2));
    cluster_pump(c, 0);
    assert_null(piece_to(c, 2)); /* not at once: it would be refused at once */
    assert_int_equal(ticks_until_piece(c, 2, LOST_AFTER), HEARTBEAT_TICKS);
    assert_int_equal(piece_to(c, 2)->snapshot.offset, PIECE);
    assert_int_equal(peer_of(c, 2).snapshot_offset, PIECE);
    cluster_free(&c);
}

/* 32: only what is about the piece in flight says where the peer is. */
static void test_answers_to_other_pieces_change_nothing(void **state)
{
    (void)state;
    struct cluster *c = with_some_behind(3, 1);
    (void)first_piece(c, 2);
    (void)ticks_until_piece(c, 2, 2 * LOST_AFTER);
    struct raft_message m = *piece_to(c, 2);
    uint64_t id = m.snapshot.snapshot->id;
    cluster_drop_all(c);
    reply(c, 2, m.seq - 1, id, 2 * PIECE);                             /* an old one */
    reply(c, 2, m.seq, id + 1, 2 * PIECE);                             /* another snapshot */
    reply(c, 2, m.seq + 1000, id, 2 * PIECE);                          /* not sent yet */
    reply(c, 2, 1, id, 2 * PIECE);                                     /* of an earlier life */
    reply(c, 5, m.seq, id, 2 * PIECE);                                 /* a stranger */
    reply_installed(c, 2, m.seq, cluster_status(c, 0).last.index + 1); /* what nobody has */
    assert_null(piece_to(c, 2));
    assert_true(peer_of(c, 2).in_snapshot);
    assert_int_equal(peer_of(c, 2).snapshot_offset, 0);
    reply(c, 2, m.seq, id, SIZE + 1); /* beyond its end: asked again */
    assert_int_equal(piece_to(c, 2)->snapshot.offset, 0);
    m = *piece_to(c, 2);
    cluster_drop_all(c);
    reply(c, 2, m.seq, id, PIECE);
    assert_int_equal(piece_to(c, 2)->snapshot.offset, PIECE);
    cluster_drop_all(c);
    reply(c, 2, m.seq, id, 2 * PIECE); /* the same answer twice */
    assert_null(piece_to(c, 2));
    assert_int_equal(peer_of(c, 2).snapshot_offset, PIECE);
    cluster_free(&c);
}

/* It has lost them, or found them damaged. */
static void test_peer_that_has_nothing_gets_it_from_the_beginning(void **state)
{
    (void)state;
    struct cluster *c = with_some_behind(3, 1);
    (void)first_piece(c, 2);
    (void)ticks_until_piece(c, 2, 2 * LOST_AFTER);
    struct raft_message m = *piece_to(c, 2);
    reply(c, 2, m.seq, m.snapshot.snapshot->id, 2 * PIECE);
    m = *piece_to(c, 2);
    cluster_drop_all(c);
    reply(c, 2, m.seq, m.snapshot.snapshot->id, 0);
    assert_int_equal(piece_to(c, 2)->snapshot.offset, 0);
    cluster_free(&c);
}

/* It is busy with what it has: no sooner than a heartbeat later. */
static void test_busy_peer_is_asked_once_per_heartbeat(void **state)
{
    (void)state;
    struct cluster *c = with_some_behind(3, 1);
    (void)first_piece(c, 2);
    (void)ticks_until_piece(c, 2, 2 * LOST_AFTER);
    for (unsigned i = 0; i < 5; i++) {
        struct raft_message m = *piece_to(c, 2);
        uint64_t id = m.snapshot.snapshot->id;
        cluster_drop_all(c);
        reply(c, 2, m.seq, id, 0);
        assert_int_equal(ticks_until_piece(c, 2, LOST_AFTER), HEARTBEAT_TICKS);
    }
    cluster_free(&c);
}

/* ---- the end of it ---- */

/* 33: it need not be this snapshot that closes the gap. */
static void test_any_answer_that_reaches_the_base_ends_the_transfer(void **state)
{
    (void)state;
    for (unsigned way = 0; way < 3; way++) {
        struct cluster *c = with_some_behind(3, 1);
        struct raft_message m = first_piece(c, 2);
        struct raft_status s = cluster_status(c, 0);
        assert_true(peer_of(c, 2).in_snapshot && s.base.index < s.last.index);
        uint64_t match = way == 1 ? s.last.index : s.base.index;
        if (way < 2) {
            reply_installed(c, 2, m.seq, match);
        } else {
            struct raft_message late = cluster_message(RAFT_APPEND_REPLY, 2, 0, s.term, m.seq);
            late.append_reply.success = true;
            late.append_reply.match = match;
            assert_int_equal(cluster_receive(c, 0, &late), 0);
        }
        assert_false(peer_of(c, 2).in_snapshot);
        assert_int_equal(peer_of(c, 2).match, match);
        assert_int_equal(c->nodes[0].n_dropped, 1);
        const struct raft_message *next = cluster_find(c, RAFT_APPEND, 0, 2);
        assert_true(way == 1 || (next && next->append.prev.index == match));
        cluster_free(&c);
    }
}

/* It has installed an older one, of an earlier leader: that is not enough. */
static void test_install_that_ends_below_the_base_does_not_end_the_transfer(void **state)
{
    (void)state;
    struct cluster *c = with_some_behind(3, 1);
    struct raft_message m = first_piece(c, 2);
    uint64_t match = cluster_status(c, 0).base.index - 1;
    reply_installed(c, 2, m.seq, match);
    assert_true(peer_of(c, 2).in_snapshot);
    assert_int_equal(peer_of(c, 2).match, match);
    cluster_run(c, 20 * HEARTBEAT_TICKS);
    assert_int_equal(c->nodes[2].n_installed, 1);
    cluster_free(&c);
}

static void test_compaction_waits_for_the_snapshot_that_is_being_sent(void **state)
{
    (void)state;
    struct cluster *c = with_some_behind(3, 1);
    uint64_t at = cluster_status(c, 0).applied;
    (void)first_piece(c, 2);
    cluster_cut_off(c, 2);
    cluster_write_entries(c, 0, 3);
    cluster_compact(c, 0, UINT64_MAX);
    assert_int_equal(cluster_status(c, 0).base.index, at); /* where the snapshot ends */
    cluster_heal(c);
    cluster_run(c, 20 * HEARTBEAT_TICKS);
    assert_int_equal(c->nodes[2].n_installed, 1);
    assert_int_equal(c->nodes[2].applied, at + 3);
    cluster_compact(c, 0, UINT64_MAX);
    assert_int_equal(cluster_status(c, 0).base.index, at + 3);
    cluster_free(&c);
}

static void test_transfer_to_a_peer_that_died_is_given_up(void **state)
{
    (void)state;
    struct cluster *c = with_some_behind(3, 1);
    (void)first_piece(c, 2);
    cluster_crash(c, 2);
    cluster_run(c, (PATIENCE - 1) * ELECTION_TICKS_MAX);
    assert_true(peer_of(c, 2).in_snapshot);
    assert_int_equal(c->nodes[0].n_dropped, 0);
    cluster_run(c, 2 * ELECTION_TICKS_MAX);
    assert_false(peer_of(c, 2).in_snapshot);
    assert_int_equal(c->nodes[0].n_dropped, 1);
    assert_int_equal(c->nodes[0].n_wanted, 1);
    cluster_restart(c, 2);
    cluster_run(c, 30 * HEARTBEAT_TICKS);
    assert_int_equal(c->nodes[2].n_installed, 1);
    cluster_free(&c);
}

static void test_leader_that_steps_down_drops_its_snapshot(void **state)
{
    (void)state;
    struct cluster *c = with_some_behind(3, 1);
    (void)first_piece(c, 2);
    raft_step_down(c->nodes[0].core);
    cluster_pump(c, 0);
    assert_int_equal(c->nodes[0].n_dropped, 1);
    cluster_compact(c, 0, UINT64_MAX); /* nobody is to be considered */
    assert_int_equal(cluster_status(c, 0).base.index, cluster_status(c, 0).applied);
    raft_step_down(c->nodes[0].core); /* it leads nobody */
    assert_int_equal(raft_effects(c->nodes[0].core)->role_changed, false);
    cluster_free(&c);
}

static void test_peer_that_is_removed_in_the_middle_needs_no_snapshot(void **state)
{
    (void)state;
    struct cluster *c = with_some_behind(4, 1);
    (void)first_piece(c, 3);
    cluster_cut_off(c, 3);
    struct raft_change gone = cluster_wish(RAFT_REMOVE, 3);
    assert_int_equal(cluster_change(c, 0, &gone, 1), 0);
    cluster_run(c, 4 * HEARTBEAT_TICKS);
    assert_int_equal(raft_config(c->nodes[0].core, NULL)->n_members, 3);
    assert_int_equal(c->nodes[0].n_dropped, 1);
    cluster_free(&c);
}

/* ---- all the rest goes on ---- */

/* With the third node down, it is the quorum. */
static void test_peer_in_need_of_a_snapshot_confirms_reads_and_leadership(void **state)
{
    (void)state;
    struct cluster *c = with_some_behind(3, 1);
    (void)first_piece(c, 2);
    c->late_loads = true; /* it never writes the piece */
    cluster_crash(c, 1);
    uint64_t ctx = cluster_read(c, 0);
    cluster_settle(c);
    assert_non_null(cluster_read_result(c, 0, ctx));
    assert_int_equal(cluster_read_result(c, 0, ctx)->err, 0);
    cluster_run(c, 10 * ELECTION_TICKS_MAX);
    assert_int_equal(cluster_leader(c), 0);
    assert_true(peer_of(c, 2).in_snapshot);
    struct raft_pos pos;
    assert_int_equal(cluster_propose(c, 0, &pos), 0);
    cluster_run(c, 4 * HEARTBEAT_TICKS);
    assert_true(cluster_status(c, 0).commit < pos.index); /* it has no entries to count */
    c->late_loads = false;
    cluster_serve_loads(c, 2);
    cluster_run(c, 20 * HEARTBEAT_TICKS);
    assert_int_equal(cluster_status(c, 0).commit, pos.index);
    cluster_free(&c);
}

static void test_transfer_of_leadership_to_a_peer_in_need_of_a_snapshot_ends(void **state)
{
    (void)state;
    struct cluster *c = with_some_behind(3, 1);
    (void)first_piece(c, 2);
    c->late_loads = true;
    assert_int_equal(cluster_transfer(c, 0, cluster_id(2)), 0);
    cluster_run_node(c, 0, ELECTION_TICKS_MAX + 1);
    assert_true(uuid_is_zero(cluster_status(c, 0).transfer_to));
    assert_int_equal(cluster_leader(c), 0);
    c->late_loads = false;
    cluster_serve_loads(c, 2);
    assert_int_equal(cluster_transfer(c, 0, cluster_id(2)), 0);
    cluster_run_node(c, 0, ELECTION_TICKS_MAX - 1); /* time enough, when it is quick */
    assert_int_equal(cluster_leader(c), 2);
    cluster_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_peers_behind_the_base_share_one_snapshot),
        cmocka_unit_test(test_peer_that_comes_later_gets_the_same_snapshot),
        cmocka_unit_test(test_lost_appends_are_no_reason_for_a_snapshot),
        cmocka_unit_test(test_nobody_makes_a_snapshot_for_the_dead),
        cmocka_unit_test(test_snapshot_that_could_not_be_made_is_asked_for_later),
        cmocka_unit_test(test_snapshot_from_before_the_base_is_replaced),
        cmocka_unit_test(test_snapshot_that_nobody_needs_any_more_is_dropped),
        cmocka_unit_test(test_piece_follows_on_the_one_before),
        cmocka_unit_test(test_piece_has_a_megabyte_when_nothing_else_is_said),
        cmocka_unit_test(test_lost_piece_is_sent_again_in_its_place),
        cmocka_unit_test(test_transfer_goes_on_where_it_was_after_a_lost_connection),
        cmocka_unit_test(test_answers_to_other_pieces_change_nothing),
        cmocka_unit_test(test_peer_that_has_nothing_gets_it_from_the_beginning),
        cmocka_unit_test(test_busy_peer_is_asked_once_per_heartbeat),
        cmocka_unit_test(test_any_answer_that_reaches_the_base_ends_the_transfer),
        cmocka_unit_test(test_install_that_ends_below_the_base_does_not_end_the_transfer),
        cmocka_unit_test(test_compaction_waits_for_the_snapshot_that_is_being_sent),
        cmocka_unit_test(test_transfer_to_a_peer_that_died_is_given_up),
        cmocka_unit_test(test_leader_that_steps_down_drops_its_snapshot),
        cmocka_unit_test(test_peer_that_is_removed_in_the_middle_needs_no_snapshot),
        cmocka_unit_test(test_peer_in_need_of_a_snapshot_confirms_reads_and_leadership),
        cmocka_unit_test(test_transfer_of_leadership_to_a_peer_in_need_of_a_snapshot_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
