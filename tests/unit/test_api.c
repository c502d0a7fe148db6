/* SPDX-License-Identifier: MIT
 * api/: every endpoint of the classic dialect, its answers and its errors, by
 * libcurl against the real server over a stub of the node.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "api_fixture.h"

#define ID1 STUB_NODE_ID
#define ID2 "11111111-2222-3333-4444-555555555555"
#define ID3 "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee"
#define LOGID(term, id, index)                                                                     \
    "{\"leader_id\":{\"term\":" #term ",\"node_id\":\"" id "\"},\"index\":" #index "}"

static struct uuid uuid_of(const char *text)
{
    struct uuid id;
    assert_int_equal(uuid_parse_text(text, strlen(text), &id), 0);
    return id;
}

/* One request, the whole answer. */
static void check(struct fixture *f, const char *method, const char *path, const char *body,
                  long status, const char *expected)
{
    long got = call(f, method, path, body);
    if (got != status || strcmp(body_of(f), expected) != 0)
        fail_msg("%s %s %s:\n got %ld %s\nwant %ld %s", method, path, body ? body : "", got,
                 body_of(f), status, expected);
}

static void test_write_and_read_answer_as_the_contract_says(void **state)
{
    struct fixture *f = *state;
    check(f, "POST", "/write", "{\"Set\":{\"key\":\"k\",\"value\":\"v\"}}", 200,
          "{\"Ok\":{\"log_id\":" LOGID(1, ID1, 2) ",\"data\":{\"value\":\"v\"},"
                                                  "\"membership\":null}}");
    assert_string_equal(header_of(f, "Content-Type"), "application/json");
    check(f, "POST", "/read", "\"k\"", 200, "{\"Ok\":\"v\"}");
    check(f, "POST", "/read", "\"other\"", 404, "{\"Err\":\"KeyNotFound\"}");
    check(f, "POST", "/write", "{\"Delete\":{\"key\":\"k\"}}", 200,
          "{\"Ok\":{\"log_id\":" LOGID(1, ID1, 3) ",\"data\":{\"value\":\"v\"},"
                                                  "\"membership\":null}}");
    check(f, "POST", "/write", "{\"Delete\":{\"key\":\"k\"}}", 200,
          "{\"Ok\":{\"log_id\":" LOGID(1, ID1, 4) ",\"data\":{\"value\":null},"
                                                  "\"membership\":null}}");
    check(f, "POST", "/write",
          " {\"Batch\" : [{\"Set\":{\"value\":\"1\",\"key\":\"a\"}},{\"Delete\":{\"key\":\"a\"}},"
          "{\"Delete\":{\"key\":\"b\"}},{\"Set\":{\"key\":\"b\",\"value\":\"\"}}]}\n",
          200,
          "{\"Ok\":{\"log_id\":" LOGID(1, ID1, 5) ",\"data\":{\"value\":[\"1\",\"1\",null,\"\"]},"
                                                  "\"membership\":null}}");
    check(f, "POST", "/read", "\"b\"", 200, "{\"Ok\":\"\"}");
    check(f, "POST", "/read", "\"a\"", 404, "{\"Err\":\"KeyNotFound\"}");
}

static void test_write_text_of_all_kinds_comes_back_unchanged(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(call(f, "POST", "/write",
                          "{\"Set\":{\"key\":\"a\\u0000b\",\"value\":\"x\\u0000\\ud83d\\ude00"
                          "\xe2\x82\xac\\\"\\\\\\n\"}}"),
                     200);
    check(f, "POST", "/read", "\"a\\u0000b\"", 200,
          "{\"Ok\":\"x\\u0000\xf0\x9f\x98\x80\xe2\x82\xac\\\"\\\\\\n\"}");
    check(f, "POST", "/read", "\"a\"", 404, "{\"Err\":\"KeyNotFound\"}");
    check(f, "POST", "/write",
          "{\"\\u0042atch\":[{\"Set\":{\"ke\\u0079\":\"\\u00e9\",\"value\":\"\\/1\"}},"
          "{\"Set\":{\"value\":\"\\ud83d\\ude00\",\"key\":\"b\"}},"
          "{\"Delete\":{\"key\":\"\xc3\xa9\"}}]}",
          200,
          "{\"Ok\":{\"log_id\":" LOGID(
              1, ID1, 3) ",\"data\":{\"value\":[\"/1\",\"\xf0\x9f\x98\x80\",\"/1\"]},"
                         "\"membership\":null}}");
    check(f, "POST", "/read", "\"\\u0062\"", 200, "{\"Ok\":\"\xf0\x9f\x98\x80\"}");
}

