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
    if (origin->seq < floor || origin->seq - floor >= LIMIT_FORWARDED_OPS)
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

uint64_t session_member_since(const struct session_table *t, struct uuid node)
{
    const struct session *s = find(t, node);
    return s ? s->member_since : 0;
}

unsigned session_table_count(const struct session_table *t)
{
    return t->n_sessions;
}
