/* SPDX-License-Identifier: MIT
 * A session is a ring of answers by sequence number, as long as the distance
 * from the floor to the highest number seen:
 *
 *      seq    floor  floor+1  ...  end-1        place in the ring: seq modulo its size
 */
#include "kv/session.h"

#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"

#define RING_SIZE_MIN 16

struct session {
    struct uuid node;
    uint64_t member_since;       /* index of a configuration entry */
    uint64_t boot;               /* 0: none of its commands was seen */
    uint64_t floor;              /* every command below is settled */
    uint64_t end;                /* one above the highest seen; at least floor */
    struct session_answer *ring; /* owned; places outside [floor, end) are zero */
    size_t ring_size;            /* a power of two, or 0 */
};

struct session_table {
    struct session *sessions; /* owned array */
    unsigned n_sessions;
};

static struct session_answer *place(const struct session *s, uint64_t seq)
{
    return &s->ring[seq & (s->ring_size - 1)];
}

static void forget_below(struct session *s, uint64_t floor)
{
    for (; s->floor < floor && s->floor < s->end; s->floor++) {
        struct session_answer *a = place(s, s->floor);
        mem_free(a->bytes);
        *a = (struct session_answer){0};
    }
    s->floor = floor;
    if (s->end < floor)
        s->end = floor;
}

static void session_clear(struct session *s)
{
    forget_below(s, s->end);
    MEM_FREE(s->ring);
    s->ring_size = 0;
}

/* Room for every number from floor to seq. */
static void make_room(struct session *s, uint64_t seq)
{
    size_t size = s->ring_size ? s->ring_size : RING_SIZE_MIN;
    while (size <= seq - s->floor)
        size *= 2;
    if (size != s->ring_size) {
        struct session bigger = {.ring = mem_array(size, sizeof *s->ring), .ring_size = size};
        for (uint64_t i = s->floor; i < s->end; i++)
            *place(&bigger, i) = *place(s, i);
        mem_free(s->ring);
        s->ring = bigger.ring;
        s->ring_size = size;
    }
    if (s->end <= seq)
        s->end = seq + 1;
}

static struct session *find(const struct session_table *t, struct uuid node)
{
    for (unsigned i = 0; i < t->n_sessions; i++)
        if (uuid_equal(t->sessions[i].node, node))
            return &t->sessions[i];
    return NULL;
}

struct session_table *session_table_new(void)
{
    return mem_zalloc(sizeof(struct session_table));
}

static void clear_all(struct session_table *t)
{
    for (unsigned i = 0; i < t->n_sessions; i++)
        session_clear(&t->sessions[i]);
    MEM_FREE(t->sessions);
    t->n_sessions = 0;
}

void session_table_free(struct session_table **t)
{
    if (!*t)
        return;
    clear_all(*t);
    MEM_FREE(*t);
}

void session_table_set_members(struct session_table *t, uint64_t index, const struct uuid ids[],
                               unsigned n)
{
    struct session_table next = {.sessions = mem_array(n, sizeof *next.sessions)};
    for (unsigned i = 0; i < n; i++) {
        if (find(&next, ids[i]))
            continue; /* named twice */
        struct session *s = &next.sessions[next.n_sessions++];
        struct session *known = find(t, ids[i]);
        *s = known ? *known
                   : (struct session){.node = ids[i], .member_since = index, .floor = 1, .end = 1};
        if (known) /* its ring has moved on */
            *known = (struct session){.node = UUID_ZERO};
    }
    clear_all(t);
    *t = next;
}

