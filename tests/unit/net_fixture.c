/* SPDX-License-Identifier: MIT
 * See net_fixture.h.
 */
#include "net_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"

enum { PATIENCE_S = 20 };

static void on_done(void *ctx, struct transport_request *r)
{
    struct net_fixture *f = ctx;
    pthread_mutex_lock(&f->lock);
    f->at_ms[f->n] = clock_now_ms();
    f->answers[f->n++] = r;
    pthread_cond_signal(&f->more);
    pthread_mutex_unlock(&f->lock);
}

struct net_fixture *net_fixture_new(unsigned window)
{
    struct net_fixture *f = mem_zalloc(sizeof *f);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->more, NULL);
    f->net = net_start(&(struct net_options){.data_window = window},
                       (struct transport_events){on_done, f});
    f->start_ms = clock_now_ms();
    return f;
}

/* Drops what was answered, to begin anew. */
void net_forget_answers(struct net_fixture *f)
{
    for (unsigned i = 0; i < f->n; i++)
        transport_request_free(&f->answers[i]);
    f->n = 0;
    f->start_ms = clock_now_ms();
}

void net_fixture_free(struct net_fixture *f)
{
    net_stop(&f->net);
    net_forget_answers(f);
    pthread_cond_destroy(&f->more);
    pthread_mutex_destroy(&f->lock);
    mem_free(f);
}

struct transport_request *net_make_request(struct net_fixture *f, const char *addr,
                                           enum transport_path path, enum transport_lane lane,
                                           uint32_t timeout_ms)
{
    struct transport_request *r = transport_request_new();
    r->exchange = ++f->next_exchange;
    r->path = path;
    r->lane = lane;
    r->timeout_ms = timeout_ms;
    snprintf(r->addr, sizeof r->addr, "%s", addr);
    return r;
}

void net_give(struct net_fixture *f, struct transport_request *r)
{
    struct transport *t = net_transport(f->net);
    t->send(t, r);
}

void net_ask(struct net_fixture *f, const char *addr, enum transport_lane lane, uint32_t timeout_ms,
             const char *body)
{
    struct transport_request *r = net_make_request(
        f, addr, lane == TRANSPORT_DATA ? TRANSPORT_APPEND : TRANSPORT_VOTE, lane, timeout_ms);
    buf_append_str(&r->body, body);
    net_give(f, r);
}

/* Until there are n answers in all. */
void net_await(struct net_fixture *f, unsigned n)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&f->lock);
    while (f->n < n && pthread_cond_timedwait(&f->more, &f->lock, &until) == 0)
        ;
    unsigned got = f->n;
    pthread_mutex_unlock(&f->lock);
    assert_int_equal(got, n);
}

uint64_t net_answered_after_ms(const struct net_fixture *f, unsigned i)
{
    return f->at_ms[i] - f->start_ms;
}

void net_assert_reply(const struct transport_request *r, int status, const char *body)
{
    assert_int_equal(r->err, 0);
    assert_int_equal(r->http_status, status);
    assert_int_equal(r->reply.len, strlen(body));
    assert_memory_equal(r->reply.data, body, r->reply.len);
}
