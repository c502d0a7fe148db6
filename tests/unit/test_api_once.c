/* SPDX-License-Identifier: MIT
 * api/: the Idempotency-Key header on every kind of write, in both dialects.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "api_fixture.h"

#define KEY_64 "1234567890123456789012345678901234567890123456789012345678901234"

static long send_with(struct fixture *f, const char *method, const char *path, const char *body,
                      const char *first, const char *second)
{
    const char *const headers[] = {first, second, NULL};
    return call_bytes(f, method, path, body, body ? strlen(body) : 0, headers);
}

static long revision(struct fixture *f)
{
    const char *text = header_of(f, "X-Crabcluster-Revision");
    return text ? strtol(text, NULL, 10) : 0;
}

/* Sends it twice with the same key: done once, and answered in the same words. */
static void assert_once(struct fixture *f, const char *method, const char *path, const char *body,
                        const char *key, long status)
{
    char answer[512];
    assert_int_equal(send_with(f, method, path, body, key, NULL), status);
    snprintf(answer, sizeof answer, "%s", body_of(f));
    long at = revision(f);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(send_with(f, method, path, body, key, NULL), status);
        if (status < 300) /* errors name the request */
            assert_string_equal(body_of(f), answer);
        assert_int_equal(revision(f), at);
    }
}

static void assert_reused(struct fixture *f, const char *method, const char *path, const char *body,
                          const char *key, const char *other)
{
    assert_int_equal(send_with(f, method, path, body, key, other), 422);
    bool v1 = strncmp(path, "/v1", 3) == 0;
    assert_non_null(strstr(body_of(f), v1 ? "{\"error\":{\"code\":\"idempotency_key_reused\""
                                          : "{\"Err\":{\"IdempotencyKeyReused\":\""));
    assert_true(!v1 || strstr(body_of(f), "\"retryable\":false"));
}

static void test_once_every_write_of_v1_is_done_once(void **state)
{
    struct fixture *f = *state;
    assert_once(f, "PUT", "/v1/kv/k?prev=1", "value", "Idempotency-Key: put", 201);
    assert_once(f, "POST", "/v1/kv/n?op=incr&by=5", NULL, "Idempotency-Key: incr", 201);
    assert_once(f, "POST", "/v1/kv/n?op=incr&by=5", NULL, "Idempotency-Key: again", 200);
    assert_int_equal(call(f, "GET", "/v1/kv/n", NULL), 200);
    assert_string_equal(body_of(f), "10");
    assert_once(f, "POST", "/v1/kv/k?op=append", "+", "Idempotency-Key: append", 200);
    assert_int_equal(call(f, "GET", "/v1/kv/k", NULL), 200);
    assert_string_equal(body_of(f), "value+");
    assert_once(f, "DELETE", "/v1/kv/k", NULL, "Idempotency-Key: delete", 200);
    assert_once(f, "DELETE", "/v1/kv/k", NULL, "Idempotency-Key: not there", 404);
    assert_once(f, "PUT", "/v1/kv/k", "again", "Idempotency-Key: " KEY_64, 201);
    assert_int_equal(send_with(f, "DELETE", "/v1/kv/k", NULL, "Idempotency-Key: delete", NULL),
                     200);
    assert_int_equal(call(f, "GET", "/v1/kv/k", NULL), 200);
}

static void test_once_every_classic_write_is_done_once(void **state)
{
    struct fixture *f = *state;
    assert_once(f, "POST", "/write", "{\"Set\":{\"key\":\"k\",\"value\":\"v\"}}",
                "Idempotency-Key: 1", 200);
    assert_once(f, "POST", "/write", "{\"Delete\":{\"key\":\"k\"}}", "Idempotency-Key: 2", 200);
    assert_non_null(strstr(body_of(f), "\"value\":\"v\""));
    assert_once(f, "POST", "/write",
                "{\"Batch\":[{\"Set\":{\"key\":\"k\",\"value\":\"w\"}},"
                "{\"Delete\":{\"key\":\"k\"}}]}",
                "idempotency-key: 3", 200);
}