static void test_value_not_utf8_is_told_and_never_garbled(void **state)
{
    struct fixture *f = *state;
    stub_node_put(f->node, "k", "\xff\x00z", 3);
    check(f, "POST", "/read", "\"k\"", 422, "{\"Err\":\"NotUtf8\"}");
    assert_int_equal(call(f, "POST", "/write", "{\"Delete\":{\"key\":\"k\"}}"), 200);
    assert_non_null(strstr(body_of(f), "\"data\":{\"value\":{\"value_b64\":\"/wB6\"}}"));
}

static void test_headers_name_node_leader_and_request(void **state)
{
    struct fixture *f = *state;
    static const char *const mine[] = {"X-Request-Id: abc-123_X.y", NULL};
    static const char *const bad[] = {"X-Request-Id: a b\"", NULL};
    char first[100];
    call(f, "GET", "/get-id", NULL);
    assert_string_equal(header_of(f, "X-Crabcluster-Node"), ID1);
    assert_null(header_of(f, "X-Crabcluster-Leader"));
    snprintf(first, sizeof first, "%s", header_of(f, "X-Request-Id"));
    assert_int_equal(strlen(first), 16);
    stub_node_set_leader(f->node, uuid_of(ID2));
    call(f, "GET", "/nothing", NULL);
    assert_string_equal(header_of(f, "X-Crabcluster-Leader"), ID2);
    assert_string_not_equal(header_of(f, "X-Request-Id"), first);
    call_bytes(f, "GET", "/get-id", NULL, 0, mine);
    assert_string_equal(header_of(f, "X-Request-Id"), "abc-123_X.y");
    call_bytes(f, "GET", "/get-id", NULL, 0, bad);
    assert_int_equal(strlen(header_of(f, "X-Request-Id")), 16);
}

static void test_init_and_get_id(void **state)
{
    struct fixture *f = *state;
    check(f, "GET", "/get-id", NULL, 200, "\"" ID1 "\"");
    check(f, "POST", "/init", "", 200, "{\"Ok\":\"Initialized\"}");
    check(f, "GET", "/init", NULL, 200, "{\"Ok\":\"Initialized\"}");
    check(f, "POST", "/init", "{}", 200, "{\"Ok\":\"Initialized\"}");
    assert_int_equal(stub_node_count(f->node, NODE_INIT), 3);
    assert_int_equal(call(f, "POST", "/init", "[\"x\"]"), 400);
    struct node_request ret = {.ret.admin = {.log_id = {7, 3, uuid_of(ID2)},
                                             .term = 4,
                                             .vote = uuid_of(ID3),
                                             .vote_committed = true}};
    stub_node_script(f->node, NODE_INIT, ERR_NOT_ALLOWED, &ret);
    check(f, "POST", "/init", "", 409,
          "{\"Err\":{\"APIError\":{\"NotAllowed\":{\"last_log_id\":" LOGID(
              3, ID2, 7) ",\"vote\":{\"term\":4,\"node_id\":\"" ID3 "\",\"committed\":true}}}}}");
    memset(&ret, 0, sizeof ret);
    stub_node_script(f->node, NODE_INIT, ERR_NOT_ALLOWED, &ret);
    check(f, "GET", "/init", NULL, 409,
          "{\"Err\":{\"APIError\":{\"NotAllowed\":{\"last_log_id\":null,"
          "\"vote\":{\"term\":0,\"node_id\":null,\"committed\":false}}}}}");
}

