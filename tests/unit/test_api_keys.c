/* SPDX-License-Identifier: MIT
 * api/: single keys of /v1 through the real server over a stub of the node:
 * what is asked of the node, and what each of its answers becomes. The rows of
 * the contract are in tests/cluster/test_keys*.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "api_fixture.h"
#include "base/clock.h"
#include "base/mem.h"

#define KEY "/v1/kv/k"

static long with_header(struct fixture *f, const char *method, const char *path, const char *body,
                        const char *header)
{
    const char *const headers[] = {header, NULL};
    return call_bytes(f, method, path, body, body ? strlen(body) : 0, headers);
}

static void check_error(struct fixture *f, long got, long status, const char *code, bool retryable)
{
    char expected[100];
    snprintf(expected, sizeof expected, "{\"error\":{\"code\":\"%s\",", code);
    if (got != status || !strstr(body_of(f), expected) ||
        !strstr(body_of(f), retryable ? "\"retryable\":true" : "\"retryable\":false"))
        fail_msg("%ld %s: %ld %s", status, code, got, body_of(f));
}

static void test_key_of_any_bytes_reaches_the_node_whole(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(call(f, "PUT", "/v1/kv/a//../%2F%00%ff%2541+%20", "v"), 201);
    assert_non_null(strstr(body_of(f), "{\"key_b64\":\"YS8vLi4vLwD/JTQxKyA=\",\"revision\":2,"));
    assert_int_equal(call(f, "GET", "/v1/kv?key_b64=YS8vLi4vLwD/JTQxKyA=", NULL), 200);
    assert_string_equal(body_of(f), "v");
    assert_int_equal(call(f, "GET", "/v1/kv/?key_b64=YS8vLi4vLwD_JTQxKyA", NULL), 200);
    assert_int_equal(call(f, "GET", "/v1/kv/a//../%2f", NULL), 404);
    assert_int_equal(call(f, "GET", "/v1/k%76/a//../%2f%00%FF%2541%2b%20", NULL), 200);
}

/* A client that asks for a value and takes next to nothing of it; big is more than sockets hold. */
static int stuck_reader(const struct fixture *f)
{
    char c;
    int fd = raw_connect(f);
    raw_send(fd, "GET /v1/kv/big HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_int_equal(recv(fd, &c, 1, 0), 1); /* it is on its way */
    return fd;
}

static void test_large_answers_that_nobody_takes_are_bounded(void **state)
{
    struct fixture *f = *state;
    enum { BYTES = 16 << 20 };
    char *value = mem_zalloc(BYTES + 1);
    memset(value, 'x', BYTES);
    f->options.limits.max_value_size = BYTES;
    f->options.answers_max = 5 * BYTES / 2;
    fixture_restart(f);
    stub_node_put(f->node, "big", value, BYTES);
    int first = stuck_reader(f), second = stuck_reader(f);
    check_error(f, call(f, "GET", "/v1/kv/big", NULL), 429, "overloaded", true);
    assert_string_equal(header_of(f, "Retry-After"), "1");
    assert_null(header_of(f, "ETag"));
    assert_int_equal(call(f, "HEAD", "/v1/kv/big", NULL), 200); /* small ones, and writes, pass */
    assert_int_equal(call(f, "PUT", KEY, "v"), 201);
    assert_int_equal(call(f, "GET", KEY, NULL), 200);
    assert_int_equal(call(f, "PUT", "/v1/kv/big?prev", "v"), 200);
    assert_true(f->body.len > BYTES);
    stub_node_put(f->node, "big", value, BYTES);
    close(first);
    close(second);
    uint64_t end_ms = clock_now_ms() + 20000;
    while (call(f, "GET", "/v1/kv/big", NULL) == 429 && clock_now_ms() < end_ms)
        usleep(1000);
    assert_int_equal(f->body.len, BYTES);
    f->options.answers_max = 1; /* one alone always passes */
    fixture_restart(f);
    assert_int_equal(call(f, "GET", "/v1/kv/big", NULL), 200);
    mem_free(value);
}

static void test_value_of_the_limit_passes_and_one_byte_more_does_not(void **state)
{
    struct fixture *f = *state;
    char value[1026];
    memset(value, 'x', 1024);
    value[1024] = 0;
    assert_int_equal(call(f, "PUT", KEY, value), 201);
    assert_int_equal(call(f, "GET", KEY, NULL), 200);
    assert_int_equal(f->body.len, 1024);
    check_error(f, call(f, "POST", KEY "?op=append", "y"), 413, "too_large", false);
    strcat(value, "x");
    unsigned before = stub_node_count(f->node, NODE_WRITE);
    check_error(f, call(f, "PUT", KEY, value), 413, "too_large", false);
    assert_non_null(strstr(body_of(f), "larger than 1024 bytes (max-value-size)"));
    assert_int_equal(stub_node_count(f->node, NODE_WRITE), before);
}

static void test_consistency_is_what_the_node_is_asked_for(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *query;
        bool by_lease;
        uint64_t min_revision;
    } cases[] = {{"", false, 0},
                 {"?consistency=linearizable", false, 0},
                 {"?consistency=lease&min_revision=17", true, 17}};
    assert_int_equal(call(f, "PUT", KEY, "v"), 201);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[100];
        snprintf(path, sizeof path, KEY "%s", cases[i].query);
        assert_int_equal(call(f, "GET", path, NULL), 200);
        assert_null(header_of(f, "X-Crabcluster-Age-Ms"));
        struct node_request last = stub_node_last(f->node, NODE_READ);
        assert_int_equal(last.in.read.by_lease, cases[i].by_lease);
        assert_int_equal(last.in.read.min_revision, cases[i].min_revision);
        assert_false(last.in.read.stale);
    }
}

