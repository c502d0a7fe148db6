/* SPDX-License-Identifier: MIT
 * Records stand in the order in which they came, in batches of the same time:
 * the last batch has none yet. A tree finds them by name.
 */
#include "kv/idempotency.h"

#include <search.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/mem.h"

#define CLOCK_MAX (UINT64_MAX / 4) /* what can be added to it never overflows */

struct record {
    struct list link; /* in its batch */
    struct session_answer answer;
    uint8_t fingerprint[KV_FINGERPRINT_BYTES];
    uint8_t name_len;
    const uint8_t *name; /* its own, or what is looked for */
    uint8_t name_bytes[];
};

struct batch {
    struct list link;
    struct list records; /* never empty but in the last batch */
    uint64_t time;       /* 1 + that in ms; 0: the last batch, which has none yet */
};

struct once_table {
    struct list batches; /* oldest first; the last one has no time yet */
    void *by_name;       /* tree of struct record, see tsearch(3) */
    unsigned n;
    uint64_t bytes;
    uint64_t now_ms;
};

/* A red-black tree: nobody can choose names that make it slow. */
static int compare(const void *a, const void *b)
{
    const struct record *x = a, *y = b;
    if (x->name_len != y->name_len)
        return x->name_len < y->name_len ? -1 : 1;
    return memcmp(x->name, y->name, x->name_len);
}

static struct batch *last_batch(const struct once_table *t)
{
    return LIST_ENTRY(t->batches.prev, struct batch, link);
}

static void add_batch(struct once_table *t)
{
    struct batch *b = mem_zalloc(sizeof *b);
    list_init(&b->records);
    list_push_back(&t->batches, &b->link);
}

struct once_table *once_table_new(void)
{
    struct once_table *t = mem_zalloc(sizeof *t);
    list_init(&t->batches);
    add_batch(t);
    return t;
}

static void forget(struct once_table *t, struct record *r)
{
    ASSERT(tdelete(r, &t->by_name, compare));
    list_remove(&r->link);
    t->n--;
    t->bytes -= r->answer.len;
    mem_free(r->answer.bytes);
    mem_free(r);
}

void once_table_free(struct once_table **t)
{
    struct list *it;
    if (!*t)
        return;
    while ((it = list_pop_front(&(*t)->batches)) != NULL) {
        struct batch *b = LIST_ENTRY(it, struct batch, link);
        while (!list_is_empty(&b->records))
            forget(*t, LIST_ENTRY(b->records.next, struct record, link));
        mem_free(b);
    }
    MEM_FREE(*t);
}

static struct record *find(const struct once_table *t, const struct kv_once *once)
{
    struct record wanted = {.name = once->name, .name_len = (uint8_t)once->name_len};
    void *const *found = tfind(&wanted, &t->by_name, compare);
    return found ? *found : NULL;
}

int once_find(const struct once_table *t, const struct kv_once *once,
              const struct session_answer **ret_answer)
{
    const struct record *r = find(t, once);
    if (!r)
        return ERR_NOT_FOUND;
    if (memcmp(r->fingerprint, once->fingerprint, sizeof r->fingerprint) != 0)
        return ERR_CONFLICT;
    *ret_answer = &r->answer;
    return 0;
}

bool once_is_full(const struct once_table *t)
{
    return t->n >= LIMIT_ONCE_RECORDS || t->bytes >= LIMIT_ONCE_BYTES;
}

/* Takes the answer's bytes. */
static void add(struct once_table *t, const struct kv_once *once,
                const struct session_answer *answer)
{
    struct record *r = mem_zalloc(sizeof *r + once->name_len);
    r->answer = *answer;
    memcpy(r->fingerprint, once->fingerprint, sizeof r->fingerprint);
    memcpy(r->name_bytes, once->name, once->name_len);
    r->name = r->name_bytes;
    r->name_len = (uint8_t)once->name_len;
    void *const *place = tsearch(r, &t->by_name, compare);
    ASSERT(place && *place == r); /* there was memory, and it was not there before */
    list_push_back(&last_batch(t)->records, &r->link);
    t->n++;
    t->bytes += answer->len;
}

