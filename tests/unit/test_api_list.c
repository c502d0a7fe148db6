/* SPDX-License-Identifier: MIT
 * api/: GET and DELETE /v1/kv, many keys: pages and streams, forwards and
 * backwards, what a delimiter folds together, and clients that take nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include <json-c/json.h>

#include "api_fixture.h"

#define LINES "Accept: application/x-ndjson"

static void put(struct fixture *f, const char *key, const char *value)
{
    stub_node_put(f->node, key, value, strlen(value));
}

static void put_tree(struct fixture *f)
{
    static const char *const keys[] = {"a",     "a/",    "a/1",       "a/2",  "a/b/1",
                                       "a/b/2", "a/c/1", "a\xff\xff", "b/10", "b/2"};
    for (unsigned i = 0; i < sizeof keys / sizeof *keys; i++)
        put(f, keys[i], keys[i]);
}

/* The keys and prefixes of a page or of lines, in their order, with blanks between; "b64:" before
 * what is none in UTF-8. */
static const char *names_of(struct json_object *o, char *out, size_t size)
{
    struct json_object *v;
    size_t n = strlen(out);
    if (json_object_object_get_ex(o, "key", &v) || json_object_object_get_ex(o, "prefix", &v))
        snprintf(out + n, size - n, "%s ", json_object_get_string(v));
    else if (json_object_object_get_ex(o, "key_b64", &v))
        snprintf(out + n, size - n, "b64:%s ", json_object_get_string(v));
    return out;
}

struct page {
    char items[2000], prefixes[500], next[1100];
    int64_t revision;
};

static struct page get_page(struct fixture *f, const char *query)
{
    char path[1500];
    struct page p = {.revision = 0};
    snprintf(path, sizeof path, "/v1/kv?%s", query);
    if (call(f, "GET", path, NULL) != 200)
        fail_msg("%s: %s", path, body_of(f));
    struct json_object *o = json_tokener_parse(body_of(f)), *v;
    assert_non_null(o);
    assert_true(json_object_object_get_ex(o, "items", &v));
    for (size_t i = 0; i < json_object_array_length(v); i++)
        names_of(json_object_array_get_idx(v, i), p.items, sizeof p.items);
    assert_true(json_object_object_get_ex(o, "prefixes", &v));
    for (size_t i = 0; i < json_object_array_length(v); i++)
        snprintf(p.prefixes + strlen(p.prefixes), sizeof p.prefixes - strlen(p.prefixes), "%s ",
                 json_object_get_string(json_object_array_get_idx(v, i)));
    assert_true(json_object_object_get_ex(o, "next", &v));
    snprintf(p.next, sizeof p.next, "%s", v ? json_object_get_string(v) : "");
    assert_true(json_object_object_get_ex(o, "revision", &v));
    p.revision = json_object_get_int64(v);
    json_object_put(o);
    return p;
}

static void test_page_has_what_begins_with_the_prefix(void **state)
{
    struct fixture *f = *state;
    put_tree(f);
    static const struct {
        const char *query, *items, *prefixes;
    } cases[] = {
        {"", "a a/ a/1 a/2 a/b/1 a/b/2 a/c/1 b64:Yf// b/10 b/2 ", ""},
        {"prefix=a/", "a/ a/1 a/2 a/b/1 a/b/2 a/c/1 ", ""},
        {"prefix=a/&reverse=1", "a/c/1 a/b/2 a/b/1 a/2 a/1 a/ ", ""},
        {"reverse", "b/2 b/10 b64:Yf// a/c/1 a/b/2 a/b/1 a/2 a/1 a/ a ", ""},
        {"prefix=a%ff&reverse=1", "b64:Yf// ", ""},
        {"prefix=%ff&reverse=1", "", ""},
        {"prefix=b/&keys_only=1", "b/10 b/2 ", ""},
        {"prefix=none", "", ""},
        {"prefix=a/&delimiter=/", "a/ a/1 a/2 ", "a/b/ a/c/ "},
        {"prefix=a/&delimiter=/&reverse=1", "a/2 a/1 a/ ", "a/c/ a/b/ "},
        {"delimiter=/", "a b64:Yf// ", "a/ b/ "},
        {"prefix=a&delimiter=/b/", "a a/ a/1 a/2 a/c/1 b64:Yf// ", "a/b/ "},
        {"prefix=a/&delimiter=%ff", "a/ a/1 a/2 a/b/1 a/b/2 a/c/1 ", ""},
        {"limit=2", "a a/ ", ""},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct page p = get_page(f, cases[i].query);
        if (strcmp(p.items, cases[i].items) != 0 || strcmp(p.prefixes, cases[i].prefixes) != 0)
            fail_msg("%s: %s| %s", cases[i].query, p.items, p.prefixes);
        assert_int_equal(p.revision, 11);
    }
}

