/* SPDX-License-Identifier: MIT
 * api/: what is refused, with what words, and that it changes nothing: bad
 * input of every kind, limits, methods, browsers, strangers on /raft-*.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "api_fixture.h"

#include "api/exchange.h"
#include "api/route.h"
#include "base/mem.h"
#include "base/rng.h"

#define ID2 "11111111-2222-3333-4444-555555555555"

struct refusal {
    const char *path;
    const char *body;
    long status;
    const char *text; /* in the answer */
};

static const struct refusal refusals[] = {
    {"/write", "", 400,
     "{\"Err\":{\"BadRequest\":\"the text ends where a value is expected, at byte 0\"}}"},
    {"/write", "{\"Set\":{\"key\":\"k\",\"value\":\"v\"}", 400, "at byte 30"},
    {"/write", "{\"Set\":{\"key\":\"k\",\"value\":\"v\"}} x", 400, "at byte 32"},
    {"/write", "{\"Set\":{\"key\":\"k\",\"value\":\"v\",\"key\":\"l\"}}", 400,
     "the same member twice, at byte 30"},
    {"/write", "{\"Set\":{\"key\":\"k\",\"value\":\"v\"},\"Set\":{\"key\":\"l\",\"value\":\"v\"}}",
     400, "the same member twice"},
    {"/write", "{\"Set\":{\"key\":\"k\",\"value\":\"v\"},\"Delete\":{\"key\":\"l\"}}", 400,
     "expected {"},
    {"/write", "{\"Set\":{\"key\\u0000x\":\"k\",\"value\":\"v\"}}", 400,
     "\\\\u0000 in the name of a member"},
    {"/write", "{\"Set\":{\"key\":\"k\",\"value\":\"a\nb\"}}", 400, "control character"},
    {"/write", "{\"Set\":{\"key\":\"k\",\"value\":\"\xff\"}}", 400, "not UTF-8"},
    {"/write", "{\"Set\":{\"key\":\"k\",\"value\":99999999999999999999999}}", 400,
     "the number is too large"},
    {"/write", "{\"Set\":{\"key\":\"k\",\"value\":7}}", 400, "both strings"},
    {"/write", "{\"Set\":{\"key\":\"k\",\"value\":null}}", 400, "both strings"},
    {"/write", "{\"Set\":{\"key\":7,\"value\":\"v\"}}", 400, "both strings"},
    {"/write", "{\"Set\":{\"key\":\"k\"}}", 400, "both strings"},
    {"/write", "{\"Set\":{\"key\":\"k\",\"value\":\"v\",\"ttl\":\"1\"}}", 400, "exactly"},
    {"/write", "{\"Set\":\"k\"}", 400, "expected {"},
    {"/write", "{\"Set\":null}", 400, "expected {"},
    {"/write", "{\"set\":{\"key\":\"k\",\"value\":\"v\"}}", 400, "expected {"},
    {"/write", "{\"Set\":{\"key\":\"\",\"value\":\"v\"}}", 400, "1 to 511"},
    {"/write", "{\"Delete\":{\"key\":\"\"}}", 400, "1 to 511"},
    {"/write", "{\"Delete\":{\"key\":\"k\",\"value\":\"v\"}}", 400, "exactly"},
    {"/write", "{\"Delete\":{}}", 400, "exactly"},
    {"/write", "{\"Batch\":[]}", 400, "1 to 4096"},
    {"/write", "{\"Batch\":{}}", 400, "1 to 4096"},
    {"/write", "{\"Batch\":null}", 400, "1 to 4096"},
    {"/write", "{\"Batch\":[1]}", 400, "expected {"},
    {"/write", "{\"Batch\":[null]}", 400, "expected {"},
    {"/write",
     "{\"Batch\":[{\"Set\":{\"key\":\"k\",\"value\":\"v\"}},{\"Set\":{\"key\":\"\",\"value\":\"v\"}"
     "}]}",
     400, "1 to 511"},
    {"/write", "{\"Batch\":[{\"Batch\":[]}]}", 400, "expected {"},
    {"/write", "{\"Batch\":[{\"Set\":{\"key\":\"k\",\"value\":\"v\"}}],\"x\":1}", 400,
     "expected {"},
    {"/write", "{\"Batch\":[{\"Set\":{\"key\":\"k\",\"value\":\"v\"}},]}", 400,
     "a value is expected, at byte 42"},
    {"/write", "{\"Batch\":[{\"Delete\":{\"key\":\"k\"}}],\"\\u0042atch\":[]}", 400,
     "the same member twice, at byte 34"},
    /* What is no JSON further on is said before what is no write. */
    {"/write", "{\"Batch\":[{\"Delete\":{\"key\":7}},{\"Delete\":}]}", 400,
     "a value is expected, at byte 41"},
    {"/write", "{\"Batch\":[7,{\"Set\":{\"key\":\"k\",\"key\":\"k\"}}]}", 400,
     "the same member twice, at byte 30"},
    {"/write", "{\"Delete\":{\"key\":\"\"}} 7", 400, "nothing is expected after the value"},
    {"/read", "[\"k\"", 400, "a comma or ] is expected, at byte 4"},
    {"/read", "\"\\u00e\"", 400, "four hexadecimal digits"},
    {"/write", "null", 400, "expected {"},
    {"/write", "[]", 400, "expected {"},
    {"/write", "\"k\"", 400, "expected {"},
    {"/write", "key=k&value=v", 400, "a value is expected, at byte 0"},
    {"/read", "", 400, "at byte 0"},
    {"/read", "k", 400, "at byte 0"},
    {"/read", "7", 400, "as a JSON string"},
    {"/read", "null", 400, "as a JSON string"},
    {"/read", "{\"key\":\"k\"}", 400, "as a JSON string"},
    {"/read", "\"\"", 400, "1 to 511"},
    {"/read", "\"k\" \"l\"", 400, "at byte 4"},
    {"/add-learner", "", 400, "at byte 0"},
    {"/add-learner", "{}", 400, "expected ["},
    {"/add-learner", "[]", 400, "expected ["},
    {"/add-learner", "[\"" ID2 "\"]", 400, "expected ["},
    {"/add-learner", "[\"" ID2 "\",\"h:1\",\"x\"]", 400, "expected ["},
    {"/add-learner", "[\"" ID2 "\",7]", 400, "expected ["},
    {"/add-learner", "[7,\"h:1\"]", 400, "first item"},
    {"/add-learner", "[\"1\",\"h:1\"]", 400, "first item"},
    {"/add-learner", "[\"00000000-0000-0000-0000-000000000000\",\"h:1\"]", 400, "first item"},
    {"/add-learner", "[\"" ID2 "\",\"h\"]", 400, "second item"},
    {"/add-learner", "[\"" ID2 "\",\"h:0\"]", 400, "second item"},
    {"/add-learner", "[\"" ID2 "\",\"h:65536\"]", 400, "second item"},
    {"/add-learner", "[\"" ID2 "\",\"h:1\\u0000\"]", 400, "second item"},
    {"/add-learner", "[\"" ID2 "\",\"http://h:1\"]", 400, "second item"},
    {"/change-membership", "", 400, "at byte 0"},
    {"/change-membership", "{}", 400, "expected an array"},
    {"/change-membership", "\"" ID2 "\"", 400, "expected an array"},
    {"/change-membership", "[1]", 400, "item 1"},
    {"/change-membership", "[\"" ID2 "\",\"x\"]", 400, "item 2 is not"},
    {"/change-membership", "[\"" ID2 "\",\"" ID2 "\"]", 400, "item 2 repeats item 1"},
    {"/init", "7", 400, "no body"},
    {"/init", "{", 400, "at byte 1"},
    {"/write?consistency=stale", "{\"Delete\":{\"key\":\"k\"}}", 400, "consistency"},
    {"/read?timeout=5s", "\"k\"", 400, "timeout"},
    {"/read?lease=7", "\"k\"", 501, "not_implemented"},
    {"/read?colour=red", "\"k\"", 400, "colour"},
    {"/nothing", "", 404, "NoSuchPath"},
    {"/health", "", 404, "NoSuchPath"},
    {"/", "", 404, "NoSuchPath"},
    {"/write/", "", 404, "NoSuchPath"},
    {"//write", "", 404, "NoSuchPath"},
    {"/write%00x", "", 404, "NoSuchPath"},
    {"/wri%te", "", 400, "percent"},
    {"/write%", "", 400, "percent"},
    {"/write%2", "", 400, "percent"},
};

