/* SPDX-License-Identifier: MIT
 * When runs are merged, and how fast.
 *
 * LMDB writes a page anew for the first record that falls into it, 4096 bytes
 * for a record of 100, and the others that do come nearly for nothing. With many
 * keys, those of one run lie in a page of their own each; of several runs at once
 * more lie in each page. So runs wait for each other, two thirds of as many as
 * there may be: the last third is for those that come meanwhile. To look a key up
 * costs the same with 20 runs as with 2, because of their filters (measured).
 */
#include "base/clock.h"
#include "store/state_impl.h"

#define PAGE_BYTES 4096
/* With so many records for each page of the file, waiting for more saves little. */
#define RECORDS_PER_PAGE 12
/* A slice frees pages that the next one cannot use yet: the file is larger than its data by the
 * size of two or three slices, which is to be little. */
#define SLICES_MIN      128
#define SLICE_BYTES_MIN (256 * KIB)
/* With fewer free places for runs than these nothing rests. */
#define FREE_MIN 2

/* All of it is one slice, or pages are written for many records each. */
static bool is_cheap(const struct state *s)
{
    uint64_t pages = state_db_used(&s->db) / PAGE_BYTES, records = 0;
    for (unsigned i = 0; i < s->n_runs; i++)
        records += run_info(s->runs[i].run).n_records;
    uint64_t written = records < pages ? records : pages;
    return written * PAGE_BYTES <= s->options.slice_bytes || records / RECORDS_PER_PAGE >= pages;
}

unsigned state_runs_due(const struct state *s)
{
    if (s->n_runs == 0)
        return 0;
    if (s->mark.last_seq) /* begun, perhaps before a restart */
        return (unsigned)(s->mark.last_seq - s->mark.run_seq);
    bool is_due = s->n_runs >= s->options.merge_runs || is_cheap(s) ||
                  clock_now_ms() - s->runs[0].since_ms >= s->options.merge_wait_ms;
    return is_due ? s->n_runs : 0;
}

size_t state_slice_bytes(const struct state *s)
{
    uint64_t some = state_db_used(&s->db) / SLICES_MIN, most = s->options.slice_bytes;
    if (some < SLICE_BYTES_MIN)
        some = SLICE_BYTES_MIN;
    return (size_t)(some < most ? some : most);
}

uint64_t state_rest_us(struct state *s, uint64_t took_us)
{
    pthread_mutex_lock(&s->lock);
    if (took_us > s->stats.slice_us_max)
        s->stats.slice_us_max = took_us;
    bool is_full = STATE_RUNS_MAX - s->n_runs < FREE_MIN;
    pthread_mutex_unlock(&s->lock);
    return is_full ? 0 : took_us;
}