static void test_stale_read_asks_the_node_only_for_what_it_lacks(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(call(f, "PUT", KEY, "v"), 201);
    assert_int_equal(call(f, "GET", KEY "?consistency=stale&min_revision=2", NULL), 200);
    assert_string_equal(header_of(f, "X-Crabcluster-Age-Ms"), "7");
    assert_int_equal(stub_node_count(f->node, NODE_READ), 0);
    assert_int_equal(call(f, "GET", KEY "?consistency=stale&min_revision=3", NULL), 200);
    assert_int_equal(stub_node_count(f->node, NODE_READ), 1);
    assert_true(stub_node_last(f->node, NODE_READ).in.read.stale);
    stub_node_set_freshness(f->node, (struct node_freshness){.member = true});
    assert_int_equal(call(f, "GET", KEY "?consistency=stale", NULL), 200);
    assert_null(header_of(f, "X-Crabcluster-Age-Ms"));
    stub_node_set_freshness(f->node, (struct node_freshness){.member = false});
    stub_node_script(f->node, NODE_READ, ERR_UNINITIALIZED, NULL);
    check_error(f, call(f, "GET", KEY "?consistency=stale", NULL), 503, "uninitialized", true);
}

static void test_errors_of_the_node_have_their_codes(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int err;
        enum node_request_type type;
        long status;
        const char *code;
        bool retryable;
    } cases[] = {
        {ERR_NO_LEADER, NODE_WRITE, 503, "no_leader", true},
        {ERR_NOT_LEADER, NODE_WRITE, 503, "no_leader", true},
        {ERR_UNKNOWN, NODE_WRITE, 504, "outcome_unknown", false},
        {ERR_OVERLOADED, NODE_WRITE, 429, "overloaded", true},
        {ERR_NO_SPACE, NODE_WRITE, 507, "disk_full", false},
        {ERR_TOO_LARGE, NODE_WRITE, 413, "too_large", false},
        {ERR_UNINITIALIZED, NODE_WRITE, 503, "uninitialized", true},
        {ERR_CORRUPT, NODE_WRITE, 500, "internal", false},
        {ERR_SHUTDOWN, NODE_WRITE, 503, "shutting_down", true},
        {ERR_NO_LEADER, NODE_READ, 503, "no_leader", true},
        {ERR_TIMEOUT, NODE_READ, 503, "timeout", true},
        {ERR_SHUTDOWN, NODE_READ, 503, "shutting_down", true},
    };
    static const char *const writes[] = {"PUT " KEY, "DELETE " KEY, "POST " KEY "?op=incr",
                                         "POST " KEY "?op=append"};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        stub_node_script(f->node, cases[i].type, cases[i].err, NULL);
        for (unsigned w = 0; w < 4 && cases[i].type == NODE_WRITE; w++) {
            char method[8] = "";
            sscanf(writes[w], "%7s", method);
            check_error(f, call(f, method, strchr(writes[w], '/'), NULL), cases[i].status,
                        cases[i].code, cases[i].retryable);
        }
        if (cases[i].type == NODE_READ)
            check_error(f, call(f, "GET", KEY, NULL), cases[i].status, cases[i].code,
                        cases[i].retryable);
        if (cases[i].status == 429)
            assert_string_equal(header_of(f, "Retry-After"), "1");
    }
}