static void test_init_head_only_asks(void **state)
{
    struct fixture *f = *state;
    struct node_status status = {.id = uuid_of(ID1)};
    stub_node_set_status(f->node, &status);
    assert_int_equal(call(f, "HEAD", "/init", NULL), 200);
    status.n_members = 1;
    stub_node_set_status(f->node, &status);
    assert_int_equal(call(f, "HEAD", "/init", NULL), 409);
    assert_int_equal(stub_node_count(f->node, NODE_INIT), 0);
}

static void test_add_learner_answers_and_errors(void **state)
{
    struct fixture *f = *state;
    const char *body = "[\"" ID2 "\",\"127.0.0.1:8081\"]";
    struct node_request ret = {.ret.admin = {.found = uuid_of(ID3), .cluster = uuid_of(ID1)}};
    check(f, "POST", "/add-learner", body, 200, "{\"Ok\":\"Added\"}");
    struct node_request last = stub_node_last(f->node, NODE_ADD_LEARNER);
    assert_true(uuid_equal(last.in.add_learner.id, uuid_of(ID2)));
    assert_string_equal(last.in.add_learner.addr, "127.0.0.1:8081");
    stub_node_script(f->node, NODE_ADD_LEARNER, ERR_UNREACHABLE, &ret);
    check(f, "POST", "/add-learner", body, 502,
          "{\"Err\":{\"APIError\":{\"NetworkError\":\"127.0.0.1:8081 cannot be reached\"}}}");
    stub_node_script(f->node, NODE_ADD_LEARNER, ERR_ID_MISMATCH, &ret);
    check(f, "POST", "/add-learner", body, 409,
          "{\"Err\":{\"APIError\":{\"IdMismatch\":{\"expected\":\"" ID2 "\",\"found\":\"" ID3
          "\"}}}}");
    stub_node_script(f->node, NODE_ADD_LEARNER, ERR_CLUSTER_MISMATCH, &ret);
    check(f, "POST", "/add-learner", body, 409,
          "{\"Err\":{\"APIError\":{\"ClusterMismatch\":{\"expected\":\"" ID1 "\",\"found\":\"" ID3
          "\"}}}}");
    ret.ret.admin.log_id = (struct node_log_id){9, 2, uuid_of(ID1)};
    stub_node_script(f->node, NODE_ADD_LEARNER, ERR_IN_PROGRESS, &ret);
    check(f, "POST", "/add-learner", body, 409,
          "{\"Err\":{\"APIError\":{\"ChangeMembershipError\":{\"InProgress\":{\"membership_log_"
          "id\":" LOGID(2, ID1, 9) "}}}}}");
    stub_node_script(f->node, NODE_ADD_LEARNER, ERR_TOO_LARGE, NULL);
    check(f, "POST", "/add-learner", body, 409,
          "{\"Err\":{\"APIError\":{\"ChangeMembershipError\":{\"TooManyMembers\":{\"max\":32}}}}}");
    stub_node_script(f->node, NODE_ADD_LEARNER, ERR_TIMEOUT, NULL);
    check(f, "POST", "/add-learner", body, 504, "{\"Err\":{\"APIError\":\"Timeout\"}}");
}

#define CHANGE_ERROR "{\"Err\":{\"APIError\":{\"ChangeMembershipError\":"