static unsigned total(struct fixture *f)
{
    unsigned n = 0;
    for (int t = NODE_WRITE; t <= NODE_SNAPSHOT_CLOSE; t++)
        n += stub_node_count(f->node, (enum node_request_type)t);
    return n;
}

static void test_bad_input_has_its_error_and_never_reaches_the_node(void **state)
{
    struct fixture *f = *state;
    for (unsigned i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        const struct refusal *r = &refusals[i];
        long status = call(f, "POST", r->path, r->body);
        if (status != r->status || !strstr(body_of(f), r->text) ||
            strncmp(body_of(f), "{\"Err\":{\"", 9) != 0)
            fail_msg("%s %s: %ld %s", r->path, r->body, status, body_of(f));
        assert_string_equal(header_of(f, "Content-Type"), "application/json");
        assert_non_null(header_of(f, "X-Request-Id"));
        assert_non_null(header_of(f, "X-Crabcluster-Node"));
    }
    assert_int_equal(total(f), 0);
}

static void test_json_nested_ten_thousand_deep_is_refused(void **state)
{
    struct fixture *f = *state;
    struct buf b = BUF_INIT;
    for (int i = 0; i < 10000; i++)
        buf_append_str(&b, i % 2 ? "[" : "{\"a\":");
    assert_int_equal(call(f, "POST", "/write", buf_str(&b)), 400);
    assert_non_null(strstr(body_of(f), "nested too deeply, at byte"));
    buf_free(&b);
    assert_int_equal(total(f), 0);
}