static void test_page_items_say_all_that_is_known(void **state)
{
    struct fixture *f = *state;
    static const char *const typed[] = {"Content-Type: text/plain", NULL};
    put(f, "k/1", "one");
    put(f, "k/1", "\xff");
    assert_int_equal(call_bytes(f, "PUT", "/v1/kv/k/2", "two", 3, typed), 201);
    assert_int_equal(call(f, "GET", "/v1/kv?prefix=k/", NULL), 200);
    assert_string_equal(body_of(f),
                        "{\"revision\":4,\"items\":[{\"key\":\"k/1\",\"value_b64\":\"/w==\","
                        "\"revision\":3,\"create_revision\":2,\"version\":2},"
                        "{\"key\":\"k/2\",\"value\":\"two\",\"content_type\":\"text/plain\","
                        "\"revision\":4,\"create_revision\":4,\"version\":1}],"
                        "\"prefixes\":[],\"next\":null}");
    assert_string_equal(header_of(f, "X-Crabcluster-Revision"), "4");
    assert_string_equal(header_of(f, "Content-Type"), "application/json");
    assert_int_equal(call(f, "GET", "/v1/kv?prefix=k/2&keys_only", NULL), 200);
    assert_null(strstr(body_of(f), "two"));
    assert_int_equal(call(f, "HEAD", "/v1/kv?prefix=k/", NULL), 200);
    assert_string_equal(body_of(f), "");
}

/* Every page after the other gives what one page gives, whatever the size of a page. */
static void check_pages(struct fixture *f, const char *query, unsigned limit)
{
    char whole[2600], got[2600] = "", next[1100] = "", request[1400];
    struct page all = get_page(f, query);
    snprintf(whole, sizeof whole, "%s%s", all.items, all.prefixes);
    for (unsigned pages = 0; pages < 30; pages++) {
        snprintf(request, sizeof request, "%s&limit=%u%s%s", query, limit, *next ? "&cursor=" : "",
                 next);
        struct page p = get_page(f, request);
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", p.items, p.prefixes);
        if (!p.next[0])
            break;
        snprintf(next, sizeof next, "%s", p.next);
    }
    /* Keys and prefixes are mixed by pages: each is there once, and no more. */
    assert_int_equal(strlen(got), strlen(whole));
    char *save = NULL;
    for (char *name = strtok_r(whole, " ", &save); name; name = strtok_r(NULL, " ", &save)) {
        char word[200];
        snprintf(word, sizeof word, "%s ", name);
        if (!strstr(got, word))
            fail_msg("%s, by %u: %s is missing from %s", query, limit, name, got);
    }
}

static void test_pages_follow_on_each_other_without_gap_or_repetition(void **state)
{
    struct fixture *f = *state;
    put_tree(f);
    for (unsigned limit = 1; limit <= 4; limit++) {
        check_pages(f, "prefix=", limit);
        check_pages(f, "prefix=a&reverse=1", limit);
        check_pages(f, "prefix=a/&delimiter=/", limit);
        check_pages(f, "prefix=a/&delimiter=/&reverse=1", limit);
        check_pages(f, "prefix=&delimiter=/", limit);
    }
}

