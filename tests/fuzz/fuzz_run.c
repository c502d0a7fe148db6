/* SPDX-License-Identifier: MIT
 * Any bytes as a run: as they are, and once more under right checksums. A run
 * that opens is read by key, in order and as a whole. What run_verify() takes
 * reads the same in every way.
 */

#include "base/assert.h"
#include "base/mem.h"
#include "fuzz.h"
#include "unit/run_samples.h"

/* Touches every byte, so that a sanitizer sees those that are not ours. */
static unsigned sum_of(const struct kv_record *record)
{
    unsigned sum = 0;
    for (size_t i = 0; i < record->key_len; i++)
        sum += record->key[i];
    for (size_t i = 0; i < record->value.len; i++)
        sum += record->value.data[i];
    return sum;
}

/* All records in order; counts them, and gets each by its key. */
static int read_in_order(struct run *r, uint64_t *ret_n, bool sound)
{
    struct kv_cursor *c = run_cursor(r), *seeker = run_cursor(r);
    struct kv_record record, again;
    uint64_t n = 0;
    int err = kv_cursor_seek(c, NULL, 0, &record);
    for (; !err; n++) {
        (void)sum_of(&record);
        int get_err = run_get(r, record.key, record.key_len, &again, NULL);
        ASSERT(!sound || (get_err == 0 && run_sample_equal(&record, &again)));
        int seek_err = kv_cursor_seek(seeker, record.key, record.key_len, &again);
        ASSERT(!sound || (seek_err == 0 && run_sample_equal(&record, &again)));
        err = kv_cursor_next(c, &record);
    }
    kv_cursor_close(&c);
    kv_cursor_close(&seeker);
    *ret_n = n;
    return err;
}

static void read_all(struct run *r)
{
    struct buf reason = BUF_INIT, meta = BUF_INIT;
    uint64_t n = 0, at = 0;
    bool sound = run_verify(r, &reason) == 0;
    ASSERT(sound == (reason.len == 0));
    int err = read_in_order(r, &n, sound);
    ASSERT(!sound || (err == ERR_NOT_FOUND && n == run_info(r).n_records));
    ASSERT(run_meta(r, &meta, &reason) == 0 && meta.len == run_info(r).meta_bytes);
    while (at < run_info(r).file_bytes && !err)
        err = run_verify_some(r, &at, 1, &reason);
    ASSERT(!sound || reason.len == 0);
    buf_free(&meta);
    buf_free(&reason);
}

static void open_and_read(const uint8_t *data, size_t len)
{
    struct run *r = NULL;
    struct buf reason = BUF_INIT;
    int err = run_open_bytes(data, len, RUN_REMEDY_BACKUP, &r, &reason);
    ASSERT((err == 0) == (reason.len == 0) && (err == 0) == (r != NULL));
    if (r)
        read_all(r);
    run_unref(&r);
    buf_free(&reason);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    open_and_read(data, len);
    if (len == 0)
        return 0;
    uint8_t *sealed = mem_dup(data, len);
    run_sample_reseal(sealed, len);
    open_and_read(sealed, len);
    mem_free(sealed);
    return 0;
}

/* ---- seeds ---- */

static const struct {
    run_sample_fn *record;
    uint64_t n;
} seeds[] = {
    {run_sample_small, 0},  {run_sample_small, 1}, {run_sample_small, 5}, {run_sample_small, 100},
    {run_sample_binary, 3}, {run_sample_long, 1},  {run_sample_long, 5},
};

unsigned fuzz_n_seeds(void)
{
    return sizeof seeds / sizeof seeds[0];
}

void fuzz_seed(unsigned i, struct buf *out)
{
    run_sample_make(seeds[i].record, seeds[i].n, out);
}
