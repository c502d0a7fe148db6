/* SPDX-License-Identifier: MIT
 * What the driver needs from a disk: a durable log, and the checkpointed state
 * with its snapshots. store/ provides it over LMDB and run files with threads;
 * the simulator provides a disk that forgets, stalls and lies.
 */
#ifndef NODE_STORAGE_H
#define NODE_STORAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/list.h"
#include "kv/kv.h"
#include "kv/view.h"
#include "raft/snapshot.h"
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

/* One atomic, durable write: identity if given; install and base if given; truncate, append, hard
 * state.
 * Writes are carried out in the order given; several may share one transaction
 * and one sync (group commit). */
struct storage_write {
    struct list link;                  /* the storage's while it has it */
    uint64_t seq;                      /* of the persist record; 0: none */
    struct raft_hard_state hard_state; /* written when seq != 0 */
    struct raft_snapshot *install; /* owned reference, or NULL: the log is emptied, and the state
                                      becomes what was received as this */
    struct raft_base *base;        /* owned, or NULL: the log begins there; what lies before is
                                      deleted in the storage's own time */
    uint64_t truncate_from;        /* 0: nothing to truncate */
    struct raft_entry **entries;   /* owned array of own references */
    unsigned n_entries;
    bool has_identity;
    struct storage_identity identity;
    uint64_t asked_us; /* the driver's */
    /* answer to `install` */
    struct kv_base *state; /* owned reference: what was installed, in force from now on */
    struct buf meta;       /* that came with it */
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

/* Slower work on files. Jobs of a kind are done in the order given, apart from writes of the log.
 */
enum storage_job_type {
    STORAGE_CHECKPOINT,     /* frozen, meta: becomes a durable part of the state */
    STORAGE_SNAPSHOT_MAKE,  /* view, meta, snapshot_id: written to a file; answers size, digest */
    STORAGE_SNAPSHOT_READ,  /* snapshot_id, offset, len: answers data */
    STORAGE_SNAPSHOT_WRITE, /* snapshot_id, offset, data, size, digest: what a leader sends; offset
                               0 begins anew. With the last byte the whole is verified and made
                               ready for a storage_write with `install`; answers meta then */
    STORAGE_SNAPSHOT_DROP,  /* snapshot_id: one made here, or received and not installed */
};

struct storage_job {
    struct list link; /* the storage's while it has it */
    enum storage_job_type type;
    uint64_t snapshot_id;
    struct kv_frozen *frozen; /* owned; stays until the driver takes it back */
    struct kv_view *view;     /* owned; kept (kv_view_keep()) and closed by the storage */
    struct buf meta, data;    /* owned */
    uint64_t offset, size;
    uint32_t len, digest;
    struct raft_snapshot *snapshot; /* the driver's: an owned reference, or NULL */
    struct raft_message message;    /* the driver's */
    uint64_t reader;                /* the driver's: for this operator; 0: for a follower */
    uint64_t asked_us;              /* the driver's */
    /* answer: 0; CORRUPT: what was received, or is to be sent, is damaged; NO_SPACE; NOT_FOUND */
    int err;
};

struct storage_job *storage_job_new(enum storage_job_type type, uint64_t snapshot_id);
void storage_job_free(struct storage_job **j);

struct storage_write *storage_write_new(unsigned n_entries);
void storage_write_free(struct storage_write **w); /* drops its references */
void storage_load_free(struct storage_load **l);

/* Where completions go; called on the storage's thread, must not block. The
 * object goes back to the driver with the call. */
struct storage_events {
    void (*written)(void *ctx, struct storage_write *w);
    void (*loaded)(void *ctx, struct storage_load *l);
    void (*worked)(void *ctx, struct storage_job *j);
    void *ctx;
};

/* For /metrics. */
struct storage_stats {
    uint64_t log_bytes;       /* that the log takes on the disk */
    uint64_t state_bytes;     /* that the state takes, but for snapshots made of it */
    uint64_t disk_free_bytes; /* that this process may still take */
};

/* How much room there is. */
struct storage_space {
    uint64_t disk_free; /* bytes of the file system that this process may still take */
    uint64_t spare;     /* about so many within the state's files that can be used again */
    uint64_t reserve;   /* of disk_free that is not for what clients write */
    uint64_t log_room;  /* bytes that writes of the log may take and are sure to find */
    bool log_is_full;   /* as large as it should get */
};

/* A storage that fails to write does not answer: it ends the process. */
struct storage {
    void (*write)(struct storage *s, struct storage_write *w); /* takes w */
    void (*load)(struct storage *s, struct storage_load *l);   /* takes l */
    void (*work)(struct storage *s, struct storage_job *j);    /* takes j */
    /* What is known now. Thread-safe, and does not wait for the disk: may be of a moment ago. NULL:
     * nothing is. */
    void (*stats)(struct storage *s, struct storage_stats *ret_stats);
    /* As known a moment ago, or untouched where nothing is known; thread-safe, does not wait for
     * the disk. NULL: there is always room.
     */
    void (*space)(struct storage *s, struct storage_space *ret_space);
};

#endif
