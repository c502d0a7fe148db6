/* SPDX-License-Identifier: MIT
 * export: the node's own lines, one for each key, all of one revision. import
 * reads them; so does anything that reads JSON.
 */
#include "ctl/handlers.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ctl/client.h"
#include "ctl/ctl.h"
#include "ctl/doc.h"
#include "ctl/lines.h"
#include "ctl/output.h"
#include "ctl/progress.h"
#include "ctl/text.h"

struct export
{
    struct output out;
    struct progress progress;
    uint64_t n_keys, n_bytes;
};

/* The line that ends a list before its time. */
static int check_line(const char *line, size_t len)
{
    static const char begin[] = "{\"error\"";
    if (len < sizeof begin - 1 || memcmp(line, begin, sizeof begin - 1) != 0)
        return 0;
    struct json_object *doc = doc_parse(line, len);
    const char *error = doc_text(doc_member(doc, "error"), "message");
    ctl_fail(CTL_FAILURE, "the list ended before its end: %s", error ? error : "no reason given");
    json_object_put(doc);
    return ERR_INVALID;
}

static int take_line(void *ctx, const char *line, size_t len)
{
    struct export *e = ctx;
    if (len == 0)
        return 0;
    if (check_line(line, len) < 0 || output_write(&e->out, line, len) < 0 ||
        output_write(&e->out, "\n", 1) < 0)
        return ERR_IO;
    e->n_keys++;
    e->n_bytes += len + 1;
    progress_bytes(&e->progress, e->n_bytes, 0);
    return 0;
}

static int receive(struct ctl *c, struct export *e, struct request *r)
{
    struct lines lines = {.take = take_line, .ctx = e};
    struct answer a = {0};
    r->sink = lines_feed, r->ctx = &lines;
    progress_start(&e->progress, c->progress, "export");
    int status = client_send(c, r, &a);
    if (lines_end(&lines) < 0 && status == CTL_OK)
        status = CTL_FAILURE;
    progress_end(&e->progress);
    answer_free(&a);
    return status;
}

int export_run(struct ctl *c)
{
    const char *prefix = c->args->value[FLAG_PREFIX];
    struct export e = {.n_keys = 0};
    struct request r;
    struct buf n = BUF_INIT;
    request_init(&r, "GET", REQUEST_READ, "/v1/kv");
    request_query_str(&r, "prefix", prefix ? prefix : "");
    request_header(&r, "Accept: application/x-ndjson");
    int status = CTL_OK;
    if (!client_prints(c))
        status = output_open(&e.out, c->args->n_words > 0 ? c->args->words[0] : "-", true);
    if (status == CTL_OK) {
        status = receive(c, &e, &r);
        if (!client_prints(c))
            status = output_close(&e.out, status);
    }
    if (status == CTL_OK) {
        text_keys(e.n_keys, &n);
        ctl_say(c, "%s", buf_str(&n));
    }
    buf_free(&n);
    request_free(&r);
    return status;
}
