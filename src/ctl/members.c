/* SPDX-License-Identifier: MIT
 * member list, add, remove, promote and demote.
 */
#include "ctl/members.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "ctl/client.h"
#include "ctl/doc.h"
#include "ctl/handlers.h"
#include "ctl/table.h"

/* ---- who is meant ---- */

static int match(struct json_object *doc, const char *text, char ret_id[UUID_TEXT_LEN + 1])
{
    unsigned n = 0;
    size_t len = strlen(text);
    for (size_t i = 0; i < doc_count(doc, "members"); i++) {
        struct json_object *m = doc_element(doc, "members", i);
        const char *id = doc_text(m, "id"), *addr = doc_text(m, "addr");
        bool named = addr && strcmp(addr, text) == 0;
        if (!id || !(named || (len >= 4 && strncmp(id, text, len) == 0)))
            continue;
        snprintf(ret_id, UUID_TEXT_LEN + 1, "%s", id);
        n++;
    }
    if (n == 0)
        return ctl_fail(CTL_NOT_FOUND, "no member has the id or address %s", text);
    return n == 1 ? CTL_OK : ctl_fail(CTL_USAGE, "%s is the beginning of several ids", text);
}

int member_find(const struct ctl *c, const char *text, char ret_id[UUID_TEXT_LEN + 1])
{
    struct uuid id;
    struct request r;
    struct answer a = {0};
    if (uuid_parse_text(text, strlen(text), &id) == 0) {
        uuid_format(id, ret_id);
        return CTL_OK;
    }
    request_init(&r, "GET", REQUEST_READ, "/v1/members");
    int status = client_ask(c, &r, &a);
    if (status == CTL_OK) {
        struct json_object *doc = doc_parse(a.body.data, a.body.len);
        status = match(doc, text, ret_id);
        json_object_put(doc);
    }
    answer_free(&a);
    request_free(&r);
    return status;
}

const char *member_role(struct json_object *m)
{
    if (doc_bool(m, "leader"))
        return "leader";
    if (doc_bool(m, "becomes_voter"))
        return "learner, votes when it has caught up";
    return doc_text_or(m, "role", "-");
}

/* ---- list ---- */

static void print_members(const struct ctl *c, struct json_object *doc)
{
    struct table *t = table_new("ID|ADDRESS|ROLE");
    for (size_t i = 0; i < doc_count(doc, "members"); i++) {
        struct json_object *m = doc_element(doc, "members", i);
        table_cell(t, TABLE_PLAIN, "%s", doc_text_or(m, "id", "-"));
        table_cell(t, TABLE_PLAIN, "%s", doc_text_or(m, "addr", "-"));
        table_cell(t, TABLE_PLAIN, "%s", member_role(m));
    }
    table_print(t, c->color, stdout);
    table_free(&t);
}

int member_list(struct ctl *c)
{
    struct request r;
    struct answer a = {0};
    request_init(&r, "GET", REQUEST_READ, "/v1/members");
    int status = client_send(c, &r, &a);
    struct json_object *doc = status == CTL_OK ? doc_parse(a.body.data, a.body.len) : NULL;
    if (status == CTL_OK && c->json)
        doc_print(doc);
    else if (status == CTL_OK)
        print_members(c, doc);
    json_object_put(doc);
    answer_free(&a);
    request_free(&r);
    return status;
}

/* ---- changes ---- */

/* What was done; or what goes on without us, when the answer says so. */
static void tell(const struct ctl *c, const struct answer *a, const char *who, const char *done)
{
    struct json_object *doc = doc_parse(a->body.data, a->body.len);
    const char *message = doc_text(doc, "message");
    if (c->json)
        doc_print(doc);
    else
        ctl_say(c, "%s%s %s", who, message ? ":" : "", message ? message : done);
    json_object_put(doc);
}

/* Sends r and says that it was done. */
static int change(struct ctl *c, struct request *r, const char *who, const char *done)
{
    struct answer a = {0};
    r->slow = true; /* until the node has caught up, or the new configuration is committed */
    int status = client_send(c, r, &a);
    if (status == CTL_OK)
        tell(c, &a, who, done);
    answer_free(&a);
    request_free(r);
    return status;
}

int member_add(struct ctl *c)
{
    struct request r;
    struct json_object *doc = json_object_new_object();
    bool learner = args_has(c->args, FLAG_LEARNER);
    doc_add_text(doc, "addr", c->args->words[0]);
    doc_add_text(doc, "role", learner ? "learner" : "voter");
    request_init(&r, "POST", REQUEST_UNSAFE, "/v1/members");
    request_header(&r, "Content-Type: application/json");
    r.body = json_object_to_json_string_ext(doc, JSON_C_TO_STRING_PLAIN |
                                                     JSON_C_TO_STRING_NOSLASHESCAPE);
    r.body_len = strlen(r.body);
    int status = change(c, &r, c->args->words[0], learner ? "is a learner" : "was added");
    json_object_put(doc);
    return status;
}

/* METHOD /v1/members/ID followed by `what`. */
static int change_one(struct ctl *c, const char *method, const char *what, const char *done)
{
    char id[UUID_TEXT_LEN + 1], path[UUID_TEXT_LEN + 40];
    struct request r;
    int status = member_find(c, c->args->words[0], id);
    if (status != CTL_OK)
        return status;
    snprintf(path, sizeof path, "/v1/members/%s%s", id, what);
    request_init(&r, method, REQUEST_UNSAFE, path);
    return change(c, &r, c->args->words[0], done);
}

int member_remove(struct ctl *c)
{
    return change_one(c, "DELETE", "", "was removed");
}

int member_promote(struct ctl *c)
{
    return change_one(c, "POST", "/promote", "is a voter");
}

int member_demote(struct ctl *c)
{
    return change_one(c, "POST", "/demote", "is a learner");
}
