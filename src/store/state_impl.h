/* SPDX-License-Identifier: MIT
 * What the files state*.c share. Nothing else includes this.
 *
 * Locks: state.lock before view.lock. state.lock is held shortly and never over
 * a file operation, since whoever reads waits for it.
 */
#ifndef STORE_STATE_IMPL_H
#define STORE_STATE_IMPL_H

#include <pthread.h>
#include <time.h>

#include "base/list.h"
#include "base/refs.h"
#include "store/run.h"
#include "store/state.h"
#include "store/state_db.h"

#define STATE_TXNS_IDLE 64
#define STATE_AWAIT_MS  250

struct state_run {
    uint64_t seq;
    struct kv_pos pos;
    struct run *run;   /* a reference */
    uint64_t since_ms; /* when it came, or was found at the start */
    bool told;         /* of damage in it */
};

struct state {
    struct kv_base base; /* first */
    struct refs refs;
    struct state_options options;
    char *dir;      /* DIR/state-<gen>, owned */
    char *run_path; /* of the next run, owned */
    struct state_db db;

    pthread_mutex_t lock;
    pthread_cond_t work;   /* CLOCK_MONOTONIC: another run, or stopping */
    pthread_cond_t closed; /* CLOCK_MONOTONIC: a view was, and is_awaited is set */
    /* Under the lock. */
    struct state_run runs[STATE_RUNS_MAX]; /* oldest first */
    unsigned n_runs;
    struct state_mark mark; /* as last committed; written by the merging thread only */
    struct list views;      /* oldest first */
    unsigned n_views;
    bool is_awaited;                /* the end of views */
    MDB_txn *idle[STATE_TXNS_IDLE]; /* read transactions, reset, for further views */
    unsigned n_idle;
    struct state_stats stats; /* only what is counted; the rest is filled in when asked */
    bool stopping;

    bool told; /* of damage in LMDB */
    bool is_running;
    pthread_t merger, scrubber;
};

struct state_view {
    struct kv_base_view view; /* first */
    struct state *state;      /* a reference */
    struct list link;         /* under state.lock */
    uint64_t since_ms;
    uint64_t n_slices;                /* that were committed before it, at least */
    bool is_kept;                     /* under state.lock */
    struct run *runs[STATE_RUNS_MAX]; /* references, newest first */
    unsigned n_runs;
    pthread_mutex_t lock;
    /* Under the view's lock: the state ends the transaction of a view that has grown too old. */
    MDB_txn *txn;       /* NULL: ended */
    int err;            /* why there is no transaction */
    MDB_cursor *getter; /* for gets; NULL: not needed yet */
    bool was_asked;
    struct buf data;
};

/* state.c */
void state_ref(struct state *s);
void state_unref(struct state *s);
/* Tells of damage, once of each file; r NULL: in LMDB. */
void state_tell_damage(struct state *s, const struct run *r, const char *text);
/* The same, if anything was found wrong with the run, by whomever. */
void state_tell_run(struct state *s, struct run *r);
/* Ends the process, or what tests do instead. */
void state_die(struct state *s, const char *text);
int state_step(struct state *s, enum state_step step);
/* Waits so long, or until there is another run. False: stopping. */
bool state_pause(struct state *s, uint64_t us);
/* The same, whether there is another run or not. */
bool state_sleep(struct state *s, uint64_t us);
/* CLOCK_MONOTONIC, so long from now. */
void state_deadline(struct timespec *ret_t, uint64_t us);
int state_meta_pos(const struct state *s, const void *meta, size_t len, struct kv_pos *ret_pos);

/* state_view.c */
struct kv_base_view *state_view_new(struct kv_base *base);
struct state_view *state_view_of(struct kv_base_view *view);
/* With the lock held: ends the views that are older than ms: those that are not kept, or also those
 * that are, except for those at work now; or all of them. */
enum state_which { STATE_NOT_KEPT, STATE_ALSO_KEPT, STATE_ALL };
void state_end_views(struct state *s, uint64_t ms, enum state_which which);
/* With the lock held: waits until one is closed. False: not by then. */
bool state_await_close(struct state *s, const struct timespec *deadline);
/* Waits for the views from before the last slice, unless that takes long. */
void state_await_views(struct state *s);

/* state_ahead.c: brings the pages of LMDB in which these keys (at most KV_PREFETCH_MAX) lie into
 * the processor's cache. With the view's lock held, while it has a transaction. Answers how many
 * keys it came to, for tests. */
unsigned state_fetch_ahead(struct state_view *v, const struct kv_bytes keys[], unsigned n);

/* state_map.c: doubles the size to which the file may grow. False: there is no room for that. */
bool state_grow_map(struct state *s);

/* state_pace.c */
/* With the lock held: how many runs, from the oldest on, are to be merged together now. */
unsigned state_runs_due(const struct state *s);
/* About how much the next slice may write. */
size_t state_slice_bytes(const struct state *s);
/* How long to rest after a slice that took so long. */
uint64_t state_rest_us(struct state *s, uint64_t took_us);

/* state_merge.c, state_scrub.c: the threads */
void *state_merge_main(void *state);
void *state_scrub_main(void *state);

/* state_files.c */
char *state_generation_path(const char *dir, uint64_t gen); /* owned by the caller */
char *state_run_name(const struct state *s, uint64_t seq);  /* path, owned by the caller */
/* Removes what was merged and what was never finished, and opens the runs that are left, in order.
 */
MUST_CHECK int state_find_runs(struct state *s, struct buf *reason);
/* Opens a run and finds its position. */
MUST_CHECK int state_open_run(struct state *s, const char *path, uint64_t seq,
                              struct state_run *ret_run, struct buf *reason);

#endif
