/* SPDX-License-Identifier: MIT
 * libmicrohttpd alone, driven the way src/api/loop.c drives it, as the ceiling
 * for limits.sh: a constant answer, at once ("now"), or after the connection was
 * suspended, handed to another thread and back, and resumed ("later").
 *
 *      main accepts -> pipe -> loop: MHD_add_connection, MHD_run
 *      later:  loop -> worker, all of a turn at once -> mailbox, eventfd -> loop: resume
 */
#define _GNU_SOURCE /* accept4 */
#include <arpa/inet.h>
#include <limits.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define LOOPS_MAX        64
#define CONNECTION_BYTES (24 * 1024) /* as in src/api/loop.c */
#define SUBMIT_BATCH     64

struct request {
    struct request *next;
    struct loop *loop;
    struct MHD_Connection *connection;
    bool resumed;
};

struct loop {
    struct MHD_Daemon *daemon;
    int epoll_fd, wake_fd, sockets[2];
    _Atomic(struct request *) done;
    atomic_bool asleep;
    struct request *unsent;
    unsigned n_unsent;
    pthread_t thread;
};

static bool later;
static struct MHD_Response *answer;
static struct loop loops[LOOPS_MAX];

/* What the loops gave to the worker. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static struct request *submitted;

/* ---- the worker: completes everything at once ---- */

static void complete(struct request *r)
{
    struct loop *l = r->loop;
    r->next = atomic_load(&l->done);
    while (!atomic_compare_exchange_weak(&l->done, &r->next, r))
        ;
    if (atomic_exchange(&l->asleep, false))
        eventfd_write(l->wake_fd, 1);
}

static void *worker(void *arg)
{
    for (;;) {
        pthread_mutex_lock(&lock);
        while (!submitted)
            pthread_cond_wait(&more, &lock);
        struct request *all = submitted;
        submitted = NULL;
        pthread_mutex_unlock(&lock);
        while (all) {
            struct request *next = all->next;
            complete(all);
            all = next;
        }
    }
    return arg;
}

static void submit_all(struct loop *l)
{
    struct request *last = l->unsent;
    if (!last)
        return;
    while (last->next)
        last = last->next;
    pthread_mutex_lock(&lock);
    last->next = submitted;
    submitted = l->unsent;
    pthread_cond_signal(&more);
    pthread_mutex_unlock(&lock);
    l->unsent = NULL;
    l->n_unsent = 0;
}

/* ---- a loop ---- */

static enum MHD_Result suspend(struct loop *l, struct request *r)
{
    r->next = l->unsent;
    l->unsent = r;
    if (++l->n_unsent == SUBMIT_BATCH)
        submit_all(l);
    MHD_suspend_connection(r->connection);
    return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_len, void **con_cls)
{
    struct request *r = *con_cls;
    (void)url, (void)method, (void)version, (void)data;
    if (!r) {
        *con_cls = r = calloc(1, sizeof *r);
        if (!r)
            return MHD_NO;
        *r = (struct request){.loop = cls, .connection = c};
        return MHD_YES;
    }
    if (*data_len > 0) {
        *data_len = 0;
        return MHD_YES;
    }
    if (later && !r->resumed)
        return suspend(cls, r);
    return MHD_queue_response(c, MHD_HTTP_OK, answer);
}

static void on_completed(void *cls, struct MHD_Connection *c, void **con_cls,
                         enum MHD_RequestTerminationCode why)
{
    (void)cls, (void)c, (void)why;
    free(*con_cls);
    *con_cls = NULL;
}

static void take_mail(struct loop *l)
{
    struct request *r = atomic_exchange(&l->done, NULL);
    while (r) {
        struct request *next = r->next;
        r->resumed = true;
        MHD_resume_connection(r->connection);
        r = next;
    }
}

