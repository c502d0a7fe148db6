/* SPDX-License-Identifier: MIT
 * net/: requests to peers that answer, refuse, stall, vanish and lie.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dlfcn.h>
#include <netdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "net/net.h"

#include "http_peer.h"
#include "net_fixture.h"

/* ---- peers that answer ---- */

static void test_requests_one_after_another_share_a_connection(void **state)
{
    (void)state;
    struct http_peer *p = http_peer_start(http_handle_echo, NULL);
    struct net_fixture *f = net_fixture_new(1);
    for (unsigned i = 0; i < 50; i++) {
        net_ask(f, http_peer_addr(p), i % 2 ? TRANSPORT_DATA : TRANSPORT_CONTROL, 5000, "hello");
        net_await(f, i + 1);
        net_assert_reply(f->answers[i], 200, "hello");
        assert_int_equal(f->answers[i]->exchange, i + 1);
    }
    assert_int_equal(http_peer_seen(p)->connections, 1);
    assert_int_equal(http_peer_seen(p)->requests, 50);
    assert_int_equal(http_peer_seen(p)->bad, 0);
    net_fixture_free(f);
    http_peer_stop(&p);
}

static bool answer_by_path(const struct http_request *r)
{
    static const char *const lines[TRANSPORT_PATHS] = {
        "POST /raft-append HTTP",      "POST /raft-vote HTTP",     "POST /raft-read-index HTTP",
        "POST /raft-timeout-now HTTP", "POST /raft-snapshot HTTP", "POST /raft-forward HTTP",
        "POST /raft-admin HTTP",       "POST /raft-hello HTTP",    "POST /raft-form HTTP",
        "POST /raft-digest HTTP",      "POST /raft-status HTTP",
    };
    bool right = strncmp(r->head, lines[r->nth - 1], strlen(lines[r->nth - 1])) == 0;
    http_answer(r, right ? 200 : 404, "", NULL, 0);
    return true;
}

static void test_each_path_is_asked_for_with_an_empty_body(void **state)
{
    (void)state;
    struct http_peer *p = http_peer_start(answer_by_path, NULL);
    struct net_fixture *f = net_fixture_new(1);
    for (unsigned i = 0; i < TRANSPORT_PATHS; i++) {
        net_give(f, net_make_request(f, http_peer_addr(p), (enum transport_path)i,
                                     TRANSPORT_CONTROL, 5000));
        net_await(f, i + 1);
        net_assert_reply(f->answers[i], 200, "");
    }
    assert_int_equal(http_peer_seen(p)->bad, 0);
    net_fixture_free(f);
    http_peer_stop(&p);
}

static bool answer_status_of_body(const struct http_request *r)
{
    char text[16] = "";
    memcpy(text, r->body, r->len < 15 ? r->len : 15);
    http_answer(r, atoi(text), "Location: http://127.0.0.1:1/\r\n", "why", 3);
    return true;
}

static void test_other_status_is_passed_on_with_its_body(void **state)
{
    (void)state;
    static const char *const codes[] = {"400", "404", "503", "302", "307"};
    struct http_peer *p = http_peer_start(answer_status_of_body, NULL);
    struct net_fixture *f = net_fixture_new(1);
    for (unsigned i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        net_ask(f, http_peer_addr(p), TRANSPORT_CONTROL, 5000, codes[i]);
        net_await(f, i + 1);
        net_assert_reply(f->answers[i], atoi(codes[i]), "why");
    }
    net_fixture_free(f);
    http_peer_stop(&p);
}

static void test_8_mib_both_ways_arrive_whole_without_expect(void **state)
{
    (void)state;
    struct http_peer *p = http_peer_start(http_handle_echo, NULL);
    struct net_fixture *f = net_fixture_new(1);
    struct transport_request *r =
        net_make_request(f, http_peer_addr(p), TRANSPORT_FORWARD, TRANSPORT_DATA, 15000);
    size_t len = 8 * MIB;
    uint8_t *body = mem_alloc(len);
    for (size_t i = 0; i < len; i++)
        body[i] = (uint8_t)(i * 2654435761u >> 24);
    buf_append(&r->body, body, len);
    net_give(f, r);
    net_await(f, 1);
    assert_int_equal(f->answers[0]->err, 0);
    assert_int_equal(f->answers[0]->reply.len, len);
    assert_memory_equal(f->answers[0]->reply.data, body, len);
    assert_int_equal(http_peer_seen(p)->bad, 0);
    mem_free(body);
    net_fixture_free(f);
    http_peer_stop(&p);
}

