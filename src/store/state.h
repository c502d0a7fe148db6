/* SPDX-License-Identifier: MIT
 * One generation of the checkpointed state: run files over an LMDB environment.
 *
 *      DIR/state-<gen>/data.mdb     see state_db.h
 *      DIR/state-<gen>/run-<seq>    checkpoints not yet merged into it, oldest first
 *      DIR/state-<gen>/run.new      a checkpoint that is being written
 *
 * Life of a run: written by the caller to state_run_path(), synced; then
 * state_add_run() gives it its name, and it is durable and read from: the log
 * may be purged up to its position. The merging thread brings several at a time
 * into LMDB in slices, each a transaction; the last one records position and
 * meta of the newest too. Then they leave the list and are deleted. A crash at
 * any point goes on from there: runs hold absolute values, and shadow what is
 * half merged.
 *
 * A generation begins empty, or with the run that a snapshot is. Which one
 * counts is recorded elsewhere; the others are deleted by state_remove_others().
 */
#ifndef STORE_STATE_H
#define STORE_STATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "kv/base.h"
#include "kv/kv.h"

#define STATE_RUNS_MAX      30
#define STATE_VIEW_MS_MAX   60000
#define STATE_SLICE_BYTES   (4 * MIB)
#define STATE_MERGE_RUNS    (STATE_RUNS_MAX * 2 / 3)
#define STATE_MERGE_WAIT_MS 300000

struct state; /* opaque */

/* The places where a test may look, or pretend that the process was killed. */
enum state_step {
    STATE_STEP_RENAMED, /* a run has its name; the directory is not yet synced */
    STATE_STEP_ADDED,   /* and is read from */
    STATE_STEP_SLICE,   /* a slice was committed, not the last one */
    STATE_STEP_MERGED,  /* the last slice was committed */
    STATE_STEP_DROPPED, /* the runs are not read from any more */
    STATE_STEP_DELETED, /* the file of one of them is gone */
    STATE_STEP_COMMIT,  /* a slice is about to be committed; an error here is the commit's */
};

struct state_options {
    size_t map_bytes;   /* at first; 0: STORE_MAP_BYTES. It grows as the file does */
    size_t slice_bytes; /* about what a slice writes at most; 0: STATE_SLICE_BYTES */
    /* Where merging a run rewrites much for little, so many wait to be merged together, but none
     * longer than so; see state_pace.c. 0: STATE_MERGE_RUNS, STATE_MERGE_WAIT_MS. */
    unsigned merge_runs;
    uint64_t merge_wait_ms;
    uint64_t view_ms_max;     /* 0: STATE_VIEW_MS_MAX */
    uint64_t await_ms_max;    /* between slices, for views from before; 0: 250 ms */
    uint64_t retry_ms;        /* after NO_SPACE; 0: 1 s */
    uint64_t scrub_ms;        /* from the end of a scrub to the next; 0: a day */
    uint64_t scrub_bytes_max; /* in a second, both for what is read; 0: 8 MiB */
    /* All are called from any thread, must not block, and get one borrowed line for people.
     * fatal: a write or sync failed, and the process must end (PITFALLS 54); NULL: ends it by
     * _exit(1). damaged: something that is kept does not match its checksum, which is said once of
     * each file, and is not served; NULL: logs an error. */
    void (*fatal)(void *ctx, const char *text);
    void (*damaged)(void *ctx, const char *text);
    /* Runs were merged: there is room for others. NULL: nobody waits. */
    void (*merged)(void *ctx);
    /* For tests, NULL otherwise. An error stops the calling thread there as a kill would; of
     * STATE_STEP_COMMIT it is what the commit gives. */
    int (*step)(void *ctx, enum state_step step);
    /* For tests: where a run's meta says that it is. NULL: kv_meta_info(). */
    int (*meta_pos)(const void *meta, size_t len, struct kv_pos *ret_pos);
    void *ctx;
};

/* ---- generations ---- */

/* Makes DIR/state-<gen>, whole and durable or not at all, and replaces what a crash left of an
 * earlier try. It is empty, or holds what the run file at run_path holds, which is moved there
 * (same file system; it must be finished and synced; NULL: none). Errors with a reason. */
MUST_CHECK int state_new_generation(const char *dir, uint64_t gen, const char *run_path,
                                    size_t map_bytes, struct buf *reason);
/* Deletes every other generation; state-<gen> itself may be open or not. */
MUST_CHECK int state_remove_others(const char *dir, uint64_t gen, struct buf *reason);
/* Deletes this one, which is closed and counts no more, or was never finished. */
MUST_CHECK int state_remove_generation(const char *dir, uint64_t gen, struct buf *reason);

/* ---- one of them ---- */

/* Opens DIR/state-<gen> with the runs in it. Copies options. NOT_FOUND, CORRUPT, VERSION,
 * PERMISSION, IO ... with one line in *reason. */
MUST_CHECK int state_open(const char *dir, uint64_t gen, const struct state_options *options,
                          struct state **ret_state, struct buf *reason);
/* Starts merging and scrubbing in the background. */
void state_start(struct state *s);
/* Ends the threads, after the slice at work; nulls the pointer, NULL is accepted. What is not
 * merged is at the next open. Views and base references keep what they need until they go. */
void state_close(struct state **s);

/* Owned by s: take a reference for longer. */
struct kv_base *state_base(struct state *s);

/* Up to where the durable state goes, merged or not, and the meta of there (appended). */
struct kv_pos state_pos(struct state *s);
MUST_CHECK int state_meta(struct state *s, struct buf *out, struct buf *reason);

/* Where to write the next run; borrowed. */
const char *state_run_path(const struct state *s);
/* Takes over the finished run there. It is durable, and views made from now on see it, when this
 * returns 0. One caller at a time. Errors with a reason, the file left where it is: OVERLOADED
 * (STATE_RUNS_MAX wait to be merged), INVALID (it is of an earlier position than state_pos());
 * after any other error, which may be the disk's, the process must end. */
MUST_CHECK int state_add_run(struct state *s, struct buf *reason);

struct state_stats {
    uint64_t n_keys;       /* merged; what runs hold is not counted */
    uint64_t bytes;        /* of their keys and values */
    uint64_t used_bytes;   /* of the LMDB file */
    uint64_t map_bytes;    /* how far it may grow now */
    uint64_t run_bytes;    /* of the run files */
    uint64_t n_slices;     /* committed since the open */
    uint64_t slice_us_max; /* the longest of them */
    uint64_t n_scrubs;     /* ended since the open */
    unsigned n_runs;       /* that wait to be merged */
    unsigned n_views;      /* open */
    bool waits_for_space;  /* merging found the disk full and tries again */
    bool is_damaged;       /* damage was found; merging has stopped when it met it */
};
struct state_stats state_stats(struct state *s);

/* Reads and checks all of it now, at full speed: CORRUPT with one line in *reason. */
MUST_CHECK int state_scrub(struct state *s, struct buf *reason);

#endif
