/* SPDX-License-Identifier: MIT */
#include "ctl/request.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/limits.h"
#include "base/mem.h"
#include "ctl/commands.h"
#include "ctl/ctl.h"
#include "ctl/text.h"

/* Different for each command that is started; not secret. */
static void make_once(char out[REQUEST_ONCE_MAX])
{
    uint64_t random[2];
    if (getrandom(random, sizeof random, 0) != sizeof random) {
        random[0] = clock_now_us();
        random[1] = (uintptr_t)out;
    }
    snprintf(out, REQUEST_ONCE_MAX, "ctl-%016" PRIx64 "%016" PRIx64, random[0], random[1]);
}

void request_init(struct request *r, const char *method, enum request_repeat repeat,
                  const char *path)
{
    *r = (struct request){.method = method, .repeat = repeat};
    buf_append_str(&r->target, path);
    if (repeat == REQUEST_ONCE)
        make_once(r->once);
}

void request_free(struct request *r)
{
    buf_free(&r->target);
    for (unsigned i = 0; i < r->n_headers; i++)
        mem_free(r->headers[i]);
    r->n_headers = 0;
}

void request_key(struct request *r, const void *key, size_t len)
{
    buf_append_str(&r->target, "/v1/kv/");
    text_percent(key, len, true, &r->target);
}

void request_query(struct request *r, const char *name, const void *value, size_t len)
{
    bool first = !memchr(r->target.data, '?', r->target.len);
    buf_printf(&r->target, "%s%s=", first ? "?" : "&", name);
    text_percent(value, len, true, &r->target);
}

void request_query_str(struct request *r, const char *name, const char *value)
{
    request_query(r, name, value, strlen(value));
}

void request_header(struct request *r, const char *fmt, ...)
{
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (r->n_headers < REQUEST_HEADERS_MAX)
        r->headers[r->n_headers++] = mem_strdup(line);
}

bool request_is_content_type(const char *text)
{
    size_t len = strlen(text);
    for (const char *p = text; *p; p++)
        if (*p < ' ' || *p > '~')
            return false;
    return len > 0 && len <= LIMIT_CONTENT_TYPE_BYTES;
}

int request_read_flags(struct request *r, const struct args *args)
{
    static const char *const words[] = {"linearizable", "lease", "stale"};
    const char *word = args->value[FLAG_CONSISTENCY];
    uint64_t revision;
    if (args_count(args, FLAG_MIN_REVISION, 1, UINT64_MAX, 0, &revision) < 0)
        return ERR_INVALID;
    if (word && strcmp(word, words[0]) != 0 && strcmp(word, words[1]) != 0 &&
        strcmp(word, words[2]) != 0) {
        ctl_fail(CTL_USAGE, "--consistency: '%s' is not known; write linearizable, lease or stale",
                 word);
        return ERR_INVALID;
    }
    if (word)
        request_query_str(r, "consistency", word);
    if (revision > 0)
        request_query_str(r, "min_revision", args->value[FLAG_MIN_REVISION]);
    return 0;
}

/* ---- the line for curl ---- */

/* It takes segments of one or two dots out of a path unless told not to. */
static bool has_dot_segments(const char *target)
{
    for (const char *p = strchr(target, '/'); p; p = strchr(p + 1, '/')) {
        size_t len = strcspn(p + 1, "/?");
        if ((len == 1 || len == 2) && strspn(p + 1, ".") >= len)
            return true;
    }
    return false;
}

static void put_header(struct buf *out, const char *line)
{
    buf_append_str(out, " -H ");
    text_shell(line, out);
}

/* Bytes that no word of a shell can hold go through base64. */
static void put_body(const struct request *r, struct buf *out, struct buf *before)
{
    if (r->body_file) {
        buf_append_str(out, " --data-binary ");
        struct buf word = BUF_INIT;
        buf_printf(&word, "@%s", r->body_file);
        text_shell(buf_str(&word), out);
        buf_free(&word);
        return;
    }
    if (memchr(r->body, '\0', r->body_len) || !text_is_utf8(r->body, r->body_len)) {
        buf_append_str(before, "printf %s ");
        text_base64(r->body, r->body_len, before);
        buf_append_str(before, " | base64 -d | ");
        buf_append_str(out, " --data-binary @-");
        return;
    }
    char *text = mem_zalloc(r->body_len + 1);
    memcpy(text, r->body, r->body_len);
    buf_append_str(out, " --data-raw ");
    text_shell(text, out);
    mem_free(text);
}

void request_curl_line(const struct request *r, const char *base, struct buf *out)
{
    struct buf target = BUF_INIT, url = BUF_INIT, line = BUF_INIT;
    buf_append(&target, r->target.data, r->target.len);
    buf_printf(&url, "%s%s", base, buf_str(&target));
    buf_append_str(&line, "curl -sS -g");
    if (has_dot_segments(buf_str(&target)))
        buf_append_str(&line, " --path-as-is");
    if (strcmp(r->method, r->body || r->body_file ? "POST" : "GET") != 0)
        buf_printf(&line, " -X %s", r->method);
    for (unsigned i = 0; i < r->n_headers; i++)
        put_header(&line, r->headers[i]);
    if (r->repeat == REQUEST_ONCE) /* a new one each time the line is used */
        buf_append_str(&line, " -H \"Idempotency-Key: $(cat /proc/sys/kernel/random/uuid)\"");
    if (r->body || r->body_file)
        put_body(r, &line, out);
    buf_append_str(&line, " ");
    text_shell(buf_str(&url), &line);
    buf_append(out, line.data, line.len);
    buf_free(&target);
    buf_free(&url);
    buf_free(&line);
}

/* ---- answers ---- */

void answer_free(struct answer *a)
{
    buf_free(&a->body);
    MEM_FREE(a->content_type);
}

static bool is_header(const char *line, size_t len, const char *name, const char **ret_value)
{
    size_t n = strlen(name);
    if (len <= n || line[n] != ':' || strncasecmp(line, name, n) != 0)
        return false;
    line += n + 1;
    line += strspn(line, " \t");
    *ret_value = line;
    return true;
}

void answer_header(struct answer *a, const char *p, size_t len)
{
    char line[1024];
    const char *value;
    len = len < sizeof line ? len : sizeof line - 1;
    memcpy(line, p, len);
    line[len] = '\0';
    line[strcspn(line, "\r\n")] = '\0';
    if (is_header(line, len, "Content-Type", &value)) {
        mem_free(a->content_type);
        a->content_type = mem_strdup(value);
    } else if (is_header(line, len, "X-Crabcluster-Revision", &value)) {
        a->revision = strtoull(value, NULL, 10);
    } else if (is_header(line, len, "X-Crabcluster-Create-Revision", &value)) {
        a->create_revision = strtoull(value, NULL, 10);
    } else if (is_header(line, len, "X-Crabcluster-Version", &value)) {
        a->version = strtoull(value, NULL, 10);
    } else if (is_header(line, len, "Content-Length", &value)) {
        a->size = strtoull(value, NULL, 10);
    }
}
