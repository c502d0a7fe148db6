/* SPDX-License-Identifier: MIT
 * The data directory of a node:
 *
 *      DIR/lock      flock()ed while a process uses the directory; its pid
 *      DIR/format    says that DIR/log was made; never rewritten
 *      DIR/log/      a journal, and an LMDB environment: log, hard state, identity
 *      DIR/log.new/  the same while it is made; begun anew when that was interrupted
 *      DIR/state-N/  the checkpointed state, a generation of it (state.h); log/ says which
 *      DIR/snapshot/ files of snapshots on their way; emptied at every open
 *
 * store_open(), store_scan() into the node, store_start(), ... store_stop(),
 * store_close(). What is read is verified; damage is reported and never
 * repaired here, because a voter that forgets may undo what was acknowledged
 * (PITFALLS 53, 57).
 */
#ifndef STORE_STORE_H
#define STORE_STORE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "node/storage.h"
#include "raft/types.h"

/* At the end of the line that says why the process ends. */
#define STORE_DIE_REMEDY                                                                           \
    "; this node stops, because what the disk holds now is not known: look after the disk (the "   \
    "kernel's log says more), then start the node again"

struct store; /* opaque */

struct store_options {
    size_t map_bytes;     /* largest size of log/; 0: STORE_MAP_BYTES */
    size_t journal_bytes; /* of a new one's file; 0: STORE_JOURNAL_BYTES */
    /* A write, sync or map operation failed: `text` (borrowed) is one line for
     * people. Must end the process, for what the disk holds is unknown
     * (PITFALLS 54). NULL: logs the line and ends it by _exit(1). Tests may
     * return; then the storage answers nothing any more. */
    void (*fatal)(void *ctx, const char *text);
    /* Something that is kept is damaged, which is not served; one line. NULL: logs it. */
    void (*damaged)(void *ctx, const char *text);
    /* Where the state is that this meta goes with, the driver's to say. NULL: as kv's own. */
    int (*meta_pos)(const void *meta, size_t len, struct kv_pos *ret_pos);
    uint64_t view_ms_max; /* of the state; 0: STATE_VIEW_MS_MAX */
    void *ctx;
};

/* A node's data directory, as far as one can see without opening it. */
bool store_exists(const char *dir);

/* Opens a data directory, or makes it with its parents (mode 0700) and a new
 * identity in it. Counts the boot; durable when this returns. On failure one
 * line for people, without a newline, is appended to reason:
 * BUSY (another process), PERMISSION, VERSION, CORRUPT, NO_SPACE, INVALID (not a directory), IO.
 * dir is copied; options and what they point to stay the caller's. */
MUST_CHECK int store_open(const char *dir, const struct store_options *options,
                          struct storage_identity *ret_identity, struct store **ret_store,
                          struct buf *reason);

/* What is NULL is left out. */
struct store_visitor {
    /* First: the checkpointed state (borrowed) and the meta that goes with it; len 0: none yet. */
    int (*state)(void *ctx, const void *meta, size_t len, struct kv_base *base);
    /* Then where the log begins, unless it is at the beginning. */
    int (*base)(void *ctx, const struct raft_base *base);
    /* Once. All zero when nothing was ever written. */
    void (*hard_state)(void *ctx, struct raft_hard_state hs);
    /* Every entry in order, borrowed: reference what you keep. An error ends the scan. */
    int (*entry)(void *ctx, struct raft_entry *e);
    void *ctx;
};

/* Reads the whole log and verifies it: every checksum, that no entry is
 * missing, that none is of another place or time, that terms never fall.
 * CORRUPT with a reason as above, or the visitor's error. Before store_start(). */
MUST_CHECK int store_scan(struct store *store, const struct store_visitor *visitor,
                          struct buf *reason);

/* A node that begins a cluster of its own with a state that it has. */
struct store_founding {
    struct storage_identity identity;
    struct raft_base base;  /* where its log begins: at the state */
    const struct buf *meta; /* of the state */
};

/* Instead of store_start(), after store_scan(): what the view sees becomes the state, the log is
 * empty, and the node has this identity; all of it or, after a crash or an error, nothing. The
 * store must then be closed. Errors with a reason. */
MUST_CHECK int store_refound(struct store *store, struct kv_view *view,
                             const struct store_founding *founding, struct buf *reason);

/* The interface for the driver, the store's own. Thread-safe. What is asked
 * before store_start() waits for it. */
struct storage *store_storage(struct store *store);

/* Starts the thread that writes and loads. Copies events. */
void store_start(struct store *store, const struct storage_events *events);
/* Carries out and answers what was asked of the log, ends the jobs at work and drops those that
 * wait. Nothing may be asked any more. */
void store_stop(struct store *store);

/* Stops, closes and unlocks; nulls the pointer. NULL is accepted. */
void store_close(struct store **store);

#endif
