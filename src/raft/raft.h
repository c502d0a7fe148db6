/* SPDX-License-Identifier: MIT
 * The consensus core: a machine without side effects. It has no threads,
 * clocks, files, sockets or log lines. The caller feeds it inputs, then takes
 * its effects and carries them out:
 *
 *      message, tick, proposal, change, read,       entries + hard state to persist
 *      transfer, persisted, entries loaded,  --->   messages to send, entries to apply
 *      log compacted, snapshot made,                reads to serve, entries to load, role
 *      piece of a snapshot written                  snapshot to make, to write, to install
 *
 * The same inputs in the same order always give the same effects: time comes
 * as ticks, randomness from the seed.
 *
 * The embedder's duties, all of them:
 *
 *  1. After every input (or a batch of them) call raft_effects() once and carry
 *     out what it returns before the next input's effects.
 *  2. Carry out `persist` records in their order, each as one atomic, durable
 *     write: truncate, append, hard state. When one is durable, say so by
 *     raft_persisted(). Several may be made durable together. A write that
 *     fails ends the process: there is no way to report it.
 *  3. Messages may be sent at once and in any order, also before `persist` is
 *     durable: whatever depends on durability is held back by the core until
 *     raft_persisted(). They may be lost, repeated, delayed and reordered.
 *  4. Apply `apply` entries to the state machine in order.
 *  5. Feed raft_receive() only messages for this cluster, this node and this
 *     incarnation of it, from members of the incarnation that the configuration
 *     names (PITFALLS 41, 59).
 *  6. Time first: call raft_tick() for the ticks that have passed before anything
 *     that came meanwhile is looked at (PITFALLS 58), and never for more than
 *     have passed. After a long pause 2 * election_ticks_max of them will do.
 *
 *  7. An embedder that calls raft_compact() also makes snapshots for those who
 *     come too late for the log: see "snapshots" below. One that never does
 *     will never be asked for any, if all nodes are alike.
 *
 * tests/example/three_nodes.c is a complete embedding in a hundred lines.
 *
 * What the core remembers of the log: for every entry its term (as runs), the
 * configurations that may still be needed, and the entries themselves as far
 * as they are not persisted, not applied, or recent (cache_bytes). A follower
 * that needs older ones makes the core ask for them by a `load` effect. One that
 * needs entries from before the log's base gets a snapshot.
 *
 * A configuration is in force as soon as it is in the log (dissertation 4.1).
 * Rules follow the Raft dissertation, chapters 3, 4, 6, 9 and 10, and what
 * etcd-io/raft learned since; PITFALLS names the schedules.
 */
#ifndef RAFT_RAFT_H
#define RAFT_RAFT_H

#include "base/err.h"
#include "raft/config.h"
#include "raft/snapshot.h"
#include "raft/types.h"

struct raft; /* opaque */

struct raft_options {
    struct uuid id;
    unsigned heartbeat_ticks;     /* leader's interval, at least 1 */
    unsigned election_ticks_min;  /* a follower waits a random number of ticks */
    unsigned election_ticks_max;  /* in [min, max] before it campaigns */
    unsigned append_entries_max;  /* entries in one append */
    size_t append_bytes_max;      /* bytes in one append (one entry always fits) */
    unsigned window;              /* appends with entries in flight to one follower, at least 1 */
    size_t cache_bytes;           /* recent entries kept in memory */
    size_t uncommitted_bytes_max; /* proposals beyond this are OVERLOADED */
    uint32_t snapshot_bytes_max;  /* of a snapshot in one message; 0: 1 MiB */
    unsigned disk_stall_ticks;    /* a disk that owes a record and completes none for so long is
                                     stalled: its node does not lead; 0: never */
    unsigned clock_drift_ticks;   /* by so much two clocks differ at most over election_ticks_min;
                                     0: neither gives promises for lease reads nor uses any. All
                                     nodes alike; a change needs a pause of election_ticks_max
                                     between the stop and the start of a node */
    uint64_t seq_first;           /* above every seq used before a restart: boot count << 40 */
    uint64_t seed;
};

/* ---- life ---- */

/* A core that knows nothing yet. Next: raft_restore_* in this order, then raft_start(). */
struct raft *raft_new(const struct raft_options *options);
/* Frees *r with all it holds and nulls the pointer; NULL is accepted. */
void raft_free(struct raft **r);

/* Where the durable log begins: the last raft_persist.base; optional. */
void raft_restore_base(struct raft *r, const struct raft_base *base);
/* applied <= hs.commit: the caller's state machine will hold everything up to
 * there when raft_start() is called, so the core need not keep it in memory. */
void raft_restore_hard_state(struct raft *r, struct raft_hard_state hs, uint64_t applied);
/* The durable log, entry by entry, in order. Takes its own reference if it
 * needs one. CORRUPT when index or term do not follow on, or a configuration
 * does not decode. */
MUST_CHECK int raft_restore_entry(struct raft *r, struct raft_entry *e);
/* Restoring is over. Entries after `applied` come out as `apply` effects once
 * they are committed. */
void raft_start(struct raft *r);