static void test_change_membership_answers_and_errors(void **state)
{
    struct fixture *f = *state;
    const char *body = "[\"" ID1 "\",\"" ID2 "\"]";
    struct node_request ret = {
        .ret.admin = {.id = uuid_of(ID2), .distance = 77, .log_id = {9, 2, uuid_of(ID1)}}};
    check(f, "POST", "/change-membership", body, 200, "{\"Ok\":\"Changed\"}");
    struct node_request last = stub_node_last(f->node, NODE_CHANGE_MEMBERSHIP);
    assert_int_equal(last.in.change_membership.n_ids, 2);
    assert_true(uuid_equal(last.in.change_membership.ids[1], uuid_of(ID2)));
    check(f, "POST", "/change-membership", "[]", 400, CHANGE_ERROR "\"EmptyMembership\"}}}");
    stub_node_script(f->node, NODE_CHANGE_MEMBERSHIP, ERR_NOT_FOUND, &ret);
    check(f, "POST", "/change-membership", body, 404,
          CHANGE_ERROR "{\"LearnerNotFound\":{\"node_id\":\"" ID2 "\"}}}}}");
    stub_node_script(f->node, NODE_CHANGE_MEMBERSHIP, ERR_LAGGING, &ret);
    check(f, "POST", "/change-membership", body, 409,
          CHANGE_ERROR "{\"LearnerIsLagging\":{\"node_id\":\"" ID2 "\",\"distance\":77}}}}}");
    stub_node_script(f->node, NODE_CHANGE_MEMBERSHIP, ERR_IN_PROGRESS, &ret);
    check(f, "POST", "/change-membership", body, 409,
          CHANGE_ERROR "{\"InProgress\":{\"membership_log_id\":" LOGID(2, ID1, 9) "}}}}}");
    stub_node_script(f->node, NODE_CHANGE_MEMBERSHIP, ERR_EMPTY, &ret);
    check(f, "POST", "/change-membership", body, 400, CHANGE_ERROR "\"EmptyMembership\"}}}");
}

struct node_error {
    int err;
    long status;
    const char *body;
};

static void test_errors_of_the_node_have_their_bodies(void **state)
{
    struct fixture *f = *state;
    static const struct node_error errors[] = {
        {ERR_NO_LEADER, 503,
         "{\"Err\":{\"APIError\":{\"ForwardToLeader\":{\"leader_id\":null,\"leader_node\":null}}}"
         "}"},
        {ERR_UNKNOWN, 504, "{\"Err\":{\"APIError\":\"Timeout\"}}"},
        {ERR_TIMEOUT, 504, "{\"Err\":{\"APIError\":\"Timeout\"}}"},
        {ERR_OVERLOADED, 429, "{\"Err\":{\"APIError\":{\"Overloaded\":"},
        {ERR_SHUTDOWN, 503, "{\"Err\":{\"APIError\":{\"ShuttingDown\":"},
        {ERR_UNINITIALIZED, 503, "{\"Err\":{\"APIError\":{\"Uninitialized\":"},
        {ERR_NO_SPACE, 507, "{\"Err\":{\"APIError\":{\"NoSpace\":"},
        {ERR_IO, 500, "{\"Err\":{\"APIError\":{\"Internal\":"},
    };
    static const struct {
        enum node_request_type type;
        const char *path, *body;
    } requests[] = {
        {NODE_WRITE, "/write", "{\"Set\":{\"key\":\"k\",\"value\":\"v\"}}"},
        {NODE_READ, "/read", "\"k\""},
        {NODE_ADD_LEARNER, "/add-learner", "[\"" ID2 "\",\"h:1\"]"},
        {NODE_CHANGE_MEMBERSHIP, "/change-membership", "[\"" ID2 "\"]"},
    };
    for (unsigned r = 0; r < sizeof requests / sizeof *requests; r++)
        for (unsigned i = 0; i < sizeof errors / sizeof *errors; i++) {
            stub_node_script(f->node, requests[r].type, errors[i].err, NULL);
            long status = call(f, "POST", requests[r].path, requests[r].body);
            if (status != errors[i].status ||
                strncmp(body_of(f), errors[i].body, strlen(errors[i].body)) != 0)
                fail_msg("%s, error %d: %ld %s", requests[r].path, errors[i].err, status,
                         body_of(f));
            if (errors[i].status == 429)
                assert_string_equal(header_of(f, "Retry-After"), "1");
        }
    stub_node_script(f->node, NODE_WRITE, ERR_TOO_LARGE, NULL);
    assert_int_equal(call(f, "POST", requests[0].path, requests[0].body), 413);
}

