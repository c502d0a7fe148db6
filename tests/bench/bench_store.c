/* SPDX-License-Identifier: MIT
 * Synced commits per second through the storage thread, one write at a time:
 * usage: bench_store DIR [SECONDS]. DIR should be on the disk to be measured.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/store.h"

#define ENTRY_BYTES 128

struct bench {
    pthread_mutex_t lock;
    pthread_cond_t more;
    uint64_t written;
};

static void on_written(void *ctx, struct storage_write *w)
{
    struct bench *b = ctx;
    pthread_mutex_lock(&b->lock);
    b->written = w->seq;
    pthread_cond_signal(&b->more);
    pthread_mutex_unlock(&b->lock);
    storage_write_free(&w);
}

static void on_loaded(void *ctx, struct storage_load *l)
{
    (void)ctx;
    storage_load_free(&l);
}

static struct storage_write *write_of(uint64_t seq, uint64_t first, unsigned n)
{
    struct storage_write *w = storage_write_new(n);
    w->seq = seq;
    w->hard_state = (struct raft_hard_state){1, {1, 2}, first - 1};
    for (unsigned i = 0; i < n; i++) {
        w->entries[i] =
            raft_entry_new(RAFT_ENTRY_COMMAND, (struct raft_pos){1, first + i}, ENTRY_BYTES);
        memset(w->entries[i]->data, (int)(first + i), ENTRY_BYTES);
    }
    return w;
}

static void measure(struct bench *b, struct store *store, uint64_t *seq, uint64_t *first,
                    unsigned n, uint64_t seconds)
{
    struct storage *s = store_storage(store);
    uint64_t start = clock_now_us(), end = start + seconds * 1000000, n_commits = 0;
    while (clock_now_us() < end) {
        ++*seq;
        s->write(s, write_of(*seq, *first, n));
        *first += n;
        n_commits++;
        pthread_mutex_lock(&b->lock);
        while (b->written < *seq)
            pthread_cond_wait(&b->more, &b->lock);
        pthread_mutex_unlock(&b->lock);
    }
    double rate = (double)n_commits * 1e6 / (double)(clock_now_us() - start);
    printf("%4u entries per commit: %6.0f commits/s, %8.0f entries/s\n", n, rate, rate * n);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    uint64_t seconds = argc > 2 ? strtoull(argv[2], NULL, 10) : 3;
    struct bench b = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0};
    struct store_options options = {0};
    struct storage_identity identity;
    struct store *store;
    struct buf reason = BUF_INIT;
    if (store_open(argv[1], &options, &identity, &store, &reason) != 0) {
        fprintf(stderr, "%s\n", buf_str(&reason));
        return 1;
    }
    struct storage_events events = {.written = on_written, .loaded = on_loaded, .ctx = &b};
    store_start(store, &events);
    const unsigned sizes[] = {1, 64, 256};
    uint64_t seq = 0, first = 1;
    for (unsigned i = 0; i < 3; i++)
        measure(&b, store, &seq, &first, sizes[i], seconds);
    store_close(&store);
    return 0;
}
