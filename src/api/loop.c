/* SPDX-License-Identifier: MIT
 * The one file that knows libmicrohttpd. How it must be treated (PITFALLS part
 * 2): every byte of a body is consumed at once; MHD_YES after suspending;
 * resumed exactly once, by this thread; MHD_run, then MHD_get_timeout; nothing
 * is suspended when the daemon stops; a suspended connection has no timeout,
 * so the node completes every request by its deadline.
 *
 *      node's thread   done() -> mailbox -> eventfd, if the loop sleeps
 *      loop's thread   epoll_wait -> take_mail: finish, resume -> MHD_run
 */
#include "api/loop.h"

#include <errno.h>
#include <limits.h>
#include <microhttpd.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "api/exchange.h"
#include "api/expiry.h"
#include "api/reply.h"
#include "api/route.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/number.h"
#include "base/rng.h"
#include "base/thread.h"

/* Room for one connection's headers and for parsing them; above LIMIT_HEADER_BYTES,
 * so that it is our answer that says what the limit is. */
#define CONNECTION_BYTES (24 * KIB)
#define SUBMIT_BATCH     64 /* requests that the node gets at once */

#define STREAM_BLOCK_BYTES (64 * KIB) /* given to libmicrohttpd at once */
#define STREAM_STALL_S     30         /* a client that takes nothing of a stream is cut */

struct socket_mail {
    struct socket_mail *next;
    int fd;
    socklen_t len;
    struct sockaddr_storage addr;
};

struct http_loop {
    struct http_server *server;
    struct MHD_Daemon *daemon;
    pthread_t thread;
    int epoll_fd, wake_fd;
    atomic_bool stopping;

    /* The mailbox: stacks that senders push on and the loop takes whole. */
    _Atomic(struct http_exchange *) done;
    _Atomic(struct socket_mail *) sockets;
    atomic_bool asleep;    /* or about to be: whoever sends mail must wake it */
    atomic_uint n_senders; /* inside on_done(): the loop must outlive them */

    unsigned n_parked;  /* exchanges whose request the node has, or will have */
    struct list unsent; /* the requests that the node does not have yet */
    unsigned n_unsent;
    struct http_spares spares;
    struct list expiring;    /* exchanges with expires_ms, the next first */
    struct rng rng;          /* for request ids */
    bool connection_started; /* by the socket that is being added */
    struct uuid leader;
    char leader_text[UUID_TEXT_LEN + 1];
    struct stats stats;
};

const struct stats *loop_stats(const struct http_loop *l)
{
    return &l->stats;
}

/* ---- mail ---- */

static void wake(struct http_loop *l)
{
    if (atomic_exchange(&l->asleep, false))
        eventfd_write(l->wake_fd, 1);
}

void loop_add_socket(struct http_loop *l, int fd, const struct sockaddr *addr, socklen_t len)
{
    struct socket_mail *m = mem_zalloc(sizeof *m);
    m->fd = fd;
    m->len = len;
    memcpy(&m->addr, addr, len);
    m->next = atomic_load(&l->sockets);
    while (!atomic_compare_exchange_weak(&l->sockets, &m->next, m))
        ;
    wake(l);
}

/* The node's done(): on any thread. */
static void on_done(struct node_request *r)
{
    struct http_exchange *x = r->owner;
    struct http_loop *l = x->loop;
    atomic_fetch_add(&l->n_senders, 1);
    x->next_done = atomic_load(&l->done);
    while (!atomic_compare_exchange_weak(&l->done, &x->next_done, x))
        ;
    wake(l);
    atomic_fetch_sub(&l->n_senders, 1);
}

/* Giving requests to the node one by one, as they are read, would wake its thread for each. */
static void submit_all(struct http_loop *l)
{
    l->n_unsent = 0;
    node_submit_all(l->server->node, &l->unsent);
}

void http_submit(struct http_exchange *x, struct node_request *r)
{
    node_request_free(&x->request); /* the answer to the question before */
    x->request = r;
    x->loop->n_parked++;
    r->owner = x;
    r->done = on_done;
    if (r->deadline_ms == 0)
        r->deadline_ms = clock_now_ms() + http_timeout_ms(x);
    list_push_back(&x->loop->unsent, &r->link);
    if (++x->loop->n_unsent == SUBMIT_BATCH)
        submit_all(x->loop);
}