static void test_uninitialized_node_says_how_to_initialize(void **state)
{
    struct fixture *f = *state;
    char line[200];
    stub_node_script(f->node, NODE_READ, ERR_UNINITIALIZED, NULL);
    call(f, "POST", "/read", "\"k\"");
    snprintf(line, sizeof line, "curl -X POST http://%s/init", f->addr);
    assert_non_null(strstr(body_of(f), line));
    f->options.has_peers = true;
    fixture_restart(f);
    call(f, "POST", "/read", "\"k\"");
    assert_null(strstr(body_of(f), "/init"));
    assert_non_null(strstr(body_of(f), "peers"));
}

static void test_metrics_of_a_node_without_cluster(void **state)
{
    struct fixture *f = *state;
    struct node_status status = {.id = uuid_of(ID1)};
    stub_node_set_status(f->node, &status);
    check(f, "GET", "/metrics", NULL, 200,
          "{\"Ok\":{\"running_state\":{\"Ok\":null},\"id\":\"" ID1
          "\",\"current_term\":0,\"last_log_index\":0,\"last_applied\":null,\"snapshot\":null,"
          "\"state\":\"Learner\",\"current_leader\":null,\"membership_config\":{\"log_id\":null,"
          "\"membership\":{\"configs\":[],\"nodes\":{}}},\"replication\":null}}");
}

static struct node_status joint_status(void)
{
    return (struct node_status){
        .id = uuid_of(ID1),
        .state = NODE_STATE_LEADER,
        .term = 5,
        .last_log_index = 20,
        .commit_index = 19,
        .applied = {18, 4, uuid_of(ID2)},
        .base_index = 6,
        .snapshot = {9, 3, uuid_of(ID3)},
        .leader = uuid_of(ID1),
        .config_id = {12, 4, uuid_of(ID2)},
        .joint = true,
        .n_members = 3,
        .members = {{.id = uuid_of(ID1),
                     .addr = "h:1",
                     .voter_old = true,
                     .matched = {20, 5, uuid_of(ID1)}},
                    {.id = uuid_of(ID2),
                     .addr = "h:2",
                     .voter_old = true,
                     .voter = true,
                     .lag = 7,
                     .send_failures = 11,
                     .rtt_us = 1234,
                     .heard = true,
                     .heard_us_ago = 2000005},
                    {.id = uuid_of(ID3), .addr = "[::1]:3", .learner = true, .lag = 20}},
        .n_keys = 42,
        .memtable_bytes = 4711,
        .figures = {.committed = 1234567890123,
                    .failed = {[-ERR_NO_LEADER] = 3, [-ERR_NOT_FOUND] = 2, [-ERR_IO] = 1},
                    .slow = {[NODE_PHASE_APPLY] = 5},
                    .duration = {[NODE_TOOK_COMMIT] = {{[0] = 1, [3] = 2, [HISTOGRAM_BUCKETS] = 4},
                                                       3000000000001},
                                 [NODE_TOOK_SNAPSHOT_MAKE] = {{[1] = 1}, 200}}},
    };
}

static void test_metrics_of_a_leader_in_a_joint_configuration(void **state)
{
    struct fixture *f = *state;
    struct node_status status = joint_status();
    stub_node_set_status(f->node, &status);
    check(f, "GET", "/metrics", NULL, 200,
          "{\"Ok\":{\"running_state\":{\"Ok\":null},\"id\":\"" ID1
          "\",\"current_term\":5,\"last_log_index\":20,\"last_applied\":" LOGID(
              4, ID2,
              18) ","
                  "\"snapshot\":" LOGID(
                      3, ID3,
                      9) ",\"state\":\"Leader\",\"current_leader\":\"" ID1
                         "\",\"membership_config\":{\"log_id\":" LOGID(
                             4, ID2,
                             12) ",\"membership\":{\"configs\":"
                                 "[[\"" ID1 "\",\"" ID2 "\"],[\"" ID2 "\"]],\"nodes\":{\"" ID1
                                 "\":{\"addr\":\"h:1\"},\"" ID2 "\":{\"addr\":\"h:2\"},\"" ID3
                                 "\":{\"addr\":\"[::1]:3\"}}}},\"replication\":{\"" ID1
                                 "\":{\"matched\":" LOGID(5, ID1, 20) "},\"" ID2
                                                                      "\":{\"matched\":null},\"" ID3
                                                                      "\":{\"matched\":null}}}}");
    status.state = NODE_STATE_CANDIDATE;
    stub_node_set_status(f->node, &status);
    call(f, "GET", "/metrics", NULL);
    assert_non_null(strstr(body_of(f), "\"state\":\"Candidate\""));
    assert_non_null(strstr(body_of(f), "\"replication\":null}}"));
}

