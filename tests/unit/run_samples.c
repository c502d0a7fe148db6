/* SPDX-License-Identifier: MIT
 * Runs whose contents can be told from the place alone.
 */
#include "run_samples.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/rng.h"
#include "store/run_format.h"

static char key_text[64];
static uint8_t key_bytes[LIMIT_KEY_BYTES];
static uint8_t value_bytes[2048];
static uint8_t attrs_bytes[LIMIT_ATTRS_BYTES];

static struct kv_record record_of(uint64_t i, const void *key, size_t key_len, size_t value_len)
{
    struct rng rng = {i};
    for (size_t at = 0; at < value_len; at++)
        value_bytes[at] = (uint8_t)rng_next(&rng);
    struct kv_record record = {.key = key, .key_len = key_len};
    record.value = (struct kv_value){.data = value_bytes,
                                     .len = value_len,
                                     .revision = 1000 + i,
                                     .create_revision = 500 + i / 2,
                                     .version = 1 + i % 300};
    return record;
}

/* One in three has 1 to max bytes of attributes. */
static struct kv_record with_attrs(struct kv_record record, uint64_t i, size_t max)
{
    memset(attrs_bytes, (int)i, sizeof attrs_bytes);
    record.value.attrs = attrs_bytes;
    record.value.attrs_len = i % 3 == 1 ? 1 + (size_t)(i / 3 * 127 % max) : 0;
    return record;
}

struct kv_record run_sample_small(uint64_t i)
{
    int len = snprintf(key_text, sizeof key_text, "app/config/%010llu", (unsigned long long)i);
    if (i % 7 == 3)
        return (struct kv_record){.key = (const uint8_t *)key_text,
                                  .key_len = (size_t)len,
                                  .deleted = true,
                                  .value.revision = UINT64_MAX - i};
    return with_attrs(record_of(i, key_text, (size_t)len, 32), i, 20);
}

struct kv_record run_sample_long(uint64_t i)
{
    int len = snprintf(key_text, sizeof key_text, "long/%06llu", (unsigned long long)i);
    return record_of(i, key_text, (size_t)len, i % 5 == 4 ? 0 : 640);
}

/* The first two bytes are the number; the rest is noise, of which the length is part. */
struct kv_record run_sample_binary(uint64_t i)
{
    struct rng rng = {~i};
    if (i == 0) {
        key_bytes[0] = 0;
        return record_of(i, key_bytes, 1, 0);
    }
    size_t len = i % 4 == 0 ? LIMIT_KEY_BYTES : rng_range(&rng, 2, LIMIT_KEY_BYTES);
    for (size_t at = 0; at < len; at++)
        key_bytes[at] = (uint8_t)rng_next(&rng);
    uint64_t place = i * 32 + 31; /* below 65536, ends with 255 in the last */
    key_bytes[0] = (uint8_t)(place >> 8);
    key_bytes[1] = (uint8_t)place;
    return with_attrs(record_of(i, key_bytes, len, i % 50), i, LIMIT_ATTRS_BYTES);
}

int run_sample_sink(void *ctx, const void *p, size_t len, struct buf *reason)
{
    (void)reason;
    buf_append(ctx, p, len);
    return 0;
}

void run_sample_put(struct run_writer *w, run_sample_fn *record, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        struct kv_record r = record(i);
        ASSERT(run_writer_put(w, &r) == 0);
    }
}

void run_sample_make(run_sample_fn *record, uint64_t n, struct buf *out)
{
    struct buf reason = BUF_INIT;
    struct run_writer *w = run_writer_new_stream(run_sample_sink, out);
    run_sample_put(w, record, n);
    ASSERT(run_writer_finish(&w, RUN_SAMPLE_META, sizeof RUN_SAMPLE_META, NULL, &reason) == 0);
    ASSERT(reason.len == 0);
}

bool run_sample_equal(const struct kv_record *a, const struct kv_record *b)
{
    return a->key_len == b->key_len && memcmp(a->key, b->key, a->key_len) == 0 &&
           a->deleted == b->deleted && a->value.len == b->value.len &&
           (a->value.len == 0 || memcmp(a->value.data, b->value.data, a->value.len) == 0) &&
           a->value.attrs_len == b->value.attrs_len &&
           (a->value.attrs_len == 0 ||
            memcmp(a->value.attrs, b->value.attrs, a->value.attrs_len) == 0) &&
           a->value.revision == b->value.revision &&
           a->value.create_revision == b->value.create_revision &&
           a->value.version == b->value.version;
}

/* ---- resealing ---- */

static void reseal_blocks(uint8_t *p, const struct run_footer *f)
{
    const uint8_t *index = p + f->index_offset;
    for (uint64_t i = 0; i < f->n_blocks; i++) {
        uint64_t from = bytes_get_be(index + i * RUN_INDEX_ENTRY_BYTES, 8);
        uint64_t to = i + 1 == f->n_blocks
                          ? f->meta_offset
                          : bytes_get_be(index + (i + 1) * RUN_INDEX_ENTRY_BYTES, 8);
        if (from > f->meta_offset || to > f->meta_offset || from + RUN_BLOCK_HEADER_BYTES > to)
            continue;
        uint32_t crc = crc32c(run_block_crc_start(from), p + from + 4, to - from - 4);
        bytes_put_be(p + from, crc, 4);
    }
}

void run_sample_reseal(uint8_t *p, size_t len)
{
    uint8_t blank[RUN_FOOTER_BYTES];
    struct run_footer f;
    if (len < RUN_FILE_BYTES_MIN)
        return;
    uint64_t end = len - RUN_FOOTER_BYTES;
    uint8_t *tail = p + end;
    run_header_encode(p);
    /* Right magic and checksum around the fields as they are. */
    memcpy(blank, tail, sizeof blank);
    const size_t sealed = RUN_FOOTER_BYTES - RUN_MAGIC_BYTES - 4;
    bytes_put_be(blank + sealed, crc32c(0, blank, sealed), 4);
    memcpy(blank + sealed + 4, RUN_MAGIC_END, RUN_MAGIC_BYTES);
    ASSERT(run_footer_decode(blank, &f));
    f.version = RUN_FORMAT_VERSION;
    if (f.meta_offset <= f.filter_offset && f.filter_offset <= f.index_offset &&
        f.index_offset <= end) {
        if (f.n_blocks <= (end - f.index_offset) / RUN_INDEX_ENTRY_BYTES)
            reseal_blocks(p, &f);
        f.meta_crc = crc32c(0, p + f.meta_offset, f.filter_offset - f.meta_offset);
        f.filter_crc = crc32c(0, p + f.filter_offset, f.index_offset - f.filter_offset);
        f.index_crc = crc32c(0, p + f.index_offset, end - f.index_offset);
    }
    f.digest = crc32c(0, p, end);
    run_footer_encode(&f, tail);
}

struct run *run_sample_opened(const struct buf *bytes)
{
    struct run *r = NULL;
    struct buf reason = BUF_INIT;
    int err = run_open_bytes(bytes->data, bytes->len, RUN_REMEDY_NODE, &r, &reason);
    if (err)
        fprintf(stderr, "%s\n", buf_str(&reason));
    ASSERT(err == 0);
    return r;
}
