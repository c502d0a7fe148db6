/* SPDX-License-Identifier: MIT
 * Workers are processes, so that a store that falls over takes only its image
 * with it. Which one a worker is at stands in shared memory: its successor goes
 * on after it.
 */
#define _GNU_SOURCE
#include "run.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "check.h"
#include "recover.h"
#include "seen.h"

#define WORKERS_MAX    16
#define GO_ON_ONE_IN   16  /* images that are also written to */
#define COMPARE_ONE_IN 512 /* images whose files are compared with what they should be */
#define RECOVER_ONE_IN 3   /* histories that are recoveries from a loss */
#define REFUSED_MAX    200 /* of one worker: a refused image may leave its environment open */
#define IMAGE_MAX_S    120 /* for ALARM_EVERY images, then the worker hangs */
#define ALARM_EVERY    64
#define EXIT_TIRED     9
#define RUN_PATH_MAX   256
#define RECORDING      "recording" /* a directory in the worker's own */

/* Where a worker is. */
struct place {
    bool busy;
    uint64_t history, point;
    unsigned variant;
};

struct shared {
    _Atomic uint64_t next_history, made, distinct, checked, went_on, recovering, refused, failures;
    _Atomic uint64_t made_by_damage[DAMAGES], by_damage[DAMAGES], by_kind[RUN_KINDS_MAX];
    atomic_bool stop;
    struct place places[WORKERS_MAX];
};

static struct shared *shared;
static struct seen seen_bytes, seen_images;