/* Makes an empty, started core the first member of a new cluster: appends the
 * configuration at index 1, term 1, and campaigns at once when it is the only
 * voter. NOT_ALLOWED when the log or term is not empty. */
MUST_CHECK int raft_bootstrap(struct raft *r, const struct raft_config *config);

/* ---- inputs ---- */

void raft_tick(struct raft *r);
/* Borrows m; takes its own references to entries. Messages that cannot be
 * right (unknown type, entries that do not follow on) are INVALID and change nothing. */
MUST_CHECK int raft_receive(struct raft *r, const struct raft_message *m);
/* Proposes n commands as one batch. entries[i] is of type COMMAND with one
 * reference, which the core takes on success; it sets their pos. All or none:
 * NOT_LEADER, OVERLOADED, IN_PROGRESS (a transfer of leadership is under way: nothing is
 * attempted, ask again when status.transfer_to is zero). On success *ret_first is the position of
 * the first. */
MUST_CHECK int raft_propose(struct raft *r, struct raft_entry *entries[], unsigned n,
                            struct raft_pos *ret_first);
/* Proposes a change of the configuration: at once when it touches only
 * learners, else joint with automatic leaving, whatever the difference. Errors: NOT_LEADER,
 * IN_PROGRESS (another change is not committed, a joint configuration not left,
 * no entry of the own term committed yet: PITFALLS 35, 36; or leadership is being
 * transferred), and those of
 * raft_config_*. *ret_pos: position of the entry; changes that change nothing
 * give 0 and {0,0}. */
MUST_CHECK int raft_change_config(struct raft *r, const struct raft_change changes[], unsigned n,
                                  struct raft_pos *ret_pos);
/* Asks for a linearizable read. One `reads` effect with this ctx will follow,
 * with an index or an error (NO_LEADER, NOT_LEADER); a follower's question or
 * its answer may be lost on the way, then nothing follows: ask again with a
 * new ctx. ctx must not be in use. */
void raft_read(struct raft *r, uint64_t ctx);
/* The same, without asking anybody when a lease says that nobody else can lead
 * (PITFALLS 46). The ticks must be made up for after the question was taken in
 * and before this is called. Anywhere but at a leader with a lease it is raft_read(). */
void raft_read_lease(struct raft *r, uint64_t ctx);
/* The persist record with this seq, and all before it, are durable. */
void raft_persisted(struct raft *r, uint64_t persist_seq);
/* Answer to a `load` effect: consecutive entries from load.first on, at least
 * one, borrowed; n = 0: they could not be read. Ignored when out of date. */
void raft_loaded(struct raft *r, struct uuid peer, struct raft_entry *entries[], unsigned n);

/* ---- snapshots ----
 *
 * Leader:    fx.snapshot_wanted -> raft_snapshot_made() -> messages of type SNAPSHOT, whose bytes
 *            the embedder reads from the snapshot when it sends them. All peers in need share
 *            one; fx.dropped names it when nobody needs it any more.
 * Follower:  fx.piece -> raft_piece_written(), again and again. The embedder verifies the whole
 *            before it reports the last piece. Then fx.persist.install: the log is emptied and
 *            the state machine replaced in one atomic, durable step, and only after that
 *            raft_persisted(). fx.dropped: it came to nothing.
 * A transfer goes on after a lost connection where it was, and starts anew when the leader or
 * the follower does. */

/* The state up to index is durable without the log, which may begin after that. Only what is
 * applied, durable, and not needed after a snapshot that is being sent is let go. The new base
 * comes out with the next persist record; the embedder deletes entries up to there in its
 * own time after that is durable. */
void raft_compact(struct raft *r, uint64_t index);
/* Answer to snapshot_wanted: takes a reference of its own. NULL: none could be made, the core
 * will ask again. What is not needed (any more) is dropped at once. */
void raft_snapshot_made(struct raft *r, struct raft_snapshot *s);
/* Answer to a `piece` effect. ok is false when the pieces do not make up the snapshot: it begins
 * anew. */
void raft_piece_written(struct raft *r, uint64_t snapshot_id, uint64_t offset, bool ok);

/* ---- more inputs ---- */

/* A message to this peer was lost for certain (connection refused, reset). */
void raft_unreachable(struct raft *r, struct uuid peer);
/* The disk of this node is full, or has room again. The others are told, and no leadership is
 * taken over while it is; nothing is refused here. status.full says what should be. */
void raft_set_full(struct raft *r, bool full);
/* Hands leadership over to this voter, zero: to the one with the longest log of
 * those that answer and have room on their disks. 0 means that it has begun: until it is over,
 * which it is after election_ticks_max at the latest, proposals are refused. Then there is another
 * leader, or this one leads on; status.transfer_to tells. Errors: NOT_LEADER, NOT_FOUND (no such
 * member, or none that answers), NOT_ALLOWED (this node, a learner, or about to lose its vote),
 * IN_PROGRESS (to another). */
MUST_CHECK int raft_transfer(struct raft *r, struct uuid to);
/* Gives up leadership, if any (an orderly stop that found nobody to hand over to). */
void raft_step_down(struct raft *r);

/* ---- effects ---- */

