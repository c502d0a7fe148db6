/* SPDX-License-Identifier: MIT
 * api/: the operator's part of /v1, over a stub of the node: what is asked of
 * it, and what its answers become; the probes; the document of it all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include <json-c/json.h>

#include "api/route.h"
#include "api_fixture.h"
#include "base/mem.h"

#define ID1 "11111111-1111-4111-8111-111111111111"
#define ID2 "22222222-2222-4222-8222-222222222222"
#define ID3 "33333333-3333-4333-8333-333333333333"

static struct uuid uuid_of(const char *text)
{
    struct uuid id;
    assert_int_equal(uuid_parse_text(text, UUID_TEXT_LEN, &id), 0);
    return id;
}

static void expect(struct fixture *f, const char *method, const char *path, const char *body,
                   long status, const char *text)
{
    assert_int_equal(call(f, method, path, body), status);
    if (!strstr(body_of(f), text))
        fail_msg("%s %s: got %s, expected %s in it", method, path, body_of(f), text);
}

/* ---- members ---- */

static void test_member_add_asks_for_address_and_role(void **state)
{
    struct fixture *f = *state;
    struct node_request ret = {.ret.admin.id = uuid_of(ID2)};
    stub_node_script(f->node, NODE_MEMBER_ADD, 0, &ret);
    expect(f, "POST", "/v1/members", "{\"addr\":\"localhost:8081\"}", 201,
           "{\"id\":\"" ID2 "\",\"addr\":\"localhost:8081\",\"role\":\"voter\"}");
    struct node_request last = stub_node_last(f->node, NODE_MEMBER_ADD);
    assert_true(last.in.member_add.voter);
    assert_string_equal(last.in.member_add.addr, "localhost:8081");
    expect(f, "POST", "/v1/members", "{\"role\":\"learner\",\"addr\":\"[::1]:8081\"}", 201,
           "\"role\":\"learner\"");
    assert_false(stub_node_last(f->node, NODE_MEMBER_ADD).in.member_add.voter);
}

static void test_member_add_refuses_what_makes_no_sense(void **state)
{
    struct fixture *f = *state;
    static const char *const bodies[] = {
        "",
        "[]",
        "{}",
        "{\"addr\":\"x\"}",
        "{\"addr\":7}",
        "{\"addr\":\"a:1\",\"role\":\"king\"}",
        "{\"addr\":\"a:1\",\"role\":null}",
        "{\"addr\":\"a:1\",\"adr\":\"b:1\"}",
        "{\"addr\":\"a:1\\u0000b\"}",
        "{\"addr\":\"a:1\"",
    };
    for (unsigned i = 0; i < sizeof bodies / sizeof *bodies; i++)
        expect(f, "POST", "/v1/members", bodies[i], 400, "\"code\":\"bad_request\"");
    assert_int_equal(stub_node_count(f->node, NODE_MEMBER_ADD), 0);
}

static void test_member_add_says_why_not(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int err;
        long status;
        const char *code;
    } cases[] = {
        {ERR_UNREACHABLE, 502, "unreachable"},
        {ERR_INVALID, 502, "not_a_node"},
        {ERR_CLUSTER_MISMATCH, 409, "cluster_mismatch"},
        {ERR_INCARNATION_MISMATCH, 409, "incarnation_mismatch"},
        {ERR_EXISTS, 409, "already_member"},
        {ERR_IN_PROGRESS, 409, "change_in_progress"},
        {ERR_TOO_LARGE, 409, "too_many_members"},
        {ERR_NOT_FOUND, 404, "member_not_found"},
        {ERR_NO_LEADER, 503, "no_leader"},
        {ERR_UNKNOWN, 504, "outcome_unknown"},
    };
    struct node_request ret = {.ret.admin = {
                                   .id = uuid_of(ID2),
                                   .found = uuid_of(ID3),
                                   .cluster = uuid_of(ID1),
                               }};
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[64];
        snprintf(text, sizeof text, "{\"error\":{\"code\":\"%s\"", cases[i].code);
        stub_node_script(f->node, NODE_MEMBER_ADD, cases[i].err, &ret);
        expect(f, "POST", "/v1/members", "{\"addr\":\"a:1\"}", cases[i].status, text);
    }
    stub_node_script(f->node, NODE_MEMBER_ADD, ERR_CLUSTER_MISMATCH, &ret);
    expect(f, "POST", "/v1/members", "{\"addr\":\"a:1\"}", 409,
           "\"details\":{\"id\":\"" ID2 "\",\"cluster\":\"" ID1 "\",\"found\":\"" ID3 "\"}");
}

