/* SPDX-License-Identifier: MIT
 * snapshot save, status and restore. A node gives the backup; verifying and
 * restoring one is the daemon's work, which knows its format.
 */
#include "ctl/handlers.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "ctl/client.h"
#include "ctl/daemon.h"
#include "ctl/doc.h"
#include "ctl/output.h"
#include "ctl/progress.h"
#include "ctl/text.h"

/* ---- save ---- */

struct save {
    struct output out;
    struct answer answer;
    struct progress progress;
    uint64_t n_bytes;
};

static int take(void *ctx, const void *p, size_t len)
{
    struct save *s = ctx;
    if (output_write(&s->out, p, len) < 0)
        return ERR_IO;
    s->n_bytes += len;
    progress_bytes(&s->progress, s->n_bytes, s->answer.size);
    return 0;
}

static void tell_saved(const struct ctl *c, const struct save *s, const char *file)
{
    struct json_object *doc = json_object_new_object();
    struct buf size = BUF_INIT;
    text_bytes((double)s->n_bytes, &size);
    doc_add_text(doc, "file", file);
    doc_add_number(doc, "bytes", s->n_bytes);
    doc_add_number(doc, "revision", s->answer.revision);
    if (c->json && s->out.file != stdout)
        doc_print(doc);
    else
        ctl_say(c, "%s: %s, revision %" PRIu64, file, buf_str(&size), s->answer.revision);
    json_object_put(doc);
    buf_free(&size);
}

int snapshot_save(struct ctl *c)
{
    const char *file = c->args->words[0];
    struct save s = {.n_bytes = 0};
    struct request r;
    request_init(&r, "GET", REQUEST_READ, "/v1/snapshot");
    r.slow = true;
    r.sink = take, r.ctx = &s;
    if (client_prints(c)) {
        int printed = client_send(c, &r, &s.answer);
        request_free(&r);
        return printed;
    }
    int status = output_open(&s.out, file, args_has(c->args, FLAG_FORCE));
    if (status == CTL_OK) {
        progress_start(&s.progress, c->progress, "snapshot save");
        status = client_send(c, &r, &s.answer);
        progress_end(&s.progress);
        status = output_close(&s.out, status);
    }
    if (status == CTL_OK)
        tell_saved(c, &s, file);
    answer_free(&s.answer);
    request_free(&r);
    return status;
}

/* ---- status ---- */

static const struct {
    const char *name, *label;
} fields[] = {{"cluster", "cluster"},
              {"last-term", "term"},
              {"last-index", "revision"},
              {"keys", "keys"},
              {"bytes", "bytes"},
              {"file-bytes", "file bytes"},
              {"digest", "digest (CRC-32C)"}};

static void print_json(const struct daemon_call *d, const char *file)
{
    static const char *const names[] = {"cluster", "term",       "revision", "keys",
                                        "bytes",   "file_bytes", "digest"};
    struct json_object *doc = json_object_new_object();
    doc_add_text(doc, "file", file);
    for (unsigned i = 0; i < sizeof fields / sizeof *fields; i++) {
        char *value = daemon_line(d, fields[i].name, 0);
        bool is_text = i == 0 || i == 6;
        if (is_text || !value)
            doc_add_text(doc, names[i], value);
        else
            doc_add_number(doc, names[i], strtoull(value, NULL, 10));
        mem_free(value);
    }
    doc_print(doc);
    json_object_put(doc);
}

static void print_plain(const struct daemon_call *d)
{
    for (unsigned i = 0; i < sizeof fields / sizeof *fields; i++) {
        char *value = daemon_line(d, fields[i].name, 0);
        printf("%-17s %s\n", fields[i].label, value ? value : "");
        mem_free(value);
    }
}

int snapshot_status(struct ctl *c)
{
    const char *file = c->args->words[0];
    struct daemon_call d;
    int status = daemon_find(c, &d);
    if (status != CTL_OK)
        return status;
    daemon_arg(&d, "--config", "/dev/null");
    daemon_arg(&d, "--recover", NULL);
    daemon_arg(&d, "--restore", file);
    status = daemon_run(&d);
    if (status != CTL_OK)
        ctl_fail(CTL_FAILURE, "%s", buf_str(&d.said));
    else if (c->json)
        print_json(&d, file);
    else
        print_plain(&d);
    daemon_free(&d);
    return status;
}

/* ---- restore ---- */

int snapshot_restore(struct ctl *c)
{
    struct daemon_call d;
    int status = daemon_find(c, &d);
    if (status != CTL_OK)
        return status;
    daemon_pass_flags(&d, c->args);
    if (args_has(c->args, FLAG_DATA_DIR))
        daemon_arg(&d, "--data-dir", c->args->value[FLAG_DATA_DIR]);
    daemon_arg(&d, "--restore", c->args->words[0]);
    status = daemon_run(&d);
    if (status == CTL_OK && d.out.len > 0)
        ctl_say(c, "%.*s", (int)d.out.len - 1, (const char *)d.out.data);
    else if (status != CTL_OK)
        ctl_fail(CTL_FAILURE, "%s", buf_str(&d.said));
    daemon_free(&d);
    return status;
}
