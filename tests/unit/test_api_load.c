/* SPDX-License-Identifier: MIT
 * api/: many connections, bad ones, and the end: nothing stalls, nothing is
 * lost, and peers find a place.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <poll.h>
#include <stdatomic.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "api_fixture.h"

#include "base/clock.h"

#define READ_K "POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\n\"k\""
#define HELLO  "POST /raft-hello HTTP/1.1\r\nHost: a.b.c:1\r\nContent-Length: 2\r\n\r\nhi"
#define MANY   600

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static uint64_t cpu_ms(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000 +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1000;
}

/* Up to 5 s, until so many requests wait at the stub. */
static void wait_for_waiting(struct fixture *f, unsigned n)
{
    for (int i = 0; i < 1000 && stub_node_waiting(f->node) != n; i++)
        sleep_ms(5);
    assert_int_equal(stub_node_waiting(f->node), n);
}

static void test_request_sent_byte_by_byte_is_answered(void **state)
{
    struct fixture *f = *state;
    int fd = raw_connect(f);
    stub_node_put(f->node, "k", "v", 1);
    for (const char *p = READ_K; *p; p++) {
        raw_send(fd, (char[]){*p, 0});
        if ((p - READ_K) % 8 == 0)
            sleep_ms(1);
    }
    struct buf body = BUF_INIT;
    assert_int_equal(raw_read_answer(fd, &body), 200);
    assert_string_equal(buf_str(&body), "{\"Ok\":\"v\"}");
    buf_free(&body);
    close(fd);
}

static void test_pipelined_requests_are_answered_in_order(void **state)
{
    struct fixture *f = *state;
    int fd = raw_connect(f);
    struct buf text = BUF_INIT, body = BUF_INIT;
    for (int i = 0; i < 50; i++) {
        char json[80];
        int len = snprintf(json, sizeof json, "{\"Set\":{\"key\":\"k\",\"value\":\"%d\"}}", i);
        buf_printf(&text, "POST /write HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s",
                   len, json);
    }
    raw_send(fd, buf_str(&text));
    for (int i = 0; i < 50; i++) {
        char expected[40];
        buf_clear(&body);
        assert_int_equal(raw_read_answer(fd, &body), 200);
        snprintf(expected, sizeof expected, "\"data\":{\"value\":\"%d\"}", i);
        assert_non_null(strstr(buf_str(&body), expected));
    }
    buf_free(&text);
    buf_free(&body);
    close(fd);
}

static void test_clients_that_vanish_while_the_node_works_break_nothing(void **state)
{
    struct fixture *f = *state;
    stub_node_hold(f->node, true);
    for (int i = 0; i < 20; i++) {
        int fd = raw_connect(f);
        raw_send(fd, READ_K);
        if (i % 2) /* a reset instead of an end */
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
        wait_for_waiting(f, (unsigned)i + 1);
        close(fd);
    }
    int half = raw_connect(f); /* and one that vanished in the middle of its body */
    raw_send(half, "POST /write HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{\"S");
    sleep_ms(20);
    close(half);
    stub_node_hold(f->node, false);
    assert_int_equal(call(f, "POST", "/read", "\"k\""), 404);
    assert_int_equal(stub_node_waiting(f->node), 0);
}

static void test_600_connections_at_once_do_not_stall(void **state)
{
    struct fixture *f = *state;
    static int fds[MANY];
    uint64_t start = clock_now_ms();
    for (int i = 0; i < MANY; i++)
        fds[i] = raw_connect(f);
    for (int round = 0; round < 10; round++) {
        stub_node_hold(f->node, round == 0); /* once with all of them suspended */
        for (int i = 0; i < MANY; i++)
            raw_send(fds[i], READ_K);
        if (round == 0) {
            wait_for_waiting(f, MANY);
            stub_node_hold(f->node, false);
        }
        for (int i = 0; i < MANY; i++)
            assert_int_equal(raw_read_answer(fds[i], NULL), 404);
    }
    assert_true(clock_now_ms() - start < 40000);
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
}

struct stopper {
    struct fixture *f;
    atomic_bool drained, stopped;
    uint64_t drain_ms;
};

