/* SPDX-License-Identifier: MIT
 * Opening a run: everything but its blocks is checked here, once, so that what
 * reads later may rely on the index.
 */
#include "store/run_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "store/dir.h"
#include "store/guard.h"
#include "store/run_filter.h"

/* ---- damage ---- */

int run_damaged(struct run *r, struct buf *reason, uint64_t offset, const char *what)
{
    struct buf line = BUF_INIT;
    buf_printf(&line, "%s is damaged: %s, at byte %" PRIu64 " of %zu; %s", r->path, what, offset,
               r->size, r->remedy);
    pthread_mutex_lock(&r->lock);
    if (r->damage.len == 0)
        buf_append(&r->damage, line.data, line.len);
    pthread_mutex_unlock(&r->lock);
    if (reason)
        buf_append(reason, line.data, line.len);
    buf_free(&line);
    return ERR_CORRUPT;
}

bool run_damage(struct run *r, struct buf *reason)
{
    pthread_mutex_lock(&r->lock);
    bool damaged = r->damage.len > 0;
    buf_append(reason, r->damage.data, r->damage.len);
    pthread_mutex_unlock(&r->lock);
    return damaged;
}

static int unreadable(struct run *r, struct buf *reason, uint64_t offset)
{
    return run_damaged(r, reason, offset,
                       "the disk cannot read it, or somebody cut the file short meanwhile");
}

/* ---- guarded reading ---- */

struct crc_call {
    const uint8_t *p;
    size_t len;
    uint32_t crc;
};

static int crc_guarded(void *ctx)
{
    struct crc_call *call = ctx;
    call->crc = crc32c(call->crc, call->p, call->len);
    return 0;
}

int run_crc(struct run *r, uint64_t offset, size_t len, uint32_t start, uint32_t *ret_crc,
            struct buf *reason)
{
    struct crc_call call = {r->map + offset, len, start};
    int err;
    if (!store_guard(crc_guarded, &call, &err))
        return unreadable(r, reason, offset);
    *ret_crc = call.crc;
    return err;
}

struct copy_call {
    uint8_t *to;
    const uint8_t *from;
    size_t len;
};

static int copy_guarded(void *ctx)
{
    struct copy_call *call = ctx;
    memcpy(call->to, call->from, call->len);
    return 0;
}

/* What is checked is the copy: it cannot change after. */
static int copy_out(struct run *r, uint64_t offset, size_t len, uint8_t *to, struct buf *reason)
{
    if (len == 0)
        return 0;
    struct copy_call call = {to, r->map + offset, len};
    int err;
    return store_guard(copy_guarded, &call, &err) ? err : unreadable(r, reason, offset);
}

/* ---- checks ---- */

/* The file begins or ends like one of ours, as far as it goes. */
static bool is_a_run(const uint8_t *head, size_t head_len, const uint8_t *tail)
{
    size_t n = head_len < RUN_MAGIC_BYTES ? head_len : RUN_MAGIC_BYTES;
    return memcmp(head, RUN_MAGIC, n) == 0 ||
           (tail && memcmp(tail, RUN_MAGIC_END, RUN_MAGIC_BYTES) == 0);
}

static int check_kind(struct run *r, const uint8_t *head, size_t head_len, const uint8_t *tail,
                      struct buf *reason)
{
    if (is_a_run(head, head_len, tail))
        return 0;
    buf_printf(reason, "%s is no snapshot, backup or run of crabcluster", r->path);
    return ERR_INVALID;
}

static int check_version(struct run *r, uint32_t version, struct buf *reason)
{
    if (version == RUN_FORMAT_VERSION)
        return 0;
    buf_printf(reason,
               "%s has run format %" PRIu32 ", and this version of crabcluster knows format %d "
               "only: use the version that wrote it, or a later one",
               r->path, version, RUN_FORMAT_VERSION);
    return ERR_VERSION;
}

static int check_header(struct run *r, struct buf *reason)
{
    uint8_t head[RUN_HEADER_BYTES] = {0}, tail[RUN_MAGIC_BYTES];
    size_t head_len = r->size < sizeof head ? r->size : sizeof head;
    bool has_tail = r->size >= RUN_FILE_BYTES_MIN;
    uint32_t version;
    int err = copy_out(r, 0, head_len, head, reason);
    if (!err && has_tail)
        err = copy_out(r, r->size - sizeof tail, sizeof tail, tail, reason);
    if (!err)
        err = check_kind(r, head, head_len, has_tail ? tail : NULL, reason);
    if (err)
        return err;
    if (head_len < sizeof head)
        return run_damaged(r, reason, r->size, "it is cut short");
    if (!run_header_decode(head, &version))
        return run_damaged(r, reason, 0, "its header does not match its checksum");
    return check_version(r, version, reason);
}

