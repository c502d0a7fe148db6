/* SPDX-License-Identifier: MIT
 * A net and what it answered, for test_net.
 */
#ifndef TESTS_UNIT_NET_FIXTURE_H
#define TESTS_UNIT_NET_FIXTURE_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "net/net.h"

enum { ANSWERS_MAX = 1000 };

struct net_fixture {
    struct net *net;
    pthread_mutex_t lock;
    pthread_cond_t more;
    unsigned n; /* answers so far */
    struct transport_request *answers[ANSWERS_MAX];
    uint64_t at_ms[ANSWERS_MAX];
    uint64_t start_ms;
    uint64_t next_exchange; /* requests are numbered from 1 */
};

struct net_fixture *net_fixture_new(unsigned window);
/* Stops the net, if it runs, and frees all answers. */
void net_fixture_free(struct net_fixture *f);
/* Drops what was answered, to begin anew. */
void net_forget_answers(struct net_fixture *f);

struct transport_request *net_make_request(struct net_fixture *f, const char *addr,
                                           enum transport_path path, enum transport_lane lane,
                                           uint32_t timeout_ms);
void net_give(struct net_fixture *f, struct transport_request *r);
/* Makes and gives one: an append for the DATA lane, a vote for CONTROL. */
void net_ask(struct net_fixture *f, const char *addr, enum transport_lane lane, uint32_t timeout_ms,
             const char *body);
/* Until there are n answers in all; the test fails when they do not come. */
void net_await(struct net_fixture *f, unsigned n);
/* Since the start, or since the last net_forget_answers(). */
uint64_t net_answered_after_ms(const struct net_fixture *f, unsigned i);
void net_assert_reply(const struct transport_request *r, int status, const char *body);

#endif