/* Of joint_status() and the requests of the test. */
static const char *const lines_there[] = {
    "\ncrabcluster_build_info{version=\"1.2.3\"} 1\n",
    "\ncrabcluster_has_leader 1\n",
    "\ncrabcluster_is_leader 1\n",
    "\ncrabcluster_raft_term 5\n",
    "\ncrabcluster_raft_commit_index 19\n",
    "\ncrabcluster_raft_applied_index 18\n",
    "\ncrabcluster_raft_last_log_index 20\n",
    "\ncrabcluster_raft_first_log_index 7\n",
    "\ncrabcluster_raft_snapshot_index 9\n",
    "\ncrabcluster_keys 42\n",
    "\ncrabcluster_memtable_bytes 4711\n",
    "\ncrabcluster_proposals_failed_total{reason=\"no_leader\"} 3\n",
    "\ncrabcluster_proposals_failed_total{reason=\"unknown\"} 0\n",
    "\ncrabcluster_proposals_failed_total{reason=\"other\"} 3\n",
    "\ncrabcluster_slow_requests_total{phase=\"apply\"} 5\n",
    "\ncrabcluster_commit_duration_seconds_bucket{le=\"0.0001\"} 1\n",
    "\ncrabcluster_commit_duration_seconds_bucket{le=\"0.001\"} 3\n",
    "\ncrabcluster_commit_duration_seconds_bucket{le=\"300\"} 3\n",
    "\ncrabcluster_commit_duration_seconds_bucket{le=\"+Inf\"} 7\n",
    "\ncrabcluster_commit_duration_seconds_sum 3000000.000001\n",
    "\ncrabcluster_commit_duration_seconds_count 7\n",
    "\ncrabcluster_snapshot_duration_seconds_bucket{op=\"make\",le=\"0.00025\"} 1\n",
    "\ncrabcluster_snapshot_duration_seconds_sum{op=\"make\"} 0.000200\n",
    "\ncrabcluster_snapshot_duration_seconds_count{op=\"install\"} 0\n",
    "\ncrabcluster_peer_send_failures_total{peer=\"" ID2 "\"} 11\n",
    "\ncrabcluster_peer_send_failures_total{peer=\"" ID3 "\"} 0\n",
    "\ncrabcluster_peer_last_contact_seconds{peer=\"" ID2 "\"} 2.000005\n",
    "\ncrabcluster_peer_rtt_seconds{peer=\"" ID2 "\"} 0.001234\n",
    "\ncrabcluster_peer_lag_entries{peer=\"" ID2 "\"} 7\n",
    "\ncrabcluster_peer_lag_entries{peer=\"" ID3 "\"} 20\n",
    "\ncrabcluster_proposals_committed_total 1234567890123\n",
    "\ncrabcluster_http_requests_total{route=\"/read\",method=\"POST\",code=\"404\"} 2\n",
    "\ncrabcluster_http_requests_total{route=\"other\",method=\"GET\",code=\"404\"} 1\n",
    "\ncrabcluster_http_requests_total{route=\"/write\",method=\"other\",code=\"405\"} 1\n",
    "\ncrabcluster_http_request_duration_seconds_bucket{route=\"/read\",le=\"+Inf\"} 2\n",
    "\ncrabcluster_http_request_duration_seconds_bucket{route=\"/read\",le=\"5\"} 2\n",
    "\ncrabcluster_http_request_duration_seconds_count{route=\"/read\"} 2\n",
    "\ncrabcluster_http_connections ",
    "\ncrabcluster_log_dropped_total 0\n",
    "\nprocess_cpu_seconds_total ",
    "\nprocess_open_fds ",
    "\nprocess_start_time_seconds 1",
};
static const char *const lines_absent[] = {
    "{peer=\"" ID1 "\"}",
    "peer_last_contact_seconds{peer=\"" ID3 "\"}",
    "peer_rtt_seconds{peer=\"" ID3 "\"}",
    "crabcluster_log_bytes",
    "crabcluster_disk_free_bytes",
};

