/* SPDX-License-Identifier: MIT
 * Generations as directories, and the run files in them. A generation is built
 * beside its name and renamed: it is there as a whole or not at all.
 */
#include "store/state_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/dir.h"

#define GENERATION "state-"
#define RUN        "run-"
#define NEW        ".new"

static int failed(struct buf *reason, const char *what, const char *path)
{
    int errnum = errno;
    buf_printf(reason, "cannot %s %s: %s", what, path, strerror(errnum));
    return store_errno(errnum);
}

static char *numbered(const char *dir, const char *prefix, uint64_t number, const char *suffix)
{
    char name[64];
    snprintf(name, sizeof name, "%s%" PRIu64 "%s", prefix, number, suffix);
    return store_path(dir, name);
}

char *state_generation_path(const char *dir, uint64_t gen)
{
    return numbered(dir, GENERATION, gen, "");
}

char *state_run_name(const struct state *s, uint64_t seq)
{
    return numbered(s->dir, RUN, seq, "");
}

/* The number after the prefix, written as we write it. False: the name is another one. */
static bool parse_numbered(const char *name, const char *prefix, uint64_t *ret_number)
{
    char again[64];
    size_t len = strlen(prefix);
    if (strncmp(name, prefix, len) != 0 || name[len] < '0' || name[len] > '9')
        return false;
    uint64_t number = strtoull(name + len, NULL, 10);
    snprintf(again, sizeof again, "%s%" PRIu64, prefix, number);
    if (strcmp(name, again) != 0)
        return false;
    *ret_number = number;
    return true;
}

/* ---- directories ---- */

/* Calls fn with each name in the directory but "." and ".."; an error ends it. */
static int each_name(const char *path, int (*fn)(void *ctx, const char *path, const char *name),
                     void *ctx, struct buf *reason)
{
    DIR *dir = opendir(path);
    if (!dir)
        return failed(reason, "read directory", path);
    int err = 0;
    const struct dirent *d;
    while (!err && (d = readdir(dir)))
        if (strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0)
            err = fn(ctx, path, d->d_name);
    closedir(dir);
    return err;
}

static int remove_name(void *ctx, const char *dir, const char *name)
{
    struct buf *reason = ctx;
    char *path = store_path(dir, name);
    int err = unlink(path) == 0 ? 0 : failed(reason, "delete", path);
    mem_free(path);
    return err;
}

/* A generation's directory; there are only files in it. */
static int remove_tree(const char *path, struct buf *reason)
{
    int err = each_name(path, remove_name, reason, reason);
    if (!err && rmdir(path) != 0)
        err = failed(reason, "delete", path);
    return err;
}

static int remove_leftover(const char *path, struct buf *reason)
{
    struct stat st;
    return stat(path, &st) == 0 ? remove_tree(path, reason) : 0;
}

struct removal {
    uint64_t keep;
    struct buf *reason;
};

static int remove_other(void *ctx, const char *dir, const char *name)
{
    struct removal *removal = ctx;
    uint64_t gen;
    size_t len = strlen(name), suffix = strlen(NEW);
    char *path = store_path(dir, name);
    int err = 0;
    bool is_unfinished = len > suffix && strncmp(name, GENERATION, strlen(GENERATION)) == 0 &&
                         strcmp(name + len - suffix, NEW) == 0;
    if (is_unfinished || (parse_numbered(name, GENERATION, &gen) && gen != removal->keep))
        err = remove_tree(path, removal->reason);
    mem_free(path);
    return err;
}

int state_remove_others(const char *dir, uint64_t gen, struct buf *reason)
{
    struct removal removal = {gen, reason};
    return each_name(dir, remove_other, &removal, reason);
}

int state_remove_generation(const char *dir, uint64_t gen, struct buf *reason)
{
    char *path = state_generation_path(dir, gen), *new_path = numbered(dir, GENERATION, gen, NEW);
    int err = remove_leftover(path, reason);
    if (!err)
        err = remove_leftover(new_path, reason);
    mem_free(new_path);
    mem_free(path);
    return err;
}

/* ---- a new generation ---- */

static int move_run(const char *path, const char *run_path, struct buf *reason)
{
    char *to = numbered(path, RUN, 1, "");
    int err = rename(run_path, to) == 0 ? 0 : failed(reason, "rename", run_path);
    mem_free(to);
    return err;
}