struct worker {
    const struct run_options *options;
    struct place *place;
    struct history *history;
    struct disk disk;
    struct stage stage;
    unsigned refused, since_alarm;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t seed_of(const struct run_options *o, uint64_t history)
{
    struct rng r = {o->seed * 0x9e3779b97f4a7c15u + history};
    return rng_next(&r);
}

static unsigned kind_of(const struct run_options *o, uint64_t history)
{
    return o->kind >= 0 ? (unsigned)o->kind : (unsigned)(history % history_kinds());
}

/* Every so many histories begin when the power is back. */
static bool is_after_loss(uint64_t history)
{
    return history % RECOVER_ONE_IN == RECOVER_ONE_IN - 1;
}

static struct rng rng_of(const struct history *h, uint64_t point, unsigned variant)
{
    struct rng r = {h->seed ^ (point * 64 + variant) * 0xd1342543de82ef95u};
    rng_next(&r);
    return r;
}

/* ---- a worker ---- */

static void worker_init(struct worker *w, const struct run_options *o, const char *tmp, unsigned i)
{
    char root[RUN_PATH_MAX + 16];
    /* LMDB callocs 2 MiB for each environment and uses a page of it. Zero pages from mmap() cost
     * nothing; glibc would take to clearing the heap instead, once the first of them was freed. */
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    memset(w, 0, sizeof *w);
    w->options = o;
    snprintf(root, sizeof root, "%s/%u", tmp, i);
    stage_remove_tree(root);
    ASSERT(mkdir(root, 0700) == 0 && chdir(root) == 0); /* short paths are found faster */
    stage_init(&w->stage, "image");
}

/* A recording that missed something would make images that never were. */
static void check_recording(struct worker *w)
{
    static struct disk end;
    disk_init(&end, &w->history->trace);
    while (end.at < w->history->trace.n_ops) {
        disk_step(&end);
        disk_settle(&end);
    }
    for (size_t i = 0; i < end.n_pending; i++)
        disk_put(&end, &end.pending[i]);
    if (!stage_matches(RECORDING, &end)) {
        fprintf(stderr, "power: the recording of history %" PRIu64 " does not lead to its files\n",
                w->place->history);
        exit(3);
    }
    disk_free(&end);
}

static void begin_history(struct worker *w)
{
    const struct run_options *o = w->options;
    uint64_t n = w->place->history;
    stage_remove_tree(RECORDING);
    ASSERT(mkdir(RECORDING, 0700) == 0);
    record_lie(o->lie);
    w->history = history_record(RECORDING, kind_of(o, n), seed_of(o, n));
    if (is_after_loss(n))
        recover(w->history, RECORDING);
    record_lie(RECORD_HONEST);
    if (o->lie == RECORD_HONEST)
        check_recording(w);
    disk_init(&w->disk, &w->history->trace);
}

static void end_history(struct worker *w)
{
    disk_free(&w->disk);
    stage_reset(&w->stage);
    history_free(&w->history);
}

static void say_failure(const struct run_options *o, const struct place *p, const char *why)
{
    char kind[32] = "";
    if (o->kind >= 0)
        snprintf(kind, sizeof kind, " --kind %d", o->kind);
    if (atomic_fetch_add(&shared->failures, 1) + 1 >= o->failures_max)
        atomic_store(&shared->stop, true);
    fprintf(stderr,
            "FAILED (%s%s, %s): %s\n    see it again: %s --seed %" PRIu64 "%s%s%s --replay %" PRIu64
            ":%" PRIu64 ":%u\n",
            history_kind_name(kind_of(o, p->history)),
            is_after_loss(p->history) ? " after a loss" : "",
            damage_name(damage_of_variant(p->variant)), why, o->program, o->seed, kind,
            o->lie ? " --lie " : "", o->lie ? record_lie_name(o->lie) : "", p->history, p->point,
            p->variant);
}

/* Opens the image that is built. */
static enum check_result open_image(struct worker *w, enum stage_locks locks, bool go_on,
                                    struct buf *why)
{
    enum damage damage = damage_of_variant(w->place->variant);
    stage_put(&w->stage, &w->disk, locks);
    stage_watch(&w->stage, &w->disk);
    enum check_result result = check_image(w->history, w->disk.marks, w->stage.root, go_on, why);
    stage_unwatch();
    if (result == CHECK_REFUSED) {
        w->refused++;
        w->stage.is_known = false; /* what it left is open still */
        if (damage != DAMAGE_META)
            result = CHECK_WRONG;
    }
    return result;
}

static void check_bookkeeping(struct worker *w, uint64_t number)
{
    if (number % COMPARE_ONE_IN != 0)
        return;
    stage_put(&w->stage, &w->disk, STAGE_LOCKS_KEPT);
    if (!stage_matches(w->stage.root, &w->disk)) {
        fprintf(stderr, "power: an image is not on the disk as it was built\n");
        exit(3);
    }
}

static void count(const struct worker *w, bool went_on, enum check_result result)
{
    atomic_fetch_add(&shared->by_damage[damage_of_variant(w->place->variant)], 1);
    atomic_fetch_add(&shared->by_kind[w->history->kind], 1);
    atomic_fetch_add(&shared->went_on, went_on);
    atomic_fetch_add(&shared->recovering, is_after_loss(w->place->history));
    atomic_fetch_add(&shared->refused, result == CHECK_REFUSED);
}

/* A torn meta page may show only when the next transaction believes it. */
static bool goes_on(unsigned variant, struct rng *rng)
{
    return damage_of_variant(variant) == DAMAGE_META || rng_next(rng) % GO_ON_ONE_IN == 0;
}

/* Bytes that were checked are not checked again, unless more has been promised since. */
static bool is_new(struct worker *w)
{
    uint64_t hash = disk_hash(&w->disk);
    struct rng r = {hash + 3 * w->disk.marks[MARK_PROMISED] + (w->disk.marks[MARK_BOOT] << 32)};
    enum damage damage = damage_of_variant(w->place->variant);
    uint64_t salt = damage == DAMAGE_LOCKS ? 1 : 0;
    atomic_fetch_add(&shared->made, 1);
    atomic_fetch_add(&shared->made_by_damage[damage], 1);
    struct rng promised = {rng_next(&r) + salt + w->history->seed};
    if (seen_add(&seen_bytes, hash) &&
        atomic_fetch_add(&shared->distinct, 1) + 1 >= w->options->images)
        atomic_store(&shared->stop, true);
    return seen_add(&seen_images, rng_next(&promised));
}

static void check_variant(struct worker *w)
{
    struct rng rng = rng_of(w->history, w->place->point, w->place->variant);
    enum stage_locks locks;
    if (!damage_build(&w->disk, w->place->variant, &rng, &locks))
        return;
    if (is_new(w)) {
        struct buf why = BUF_INIT;
        uint64_t number = atomic_fetch_add(&shared->checked, 1);
        bool go_on = goes_on(w->place->variant, &rng);
        if (w->since_alarm++ % ALARM_EVERY == 0)
            alarm(IMAGE_MAX_S);
        check_bookkeeping(w, number);
        enum check_result result = open_image(w, locks, go_on, &why);
        if (result == CHECK_WRONG)
            say_failure(w->options, w->place, buf_str(&why));
        count(w, go_on, result);
        buf_free(&why);
    }
    disk_undo(&w->disk);
}

/* Every variant of every point from (point, variant) on. */
static void check_history(struct worker *w, uint64_t point, unsigned variant)
{
    /* A point is after an operation, or inside of an O_DSYNC write: two to each operation. */
    for (uint64_t at = 0; w->disk.at < w->history->trace.n_ops && !atomic_load(&shared->stop);) {
        disk_step(&w->disk);
        for (unsigned half = disk_is_inside(&w->disk) ? 0 : 1; half < 2; half++) {
            at = 2 * w->disk.at + half;
            if (half == 1)
                disk_settle(&w->disk);
            if (at < point || w->disk.at <= w->history->first_point)
                continue;
            w->place->point = at;
            unsigned n = damage_variants(&w->disk);
            for (unsigned v = at == point ? variant : 0; v < n; v++) {
                w->place->variant = v;
                if (atomic_load(&shared->stop))
                    return;
                check_variant(w);
                if (w->refused >= REFUSED_MAX)
                    _exit(EXIT_TIRED);
            }
        }
    }
}

static _Noreturn void work(const struct run_options *o, const char *tmp, unsigned i)
{
    static struct worker w;
    worker_init(&w, o, tmp, i);
    w.place = &shared->places[i];
    while (!atomic_load(&shared->stop)) {
        uint64_t point = 0;
        unsigned variant = 0;
        if (w.place->busy) { /* after what its predecessor was at */
            point = w.place->point;
            variant = w.place->variant + 1;
        } else {
            w.place->history = atomic_fetch_add(&shared->next_history, 1);
            w.place->point = w.place->variant = 0;
        }
        w.place->busy = true;
        begin_history(&w);
        check_history(&w, point, variant);
        end_history(&w);
        w.place->busy = false;
    }
    stage_free(&w.stage);
    _exit(0);
}

/* ---- the whole ---- */

static pid_t start(const struct run_options *o, const char *tmp, unsigned i)
{
    fflush(NULL);
    pid_t pid = fork();
    ASSERT(pid >= 0);
    if (pid == 0)
        work(o, tmp, i);
    return pid;
}

static void say_progress(const struct run_options *o, double begin)
{
    uint64_t distinct = atomic_load(&shared->distinct), checked = atomic_load(&shared->checked);
    double seconds = now_s() - begin;
    fprintf(stderr,
            "[%4.0f s] %" PRIu64 " images of %" PRIu64 ", %" PRIu64 " checks, %.0f/s, %" PRIu64
            " failures\n",
            seconds, distinct, o->images, checked, (double)checked / seconds,
            atomic_load(&shared->failures));
}

/* False: the harness itself is broken. */
static bool end_of(const struct run_options *o, unsigned i, int status)
{
    char why[80];
    if (WIFEXITED(status) && (WEXITSTATUS(status) == EXIT_TIRED || WEXITSTATUS(status) == 0))
        return true;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 3)
        return false;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        snprintf(why, sizeof why, "no end within %d s", IMAGE_MAX_S);
    else if (WIFSIGNALED(status))
        snprintf(why, sizeof why, "the process was ended by signal %d", WTERMSIG(status));
    else
        snprintf(why, sizeof why, "the process exited with %d", WEXITSTATUS(status));
    say_failure(o, &shared->places[i], why);
    return true;
}

