/* SPDX-License-Identifier: MIT
 * The file, and its sectors. The writes in them are encoded in journal_write.c.
 */
#include "store/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rng.h"
#include "store/dir.h"
#include "store/journal_write.h"

#define SECTOR_BYTES  512
#define HEADER_BYTES  16
#define CONTENT_BYTES (SECTOR_BYTES - HEADER_BYTES)
#define BYTES_MIN     (8 * KIB)
#define BYTES_MAX     (32 * MIB) /* a batch's parts are counted in 16 bits */
#define ZEROS_BYTES   (64 * KIB)

/* Of the file's size. A batch always fits, for it is due before. */
#define BATCH_PART      4 /* the largest batch, with its headers, takes no more */
#define DUE_PART        2 /* due from here on, */
#define DUE_SPREAD_PART 4 /* or later by less than this */

struct store_journal {
    int fd;
    size_t size;  /* of the file */
    size_t used;  /* bytes, from the start on */
    size_t due;   /* used up to here it is to be settled */
    uint64_t seq; /* of the last batch */
    uint64_t first_index;
    struct buf batch; /* that is being filled: sectors, their headers still empty */
    uint64_t batch_first_index;
};

/* ---- the file ---- */

static int failed(const char *what, const char *path, struct buf *reason)
{
    int errnum = errno;
    buf_printf(reason, "cannot %s %s: %s", what, path, strerror(errnum));
    return store_errno(errnum);
}

static int fill(int fd, size_t bytes)
{
    uint8_t *zeros = mem_zalloc(ZEROS_BYTES);
    size_t done = 0;
    while (done < bytes) {
        size_t len = bytes - done < ZEROS_BYTES ? bytes - done : ZEROS_BYTES;
        ssize_t n = pwrite(fd, zeros, len, (off_t)done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    mem_free(zeros);
    return done == bytes ? fsync(fd) : -1;
}

int store_journal_make(const char *dir, size_t bytes, struct buf *reason)
{
    char *path = store_path(dir, STORE_JOURNAL_FILE);
    int err = 0, fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || fill(fd, bytes ? bytes : STORE_JOURNAL_BYTES) != 0)
        err = failed("make", path, reason);
    if (fd >= 0)
        close(fd);
    mem_free(path);
    return err;
}

static int check_size(int fd, const char *path, size_t *ret_size, struct buf *reason)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return failed("look at", path, reason);
    if (st.st_size < (off_t)BYTES_MIN || st.st_size > (off_t)BYTES_MAX ||
        st.st_size % SECTOR_BYTES != 0) {
        buf_printf(reason, "%s is damaged: it has %jd bytes", path, (intmax_t)st.st_size);
        return ERR_CORRUPT;
    }
    *ret_size = (size_t)st.st_size;
    return 0;
}

int store_journal_open(const char *dir, struct store_journal **ret_journal, struct buf *reason)
{
    char *path = store_path(dir, STORE_JOURNAL_FILE);
    size_t size = 0;
    int fd = open(path, O_RDWR | O_CLOEXEC), err = 0;
    if (fd < 0) {
        err = errno == ENOENT ? ERR_NOT_FOUND : store_errno(errno);
        failed("open", path, reason);
    } else {
        err = check_size(fd, path, &size, reason);
    }
    mem_free(path);
    if (err) {
        if (fd >= 0)
            close(fd);
        return err;
    }
    struct store_journal *j = mem_zalloc(sizeof *j);
    j->fd = fd;
    j->size = size;
    j->batch_first_index = UINT64_MAX;
    store_journal_begin(j, 0, 0);
    *ret_journal = j;
    return 0;
}

void store_journal_close(struct store_journal **j)
{
    if (!*j)
        return;
    close((*j)->fd);
    buf_free(&(*j)->batch);
    MEM_FREE(*j);
}

void store_journal_begin(struct store_journal *j, uint64_t seq, uint64_t mix)
{
    struct rng rng = {mix ^ seq};
    ASSERT(seq >= j->seq);
    j->seq = seq;
    j->used = 0;
    j->first_index = UINT64_MAX;
    j->due = j->size / DUE_PART + (size_t)rng_range(&rng, 0, j->size / DUE_SPREAD_PART - 1);
}

bool store_journal_is_due(const struct store_journal *j)
{
    return j->used >= j->due;
}

