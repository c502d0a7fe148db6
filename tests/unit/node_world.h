/* SPDX-License-Identifier: MIT
 * Several drivers in one process: their disks write at once and remember, their
 * network delivers at once unless told otherwise, their clock is a number. For
 * tests of node/; the simulator of tests/sim is the place for random faults.
 */
#ifndef TESTS_NODE_WORLD_H
#define TESTS_NODE_WORLD_H

#include "node/driver.h"

#define WORLD_NODES 5
#define WORLD_FILES 8

/* A snapshot: key, blank, value and newline for each key. */
struct world_file {
    uint64_t id; /* 0: free */
    struct buf bytes;
};

struct world_disk {
    struct storage storage; /* first: storage_ops get this */
    struct world *world;
    unsigned self;
    struct list done; /* storage_write and storage_load to report */
    struct list loads;
    struct list jobs; /* storage_job to report */
    bool stalled;     /* reports nothing */
    bool jobs_last;   /* no job comes to an end */
    int make_fails;   /* what the next snapshots end with; 0: they do not fail */
    struct world_file files[WORLD_FILES];
    unsigned n_made; /* snapshots, ever */
    struct storage_identity identity;
    struct raft_hard_state hard_state;
    struct raft_entry **log; /* log[i] has index i + 1 */
    unsigned n_log;
    struct storage_space space; /* all zero: always enough */
    unsigned writes_left;       /* the ones after that are lost and never answered */
};

struct world_link {
    struct transport transport; /* first */
    struct world *world;
    unsigned self;
};

struct world_node {
    struct driver *driver; /* NULL: down */
    struct world_disk disk;
    struct world_link link;
    struct node_options options;
    const char *alias; /* another address of it; NULL: none */
    bool isolated;
    bool paused; /* does nothing, and what comes for it waits, as after SIGSTOP */
};

struct world {
    struct world_node nodes[WORLD_NODES];
    unsigned n;
    uint64_t now_ms;
    struct list asked;     /* struct flight: transport requests on their way */
    unsigned drop_replies; /* of /raft-forward: so many answers get lost after delivery */
};

/* n nodes at addresses 127.0.0.1:1, :2, ...; none is started. */
void world_init(struct world *w, unsigned n);
void world_free(struct world *w);
void world_start(struct world *w, unsigned i);
/* Stops at once, as SIGKILL does; the disk stays. */
void world_kill(struct world *w, unsigned i);
/* n nodes, started, all voters of one cluster. */
void world_cluster(struct world *w, unsigned n);
/* Empties the disk: a new id and incarnation at the same address. */
void world_wipe(struct world *w, unsigned i);
/* Lets time pass in steps of 10 ms. */
void world_run(struct world *w, uint32_t ms);
/* Runs until the request is done or its deadline has long passed; it must be done then. */
struct node_request *world_call(struct world *w, unsigned i, struct node_request *r);
/* Submits without waiting; *done says when it is. */
void world_submit(struct world *w, unsigned i, struct node_request *r);
bool world_is_done(const struct node_request *r);

/* Requests, with a deadline timeout_ms from now. */
struct node_request *world_set(struct world *w, const char *key, const char *value,
                               uint32_t timeout_ms);
struct node_request *world_request(struct world *w, enum node_request_type type,
                                   uint32_t timeout_ms);
/* The whole call; returns its err. */
int world_write(struct world *w, unsigned i, const char *key, const char *value);
int world_init_cluster(struct world *w, unsigned i);
int world_add_learner(struct world *w, unsigned at, unsigned who);
/* Voters are the nodes whose bit is set. */
int world_change(struct world *w, unsigned at, unsigned voters_mask);
/* Linearizable read at node i: its err; compares the value, NULL: not there. */
int world_read(struct world *w, unsigned i, const char *key, const char *expected);
/* How often the key was written, as node i has it; 0: not there. */
uint64_t world_version(const struct world *w, unsigned i, const char *key);
/* Snapshots that are on the disk of node i. */
unsigned world_files(const struct world *w, unsigned i);
/* The node that leads, by its own word, or -1. */
int world_leader(const struct world *w);
/* Runs until there is one. */
void world_wait_for_leader(struct world *w);
struct uuid world_id(const struct world *w, unsigned i);

#endif