/* Everything under its passing name, durable. */
static int build(const char *path, const char *run_path, size_t map_bytes, struct buf *reason)
{
    int err = remove_leftover(path, reason);
    if (!err)
        err = store_dir_make(path, reason);
    if (!err)
        err = state_db_create(path, map_bytes, reason);
    if (!err && run_path)
        err = move_run(path, run_path, reason);
    return err ? err : store_dir_sync(path, reason);
}

int state_new_generation(const char *dir, uint64_t gen, const char *run_path, size_t map_bytes,
                         struct buf *reason)
{
    char *path = state_generation_path(dir, gen), *new_path = numbered(dir, GENERATION, gen, NEW);
    int err = remove_leftover(path, reason);
    if (!err)
        err = build(new_path, run_path, map_bytes, reason);
    if (!err && rename(new_path, path) != 0)
        err = failed(reason, "rename", new_path);
    if (!err)
        err = store_dir_sync(path, reason);
    mem_free(new_path);
    mem_free(path);
    return err;
}

/* ---- runs ---- */

int state_open_run(struct state *s, const char *path, uint64_t seq, struct state_run *ret_run,
                   struct buf *reason)
{
    struct state_run r = {.seq = seq, .since_ms = clock_now_ms()};
    struct buf meta = BUF_INIT;
    int err = run_open(path, RUN_REMEDY_NODE, &r.run, reason);
    if (err)
        return err;
    err = run_meta(r.run, &meta, reason);
    if (!err) {
        err = state_meta_pos(s, meta.data, meta.len, &r.pos);
        if (err)
            buf_printf(reason, "%s: its meta record is not valid: %s; " RUN_REMEDY_NODE, path,
                       err_text(err));
    }
    buf_free(&meta);
    if (err)
        run_unref(&r.run);
    else
        *ret_run = r;
    return err;
}

struct finding {
    struct state *state;
    uint64_t first, last; /* sequence numbers; last 0: none */
    unsigned n;
    struct buf *reason;
};

/* Deletes what is of no use, and notes the runs. Other files are not ours. */
static int find_run(void *ctx, const char *dir, const char *name)
{
    struct finding *f = ctx;
    uint64_t seq;
    if (strcmp(name, "run" NEW) == 0)
        return remove_name(f->reason, dir, name);
    if (!parse_numbered(name, RUN, &seq))
        return 0;
    if (seq <= f->state->mark.run_seq) /* merged, and not deleted in time */
        return remove_name(f->reason, dir, name);
    f->n++;
    if (seq > f->last)
        f->last = seq;
    return 0;
}

/* In order, positions never falling (PITFALLS 55). */
static int open_next(struct state *s, uint64_t seq, struct buf *reason)
{
    char *path = state_run_name(s, seq);
    struct kv_pos before = s->n_runs ? s->runs[s->n_runs - 1].pos : s->mark.pos;
    struct state_run *r = &s->runs[s->n_runs];
    int err = state_open_run(s, path, seq, r, reason);
    if (err == ERR_NOT_FOUND)
        err = ERR_CORRUPT; /* one is missing between others; the reason says its name */
    else if (!err)
        s->n_runs++;
    if (!err && r->pos.index < before.index) {
        buf_printf(reason, "%s is of an earlier position than the one before it; " RUN_REMEDY_NODE,
                   path);
        err = ERR_CORRUPT;
    }
    mem_free(path);
    return err;
}

/* What is half merged is right only below all the runs that it is of. */
static int check_at_work(const struct state *s, struct buf *reason)
{
    const struct state_mark *m = &s->mark;
    if (m->last_seq == 0 || (m->last_seq > m->run_seq && m->last_seq - m->run_seq <= s->n_runs))
        return 0;
    buf_printf(reason, "%s lacks run-%" PRIu64 ", which is partly merged; " RUN_REMEDY_NODE, s->dir,
               m->last_seq);
    return ERR_CORRUPT;
}

int state_find_runs(struct state *s, struct buf *reason)
{
    struct finding f = {.state = s, .reason = reason};
    int err = each_name(s->dir, find_run, &f, reason);
    if (!err && f.n > STATE_RUNS_MAX) {
        buf_printf(reason, "%s has %u runs, at most %d are possible; " RUN_REMEDY_NODE, s->dir, f.n,
                   STATE_RUNS_MAX);
        return ERR_CORRUPT;
    }
    for (uint64_t seq = s->mark.run_seq + 1; !err && f.n > 0 && seq <= f.last; seq++)
        err = open_next(s, seq, reason);
    return err ? err : check_at_work(s, reason);
}