static bool supervise(const struct run_options *o, const char *tmp, double begin)
{
    pid_t pids[WORKERS_MAX] = {0};
    double next = begin + o->progress_s;
    bool sound = true;
    unsigned running = o->workers;
    for (unsigned i = 0; i < o->workers; i++)
        pids[i] = start(o, tmp, i);
    while (running > 0) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0) {
            usleep(20000);
            if (o->seconds_max && now_s() >= begin + o->seconds_max)
                atomic_store(&shared->stop, true);
            if (o->progress_s && now_s() >= next) {
                say_progress(o, begin);
                next += o->progress_s;
            }
            continue;
        }
        for (unsigned i = 0; i < o->workers; i++) {
            if (pids[i] != pid)
                continue;
            pids[i] = 0;
            sound &= end_of(o, i, status);
            if (!sound)
                atomic_store(&shared->stop, true);
            if (atomic_load(&shared->stop))
                running--;
            else
                pids[i] = start(o, tmp, i);
        }
    }
    return sound;
}

static void take_counts(struct run_counts *c, double seconds)
{
    *c = (struct run_counts){
        .histories = atomic_load(&shared->next_history),
        .made = atomic_load(&shared->made),
        .distinct = atomic_load(&shared->distinct),
        .checked = atomic_load(&shared->checked),
        .went_on = atomic_load(&shared->went_on),
        .recovering = atomic_load(&shared->recovering),
        .refused = atomic_load(&shared->refused),
        .failures = atomic_load(&shared->failures),
        .seconds = seconds,
    };
    for (unsigned i = 0; i < DAMAGES; i++) {
        c->made_by_damage[i] = atomic_load(&shared->made_by_damage[i]);
        c->by_damage[i] = atomic_load(&shared->by_damage[i]);
    }
    for (unsigned i = 0; i < history_kinds(); i++)
        c->by_kind[i] = atomic_load(&shared->by_kind[i]);
}

static void share(const struct run_options *o)
{
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT(shared != MAP_FAILED && o->workers <= WORKERS_MAX);
    ASSERT(history_kinds() <= RUN_KINDS_MAX);
    seen_init(&seen_bytes, o->images);
    seen_init(&seen_images, 4 * o->images);
}