/* What goes on by itself is no failure. */
static void test_member_that_has_not_caught_up_is_accepted(void **state)
{
    struct fixture *f = *state;
    struct node_request ret = {.ret.admin = {.id = uuid_of(ID2), .distance = 77}};
    stub_node_script(f->node, NODE_MEMBER_ADD, ERR_TIMEOUT, &ret);
    expect(f, "POST", "/v1/members", "{\"addr\":\"a:1\"}", 202,
           "{\"id\":\"" ID2 "\",\"role\":\"learner\",\"lag\":77,\"message\":");
    stub_node_script(f->node, NODE_MEMBER_PROMOTE, ERR_TIMEOUT, &ret);
    expect(f, "POST", "/v1/members/" ID2 "/promote", NULL, 202, "\"lag\":77");
}

static void test_member_promote_demote_remove_by_id(void **state)
{
    struct fixture *f = *state;
    struct node_request ret = {.ret.admin.id = uuid_of(ID2)};
    stub_node_script(f->node, NODE_MEMBER_PROMOTE, 0, &ret);
    stub_node_script(f->node, NODE_MEMBER_DEMOTE, 0, &ret);
    stub_node_script(f->node, NODE_MEMBER_REMOVE, 0, &ret);
    expect(f, "POST", "/v1/members/" ID2 "/promote", NULL, 200,
           "{\"id\":\"" ID2 "\",\"role\":\"voter\"}");
    expect(f, "POST", "/v1/members/" ID2 "/demote", NULL, 200,
           "{\"id\":\"" ID2 "\",\"role\":\"learner\"}");
    expect(f, "DELETE", "/v1/members/" ID2, NULL, 200, "{\"id\":\"" ID2 "\",\"removed\":true}");
    assert_true(uuid_equal(stub_node_last(f->node, NODE_MEMBER_REMOVE).in.member.id, uuid_of(ID2)));
    expect(f, "DELETE", "/v1/members/me", NULL, 400, "bad_request");
    expect(f, "DELETE", "/v1/members/" ID2, "{}", 400, "takes no body");
    expect(f, "GET", "/v1/members/" ID2, NULL, 405, "method_not_allowed");
    assert_string_equal(header_of(f, "Allow"), "DELETE");
    expect(f, "POST", "/v1/members/" ID2 "/crown", NULL, 404, "no_such_path");
    assert_int_equal(stub_node_count(f->node, NODE_MEMBER_REMOVE), 1);
}

static void test_vote_that_the_quorum_needs_is_refused_with_figures(void **state)
{
    struct fixture *f = *state;
    struct node_request ret = {.ret.admin = {.id = uuid_of(ID2), .n_voters = 4, .n_alive = 2}};
    stub_node_script(f->node, NODE_MEMBER_REMOVE, ERR_NO_QUORUM, &ret);
    stub_node_script(f->node, NODE_MEMBER_DEMOTE, ERR_EMPTY, &ret);
    expect(f, "DELETE", "/v1/members/" ID2, NULL, 409,
           "\"details\":{\"id\":\"" ID2 "\",\"voters\":4,\"alive\":2,\"quorum\":3}");
    expect(f, "DELETE", "/v1/members/" ID2, NULL, 409,
           "there would be 4 voters, of which 2 answer and 3 are needed");
    expect(f, "DELETE", "/v1/members/" ID2, NULL, 409, "\"code\":\"would_lose_quorum\"");
    expect(f, "POST", "/v1/members/" ID2 "/demote", NULL, 409, "\"code\":\"last_voter\"");
}

