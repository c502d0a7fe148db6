/* SPDX-License-Identifier: MIT */
#include "api/api.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "api/handlers.h"
#include "api/http.h"
#include "api/listener.h"
#include "api/loop.h"
#include "api/route.h"
#include "base/clock.h"
#include "base/mem.h"

#define THREADS_MAX 64

#define HOST_NAME_BYTES 256

struct api {
    struct api_options options;
    const char **own_names; /* owned; the names themselves are the caller's, but for: */
    char host_name[HOST_NAME_BYTES], short_name[HOST_NAME_BYTES];
    struct http_server server;
    struct listener *listener;
};

static unsigned loops_wanted(const struct api_options *o)
{
    if (o->threads > 0)
        return o->threads < THREADS_MAX ? o->threads : THREADS_MAX;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : cores > 4 ? 4 : (unsigned)cores;
}

/* The machine's name, whole and up to the first dot, is a name of this node too. */
static void add_host_name(struct api *a)
{
    struct api_options *o = &a->options;
    if (gethostname(a->host_name, sizeof a->host_name - 1) != 0 || !a->host_name[0])
        return;
    snprintf(a->short_name, sizeof a->short_name, "%s", a->host_name);
    a->short_name[strcspn(a->short_name, ".")] = 0;
    a->own_names = mem_array(o->n_own_names + 2, sizeof *a->own_names);
    for (unsigned i = 0; i < o->n_own_names; i++)
        a->own_names[i] = o->own_names[i];
    a->own_names[o->n_own_names++] = a->host_name;
    a->own_names[o->n_own_names++] = a->short_name;
    o->own_names = a->own_names;
}

static void stop_loops(struct http_server *s)
{
    for (unsigned i = 0; i < s->n_loops; i++)
        loop_stop(s->loops[i]);
    for (unsigned i = 0; i < s->n_loops; i++)
        loop_join(&s->loops[i]);
    MEM_FREE(s->loops);
}

static int start_loops(struct http_server *s, unsigned n)
{
    s->loops = mem_array(n, sizeof(struct http_loop *));
    for (; s->n_loops < n; s->n_loops++) {
        int err = loop_start(s, &s->loops[s->n_loops]);
        if (err)
            return err;
    }
    return 0;
}

int api_listen(const struct api_options *options, struct buf *ret_reason, struct api **ret)
{
    struct api *a = mem_zalloc(sizeof *a);
    a->options = *options;
    add_host_name(a);
    a->server.options = &a->options;
    places_init(&a->server.places);
    pthread_mutex_init(&a->server.config_lock, NULL);
    api_set_limits(a, &options->limits);
    int err = listener_open(options->bind_addr, ret_reason, &a->listener);
    if (err) {
        api_stop(&a);
        return err;
    }
    *ret = a;
    return 0;
}

int api_start(struct api *a, struct node *node, struct buf *ret_reason)
{
    route_init();
    a->server.node = node;
    uuid_format(node_id(node), a->server.node_text);
    int err = start_loops(&a->server, loops_wanted(&a->options));
    if (err) {
        buf_append_str(ret_reason, "cannot start the HTTP threads");
        return err;
    }
    err = listener_start(a->listener, &a->server);
    if (err)
        buf_append_str(ret_reason, "cannot start the thread that accepts connections");
    return err;
}

void api_set_limits(struct api *a, const struct api_limits *limits)
{
    atomic_store(&a->server.places.max_clients, limits->max_connections);
    atomic_store(&a->server.request_timeout_ms, limits->request_timeout_ms);
    atomic_store(&a->server.max_value_size, limits->max_value_size);
}

void api_set_config(struct api *a, const char *file, const struct api_setting settings[], size_t n)
{
    struct buf json = BUF_INIT;
    config_write(&json, file, settings, n);
    pthread_mutex_lock(&a->server.config_lock);
    struct buf before = a->server.config;
    a->server.config = json;
    pthread_mutex_unlock(&a->server.config_lock);
    buf_free(&before);
}

void api_drain(struct api *a, uint32_t timeout_ms)
{
    uint64_t end = clock_now_ms() + timeout_ms;
    atomic_store(&a->server.draining, true);
    listener_close(&a->listener);
    while (atomic_load(&a->server.n_in_flight) > 0 && clock_now_ms() < end)
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

void api_stop(struct api **a)
{
    struct api *it = *a;
    if (!it)
        return;
    atomic_store(&it->server.draining, true);
    listener_close(&it->listener);
    stop_loops(&it->server);
    pthread_mutex_destroy(&it->server.config_lock);
    buf_free(&it->server.config);
    MEM_FREE(it->own_names);
    MEM_FREE(*a);
}
