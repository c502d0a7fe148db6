/* SPDX-License-Identifier: MIT
 * api/: GET /v1/snapshot, a stream whose pieces come from the node one after
 * the other, and what becomes of it when either side fails.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "api_fixture.h"

#define PATH       "/v1/snapshot"
#define LARGE      (32u * 1024 * 1024) /* more than sockets hold */
#define PIECE      (256u * 1024)
#define WAIT_MS    10000
#define REQUEST_ID "X-Request-Id: r1"

static void pause_ms(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000},
              NULL);
}

/* Waits until the node was asked so many things of this type, or more. */
static void wait_for(struct fixture *f, enum node_request_type type, unsigned n)
{
    for (unsigned ms = 0; ms < WAIT_MS && stub_node_count(f->node, type) < n; ms += 10)
        pause_ms(10);
    assert_true(stub_node_count(f->node, type) >= n);
}

static void check_error(struct fixture *f, const char *method, const char *path, long status,
                        const char *code, bool retryable)
{
    static const char *const id[] = {REQUEST_ID, NULL};
    char start[200], end[200];
    assert_int_equal(call_bytes(f, method, path, NULL, 0, id), status);
    snprintf(start, sizeof start, "{\"error\":{\"code\":\"%s\",\"message\":\"", code);
    snprintf(end, sizeof end, "\",\"retryable\":%s,\"request_id\":\"r1\",\"details\":{}}}",
             retryable ? "true" : "false");
    const char *body = body_of(f);
    size_t len = strlen(body);
    if (strncmp(body, start, strlen(start)) != 0 || len < strlen(start) + strlen(end) ||
        strcmp(body + len - strlen(end), end) != 0)
        fail_msg("%s %s: %s", method, path, body);
}