static void test_leader_transfer_to_anybody_or_one(void **state)
{
    struct fixture *f = *state;
    static const struct {
        int err;
        long status;
        const char *code;
    } cases[] = {
        {ERR_NOT_ALLOWED, 409, "not_a_voter"}, {ERR_UNREACHABLE, 409, "nobody_to_lead"},
        {ERR_TIMEOUT, 503, "not_transferred"}, {ERR_NOT_FOUND, 404, "member_not_found"},
        {ERR_NO_LEADER, 503, "no_leader"},     {ERR_UNKNOWN, 504, "outcome_unknown"},
    };
    struct node_request ret = {.ret.admin.id = uuid_of(ID3)};
    stub_node_script(f->node, NODE_TRANSFER, 0, &ret);
    expect(f, "POST", "/v1/leader/transfer", NULL, 200, "{\"leader\":\"" ID3 "\"}");
    assert_true(uuid_is_zero(stub_node_last(f->node, NODE_TRANSFER).in.member.id));
    expect(f, "POST", "/v1/leader/transfer", "{}", 200, "\"leader\"");
    expect(f, "POST", "/v1/leader/transfer", "{\"to\":\"" ID3 "\"}", 200, "\"leader\"");
    assert_true(uuid_equal(stub_node_last(f->node, NODE_TRANSFER).in.member.id, uuid_of(ID3)));
    expect(f, "POST", "/v1/leader/transfer", "{\"to\":\"you\"}", 400, "bad_request");
    expect(f, "POST", "/v1/leader/transfer", "{\"to\":1}", 400, "bad_request");
    expect(f, "POST", "/v1/leader/transfer", "{\"too\":\"" ID3 "\"}", 400, "bad_request");
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        stub_node_script(f->node, NODE_TRANSFER, cases[i].err, &ret);
        expect(f, "POST", "/v1/leader/transfer", NULL, cases[i].status, cases[i].code);
    }
}

/* ---- status ---- */

/* Three voters, of which this node is the leader. */
static struct node_status *sample_status(void)
{
    struct node_status *s = mem_zalloc(sizeof *s);
    static const char *const ids[] = {ID1, ID2, ID3};
    s->id = s->leader = uuid_of(ID1);
    s->cluster = (struct uuid){1, 1};
    s->state = NODE_STATE_LEADER;
    s->leader_view = true;
    s->term = 5;
    s->commit_index = 70;
    s->applied.index = 69;
    s->n_members = 3;
    for (unsigned i = 0; i < 3; i++) {
        struct node_member_status *m = &s->members[i];
        m->id = uuid_of(ids[i]);
        snprintf(m->addr, sizeof m->addr, "10.0.0.%u:80", i + 1);
        m->voter = m->alive = m->caught_up = true;
        m->heard = i > 0;
        m->heard_us_ago = 12345;
        m->rtt_us = 1007;
    }
    s->members[1].digest = (struct node_digest){66, 0xabc, NODE_DIGEST_SAME};
    return s;
}

static void expect_status(struct fixture *f, const struct node_status *s, const char *text)
{
    stub_node_set_status(f->node, s);
    expect(f, "GET", "/v1/status", NULL, 200, text);
}

static void test_status_of_a_healthy_cluster_has_no_problems(void **state)
{
    struct fixture *f = *state;
    struct node_status *s = sample_status();
    expect_status(f, s, "{\"healthy\":true,\"cluster\":");
    expect_status(f, s, "\"leader\":\"" ID1 "\",\"view\":\"leader\"");
    expect_status(f, s,
                  "\"term\":5,\"commit_index\":70,\"failure_tolerance\":1,"
                  "\"voters\":{\"configured\":3,\"alive\":3,\"quorum\":2}");
    expect_status(f, s,
                  "{\"id\":\"" ID2 "\",\"addr\":\"10.0.0.2:80\",\"role\":\"voter\","
                  "\"becomes_voter\":false,\"leader\":false,\"alive\":true,\"lag\":0,"
                  "\"last_contact_ms\":12,\"rtt_ms\":1.007,\"state_hash\":{\"index\":66,"
                  "\"hash\":\"0000000000000abc\",\"agrees\":true}}");
    expect_status(f, s, "\"problems\":[]");
    assert_true(stub_node_last(f->node, NODE_STATUS).in.status.of_leader);
    assert_int_equal(call(f, "GET", "/v1/status?consistency=stale", NULL), 200);
    assert_false(stub_node_last(f->node, NODE_STATUS).in.status.of_leader);
    expect(f, "GET", "/v1/members", NULL, 200,
           "{\"id\":\"" ID3 "\",\"addr\":\"10.0.0.3:80\",\"role\":\"voter\","
           "\"becomes_voter\":false,\"leader\":false}]}");
    assert_int_equal(call(f, "GET", "/v1/status?pretty", NULL), 200);
    assert_non_null(strstr(body_of(f), "\n  \"healthy\": true,\n"));
    mem_free(s);
}

