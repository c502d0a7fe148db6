/* SPDX-License-Identifier: MIT
 * Completions arrive on the storage's thread; the test waits for them.
 */
#define _GNU_SOURCE /* nftw() */
#include "store_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include <dirent.h>
#include <ftw.h>

#include "base/mem.h"
#include "base/rng.h"

static void on_fatal(void *ctx, const char *text)
{
    struct store_fixture *f = ctx;
    pthread_mutex_lock(&f->lock);
    f->n_fatal++;
    snprintf(f->fatal_text, sizeof f->fatal_text, "%s", text);
    pthread_cond_broadcast(&f->more);
    pthread_mutex_unlock(&f->lock);
}

int store_fixture_setup(void **state)
{
    struct store_fixture *f = mem_zalloc(sizeof *f);
    const char *tmp = getenv("TMPDIR");
    snprintf(f->root, sizeof f->root, "%s/crab-store-XXXXXX",
             tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    if (!mkdtemp(f->root))
        return -1;
    snprintf(f->dir, sizeof f->dir, "%s/data", f->root);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->more, NULL);
    f->options.fatal = on_fatal;
    f->options.ctx = f;
    *state = f;
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

int store_fixture_teardown(void **state)
{
    struct store_fixture *f = *state;
    fixture_close(f);
    buf_free(&f->reason);
    nftw(f->root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    pthread_cond_destroy(&f->more);
    pthread_mutex_destroy(&f->lock);
    mem_free(f);
    return 0;
}

static void on_written(void *ctx, struct storage_write *w)
{
    struct store_fixture *f = ctx;
    pthread_mutex_lock(&f->lock);
    f->n_disordered += w->seq != f->written + 1;
    f->written = w->seq;
    f->n_written++;
    struct storage_write *gone = w->install ? f->installed : w;
    if (w->install)
        f->installed = w;
    pthread_cond_broadcast(&f->more);
    pthread_mutex_unlock(&f->lock);
    storage_write_free(&gone);
}

static void on_worked(void *ctx, struct storage_job *j)
{
    struct store_fixture *f = ctx;
    pthread_mutex_lock(&f->lock);
    bool is_awaited = j == f->awaited;
    if (is_awaited)
        f->worked = j;
    pthread_cond_broadcast(&f->more);
    pthread_mutex_unlock(&f->lock);
    if (!is_awaited)
        storage_job_free(&j);
}

static void on_loaded(void *ctx, struct storage_load *l)
{
    struct store_fixture *f = ctx;
    pthread_mutex_lock(&f->lock);
    f->loaded = l;
    pthread_cond_broadcast(&f->more);
    pthread_mutex_unlock(&f->lock);
}

int fixture_try_open(struct store_fixture *f)
{
    buf_clear(&f->reason);
    int err = store_open(f->dir, &f->options, &f->identity, &f->store, &f->reason);
    buf_str(&f->reason);
    return err;
}

void fixture_start(struct store_fixture *f)
{
    struct storage_events events = {
        .written = on_written, .loaded = on_loaded, .worked = on_worked, .ctx = f};
    f->written = 0;
    store_start(f->store, &events);
}

void fixture_open(struct store_fixture *f)
{
    int err = fixture_try_open(f);
    if (err)
        fail_msg("open: %s", buf_str(&f->reason));
    fixture_start(f);
}

void fixture_close(struct store_fixture *f)
{
    store_close(&f->store);
    storage_write_free(&f->installed);
}

struct raft_entry *fixture_entry(uint64_t index, uint64_t term)
{
    struct rng rng = {index * 1000003 + term};
    uint64_t kind = rng_next(&rng);
    /* mostly small, a few of several pages, a few empty */
    uint32_t len = kind % 50 == 0 ? 20000 : kind % 10 == 1 ? 0 : (uint32_t)(kind % 200);
    struct raft_entry *e = raft_entry_new(kind % 2 ? RAFT_ENTRY_COMMAND : RAFT_ENTRY_NOOP,
                                          (struct raft_pos){term, index}, len);
    for (uint32_t i = 0; i < len; i++)
        e->data[i] = (uint8_t)rng_next(&rng);
    return e;
}

bool fixture_entry_is_right(const struct raft_entry *e)
{
    struct raft_entry *right = fixture_entry(e->pos.index, e->pos.term);
    bool same =
        right->type == e->type && right->len == e->len && memcmp(right->data, e->data, e->len) == 0;
    raft_entry_unref(&right);
    return same;
}

struct storage_write *fixture_write_new(uint64_t seq, uint64_t first, unsigned n, uint64_t term)
{
    struct storage_write *w = storage_write_new(n);
    w->seq = seq;
    w->hard_state = (struct raft_hard_state){term, {7, 7}, first - 1};
    for (unsigned i = 0; i < n; i++)
        w->entries[i] = fixture_entry(first + i, term);
    return w;
}

void fixture_submit(struct store_fixture *f, struct storage_write *w)
{
    struct storage *s = store_storage(f->store);
    s->write(s, w);
}

void fixture_wait(struct store_fixture *f, uint64_t seq)
{
    pthread_mutex_lock(&f->lock);
    while (f->written < seq && !f->n_fatal)
        pthread_cond_wait(&f->more, &f->lock);
    pthread_mutex_unlock(&f->lock);
}

void fixture_append(struct store_fixture *f, uint64_t first, unsigned n, uint64_t term)
{
    pthread_mutex_lock(&f->lock);
    uint64_t seq = f->written + 1;
    pthread_mutex_unlock(&f->lock);
    fixture_submit(f, fixture_write_new(seq, first, n, term));
    fixture_wait(f, seq);
    assert_int_equal(f->n_fatal, 0);
}

struct storage_load *fixture_load(struct store_fixture *f, uint64_t first, unsigned n_max,
                                  size_t bytes_max)
{
    struct storage_load *l = mem_zalloc(sizeof *l);
    list_init(&l->link);
    l->first = first;
    l->n_max = n_max;
    l->bytes_max = bytes_max;
    struct storage *s = store_storage(f->store);
    s->load(s, l);
    pthread_mutex_lock(&f->lock);
    while (!f->loaded && !f->n_fatal)
        pthread_cond_wait(&f->more, &f->lock);
    l = f->loaded;
    f->loaded = NULL;
    pthread_mutex_unlock(&f->lock);
    return l;
}

void fixture_work_unanswered(struct store_fixture *f, struct storage_job *j)
{
    struct storage *s = store_storage(f->store);
    s->work(s, j);
}

void fixture_expect(struct store_fixture *f, struct storage_job *j)
{
    pthread_mutex_lock(&f->lock);
    f->awaited = j;
    pthread_mutex_unlock(&f->lock);
    fixture_work_unanswered(f, j);
}

struct storage_job *fixture_answer(struct store_fixture *f)
{
    pthread_mutex_lock(&f->lock);
    while (!f->worked && !f->n_fatal)
        pthread_cond_wait(&f->more, &f->lock);
    struct storage_job *answered = f->worked;
    f->worked = f->awaited = NULL;
    pthread_mutex_unlock(&f->lock);
    if (!answered)
        fail_msg("fatal: %s", f->fatal_text);
    return answered;
}

struct storage_job *fixture_work(struct store_fixture *f, struct storage_job *j)
{
    fixture_expect(f, j);
    return fixture_answer(f);
}

struct storage_write *fixture_take_installed(struct store_fixture *f)
{
    pthread_mutex_lock(&f->lock);
    struct storage_write *w = f->installed;
    f->installed = NULL;
    pthread_mutex_unlock(&f->lock);
    assert_non_null(w);
    return w;
}

static void note_hard_state(void *ctx, struct raft_hard_state hs)
{
    struct fixture_log *log = ctx;
    log->n_hard_states++;
    log->hard_state = hs;
}

static int note_entry(void *ctx, struct raft_entry *e)
{
    struct fixture_log *log = ctx;
    log->n++;
    if (log->n > FIXTURE_ENTRIES_MAX || e->pos.index != log->n || !fixture_entry_is_right(e)) {
        log->wrong = true;
        return ERR_INVALID;
    }
    log->terms[log->n] = e->pos.term;
    return 0;
}

int fixture_scan(struct store_fixture *f, struct fixture_log *ret_log)
{
    memset(ret_log, 0, sizeof *ret_log);
    return fixture_scan_on(f, ret_log);
}

int fixture_scan_on(struct store_fixture *f, struct fixture_log *log)
{
    struct store_visitor visitor = {.hard_state = note_hard_state, .entry = note_entry, .ctx = log};
    buf_clear(&f->reason);
    int err = store_scan(f->store, &visitor, &f->reason);
    buf_str(&f->reason);
    return err;
}

/* ---- the files ---- */

/* "DIR/NAME", or "DIR/NAME/FILE". */
static void path_of(const struct store_fixture *f, const char *name, const char *file,
                    char ret_path[PATH_MAX])
{
    int len =
        snprintf(ret_path, PATH_MAX, "%s/%s%s%s", f->dir, name, file ? "/" : "", file ? file : "");
    assert_in_range(len, 1, PATH_MAX - 1);
}

static DIR *open_dir(const struct store_fixture *f, const char *name)
{
    char path[PATH_MAX];
    path_of(f, name, NULL, path);
    DIR *dir = opendir(path);
    if (!dir)
        fail_msg("no directory %s", path);
    return dir;
}

struct fixture_files fixture_files(const struct store_fixture *f)
{
    struct fixture_files n = {0};
    const struct dirent *d;
    DIR *dir = open_dir(f, ".");
    while ((d = readdir(dir)) != NULL)
        n.n_states += strncmp(d->d_name, "state-", 6) == 0;
    closedir(dir);
    dir = open_dir(f, "snapshot");
    while ((d = readdir(dir)) != NULL)
        n.n_snapshots += d->d_name[0] != '.';
    closedir(dir);
    return n;
}

off_t fixture_file_size(const struct store_fixture *f, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    path_of(f, name, NULL, path);
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

static void make(const char *path, const void *p, size_t len)
{
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(p, 1, len, out), len);
    assert_int_equal(fclose(out), 0);
}

void fixture_file_make(const struct store_fixture *f, const char *name, const void *p, size_t len)
{
    char path[PATH_MAX];
    path_of(f, name, NULL, path);
    make(path, p, len);
}

void fixture_rename(const struct store_fixture *f, const char *from, const char *to)
{
    char from_path[PATH_MAX], to_path[PATH_MAX];
    path_of(f, from, NULL, from_path);
    path_of(f, to, NULL, to_path);
    assert_int_equal(rename(from_path, to_path), 0);
}

static void copy_file(const char *from, const char *to)
{
    struct stat st;
    FILE *in = fopen(from, "r");
    assert_non_null(in);
    assert_int_equal(fstat(fileno(in), &st), 0);
    size_t len = (size_t)st.st_size;
    uint8_t *bytes = mem_alloc(len + 1);
    assert_int_equal(fread(bytes, 1, len, in), len);
    fclose(in);
    make(to, bytes, len);
    mem_free(bytes);
}

void fixture_copy(const struct store_fixture *f, const char *from, const char *to)
{
    char from_path[PATH_MAX], to_path[PATH_MAX];
    const struct dirent *d;
    path_of(f, to, NULL, to_path);
    assert_int_equal(mkdir(to_path, 0700), 0);
    DIR *dir = open_dir(f, from);
    while ((d = readdir(dir)) != NULL) {
        if (d->d_name[0] == '.')
            continue;
        path_of(f, from, d->d_name, from_path);
        path_of(f, to, d->d_name, to_path);
        copy_file(from_path, to_path);
    }
    closedir(dir);
}
