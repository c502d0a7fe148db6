/* SPDX-License-Identifier: MIT
 *      file of the log   |####### used #######|.... blocks kept ....|
 *                                             ^ end of file, and of what LMDB has used
 *
 * The kept blocks are made by fallocate() without a change of the file's size;
 * no content moves, so nothing is to be synced. Where a file system cannot do
 * that, only what is free counts.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* fallocate */
#endif
#include "store/space.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/mem.h"
#include "store/env.h"

/* Parts of the file system, within bounds. */
#define RESERVE_PART  32
#define RESERVE_MIN   (8 * MIB)
#define RESERVE_MAX   (128 * MIB)
#define KEPT_PART     64
#define KEPT_MIN      (4 * MIB)
#define KEPT_MAX      (32 * MIB)
#define GONE_BYTES    MIB
#define COUNTED_BYTES (64 * KIB)
/* Beyond this part of its map the log is full (PITFALLS part 2): what is left is for purging. */
#define MAP_PERCENT   80
#define COUNT_FREE_MS 1000
/* What is in the journal takes up to so many times as much in LMDB: an entry of a little more than
 * half a page has a page of its own. */
#define SETTLED_FACTOR 2
/* About what a record takes in the state beyond its key and value, and what pages leave empty. */
#define RECORD_BYTES 64

struct store_space {
    const struct store_log *log; /* borrowed */
    int fd;                      /* of its file, LMDB's; -1: none */
    bool cannot_keep;            /* the file system */
    uint64_t kept_to;            /* offset */
    uint64_t log_free, counted_ms;
    pthread_mutex_t lock; /* of what follows */
    struct storage_space now;
};

static uint64_t within(uint64_t n, uint64_t least, uint64_t most)
{
    return n < least ? least : n > most ? most : n;
}

/* What an earlier start has kept. Blocks are counted, and a few of them are the file system's own.
 */
static uint64_t blocks_end(int fd)
{
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0)
        return 0;
    uint64_t bytes = (uint64_t)st.st_blocks * 512;
    return bytes > COUNTED_BYTES ? bytes - COUNTED_BYTES : 0;
}

struct store_space *store_space_new(const struct store_log *log)
{
    struct store_space *s = mem_zalloc(sizeof *s);
    mdb_filehandle_t fd;
    s->log = log;
    s->fd = mdb_env_get_fd(log->env, &fd) == 0 ? fd : -1;
    s->kept_to = blocks_end(s->fd);
    s->now.disk_free = s->now.log_room = UINT64_MAX / 2; /* until it is known */
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void store_space_free(struct store_space **s)
{
    if (!*s)
        return;
    pthread_mutex_destroy(&(*s)->lock);
    MEM_FREE(*s);
}

static uint64_t free_bytes(const struct statvfs *fs)
{
    return (uint64_t)fs->f_bavail * fs->f_frsize;
}

/* Not from the last that is there: a failed attempt may take what it finds. */
static void keep_blocks(struct store_space *s, uint64_t used, struct statvfs *fs)
{
    uint64_t total = (uint64_t)fs->f_blocks * fs->f_frsize;
    uint64_t wanted = within(total / KEPT_PART, KEPT_MIN, KEPT_MAX);
    if (s->cannot_keep || s->kept_to >= used + wanted / 2 || free_bytes(fs) < 2 * wanted)
        return;
    if (fallocate(s->fd, FALLOC_FL_KEEP_SIZE, (off_t)used, (off_t)wanted) == 0)
        s->kept_to = used + wanted;
    else if (errno != ENOSPC && errno != EDQUOT)
        s->cannot_keep = true;
    (void)fstatvfs(s->fd, fs);
}

/* What of the log's map is in use; the free list is looked at only when it matters. */
static uint64_t log_in_use(struct store_space *s, uint64_t used, uint64_t map)
{
    if (used < map / 100 * MAP_PERCENT)
        return used;
    if (s->counted_ms == 0 || clock_now_ms() - s->counted_ms >= COUNT_FREE_MS) {
        s->log_free = store_env_free(s->log->env);
        s->counted_ms = clock_now_ms();
    }
    return used > s->log_free ? used - s->log_free : 0;
}

void store_space_update(struct store_space *s, const struct state_stats *state)
{
    struct statvfs fs;
    if (s->fd < 0 || fstatvfs(s->fd, &fs) != 0 || fs.f_blocks == 0)
        return; /* nothing is known, and nothing refused */
    uint64_t used = store_env_used(s->log->env), map = store_env_map(s->log->env);
    keep_blocks(s, used, &fs);
    uint64_t waiting = SETTLED_FACTOR * (uint64_t)store_journal_used(s->log->journal);
    uint64_t in_use = log_in_use(s, used, map) + waiting;
    uint64_t live = state->bytes + state->bytes / 2 + state->n_keys * RECORD_BYTES;
    struct storage_space now = {
        .disk_free = free_bytes(&fs),
        .spare = state->used_bytes > live ? state->used_bytes - live : 0,
        .reserve =
            within((uint64_t)fs.f_blocks * fs.f_frsize / RESERVE_PART, RESERVE_MIN, RESERVE_MAX),
        .log_is_full = in_use >= map / 100 * MAP_PERCENT,
    };
    uint64_t disk = now.disk_free + (s->kept_to > used ? s->kept_to - used : 0);
    uint64_t on_disk = disk > waiting ? disk - waiting : 0,
             in_map = map > in_use ? map - in_use : 0;
    now.log_room = on_disk < in_map ? on_disk : in_map;
    pthread_mutex_lock(&s->lock);
    s->now = now;
    pthread_mutex_unlock(&s->lock);
}

struct storage_space store_space(struct store_space *s)
{
    pthread_mutex_lock(&s->lock);
    struct storage_space now = s->now;
    pthread_mutex_unlock(&s->lock);
    return now;
}

bool store_space_is_gone(const struct store_space *s)
{
    struct statvfs fs;
    return s->fd >= 0 && fstatvfs(s->fd, &fs) == 0 && free_bytes(&fs) < GONE_BYTES;
}
