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

static const char *or_dash(const char *text)
{
    return text ? text : "-";
}

static void add_member(struct table *t, struct json_object *m, const char *leader)
{
    const char *id = doc_text(m, "id");
    bool leads = id && leader && strcmp(id, leader) == 0;
    struct json_object *contact = doc_member(m, "last_contact_ms");
    table_cell(t, TABLE_PLAIN, "%s", or_dash(id));
    table_cell(t, TABLE_PLAIN, "%s", or_dash(doc_text(m, "addr")));
    table_cell(t, leads ? TABLE_GOOD : TABLE_PLAIN, "%s%s", or_dash(doc_text(m, "role")),
               leads ? ", leader" : "");
    table_cell(t, TABLE_PLAIN, "%s",
               doc_member(m, "lag") ? json_object_get_string(doc_member(m, "lag")) : "-");
    table_cell(t, TABLE_PLAIN, "%s", contact ? json_object_get_string(contact) : "-");
}

static void print_problems(const struct ctl *c, struct json_object *doc)
{
    for (size_t i = 0; i < doc_count(doc, "problems"); i++) {
        struct json_object *p = doc_element(doc, "problems", i);
        printf("%sproblem:%s %s\n", table_color_start(c->color, TABLE_BAD),
               table_color_end(c->color, TABLE_BAD), or_dash(doc_text(p, "message")));
        if (doc_text(p, "fix"))
            printf("    fix: %s\n", doc_text(p, "fix"));
    }
}

static void print_status(const struct ctl *c, struct json_object *doc)
{
    bool healthy = doc_bool(doc, "healthy");
    enum table_color color = healthy ? TABLE_GOOD : TABLE_BAD;
    const char *leader = doc_text(doc, "leader");
    struct table *t = table_new("ID|ADDRESS|ROLE|>LAG|>CONTACT ms");
    printf("%s%s%s, failure tolerance %" PRIu64 "\n", table_color_start(c->color, color),
           healthy ? "healthy" : "unhealthy", table_color_end(c->color, color),
           doc_number(doc, "failure_tolerance"));
    for (size_t i = 0; i < doc_count(doc, "members"); i++)
        add_member(t, doc_element(doc, "members", i), leader);
    table_print(t, c->color, stdout);
    table_free(&t);
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

int leader_show(struct ctl *c)
{
    struct json_object *doc;
    int status = fetch(c, "/v1/members", &doc);
    if (status != CTL_OK)
        return status;
    const char *leader = doc_text(doc, "leader"), *addr = NULL;
    for (size_t i = 0; leader && i < doc_count(doc, "members"); i++) {
        struct json_object *m = doc_element(doc, "members", i);
        const char *id = doc_text(m, "id");
        if (id && strcmp(id, leader) == 0)
            addr = doc_text(m, "addr");
    }
    if (!leader) {
        status = ctl_fail(CTL_UNREACHABLE, "no leader is known");
    } else if (c->json) {
        struct json_object *out = json_object_new_object();
        doc_add_text(out, "id", leader);
        doc_add_text(out, "addr", addr);
        doc_print(out);
        json_object_put(out);
    } else {
        printf("%s %s\n", leader, or_dash(addr));
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
    if (status == CTL_OK && c->json)
        printf("%.*s\n", (int)a.body.len, (const char *)a.body.data);
    else if (status == CTL_OK)
        ctl_say(c, "another node leads now");
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