static void *drain_and_stop(void *arg)
{
    struct stopper *s = arg;
    uint64_t start = clock_now_ms();
    api_drain(s->f->api, 2000);
    s->drain_ms = clock_now_ms() - start;
    s->drained = true;
    stub_node_shut_down(s->f->node);
    api_stop(&s->f->api);
    s->stopped = true;
    return NULL;
}

static void test_drain_finishes_what_is_in_flight_and_accepts_nothing_new(void **state)
{
    struct fixture *f = *state;
    struct stopper s = {.f = f};
    pthread_t thread;
    struct buf body = BUF_INIT;
    int fd = raw_connect(f), peer = raw_connect(f), idle = raw_connect(f);
    stub_node_hold(f->node, true);
    raw_send(fd, READ_K);
    raw_send(peer, HELLO); /* peers do not hold up the end */
    wait_for_waiting(f, 2);
    pthread_create(&thread, NULL, drain_and_stop, &s);
    sleep_ms(100);
    struct pollfd p = {.fd = idle, .events = POLLIN};
    assert_int_equal(poll(&p, 1, 0), 0); /* still open */
    assert_false(s.drained);
    stub_node_hold(f->node, false);
    assert_int_equal(raw_read_answer(fd, &body), 404);
    assert_true(raw_last_said("\r\nConnection: close\r\n"));
    assert_true(raw_is_closed_within(fd, 3000));
    assert_int_equal(raw_read_answer(peer, NULL), 200);
    pthread_join(thread, NULL);
    assert_true(s.drain_ms < 1900); /* did not wait until its bound, though the peer was busy */
    assert_true(raw_is_closed_within(idle, 1000));
    assert_null(f->api);
    close(fd), close(peer), close(idle);
    buf_free(&body);
}

static void test_stop_with_requests_in_flight_answers_them(void **state)
{
    struct fixture *f = *state;
    struct stopper s = {.f = f};
    pthread_t thread;
    int fds[50];
    stub_node_hold(f->node, true);
    for (int i = 0; i < 50; i++) {
        fds[i] = raw_connect(f);
        raw_send(fds[i], READ_K);
    }
    wait_for_waiting(f, 50);
    pthread_create(&thread, NULL, drain_and_stop, &s);
    for (int i = 0; i < 50; i++) { /* the drain gives up, the node shuts down */
        assert_int_equal(raw_read_answer(fds[i], NULL), 503);
        close(fds[i]);
    }
    pthread_join(thread, NULL);
    assert_true(s.drain_ms >= 1990 && s.drain_ms < 8000);
}

static void *stop_only(void *arg)
{
    struct stopper *s = arg;
    api_stop(&s->f->api);
    s->stopped = true;
    return NULL;
}

static void test_stop_waits_for_what_the_node_still_has(void **state)
{
    struct fixture *f = *state;
    struct stopper s = {.f = f};
    pthread_t thread;
    int fds[3];
    stub_node_hold(f->node, true);
    for (int i = 0; i < 3; i++) {
        fds[i] = raw_connect(f);
        raw_send(fds[i], READ_K);
    }
    wait_for_waiting(f, 3);
    pthread_create(&thread, NULL, stop_only, &s);
    sleep_ms(200);
    uint64_t cpu = cpu_ms();
    sleep_ms(300); /* and does not spin meanwhile */
    assert_true(cpu_ms() - cpu < 100);
    assert_false(s.stopped);
    stub_node_hold(f->node, false);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(raw_read_answer(fds[i], NULL), 404);
        close(fds[i]);
    }
    pthread_join(thread, NULL);
}

static void test_flood_of_clients_leaves_places_for_peers(void **state)
{
    struct fixture *f = *state;
    int clients[20], peers[5];
    f->options.limits.max_connections = 20;
    fixture_restart(f);
    for (int i = 0; i < 20; i++) {
        clients[i] = raw_connect(f);
        raw_send(clients[i], READ_K);
        assert_int_equal(raw_read_answer(clients[i], NULL), 404);
    }
    int late = raw_connect(f);
    struct buf body = BUF_INIT;
    raw_send(late, READ_K);
    assert_int_equal(raw_read_answer(late, &body), 503);
    assert_non_null(strstr(buf_str(&body), "max-connections"));
    assert_true(raw_is_closed_within(late, 1000));
    close(late);
    for (int i = 0; i < 5; i++) {
        peers[i] = raw_connect(f);
        raw_send(peers[i], HELLO);
        assert_int_equal(raw_read_answer(peers[i], NULL), 200);
        raw_send(peers[i], HELLO);
        assert_int_equal(raw_read_answer(peers[i], NULL), 200);
    }
    close(clients[0]); /* its place is free for a client again */
    sleep_ms(50);
    late = raw_connect(f);
    raw_send(late, READ_K);
    assert_int_equal(raw_read_answer(late, NULL), 404);
    for (int i = 0; i < 20; i++)
        close(clients[i]);
    for (int i = 0; i < 5; i++)
        close(peers[i]);
    close(late);
    buf_free(&body);
}

