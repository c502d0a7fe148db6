/* SPDX-License-Identifier: MIT
 * Long polls: who waits until a key is another than it was. The state machine
 * tells of every record that it writes, and of a prefix that is removed before
 * views show it: who waits for such a key is touched, and is answered when the
 * state that views show has another revision. Whoever is answered reads the key
 * then, and so sees what it was answered for, or later.
 */
#include <string.h>

#include "base/mem.h"
#include "node/driver.h"

struct wait {
    struct list link;         /* in its bucket */
    struct list touched_link; /* in waits.touched, when touched */
    bool touched;
    struct node_request *request;
};

void waits_init(struct driver *d)
{
    for (unsigned i = 0; i < DRIVER_WAIT_BUCKETS; i++)
        list_init(&d->waits.buckets[i]);
    list_init(&d->waits.touched);
    d->waits.next_expiry_ms = UINT64_MAX;
}

/* FNV-1a; whoever makes keys collide makes only the waiting for them slow. */
static struct list *bucket_of(struct driver *d, const void *key, size_t len)
{
    const uint8_t *p = key;
    uint64_t h = 0xcbf29ce484222325;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * 0x100000001b3;
    return &d->waits.buckets[(h ^ h >> 32) % DRIVER_WAIT_BUCKETS];
}

static bool has_changed(const struct driver *d, const struct node_request *r)
{
    return machine_revision(d->machine, r->in.wait.key, r->in.wait.key_len) != r->in.wait.revision;
}

static void touch(struct driver *d, struct wait *w)
{
    if (!w->touched)
        list_push_back(&d->waits.touched, &w->touched_link);
    w->touched = true;
}

static void untouch(struct wait *w)
{
    if (w->touched)
        list_remove(&w->touched_link);
    w->touched = false;
}

static void on_change(void *ctx, const struct kv_record *record)
{
    struct driver *d = ctx;
    LIST_FOREACH (it, bucket_of(d, record->key, record->key_len)) {
        struct wait *w = LIST_ENTRY(it, struct wait, link);
        if (w->request->in.wait.key_len == record->key_len &&
            memcmp(w->request->in.wait.key, record->key, record->key_len) == 0)
            touch(d, w);
    }
}

/* The state machine tells nobody while nobody waits. */
static void count(struct driver *d, int more)
{
    d->waits.n += (unsigned)more;
    if (d->waits.n == 0 || (d->waits.n == 1 && more == 1))
        machine_on_change(d->machine, d->waits.n ? on_change : NULL, d);
    if (d->waits.n == 0)
        d->waits.next_expiry_ms = UINT64_MAX;
}

static void end(struct driver *d, struct wait *w, int err)
{
    struct node_request *r = w->request;
    untouch(w);
    list_remove(&w->link);
    mem_free(w);
    count(d, -1);
    driver_done(r, err);
}

void waits_add(struct driver *d, struct node_request *r)
{
    if (!driver_is_member(d)) {
        driver_done(r, ERR_UNINITIALIZED);
        return;
    }
    if (has_changed(d, r)) {
        driver_done(r, 0);
        return;
    }
    struct wait *w = mem_zalloc(sizeof *w);
    w->request = r;
    list_push_back(bucket_of(d, r->in.wait.key, r->in.wait.key_len), &w->link);
    if (machine_is_applying(d->machine)) /* its key may be gone already, unseen */
        touch(d, w);
    if (r->deadline_ms < d->waits.next_expiry_ms)
        d->waits.next_expiry_ms = r->deadline_ms;
    count(d, 1);
}

void waits_pump(struct driver *d)
{
    if (list_is_empty(&d->waits.touched) || machine_is_applying(d->machine))
        return;
    LIST_FOREACH_SAFE (it, following, &d->waits.touched) {
        struct wait *w = LIST_ENTRY(it, struct wait, touched_link);
        if (has_changed(d, w->request))
            end(d, w, 0);
        else
            untouch(w); /* written anew, as it was: a condition that did not hold */
    }
}

void waits_installed(struct driver *d)
{
    for (unsigned i = 0; i < DRIVER_WAIT_BUCKETS && d->waits.n > 0; i++)
        LIST_FOREACH (it, &d->waits.buckets[i])
            touch(d, LIST_ENTRY(it, struct wait, link));
}

void waits_expire(struct driver *d, bool all)
{
    if (d->waits.n == 0 || (!all && d->now_ms < d->waits.next_expiry_ms))
        return;
    uint64_t next_ms = UINT64_MAX;
    for (unsigned i = 0; i < DRIVER_WAIT_BUCKETS; i++) {
        LIST_FOREACH_SAFE (it, following, &d->waits.buckets[i]) {
            struct wait *w = LIST_ENTRY(it, struct wait, link);
            uint64_t deadline_ms = w->request->deadline_ms;
            if (all || deadline_ms <= d->now_ms)
                end(d, w, all ? ERR_SHUTDOWN : ERR_TIMEOUT);
            else if (deadline_ms < next_ms)
                next_ms = deadline_ms;
        }
    }
    d->waits.next_expiry_ms = next_ms;
}
