/* SPDX-License-Identifier: MIT
 * The driver's thread: takes everything that came in since the last turn,
 * hands it to the driver, lets it act, sleeps until there is more or the next
 * tick is due. A guest takes a turn for it, see turns.h.
 */
#include "node/node.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "node/driver.h"
#include "node/turns.h"

struct mailbox {
    struct list requests, written, loaded, worked, answered;
};

struct node {
    struct driver *driver; /* between start and stop the thread's, or the guest's */
    struct node_options options;
    struct storage_identity identity;
    struct machine *machine;
    pthread_t thread;
    bool started;

    struct turns turns;  /* its lock is that of what follows */
    pthread_cond_t idle; /* to node_hand_over() and node_drain() */
    struct mailbox in;
    bool handing_over, handed_over, draining, drained, settling, settled, stopping, stopped;

    atomic_ullong last_turn_ms;
};

static void mailbox_init(struct mailbox *m)
{
    list_init(&m->requests);
    list_init(&m->written);
    list_init(&m->loaded);
    list_init(&m->worked);
    list_init(&m->answered);
}

static bool mailbox_is_empty(const struct mailbox *m)
{
    return list_is_empty(&m->requests) && list_is_empty(&m->written) && list_is_empty(&m->loaded) &&
           list_is_empty(&m->worked) && list_is_empty(&m->answered);
}

static void mailbox_move(struct mailbox *to, struct mailbox *from)
{
    list_splice(&to->requests, &from->requests);
    list_splice(&to->written, &from->written);
    list_splice(&to->loaded, &from->loaded);
    list_splice(&to->worked, &from->worked);
    list_splice(&to->answered, &from->answered);
}

/* ---- life ---- */

