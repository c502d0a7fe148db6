/* SPDX-License-Identifier: MIT
 * status, init and leader.
 */
#include "ctl/handlers.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/client.h"
#include "ctl/ctl.h"
#include "ctl/doc.h"
#include "ctl/members.h"
#include "ctl/table.h"

/* Asks for a document; *ret_doc is owned, NULL unless CTL_OK. */
static int fetch(struct ctl *c, const char *path, struct json_object **ret_doc)
{
    struct request r;
    struct answer a = {0};
    *ret_doc = NULL;
    request_init(&r, "GET", REQUEST_READ, path);
    int status = client_send(c, &r, &a);
    if (status == CTL_OK) {
        *ret_doc = doc_parse(a.body.data, a.body.len);
        if (!*ret_doc)
            status = ctl_fail(CTL_FAILURE, "the answer is no JSON");
    }
    answer_free(&a);
    request_free(&r);
    return status;
}

/* ---- status ---- */

/* A number that may not be known. */
static void add_number(struct table *t, struct json_object *m, const char *name)
{
    struct json_object *n = doc_member(m, name);
    table_cell(t, TABLE_PLAIN, "%s", n ? json_object_get_string(n) : "-");
}

static void add_state(struct table *t, struct json_object *m)
{
    struct json_object *alive = doc_member(m, "alive"), *hash = doc_member(m, "state_hash");
    bool known = json_object_is_type(doc_member(hash, "agrees"), json_type_boolean);
    bool dead = alive && !json_object_get_boolean(alive);
    bool differs = known && !doc_bool(hash, "agrees");
    table_cell(t, dead || differs ? TABLE_BAD : TABLE_GOOD, "%s",
               differs  ? "differs"
               : dead   ? "silent"
               : !alive ? "-"
                        : "ok");
}

static void print_members(const struct ctl *c, struct json_object *doc)
{
    struct table *t = table_new("ID|ADDRESS|ROLE|STATE|>LAG|>CONTACT ms|>RTT ms");
    for (size_t i = 0; i < doc_count(doc, "members"); i++) {
        struct json_object *m = doc_element(doc, "members", i);
        table_cell(t, TABLE_PLAIN, "%s", doc_text_or(m, "id", "-"));
        table_cell(t, TABLE_PLAIN, "%s", doc_text_or(m, "addr", "-"));
        table_cell(t, TABLE_PLAIN, "%s", member_role(m));
        add_state(t, m);
        add_number(t, m, "lag");
        add_number(t, m, "last_contact_ms");
        add_number(t, m, "rtt_ms");
    }
    if (doc_count(doc, "members") > 0)
        table_print(t, c->color, stdout);
    table_free(&t);
}

static void print_problems(const struct ctl *c, struct json_object *doc)
{
    for (size_t i = 0; i < doc_count(doc, "problems"); i++) {
        struct json_object *p = doc_element(doc, "problems", i);
        const char *fix = doc_text(p, "fix");
        printf("%sproblem:%s %s\n", table_color_start(c->color, TABLE_BAD),
               table_color_end(c->color, TABLE_BAD), doc_text_or(p, "message", "-"));
        if (fix)
            printf("    fix: %s\n", fix);
    }
}

/* How many voters there are; only a leader knows which of them answer. */
static void print_voters(struct json_object *doc)
{
    struct json_object *voters = doc_member(doc, "voters");
    uint64_t n = doc_number(voters, "configured");
    if (n == 0)
        return;
    if (strcmp(doc_text_or(doc, "view", ""), "leader") == 0)
        printf(": %" PRIu64 " of %" PRIu64 " voters are there, %" PRIu64 " more may be lost",
               doc_number(voters, "alive"), n, doc_number(doc, "failure_tolerance"));
    else
        printf(": without a leader nobody knows which of the %" PRIu64 " voters are there", n);
}

static void print_status(const struct ctl *c, struct json_object *doc)
{
    bool healthy = doc_bool(doc, "healthy");
    enum table_color color = healthy ? TABLE_GOOD : TABLE_BAD;
    printf("%s%s%s", table_color_start(c->color, color), healthy ? "healthy" : "not healthy",
           table_color_end(c->color, color));
    print_voters(doc);
    printf("\n");
    print_members(c, doc);
    print_problems(c, doc);
}

int cluster_status(struct ctl *c)
{
    struct json_object *doc;
    int status = fetch(c, "/v1/status", &doc);
    if (status != CTL_OK)
        return status;
    if (c->json)
        doc_print(doc);
    else
        print_status(c, doc);
    status = doc_bool(doc, "healthy") ? CTL_OK : CTL_UNHEALTHY;
    json_object_put(doc);
    return status;
}

/* ---- leader ---- */

static struct json_object *find_leader(struct json_object *doc)
{
    for (size_t i = 0; i < doc_count(doc, "members"); i++) {
        struct json_object *m = doc_element(doc, "members", i);
        if (doc_bool(m, "leader"))
            return m;
    }
    return NULL;
}

int leader_show(struct ctl *c)
{
    struct json_object *doc;
    int status = fetch(c, "/v1/members", &doc);
    if (status != CTL_OK)
        return status;
    struct json_object *leader = find_leader(doc);
    if (!leader) {
        status = ctl_fail(CTL_UNREACHABLE, "no leader is known");
    } else if (c->json) {
        struct json_object *out = json_object_new_object();
        doc_add_text(out, "id", doc_text(leader, "id"));
        doc_add_text(out, "addr", doc_text(leader, "addr"));
        doc_print(out);
        json_object_put(out);
    } else {
        printf("%s %s\n", doc_text_or(leader, "id", "-"), doc_text_or(leader, "addr", "-"));
    }
    json_object_put(doc);
    return status;
}

int leader_transfer(struct ctl *c)
{
    char id[UUID_TEXT_LEN + 1], body[UUID_TEXT_LEN + 16] = "{}";
    struct request r;
    struct answer a = {0};
    if (c->args->n_words > 0) {
        int status = member_find(c, c->args->words[0], id);
        if (status != CTL_OK)
            return status;
        snprintf(body, sizeof body, "{\"to\":\"%s\"}", id);
    }
    request_init(&r, "POST", REQUEST_UNSAFE, "/v1/leader/transfer");
    request_header(&r, "Content-Type: application/json");
    r.body = body, r.body_len = strlen(body);
    int status = client_send(c, &r, &a);
    if (status == CTL_OK) {
        struct json_object *doc = doc_parse(a.body.data, a.body.len);
        if (c->json)
            doc_print(doc);
        else
            ctl_say(c, "%s leads now", doc_text_or(doc, "leader", "another node"));
        json_object_put(doc);
    }
    answer_free(&a);
    request_free(&r);
    return status;
}

/* ---- init ---- */

/* Of exactly one node: sent to another one as well, it would make two clusters. */
int cluster_init(struct ctl *c)
{
    struct request r;
    struct answer a = {0};
    if (client_n_endpoints(c->client) != 1)
        return ctl_fail(CTL_USAGE, "init makes one node a cluster: name one endpoint");
    request_init(&r, "POST", REQUEST_UNSAFE, "/init");
    int status = client_send(c, &r, &a);
    if (status == CTL_OK)
        ctl_say(c, "%s is a cluster now", client_addr(c->client, 0));
    answer_free(&a);
    request_free(&r);
    return status;
}