static void test_not_modified_has_no_body_and_the_length_of_one(void **state)
{
    struct fixture *f = *state;
    struct buf body = BUF_INIT;
    assert_int_equal(call(f, "PUT", KEY, "12345"), 201);
    int fd = raw_connect(f);
    raw_send(fd, "GET " KEY " HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: \"2\"\r\n\r\n"
                 "GET /get-id HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    for (char c; recv(fd, &c, 1, 0) == 1;)
        buf_append(&body, &c, 1);
    const char *text = buf_str(&body);
    assert_ptr_equal(strstr(text, "HTTP/1.1 304 "), text);
    assert_non_null(strstr(text, "\r\nContent-Length: 5\r\n"));
    assert_non_null(strstr(text, "\r\nETag: \"2\"\r\n"));
    assert_non_null(strstr(text, "\r\n\r\nHTTP/1.1 200 "));
    close(fd);
    buf_free(&body);
}

static void test_wait_asks_for_the_revision_and_no_longer_than_wanted(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(call(f, "PUT", KEY, "v"), 201);
    stub_node_script(f->node, NODE_WAIT_KEY, ERR_TIMEOUT, NULL);
    uint64_t before = clock_now_ms();
    assert_int_equal(with_header(f, "GET", KEY "?wait=300ms", NULL, "If-None-Match: *"), 304);
    struct node_request last = stub_node_last(f->node, NODE_WAIT_KEY);
    assert_int_equal(last.in.wait.revision, 2);
    assert_int_equal(last.in.wait.key_len, 1);
    assert_in_range(last.deadline_ms, before + 299, clock_now_ms() + 300);
    assert_true(clock_now_ms() >= before + 300); /* the stub never waits: it was asked again */
    stub_node_script(f->node, NODE_WAIT_KEY, ERR_SHUTDOWN, NULL);
    check_error(f, with_header(f, "GET", KEY "?wait=300ms", NULL, "If-None-Match: *"), 503,
                "shutting_down", true);
    unsigned n = stub_node_count(f->node, NODE_WAIT_KEY);
    assert_int_equal(with_header(f, "GET", KEY "?wait=300ms", NULL, "If-None-Match: \"9\""), 200);
    assert_int_equal(with_header(f, "GET", KEY, NULL, "If-None-Match: *"), 304);
    assert_int_equal(stub_node_count(f->node, NODE_WAIT_KEY), n);
}

static void test_refused_requests_never_reach_the_node(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *method, *path, *header;
        long status;
    } cases[] = {
        {"PUT", "/v1/kv/", NULL, 400},
        {"PUT", "/v1/kv/%zz", NULL, 400},
        {"PUT", "/v1/kv?key_b64=*", NULL, 400},
        {"PUT", "/v1/kv?key_b64", NULL, 400},
        {"PUT", KEY "?key_b64=YQ", NULL, 400},
        {"PUT", KEY "?wait=1s", NULL, 400},
        {"PUT", KEY "?ttl=1s", NULL, 501},
        {"PUT", KEY, "If-Match: x", 400},
        {"PUT", KEY, "If-Match: \"1\",\"2\"", 400},
        {"PUT", KEY, "If-None-Match: \"1\"", 400},
        {"DELETE", KEY, "If-None-Match: *", 400},
        {"GET", KEY "?wait=1s", NULL, 400},
        {"GET", KEY, "If-None-Match: x", 400},
        {"POST", KEY, NULL, 400},
        {"POST", KEY "?op=decr", NULL, 400},
        {"POST", KEY "?op=append&by=1", NULL, 400},
        {"POST", KEY "?op=incr&by=x", NULL, 400},
        {"PATCH", KEY, NULL, 405},
        {"PUT", KEY, "Origin: http://evil.example", 403},
        {"PUT", KEY, "Idempotency-Key;", 400},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        long got = with_header(f, cases[i].method, cases[i].path, NULL, cases[i].header);
        if (got != cases[i].status || !strstr(body_of(f), "{\"error\":{\"code\":"))
            fail_msg("%s %s %s: %ld %s", cases[i].method, cases[i].path,
                     cases[i].header ? cases[i].header : "", got, body_of(f));
    }
    assert_int_equal(stub_node_count(f->node, NODE_WRITE), 0);
    assert_int_equal(stub_node_count(f->node, NODE_READ), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)
        TEST(test_key_of_any_bytes_reaches_the_node_whole),
        TEST(test_large_answers_that_nobody_takes_are_bounded),
        TEST(test_value_of_the_limit_passes_and_one_byte_more_does_not),
        TEST(test_consistency_is_what_the_node_is_asked_for),
        TEST(test_stale_read_asks_the_node_only_for_what_it_lacks),
        TEST(test_errors_of_the_node_have_their_codes),
        TEST(test_not_modified_has_no_body_and_the_length_of_one),
        TEST(test_wait_asks_for_the_revision_and_no_longer_than_wanted),
        TEST(test_refused_requests_never_reach_the_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