/* Workers leave this directory. */
static void make_absolute(const char *path, char out[RUN_PATH_MAX])
{
    char here[RUN_PATH_MAX / 2] = "";
    if (*path != '/')
        ASSERT(getcwd(here, sizeof here));
    int len = snprintf(out, RUN_PATH_MAX, "%s%s%s", here, *path == '/' ? "" : "/", path);
    ASSERT(len > 0 && len < RUN_PATH_MAX);
}

static void make_tmp(const struct run_options *o, char out[RUN_PATH_MAX])
{
    char template[RUN_PATH_MAX - 16];
    snprintf(template, sizeof template, "%s/power-XXXXXX", o->tmp);
    make_absolute(template, out);
    if (!mkdtemp(out)) {
        fprintf(stderr, "power: cannot make %s: %m\n", out);
        exit(3);
    }
}

void run_all(const struct run_options *options, struct run_counts *ret_counts)
{
    char tmp[RUN_PATH_MAX];
    share(options);
    make_tmp(options, tmp);
    double begin = now_s();
    bool sound = supervise(options, tmp, begin);
    take_counts(ret_counts, now_s() - begin);
    stage_remove_tree(tmp);
    seen_free(&seen_bytes);
    seen_free(&seen_images);
    if (!sound)
        exit(3);
}

/* ---- one image ---- */

static void say_pending(const struct disk *d)
{
    for (size_t i = 0; i < d->n_pending; i++) {
        const struct disk_pending *p = &d->pending[i];
        static const char *const names[] = {"make",    "rename",   "remove", "write",
                                            "O_DSYNC", "truncate", "sync",   "mark"};
        printf("    operation %zu: %s node %" PRIu32 " %s offset %" PRIu64 " length %" PRIu32
               "%s\n",
               p->at, names[p->op->kind], p->op->node, p->op->name, p->op->offset, p->op->len,
               p->forced ? ", durable" : "");
    }
}

static bool go_to(struct worker *w, uint64_t point)
{
    while (w->disk.at < w->history->trace.n_ops) {
        disk_step(&w->disk);
        if (2 * w->disk.at == point && disk_is_inside(&w->disk))
            return true;
        disk_settle(&w->disk);
        if (2 * w->disk.at + 1 == point)
            return true;
    }
    return false;
}

static int see(struct worker *w, const char *keep)
{
    enum stage_locks locks;
    struct buf why = BUF_INIT;
    struct rng rng = rng_of(w->history, w->place->point, w->place->variant);
    if (!go_to(w, w->place->point) || w->place->variant >= damage_variants(&w->disk) ||
        !damage_build(&w->disk, w->place->variant, &rng, &locks)) {
        fprintf(stderr, "power: there is no such image\n");
        return 2;
    }
    printf("history %" PRIu64 " (%s%s), trace %08" PRIx32 " of %zu operations\n", w->place->history,
           history_kind_name(w->history->kind),
           is_after_loss(w->place->history) ? " after a loss" : "",
           trace_digest(&w->history->trace), w->history->trace.n_ops);
    enum damage damage = damage_of_variant(w->place->variant);
    printf("power fails %s operation %zu: %s, %s\n", w->place->point % 2 ? "after" : "inside",
           w->disk.at - 1, damage_name(damage), damage_text(damage));
    printf("states: promised %" PRIu64 ", begun %" PRIu64 "; boot %" PRIu64 "; not durable:\n",
           w->disk.marks[MARK_PROMISED], w->disk.marks[MARK_BEGUN], w->disk.marks[MARK_BOOT]);
    say_pending(&w->disk);
    stage_leave(keep, &w->disk, locks);
    printf("the image is in %s/data\n", keep);
    bool go_on = goes_on(w->place->variant, &rng);
    enum check_result result = open_image(w, locks, go_on, &why);
    printf("%s%s%s\n",
           result == CHECK_RIGHT     ? "right"
           : result == CHECK_REFUSED ? "refused, as it may be: "
                                     : "WRONG: ",
           result == CHECK_RIGHT ? "" : buf_str(&why), go_on ? " (it went on)" : "");
    buf_free(&why);
    return result == CHECK_WRONG;
}

int run_one(const struct run_options *options, const char *name, const char *keep)
{
    static struct worker w;
    char tmp[RUN_PATH_MAX], kept[RUN_PATH_MAX];
    share(options);
    make_tmp(options, tmp);
    make_absolute(keep, kept);
    worker_init(&w, options, tmp, 0);
    w.place = &shared->places[0];
    if (sscanf(name, "%" SCNu64 ":%" SCNu64 ":%u", &w.place->history, &w.place->point,
               &w.place->variant) != 3) {
        fprintf(stderr, "power: an image is named HISTORY:POINT:VARIANT\n");
        return 2;
    }
    begin_history(&w);
    int code = see(&w, kept);
    end_history(&w);
    stage_free(&w.stage);
    stage_remove_tree(tmp);
    return code;
}
