/* SPDX-License-Identifier: MIT
 * Writing a run. Held in memory are one block, the index, and a piece of output;
 * a large value goes from the caller's memory to the file.
 */
#define _GNU_SOURCE /* sync_file_range */
#include "store/run.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "store/dir.h"
#include "store/run_filter.h"
#include "store/run_format.h"

enum {
    OUT_BYTES = 256 * 1024,        /* what is handed to the sink at once, or more */
    WRITE_BACK_BYTES = 1024 * 1024 /* after so many the kernel is asked to begin */
};

struct file_sink {
    char *path; /* owned; NULL: the sink is somebody else's */
    int fd;
    uint64_t at;        /* bytes written */
    uint64_t pushed_at; /* bytes that the kernel was asked to bring to the disk */
};

struct run_writer {
    run_sink_fn *sink;
    void *sink_ctx;
    struct file_sink file;
    int err;           /* the first; 0: none */
    struct buf reason; /* of err */

    struct buf out;  /* bytes before `at` that the sink does not have yet */
    uint64_t at;     /* size of what was made so far */
    uint32_t digest; /* of that */

    struct buf records; /* of the block being filled */
    struct buf starts;
    uint16_t n; /* records in it */
    uint8_t last_key[LIMIT_KEY_BYTES];
    size_t last_key_len; /* 0: no record yet */

    struct buf hashes; /* u32 of each key, for the filter; empty after too many */
    struct buf index_entries;
    struct buf index_keys;
    struct run_info info;
};

/* ---- files ---- */

static int file_failed(const struct file_sink *file, struct buf *reason, const char *what)
{
    int errnum = errno;
    buf_printf(reason, "cannot %s %s: %s", what, file->path, strerror(errnum));
    return store_errno(errnum);
}

/* Begins to write back early, so that the sync at the end is short and does not hold up the syncs
 * of the log beside it. An error that is missed here is the sync's. */
static void push(struct file_sink *file)
{
    if (file->at - file->pushed_at < WRITE_BACK_BYTES)
        return;
    (void)sync_file_range(file->fd, (off_t)file->pushed_at, (off_t)(file->at - file->pushed_at),
                          SYNC_FILE_RANGE_WRITE);
    file->pushed_at = file->at;
}

static int file_write(void *ctx, const void *p, size_t len, struct buf *reason)
{
    struct file_sink *file = ctx;
    const uint8_t *b = p;
    while (len > 0) {
        ssize_t n = pwrite(file->fd, b, len, (off_t)file->at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            errno = n == 0 ? ENOSPC : errno;
            return file_failed(file, reason, "write");
        }
        b += n;
        len -= (size_t)n;
        file->at += (uint64_t)n;
        push(file);
    }
    return 0;
}

/* ---- output ---- */

static void flush(struct run_writer *w)
{
    if (!w->err && w->out.len > 0)
        w->err = w->sink(w->sink_ctx, w->out.data, w->out.len, &w->reason);
    buf_clear(&w->out);
}

static void emit(struct run_writer *w, const void *p, size_t len)
{
    w->digest = crc32c(w->digest, p, len);
    w->at += len;
    if (w->out.len + len > OUT_BYTES)
        flush(w);
    if (len <= OUT_BYTES)
        buf_append(&w->out, p, len);
    else if (!w->err)
        w->err = w->sink(w->sink_ctx, p, len, &w->reason);
}

/* ---- blocks ---- */

static size_t block_bytes(const struct run_writer *w)
{
    size_t bytes = RUN_BLOCK_BYTES;
    for (uint64_t n = w->info.n_blocks; n >= RUN_BLOCKS_OF_SIZE && bytes < RUN_BLOCK_BYTES_MAX;
         n -= RUN_BLOCKS_OF_SIZE)
        bytes *= 2;
    return bytes;
}

/* Ends the block; its last record goes on with these bytes, if any. */
static void close_block(struct run_writer *w, const void *more, size_t more_len)
{
    uint8_t header[RUN_BLOCK_HEADER_BYTES];
    bytes_put_be(header + 4, w->records.len + more_len, 4);
    bytes_put_be(header + 8, w->n, 2);
    uint32_t crc = crc32c(run_block_crc_start(w->at), header + 4, sizeof header - 4);
    crc = crc32c(crc, w->records.data, w->records.len);
    crc = crc32c(crc, more, more_len);
    crc = crc32c(crc, w->starts.data, w->starts.len);
    bytes_put_be(header, crc, 4);
    emit(w, header, sizeof header);
    emit(w, w->records.data, w->records.len);
    emit(w, more, more_len);
    emit(w, w->starts.data, w->starts.len);
    buf_clear(&w->records);
    buf_clear(&w->starts);
    w->n = 0;
}