static void test_metrics_as_text_when_accepted(void **state)
{
    struct fixture *f = *state;
    struct node_status status = joint_status();
    static const char *const accepts[][2] = {
        {"Accept: text/plain;version=0.0.4;q=0.5,*/*;q=0.1", NULL},
        {"Accept: application/openmetrics-text; version=1.0.0", NULL},
    };
    stub_node_set_status(f->node, &status);
    call(f, "POST", "/read", "\"k\"");
    call(f, "POST", "/read", "\"k\"");
    call(f, "GET", "/secret-looking-path", NULL);
    call(f, "PATCH", "/write", NULL);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(call_bytes(f, "GET", "/metrics", NULL, 0, accepts[i]), 200);
        assert_string_equal(header_of(f, "Content-Type"),
                            "text/plain; version=0.0.4; charset=utf-8");
        for (unsigned k = 0; k < sizeof lines_there / sizeof *lines_there; k++)
            if (!strstr(body_of(f), lines_there[k]))
                fail_msg("missing:%sin\n%s", lines_there[k], body_of(f));
        assert_null(strstr(body_of(f), "secret"));
        for (unsigned k = 0; k < sizeof lines_absent / sizeof *lines_absent; k++)
            if (strstr(body_of(f), lines_absent[k]))
                fail_msg("there:%s\n%s", lines_absent[k], body_of(f));
    }
}

static void test_metrics_of_what_is_known_elsewhere_or_later(void **state)
{
    struct fixture *f = *state;
    struct node_status status = joint_status();
    static const char *const text[] = {"Accept: text/plain", NULL};
    status.state = NODE_STATE_FOLLOWER;
    status.has_disk = true;
    status.log_bytes = 5000000000;
    status.state_bytes = 12;
    stub_node_set_status(f->node, &status);
    assert_int_equal(call_bytes(f, "GET", "/metrics", NULL, 0, text), 200);
    assert_null(strstr(body_of(f), "crabcluster_peer_lag_entries"));
    assert_null(strstr(body_of(f), "crabcluster_peer_rtt_seconds"));
    assert_non_null(strstr(body_of(f), "\ncrabcluster_log_bytes 5000000000\n"));
    assert_non_null(strstr(body_of(f), "\ncrabcluster_state_bytes 12\n"));
    assert_non_null(strstr(body_of(f), "\ncrabcluster_disk_free_bytes 0\n"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_up, fixture_down)
    const struct CMUnitTest tests[] = {
        TEST(test_write_and_read_answer_as_the_contract_says),
        TEST(test_write_text_of_all_kinds_comes_back_unchanged),
        TEST(test_value_not_utf8_is_told_and_never_garbled),
        TEST(test_headers_name_node_leader_and_request),
        TEST(test_init_and_get_id),
        TEST(test_init_head_only_asks),
        TEST(test_add_learner_answers_and_errors),
        TEST(test_change_membership_answers_and_errors),
        TEST(test_errors_of_the_node_have_their_bodies),
        TEST(test_uninitialized_node_says_how_to_initialize),
        TEST(test_metrics_of_a_node_without_cluster),
        TEST(test_metrics_of_a_leader_in_a_joint_configuration),
        TEST(test_metrics_as_text_when_accepted),
        TEST(test_metrics_of_what_is_known_elsewhere_or_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