static void test_path_is_percent_decoded_once(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(call(f, "GET", "/get%2Did", NULL), 200);
    assert_int_equal(call(f, "GET", "/get%252Did", NULL), 404);
}

static void test_methods_not_in_the_table_are_405_with_allow(void **state)
{
    struct fixture *f = *state;
    static const char *const wrong[][3] = {
        {"PUT", "/init", "GET, HEAD, POST"},
        {"DELETE", "/init", "GET, HEAD, POST"},
        {"POST", "/get-id", "GET, HEAD"},
        {"POST", "/metrics", "GET, HEAD"},
        {"GET", "/write", "POST"},
        {"HEAD", "/write", "POST"},
        {"OPTIONS", "/write", "POST"},
        {"PATCH", "/read", "POST"},
        {"GET", "/raft-append", "POST"},
        {"get", "/get-id", "GET, HEAD"},
        {"GET", "/change-membership", "POST"},
        {"GET", "/add-learner", "POST"},
    };
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_equal(call(f, wrong[i][0], wrong[i][1], NULL), 405);
        assert_string_equal(header_of(f, "Allow"), wrong[i][2]);
    }
    assert_int_equal(total(f), 0);
}

static void test_head_is_get_without_the_body(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(call(f, "HEAD", "/get-id", NULL), 200);
    assert_int_equal(f->body.len, 0);
    assert_string_equal(header_of(f, "Content-Length"), "38");
    assert_int_equal(call(f, "HEAD", "/metrics", NULL), 200);
    assert_int_equal(call(f, "HEAD", "/nothing", NULL), 404);
}

/* {"Set":{"key":<n of k>,"value":<m of v>}} */
static long set_of_sizes(struct fixture *f, size_t key_len, size_t value_len,
                         const char *const headers[])
{
    struct buf b = BUF_INIT;
    buf_append_str(&b, "{\"Set\":{\"key\":\"");
    for (size_t i = 0; i < key_len; i++)
        buf_append(&b, "k", 1);
    buf_append_str(&b, "\",\"value\":\"");
    for (size_t i = 0; i < value_len; i++)
        buf_append(&b, "v", 1);
    buf_append_str(&b, "\"}}");
    long status = call_bytes(f, "POST", "/write", b.data, b.len, headers);
    buf_free(&b);
    return status;
}

static void test_sizes_at_the_limit_pass_and_beyond_are_413(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(set_of_sizes(f, 511, 1024, NULL), 200);
    assert_int_equal(set_of_sizes(f, 512, 1, NULL), 413);
    assert_non_null(strstr(body_of(f), "{\"Err\":{\"TooLarge\":\"the key is 512 bytes"));
    assert_int_equal(set_of_sizes(f, 1, 1025, NULL), 413);
    assert_non_null(strstr(body_of(f), "the value is 1025 bytes long; max-value-size is 1024"));
    assert_int_equal(set_of_sizes(f, 1, 9 * MIB, NULL), 413);
    assert_non_null(strstr(body_of(f), "the body is larger than 8454144 bytes (max-value-size"));
    assert_int_equal(stub_node_count(f->node, NODE_WRITE), 1);
}

