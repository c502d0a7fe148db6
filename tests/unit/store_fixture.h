/* SPDX-License-Identifier: MIT
 * A store in a directory of its own, for tests: writes that are waited for,
 * entries whose bytes follow from index and term, and the log read back.
 */
#ifndef STORE_FIXTURE_H
#define STORE_FIXTURE_H

#include <limits.h>
#include <pthread.h>
#include <sys/types.h>

#include "store/store.h"

struct store_fixture {
    char root[64]; /* removed at the end */
    char dir[80];  /* the data directory: root/data */
    struct store_options options;
    struct store *store;
    struct storage_identity identity;
    struct buf reason; /* of the last failed open or scan */

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t more;
    uint64_t written; /* seq of the last write completed */
    unsigned n_written;
    unsigned n_disordered; /* completions that were not the next seq */
    struct storage_load *loaded;
    struct storage_job *worked, *awaited; /* the answer, and what it is to be */
    struct storage_write *installed;      /* the last write that installed something */
    unsigned n_fatal;
    char fatal_text[600];
};

/* cmocka's setup and teardown. */
int store_fixture_setup(void **state);
int store_fixture_teardown(void **state);

/* Opens and starts; fails the test when that fails. */
void fixture_open(struct store_fixture *f);
/* Opens only; the code of store_open(). */
int fixture_try_open(struct store_fixture *f);
void fixture_start(struct store_fixture *f);
void fixture_close(struct store_fixture *f);

/* The entry of this place: bytes follow from it. */
struct raft_entry *fixture_entry(uint64_t index, uint64_t term);
/* Whether this is that entry. */
bool fixture_entry_is_right(const struct raft_entry *e);

/* A write of n entries from `first` in this term; the hard state is {term, node, first - 1}. */
struct storage_write *fixture_write_new(uint64_t seq, uint64_t first, unsigned n, uint64_t term);
/* Hands it in, and waits until the write with this seq is done. */
void fixture_submit(struct store_fixture *f, struct storage_write *w);
void fixture_wait(struct store_fixture *f, uint64_t seq);
/* All of that at once. */
void fixture_append(struct store_fixture *f, uint64_t first, unsigned n, uint64_t term);
/* Waits for the load and returns it; the caller frees it. */
struct storage_load *fixture_load(struct store_fixture *f, uint64_t first, unsigned n_max,
                                  size_t bytes_max);

/* Hands the job in, waits for its answer and returns it; the caller frees it. */
struct storage_job *fixture_work(struct store_fixture *f, struct storage_job *j);
/* The two halves of it: hands it in; waits, one at a time. */
void fixture_expect(struct store_fixture *f, struct storage_job *j);
struct storage_job *fixture_answer(struct store_fixture *f);
/* Hands it in and goes on; the answer is of no interest. */
void fixture_work_unanswered(struct store_fixture *f, struct storage_job *j);
/* The answer to the last install, once; the caller frees it. */
struct storage_write *fixture_take_installed(struct store_fixture *f);

#define FIXTURE_ENTRIES_MAX 40000

/* A log as read by store_scan(). */
struct fixture_log {
    struct raft_hard_state hard_state;
    unsigned n_hard_states;
    uint64_t n; /* entries, 1 to n */
    uint64_t terms[FIXTURE_ENTRIES_MAX + 1];
    bool wrong; /* an entry had other bytes than its place says */
};
/* The code of store_scan(). */
int fixture_scan(struct store_fixture *f, struct fixture_log *ret_log);
/* The same of a log that begins after log->n. */
int fixture_scan_on(struct store_fixture *f, struct fixture_log *log);

/* ---- the files ---- */

struct fixture_files {
    unsigned n_states, n_snapshots; /* whatever is in the way of a name too */
};
struct fixture_files fixture_files(const struct store_fixture *f);
off_t fixture_file_size(const struct store_fixture *f, const char *name);
void fixture_file_make(const struct store_fixture *f, const char *name, const void *p, size_t len);
void fixture_rename(const struct store_fixture *f, const char *from, const char *to);
/* A directory of files. */
void fixture_copy(const struct store_fixture *f, const char *from, const char *to);

#endif
