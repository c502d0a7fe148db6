/* SPDX-License-Identifier: MIT
 * raft/: snapshots of which a peer has every piece, and which are of no use to
 * it: damaged, here or there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "raft_cluster.h"

enum { SIZE = 200, LOST_AFTER = 4 * HEARTBEAT_TICKS };

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

/* Piece by piece to the last one, which the peer answers by beginning anew. */
static void send_in_vain(struct cluster *c, struct raft_message *piece)
{
    while (piece->snapshot.offset + piece->snapshot.len < SIZE) {
        reply(c, 2, piece->seq, piece->snapshot.snapshot->id,
              piece->snapshot.offset + piece->snapshot.len);
        *piece = *cluster_find(c, RAFT_SNAPSHOT, 0, 2);
        cluster_drop_all(c);
    }
    reply(c, 2, piece->seq, piece->snapshot.snapshot->id, 0);
}

/* Its file may be damaged here: to send it again and again would help nobody. */
static void test_snapshot_that_is_useless_twice_is_made_again(void **state)
{
    (void)state;
    struct cluster *c = with_some_behind(3, 1);
    struct raft_message piece = first_piece(c, 2);
    uint64_t first_id = piece.snapshot.snapshot->id;
    unsigned n_wanted = c->nodes[0].n_wanted;
    send_in_vain(c, &piece);
    piece = *cluster_find(c, RAFT_SNAPSHOT, 0, 2);
    cluster_drop_all(c);
    assert_true(piece.snapshot.snapshot->id == first_id); /* it may have been the peer's disk */
    assert_int_equal(piece.snapshot.offset, 0);
    send_in_vain(c, &piece);
    assert_true(c->nodes[0].last_dropped == first_id);
    cluster_run(c, 10 * HEARTBEAT_TICKS);
    assert_int_equal(c->nodes[0].n_wanted, n_wanted + 1);
    assert_int_equal(c->nodes[2].n_installed, 1);
    cluster_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshot_that_is_useless_twice_is_made_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
