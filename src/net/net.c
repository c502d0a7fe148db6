/* SPDX-License-Identifier: MIT
 * The thread that owns libcurl's multi handle. Everything but the mailbox is
 * its alone; the mailbox is the only place where it meets others.
 */
#include "net/net.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "net/call.h"
#include "net/lane.h"

enum {
    DATA_WINDOW = 1,
    CONNECT_TIMEOUT_MS = 2000,
    IDLE_MAX_S = 60,
    /* Kept-alive connections: each peer has a few for every lane. */
    CONNECTIONS_KEPT = LIMIT_PEERS * 8,
    CALLS_KEPT = 64, /* idle easy handles */
    POLL_MAX_MS = 60 * 1000,
};

struct net {
    struct transport transport; /* first: send() finds the net by it */
    struct transport_events events;
    unsigned data_window;
    struct call_options call_options;
    pthread_t thread;
    CURLM *multi;

    pthread_mutex_t lock;
    struct list mailbox; /* by lock: requests given, not yet taken by the thread */
    bool stopping;       /* by lock */

    /* the thread's own */
    struct list in_flight; /* struct call */
    struct list idle;      /* struct call */
    unsigned n_idle;
    struct lanes lanes;
};

#define MULTI(call) ASSERT((call) == CURLM_OK)

/* ---- from other threads ---- */

static void net_send(struct transport *t, struct transport_request *r)
{
    struct net *n = (struct net *)t;
    pthread_mutex_lock(&n->lock);
    bool was_empty = list_is_empty(&n->mailbox);
    list_push_back(&n->mailbox, &r->link);
    pthread_mutex_unlock(&n->lock);
    /* Not empty: a wake-up is on its way already, and takes this one along. */
    if (was_empty)
        MULTI(curl_multi_wakeup(n->multi));
}

struct transport *net_transport(struct net *n)
{
    return &n->transport;
}

/* ---- the thread ---- */

/* Moves what was given to requests; false once the net is to stop. */
static bool take_mailbox(struct net *n, struct list *requests)
{
    pthread_mutex_lock(&n->lock);
    list_splice(requests, &n->mailbox);
    bool running = !n->stopping;
    pthread_mutex_unlock(&n->lock);
    return running;
}

static void answer(struct net *n, struct transport_request *r)
{
    n->events.done(n->events.ctx, r);
}

/* A request that never went out. */
static void answer_unsent(struct net *n, struct transport_request *r)
{
    r->err = ERR_UNREACHABLE;
    r->http_status = 0;
    answer(n, r);
}

static struct call *take_call(struct net *n)
{
    struct list *link = list_pop_front(&n->idle);
    if (!link)
        return call_new(&n->call_options);
    n->n_idle--;
    return LIST_ENTRY(link, struct call, link);
}

static void keep_call(struct net *n, struct call *c)
{
    list_remove(&c->link);
    if (n->n_idle >= CALLS_KEPT) {
        call_free(&c);
        return;
    }
    list_push_back(&n->idle, &c->link);
    n->n_idle++;
}

/* False: the request cannot go out, and is still the caller's. */
static bool start_call(struct net *n, struct transport_request *r, uint32_t timeout_ms)
{
    struct call *c = take_call(n);
    if (call_prepare(c, &n->call_options, r, timeout_ms) < 0) {
        keep_call(n, c);
        return false;
    }
    MULTI(curl_multi_add_handle(n->multi, c->easy));
    list_push_back(&n->in_flight, &c->link);
    return true;
}

static void end_call(struct net *n, struct call *c, CURLcode result)
{
    MULTI(curl_multi_remove_handle(n->multi, c->easy));
    struct transport_request *r = call_finish(c, result);
    keep_call(n, c);
    if (r->lane == TRANSPORT_DATA)
        lanes_done(&n->lanes, r);
    answer(n, r);
}

/* libcurl takes a timeout of 0 for none. */
static uint32_t timeout_of(const struct transport_request *r)
{
    return r->timeout_ms ? r->timeout_ms : 1;
}

static void accept_requests(struct net *n, struct list *requests)
{
    uint64_t now_ms = clock_now_ms();
    for (struct list *link; (link = list_pop_front(requests));) {
        struct transport_request *r = LIST_ENTRY(link, struct transport_request, link);
        if (r->lane == TRANSPORT_DATA)
            lanes_push(&n->lanes, r, now_ms + timeout_of(r));
        else if (!start_call(n, r, timeout_of(r)))
            answer_unsent(n, r);
    }
}

/* Sends what the lanes allow; answers what has waited too long. */
static void run_lanes(struct net *n)
{
    uint64_t now_ms = clock_now_ms(), deadline_ms;
    struct transport_request *r;
    while ((r = lanes_pop_expired(&n->lanes, now_ms)))
        answer_unsent(n, r);
    while ((r = lanes_pop(&n->lanes, &deadline_ms))) {
        if (start_call(n, r, (uint32_t)(deadline_ms - now_ms)))
            continue;
        lanes_done(&n->lanes, r);
        answer_unsent(n, r);
    }
}