int session_admit(struct session_table *t, const struct kv_origin *origin,
                  struct session_answer **ret_answer)
{
    struct session *s = find(t, origin->node);
    if (!s || origin->member_since != s->member_since || origin->boot < s->boot)
        return ERR_STALE;
    bool new_boot = origin->boot > s->boot;
    uint64_t floor = new_boot || origin->floor > s->floor ? origin->floor : s->floor;
    /* end is one above every number seen, so the very last number cannot be */
    if (origin->seq < floor || origin->seq - floor >= LIMIT_FORWARDED_OPS ||
        origin->seq == UINT64_MAX)
        return ERR_STALE;
    if (new_boot) {
        session_clear(s);
        s->boot = origin->boot;
        s->floor = s->end = floor;
    }
    forget_below(s, floor);
    make_room(s, origin->seq);
    *ret_answer = place(s, origin->seq);
    return 0;
}

struct session_answer *session_find_answer(const struct session_table *t,
                                           const struct kv_origin *origin, uint64_t index)
{
    struct session *s = find(t, origin->node);
    if (!s || origin->seq < s->floor || origin->seq >= s->end)
        return NULL;
    struct session_answer *a = place(s, origin->seq);
    return a->pos.index == index ? a : NULL;
}

uint64_t session_member_since(const struct session_table *t, struct uuid node)
{
    const struct session *s = find(t, node);
    return s ? s->member_since : 0;
}

unsigned session_table_count(const struct session_table *t)
{
    return t->n_sessions;
}

/* ---- bytes ---- */

enum {
    ANSWER_NOT_SEEN = 0,
    ANSWER_ONLY_SETS = 1,
    ANSWER_BYTES = 2,
    ANSWER_TOO_LARGE = 3, /* and what follows: errors */
    ANSWER_CONFLICT = 4,
    ANSWER_OVERLOADED = 5,
    ANSWER_FORGOTTEN = 6,
};

static uint8_t what_of(const struct session_answer *a)
{
    switch (a->err) {
    case ERR_TOO_LARGE:
        return ANSWER_TOO_LARGE;
    case ERR_CONFLICT:
        return ANSWER_CONFLICT;
    case ERR_OVERLOADED:
        return ANSWER_OVERLOADED;
    case ERR_UNKNOWN:
        return ANSWER_FORGOTTEN;
    }
    return a->bytes ? ANSWER_BYTES : ANSWER_ONLY_SETS;
}

static int error_of(uint8_t what)
{
    return what == ANSWER_TOO_LARGE    ? ERR_TOO_LARGE
           : what == ANSWER_CONFLICT   ? ERR_CONFLICT
           : what == ANSWER_OVERLOADED ? ERR_OVERLOADED
           : what == ANSWER_FORGOTTEN  ? ERR_UNKNOWN
                                       : 0;
}

void session_answer_encode(const struct session_answer *a, struct buf *out)
{
    if (a->pos.index == 0) {
        buf_put_u8(out, ANSWER_NOT_SEEN);
        return;
    }
    buf_put_u8(out, what_of(a));
    buf_put_varint(out, a->pos.term);
    buf_put_varint(out, a->pos.index);
    if (a->bytes)
        buf_put_string(out, a->bytes, a->len);
    else if (!a->err)
        buf_put_varint(out, a->len);
}

/* *bytes: of the answers so far; this one's too, if it has any. */
static void encode_within(const struct session_answer *a, uint64_t *bytes, struct buf *out)
{
    const struct session_answer forgotten = {.pos = a->pos, .err = ERR_UNKNOWN};
    *bytes += a->bytes ? a->len : 0;
    bool fits = !a->bytes || *bytes <= KV_ANSWER_BYTES_MAX;
    session_answer_encode(fits ? a : &forgotten, out);
}

static void session_encode(const struct session *s, uint64_t *bytes, struct buf *out)
{
    buf_put_uuid(out, s->node);
    buf_put_varint(out, s->member_since);
    buf_put_varint(out, s->boot);
    buf_put_varint(out, s->floor);
    buf_put_varint(out, s->end - s->floor);
    for (uint64_t seq = s->floor; seq < s->end; seq++)
        encode_within(place(s, seq), bytes, out);
}