uint64_t store_journal_seq(const struct store_journal *j)
{
    return j->seq;
}

size_t store_journal_used(const struct store_journal *j)
{
    return j->used;
}

size_t store_journal_size(const struct store_journal *j)
{
    return j->size;
}

uint64_t store_journal_first_index(const struct store_journal *j)
{
    return j->first_index;
}

/* ---- writing ---- */

/* Content goes into sectors, whose headers are left out. */
static void put(struct store_journal *j, const uint8_t *p, size_t len)
{
    static const uint8_t header[HEADER_BYTES];
    while (len > 0) {
        if (j->batch.len % SECTOR_BYTES == 0)
            buf_append(&j->batch, header, sizeof header);
        size_t room = SECTOR_BYTES - j->batch.len % SECTOR_BYTES, n = len < room ? len : room;
        buf_append(&j->batch, p, n);
        p += n;
        len -= n;
    }
}

static void put_content(void *ctx, const void *p, size_t len)
{
    put(ctx, p, len);
}

/* With this much more content. */
static size_t batch_bytes(const struct store_journal *j, size_t more)
{
    size_t n_whole = j->batch.len / SECTOR_BYTES, in_last = j->batch.len % SECTOR_BYTES;
    size_t content = n_whole * CONTENT_BYTES + (in_last ? in_last - HEADER_BYTES : 0) + more;
    return (content + CONTENT_BYTES - 1) / CONTENT_BYTES * SECTOR_BYTES;
}

bool store_journal_add(struct store_journal *j, const struct storage_write *w)
{
    if (w->install || w->base || w->has_identity ||
        batch_bytes(j, journal_write_bytes(w)) > j->size / BATCH_PART)
        return false;
    uint64_t first = journal_write_first_index(w);
    if (first < j->batch_first_index)
        j->batch_first_index = first;
    journal_write_encode(w, put_content, j);
    return true;
}

static uint32_t sector_crc(const uint8_t *sector)
{
    return crc32c(0, sector + 4, SECTOR_BYTES - 4);
}

/* Fills the last sector up, and all headers in. */
static void finish(struct store_journal *j)
{
    size_t in_last = j->batch.len % SECTOR_BYTES;
    if (in_last) {
        buf_reserve(&j->batch, SECTOR_BYTES - in_last);
        memset(j->batch.data + j->batch.len, 0, SECTOR_BYTES - in_last);
        j->batch.len += SECTOR_BYTES - in_last;
    }
    size_t n = j->batch.len / SECTOR_BYTES;
    for (size_t i = 0; i < n; i++) {
        uint8_t *sector = j->batch.data + i * SECTOR_BYTES;
        bytes_put_be(sector + 4, n, 2);
        bytes_put_be(sector + 6, i, 2);
        bytes_put_be(sector + 8, j->seq + 1, 8);
        bytes_put_be(sector, sector_crc(sector), 4);
    }
}

int store_journal_write(struct store_journal *j)
{
    finish(j);
    ASSERT(j->batch.len > 0 && j->used + j->batch.len <= j->size);
    errno = EIO; /* for a short write */
    if (pwrite(j->fd, j->batch.data, j->batch.len, (off_t)j->used) != (ssize_t)j->batch.len ||
        fdatasync(j->fd) != 0)
        return store_errno(errno);
    j->seq++;
    j->used += j->batch.len;
    if (j->batch_first_index < j->first_index)
        j->first_index = j->batch_first_index;
    j->batch_first_index = UINT64_MAX;
    buf_clear(&j->batch);
    return 0;
}

/* ---- reading ---- */

struct sector {
    size_t n, i;
    uint64_t seq;
};

static bool is_blank(const uint8_t *p)
{
    for (size_t i = 0; i < SECTOR_BYTES; i++)
        if (p[i])
            return false;
    return true;
}

/* False: it is damaged. A blank one is part of batch 0, of which there are none. */
static bool read_sector(const uint8_t *p, struct sector *ret_sector)
{
    *ret_sector = (struct sector){0};
    if (is_blank(p))
        return true;
    if (bytes_get_be(p, 4) != sector_crc(p))
        return false;
    *ret_sector = (struct sector){(size_t)bytes_get_be(p + 4, 2), (size_t)bytes_get_be(p + 6, 2),
                                  bytes_get_be(p + 8, 8)};
    return true;
}