static void test_page_goes_on_after_keys_that_are_gone(void **state)
{
    struct fixture *f = *state;
    put_tree(f);
    struct page p = get_page(f, "prefix=a/&limit=2");
    char query[1200];
    assert_string_equal(p.items, "a/ a/1 ");
    assert_int_equal(call(f, "DELETE", "/v1/kv/a/1", NULL), 200);
    put(f, "a/11", "");
    snprintf(query, sizeof query, "prefix=a/&limit=2&cursor=%s", p.next);
    assert_string_equal(get_page(f, query).items, "a/11 a/2 ");
}

static void test_page_ends_at_its_limits(void **state)
{
    struct fixture *f = *state;
    char key[20];
    for (unsigned i = 0; i < 1001; i++) {
        snprintf(key, sizeof key, "k%04u", i);
        put(f, key, "");
    }
    assert_int_equal(call(f, "GET", "/v1/kv?prefix=k", NULL), 200);
    assert_null(strstr(body_of(f), "k1000"));
    assert_null(strstr(body_of(f), "\"next\":null"));
    static char large[1 << 20];
    memset(large, 'x', sizeof large);
    for (unsigned i = 0; i < 9; i++) {
        snprintf(key, sizeof key, "large%u", i);
        stub_node_put(f->node, key, large, sizeof large);
    }
    assert_int_equal(call(f, "GET", "/v1/kv?prefix=large", NULL), 200);
    assert_in_range(strlen(body_of(f)), 4u << 20, 5u << 20);
    assert_null(strstr(body_of(f), "\"next\":null"));
}

static void test_stream_has_all_lines_of_one_revision(void **state)
{
    struct fixture *f = *state;
    static const char *const lines[] = {LINES, NULL};
    put_tree(f);
    assert_int_equal(
        call_bytes(f, "GET", "/v1/kv?prefix=a/&delimiter=/&keys_only=1", NULL, 0, lines), 200);
    assert_string_equal(body_of(f),
                        "{\"key\":\"a/\",\"revision\":3,\"create_revision\":3,\"version\":1}\n"
                        "{\"key\":\"a/1\",\"revision\":4,\"create_revision\":4,\"version\":1}\n"
                        "{\"key\":\"a/2\",\"revision\":5,\"create_revision\":5,\"version\":1}\n"
                        "{\"prefix\":\"a/b/\"}\n{\"prefix\":\"a/c/\"}\n");
    assert_string_equal(header_of(f, "Content-Type"), "application/x-ndjson");
    assert_string_equal(header_of(f, "X-Crabcluster-Revision"), "11");
    assert_int_equal(call_bytes(f, "GET", "/v1/kv?prefix=b&reverse=1&limit=1", NULL, 0, lines),
                     200);
    assert_string_equal(body_of(f), "{\"key\":\"b/2\",\"value\":\"b/2\",\"revision\":11,"
                                    "\"create_revision\":11,\"version\":1}\n");
    assert_int_equal(call_bytes(f, "GET", "/v1/kv?prefix=none", NULL, 0, lines), 200);
    assert_string_equal(body_of(f), "");
    assert_int_equal(call_bytes(f, "HEAD", "/v1/kv", NULL, 0, lines), 200);
    assert_string_equal(header_of(f, "Content-Type"), "application/x-ndjson");
}

static void put_many(struct fixture *f, unsigned n)
{
    static char value[900];
    char key[20];
    memset(value, 'v', sizeof value);
    for (unsigned i = 0; i < n; i++) {
        snprintf(key, sizeof key, "m%06u", i);
        stub_node_put(f->node, key, value, sizeof value);
    }
}

