/* SPDX-License-Identifier: MIT
 * One slice of a merge: a transaction that brings some records of one or more
 * runs into the state, and the mark with them. One error sticks: write everything, then
 * look at what state_write_commit() says.
 */
#ifndef STORE_STATE_WRITE_H
#define STORE_STATE_WRITE_H

#include "store/state_db.h"

struct state_write {
    struct state_db *db; /* borrowed */
    MDB_txn *txn;
    MDB_cursor *keys;
    struct state_mark mark; /* as it will be */
    size_t bytes, bytes_max;
    bool packs;         /* see state_write_begin() */
    struct buf taken;   /* records taken out of the table, to be put back in order */
    size_t taken_at;    /* those before are back */
    struct buf *reason; /* borrowed; has one line after an error */
    bool map_full;      /* the reason of NO_SPACE is the map's size */
    int err;            /* 0, NO_SPACE, CORRUPT, IO ... */
};

/* Begins after *mark, in runs of which the newest is last_seq. bytes_max is about what the slice
 * may write; it may always write something. Never two at a time.
 *
 * packs: fills pages. LMDB splits a full page in the middle, so that after many
 * insertions a third of the file would be empty; but where keys come in
 * ascending order at the end of a page, it is left full. So where a record needs
 * room, the thousand after it are taken out and put back with it in order. Costs
 * as much as writing them: for runs that are not small beside the state. */
void state_write_begin(struct state_write *w, struct state_db *db, const struct state_mark *mark,
                       uint64_t last_seq, size_t bytes_max, bool packs, struct buf *reason);
/* Brings in the record that follows the mark's key in these runs. False: no room was left for the
 * whole of it, or an error; the next slice must go on with the same record. */
bool state_write_record(struct state_write *w, const struct kv_record *record);
/* After the last record: the newest run's meta, likewise, and if all of it fitted they are merged.
 */
bool state_write_end_runs(struct state_write *w, struct kv_pos pos, const void *meta,
                          size_t meta_len);
/* Durable with *ret_mark as the new mark, or nothing was written and an error. */
MUST_CHECK int state_write_commit(struct state_write *w, struct state_mark *ret_mark);
void state_write_abort(struct state_write *w);

#endif