static void test_body_over_the_limit_is_refused_however_it_is_sent(void **state)
{
    struct fixture *f = *state;
    static const char *const chunked[] = {"Transfer-Encoding: chunked", NULL};
    static const char *const expect[] = {"Expect: 100-continue", NULL};
    static const char *const no_expect[] = {"Expect:", NULL};
    assert_int_equal(set_of_sizes(f, 1, 9 * MIB, chunked), 413);
    assert_non_null(strstr(body_of(f), "the body is larger than")); /* not: the value */
    assert_int_equal(set_of_sizes(f, 1, 9 * MIB, expect), 413);
    assert_int_equal(set_of_sizes(f, 1, 9 * MIB, no_expect), 413);
    assert_int_equal(set_of_sizes(f, 1, 1024, chunked), 200);
    assert_int_equal(set_of_sizes(f, 1, 1024, expect), 200);
    assert_int_equal(set_of_sizes(f, 1, 1024, no_expect), 200);
    struct buf b = BUF_INIT;
    for (size_t i = 0; i < 64 * KIB + 1; i++)
        buf_append(&b, " ", 1);
    assert_int_equal(call_bytes(f, "POST", "/read", b.data, b.len, no_expect), 413);
    assert_non_null(strstr(body_of(f), "larger than the 65536 bytes that /read takes"));
    buf_free(&b);
}

/* How a raw request is answered. */
static int raw_status(const struct fixture *f, const char *request)
{
    struct buf body = BUF_INIT;
    int fd = raw_connect(f);
    raw_send(fd, request);
    int status = raw_read_answer(fd, &body);
    close(fd);
    buf_free(&body);
    return status;
}

static void test_body_too_large_to_wait_for_is_413_at_once(void **state)
{
    assert_int_equal(raw_status(*state, "POST /write HTTP/1.1\r\nHost: localhost\r\n"
                                        "Content-Length: 99999999999\r\n\r\n"),
                     413);
}

static void test_two_content_lengths_are_400(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(raw_status(f, "POST /read HTTP/1.1\r\nHost: localhost\r\n"
                                   "Content-Length: 3\r\nContent-Length: 4\r\n\r\n\"k\" "),
                     400);
    assert_int_equal(total(f), 0);
}

