/* SPDX-License-Identifier: MIT
 * Leaders that are played.
 */
#include "raft_pieces.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

struct cluster *pieces_follower(void)
{
    struct cluster *c = cluster_new(1, 3, 0);
    c->by_hand = c->late_loads = c->late_disk[0] = true;
    c->snapshot_size = SIZE;
    return c;
}

struct raft_snapshot *pieces_snapshot(uint64_t id, struct raft_pos pos)
{
    struct raft_snapshot s = {.id = id, .size = SIZE};
    s.base.pos = pos;
    s.base.config_pos = POS(1, 1);
    s.base.config.n_members = 3;
    for (unsigned i = 0; i < 3; i++) {
        s.base.config.members[i] = cluster_member(i);
        s.base.config.members[i].roles = RAFT_VOTER;
    }
    return raft_snapshot_new(&s);
}

uint64_t pieces_last_seq;

int pieces_send(struct cluster *c, unsigned from, uint64_t term, struct raft_snapshot *s,
                uint64_t offset, uint32_t len)
{
    uint8_t bytes[SIZE];
    struct raft_message m = cluster_message(RAFT_SNAPSHOT, from, 0, term, ++pieces_last_seq);
    m.snapshot.snapshot = s;
    m.snapshot.offset = offset;
    m.snapshot.len = len;
    cluster_fill_piece(&m, bytes, sizeof bytes);
    return cluster_receive(c, 0, &m);
}

void pieces_take(struct cluster *c, unsigned from, uint64_t term, struct raft_snapshot *s,
                 uint64_t offset, uint32_t len)
{
    assert_int_equal(pieces_send(c, from, term, s, offset, len), 0);
}

struct raft_message pieces_answer(struct cluster *c, unsigned to)
{
    const struct raft_message *m = cluster_find(c, RAFT_SNAPSHOT_REPLY, 0, to);
    assert_non_null(m);
    struct raft_message copy = *m;
    assert_int_equal(copy.seq, pieces_last_seq);
    cluster_drop_all(c);
    return copy;
}

void pieces_expect(struct cluster *c, unsigned to, uint64_t offset)
{
    struct raft_message m = pieces_answer(c, to);
    assert_false(m.snapshot_reply.installed);
    assert_int_equal(m.snapshot_reply.offset, offset);
}

bool pieces_none_answered(struct cluster *c)
{
    return c->n_in_flight == 0;
}

void pieces_take_and_write(struct cluster *c, unsigned from, uint64_t term, struct raft_snapshot *s,
                           uint64_t offset, uint32_t len)
{
    pieces_take(c, from, term, s, offset, len);
    cluster_write(c, 0, UINT32_MAX); /* the term */
    cluster_serve_loads(c, 0);
    pieces_expect(c, from, offset + len);
}

void pieces_take_all(struct cluster *c, unsigned from, uint64_t term, struct raft_snapshot *s)
{
    for (uint64_t at = 0; at < SIZE; at += PIECE)
        pieces_take_and_write(c, from, term, s, at,
                              at + PIECE < SIZE ? PIECE : (uint32_t)(SIZE - at));
}

void pieces_append(struct cluster *c, unsigned from, uint64_t term, struct raft_pos prev,
                   unsigned n, uint64_t commit)
{
    struct raft_entry *entries[32];
    for (unsigned i = 0; i < n; i++) {
        entries[i] = raft_entry_new(RAFT_ENTRY_COMMAND, POS(term, prev.index + 1 + i), 8);
        for (unsigned k = 0; k < 8; k++)
            entries[i]->data[k] = 0;
    }
    struct raft_message m = cluster_message(RAFT_APPEND, from, 0, term, ++pieces_last_seq);
    m.append.prev = prev;
    m.append.entries = entries;
    m.append.n_entries = n;
    m.append.commit = commit;
    assert_int_equal(cluster_receive(c, 0, &m), 0);
    for (unsigned i = 0; i < n; i++)
        raft_entry_unref(&entries[i]);
}

void pieces_finish(struct cluster **c, struct raft_snapshot **s)
{
    raft_snapshot_unref(s);
    cluster_free(c);
}
