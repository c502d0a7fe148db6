/* SPDX-License-Identifier: MIT
 * A few real cores, a network that does what the story says and disks that
 * write when the story says. Nodes are 1..n. All that happens goes into the
 * trace, one line each; what breaks a promise of Raft is told as a line that
 * begins with "BROKEN" and counted.
 *
 *      inputs -> core -> world_pump() -> letters in flight, records being written,
 *                                        entries applied, reads served
 */
#ifndef TESTS_SCENARIO_WORLD_H
#define TESTS_SCENARIO_WORLD_H

#include "base/buf.h"
#include "base/rng.h"
#include "raft/raft.h"

enum {
    WORLD_NODES = 9,
    WORLD_LOG = 512,
    WORLD_TERMS = 1024,
    WORLD_WAITERS = 32,
    WORLD_READS = 32,
    WORLD_PIECE = 64
};

/* A persist record that is being written. */
struct record {
    uint64_t seq;
    struct raft_hard_state hard_state;
    struct raft_snapshot *install; /* a reference, or NULL */
    bool has_base;
    struct raft_base base;
    uint64_t truncate_from;
    struct raft_entry **entries; /* with references */
    unsigned n_entries;
    struct record *next;
};

/* A message in flight. */
struct letter {
    struct raft_message m; /* owns the array of entries and its references */
    bool chosen;
    struct letter *next;
};

/* A client that waits for its write. */
struct waiter {
    char *word; /* owned */
    struct raft_pos pos;
};

struct node {
    struct raft *core; /* NULL: down */
    uint64_t boot;
    /* the disk */
    struct raft_hard_state hard_state;
    struct raft_base base;                 /* index 0: the log begins at the beginning */
    struct raft_entry *log[WORLD_LOG + 1]; /* by index, from base + 1 */
    uint64_t log_last;
    uint64_t saved;         /* the state machine is on the disk up to here */
    struct record *writing; /* in order */
    bool hold_disk;         /* written only when the story says */
    struct raft_hard_state handed;
    /* the state machine */
    bool hold_apply; /* applied only when the story says */
    uint64_t received, applied;
    uint64_t told_commit;
    struct waiter waiters[WORLD_WAITERS];
    unsigned n_waiters;
    struct raft_read_result reads[WORLD_READS]; /* wait until their index is applied */
    unsigned n_reads;
    /* snapshots */
    bool hold_snapshots; /* made and written only when the story says */
    bool asked_for_snapshot;
    struct raft_snapshot *piece_of; /* a piece that is to be written; NULL: none */
    uint64_t piece_offset;
    uint32_t piece_len;
    uint64_t written_id, written; /* of the one that comes in */
};

struct world {
    struct buf *trace; /* borrowed */
    struct rng rng;
    struct raft_options options; /* id, seq_first and seed are set for each node */
    unsigned n_nodes;
    struct node nodes[WORLD_NODES + 1];         /* from 1 */
    struct letter *in_flight, *stash;           /* in the order sent */
    bool cut[WORLD_NODES + 1][WORLD_NODES + 1]; /* from, to */
    bool hushed;                                /* deliveries are not told */
    char *read_names[WORLD_READS + 1];          /* by ctx; owned */
    uint64_t last_ctx;
    struct raft_entry *committed[WORLD_LOG + 1]; /* what was ever applied, with references */
    unsigned leader_of_term[WORLD_TERMS];        /* 0: none seen */
    uint64_t snapshot_bytes;                     /* of each snapshot */
    uint64_t last_snapshot;                      /* id */
    unsigned n_broken;
};

/* n_voters nodes that vote, then learners, then spares that know nothing. The others have the
 * first configuration as their only entry, committed. */
struct world *world_new(struct buf *trace, const struct raft_options *options, unsigned n_voters,
                        unsigned n_learners, unsigned n_spares);
void world_free(struct world **w);

struct uuid world_id(unsigned node);
unsigned world_node(struct uuid id);
struct raft_member world_member(unsigned node);

/* Starts the core from its disk. */
void world_start(struct world *w, unsigned node);
/* Loses what is not written. */
void world_crash(struct world *w, unsigned node);
/* Carries out the effects of a node. */
void world_pump(struct world *w, unsigned node);
/* The next n records of a node become durable; the core hears of it if told. */
void world_persist(struct world *w, unsigned node, unsigned n, bool told);
/* The state machine applies all it has received. */
void world_apply(struct world *w, unsigned node);
/* n entries of this term on the disk of a node that is down. */
void world_plant(struct world *w, unsigned node, uint64_t term, unsigned n);

/* The disk of a node that is down ends at this index. */
void world_set_back(struct world *w, unsigned node, uint64_t index);

/* Takes the letter at *at out of its list and hands it over; a cut line loses it. */
void world_deliver(struct world *w, struct letter **at);
void world_drop(struct letter **at);
/* Appends a copy to a list. */
void world_post(struct letter **list, const struct raft_message *m);
/* Delivers everything and what follows from it. */
void world_settle(struct world *w);

/* raft_check() of all, and what Raft promises. */
void world_check(struct world *w);

#endif