/* Lets libcurl work and answers what is over. True: lanes may have become free. */
static bool run_calls(struct net *n)
{
    int n_running, n_left;
    bool any = false;
    MULTI(curl_multi_perform(n->multi, &n_running));
    for (CURLMsg *msg; (msg = curl_multi_info_read(n->multi, &n_left));) {
        if (msg->msg != CURLMSG_DONE)
            continue;
        CURLcode result = msg->data.result; /* msg is gone once the handle is removed */
        struct call *c = NULL;
        ASSERT(curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &c) == CURLE_OK && c);
        end_call(n, c, result);
        any = true;
    }
    return any;
}

static int poll_timeout_ms(const struct net *n)
{
    uint64_t deadline_ms = lanes_next_deadline(&n->lanes);
    if (deadline_ms == UINT64_MAX)
        return POLL_MAX_MS;
    uint64_t now_ms = clock_now_ms();
    if (deadline_ms <= now_ms)
        return 0;
    return deadline_ms - now_ms < POLL_MAX_MS ? (int)(deadline_ms - now_ms) : POLL_MAX_MS;
}

/* Answers everything; also what `done` gives us meanwhile. */
static void answer_all(struct net *n)
{
    struct list requests;
    list_init(&requests);
    while (!list_is_empty(&n->in_flight))
        end_call(n, LIST_ENTRY(n->in_flight.next, struct call, link), CURLE_ABORTED_BY_CALLBACK);
    for (struct transport_request *r; (r = lanes_pop_expired(&n->lanes, UINT64_MAX));)
        answer_unsent(n, r);
    while (take_mailbox(n, &requests), !list_is_empty(&requests))
        answer_unsent(n, LIST_ENTRY(list_pop_front(&requests), struct transport_request, link));
}

static void *net_main(void *arg)
{
    struct net *n = arg;
    struct list requests;
    thread_name("peers");
    list_init(&requests);
    while (take_mailbox(n, &requests)) {
        accept_requests(n, &requests);
        do
            run_lanes(n);
        while (run_calls(n));
        MULTI(curl_multi_poll(n->multi, NULL, 0, poll_timeout_ms(n), NULL));
    }
    accept_requests(n, &requests);
    answer_all(n);
    return NULL;
}

/* ---- life ---- */

static void make_multi(struct net *n)
{
    ASSERT(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    n->multi = curl_multi_init();
    ASSERT(n->multi);
    /* Otherwise libcurl keeps four times as many as there are requests at the moment. */
    MULTI(curl_multi_setopt(n->multi, CURLMOPT_MAXCONNECTS, (long)CONNECTIONS_KEPT));
    MULTI(curl_multi_setopt(n->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING));
}

/* Signals are the main thread's, and those of libcurl's resolver threads, which
 * inherit the mask; SIGPIPE too. */
static void start_thread(struct net *n)
{
    sigset_t all, before;
    sigfillset(&all);
    ASSERT(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    ASSERT(pthread_create(&n->thread, NULL, net_main, n) == 0);
    ASSERT(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
}

struct net *net_start(const struct net_options *options, struct transport_events events)
{
    struct net *n = mem_zalloc(sizeof *n);
    n->transport.send = net_send;
    n->events = events;
    n->call_options.connect_timeout_ms =
        options->connect_timeout_ms ? options->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    n->call_options.idle_max_s = options->idle_max_s ? options->idle_max_s : IDLE_MAX_S;
    ASSERT(pthread_mutex_init(&n->lock, NULL) == 0);
    list_init(&n->mailbox);
    list_init(&n->in_flight);
    list_init(&n->idle);
    lanes_init(&n->lanes, options->data_window ? options->data_window : DATA_WINDOW);
    make_multi(n);
    n->call_options.headers = call_headers_new();
    start_thread(n);
    return n;
}

static void free_idle_calls(struct net *n)
{
    for (struct list *link; (link = list_pop_front(&n->idle));) {
        struct call *c = LIST_ENTRY(link, struct call, link);
        call_free(&c);
    }
}

void net_stop(struct net **n)
{
    struct net *net = *n;
    if (!net)
        return;
    pthread_mutex_lock(&net->lock);
    net->stopping = true;
    pthread_mutex_unlock(&net->lock);
    MULTI(curl_multi_wakeup(net->multi));
    ASSERT(pthread_join(net->thread, NULL) == 0);
    free_idle_calls(net);
    curl_slist_free_all(net->call_options.headers);
    MULTI(curl_multi_cleanup(net->multi));
    curl_global_cleanup();
    pthread_mutex_destroy(&net->lock);
    MEM_FREE(*n);
}