static bool answer_too_much(const struct http_request *r)
{
    uint8_t *big = mem_zalloc(LIMIT_CONTROL_BYTES + 1);
    http_answer(r, 200, "", big, LIMIT_CONTROL_BYTES + (r->nth == 1 ? 0 : 1));
    mem_free(big);
    return true;
}

static void test_reply_beyond_the_limit_is_an_io_error(void **state)
{
    (void)state;
    struct http_peer *p = http_peer_start(answer_too_much, NULL);
    struct net_fixture *f = net_fixture_new(1);
    net_ask(f, http_peer_addr(p), TRANSPORT_CONTROL, 5000, "");
    net_await(f, 1);
    assert_int_equal(f->answers[0]->err, 0);
    assert_int_equal(f->answers[0]->reply.len, LIMIT_CONTROL_BYTES);
    net_ask(f, http_peer_addr(p), TRANSPORT_CONTROL, 5000, "");
    net_await(f, 2);
    assert_int_equal(f->answers[1]->err, ERR_IO);
    assert_int_equal(f->answers[1]->reply.len, 0);
    net_fixture_free(f);
    http_peer_stop(&p);
}

static void test_proxy_of_the_environment_is_ignored(void **state)
{
    (void)state;
    char refusing[ADDR_TEXT_MAX + 1];
    http_refusing_addr(refusing);
    setenv("http_proxy", refusing, 1);
    setenv("all_proxy", refusing, 1);
    struct http_peer *p = http_peer_start(http_handle_echo, NULL);
    struct net_fixture *f = net_fixture_new(1);
    net_ask(f, http_peer_addr(p), TRANSPORT_CONTROL, 5000, "direct");
    net_await(f, 1);
    net_assert_reply(f->answers[0], 200, "direct");
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    net_fixture_free(f);
    http_peer_stop(&p);
}

/* ---- peers that do not ---- */

static void test_refused_connection_is_unreachable_at_once(void **state)
{
    (void)state;
    char addr[ADDR_TEXT_MAX + 1];
    http_refusing_addr(addr);
    struct net_fixture *f = net_fixture_new(1);
    for (unsigned i = 0; i < 20; i++)
        net_ask(f, addr, i % 2 ? TRANSPORT_DATA : TRANSPORT_CONTROL, 5000, "x");
    net_await(f, 20);
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(f->answers[i]->err, ERR_UNREACHABLE);
    assert_true(net_answered_after_ms(f, 19) < 2000);
    net_fixture_free(f);
}

static void test_address_that_is_none_is_unreachable(void **state)
{
    (void)state;
    static const char *const addrs[] = {"", "nonsense", "a/b:80", "u@127.0.0.1:80", "127.0.0.1:0"};
    struct net_fixture *f = net_fixture_new(1);
    for (unsigned i = 0; i < 5; i++) {
        net_ask(f, addrs[i], TRANSPORT_CONTROL, 5000, "x");
        net_ask(f, addrs[i], TRANSPORT_DATA, 5000, "x");
    }
    net_await(f, 10);
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(f->answers[i]->err, ERR_UNREACHABLE);
    net_fixture_free(f);
}

static void test_connection_never_made_is_unreachable_in_time(void **state)
{
    (void)state;
    struct http_hole hole;
    http_hole_open(&hole, true);
    struct net_fixture *f = net_fixture_new(1);
    net_ask(f, hole.addr, TRANSPORT_CONTROL, 300, "x");
    net_await(f, 1);
    assert_int_equal(f->answers[0]->err, ERR_UNREACHABLE);
    assert_in_range(net_answered_after_ms(f, 0), 250, 1500);
    net_fixture_free(f);
    http_hole_close(&hole);
}

static void test_answer_that_never_comes_is_a_timeout(void **state)
{
    (void)state;
    struct http_hole hole;
    http_hole_open(&hole, false);
    struct http_peer *p = http_peer_start(http_handle_stall, NULL);
    struct net_fixture *f = net_fixture_new(1);
    net_ask(f, hole.addr, TRANSPORT_CONTROL, 300, "x");
    net_ask(f, http_peer_addr(p), TRANSPORT_CONTROL, 300, "x");
    net_await(f, 2);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(f->answers[i]->err, ERR_TIMEOUT);
        assert_in_range(net_answered_after_ms(f, i), 250, 1500);
    }
    net_fixture_free(f);
    http_peer_stop(&p);
    http_hole_close(&hole);
}

/* PITFALLS part 2: the second copy arrives, and the caller is none the wiser. */
static bool close_second_unanswered(const struct http_request *r)
{
    if (r->nth == 2)
        return false;
    return http_handle_echo(r);
}

