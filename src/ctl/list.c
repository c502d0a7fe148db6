/* SPDX-License-Identifier: MIT
 * ls: the keys in order, line by line as they come.
 */
#include "ctl/handlers.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/client.h"
#include "ctl/ctl.h"
#include "ctl/doc.h"
#include "ctl/key.h"
#include "ctl/lines.h"
#include "ctl/table.h"
#include "ctl/text.h"

struct listing {
    const struct ctl *c;
    struct table *table; /* --long on the way to a table, else NULL */
    struct buf key, shown;
};

static void add_row(struct listing *l, struct json_object *item)
{
    struct buf size = BUF_INIT, value = BUF_INIT;
    bool known = doc_bytes(item, "value", &value) == 0;
    if (known)
        text_bytes((double)value.len, &size);
    table_cell(l->table, TABLE_PLAIN, "%s", buf_str(&l->shown));
    table_cell(l->table, TABLE_PLAIN, "%" PRIu64, doc_number(item, "revision"));
    table_cell(l->table, TABLE_PLAIN, "%" PRIu64, doc_number(item, "create_revision"));
    table_cell(l->table, TABLE_PLAIN, "%" PRIu64, doc_number(item, "version"));
    table_cell(l->table, TABLE_PLAIN, "%s", buf_str(&size));
    buf_free(&size);
    buf_free(&value);
}

static void print_item(struct listing *l, struct json_object *item, const char *name)
{
    buf_clear(&l->key);
    buf_clear(&l->shown);
    if (doc_bytes(item, name, &l->key) < 0)
        return;
    text_visible(l->key.data, l->key.len, &l->shown);
    if (l->table && strcmp(name, "key") == 0)
        add_row(l, item);
    else
        puts(buf_str(&l->shown));
}

static int take_line(void *ctx, const char *line, size_t len)
{
    struct listing *l = ctx;
    struct json_object *item = doc_parse(line, len);
    const char *error = doc_text(doc_member(item, "error"), "message");
    int err = 0;
    if (!item || error) {
        ctl_fail(CTL_FAILURE, "the list ends here: %s", error ? error : "a line is no JSON");
        err = ERR_INVALID;
    } else if (l->c->json) {
        fwrite(line, 1, len, stdout);
        putchar('\n');
    } else {
        print_item(l, item,
                   doc_member(item, "prefix") || doc_member(item, "prefix_b64") ? "prefix" : "key");
    }
    json_object_put(item);
    return err;
}

static int add_flags(struct request *r, const struct args *a)
{
    uint64_t limit;
    if (args_count(a, FLAG_LIMIT, 1, UINT64_MAX, 0, &limit) < 0 || request_read_flags(r, a) < 0)
        return ERR_INVALID;
    if (limit > 0)
        request_query_str(r, "limit", a->value[FLAG_LIMIT]);
    if (args_has(a, FLAG_DELIMITER))
        request_query_str(r, "delimiter", a->value[FLAG_DELIMITER]);
    if (args_has(a, FLAG_REVERSE))
        request_query_str(r, "reverse", "1");
    if (!args_has(a, FLAG_LONG))
        request_query_str(r, "keys_only", "1");
    request_header(r, "Accept: application/x-ndjson");
    return 0;
}

static int read_prefix(const struct ctl *c, struct buf *prefix)
{
    if (c->args->n_words > 0 && c->args->words[0][0])
        return key_word(c, prefix);
    return 0;
}

int key_ls(struct ctl *c)
{
    struct listing l = {.c = c, .key = BUF_INIT, .shown = BUF_INIT};
    struct lines lines = {.take = take_line, .ctx = &l};
    struct request r;
    struct answer a = {0};
    struct buf prefix = BUF_INIT;
    int status = CTL_USAGE;
    if (args_has(c->args, FLAG_LONG) && !c->json)
        l.table = table_new("KEY|>REVISION|>CREATED|>VERSION|>SIZE");
    request_init(&r, "GET", REQUEST_READ, "/v1/kv");
    r.sink = lines_feed, r.ctx = &lines;
    if (read_prefix(c, &prefix) == 0) {
        request_query(&r, "prefix", prefix.data, prefix.len);
        if (add_flags(&r, c->args) == 0)
            status = client_send(c, &r, &a);
    }
    if (lines_end(&lines) < 0 && status == CTL_OK)
        status = CTL_FAILURE;
    if (l.table && status != CTL_PRINTED && status != CTL_USAGE)
        table_print(l.table, c->color, stdout);
    table_free(&l.table);
    answer_free(&a);
    request_free(&r);
    buf_free(&prefix);
    buf_free(&l.key);
    buf_free(&l.shown);
    return status;
}