static void test_status_names_each_problem_with_its_fix(void **state)
{
    struct fixture *f = *state;
    struct node_status *s = sample_status();
    s->members[2].alive = false;
    expect_status(f, s, "{\"healthy\":false,");
    expect_status(f, s, "\"failure_tolerance\":0");
    expect_status(f, s,
                  "{\"code\":\"member_unreachable\",\"member\":\"" ID3 "\",\"message\":\"the "
                  "voter 10.0.0.3:80 has not answered for 0 s; 2 of 3 voters answer, 2 are "
                  "needed\",\"fix\":\"");
    expect_status(f, s, " member remove " ID3 "\"}]}");
    s->members[2].lost_data = true;
    expect_status(f, s, "\"code\":\"disk_set_back\"");
    s->members[1].digest.compared = NODE_DIGEST_DIFFERS;
    expect_status(f, s, "\"code\":\"state_hash_mismatch\",\"member\":\"" ID2 "\"");
    expect_status(f, s, "\"agrees\":false");
    s->members[1].full = s->full = true;
    expect_status(f, s, "the disk of 10.0.0.2:80 is full, and writes are refused");
    s->members[1].caught_up = false;
    s->members[1].lag = 123;
    expect_status(f, s, "the voter 10.0.0.2:80 lacks 123 entries");
    s->disk_stalled = true;
    expect_status(f, s, "\"code\":\"disk_stalled\"");
    s->id = (struct uuid){9, 9};
    expect_status(f, s, "\"code\":\"not_a_member\"");
    mem_free(s);
}

static void test_status_without_a_leader_says_what_is_not_known(void **state)
{
    struct fixture *f = *state;
    struct node_status *s = sample_status();
    s->leader_view = false;
    expect_status(f, s, "\"code\":\"leader_silent\",\"member\":\"" ID1 "\"");
    /* Who is not asked is not silent. */
    expect(f, "GET", "/v1/status?consistency=stale", NULL, 200, "{\"healthy\":true,");
    expect(f, "GET", "/v1/status?consistency=stale", NULL, 200, "\"problems\":[]");
    s->leader = UUID_ZERO;
    stub_node_set_status(f->node, s);
    expect(f, "GET", "/v1/status?consistency=stale", NULL, 200, "\"code\":\"no_leader\"");
    expect_status(f, s, "\"leader\":null,\"view\":\"node\"");
    expect_status(f, s, "\"alive\":null,\"lag\":null,\"last_contact_ms\":null,\"rtt_ms\":null");
    expect_status(f, s, "\"failure_tolerance\":0");
    expect_status(f, s,
                  "\"code\":\"no_leader\",\"member\":null,\"message\":\"no leader is known "
                  "here: 2 of the 3 voters must answer each other\"");
    mem_free(s);
}

static void test_status_of_a_node_without_cluster_says_how_to_make_one(void **state)
{
    struct fixture *f = *state;
    struct node_status *s = mem_zalloc(sizeof *s);
    expect_status(f, s, "\"code\":\"uninitialized\"");
    expect_status(f, s, " init ;");
    expect_status(f, s, "\"members\":[]");
    expect(f, "GET", "/v1/members", NULL, 503, "\"code\":\"uninitialized\"");
    s->n_forming = 2;
    snprintf(s->forming[0].addr, sizeof s->forming[0].addr, "10.0.0.1:80");
    snprintf(s->forming[1].addr, sizeof s->forming[1].addr, "10.0.0.2:80");
    s->forming[0].is_self = true;
    expect_status(f, s, "\"code\":\"forming\"");
    s->forming[1].err = ERR_UNREACHABLE;
    expect_status(f, s, "\"code\":\"peer_silent\",\"member\":null,\"message\":\"10.0.0.2:80, one ");
    s->forming[1].err = ERR_NOT_ALLOWED;
    expect_status(f, s, "\"code\":\"peer_list_differs\"");
    s->forming[1].err = ERR_EXISTS;
    expect_status(f, s, "\"code\":\"peer_has_cluster\"");
    s->forming[1].err = ERR_IN_PROGRESS;
    expect_status(f, s, "\"code\":\"peer_promised\"");
    s->forming[1].err = ERR_ID_MISMATCH;
    expect_status(f, s, "\"code\":\"peer_twice\"");
    s->outsider = true;
    expect_status(f, s, "\"code\":\"outsider\"");
    mem_free(s);
}