static bool footer_is_plausible(const struct run *r, const struct run_footer *f)
{
    uint64_t index_end = r->size - RUN_FOOTER_BYTES;
    return f->meta_offset >= RUN_HEADER_BYTES && f->filter_offset >= f->meta_offset &&
           f->index_offset >= f->filter_offset && index_end >= f->index_offset &&
           (f->index_offset - f->filter_offset) % RUN_FILTER_LINE_BYTES == 0 &&
           f->index_offset - f->filter_offset <= RUN_FILTER_BYTES_MAX &&
           f->n_blocks <= (index_end - f->index_offset) / RUN_INDEX_ENTRY_BYTES &&
           f->n_deleted <= f->n_records && f->n_records >= f->n_blocks &&
           (f->n_blocks > 0 || (f->n_records == 0 && f->meta_offset == RUN_HEADER_BYTES));
}

static int check_footer(struct run *r, struct run_footer *ret_footer, struct buf *reason)
{
    uint8_t bytes[RUN_FOOTER_BYTES];
    if (r->size < RUN_FILE_BYTES_MIN)
        return run_damaged(r, reason, r->size, "it is cut short");
    uint64_t offset = r->size - RUN_FOOTER_BYTES;
    int err = copy_out(r, offset, sizeof bytes, bytes, reason);
    if (err)
        return err;
    if (memcmp(bytes + sizeof bytes - RUN_MAGIC_BYTES, RUN_MAGIC_END, RUN_MAGIC_BYTES) != 0)
        return run_damaged(r, reason, r->size, "it is cut short, or was never finished");
    struct run_footer footer;
    if (!run_footer_decode(bytes, &footer))
        return run_damaged(r, reason, offset, "its footer does not match its checksum");
    if (footer.version != RUN_FORMAT_VERSION || !footer_is_plausible(r, &footer))
        return run_damaged(r, reason, offset, "its footer contradicts the file");
    *ret_footer = footer;
    return 0;
}

static int check_meta(struct run *r, struct buf *reason)
{
    uint64_t offset = r->footer.meta_offset;
    uint32_t crc = 0;
    int err = run_crc(r, offset, (size_t)(r->footer.filter_offset - offset), 0, &crc, reason);
    if (!err && crc != r->footer.meta_crc)
        err = run_damaged(r, reason, offset, "its meta part does not match its checksum");
    return err;
}

/* Blocks follow on each other, and their keys rise. */
static bool index_is_sound(const struct run *r)
{
    uint64_t n = r->footer.n_blocks, offset = RUN_HEADER_BYTES, end = 0;
    uint64_t keys_len = r->index_len - n * RUN_INDEX_ENTRY_BYTES;
    const uint8_t *last = NULL;
    size_t last_len = 0;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t next_end = bytes_get_be(r->index + i * RUN_INDEX_ENTRY_BYTES + 8, 8);
        if (run_block_offset(r, i) != offset || next_end < end || next_end > keys_len ||
            next_end - end > LIMIT_KEY_BYTES)
            return false;
        size_t len;
        const uint8_t *key = run_block_key(r, i, &len);
        if (i == 0 ? len != 0 : run_key_compare(last, last_len, key, len) >= 0)
            return false;
        offset = run_block_offset(r, i + 1);
        if (offset <= run_block_offset(r, i) || offset > r->footer.meta_offset)
            return false;
        last = key;
        last_len = len;
        end = next_end;
    }
    return end == keys_len;
}

static int load_filter(struct run *r, struct buf *reason)
{
    uint64_t offset = r->footer.filter_offset;
    r->filter_len = (size_t)(r->footer.index_offset - offset);
    r->filter = mem_alloc(r->filter_len + 1);
    int err = copy_out(r, offset, r->filter_len, r->filter, reason);
    if (!err && crc32c(0, r->filter, r->filter_len) != r->footer.filter_crc)
        err = run_damaged(r, reason, offset, "its filter does not match its checksum");
    return err;
}

static int load_index(struct run *r, struct buf *reason)
{
    uint64_t offset = r->footer.index_offset;
    r->index_len = (size_t)(r->size - RUN_FOOTER_BYTES - offset);
    r->index = mem_alloc(r->index_len + 1);
    int err = copy_out(r, offset, r->index_len, r->index, reason);
    if (err)
        return err;
    if (crc32c(0, r->index, r->index_len) != r->footer.index_crc)
        return run_damaged(r, reason, offset, "its index does not match its checksum");
    if (!index_is_sound(r))
        return run_damaged(r, reason, offset, "its index contradicts itself");
    run_index_heads(r);
    return 0;
}