static void test_stream_sees_nothing_that_is_written_while_it_runs(void **state)
{
    struct fixture *f = *state;
    char *buf = malloc(64u << 20);
    size_t n = 0;
    put_many(f, 20000); /* more than sockets hold */
    int fd = raw_connect(f);
    raw_send(fd, "GET /v1/kv?prefix=m HTTP/1.1\r\nHost: 127.0.0.1\r\n" LINES
                 "\r\nConnection: close\r\n\r\n");
    ssize_t got = recv(fd, buf, 4096, MSG_WAITALL);
    assert_int_equal(got, 4096);
    n = (size_t)got;
    put(f, "m019998", "changed");
    put(f, "m999999", "new");
    assert_int_equal(call(f, "DELETE", "/v1/kv/m019999", NULL), 200);
    while ((got = recv(fd, buf + n, (64u << 20) - n - 1, 0)) > 0)
        n += (size_t)got;
    buf[n] = 0;
    assert_non_null(strstr(buf, "\"key\":\"m019999\""));
    assert_null(strstr(buf, "m999999"));
    assert_null(strstr(buf, "changed"));
    assert_null(strstr(buf, "\"error\""));
    close(fd);
    free(buf);
}

static void test_stream_that_is_not_taken_ends_with_a_line_that_says_so(void **state)
{
    struct fixture *f = *state;
    char *buf = malloc(64u << 20);
    size_t n = 0;
    ssize_t got;
    f->options.stall_s = 1;
    fixture_restart(f);
    put_many(f, 20000);
    int fd = raw_connect(f);
    raw_send(fd, "GET /v1/kv?prefix=m HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Request-Id: r7\r\n" LINES
                 "\r\nConnection: close\r\n\r\n");
    usleep(1400 * 1000); /* the view is closed after 1 s, the connection after 2 */
    while ((got = recv(fd, buf + n, (64u << 20) - n - 1, 0)) > 0)
        n += (size_t)got;
    buf[n] = 0;
    const char *last = strstr(buf, "{\"error\":{\"code\":\"timeout\"");
    assert_non_null(last);
    assert_non_null(strstr(last, "\"request_id\":\"r7\""));
    assert_null(strstr(buf, "m019999"));
    assert_string_equal(buf + n - 7, "\r\n0\r\n\r\n"); /* a whole answer all the same */
    close(fd);
    free(buf);
}

static void test_streams_are_bounded_and_end_with_their_clients(void **state)
{
    struct fixture *f = *state;
    static const char *const lines[] = {LINES, NULL};
    int fds[32];
    char c;
    put_many(f, 20000);
    for (unsigned i = 0; i < 32; i++) {
        fds[i] = raw_connect(f);
        raw_send(fds[i], "GET /v1/kv HTTP/1.1\r\nHost: 127.0.0.1\r\n" LINES "\r\n\r\n");
        assert_int_equal(recv(fds[i], &c, 1, 0), 1);
    }
    assert_int_equal(call_bytes(f, "GET", "/v1/kv?prefix=x", NULL, 0, lines), 429);
    assert_non_null(strstr(body_of(f), "\"code\":\"overloaded\""));
    assert_string_equal(header_of(f, "Retry-After"), "1");
    assert_int_equal(call(f, "GET", "/v1/kv?limit=1", NULL), 200); /* a page is not one */
    for (unsigned i = 0; i < 32; i++)
        close(fds[i]);
    long status = 429;
    for (unsigned tries = 0; tries < 100 && status != 200; tries++) {
        usleep(20000);
        status = call_bytes(f, "GET", "/v1/kv?prefix=x", NULL, 0, lines);
    }
    assert_int_equal(status, 200);
}

