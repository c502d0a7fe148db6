/* SPDX-License-Identifier: MIT
 * A few cores in one process, with a network that can drop, delay, cut and
 * repeat, and disks that write late and lose what was not written. One seed
 * decides everything. Every step is checked against what Raft promises.
 *
 *      inputs -> core -> cluster_pump() -> messages in flight, records being written
 *                                          applied entries, results of reads
 */
#ifndef TESTS_UNIT_RAFT_CLUSTER_H
#define TESTS_UNIT_RAFT_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/rng.h"
#include "raft/raft.h"

enum { CLUSTER_NODES = 7, CLUSTER_LOG = 4096, CLUSTER_TERMS = 4096, CLUSTER_READS = 64 };
enum {
    HEARTBEAT_TICKS = 2,
    ELECTION_TICKS_MIN = 10,
    ELECTION_TICKS_MAX = 20,
    DISK_STALL_TICKS = 100
};

/* A persist record that is being written. */
struct disk_record {
    uint64_t seq;
    struct raft_hard_state hard_state;
    struct raft_snapshot *install; /* a reference, or NULL */
    bool has_base;
    struct raft_base base;
    uint64_t truncate_from;
    struct raft_entry **entries; /* with references */
    unsigned n_entries;
    struct disk_record *next;
};

struct sim_read {
    uint64_t ctx;
    uint64_t at_least; /* entries known to be committed when it was asked */
    bool done;
    int err;
    uint64_t index;
    uint64_t lease_ticks; /* 0: not by lease */
};

struct sim_node {
    struct raft *core; /* NULL: down */
    uint64_t boot;
    /* the disk */
    struct raft_hard_state hard_state;
    struct raft_base base;                   /* index 0: it begins at the beginning */
    struct raft_entry *log[CLUSTER_LOG + 1]; /* by index, from base + 1 */
    uint64_t log_last;
    uint64_t saved;              /* the state machine is durable up to here; >= base */
    struct disk_record *writing; /* in order */
    /* the state machine */
    uint64_t applied;
    struct sim_read reads[CLUSTER_READS];
    unsigned n_reads;
    struct raft_load loads[CLUSTER_NODES * 2];
    unsigned n_loads, n_loads_served;
    unsigned n_appends_rejected; /* refusals it sent */
    bool wants_snapshot;
    unsigned n_wanted, n_installed, n_pieces, n_dropped;
    uint64_t last_dropped;          /* snapshot id */
    struct raft_snapshot *piece_of; /* a piece that is being written; NULL: none */
    uint64_t piece_offset;
    uint32_t piece_len;
    uint64_t received_id, received; /* snapshot that is written so far */
    bool rolled_back;               /* its disk forgot what it had */
};

struct sim_message {
    struct raft_message m; /* owns the entries array and its references */
    struct sim_message *next;
};

struct cluster {
    struct rng rng;
    struct raft_options options; /* id, seq_first and seed are set for each node */
    unsigned n_nodes;
    struct sim_node nodes[CLUSTER_NODES];
    struct sim_message *in_flight; /* in the order sent */
    unsigned n_in_flight;
    bool cut[CLUSTER_NODES][CLUSTER_NODES]; /* from, to */
    bool late_disk[CLUSTER_NODES];          /* writes only on cluster_write() */
    bool late_loads;                        /* answered only on cluster_serve_loads() */
    uint64_t snapshot_size; /* of all snapshots; 0: random, some fail and some come damaged */
    uint64_t next_ctx;
    /* what was ever committed: terms and payloads by index */
    struct {
        uint64_t term, payload, known_in_term;
        uint8_t type;
    } committed[CLUSTER_LOG + 1];
    uint64_t n_committed;
    int leader_of_term[CLUSTER_TERMS]; /* node, -1: none seen */
    bool by_hand; /* the test plays the leader: what is committed is its business */
    /* Sees every message before it goes out; false drops it. NULL: all pass. */
    bool (*filter)(struct cluster *c, const struct raft_message *m);
    void *filter_arg;
};

/* ---- life ---- */

/* n_nodes nodes, of which the first n_voters make up the first configuration;
 * node 0 is bootstrapped with it. n_voters 0: nobody knows anything. */
struct cluster *cluster_new(uint64_t seed, unsigned n_nodes, unsigned n_voters);
/* The same, with other limits; id, seq_first and seed in them are ignored. */
struct cluster *cluster_new_with(uint64_t seed, unsigned n_nodes, unsigned n_voters,
                                 const struct raft_options *options);