static int check_filter(struct run *r, struct buf *reason)
{
    uint64_t offset = r->footer.filter_offset;
    uint32_t crc = 0;
    int err = run_crc(r, offset, r->filter_len, 0, &crc, reason);
    if (!err && crc != r->footer.filter_crc)
        err = run_damaged(r, reason, offset, "its filter does not match its checksum");
    return err;
}

static int check_index(struct run *r, struct buf *reason)
{
    uint64_t offset = r->footer.index_offset;
    uint32_t crc = 0;
    int err = run_crc(r, offset, r->index_len, 0, &crc, reason);
    if (!err && crc != r->footer.index_crc)
        err = run_damaged(r, reason, offset, "its index does not match its checksum");
    return err;
}

int run_check_ends(struct run *r, struct buf *reason)
{
    struct run_footer footer;
    int err = check_header(r, reason);
    if (!err)
        err = check_meta(r, reason);
    if (!err)
        err = check_filter(r, reason);
    if (!err)
        err = check_index(r, reason);
    return err ? err : check_footer(r, &footer, reason);
}

/* ---- life ---- */

static struct run *run_new(const char *path, const char *remedy)
{
    struct run *r = mem_zalloc(sizeof *r);
    store_guard_prepare();
    refs_init(&r->refs);
    r->path = mem_strdup(path);
    r->remedy = remedy;
    pthread_mutex_init(&r->lock, NULL);
    return r;
}

/* Takes r, whose bytes are in place. */
static int check_all(struct run *r, struct run **ret_run, struct buf *reason)
{
    int err = check_header(r, reason);
    if (!err)
        err = check_footer(r, &r->footer, reason);
    if (!err)
        err = load_filter(r, reason);
    if (!err)
        err = load_index(r, reason);
    if (!err)
        err = check_meta(r, reason);
    if (err)
        run_unref(&r);
    else
        *ret_run = r;
    return err;
}

int run_open_bytes(const void *p, size_t len, const char *remedy, struct run **ret_run,
                   struct buf *reason)
{
    struct run *r = run_new("(memory)", remedy);
    r->map = p;
    r->size = len;
    return check_all(r, ret_run, reason);
}

static int failed(const char *path, struct buf *reason, const char *what)
{
    int errnum = errno;
    buf_printf(reason, "cannot %s %s: %s", what, path, strerror(errnum));
    return errnum == ENOENT ? ERR_NOT_FOUND : store_errno(errnum);
}

static int map_file(struct run *r, int fd, struct buf *reason)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return failed(r->path, reason, "look at");
    if (!S_ISREG(st.st_mode)) {
        buf_printf(reason, "%s is not a regular file", r->path);
        return ERR_INVALID;
    }
    if (st.st_size == 0)
        return 0; /* nothing to map; the checks tell that it is cut short */
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return failed(r->path, reason, "map");
    r->map = map;
    r->size = (size_t)st.st_size;
    r->mapped = true;
    return 0;
}

int run_open(const char *path, const char *remedy, struct run **ret_run, struct buf *reason)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO would wait */
    if (fd < 0)
        return failed(path, reason, "open");
    struct run *r = run_new(path, remedy);
    int err = map_file(r, fd, reason);
    close(fd);
    if (!err)
        return check_all(r, ret_run, reason);
    run_unref(&r);
    return err;
}

struct run *run_ref(struct run *r)
{
    refs_take(&r->refs);
    return r;
}

static void run_free(struct run *r)
{
    if (r->mapped)
        munmap((void *)(uintptr_t)r->map, r->size);
    mem_free(r->filter);
    mem_free(r->index);
    mem_free(r->heads);
    mem_free(r->path);
    buf_free(&r->damage);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

void run_unref(struct run **r)
{
    struct run *old = *r;
    *r = NULL;
    if (old && refs_drop(&old->refs))
        run_free(old);
}

/* ---- what it says of itself ---- */

int run_meta(struct run *r, struct buf *out, struct buf *reason)
{
    uint64_t offset = r->footer.meta_offset;
    size_t len = (size_t)(r->footer.filter_offset - offset);
    buf_reserve(out, len + 1);
    int err = copy_out(r, offset, len, out->data + out->len, reason);
    if (err)
        return err;
    if (crc32c(0, out->data + out->len, len) != r->footer.meta_crc)
        return run_damaged(r, reason, offset, "its meta part does not match its checksum");
    out->len += len;
    return 0;
}

struct run_info run_info(const struct run *r)
{
    return (struct run_info){
        .n_records = r->footer.n_records,
        .n_deleted = r->footer.n_deleted,
        .content_bytes = r->footer.content_bytes,
        .file_bytes = r->size,
        .n_blocks = r->footer.n_blocks,
        .meta_bytes = r->footer.filter_offset - r->footer.meta_offset,
        .digest = r->footer.digest,
    };
}

const char *run_path(const struct run *r)
{
    return r->path;
}