struct raft_persist {
    uint64_t seq;                      /* 0: nothing to persist; else 1, 2, 3, ... */
    struct raft_hard_state hard_state; /* always the current one */
    struct raft_snapshot *install;     /* first, unless NULL: delete the whole log, and replace the
                                          state machine by this, in the same step (PITFALLS 25) */
    const struct raft_base *base;      /* unless NULL: the log begins there now, if it did not
                                          before; always with `install` */
    uint64_t truncate_from;            /* delete entries from this index on; 0: none */
    struct raft_entry **entries; /* append these after that, borrowed: reference what you keep */
    unsigned n_entries;
};

/* To be written at this place of this snapshot, of which everything before was. The first piece
 * begins it, whatever was there of an earlier try. */
struct raft_piece {
    struct raft_snapshot *snapshot;
    uint64_t offset;
    const uint8_t *data; /* borrowed */
    uint32_t len;
};

struct raft_read_result {
    uint64_t ctx;
    int err;              /* 0, ERR_NO_LEADER or ERR_NOT_LEADER */
    uint64_t index;       /* err == 0: serve once applied >= index */
    uint64_t lease_ticks; /* 0: confirmed by a quorum. Else by lease: answer within so many ticks,
                             or ask again by raft_read() */
};

struct raft_load {
    struct uuid peer;
    uint64_t first;   /* index */
    unsigned n_max;   /* entries */
    size_t bytes_max; /* the first entry always fits */
};

struct raft_effects {
    struct raft_persist persist;
    struct raft_message *messages; /* with entries borrowed */
    unsigned n_messages;
    struct raft_entry **apply; /* committed, consecutive, borrowed */
    unsigned n_apply;
    struct raft_read_result *reads;
    unsigned n_reads;
    struct raft_load *loads;
    unsigned n_loads;
    const struct raft_piece *piece; /* NULL: none */
    bool snapshot_wanted;           /* of the state as it is now */
    const uint64_t *dropped;        /* ids of snapshots that are needed no more; comes before
                                       `piece` */
    unsigned n_dropped;
    /* Role, term or leader differ from the last time; see raft_status(). Whoever
     * waits for proposals made in an earlier term learns now that the outcome
     * is unknown, unless they are among `apply` (PITFALLS 50, 51). */
    bool role_changed;
    bool config_changed; /* the configuration in force, or whether it is committed */
    bool peer_lost_data; /* leader: of one more peer; see raft_peer() */
};

/* Takes everything that is to be done. What it points to stays valid until the
 * next call of any raft_ function that is not a question. */
const struct raft_effects *raft_effects(struct raft *r);

/* ---- questions ---- */

struct raft_status {
    enum raft_role role;
    uint64_t term;
    struct uuid leader;   /* zero: not known */
    struct raft_pos base; /* the log begins after this */
    struct raft_pos last; /* end of the log */
    uint64_t commit;
    uint64_t applied;        /* handed out by `apply` */
    uint64_t durable;        /* own log, up to here */
    bool in_own_term;        /* leader: an entry of this term is committed */
    uint64_t lease_ticks;    /* leader: it has a lease for so much longer */
    struct uuid transfer_to; /* leader: whom it hands over to; zero: nobody */
    uint64_t n_transfers;    /* begun since the start: tells one from the next */
    bool disk_stalled;       /* see disk_stall_ticks */
    bool full;               /* the leader, or too many of its voters, have no room for more data;
                                a follower knows it from the leader */
};
struct raft_status raft_status(const struct raft *r);

/* The configuration in force and, unless NULL, the place of its entry. Borrowed until the next
 * input. */
const struct raft_config *raft_config(const struct raft *r, struct raft_pos *ret_pos);
/* That configuration is committed. */
bool raft_config_is_committed(const struct raft *r);
/* The latest that is, and its place. Borrowed as above. When everything that is committed is
 * applied, a snapshot of the state has this one. */
const struct raft_config *raft_config_committed(const struct raft *r, struct raft_pos *ret_pos);
/* The term of the entry at index: NOT_FOUND when it is not in the log. */
MUST_CHECK int raft_term_at(const struct raft *r, uint64_t index, uint64_t *ret_term);

struct raft_peer_status {
    struct uuid id;
    uint64_t match;     /* acknowledged as durable there */
    uint64_t next;      /* index of the next entry to send */
    unsigned in_flight; /* appends with entries */
    bool in_snapshot;   /* it gets a snapshot; up to snapshot_offset it has it */
    uint64_t snapshot_offset;
    uint64_t ticks_since_heard;
    /* Its log ended below what it had acknowledged to this leader: its disk was set back. It
     * counts in no quorum of this leader's term and gets no entries, match is 0 (PITFALLS 41).
     * Remove it, and add it again with an empty disk and so under a new id. */
    bool lost_data;
    bool full; /* its disk, by its own word */
};
/* Leader only: what is known of a peer. NOT_LEADER, NOT_FOUND. */
MUST_CHECK int raft_peer(const struct raft *r, struct uuid id, struct raft_peer_status *ret_peer);

/* Verifies the invariants of the state; ends the process when one is broken.
 * Tests and the simulator call it after every step. */
void raft_check(const struct raft *r);

#endif