/* libmicrohttpd would wait for the end of the connection, minutes. */
static void test_body_without_a_known_end_is_refused_at_once(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int status;
        const char *encoding;
    } cases[] = {
        {501, "Transfer-Encoding: gzip\r\n"},
        {501, "Transfer-Encoding: identity\r\nContent-Length: 3\r\n"},
        {501, "Transfer-Encoding: gzip, chunked\r\n"},
        {501, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"},
        {400, "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        char request[300];
        snprintf(request, sizeof request,
                 "POST /read HTTP/1.1\r\nHost: localhost\r\n%s\r\n3\r\n\"k\"\r\n0\r\n\r\n",
                 cases[i].encoding);
        int fd = raw_connect(f);
        raw_send(fd, request);
        if (raw_read_answer(fd, NULL) != cases[i].status)
            fail_msg("%s", cases[i].encoding);
        assert_true(raw_is_closed_within(fd, 2000));
        close(fd);
    }
    assert_int_equal(total(f), 0);
}

static void test_batch_limits(void **state)
{
    struct fixture *f = *state;
    for (int n = 4096; n <= 4097; n++) {
        struct buf b = BUF_INIT;
        for (int i = 0; i < n; i++)
            buf_printf(&b, "%s{\"Delete\":{\"key\":\"k%d\"}}", i ? "," : "{\"Batch\":[", i);
        buf_append_str(&b, "]}");
        assert_int_equal(call(f, "POST", "/write", buf_str(&b)), n == 4096 ? 200 : 413);
        buf_free(&b);
    }
    f->options.limits.max_value_size = 5 * MIB;
    fixture_restart(f);
    struct buf b = BUF_INIT;
    for (int i = 0; i < 2; i++) {
        buf_printf(&b, "%s{\"Set\":{\"key\":\"k%d\",\"value\":\"", i ? "," : "{\"Batch\":[", i);
        for (size_t k = 0; k < 5 * MIB / 2; k++)
            buf_append(&b, "v", 1);
        buf_append_str(&b, "\"}}");
    }
    buf_append_str(&b, "]}");
    assert_int_equal(call(f, "POST", "/write", buf_str(&b)), 413);
    assert_non_null(strstr(body_of(f), "are 5242884 bytes; the limit is 5242880"));
    buf_free(&b);
}

static void test_headers_over_the_limit_are_431(void **state)
{
    struct fixture *f = *state;
    static char line[40000];
    const char *const headers[] = {line, NULL};
    memset(line, 'x', sizeof line);
    memcpy(line, "X-Long: ", 8);
    line[16 * KIB - 100] = 0; /* Host, Accept and the request line take less than that */
    assert_int_equal(call_bytes(f, "GET", "/get-id", NULL, 0, headers), 200);
    assert_int_equal(call_bytes(f, "POST", "/read", "\"k\"", 3, headers), 431);
    line[16 * KIB - 200] = 0;
    assert_int_equal(call_bytes(f, "POST", "/read", "\"k\"", 3, headers), 404);
    line[16 * KIB - 200] = line[16 * KIB - 100] = 'x';
    line[17 * KIB] = 0;
    assert_int_equal(call_bytes(f, "GET", "/get-id", NULL, 0, headers), 431);
    assert_non_null(strstr(body_of(f), "16384"));
    line[17 * KIB] = 'x';
    line[sizeof line - 1] = 0; /* libmicrohttpd's own answer */
    assert_int_equal(call_bytes(f, "GET", "/get-id", NULL, 0, headers), 431);
}

struct browser {
    long status;
    const char *headers[3];
};

static void test_browser_rule(void **state)
{
    struct fixture *f = *state;
    static const char *const origins[] = {"https://ui.example.org", "http://dash.example.net:3000"};
    static const char *const names[] = {"node1", "node1.example.com"};
    static const struct browser browsers[] = {
        {200, {NULL}},
        {403, {"Origin: http://evil.example"}},
        {403, {"Origin: null"}},
        {403, {"Origin: http://127.0.0.1"}},
        {200, {"Origin: https://ui.example.org"}},
        {200, {"Origin: https://ui.example.org", "Sec-Fetch-Site: cross-site"}},
        {403, {"Origin: http://ui.example.org"}},
        {403, {"Origin: https://ui.example.org.evil.example"}},
        {403, {"Sec-Fetch-Site: cross-site"}},
        {403, {"Sec-Fetch-Site: same-site"}},
        {200, {"Sec-Fetch-Site: same-origin"}},
        {200, {"Sec-Fetch-Site: none"}},
        {403, {"Host: evil.example"}},
        {403, {"Host: evil.example:8080"}},
        {403, {"Host: 127.0.0.1.evil.example"}},
        {403, {"Host: localhost.evil.example"}},
        {403, {"Host: [::1"}},
        {403, {"Host: :80"}},
        {200, {"Host: localhost:1234"}},
        {200, {"Host: LocalHost"}},
        {200, {"Host: [::1]:8080"}},
        {200, {"Host: 10.0.0.7"}},
        {200, {"Host: node1"}},
        {200, {"Host: NODE1.example.com:8080"}},
        {200, {"Host: ui.example.org"}},
        {200, {"Host: dash.example.net:3000"}},
        {200, {"Host: adv.example:9"}},
        {403, {"Host: node1", "Origin: http://node1"}},
    };
    f->options.allowed_origins = origins;
    f->options.n_allowed_origins = 2;
    f->options.own_names = names;
    f->options.n_own_names = 2;
    f->options.advertise_addr = "adv.example:9";
    fixture_restart(f);
    char name[256] = "Host: ";
    assert_int_equal(gethostname(name + 6, sizeof name - 7), 0);
    assert_int_equal(call_bytes(f, "GET", "/get-id", NULL, 0, (const char *const[]){name, NULL}),
                     200);
    for (unsigned i = 0; i < sizeof browsers / sizeof *browsers; i++) {
        const struct browser *b = &browsers[i];
        long status = call_bytes(f, "POST", "/read", "\"k\"", 3, b->headers);
        if (status != (b->status == 200 ? 404 : 403))
            fail_msg("%s %s: %ld", b->headers[0], b->headers[1], status);
        if (b->status == 403)
            assert_non_null(strstr(body_of(f), "{\"Err\":{\"Forbidden\":\""));
    }
}

static void test_second_host_header_does_not_hide_behind_the_first(void **state)
{
    struct fixture *f = *state;
    int fd = raw_connect(f);
    raw_send(fd, "GET /get-id HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n");
    int status = raw_read_answer(fd, NULL);
    assert_true(status == 403 || status == 400);
    close(fd);
    fd = raw_connect(f);
    raw_send(fd, "GET /get-id HTTP/1.0\r\n\r\n"); /* no browser is that old */
    assert_int_equal(raw_read_answer(fd, NULL), 200);
    close(fd);
}

static void test_peer_requests_reach_the_node_byte_for_byte(void **state)
{
    struct fixture *f = *state;
    static const char *const host[] = {"Host: some.name.of.ours:8080", NULL};
    static const char *const origin[] = {"Origin: http://evil.example", NULL};
    for (int p = 0; p < TRANSPORT_PATHS; p++) {
        const char *path = transport_path_text((enum transport_path)p);
        assert_int_equal(call_bytes(f, "POST", path, "a\0\xff", 3, host), 200);
        assert_int_equal(f->body.len, 3);
        assert_memory_equal(f->body.data, "a\0\xff", 3);
        assert_string_equal(header_of(f, "Content-Type"), "application/octet-stream");
        assert_int_equal(stub_node_last(f->node, NODE_PEER).in.peer.path, p);
        assert_int_equal(call_bytes(f, "POST", path, "a", 1, origin), 403);
    }
    assert_int_equal(stub_node_count(f->node, NODE_PEER), TRANSPORT_PATHS);
    stub_node_script_peer(f->node, 400);
    assert_int_equal(call(f, "POST", "/raft-append", "garbage"), 400);
    assert_int_equal(call(f, "POST", "/raft-vote", ""), 400);
    stub_node_script(f->node, NODE_PEER, ERR_SHUTDOWN, NULL);
    assert_int_equal(call(f, "POST", "/raft-append", "x"), 503);
    assert_int_equal(call(f, "POST", "/raft-backup", "x"), 404);
}

static void test_random_bodies_never_end_in_anything_but_an_answer(void **state)
{
    struct fixture *f = *state;
    static const char *const paths[] = {"/write", "/read", "/init", "/add-learner",
                                        "/change-membership"};
    struct rng rng = {99};
    for (int i = 0; i < 500; i++) {
        char body[64];
        size_t len = (size_t)rng_range(&rng, 0, sizeof body);
        for (size_t k = 0; k < len; k++)
            body[k] = i % 2 ? "{}[]\":,\\u0Set"[rng_range(&rng, 0, 12)] : (char)rng_next(&rng);
        long status = call_bytes(f, "POST", paths[i % 5], body, len, NULL);
        if (status != 400 && !(i % 5 == 2 && len == 0) && status != 404 && status != 200)
            fail_msg("%s: %ld %s", paths[i % 5], status, body_of(f));
    }
    assert_int_equal(stub_node_count(f->node, NODE_WRITE), 0);
}

static void test_large_bodies_together_are_bounded(void **state)
{
    (void)state;
    static uint8_t bytes[20 * KIB];
    struct route route = {.path = "/write", .body = ROUTE_BODY_WRITE};
    struct http_spares spares = {.n = 0};
    struct http_server server = {.client_body_bytes = LIMIT_CLIENT_BODIES_BYTES - 30 * KIB};
    for (int i = 0; i < 2; i++) {
        struct http_exchange *x = http_exchange_new(&spares);
        x->server = &server;
        x->route = &route;
        x->body_limit = MIB;
        x->in_flight = true;
        server.n_in_flight++;
        assert_true(http_take_body(x, bytes, 10 * KIB)); /* small: never refused */
        assert_int_equal(x->status, 0);
        assert_true(http_take_body(x, bytes, 20 * KIB));
        assert_int_equal(x->status, 0);
        assert_int_equal(server.client_body_bytes, LIMIT_CLIENT_BODIES_BYTES - 10 * KIB);
        assert_true(http_take_body(x, bytes, 20 * KIB));
        assert_int_equal(x->status, 429);
        assert_int_equal(x->body.len, 0);
        assert_int_equal(server.client_body_bytes, LIMIT_CLIENT_BODIES_BYTES - 30 * KIB);
        bool open = true;
        size_t dropped = 0;
        for (; open && dropped < 100 * MIB; dropped += sizeof bytes)
            open = http_take_body(x, bytes, sizeof bytes);
        assert_false(open);
        http_exchange_free(x, &spares);
    }
    struct http_exchange *x =
        http_exchange_new(&spares); /* one that is served ends its charge too */
    x->server = &server;
    x->route = &route;
    x->body_limit = MIB;
    x->in_flight = true;
    server.n_in_flight++;
    assert_true(http_take_body(x, bytes, 20 * KIB));
    assert_int_equal(server.client_body_bytes, LIMIT_CLIENT_BODIES_BYTES - 10 * KIB);
    http_exchange_free(x, &spares);
    assert_int_equal(server.client_body_bytes, LIMIT_CLIENT_BODIES_BYTES - 30 * KIB);
    assert_int_equal(server.n_in_flight, 0);
    http_spares_free(&spares);
}

/* Whatever the request before left behind. */
static void test_an_exchange_that_is_used_again_is_as_new(void **state)
{
    (void)state;
    static const struct http_exchange zero;
    struct http_spares spares = {.n = 0};
    struct http_exchange *x = http_exchange_new(&spares);
    x->status = 404;
    x->retry_after_s = 7;
    strcpy(x->param, "a key");
    buf_append_str(&x->body, "a body");
    buf_reserve(&x->out, HTTP_KEPT_BYTES + 1);
    const uint8_t *body = x->body.data;
    http_exchange_free(x, &spares);
    struct http_exchange *again = http_exchange_new(&spares);
    assert_ptr_equal(again, x);
    assert_ptr_equal(again->body.data, body);
    assert_int_equal(again->body.len, 0);
    assert_null(again->out.data); /* it was large */
    struct buf kept = again->body;
    again->body = (struct buf)BUF_INIT;
    assert_memory_equal(again, &zero, sizeof zero);
    again->body = kept;
    http_exchange_free(again, &spares);
    http_spares_free(&spares);
}

static void test_listening_on_a_port_in_use_is_refused(void **state)
{
    struct fixture *f = *state;
    struct buf reason = BUF_INIT;
    struct api *second = NULL;
    char line[100];
    assert_int_equal(api_listen(&f->options, &reason, &second), ERR_BUSY);
    snprintf(line, sizeof line, "cannot listen on %s: Address already in use", f->addr);
    assert_string_equal(buf_str(&reason), line);
    assert_null(second);
    struct api_options other = f->options;
    other.bind_addr = "192.0.2.1:8080"; /* TEST-NET-1: nobody's */
    buf_clear(&reason);
    assert_int_equal(api_listen(&other, &reason, &second), ERR_INVALID);
    assert_string_equal(buf_str(&reason),
                        "cannot listen on 192.0.2.1:8080: Cannot assign requested address");
    other.bind_addr = "nowhere";
    buf_clear(&reason);
    assert_int_equal(api_listen(&other, &reason, &second), ERR_INVALID);
    buf_free(&reason);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)
    const struct CMUnitTest tests[] = {
        TEST(test_bad_input_has_its_error_and_never_reaches_the_node),
        TEST(test_json_nested_ten_thousand_deep_is_refused),
        TEST(test_path_is_percent_decoded_once),
        TEST(test_methods_not_in_the_table_are_405_with_allow),
        TEST(test_head_is_get_without_the_body),
        TEST(test_sizes_at_the_limit_pass_and_beyond_are_413),
        TEST(test_body_over_the_limit_is_refused_however_it_is_sent),
        TEST(test_body_too_large_to_wait_for_is_413_at_once),
        TEST(test_two_content_lengths_are_400),
        TEST(test_body_without_a_known_end_is_refused_at_once),
        TEST(test_batch_limits),
        TEST(test_headers_over_the_limit_are_431),
        TEST(test_browser_rule),
        TEST(test_second_host_header_does_not_hide_behind_the_first),
        TEST(test_peer_requests_reach_the_node_byte_for_byte),
        TEST(test_random_bodies_never_end_in_anything_but_an_answer),
        cmocka_unit_test(test_large_bodies_together_are_bounded),
        cmocka_unit_test(test_an_exchange_that_is_used_again_is_as_new),
        TEST(test_listening_on_a_port_in_use_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