static void test_connection_closed_before_reply_is_resent_by_libcurl(void **state)
{
    (void)state;
    struct http_peer *p = http_peer_start(close_second_unanswered, NULL);
    struct net_fixture *f = net_fixture_new(1);
    net_ask(f, http_peer_addr(p), TRANSPORT_CONTROL, 5000, "one");
    net_await(f, 1);
    net_ask(f, http_peer_addr(p), TRANSPORT_CONTROL, 5000, "two");
    net_await(f, 2);
    net_assert_reply(f->answers[1], 200, "two");
    assert_int_equal(http_peer_seen(p)->requests, 3);
    assert_int_equal(http_peer_seen(p)->connections, 2);
    net_fixture_free(f);
    http_peer_stop(&p);
}

static bool vanish_at_second(const struct http_request *r)
{
    if (r->nth == 2) {
        http_peer_close_listener(r->peer);
        return false;
    }
    return http_handle_echo(r);
}

/* The copy that libcurl sends again is refused, but the first one arrived:
 * calling that UNREACHABLE would promise that nothing happened. */
static void test_request_read_by_a_peer_that_vanished_is_not_unreachable(void **state)
{
    (void)state;
    struct http_peer *p = http_peer_start(vanish_at_second, NULL);
    struct net_fixture *f = net_fixture_new(1);
    net_ask(f, http_peer_addr(p), TRANSPORT_CONTROL, 5000, "one");
    net_await(f, 1);
    net_ask(f, http_peer_addr(p), TRANSPORT_CONTROL, 5000, "two");
    net_await(f, 2);
    assert_int_equal(http_peer_seen(p)->requests, 2);
    assert_int_equal(f->answers[1]->err, ERR_IO);
    net_fixture_free(f);
    http_peer_stop(&p);
}

/* ---- lanes ---- */

struct order {
    pthread_mutex_t lock;
    unsigned n;
    unsigned seen[ANSWERS_MAX];
};

static bool record_order(const struct http_request *r)
{
    struct order *o = http_peer_ctx(r->peer);
    char text[16] = "";
    memcpy(text, r->body, r->len < 15 ? r->len : 15);
    pthread_mutex_lock(&o->lock);
    o->seen[o->n++] = (unsigned)atoi(text);
    pthread_mutex_unlock(&o->lock);
    usleep(2000);
    return http_handle_echo(r);
}

static void test_data_goes_out_in_order_one_at_a_time(void **state)
{
    (void)state;
    struct order o = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct http_peer *p = http_peer_start(record_order, &o);
    struct net_fixture *f = net_fixture_new(1);
    for (unsigned i = 0; i < 50; i++) {
        char text[16];
        snprintf(text, sizeof text, "%u", i);
        net_ask(f, http_peer_addr(p), TRANSPORT_DATA, 10000, text);
    }
    net_await(f, 50);
    for (unsigned i = 0; i < 50; i++) {
        assert_int_equal(o.seen[i], i);
        assert_int_equal(f->answers[i]->exchange, i + 1);
    }
    assert_int_equal(http_peer_seen(p)->most, 1);
    net_fixture_free(f);
    http_peer_stop(&p);
}

static void test_data_window_bounds_requests_in_flight(void **state)
{
    (void)state;
    struct order o = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct http_peer *p = http_peer_start(record_order, &o);
    struct net_fixture *f = net_fixture_new(4);
    for (unsigned i = 0; i < 100; i++)
        net_ask(f, http_peer_addr(p), TRANSPORT_DATA, 10000, "0");
    net_await(f, 100);
    assert_in_range(http_peer_seen(p)->most, 2, 4);
    assert_in_range(http_peer_seen(p)->connections, 2, 4);
    net_fixture_free(f);
    http_peer_stop(&p);
}

static bool stall_appends(const struct http_request *r)
{
    return strstr(r->head, "/raft-append") ? http_handle_stall(r) : http_handle_echo(r);
}

static void test_control_never_waits_for_data(void **state)
{
    (void)state;
    struct http_peer *p = http_peer_start(stall_appends, NULL);
    struct net_fixture *f = net_fixture_new(1);
    for (unsigned i = 0; i < 5; i++)
        net_ask(f, http_peer_addr(p), TRANSPORT_DATA, 10000, "data");
    for (unsigned i = 0; i < 20; i++) {
        net_ask(f, http_peer_addr(p), TRANSPORT_CONTROL, 5000, "control");
        net_await(f, i + 1);
        net_assert_reply(f->answers[i], 200, "control");
    }
    assert_true(net_answered_after_ms(f, 19) < 5000);
    net_fixture_free(f);
    http_peer_stop(&p);
}