void http_expire_after(struct http_exchange *x, uint32_t ms)
{
    expiry_add(&x->loop->expiring, x, ms);
}

static void add_socket(struct http_loop *l, struct socket_mail *m)
{
    /* On failure libmicrohttpd has closed the socket, and told on_connection() so if it had
     * told it of the start before. */
    l->connection_started = false;
    if (MHD_add_connection(l->daemon, m->fd, (struct sockaddr *)&m->addr, m->len) != MHD_YES &&
        !l->connection_started)
        places_unopen(&l->server->places);
    mem_free(m);
}

static void finish(struct http_exchange *x)
{
    x->loop->n_parked--;
    if (x->stream) {
        x->stream->take(x);
        x->stream_failed = x->out.len == 0;
    } else {
        x->route->finish(x);
    }
    if (x->status == 0) { /* it has asked once more */
        ASSERT(x->request);
        return;
    }
    MHD_resume_connection(x->connection);
}

/* A stack gives the youngest first; serving the oldest first is fairer. */
static void take_mail(struct http_loop *l)
{
    struct http_exchange *done = atomic_exchange(&l->done, NULL), *oldest = NULL;
    struct socket_mail *sockets = atomic_exchange(&l->sockets, NULL);
    while (done) {
        struct http_exchange *next = done->next_done;
        done->next_done = oldest;
        oldest = done;
        done = next;
    }
    while (oldest) {
        struct http_exchange *next = oldest->next_done;
        finish(oldest);
        oldest = next;
    }
    while (sockets) {
        struct socket_mail *next = sockets->next;
        add_socket(l, sockets);
        sockets = next;
    }
}

/* ---- one exchange ---- */

static enum MHD_Result note_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                   size_t name_len, const char *value, size_t value_len)
{
    (void)kind;
    http_note_header(cls, name, name_len, value, value_len);
    return MHD_YES;
}

struct query_visit {
    http_visit_fn *fn;
    void *ctx;
};

static enum MHD_Result note_parameter(void *cls, enum MHD_ValueKind kind, const char *name,
                                      size_t name_len, const char *value, size_t value_len)
{
    struct query_visit *v = cls;
    (void)kind;
    return v->fn(v->ctx, name, name_len, value, value_len) ? MHD_YES : MHD_NO;
}

void http_visit_query(struct http_exchange *x, http_visit_fn *fn, void *ctx)
{
    struct query_visit v = {fn, ctx};
    MHD_get_connection_values_n(x->connection, MHD_GET_ARGUMENT_KIND, note_parameter, &v);
}