void once_add(struct once_table *t, const struct kv_once *once, const struct session_answer *answer)
{
    struct session_answer copy = *answer;
    ASSERT(!once_is_full(t));
    if (copy.bytes)
        copy.bytes = mem_dup(answer->bytes, answer->len);
    add(t, once, &copy);
}

/* ---- time ---- */

void once_clock(struct once_table *t, uint64_t elapsed_ms)
{
    struct batch *last = last_batch(t);
    if (elapsed_ms < CLOCK_MAX - t->now_ms)
        t->now_ms += elapsed_ms;
    else
        t->now_ms = CLOCK_MAX;
    if (list_is_empty(&last->records))
        return;
    last->time = 1 + t->now_ms;
    add_batch(t);
}

void once_forget(struct once_table *t, unsigned n_max)
{
    for (unsigned n = 0; n < n_max; n++) {
        struct batch *oldest = LIST_ENTRY(t->batches.next, struct batch, link);
        if (oldest->time == 0 || 1 + t->now_ms - oldest->time < KV_ONCE_KEEP_MS)
            return;
        forget(t, LIST_ENTRY(oldest->records.next, struct record, link));
        if (list_is_empty(&oldest->records)) {
            list_remove(&oldest->link);
            mem_free(oldest);
        }
    }
}

unsigned once_count(const struct once_table *t)
{
    return t->n;
}

uint64_t once_now_ms(const struct once_table *t)
{
    return t->now_ms;
}

/* ---- bytes ---- */

static void record_encode(const struct record *r, uint64_t time, struct buf *out)
{
    buf_put_string(out, r->name, r->name_len);
    buf_append(out, r->fingerprint, sizeof r->fingerprint);
    buf_put_varint(out, time);
    session_answer_encode(&r->answer, out);
}

void once_table_encode(const struct once_table *t, struct buf *out)
{
    buf_put_varint(out, t->now_ms);
    buf_put_varint(out, t->n);
    LIST_FOREACH (it, &t->batches) {
        const struct batch *b = LIST_ENTRY(it, struct batch, link);
        LIST_FOREACH (at, &b->records)
            record_encode(LIST_ENTRY(at, struct record, link), b->time, out);
    }
}

/* The batch that a record of this time goes to is made the last one. False: it is out of order. */
static bool prepare_batch(struct once_table *t, uint64_t time)
{
    const struct batch *last = last_batch(t);
    if (!list_is_empty(&last->records) && last->time != time) {
        if (last->time == 0 || (time != 0 && time < last->time))
            return false;
        add_batch(t);
    }
    last_batch(t)->time = time;
    return true;
}

static bool record_decode(struct bytes_reader *r, struct kv_pos applied, struct once_table *t)
{
    struct kv_once once;
    struct session_answer answer;
    once.name = bytes_read_string(r, LIMIT_ONCE_NAME_BYTES, &once.name_len);
    const uint8_t *fingerprint = bytes_read(r, KV_FINGERPRINT_BYTES);
    uint64_t time = bytes_read_varint(r);
    if (!bytes_reader_ok(r) || once.name_len == 0 || time > 1 + t->now_ms)
        return false;
    memcpy(once.fingerprint, fingerprint, sizeof once.fingerprint);
    if (find(t, &once) || !prepare_batch(t, time))
        return false;
    if (!session_answer_decode(r, applied, &answer))
        return false;
    add(t, &once, &answer);
    return true;
}

int once_table_decode(struct bytes_reader *r, struct kv_pos applied, struct once_table **ret_table)
{
    struct once_table *t = once_table_new();
    t->now_ms = bytes_read_varint(r);
    uint64_t n = bytes_read_varint(r);
    bool good = bytes_reader_ok(r) && n <= LIMIT_ONCE_RECORDS && t->now_ms <= CLOCK_MAX;
    for (uint64_t i = 0; i < n && good; i++)
        good = record_decode(r, applied, t);
    if (!good) {
        once_table_free(&t);
        return ERR_CORRUPT;
    }
    if (last_batch(t)->time != 0)
        add_batch(t);
    *ret_table = t;
    return 0;
}