static void test_data_waiting_behind_a_stall_is_unreachable_in_its_own_time(void **state)
{
    (void)state;
    struct http_peer *p = http_peer_start(http_handle_stall, NULL);
    struct net_fixture *f = net_fixture_new(1);
    net_ask(f, http_peer_addr(p), TRANSPORT_DATA, 900, "goes out");
    for (unsigned i = 0; i < 10; i++)
        net_ask(f, http_peer_addr(p), TRANSPORT_DATA, 300, "waits");
    net_await(f, 11);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(f->answers[i]->err, ERR_UNREACHABLE);
        assert_in_range(net_answered_after_ms(f, i), 250, 800);
    }
    assert_int_equal(f->answers[10]->err, ERR_TIMEOUT);
    assert_int_equal(http_peer_seen(p)->requests, 1);
    net_fixture_free(f);
    http_peer_stop(&p);
}

static void test_good_peer_is_not_held_up_by_dead_ones(void **state)
{
    (void)state;
    struct http_hole silent, full;
    char refusing[ADDR_TEXT_MAX + 1];
    http_hole_open(&silent, false);
    http_hole_open(&full, true);
    http_refusing_addr(refusing);
    struct http_peer *p = http_peer_start(http_handle_echo, NULL);
    struct net_fixture *f = net_fixture_new(1);
    for (unsigned i = 0; i < 10; i++) {
        enum transport_lane lane = i % 2 ? TRANSPORT_DATA : TRANSPORT_CONTROL;
        net_ask(f, silent.addr, lane, 8000, "x");
        net_ask(f, full.addr, lane, 8000, "x");
    }
    for (unsigned i = 0; i < 50; i++) {
        enum transport_lane lane = i % 2 ? TRANSPORT_DATA : TRANSPORT_CONTROL;
        net_forget_answers(f);
        net_ask(f, refusing, lane, 8000, "x");
        net_ask(f, http_peer_addr(p), lane, 8000, "good");
        net_await(f, 2);
        unsigned good = f->answers[0]->err == 0 ? 0 : 1;
        net_assert_reply(f->answers[good], 200, "good");
        assert_true(net_answered_after_ms(f, good) < 500);
    }
    net_fixture_free(f);
    http_peer_stop(&p);
    http_hole_close(&full);
    http_hole_close(&silent);
}

/* In place of libc's: a name server that is slow to say that it does not know. */
static atomic_uint slow_lookups;

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **res)
{
    typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    if (node && strcmp(node, "slow.test") == 0) {
        atomic_fetch_add(&slow_lookups, 1);
        sleep(3);
        return EAI_AGAIN;
    }
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    lookup *real;
    memcpy(&real, &symbol, sizeof real); /* ISO C has no cast between the two */
    return real(node, service, hints, res);
}

static void test_slow_name_server_holds_up_nobody(void **state)
{
    (void)state;
    struct http_peer *p = http_peer_start(http_handle_echo, NULL);
    struct net_fixture *f = net_fixture_new(1);
    uint64_t start_ms = clock_now_ms();
    net_ask(f, "slow.test:80", TRANSPORT_CONTROL, 200, "x");
    net_await(f, 1);
    assert_int_equal(f->answers[0]->err, ERR_UNREACHABLE);
    assert_int_equal(slow_lookups, 1);
    for (unsigned i = 0; i < 5; i++) {
        net_forget_answers(f);
        net_ask(f, http_peer_addr(p), TRANSPORT_CONTROL, 5000, "good");
        net_await(f, 1);
        net_assert_reply(f->answers[0], 200, "good");
    }
    assert_true(clock_now_ms() - start_ms < 2000);
    net_fixture_free(f);
    http_peer_stop(&p);
    sleep(3); /* the lookup's thread ends by itself: seen by the sanitizers */
}

/* ---- many, and the end ---- */

static int compare_exchanges(const void *a, const void *b)
{
    const struct transport_request *const *x = a, *const *y = b;
    return (*x)->exchange < (*y)->exchange ? -1 : (*x)->exchange > (*y)->exchange;
}

/* Answered once each, whoever they are. */
static void assert_each_once(struct net_fixture *f, unsigned n)
{
    assert_int_equal(f->n, n);
    qsort(f->answers, n, sizeof f->answers[0], compare_exchanges);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(f->answers[i]->exchange, i + 1);
}