/* The shortest key that is above the last one and not above this one. */
static size_t separator_len(const struct run_writer *w, const struct kv_record *record)
{
    size_t same = 0;
    if (w->last_key_len == 0)
        return 0;
    while (same < w->last_key_len && same < record->key_len &&
           w->last_key[same] == record->key[same])
        same++;
    return same + 1;
}

static void begin_block(struct run_writer *w, const struct kv_record *record)
{
    buf_append(&w->index_keys, record->key, separator_len(w, record));
    buf_put_u64(&w->index_entries, w->at);
    buf_put_u64(&w->index_entries, w->index_keys.len);
    w->info.n_blocks++;
}

static size_t varint_encode(uint8_t *p, uint64_t v)
{
    size_t n = 0;
    for (; v > 0x7f; v >>= 7)
        p[n++] = (uint8_t)((v & 0x7f) | 0x80);
    p[n++] = (uint8_t)v;
    return n;
}

/* All of the record before its value. */
static size_t head_encode(const struct kv_record *record, uint8_t *p)
{
    const struct kv_value *value = &record->value;
    p[0] = record->deleted    ? RUN_RECORD_TOMBSTONE
           : value->attrs_len ? RUN_RECORD_VALUE_ATTRS
                              : RUN_RECORD_VALUE;
    bytes_put_be(p + 1, record->key_len, 2);
    memcpy(p + 3, record->key, record->key_len);
    size_t n = 3 + record->key_len;
    n += varint_encode(p + n, value->revision);
    if (record->deleted)
        return n;
    n += varint_encode(p + n, value->create_revision);
    n += varint_encode(p + n, value->version);
    if (value->attrs_len == 0)
        return n;
    p[n++] = (uint8_t)value->attrs_len;
    memcpy(p + n, value->attrs, value->attrs_len);
    return n + value->attrs_len;
}

static void add(struct run_writer *w, const struct kv_record *record)
{
    uint8_t head[RUN_RECORD_HEAD_BYTES_MAX];
    size_t head_len = head_encode(record, head);
    size_t value_len = record->deleted ? 0 : record->value.len;
    size_t block_max = block_bytes(w);
    if (w->n > 0 && w->records.len + head_len + value_len > block_max)
        close_block(w, NULL, 0);
    if (w->n == 0)
        begin_block(w, record);
    buf_put_u16(&w->starts, (uint16_t)w->records.len);
    buf_append(&w->records, head, head_len);
    w->n++;
    if (head_len + value_len > block_max)
        close_block(w, record->value.data, value_len);
    else
        buf_append(&w->records, record->value.data, value_len);
    w->info.content_bytes += record->key_len + value_len;
}

static void note_hash(struct run_writer *w, const struct kv_record *record)
{
    uint32_t hash = run_filter_hash(record->key, record->key_len);
    if (w->info.n_records < RUN_FILTER_RECORDS_MAX)
        buf_append(&w->hashes, &hash, sizeof hash);
    else
        buf_free(&w->hashes);
}

static bool is_ascending(const struct run_writer *w, const struct kv_record *record)
{
    size_t shorter = w->last_key_len < record->key_len ? w->last_key_len : record->key_len;
    int order = memcmp(w->last_key, record->key, shorter);
    return order < 0 || (order == 0 && w->last_key_len < record->key_len);
}

int run_writer_put(struct run_writer *w, const struct kv_record *record)
{
    ASSERT(record->key_len >= 1 && record->key_len <= LIMIT_KEY_BYTES);
    ASSERT(record->deleted || record->value.len <= LIMIT_VALUE_BYTES);
    ASSERT(record->deleted || record->value.attrs_len <= LIMIT_ATTRS_BYTES);
    ASSERT(is_ascending(w, record));
    if (w->err)
        return w->err;
    add(w, record);
    note_hash(w, record);
    memcpy(w->last_key, record->key, record->key_len);
    w->last_key_len = record->key_len;
    w->info.n_records++;
    w->info.n_deleted += record->deleted;
    return w->err;
}

uint64_t run_writer_bytes(const struct run_writer *w)
{
    return w->at + w->records.len + w->starts.len;
}