bool http_client_is_gone(const struct http_exchange *x)
{
    char c;
    int fd = MHD_get_connection_info(x->connection, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    ssize_t n = recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

static struct http_exchange *exchange_new(struct http_loop *l, struct MHD_Connection *c,
                                          const char *url, const char *method)
{
    struct http_exchange *x = http_exchange_new(&l->spares);
    x->server = l->server;
    x->loop = l;
    x->connection = c;
    x->place = MHD_get_connection_info(c, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
    x->started_us = clock_now_us();
    x->method = http_method_of(method);
    x->headers.bytes = strlen(url) + strlen(method);
    MHD_get_connection_values_n(c, MHD_HEADER_KIND, note_header, x);
    http_choose_request_id(x, &l->rng);
    route_begin(x, url);
    x->in_flight = !x->route->peer;
    if (x->in_flight)
        atomic_fetch_add(&l->server->n_in_flight, 1);
    return x;
}

static void add_header(struct MHD_Response *r, const char *name, const char *value)
{
    if (MHD_add_response_header(r, name, value) != MHD_YES)
        LOG_DEBUG("api: header %s is not accepted", name);
}

/* The text of the leader's id, made anew when the leader changes. */
static const char *leader_text(struct http_loop *l)
{
    struct uuid leader = node_leader_hint(l->server->node);
    if (!uuid_equal(leader, l->leader)) {
        l->leader = leader;
        uuid_format(leader, l->leader_text);
    }
    return uuid_is_zero(leader) ? NULL : l->leader_text;
}

static void add_number(struct MHD_Response *r, const char *name, uint64_t value)
{
    char text[NUMBER_DIGITS_MAX + 1];
    number_format(value, text);
    add_header(r, name, text);
}

static void add_etag(struct MHD_Response *r, uint64_t revision)
{
    char text[NUMBER_DIGITS_MAX + 3] = "\"";
    size_t n = number_format(revision, text + 1);
    text[n + 1] = '"';
    text[n + 2] = 0;
    add_header(r, MHD_HTTP_HEADER_ETAG, text);
}

/* A value that somebody stored as a page or a script must not act in a browser as if it came from
 * the operator of this node. */
static void confine(struct MHD_Response *r)
{
    add_header(r, "X-Content-Type-Options", "nosniff");
    add_header(r, "Content-Security-Policy", "default-src 'none'; sandbox");
}

static void add_headers(struct http_exchange *x, struct MHD_Response *r)
{
    const char *leader = leader_text(x->loop);
    bool closing = x->close || (!x->route->peer && atomic_load(&x->server->draining));
    if (x->status != 304)
        add_header(r, MHD_HTTP_HEADER_CONTENT_TYPE,
                   x->content_type ? x->content_type : "application/json");
    add_header(r, "X-Crabcluster-Node", x->server->node_text);
    if (leader)
        add_header(r, "X-Crabcluster-Leader", leader);
    add_header(r, "X-Request-Id", x->request_id);
    if (x->allow[0])
        add_header(r, MHD_HTTP_HEADER_ALLOW, x->allow);
    if (x->retry_after_s)
        add_number(r, MHD_HTTP_HEADER_RETRY_AFTER, x->retry_after_s);
    if (x->revision)
        add_number(r, "X-Crabcluster-Revision", x->revision);
    if (x->create_revision)
        add_number(r, "X-Crabcluster-Create-Revision", x->create_revision);
    if (x->version)
        add_number(r, "X-Crabcluster-Version", x->version);
    if (x->etag && x->revision)
        add_etag(r, x->revision);
    if (x->age_known)
        add_number(r, "X-Crabcluster-Age-Ms", x->age_ms);
    if (x->content_type == x->stored_type)
        confine(r);
    if (x->disposition[0])
        add_header(r, MHD_HTTP_HEADER_CONTENT_DISPOSITION, x->disposition);
    if (closing)
        add_header(r, MHD_HTTP_HEADER_CONNECTION, "close");
}

/* libmicrohttpd wants more of a stream. Without more at hand the connection sleeps until the node
 * has answered; it is asked again then. */
static ssize_t on_stream(void *cls, uint64_t at, char *to, size_t max)
{
    struct http_exchange *x = cls;
    size_t len = http_copy_piece(x, at, to, max);
    if (len > 0)
        return (ssize_t)len;
    if (x->stream_failed || atomic_load(&x->loop->stopping))
        return MHD_CONTENT_READER_END_WITH_ERROR;
    x->stream_at = at;
    buf_clear(&x->out);
    switch (x->stream->more(x, at)) {
    case HTTP_MORE_HERE:
        return (ssize_t)http_copy_piece(x, at, to, max);
    case HTTP_MORE_NONE:
        return MHD_CONTENT_READER_END_OF_STREAM;
    case HTTP_MORE_ASKED:
        break;
    }
    MHD_suspend_connection(x->connection);
    return 0;
}

/* libmicrohttpd sends no body with what has none, and asks nobody for it. */
static ssize_t no_body(void *cls, uint64_t at, char *to, size_t max)
{
    (void)cls, (void)at, (void)to, (void)max;
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

static struct MHD_Response *make_response(struct http_exchange *x)
{
    if (x->no_body)
        return MHD_create_response_from_callback(x->body_bytes, STREAM_BLOCK_BYTES, no_body, NULL,
                                                 NULL);
    if (x->stream)
        return MHD_create_response_from_callback(x->stream_size, STREAM_BLOCK_BYTES, on_stream, x,
                                                 NULL);
    return MHD_create_response_from_buffer(x->out.len, x->out.data, MHD_RESPMEM_PERSISTENT);
}

static unsigned stall_s(const struct http_server *server)
{
    return server->options->stall_s ? server->options->stall_s : STREAM_STALL_S;
}

static unsigned idle_s(const struct http_exchange *x)
{
    if (x->place->kind == PLACE_WAITING)
        return PLACE_WAITING_S;
    if (!x->stream)
        return PLACE_IDLE_S;
    return stall_s(x->server) + x->lives_ms / 1000;
}

static enum MHD_Result send_answer(struct http_exchange *x)
{
    uint64_t took_us = clock_now_us() - x->started_us;
    http_complete(x, took_us);
    struct MHD_Response *r = make_response(x);
    if (!r)
        return MHD_NO;
    add_headers(x, r);
    MHD_set_connection_option(x->connection, MHD_CONNECTION_OPTION_TIMEOUT, idle_s(x));
    enum MHD_Result queued = MHD_queue_response(x->connection, x->status, r);
    MHD_destroy_response(r);
    stats_count(&x->loop->stats, route_number(x->route), x->method, x->status, took_us);
    return queued;
}

static enum MHD_Result begin(struct http_loop *l, struct MHD_Connection *c, const char *url,
                             const char *method, void **con_cls)
{
    struct http_exchange *x = exchange_new(l, c, url, method);
    *con_cls = x;
    if (x->status != 0)
        return http_answers_before_body(x) ? send_answer(x) : MHD_YES;
    http_reserve_body(x);
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_len, void **con_cls)
{
    struct http_loop *l = cls;
    struct http_exchange *x = *con_cls;
    (void)version;
    if (!x)
        return begin(l, c, url, method, con_cls);
    if (*data_len > 0) {
        bool go_on = http_take_body(x, data, *data_len);
        *data_len = 0; /* bytes left would hang the request */
        return go_on ? MHD_YES : MHD_NO;
    }
    if (x->status == 0 && atomic_load(&l->stopping)) {
        reply_api_err(x, 503, "ShuttingDown", "this node is shutting down; ask another one");
        x->close = true;
    }
    if (x->status == 0)
        x->route->start(x);
    if (x->status != 0)
        return send_answer(x);
    ASSERT(x->request);
    MHD_suspend_connection(c);
    return MHD_YES;
}

static void on_completed(void *cls, struct MHD_Connection *c, void **con_cls,
                         enum MHD_RequestTerminationCode why)
{
    struct http_loop *l = cls;
    (void)c, (void)why;
    if (*con_cls) {
        expiry_remove(*con_cls);
        http_exchange_free(*con_cls, &l->spares);
    }
    *con_cls = NULL;
}

static void on_connection(void *cls, struct MHD_Connection *c, void **context,
                          enum MHD_ConnectionNotificationCode what)
{
    struct http_loop *l = cls;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        place_free((struct place **)context);
        return;
    }
    l->connection_started = true;
    struct place *place = place_new(&l->server->places);
    *context = place;
    if (place->kind == PLACE_WAITING)
        MHD_set_connection_option(c, MHD_CONNECTION_OPTION_TIMEOUT, (unsigned)PLACE_WAITING_S);
}

/* Leaves paths and queries as they came: libmicrohttpd's own decoding loses what follows %00. */
static size_t leave_escaped(void *cls, struct MHD_Connection *c, char *text)
{
    (void)cls, (void)c;
    return strlen(text);
}

static void on_log(void *cls, const char *fmt, va_list ap)
{
    char line[300];
    (void)cls;
    if (!log_wants(LOG_LEVEL_DEBUG))
        return;
    vsnprintf(line, sizeof line, fmt, ap);
    line[strcspn(line, "\n")] = 0;
    LOG_DEBUG("api: libmicrohttpd: %s", line);
}

/* ---- the thread ---- */

static int next_timeout_ms(struct http_loop *l)
{
    MHD_UNSIGNED_LONG_LONG ms;
    int expiry_ms = expiry_left_ms(&l->expiring);
    if (MHD_get_timeout(l->daemon, &ms) != MHD_YES)
        return expiry_ms == INT_MAX ? -1 : expiry_ms;
    return ms > (unsigned)expiry_ms ? expiry_ms : ms > 60000 ? 60000 : (int)ms;
}

static bool has_mail(struct http_loop *l)
{
    return atomic_load(&l->done) || atomic_load(&l->sockets);
}

/* Says that it sleeps before it looks for mail the last time; senders leave their mail
 * before they look whether it sleeps. So one of them sees the other. */
static void sleep_until_something(struct http_loop *l)
{
    struct epoll_event events[2];
    eventfd_t ignored;
    int timeout_ms = next_timeout_ms(l);
    atomic_store(&l->asleep, true);
    if (has_mail(l))
        timeout_ms = 0;
    int n = epoll_wait(l->epoll_fd, events, 2, timeout_ms);
    atomic_store(&l->asleep, false);
    for (int i = 0; i < n; i++)
        if (events[i].data.fd == l->wake_fd)
            eventfd_read(l->wake_fd, &ignored);
}

static void *loop_thread(void *arg)
{
    struct http_loop *l = arg;
    thread_name("http");
    while (!atomic_load(&l->stopping) || l->n_parked > 0) {
        sleep_until_something(l);
        take_mail(l);
        expiry_run(&l->expiring);
        MHD_run(l->daemon);
        submit_all(l);
    }
    take_mail(l);       /* sockets that came last */
    MHD_run(l->daemon); /* lets go of what was resumed last */
    MHD_stop_daemon(l->daemon);
    return NULL;
}

static struct MHD_Daemon *start_daemon(struct http_loop *l)
{
    struct MHD_OptionItem options[] = {
        {MHD_OPTION_CONNECTION_LIMIT, INT_MAX - 1, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, PLACE_IDLE_S, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, (intptr_t)CONNECTION_BYTES, NULL},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, l},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, l},
        {MHD_OPTION_UNESCAPE_CALLBACK, (intptr_t)leave_escaped, NULL},
        {MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, NULL},
        {MHD_OPTION_END, 0, NULL},
    };
    return MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET |
                                MHD_USE_ERROR_LOG,
                            0, NULL, NULL, on_request, l, MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL,
                            MHD_OPTION_ARRAY, options, MHD_OPTION_END);
}