static void test_500_requests_are_each_answered_once(void **state)
{
    (void)state;
    struct http_peer *peers[3];
    for (unsigned i = 0; i < 3; i++)
        peers[i] = http_peer_start(http_handle_echo, NULL);
    struct net_fixture *f = net_fixture_new(2);
    for (unsigned i = 0; i < 500; i++) {
        char text[16];
        snprintf(text, sizeof text, "%u", i + 1);
        net_ask(f, http_peer_addr(peers[i % 3]), i % 5 ? TRANSPORT_DATA : TRANSPORT_CONTROL, 15000,
                text);
    }
    net_await(f, 500);
    assert_each_once(f, 500);
    for (unsigned i = 0; i < 500; i++) {
        char text[16];
        snprintf(text, sizeof text, "%u", i + 1);
        net_assert_reply(f->answers[i], 200, text);
    }
    net_fixture_free(f);
    for (unsigned i = 0; i < 3; i++)
        http_peer_stop(&peers[i]);
}

static void test_stop_answers_everything_that_is_there(void **state)
{
    (void)state;
    struct http_peer *p = http_peer_start(http_handle_stall, NULL);
    struct http_hole full;
    http_hole_open(&full, true);
    struct net_fixture *f = net_fixture_new(1);
    for (unsigned i = 0; i < 50; i++) {
        enum transport_lane lane = i % 2 ? TRANSPORT_DATA : TRANSPORT_CONTROL;
        net_ask(f, http_peer_addr(p), lane, 60000, "sent or waiting");
        net_ask(f, full.addr, lane, 60000, "never connected");
    }
    while (http_peer_seen(p)->requests < 26)
        usleep(1000);
    for (unsigned i = 0; i < 20; i++)
        net_ask(f, http_peer_addr(p), TRANSPORT_CONTROL, 60000, "at the last moment");
    uint64_t start_ms = clock_now_ms();
    net_stop(&f->net);
    assert_true(clock_now_ms() - start_ms < 2000);
    assert_each_once(f, 120);
    unsigned n_io = 0;
    for (unsigned i = 0; i < 120; i++) {
        assert_true(f->answers[i]->err == ERR_IO || f->answers[i]->err == ERR_UNREACHABLE);
        n_io += f->answers[i]->err == ERR_IO;
        if (strcmp(f->answers[i]->addr, full.addr) == 0)
            assert_int_equal(f->answers[i]->err, ERR_UNREACHABLE);
    }
    assert_in_range(n_io, 26, 46);
    net_fixture_free(f);
    http_hole_close(&full);
    http_peer_stop(&p);
}

static void test_stop_of_an_idle_net_is_prompt(void **state)
{
    (void)state;
    uint64_t start_ms = clock_now_ms();
    for (unsigned i = 0; i < 10; i++)
        net_fixture_free(net_fixture_new(1));
    struct net *none = NULL;
    net_stop(&none);
    assert_true(clock_now_ms() - start_ms < 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_one_after_another_share_a_connection),
        cmocka_unit_test(test_each_path_is_asked_for_with_an_empty_body),
        cmocka_unit_test(test_other_status_is_passed_on_with_its_body),
        cmocka_unit_test(test_8_mib_both_ways_arrive_whole_without_expect),
        cmocka_unit_test(test_reply_beyond_the_limit_is_an_io_error),
        cmocka_unit_test(test_proxy_of_the_environment_is_ignored),
        cmocka_unit_test(test_refused_connection_is_unreachable_at_once),
        cmocka_unit_test(test_address_that_is_none_is_unreachable),
        cmocka_unit_test(test_connection_never_made_is_unreachable_in_time),
        cmocka_unit_test(test_answer_that_never_comes_is_a_timeout),
        cmocka_unit_test(test_connection_closed_before_reply_is_resent_by_libcurl),
        cmocka_unit_test(test_request_read_by_a_peer_that_vanished_is_not_unreachable),
        cmocka_unit_test(test_data_goes_out_in_order_one_at_a_time),
        cmocka_unit_test(test_data_window_bounds_requests_in_flight),
        cmocka_unit_test(test_control_never_waits_for_data),
        cmocka_unit_test(test_data_waiting_behind_a_stall_is_unreachable_in_its_own_time),
        cmocka_unit_test(test_good_peer_is_not_held_up_by_dead_ones),
        cmocka_unit_test(test_slow_name_server_holds_up_nobody),
        cmocka_unit_test(test_500_requests_are_each_answered_once),
        cmocka_unit_test(test_stop_answers_everything_that_is_there),
        cmocka_unit_test(test_stop_of_an_idle_net_is_prompt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