/* ---- beginning and end ---- */

static struct run_writer *writer_new(run_sink_fn *sink, void *ctx)
{
    struct run_writer *w = mem_zalloc(sizeof *w);
    uint8_t header[RUN_HEADER_BYTES];
    w->sink = sink;
    w->sink_ctx = ctx;
    w->file.fd = -1;
    buf_reserve(&w->out, OUT_BYTES);
    run_header_encode(header);
    emit(w, header, sizeof header);
    return w;
}

struct run_writer *run_writer_new_stream(run_sink_fn *sink, void *ctx)
{
    return writer_new(sink, ctx);
}

int run_writer_new(const char *path, struct run_writer **ret_writer, struct buf *reason)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    /* One that was there may have been open to others. */
    if (fd < 0 || fchmod(fd, 0600) != 0) {
        int errnum = errno;
        if (fd >= 0)
            close(fd);
        buf_printf(reason, "cannot make %s: %s", path, strerror(errnum));
        return store_errno(errnum);
    }
    struct run_writer *w = writer_new(file_write, NULL);
    w->sink_ctx = &w->file;
    w->file = (struct file_sink){.path = mem_strdup(path), .fd = fd};
    *ret_writer = w;
    return 0;
}

static void writer_free(struct run_writer **w)
{
    struct run_writer *old = *w;
    buf_free(&old->reason);
    buf_free(&old->out);
    buf_free(&old->records);
    buf_free(&old->starts);
    buf_free(&old->hashes);
    buf_free(&old->index_entries);
    buf_free(&old->index_keys);
    mem_free(old->file.path);
    MEM_FREE(*w);
}

void run_writer_abort(struct run_writer **w)
{
    if (!*w)
        return;
    if ((*w)->file.path) {
        close((*w)->file.fd);
        unlink((*w)->file.path);
    }
    writer_free(w);
}

/* Returns its checksum. */
static uint32_t emit_filter(struct run_writer *w)
{
    size_t n = w->hashes.len / sizeof(uint32_t), len = run_filter_bytes(n);
    if (n == 0)
        return 0;
    uint8_t *filter = mem_zalloc(len);
    for (size_t i = 0; i < n; i++) {
        uint32_t hash;
        memcpy(&hash, w->hashes.data + i * sizeof hash, sizeof hash);
        run_filter_add(filter, len, run_filter_key(hash));
    }
    uint32_t crc = crc32c(0, filter, len);
    emit(w, filter, len);
    mem_free(filter);
    return crc;
}

static void emit_end(struct run_writer *w, const void *meta, size_t len)
{
    struct run_footer footer = {.meta_offset = w->at,
                                .filter_offset = w->at + len,
                                .n_blocks = w->info.n_blocks,
                                .n_records = w->info.n_records,
                                .n_deleted = w->info.n_deleted,
                                .content_bytes = w->info.content_bytes,
                                .meta_crc = crc32c(0, meta, len),
                                .version = RUN_FORMAT_VERSION};
    uint8_t bytes[RUN_FOOTER_BYTES];
    emit(w, meta, len);
    footer.filter_crc = emit_filter(w);
    footer.index_offset = w->at;
    emit(w, w->index_entries.data, w->index_entries.len);
    emit(w, w->index_keys.data, w->index_keys.len);
    footer.index_crc = crc32c(0, w->index_entries.data, w->index_entries.len);
    footer.index_crc = crc32c(footer.index_crc, w->index_keys.data, w->index_keys.len);
    footer.digest = w->info.digest = w->digest;
    run_footer_encode(&footer, bytes);
    emit(w, bytes, sizeof bytes);
    w->info.meta_bytes = len;
    w->info.file_bytes = w->at;
}

int run_writer_finish(struct run_writer **w, const void *meta, size_t len,
                      struct run_info *ret_info, struct buf *reason)
{
    struct run_writer *this = *w;
    if (this->n > 0)
        close_block(this, NULL, 0);
    emit_end(this, meta, len);
    flush(this);
    if (!this->err && this->file.path && fdatasync(this->file.fd) != 0)
        this->err = file_failed(&this->file, &this->reason, "sync");
    int err = this->err;
    if (err) {
        buf_append(reason, this->reason.data, this->reason.len);
        run_writer_abort(w);
        return err;
    }
    if (ret_info)
        *ret_info = this->info;
    if (this->file.path)
        close(this->file.fd);
    writer_free(w);
    return 0;
}
