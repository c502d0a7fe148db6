/* SPDX-License-Identifier: MIT
 * api/: query parameters of /v1, through the real server: which are taken,
 * which refused, what they do to the request and to the shape of the answer.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "api_fixture.h"
#include "base/clock.h"

#define PATH "/v1/snapshot"

static void check(struct fixture *f, const char *query, long status, const char *in_body)
{
    char path[300];
    snprintf(path, sizeof path, PATH "?%s", query);
    long got = call(f, "GET", path, NULL);
    if (got != status || !strstr(body_of(f), in_body))
        fail_msg("%s: %ld %s", path, got, body_of(f));
}

static void test_query_parameters_that_are_not_understood_are_refused(void **state)
{
    struct fixture *f = *state;
    stub_node_script(f->node, NODE_SNAPSHOT_OPEN, ERR_CORRUPT, NULL);
    check(f, "", 500, "internal");
    check(f, "colour=red", 400, "/v1/snapshot takes no query parameter \\\"colour\\\"");
    check(f, "prev=1", 400, "/v1/snapshot takes no query parameter \\\"prev\\\"");
    check(f, "prett%79", 400, "takes no query parameter");
    check(f, "lease=1", 501, "not_implemented: this version has no query parameter \\\"lease\\\"");
    check(f, "ttl=1s", 501, "\"code\":\"not_implemented\"");
    check(f, "pretty&pretty", 400, "parameter pretty is there twice");
    check(f, "consistency=stale", 500, "internal");
    check(f, "consistency=lease", 500, "internal");
    check(f, "consistency=linearizable", 500, "internal");
    check(f, "consistency=%73tale", 500, "internal");
    check(f, "consistency=Stale", 400, "it takes linearizable, lease, stale");
    check(f, "consistency", 400, "it takes linearizable, lease, stale");
    check(f, "consistency=stale%00", 400, "it takes linearizable, lease, stale");
    check(f, "min_revision=18446744073709551615", 500, "internal");
    check(f, "min_revision=18446744073709551616", 400, "min_revision");
    check(f, "min_revision=-1", 400, "min_revision");
    check(f, "min_revision=", 400, "min_revision");
    check(f, "timeout=1ms", 500, "internal");
    check(f, "timeout=10m", 500, "internal");
    check(f, "timeout=0s", 400, "a decimal number and its unit");
    check(f, "timeout=601s", 400, "from 1ms to 600s");
    check(f, "timeout=5", 400, "timeout");
    check(f, "timeout=5%zz", 400, "timeout");
    check(f, "pretty=2", 400, "pretty");
    check(f, "pretty=0", 500, "{\"error\":{\"code\":\"internal\"");
}

static void test_pretty_writes_for_people(void **state)
{
    struct fixture *f = *state;
    static const char *const mine[] = {"X-Request-Id: me", NULL};
    stub_node_script(f->node, NODE_SNAPSHOT_OPEN, ERR_SHUTDOWN, NULL);
    call_bytes(f, "GET", PATH "?pretty", NULL, 0, mine);
    assert_string_equal(body_of(f),
                        "{\n  \"error\": {\n    \"code\": \"shutting_down\",\n    \"message\": "
                        "\"this node is shutting down; ask another one\",\n    \"retryable\": "
                        "true,\n    \"request_id\": \"me\",\n    \"details\": {}\n  }\n}\n");
}

static void test_timeout_of_the_client_is_the_deadline(void **state)
{
    struct fixture *f = *state;
    uint64_t before = clock_now_ms();
    stub_node_script(f->node, NODE_SNAPSHOT_OPEN, ERR_CORRUPT, NULL);
    call(f, "GET", PATH "?timeout=60s", NULL);
    struct node_request last = stub_node_last(f->node, NODE_SNAPSHOT_OPEN);
    assert_true(last.deadline_ms >= before + 60000 && last.deadline_ms <= clock_now_ms() + 60000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)
        TEST(test_query_parameters_that_are_not_understood_are_refused),
        TEST(test_pretty_writes_for_people),
        TEST(test_timeout_of_the_client_is_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