struct raft_options cluster_default_options(void);
void cluster_free(struct cluster **c);

struct uuid cluster_id(unsigned node);
/* -1: no node has this id. */
int cluster_node(struct uuid id);
struct raft_member cluster_member(unsigned node);

/* ---- nodes ---- */

/* Loses what is not written; with luck some records are on the disk all the same. */
void cluster_crash(struct cluster *c, unsigned node);
/* The same without luck. */
void cluster_kill(struct cluster *c, unsigned node);
void cluster_restart(struct cluster *c, unsigned node);
/* Takes the last n entries off the disk of a node that is down, as a restored image would. */
void cluster_roll_back(struct cluster *c, unsigned node, unsigned n_entries);
/* One tick of one node, effects carried out. */
void cluster_tick(struct cluster *c, unsigned node);
/* Carries out the effects of a node. */
void cluster_pump(struct cluster *c, unsigned node);
/* The next n records of a node become durable and are reported; fewer if there are fewer. */
void cluster_write(struct cluster *c, unsigned node, unsigned n);
/* Also makes the snapshot and writes the piece of one that it was asked for. */
void cluster_serve_loads(struct cluster *c, unsigned node);
/* Saves the state machine and lets go of the log up to index, or as far as that goes. */
void cluster_compact(struct cluster *c, unsigned node, uint64_t index);
/* Puts an entry on the disk of a node that is down, as if an earlier life had written it. */
void cluster_plant(struct cluster *c, unsigned node, uint64_t term, unsigned n_entries);

/* ---- network ---- */

/* Delivers the k-th message in flight (cut lines lose it). */
void cluster_deliver(struct cluster *c, unsigned k);
void cluster_drop(struct cluster *c, unsigned k);
void cluster_duplicate(struct cluster *c, unsigned k);
/* Delivers everything, and what follows from it, without a tick. */
void cluster_settle(struct cluster *c);
/* Hands a hand-made message to a node and carries out the effects. */
int cluster_receive(struct cluster *c, unsigned node, const struct raft_message *m);
/* Puts the bytes of its piece of a snapshot into bytes[0..n_max), and those into m. */
void cluster_fill_piece(struct raft_message *m, uint8_t *bytes, uint32_t n_max);
/* A hand-made message; from and to are nodes. */
struct raft_message cluster_message(enum raft_message_type type, unsigned from, unsigned to,
                                    uint64_t term, uint64_t seq);
/* The newest message in flight of this type between these nodes; NULL: none. Borrowed. */
const struct raft_message *cluster_find(const struct cluster *c, enum raft_message_type type,
                                        unsigned from, unsigned to);
void cluster_drop_all(struct cluster *c);
void cluster_cut_off(struct cluster *c, unsigned node);
void cluster_heal(struct cluster *c);

/* ---- together ---- */

/* n ticks of all nodes, with an instant network and prompt disks. */
void cluster_run(struct cluster *c, unsigned ticks);
/* Runs until there is a leader in its own term; fails the test after too long. */
unsigned cluster_elect(struct cluster *c);
/* Makes this very node the leader: it alone ticks to its timeout, others heard nobody. */
void cluster_elect_node(struct cluster *c, unsigned node);
/* n ticks of one node, the others hear and answer but their clocks stand still. */
void cluster_run_node(struct cluster *c, unsigned node, unsigned ticks);
struct raft_status cluster_status(const struct cluster *c, unsigned node);
/* The leader of the highest term, -1: none. */
int cluster_leader(const struct cluster *c);
/* Proposes one command; its payload is unique. */
int cluster_propose(struct cluster *c, unsigned node, struct raft_pos *ret_pos);
/* Proposes n commands and settles. */
void cluster_write_entries(struct cluster *c, unsigned node, unsigned n);
/* A change of one wish each in parallel: types[i] for nodes[i]. */
int cluster_change(struct cluster *c, unsigned node, const struct raft_change changes[],
                   unsigned n);
int cluster_transfer(struct cluster *c, unsigned node, struct uuid to);
struct raft_change cluster_wish(enum raft_change_type type, unsigned node);
uint64_t cluster_read(struct cluster *c, unsigned node);
uint64_t cluster_read_lease(struct cluster *c, unsigned node);
/* The result of a read, NULL: none yet. */
const struct sim_read *cluster_read_result(const struct cluster *c, unsigned node, uint64_t ctx);

/* Everything that holds after every step. */
void cluster_check(struct cluster *c, unsigned node);

#endif