struct node *node_new(const struct node_options *o, const struct storage_identity *identity)
{
    struct node *n = mem_zalloc(sizeof *n);
    pthread_condattr_t attr;
    n->options = *o;
    n->identity = *identity;
    n->driver = driver_new(o, identity);
    n->driver->clock_us = clock_now_us;
    n->machine = n->driver->machine;
    mailbox_init(&n->in);
    turns_init(&n->turns);
    ASSERT(pthread_condattr_init(&attr) == 0);
    ASSERT(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    ASSERT(pthread_cond_init(&n->idle, &attr) == 0);
    pthread_condattr_destroy(&attr);
    return n;
}

static void drop_mail(struct mailbox *m)
{
    struct list *it;
    while ((it = list_pop_front(&m->written)) != NULL) {
        struct storage_write *w = LIST_ENTRY(it, struct storage_write, link);
        storage_write_free(&w);
    }
    while ((it = list_pop_front(&m->loaded)) != NULL) {
        struct storage_load *l = LIST_ENTRY(it, struct storage_load, link);
        storage_load_free(&l);
    }
    while ((it = list_pop_front(&m->worked)) != NULL) {
        struct storage_job *j = LIST_ENTRY(it, struct storage_job, link);
        storage_job_free(&j);
    }
    while ((it = list_pop_front(&m->answered)) != NULL) {
        struct transport_request *t = LIST_ENTRY(it, struct transport_request, link);
        transport_request_free(&t);
    }
}

void node_free(struct node **n)
{
    if (!*n)
        return;
    drop_mail(&(*n)->in);
    driver_free(&(*n)->driver);
    pthread_cond_destroy(&(*n)->idle);
    turns_free(&(*n)->turns);
    MEM_FREE(*n);
}

int node_restore_state(struct node *n, const void *meta, size_t len, struct kv_base *base)
{
    return driver_restore_state(n->driver, meta, len, base);
}

int node_restore_base(struct node *n, const struct raft_base *base)
{
    return driver_restore_base(n->driver, base);
}

void node_restore_hard_state(struct node *n, struct raft_hard_state hs)
{
    driver_restore_hard_state(n->driver, hs);
}

int node_restore_entry(struct node *n, struct raft_entry *e)
{
    return driver_restore_entry(n->driver, e);
}

int node_restore_end(struct node *n)
{
    return driver_restore_end(n->driver);
}

/* ---- the thread ---- */

static struct timespec at_ms(uint64_t ms)
{
    return (struct timespec){.tv_sec = (time_t)(ms / 1000), .tv_nsec = (long)(ms % 1000) * 1000000};
}

/* What the thread was asked for and has not done. */
struct wishes {
    bool hand_over, drain, settle;
};

/* With the lock held and nobody in the driver. */
static bool has_something_to_do(const struct node *n)
{
    return !mailbox_is_empty(&n->in) || n->stopping || driver_is_applying(n->driver) ||
           clock_now_ms() >= n->driver->next_tick_ms;
}

/* Sleeps until there is something to do, and not in the middle of something; moves it to *ret_mail.
 * False: stop. */
static bool receive(struct node *n, struct mailbox *ret_mail, struct wishes *ret_wishes)
{
    turns_lock(&n->turns);
    while (turns_await_guest(&n->turns), !has_something_to_do(n))
        turns_sleep(&n->turns, n->driver->next_tick_ms);
    mailbox_move(ret_mail, &n->in);
    ret_wishes->hand_over = n->handing_over && !n->handed_over;
    ret_wishes->drain = n->draining;
    ret_wishes->settle = n->settling && !n->settled;
    bool go_on = !n->stopping;
    turns_unlock(&n->turns);
    return go_on;
}

/* Time first: after a pause the timers know it before the messages that piled up (PITFALLS 58). */
static void turn(struct node *n, struct mailbox *mail)
{
    struct driver *d = n->driver;
    struct list *it;
    uint64_t from_us = clock_now_us(), now_ms = from_us / 1000;
    atomic_store_explicit(&n->last_turn_ms, now_ms, memory_order_relaxed);
    driver_advance(d, now_ms);
    while ((it = list_pop_front(&mail->written)) != NULL)
        driver_written(d, LIST_ENTRY(it, struct storage_write, link));
    while ((it = list_pop_front(&mail->answered)) != NULL)
        driver_answered(d, LIST_ENTRY(it, struct transport_request, link));
    while ((it = list_pop_front(&mail->loaded)) != NULL)
        driver_loaded(d, LIST_ENTRY(it, struct storage_load, link));
    while ((it = list_pop_front(&mail->worked)) != NULL)
        driver_worked(d, LIST_ENTRY(it, struct storage_job, link));
    while ((it = list_pop_front(&mail->requests)) != NULL)
        driver_request(d, LIST_ENTRY(it, struct node_request, link));
    driver_pump(d);
    turns_took(&n->turns, clock_now_us() - from_us);
}

static void signal_idle(struct node *n, bool *what)
{
    turns_lock(&n->turns);
    *what = true;
    pthread_cond_signal(&n->idle);
    turns_unlock(&n->turns);
}

/* Once begun, looks every turn whether another leads. */
static void hand_over(struct node *n, bool *begun)
{
    if (!*begun) {
        *begun = true;
        driver_hand_over(n->driver);
        driver_pump(n->driver);
    }
    if (!driver_is_handing_over(n->driver))
        signal_idle(n, &n->handed_over);
}

static void drain(struct node *n)
{
    if (!n->driver->stopping) {
        driver_stop(n->driver);
        driver_pump(n->driver);
    }
    if (driver_is_idle(n->driver))
        signal_idle(n, &n->drained);
}

static void settle(struct node *n)
{
    checkpoint_last(n->driver);
    driver_pump(n->driver);
    if (checkpoint_is_settled(n->driver))
        signal_idle(n, &n->settled);
}

static void *run(void *arg)
{
    struct node *n = arg;
    struct mailbox mail;
    struct wishes wishes;
    bool begun = false;
    thread_name("node");
    mailbox_init(&mail);
    while (receive(n, &mail, &wishes)) {
        turn(n, &mail);
        if (wishes.hand_over)
            hand_over(n, &begun);
        if (wishes.drain)
            drain(n);
        if (wishes.settle)
            settle(n);
    }
    turn(n, &mail);
    driver_abandon(n->driver);
    return NULL;
}

void node_start(struct node *n, struct storage *storage, struct transport *transport)
{
    driver_start(n->driver, storage, transport, clock_now_ms());
    atomic_store(&n->last_turn_ms, clock_now_ms());
    n->started = pthread_create(&n->thread, NULL, run, n) == 0;
    ASSERT(n->started);
}

/* Tells the thread what is wanted and waits until it is done, but not for ever. */
static void ask_and_wait(struct node *n, bool *what, const bool *done, uint32_t timeout_ms)
{
    struct timespec until = at_ms(clock_now_ms() + timeout_ms);
    turns_lock(&n->turns);
    *what = true;
    turns_wake(&n->turns);
    while (!*done)
        if (pthread_cond_timedwait(&n->idle, &n->turns.lock, &until) != 0)
            break;
    turns_unlock(&n->turns);
}

void node_hand_over(struct node *n, uint32_t timeout_ms)
{
    ask_and_wait(n, &n->handing_over, &n->handed_over, timeout_ms);
}

void node_drain(struct node *n, uint32_t timeout_ms)
{
    ask_and_wait(n, &n->draining, &n->drained, timeout_ms);
}

void node_settle(struct node *n, uint32_t timeout_ms)
{
    ask_and_wait(n, &n->settling, &n->settled, timeout_ms);
}

void node_stop(struct node *n)
{
    if (!n->started)
        return;
    turns_lock(&n->turns);
    n->stopping = true;
    turns_wake(&n->turns);
    turns_unlock(&n->turns);
    pthread_join(n->thread, NULL);
    n->started = false;

    struct list late; /* requests that came while the thread ended */
    list_init(&late);
    turns_lock(&n->turns);
    n->stopped = true;
    list_splice(&late, &n->in.requests);
    turns_unlock(&n->turns);
    struct list *it;
    while ((it = list_pop_front(&late)) != NULL)
        driver_done(LIST_ENTRY(it, struct node_request, link), ERR_SHUTDOWN);
}

/* ---- from other threads ---- */

/* A turn in the thread's place. True: the thread is to be woken. */
static bool take_turn(struct node *n, struct mailbox *mail)
{
    turn(n, mail);
    bool is_applying = driver_is_applying(n->driver);
    turns_lock(&n->turns);
    bool wake = turns_leave(&n->turns, is_applying || !mailbox_is_empty(&n->in));
    turns_unlock(&n->turns);
    return wake;
}

/* Posts all in `what` and empties it. False: the thread has ended and nobody will look. */
static bool post(struct node *n, struct list *box, struct list *what, bool has_time)
{
    struct mailbox mail;
    mailbox_init(&mail);
    turns_lock(&n->turns);
    bool stopped = n->stopped;
    if (!stopped)
        list_splice(box, what);
    enum turns_part part = turns_join(&n->turns, has_time);
    if (part == TURNS_GUEST)
        mailbox_move(&mail, &n->in);
    turns_unlock(&n->turns);
    if (part == TURNS_WAKE || (part == TURNS_GUEST && take_turn(n, &mail)))
        turns_wake(&n->turns);
    return !stopped;
}

static bool post_one(struct node *n, struct list *box, struct list *link, bool has_time)
{
    struct list one;
    list_init(&one);
    list_push_back(&one, link);
    return post(n, box, &one, has_time);
}

void node_submit(struct node *n, struct node_request *r)
{
    struct list one;
    list_init(&one);
    list_push_back(&one, &r->link);
    node_submit_all(n, &one);
}

void node_submit_all(struct node *n, struct list *requests)
{
    struct list *it;
    if (list_is_empty(requests) || post(n, &n->in.requests, requests, true))
        return;
    while ((it = list_pop_front(requests)) != NULL)
        driver_done(LIST_ENTRY(it, struct node_request, link), ERR_SHUTDOWN);
}

static void on_written(void *ctx, struct storage_write *w)
{
    struct node *n = ctx;
    if (!post_one(n, &n->in.written, &w->link, true))
        storage_write_free(&w);
}

static void on_loaded(void *ctx, struct storage_load *l)
{
    struct node *n = ctx;
    if (!post_one(n, &n->in.loaded, &l->link, false))
        storage_load_free(&l);
}

static void on_worked(void *ctx, struct storage_job *j)
{
    struct node *n = ctx;
    if (!post_one(n, &n->in.worked, &j->link, false))
        storage_job_free(&j);
}

static void on_answered(void *ctx, struct transport_request *t)
{
    struct node *n = ctx;
    if (!post_one(n, &n->in.answered, &t->link, true))
        transport_request_free(&t);
}

struct storage_events node_storage_events(struct node *n)
{
    return (struct storage_events){
        .written = on_written, .loaded = on_loaded, .worked = on_worked, .ctx = n};
}

struct transport_events node_transport_events(struct node *n)
{
    return (struct transport_events){.done = on_answered, .ctx = n};
}

int node_get(struct node *n, const void *key, size_t key_len, struct buf *out)
{
    return machine_get(n->machine, key, key_len, out);
}

int node_get_value(struct node *n, const void *key, size_t key_len, struct kv_value *ret_info,
                   struct buf *value, struct buf *attrs)
{
    return machine_get_value(n->machine, key, key_len, ret_info, value, attrs);
}

struct kv_view *node_view(struct node *n)
{
    return machine_view(n->machine);
}

struct node_freshness node_freshness(struct node *n)
{
    struct machine_standing s = machine_standing(n->machine);
    uint64_t now_ms = clock_now_ms();
    return (struct node_freshness){
        .member = s.member,
        .applied = machine_visible(n->machine),
        .known = s.confirmed_ms > 0,
        .age_ms = now_ms > s.confirmed_ms ? now_ms - s.confirmed_ms : 0,
    };
}

struct uuid node_id(const struct node *n)
{
    return n->identity.node;
}

struct uuid node_leader_hint(const struct node *n)
{
    return machine_leader_hint(n->machine);
}

uint64_t node_last_turn_ms(const struct node *n)
{
    return atomic_load_explicit(&n->last_turn_ms, memory_order_relaxed);
}