static void take_socket(struct loop *l)
{
    int fd;
    if (read(l->sockets[0], &fd, sizeof fd) != (ssize_t)sizeof fd)
        return;
    struct sockaddr_in addr = {.sin_family = AF_INET};
    MHD_add_connection(l->daemon, fd, (struct sockaddr *)&addr, sizeof addr);
}

static void sleep_until_something(struct loop *l)
{
    struct epoll_event events[3];
    MHD_UNSIGNED_LONG_LONG ms;
    eventfd_t ignored;
    int timeout_ms = MHD_get_timeout(l->daemon, &ms) == MHD_YES ? (ms > 1000 ? 1000 : (int)ms) : -1;
    atomic_store(&l->asleep, true);
    if (atomic_load(&l->done))
        timeout_ms = 0;
    int n = epoll_wait(l->epoll_fd, events, 3, timeout_ms);
    atomic_store(&l->asleep, false);
    for (int i = 0; i < n; i++) {
        if (events[i].data.fd == l->wake_fd)
            eventfd_read(l->wake_fd, &ignored);
        else if (events[i].data.fd == l->sockets[0])
            take_socket(l);
    }
}

static void *loop_thread(void *arg)
{
    for (;;) {
        sleep_until_something(arg);
        take_mail(arg);
        MHD_run(((struct loop *)arg)->daemon);
        submit_all(arg);
    }
    return NULL;
}

static void watch(struct loop *l, int fd)
{
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(l->epoll_fd, EPOLL_CTL_ADD, fd, &e);
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void start_loop(struct loop *l)
{
    l->epoll_fd = epoll_create1(0);
    l->wake_fd = eventfd(0, EFD_NONBLOCK);
    l->daemon = MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL,
        on_request, l, MHD_OPTION_CONNECTION_LIMIT, INT_MAX - 1, MHD_OPTION_CONNECTION_TIMEOUT, 125,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_BYTES, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, l, MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
    if (!l->daemon || pipe(l->sockets) != 0)
        fail("bare_http: loop");
    watch(l, l->wake_fd);
    watch(l, l->sockets[0]);
    watch(l, MHD_get_daemon_info(l->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd);
    pthread_create(&l->thread, NULL, loop_thread, l);
}

/* ---- the whole ---- */

static int listen_at(char *text)
{
    struct sockaddr_in addr = {.sin_family = AF_INET};
    char *colon = strrchr(text, ':');
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
    if (colon)
        *colon = '\0';
    if (!colon || inet_pton(AF_INET, text, &addr.sin_addr) != 1)
        return -1;
    addr.sin_port = htons((uint16_t)atoi(colon + 1));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    return bind(fd, (struct sockaddr *)&addr, sizeof addr) == 0 && listen(fd, 1024) == 0 ? fd : -1;
}

static void serve(int listener, unsigned n_loops)
{
    int yes = 1;
    for (unsigned i = 0;; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        if (write(loops[i % n_loops].sockets[1], &fd, sizeof fd) < 0)
            close(fd);
    }
}

int main(int argc, char **argv)
{
    static char body[] = "vvvvvvvvvvvvvvvvvvvvvvvvvvvvvvvv";
    struct rlimit files;
    pthread_t thread;
    unsigned n_loops = argc == 4 ? (unsigned)strtoul(argv[3], NULL, 10) : 0;
    if (n_loops == 0 || n_loops > LOOPS_MAX) {
        fprintf(stderr, "usage: bare_http HOST:PORT now|later LOOPS\n");
        return 2;
    }
    later = strcmp(argv[2], "later") == 0;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    signal(SIGPIPE, SIG_IGN);
    answer = MHD_create_response_from_buffer(sizeof body - 1, body, MHD_RESPMEM_PERSISTENT);
    int listener = listen_at(argv[1]);
    if (listener < 0)
        fail("bare_http: listen");
    for (unsigned i = 0; i < n_loops; i++)
        start_loop(&loops[i]);
    pthread_create(&thread, NULL, worker, NULL);
    serve(listener, n_loops);
    return 0;
}