void session_table_encode(const struct session_table *t, struct buf *out)
{
    uint64_t bytes = 0;
    buf_put_varint(out, t->n_sessions);
    for (unsigned i = 0; i < t->n_sessions; i++)
        session_encode(&t->sessions[i], &bytes, out);
}

/* The bytes are a sequence of answer items, as kv_answer_put() makes it. */
static bool answer_is_whole(const uint8_t *p, size_t len)
{
    struct bytes_reader r = bytes_reader(p, len);
    struct kv_answer_item item;
    while (r.left > 0)
        if (!kv_answer_next(&r, &item))
            return false;
    return true;
}

static bool read_answer_bytes(struct bytes_reader *r, struct session_answer *a)
{
    size_t len;
    const uint8_t *p = bytes_read_string(r, KV_ANSWER_BYTES_MAX, &len);
    if (!p || len == 0 || !answer_is_whole(p, len))
        return false;
    a->len = (uint32_t)len;
    a->bytes = mem_dup(p, len);
    return true;
}

bool session_answer_decode(struct bytes_reader *r, struct kv_pos applied,
                           struct session_answer *ret_answer)
{
    struct session_answer *a = ret_answer;
    uint8_t what = bytes_read_u8(r);
    *a = (struct session_answer){0};
    if (what == ANSWER_NOT_SEEN)
        return bytes_reader_ok(r);
    struct kv_pos pos = {.term = bytes_read_varint(r)};
    pos.index = bytes_read_varint(r);
    if (!bytes_reader_ok(r) || pos.index == 0 || pos.index > applied.index ||
        pos.term > applied.term)
        return false;
    a->pos = pos;
    if (what == ANSWER_BYTES)
        return read_answer_bytes(r, a);
    a->err = error_of(what);
    if (a->err)
        return true;
    uint64_t n_sets = bytes_read_varint(r);
    a->len = (uint32_t)n_sets;
    return what == ANSWER_ONLY_SETS && bytes_reader_ok(r) && n_sets <= LIMIT_BATCH_OPS;
}

static bool read_answers(struct bytes_reader *r, struct kv_pos applied, uint64_t count,
                         struct session *s)
{
    if (count == 0)
        return true;
    make_room(s, s->floor + count - 1);
    for (uint64_t seq = s->floor; seq < s->end; seq++)
        if (!session_answer_decode(r, applied, place(s, seq)))
            return false;
    return place(s, s->end - 1)->pos.index != 0;
}

/* Leaves in *s what session_clear() frees, whatever happens. */
static bool session_decode(struct bytes_reader *r, struct kv_pos applied, struct session *s)
{
    *s = (struct session){.node = bytes_read_uuid(r)};
    s->member_since = bytes_read_varint(r);
    s->boot = bytes_read_varint(r);
    uint64_t floor = bytes_read_varint(r), count = bytes_read_varint(r);
    if (!bytes_reader_ok(r) || floor == 0 || count > LIMIT_FORWARDED_OPS ||
        floor > UINT64_MAX - count || s->member_since == 0 || s->member_since > applied.index ||
        (s->boot == 0 && count > 0))
        return false;
    if (count > r->left) /* an answer has a byte at least: no memory for what is not there */
        return false;
    s->floor = s->end = floor;
    return read_answers(r, applied, count, s);
}

int session_table_decode(struct bytes_reader *r, struct kv_pos applied,
                         struct session_table **ret_table)
{
    uint64_t n = bytes_read_varint(r);
    if (!bytes_reader_ok(r) || n > LIMIT_MEMBERS)
        return ERR_CORRUPT;
    struct session_table *t = session_table_new();
    t->sessions = mem_array((size_t)n, sizeof *t->sessions);
    bool good = true;
    for (uint64_t i = 0; i < n && good; i++) {
        struct session *s = &t->sessions[i];
        good = session_decode(r, applied, s) && !find(t, s->node);
        t->n_sessions++;
    }
    if (!good) {
        session_table_free(&t);
        return ERR_CORRUPT;
    }
    *ret_table = t;
    return 0;
}
