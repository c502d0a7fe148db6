/* SPDX-License-Identifier: MIT
 * A generation of the state in a directory of its own, beside a model of what
 * must be in it, and places where the process is "killed".
 */
#ifndef STATE_FIXTURE_H
#define STATE_FIXTURE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/rng.h"
#include "store/run.h"
#include "store/state.h"

#define MODEL_KEYS 300

struct model_key {
    bool present;
    uint64_t seed; /* of the value's bytes */
    size_t len;
    uint64_t revision, create_revision, version;
};

struct state_fixture {
    char root[64];
    struct state *state;
    struct state_options options;
    struct buf reason;
    uint64_t gen;

    struct rng rng;
    struct model_key model[MODEL_KEYS];
    struct kv_pos pos; /* of the last run added */
    size_t meta_bytes; /* of it */
    size_t value_bytes_max;

    /* Under the lock: what the state's threads say. */
    pthread_mutex_t lock;
    pthread_cond_t more;
    int kill_step, kill_after; /* stops at this step, so many before it; kill_step -1: never */
    atomic_bool killed;
    int commit_err; /* given for every commit */
    unsigned n_commits_failed;
    unsigned n_steps[STATE_STEP_COMMIT + 1];
    atomic_uint n_damaged, n_fatal, n_merged;
    char text[2000]; /* of the last damaged or fatal */
};

/* Makes the directory and an empty generation 1, opened and not started. */
int state_fixture_setup(void **state);
int state_fixture_teardown(void **state);

void fixture_state_open(struct state_fixture *f);
int fixture_state_try_open(struct state_fixture *f);
/* Closes what was killed, or not, and opens it again. */
void fixture_state_reopen(struct state_fixture *f);
/* "ROOT/state-1/NAME"; static. */
const char *fixture_state_path(const struct state_fixture *f, const char *name);

/* The key of number i, and a value's bytes; static memory. */
const uint8_t *fixture_key(unsigned i, size_t *ret_len);
const uint8_t *fixture_value(uint64_t seed, size_t len);

/* Changes each key of [first, last] with probability percent / 100: the model, and a run written
 * to path. */
void fixture_write_run(struct state_fixture *f, const char *path, unsigned first, unsigned last,
                       unsigned percent);
/* Such a run, added. Returns what state_add_run() does. */
int fixture_try_add(struct state_fixture *f, unsigned first, unsigned last, unsigned percent);
void fixture_add(struct state_fixture *f, unsigned first, unsigned last, unsigned percent);
/* One key, for what is not random. */
void fixture_add_value(struct state_fixture *f, unsigned i, size_t len);
void fixture_add_tombstone(struct state_fixture *f, unsigned i);

/* Until no run waits, the merging was killed, or something fatal happened. */
void fixture_wait_merged(struct state_fixture *f);
/* Until so many merging steps of that kind were made. */
void fixture_wait_steps(struct state_fixture *f, enum state_step step, unsigned n);

/* Point reads and an ordered scan of the view give this model. */
void fixture_check_view(struct kv_base_view *view, const struct model_key *model);
/* A new view, the position and the meta give what was added. */
void fixture_check(struct state_fixture *f);

#endif