static void test_delete_of_a_prefix_is_one_step(void **state)
{
    struct fixture *f = *state;
    put_tree(f);
    assert_int_equal(call(f, "DELETE", "/v1/kv?prefix=a/b/", NULL), 200);
    assert_string_equal(body_of(f), "{\"deleted\":2,\"revision\":12}");
    assert_string_equal(get_page(f, "prefix=a/&delimiter=/").prefixes, "a/c/ ");
    assert_int_equal(call(f, "DELETE", "/v1/kv?prefix=a/b/", NULL), 200);
    assert_string_equal(body_of(f), "{\"deleted\":0,\"revision\":13}");
    assert_int_equal(call(f, "DELETE", "/v1/kv?prefix=", NULL), 400);
    assert_non_null(strstr(body_of(f), "confirm=all"));
    assert_int_equal(call(f, "DELETE", "/v1/kv?prefix=&confirm=yes", NULL), 400);
    assert_int_equal(call(f, "DELETE", "/v1/kv?prefix=&confirm=all", NULL), 200);
    assert_string_equal(body_of(f), "{\"deleted\":8,\"revision\":14}");
    assert_string_equal(get_page(f, "").items, "");
}

static void test_listing_refuses_what_it_does_not_understand(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *method, *path;
        long status;
        const char *text;
    } cases[] = {
        {"GET", "/v1/kv?limit=0", 400, "limit"},
        {"GET", "/v1/kv?limit=1001", 400, "1 to 1000"},
        {"GET", "/v1/kv?reverse=maybe", 400, "reverse"},
        {"GET", "/v1/kv?cursor=%21", 400, "cursor"},
        {"GET", "/v1/kv?cursor=eGE", 400, "cursor"},          /* no such kind */
        {"GET", "/v1/kv?prefix=b&cursor=a2E", 400, "cursor"}, /* of another prefix */
        {"GET", "/v1/kv?wait=1s", 400, "wait"},
        {"GET", "/v1/kv?lease=1", 501, "lease"},
        {"DELETE", "/v1/kv", 400, "prefix="},
        {"DELETE", "/v1/kv?prefix=a&limit=1", 400, "limit"},
        {"PUT", "/v1/kv", 405, "GET, HEAD, DELETE"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        long status = call(f, cases[i].method, cases[i].path, NULL);
        if (status != cases[i].status || !strstr(body_of(f), cases[i].text))
            fail_msg("%s %s: %ld %s", cases[i].method, cases[i].path, status, body_of(f));
    }
    static const char *const match[] = {"If-Match: *", NULL};
    assert_int_equal(call_bytes(f, "DELETE", "/v1/kv?prefix=a", NULL, 0, match), 400);
}

static void test_listing_passes_on_why_it_cannot_read(void **state)
{
    struct fixture *f = *state;
    stub_node_script(f->node, NODE_READ, ERR_NO_LEADER, NULL);
    assert_int_equal(call(f, "GET", "/v1/kv?prefix=a", NULL), 503);
    assert_non_null(strstr(body_of(f), "\"code\":\"no_leader\""));
    put(f, "k", "v");
    assert_int_equal(call(f, "GET", "/v1/kv?consistency=stale", NULL), 200);
    assert_string_equal(header_of(f, "X-Crabcluster-Age-Ms"), "7");
    stub_node_script(f->node, NODE_WRITE, ERR_UNKNOWN, NULL);
    assert_int_equal(call(f, "DELETE", "/v1/kv?prefix=a", NULL), 504);
    assert_non_null(strstr(body_of(f), "\"code\":\"outcome_unknown\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)
        TEST(test_page_has_what_begins_with_the_prefix),
        TEST(test_page_items_say_all_that_is_known),
        TEST(test_pages_follow_on_each_other_without_gap_or_repetition),
        TEST(test_page_goes_on_after_keys_that_are_gone),
        TEST(test_page_ends_at_its_limits),
        TEST(test_stream_has_all_lines_of_one_revision),
        TEST(test_stream_sees_nothing_that_is_written_while_it_runs),
        TEST(test_stream_that_is_not_taken_ends_with_a_line_that_says_so),
        TEST(test_streams_are_bounded_and_end_with_their_clients),
        TEST(test_delete_of_a_prefix_is_one_step),
        TEST(test_listing_refuses_what_it_does_not_understand),
        TEST(test_listing_passes_on_why_it_cannot_read),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