static void test_once_condition_that_failed_fails_again(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(send_with(f, "PUT", "/v1/kv/k", "v", "Idempotency-Key: 1", "If-Match: \"7\""),
                     412);
    assert_int_equal(call(f, "PUT", "/v1/kv/k", "other"), 201);
    assert_int_equal(send_with(f, "PUT", "/v1/kv/k", "v", "Idempotency-Key: 1", "If-Match: \"7\""),
                     412);
    assert_int_equal(call(f, "GET", "/v1/kv/k", NULL), 200);
    assert_string_equal(body_of(f), "other");
}

static void test_once_key_of_another_request_is_refused(void **state)
{
    struct fixture *f = *state;
    const char *key = "Idempotency-Key: a b";
    assert_int_equal(send_with(f, "PUT", "/v1/kv/k", "v", key, NULL), 201);
    assert_reused(f, "PUT", "/v1/kv/k", "w", key, NULL);
    assert_reused(f, "PUT", "/v1/kv/k", "", key, NULL);
    assert_reused(f, "PUT", "/v1/kv/l", "v", key, NULL);
    assert_reused(f, "PUT", "/v1/kv/k?prev=1", "v", key, NULL);
    assert_reused(f, "PUT", "/v1/kv/k", "v", key, "If-None-Match: *");
    assert_reused(f, "PUT", "/v1/kv/k", "v", key, "Content-Type: text/plain");
    assert_reused(f, "DELETE", "/v1/kv/k", NULL, key, NULL);
    assert_reused(f, "POST", "/v1/kv/k?op=append", "v", key, NULL);
    assert_reused(f, "POST", "/v1/kv/k?op=incr", NULL, key, NULL);
    assert_reused(f, "POST", "/write", "{\"Set\":{\"key\":\"k\",\"value\":\"v\"}}", key, NULL);
    /* how the key is spelt, and how long to wait, is no part of the request */
    assert_int_equal(send_with(f, "PUT", "/v1/kv/%6b?timeout=3s&pretty", "v", key, NULL), 201);
    assert_int_equal(send_with(f, "PUT", "/v1/kv/?key_b64=aw", "v", key, NULL), 201);
    assert_int_equal(call(f, "GET", "/v1/kv/k", NULL), 200);
    assert_string_equal(header_of(f, "X-Crabcluster-Version"), "1");
}

static void test_once_key_that_is_none_is_refused(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *first, *second, *text;
    } cases[] = {
        {"Idempotency-Key;", NULL, "1 to 64 bytes"}, /* how libcurl is told to send it empty */
        {"Idempotency-Key: " KEY_64 "5", NULL, "1 to 64 bytes"},
        {"Idempotency-Key: a", "Idempotency-Key: b", "more than one"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(send_with(f, "PUT", "/v1/kv/k", "v", cases[i].first, cases[i].second),
                         400);
        assert_non_null(strstr(body_of(f), cases[i].text));
        assert_int_equal(send_with(f, "DELETE", "/v1/kv/k", NULL, cases[i].first, cases[i].second),
                         400);
        assert_int_equal(send_with(f, "POST", "/write", "{\"Delete\":{\"key\":\"k\"}}",
                                   cases[i].first, cases[i].second),
                         400);
    }
    assert_int_equal(stub_node_count(f->node, NODE_WRITE), 0);
    assert_int_equal(send_with(f, "GET", "/v1/kv/k", NULL, cases[1].first, NULL), 404);
}

static void test_once_full_store_says_when_to_come_again(void **state)
{
    struct fixture *f = *state;
    struct node_request full = {.ret.write.log_id = {.index = 7, .term = 1}};
    stub_node_script(f->node, NODE_WRITE, ERR_OVERLOADED, &full);
    assert_int_equal(send_with(f, "PUT", "/v1/kv/k", "v", "Idempotency-Key: a", NULL), 429);
    assert_non_null(strstr(body_of(f), "\"code\":\"overloaded\""));
    assert_non_null(strstr(body_of(f), "\"retryable\":true"));
    assert_non_null(header_of(f, "Retry-After"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)
    const struct CMUnitTest tests[] = {
        TEST(test_once_every_write_of_v1_is_done_once),
        TEST(test_once_every_classic_write_is_done_once),
        TEST(test_once_condition_that_failed_fails_again),
        TEST(test_once_key_of_another_request_is_refused),
        TEST(test_once_key_that_is_none_is_refused),
        TEST(test_once_full_store_says_when_to_come_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