/* Asks for a backup and takes nothing of it yet. */
static int begin_backup(struct fixture *f)
{
    int fd = raw_connect(f);
    raw_send(fd, "GET " PATH " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    return fd;
}

/* Takes what comes until the other side closes; how much that was. */
static size_t drain(int fd)
{
    static char sink[65536];
    size_t all = 0;
    ssize_t n;
    while ((n = recv(fd, sink, sizeof sink, 0)) > 0)
        all += (size_t)n;
    return all;
}

static void test_backup_comes_whole_in_pieces(void **state)
{
    struct fixture *f = *state;
    static const uint32_t sizes[] = {1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE + 77};
    unsigned n_pieces = 0;
    for (unsigned k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        char text[100];
        stub_node_set_backup(f->node, sizes[k], 41 + k);
        assert_int_equal(call(f, "GET", PATH, NULL), 200);
        assert_int_equal(f->body.len, sizes[k]);
        for (uint32_t i = 0; i < sizes[k]; i++)
            if (f->body.data[i] != stub_node_backup_byte(i))
                fail_msg("byte %u of %u is wrong", i, sizes[k]);
        assert_string_equal(header_of(f, "Content-Type"), "application/octet-stream");
        snprintf(text, sizeof text, "%u", sizes[k]);
        assert_string_equal(header_of(f, "Content-Length"), text);
        snprintf(text, sizeof text, "%u", 41 + k);
        assert_string_equal(header_of(f, "X-Crabcluster-Revision"), text);
        snprintf(text, sizeof text, "attachment; filename=\"crabcluster-%u.snapshot\"", 41 + k);
        assert_string_equal(header_of(f, "Content-Disposition"), text);
        assert_string_equal(header_of(f, "X-Crabcluster-Node"), STUB_NODE_ID);
        n_pieces += (sizes[k] + PIECE - 1) / PIECE;
        assert_int_equal(stub_node_count(f->node, NODE_SNAPSHOT_READ), n_pieces);
        wait_for(f, NODE_SNAPSHOT_CLOSE, k + 1);
    }
    assert_int_equal(stub_node_last(f->node, NODE_SNAPSHOT_CLOSE).in.snapshot.id, 7);
}

static void test_backup_leaves_the_connection_for_more(void **state)
{
    struct fixture *f = *state;
    struct buf body = BUF_INIT;
    int fd = raw_connect(f);
    stub_node_set_backup(f->node, PIECE + 1, 1);
    raw_send(fd, "GET " PATH " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    assert_int_equal(raw_read_answer(fd, &body), 200);
    assert_int_equal(body.len, PIECE + 1);
    raw_send(fd, "GET /get-id HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    assert_int_equal(raw_read_answer(fd, NULL), 200);
    buf_free(&body);
    close(fd);
}

static void test_backup_head_makes_none(void **state)
{
    struct fixture *f = *state;
    struct node_status status = {.n_members = 1};
    stub_node_set_status(f->node, &status);
    assert_int_equal(call(f, "HEAD", PATH, NULL), 200);
    assert_string_equal(header_of(f, "Content-Type"), "application/octet-stream");
    status.n_members = 0;
    stub_node_set_status(f->node, &status);
    assert_int_equal(call(f, "HEAD", PATH, NULL), 503);
    assert_int_equal(stub_node_count(f->node, NODE_SNAPSHOT_OPEN), 0);
    assert_int_equal(stub_node_count(f->node, NODE_SNAPSHOT_CLOSE), 0);
}

static void test_errors_of_v1_have_its_shape(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int err;
        long status;
        const char *code;
        bool retryable;
    } cases[] = {
        {ERR_UNINITIALIZED, 503, "uninitialized", true}, {ERR_OVERLOADED, 429, "overloaded", true},
        {ERR_NO_SPACE, 507, "disk_full", false},         {ERR_TIMEOUT, 504, "timeout", false},
        {ERR_SHUTDOWN, 503, "shutting_down", true},      {ERR_CORRUPT, 500, "internal", false},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        stub_node_script(f->node, NODE_SNAPSHOT_OPEN, cases[i].err, NULL);
        check_error(f, "GET", PATH, cases[i].status, cases[i].code, cases[i].retryable);
    }
    check_error(f, "POST", PATH, 405, "method_not_allowed", false);
    assert_string_equal(header_of(f, "Allow"), "GET, HEAD");
    check_error(f, "GET", "/v1/nothing", 404, "no_such_path", false);
    check_error(f, "GET", PATH "?ttl=1s", 501, "not_implemented", false);
    check_error(f, "GET", PATH "?x=1", 400, "bad_request", false);
    assert_int_equal(stub_node_count(f->node, NODE_SNAPSHOT_CLOSE), 0);
}

static void test_backup_whose_file_fails_is_cut(void **state)
{
    struct fixture *f = *state;
    stub_node_set_backup(f->node, LARGE, 1);
    int fd = begin_backup(f);
    wait_for(f, NODE_SNAPSHOT_OPEN, 1);
    stub_node_script(f->node, NODE_SNAPSHOT_READ, ERR_IO, NULL);
    assert_true(drain(fd) < LARGE);
    wait_for(f, NODE_SNAPSHOT_CLOSE, 1);
    close(fd);
    assert_int_equal(call(f, "GET", "/get-id", NULL), 200);
}

static void test_backup_of_a_client_that_goes_away_is_closed(void **state)
{
    struct fixture *f = *state;
    stub_node_set_backup(f->node, LARGE, 1);
    int fd = begin_backup(f);
    wait_for(f, NODE_SNAPSHOT_READ, 1);
    close(fd);
    wait_for(f, NODE_SNAPSHOT_CLOSE, 1);
    stub_node_hold(f->node, true); /* gone before the file is made */
    fd = begin_backup(f);
    wait_for(f, NODE_SNAPSHOT_OPEN, 2);
    close(fd);
    stub_node_hold(f->node, false);
    wait_for(f, NODE_SNAPSHOT_CLOSE, 2);
}

static void test_backup_of_a_client_that_stalls_is_cut(void **state)
{
    struct fixture *f = *state;
    f->options.stall_s = 1;
    fixture_restart(f);
    stub_node_set_backup(f->node, LARGE, 1);
    int fd = begin_backup(f);
    wait_for(f, NODE_SNAPSHOT_CLOSE, 1);
    assert_true(drain(fd) < LARGE);
    close(fd);
}

static void test_backup_waits_for_a_slow_disk(void **state)
{
    struct fixture *f = *state;
    f->options.stall_s = 1;
    fixture_restart(f);
    stub_node_set_backup(f->node, 3 * PIECE, 1);
    int fd = begin_backup(f);
    wait_for(f, NODE_SNAPSHOT_OPEN, 1);
    stub_node_hold(f->node, true);
    pause_ms(2500); /* it is not the client that stalls */
    stub_node_hold(f->node, false);
    assert_true(drain(fd) > 3 * PIECE);
    close(fd);
}

static void test_server_ends_in_the_middle_of_backups(void **state)
{
    struct fixture *f = *state;
    stub_node_set_backup(f->node, LARGE, 1);
    int stalls = begin_backup(f), waits;
    wait_for(f, NODE_SNAPSHOT_READ, 1);
    pause_ms(100); /* until the socket is full */
    stub_node_hold(f->node, true);
    waits = begin_backup(f);
    wait_for(f, NODE_SNAPSHOT_OPEN, 2);
    stub_node_shut_down(f->node);
    fixture_restart(f); /* api_stop() returns */
    assert_true(drain(stalls) < LARGE);
    assert_true(drain(waits) < LARGE);
    close(stalls);
    close(waits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)
        TEST(test_backup_comes_whole_in_pieces),
        TEST(test_backup_leaves_the_connection_for_more),
        TEST(test_backup_head_makes_none),
        TEST(test_errors_of_v1_have_its_shape),
        TEST(test_backup_whose_file_fails_is_cut),
        TEST(test_backup_of_a_client_that_goes_away_is_closed),
        TEST(test_backup_of_a_client_that_stalls_is_cut),
        TEST(test_backup_waits_for_a_slow_disk),
        TEST(test_server_ends_in_the_middle_of_backups),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