static void test_waiting_room_is_cleared_of_the_silent_and_of_strangers(void **state)
{
    struct fixture *f = *state;
    f->options.limits.max_connections = 1;
    fixture_restart(f);
    int client = raw_connect(f);
    raw_send(client, READ_K);
    assert_int_equal(raw_read_answer(client, NULL), 404);
    int silent = raw_connect(f), stranger = raw_connect(f), peer = raw_connect(f);
    raw_send(peer, HELLO);
    assert_int_equal(raw_read_answer(peer, NULL), 200);
    stub_node_script_peer(f->node, 400); /* a stranger gains nothing by the path alone */
    raw_send(stranger, HELLO);
    assert_int_equal(raw_read_answer(stranger, NULL), 400);
    assert_true(raw_is_closed_within(stranger, 1000));
    assert_true(raw_is_closed_within(silent, 4000));
    assert_false(raw_is_closed_within(peer, 1500));
    assert_false(raw_is_closed_within(client, 10));
    close(client), close(silent), close(stranger), close(peer);
}

static void test_without_descriptors_accept_waits_and_does_not_spin(void **state)
{
    struct fixture *f = *state;
    struct rlimit before, none;
    int fd = raw_connect(f); /* has its descriptors already */
    sleep_ms(50);
    int late = socket(AF_INET, SOCK_STREAM, 0);
    getrlimit(RLIMIT_NOFILE, &before);
    none = before;
    none.rlim_cur = 3; /* whatever is open stays open */
    setrlimit(RLIMIT_NOFILE, &none);
    struct sockaddr_storage a;
    socklen_t len = sizeof a;
    assert_int_equal(getpeername(fd, (struct sockaddr *)&a, &len), 0);
    assert_int_equal(connect(late, (struct sockaddr *)&a, len), 0);
    uint64_t cpu = cpu_ms();
    sleep_ms(500);
    assert_true(cpu_ms() - cpu < 100);
    raw_send(fd, READ_K);
    assert_int_equal(raw_read_answer(fd, NULL), 404); /* others are served meanwhile */
    setrlimit(RLIMIT_NOFILE, &before);
    raw_send(late, READ_K);
    assert_int_equal(raw_read_answer(late, NULL), 404);
    close(fd), close(late);
}

static void test_idle_server_uses_no_cpu(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(call(f, "POST", "/read", "\"k\""), 404);
    stub_node_hold(f->node, true);
    int fd = raw_connect(f);
    raw_send(fd, READ_K);
    wait_for_waiting(f, 1);
    uint64_t cpu = cpu_ms();
    sleep_ms(500);
    assert_true(cpu_ms() - cpu < 100);
    stub_node_hold(f->node, false);
    assert_int_equal(raw_read_answer(fd, NULL), 404);
    close(fd);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)
    const struct CMUnitTest tests[] = {
        TEST(test_request_sent_byte_by_byte_is_answered),
        TEST(test_pipelined_requests_are_answered_in_order),
        TEST(test_clients_that_vanish_while_the_node_works_break_nothing),
        TEST(test_600_connections_at_once_do_not_stall),
        TEST(test_drain_finishes_what_is_in_flight_and_accepts_nothing_new),
        TEST(test_stop_with_requests_in_flight_answers_them),
        TEST(test_stop_waits_for_what_the_node_still_has),
        TEST(test_flood_of_clients_leaves_places_for_peers),
        TEST(test_waiting_room_is_cleared_of_the_silent_and_of_strangers),
        TEST(test_without_descriptors_accept_waits_and_does_not_spin),
        TEST(test_idle_server_uses_no_cpu),
    };
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max < 8192 ? files.rlim_max : 8192;
    setrlimit(RLIMIT_NOFILE, &files);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
