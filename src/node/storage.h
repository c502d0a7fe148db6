/* SPDX-License-Identifier: MIT
 * What the driver needs from a durable log. store/ provides it over LMDB with
 * a thread; the simulator provides a disk that forgets, stalls and lies.
 */
#ifndef NODE_STORAGE_H
#define NODE_STORAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/list.h"
#include "raft/types.h"

/* Who this node is, kept beside the log. */
struct storage_identity {
    struct uuid node;     /* made once with the data directory */
    uint64_t incarnation; /* random, made with the data directory; never 0 */
    uint64_t boot;        /* starts of this data directory; counted up at each open, durable
                             before the open returns */
    struct uuid cluster;  /* zero: belongs to none yet */
    struct uuid promised; /* cluster id promised in forming; zero: none */
    bool contacted;       /* was ever sent a /raft-* request: never makes its own cluster unasked */
    bool outsider;        /* heard of a cluster while it belonged to none: never forms another */
};

/* One atomic, durable write: identity if given, truncate, append, hard state.
 * Writes are carried out in the order given; several may share one transaction
 * and one sync (group commit). */
struct storage_write {
    struct list link;                  /* the storage's while it has it */
    uint64_t seq;                      /* of the persist record; 0: none */
    struct raft_hard_state hard_state; /* written when seq != 0 */
    uint64_t truncate_from;            /* 0: nothing to truncate */
    struct raft_entry **entries;       /* owned array of own references */
    unsigned n_entries;
    bool has_identity;
    struct storage_identity identity;
};

/* Reads entries back for a follower that is behind. */
struct storage_load {
    struct list link;
    struct uuid peer;
    uint64_t first;
    unsigned n_max;
    size_t bytes_max; /* the first entry always fits */
    /* answer */
    struct raft_entry **entries; /* owned array of own references; n 0: not there */
    unsigned n_entries;
};

struct storage_write *storage_write_new(unsigned n_entries);
void storage_write_free(struct storage_write **w); /* drops its references */
void storage_load_free(struct storage_load **l);

/* Where completions go; called on the storage's thread, must not block. The
 * object goes back to the driver with the call. */
struct storage_events {
    void (*written)(void *ctx, struct storage_write *w);
    void (*loaded)(void *ctx, struct storage_load *l);
    void *ctx;
};

/* A storage that fails to write does not answer: it ends the process. */
struct storage {
    void (*write)(struct storage *s, struct storage_write *w); /* takes w */
    void (*load)(struct storage *s, struct storage_load *l);   /* takes l */
};

#endif