/* In a joint configuration both majorities are needed. */
static void test_failure_tolerance_of_a_joint_configuration_is_the_lesser(void **state)
{
    struct fixture *f = *state;
    struct node_status *s = sample_status();
    s->joint = true;
    s->members[0].voter_old = true; /* from one voter to three */
    expect_status(f, s, "\"failure_tolerance\":0,\"voters\":{\"configured\":1,\"alive\":1,");
    mem_free(s);
}

/* ---- probes, configuration, metrics ---- */

static void test_healthz_needs_no_node_but_a_turning_loop(void **state)
{
    struct fixture *f = *state;
    stub_node_hold(f->node, true);
    expect(f, "GET", "/healthz", NULL, 200, "{\"healthy\":true,\"checks\":{\"process\":\"ok\"}}");
    assert_int_equal(call(f, "HEAD", "/healthz", NULL), 200);
    stub_node_set_stopped(f->node, 60000);
    expect(f, "GET", "/healthz", NULL, 503, "{\"healthy\":false,\"checks\":{\"process\":\"");
    expect(f, "GET", "/readyz", NULL, 503, "{\"ready\":false,\"checks\":{\"process\":\"");
    stub_node_hold(f->node, false);
}

static void test_readyz_is_a_read_and_names_what_fails(void **state)
{
    struct fixture *f = *state;
    expect(f, "GET", "/readyz", NULL, 200,
           "{\"ready\":true,\"checks\":{\"process\":\"ok\",\"cluster\":\"ok\",\"leader\":\"ok\","
           "\"read\":\"ok\"}}");
    assert_int_equal(stub_node_count(f->node, NODE_READ), 1);
    stub_node_script(f->node, NODE_READ, ERR_UNINITIALIZED, NULL);
    expect(f, "GET", "/readyz", NULL, 503, "{\"process\":\"ok\",\"cluster\":\"this node belongs");
    stub_node_script(f->node, NODE_READ, ERR_NO_LEADER, NULL);
    expect(f, "GET", "/readyz", NULL, 503, "\"cluster\":\"ok\",\"leader\":\"no leader");
    stub_node_script(f->node, NODE_READ, ERR_TIMEOUT, NULL);
    expect(f, "GET", "/readyz", NULL, 503, "\"leader\":\"ok\",\"read\":\"the time");
    stub_node_script(f->node, NODE_READ, ERR_SHUTDOWN, NULL);
    expect(f, "GET", "/readyz?timeout=20ms", NULL, 503, "{\"process\":\"this node is shutting");
    expect(f, "GET", "/readyz?wait=1s", NULL, 400, "no query parameter");
}

static void test_config_shows_values_and_origins(void **state)
{
    struct fixture *f = *state;
    static const char *const peers[] = {"a:1", "b:2"}, *const yes[] = {"true"},
                             *const dir[] = {"/x\"y"};
    const struct api_setting settings[] = {
        {"peers", peers, 2, .is_list = true, .origin = "file", .where = "/etc/c:3"},
        {"auto-init", yes, 1, .is_bare = true, .origin = "default", .reloadable = true},
        {"data-dir", dir, 1, .origin = "flag", .where = "--data-dir"},
        {"allowed-origins", NULL, 0, .is_list = true, .origin = "default"},
    };
    api_set_config(f->api, "/etc/c", settings, 1);
    api_set_config(f->api, "/etc/c", settings, 4);
    expect(f, "GET", "/v1/config", NULL, 200,
           "{\"file\":\"/etc/c\",\"options\":{\"peers\":{\"value\":[\"a:1\",\"b:2\"],\"origin\":"
           "\"file\",\"where\":\"/etc/c:3\",\"reloadable\":false},\"auto-init\":{\"value\":true,"
           "\"origin\":\"default\",\"where\":null,\"reloadable\":true},\"data-dir\":{\"value\":"
           "\"/x\\\"y\",\"origin\":\"flag\",\"where\":\"--data-dir\",\"reloadable\":false},"
           "\"allowed-origins\":{\"value\":[],\"origin\":\"default\",\"where\":null,"
           "\"reloadable\":false}}}");
    api_set_config(f->api, NULL, settings, 0);
    expect(f, "GET", "/v1/config", NULL, 200, "{\"file\":null,\"options\":{}}");
}

