/* SPDX-License-Identifier: MIT */
#include "api/api.h"

#include <time.h>
#include <unistd.h>

#include "api/http.h"
#include "api/listener.h"
#include "api/loop.h"
#include "base/clock.h"
#include "base/mem.h"

#define THREADS_MAX 64

struct api {
    struct api_options options;
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

int api_start(const struct api_options *options, struct node *node, struct buf *ret_reason,
              struct api **ret)
{
    struct api *a = mem_zalloc(sizeof *a);
    a->options = *options;
    a->server.options = &a->options;
    a->server.node = node;
    uuid_format(node_id(node), a->server.node_text);
    places_init(&a->server.places, options->max_connections);
    int err = listener_open(options->bind_addr, ret_reason, &a->listener);
    if (!err) {
        err = start_loops(&a->server, loops_wanted(options));
        if (err)
            buf_append_str(ret_reason, "cannot start the HTTP threads");
    }
    if (!err) {
        err = listener_start(a->listener, &a->server);
        if (err)
            buf_append_str(ret_reason, "cannot start the thread that accepts connections");
    }
    if (err) {
        api_stop(&a);
        return err;
    }
    *ret = a;
    return 0;
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
    MEM_FREE(*a);
}