static int watch(struct http_loop *l, int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    return epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

int loop_start(struct http_server *server, struct http_loop **ret_loop)
{
    struct http_loop *l = mem_zalloc(sizeof *l);
    l->server = server;
    list_init(&l->unsent);
    list_init(&l->expiring);
    l->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    l->daemon = start_daemon(l);
    const union MHD_DaemonInfo *info =
        l->daemon ? MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD) : NULL;
    bool ok = l->epoll_fd >= 0 && l->wake_fd >= 0 && info && watch(l, l->wake_fd) == 0 &&
              watch(l, info->epoll_fd) == 0 &&
              getrandom(&l->rng.state, sizeof l->rng.state, 0) == (ssize_t)sizeof l->rng.state &&
              pthread_create(&l->thread, NULL, loop_thread, l) == 0;
    if (ok) {
        *ret_loop = l;
        return 0;
    }
    if (l->daemon)
        MHD_stop_daemon(l->daemon);
    if (l->epoll_fd >= 0)
        close(l->epoll_fd);
    if (l->wake_fd >= 0)
        close(l->wake_fd);
    mem_free(l);
    return ERR_IO;
}

void loop_stop(struct http_loop *l)
{
    atomic_store(&l->stopping, true);
    eventfd_write(l->wake_fd, 1);
}

void loop_join(struct http_loop **l)
{
    struct http_loop *it = *l;
    pthread_join(it->thread, NULL);
    while (atomic_load(&it->n_senders) > 0) /* the last mail was read before its sender was done */
        sched_yield();
    close(it->epoll_fd);
    close(it->wake_fd);
    http_spares_free(&it->spares);
    MEM_FREE(*l);
}