/* Appends the content of batch `seq` if it is whole here; answers its bytes in the file, or 0. */
static size_t read_batch(const uint8_t *p, size_t len, uint64_t seq, struct buf *content)
{
    struct sector s;
    size_t n = 0;
    for (size_t i = 0; i == 0 || i < n; i++) {
        const uint8_t *at = p + i * SECTOR_BYTES;
        if (len < (i + 1) * SECTOR_BYTES || !read_sector(at, &s) || s.seq != seq || s.i != i ||
            (i > 0 && s.n != n))
            return 0;
        n = s.n;
        buf_append(content, at + HEADER_BYTES, CONTENT_BYTES);
    }
    return n * SECTOR_BYTES;
}

static int visit_batch(const struct buf *content, store_journal_fn *visit, void *ctx)
{
    struct bytes_reader r = bytes_reader(content->data, content->len);
    struct storage_write *w;
    int err = 0;
    while (!err && journal_write_next(&r, &w)) {
        err = visit(ctx, w);
        storage_write_free(&w);
    }
    return !err && !bytes_reader_ok(&r) ? ERR_CORRUPT : err;
}

/* Visits batches from `seq` on while they are there; tells the end and the batch that is not. */
static int visit_batches(const uint8_t *p, size_t len, uint64_t *seq, size_t *ret_end,
                         store_journal_fn *visit, void *ctx)
{
    struct buf content = BUF_INIT;
    size_t at = 0, bytes;
    int err = 0;
    while (!err && (bytes = read_batch(p + at, len - at, *seq, &content)) > 0) {
        err = visit_batch(&content, visit, ctx);
        buf_clear(&content);
        at += bytes;
        ++*seq;
    }
    buf_free(&content);
    *ret_end = at;
    return err;
}

/* What follows on the last whole batch: parts of the next one, if the power failed in it, and older
 * ones. */
static int check_rest(const uint8_t *p, size_t from, size_t len, uint64_t next, struct buf *reason)
{
    struct sector s;
    for (size_t at = from; at < len; at += SECTOR_BYTES) {
        bool is_whole = read_sector(p + at, &s);
        if (is_whole && s.seq <= next)
            continue;
        buf_printf(reason,
                   is_whole ? "a batch before the one at offset %zu is missing"
                            : "the sector at offset %zu does not match its checksum",
                   at);
        return ERR_CORRUPT;
    }
    return 0;
}

/* Owned by the caller; NULL, with errno. */
static uint8_t *read_file(const struct store_journal *j, size_t len)
{
    uint8_t *p = mem_alloc(len);
    size_t done = 0;
    errno = EIO; /* for an early end */
    while (done < len) {
        ssize_t n = pread(j->fd, p + done, len - done, (off_t)done);
        if (n <= 0) {
            mem_free(p);
            return NULL;
        }
        done += (size_t)n;
    }
    return p;
}

int store_journal_scan(struct store_journal *j, uint64_t after, store_journal_fn *visit, void *ctx,
                       struct buf *reason)
{
    uint64_t seq = after + 1;
    size_t end = 0;
    uint8_t *p = read_file(j, j->size);
    if (!p) {
        buf_append_str(reason, strerror(errno));
        return store_errno(errno);
    }
    int err = visit_batches(p, j->size, &seq, &end, visit, ctx);
    if (err == ERR_CORRUPT)
        buf_append_str(reason, "a batch does not follow on the log");
    if (!err)
        err = check_rest(p, end, j->size, seq, reason);
    if (!err)
        j->seq = seq - 1;
    mem_free(p);
    return err;
}

int store_journal_replay(struct store_journal *j, store_journal_fn *visit, void *ctx)
{
    if (j->used == 0)
        return 0;
    uint64_t seq = 0;
    struct sector first;
    size_t end = 0;
    uint8_t *p = read_file(j, j->used);
    if (!p)
        return store_errno(errno);
    if (read_sector(p, &first))
        seq = first.seq;
    int err = visit_batches(p, j->used, &seq, &end, visit, ctx);
    if (!err && (end != j->used || seq != j->seq + 1))
        err = ERR_CORRUPT; /* not what was written */
    mem_free(p);
    return err;
}