static void test_v1_metrics_are_prometheus_text_for_anybody(void **state)
{
    struct fixture *f = *state;
    const char *const headers[] = {"Accept: application/json", NULL, NULL};
    assert_int_equal(call_bytes(f, "GET", "/v1/metrics", NULL, 0, headers), 200);
    assert_string_equal(header_of(f, "Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
    assert_non_null(strstr(body_of(f), "\ncrabcluster_raft_term 0\n"));
}

/* ---- the document ---- */

static struct json_object *member(struct json_object *o, const char *name)
{
    struct json_object *value = NULL;
    json_object_object_get_ex(o, name, &value);
    return value;
}

/* Follows a reference within the document. */
static struct json_object *resolve(struct json_object *doc, struct json_object *o)
{
    struct json_object *ref = member(o, "$ref"), *found = NULL;
    if (!ref)
        return o;
    assert_int_equal(json_pointer_get(doc, json_object_get_string(ref) + 1, &found), 0);
    return found;
}

static unsigned documented_query(struct json_object *doc, struct json_object *operation)
{
    struct json_object *parameters = member(operation, "parameters");
    unsigned bits = 0;
    for (size_t i = 0; parameters && i < json_object_array_length(parameters); i++) {
        struct json_object *p = resolve(doc, json_object_array_get_idx(parameters, i));
        const char *name = json_object_get_string(member(p, "name"));
        if (strcmp(json_object_get_string(member(p, "in")), "query") != 0)
            continue;
        unsigned before = bits;
        for (unsigned q = 0; q < QUERY_NAMES; q++)
            if (strcmp(query_name_text((enum query_name)q), name) == 0)
                bits |= 1u << q;
        if (bits == before)
            fail_msg("openapi.json: no route knows a parameter \"%s\"", name);
    }
    return bits;
}

static const char *method_name(enum http_method m)
{
    static const char *const names[] = {
        [HTTP_GET] = "get", [HTTP_POST] = "post", [HTTP_PUT] = "put", [HTTP_DELETE] = "delete"};
    return names[m];
}

/* Every route but those of peers is in the document, with the parameters it takes. */
static unsigned check_routes(struct json_object *doc)
{
    unsigned n = 0;
    for (unsigned i = 0; i < route_table_n; i++) {
        const struct route *r = &route_table[i];
        if (r->peer)
            continue;
        struct json_object *path = member(member(doc, "paths"), r->path);
        struct json_object *operation = path ? member(path, method_name(r->method)) : NULL;
        if (!operation)
            fail_msg("src/api/openapi.json lacks %s %s", http_method_text(r->method), r->path);
        if (documented_query(doc, operation) != (r->query & ~(unsigned)QUERY_LATER))
            fail_msg("%s %s: openapi.json has other query parameters than the route table",
                     http_method_text(r->method), r->path);
        n++;
    }
    return n;
}

static void test_openapi_document_is_the_route_table(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(call(f, "GET", "/v1/openapi.json", NULL), 200);
    struct json_object *doc = json_tokener_parse(body_of(f));
    assert_non_null(doc);
    unsigned n_routes = check_routes(doc), n_operations = 0;
    json_object_object_foreach(member(doc, "paths"), path, operations)
    {
        (void)path;
        n_operations += (unsigned)json_object_object_length(operations);
    }
    assert_int_equal(n_operations, n_routes); /* and nothing else */
    json_object_put(doc);
}

#define TEST(t) cmocka_unit_test_setup_teardown(t, fixture_up, fixture_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_member_add_asks_for_address_and_role),
        TEST(test_member_add_refuses_what_makes_no_sense),
        TEST(test_member_add_says_why_not),
        TEST(test_member_that_has_not_caught_up_is_accepted),
        TEST(test_member_promote_demote_remove_by_id),
        TEST(test_vote_that_the_quorum_needs_is_refused_with_figures),
        TEST(test_leader_transfer_to_anybody_or_one),
        TEST(test_status_of_a_healthy_cluster_has_no_problems),
        TEST(test_status_names_each_problem_with_its_fix),
        TEST(test_status_without_a_leader_says_what_is_not_known),
        TEST(test_status_of_a_node_without_cluster_says_how_to_make_one),
        TEST(test_failure_tolerance_of_a_joint_configuration_is_the_lesser),
        TEST(test_healthz_needs_no_node_but_a_turning_loop),
        TEST(test_readyz_is_a_read_and_names_what_fails),
        TEST(test_config_shows_values_and_origins),
        TEST(test_v1_metrics_are_prometheus_text_for_anybody),
        TEST(test_openapi_document_is_the_route_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
