/* SPDX-License-Identifier: MIT
 * get, put, del and incr. Values go to standard output byte for byte.
 */
#include "ctl/handlers.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "ctl/client.h"
#include "ctl/ctl.h"
#include "ctl/doc.h"
#include "ctl/key.h"
#include "ctl/text.h"

/* ---- get ---- */

static void print_value(const struct ctl *c, const struct buf *key, const struct answer *a)
{
    if (!c->json) {
        if (a->body.len > 0)
            fwrite(a->body.data, 1, a->body.len, stdout);
        return;
    }
    struct json_object *doc = json_object_new_object();
    doc_add_bytes(doc, "key", key->data, key->len);
    doc_add_bytes(doc, "value", a->body.data, a->body.len);
    doc_add_number(doc, "revision", a->revision);
    doc_add_number(doc, "create_revision", a->create_revision);
    doc_add_number(doc, "version", a->version);
    doc_add_text(doc, "content_type", a->content_type);
    doc_print(doc);
    json_object_put(doc);
}

int key_get(struct ctl *c)
{
    struct buf key = BUF_INIT;
    struct request r;
    struct answer a = {0};
    int status = CTL_USAGE;
    request_init(&r, "GET", REQUEST_READ, "");
    if (key_word(c, &key) == 0) {
        request_key(&r, key.data, key.len);
        if (request_read_flags(&r, c->args) == 0)
            status = client_send(c, &r, &a);
    }
    if (status == CTL_OK)
        print_value(c, &key, &a);
    answer_free(&a);
    request_free(&r);
    buf_free(&key);
    return status;
}

/* ---- what is written ---- */

/* The answer of a write: to standard output with --json, else a line of chatter. */
static void print_written(const struct ctl *c, const struct buf *key, const struct answer *a,
                          const char *done)
{
    struct json_object *doc = doc_parse(a->body.data, a->body.len);
    struct buf text = BUF_INIT;
    if (c->json) {
        doc_print(doc);
    } else {
        text_visible(key->data, key->len, &text);
        ctl_say(c, "%s %s, revision %" PRIu64, buf_str(&text),
                doc_bool(doc, "created") ? "created" : done, doc_number(doc, "revision"));
    }
    json_object_put(doc);
    buf_free(&text);
}

static int add_conditions(struct request *r, const struct args *args)
{
    uint64_t revision;
    if (args_count(args, FLAG_IF_REVISION, 1, UINT64_MAX, 0, &revision) < 0)
        return ERR_INVALID;
    if (revision > 0 && args_has(args, FLAG_IF_ABSENT)) {
        ctl_fail(CTL_USAGE, "--if-absent and --if-revision exclude each other");
        return ERR_INVALID;
    }
    if (revision > 0)
        request_header(r, "If-Match: \"%" PRIu64 "\"", revision);
    if (args_has(args, FLAG_IF_ABSENT))
        request_header(r, "If-None-Match: *");
    return 0;
}

/* Sends r, which names the key and has its body, and says what came of it. */
static int write_key(struct ctl *c, struct request *r, const struct buf *key, const char *done)
{
    struct answer a = {0};
    int status = add_conditions(r, c->args) < 0 ? CTL_USAGE : client_send(c, r, &a);
    if (status == CTL_OK)
        print_written(c, key, &a, done);
    answer_free(&a);
    return status;
}

/* ---- put ---- */

static int read_stream(FILE *in, const char *name, struct buf *value)
{
    size_t n;
    do {
        buf_reserve(value, 256 * KIB);
        n = fread(value->data + value->len, 1, 256 * KIB, in);
        value->len += n;
        if (value->len > LIMIT_VALUE_BYTES)
            return ctl_fail(CTL_FAILURE, "%s: a value has at most 64 MiB", name);
    } while (n > 0);
    return ferror(in) ? ctl_fail(CTL_FAILURE, "%s: %s", name, strerror(errno)) : CTL_OK;
}

static int read_file(const char *name, struct buf *value)
{
    FILE *in = fopen(name, "rb");
    if (!in)
        return ctl_fail(CTL_FAILURE, "%s: %s", name, strerror(errno));
    int status = read_stream(in, name, value);
    fclose(in);
    return status;
}

/* The value, unless --curl needs to know only where it comes from. */
static int take_value(const struct ctl *c, struct request *r, struct buf *value)
{
    const char *file = c->args->value[FLAG_FILE];
    bool has_word = c->args->n_words > 1;
    if (file && has_word)
        return ctl_fail(CTL_USAGE, "a value is given as a word or by --file, not both");
    if (has_word)
        buf_append_str(value, c->args->words[1]);
    else if (client_prints(c))
        r->body_file = file ? file : "-";
    else if (file)
        return read_file(file, value);
    else
        return read_stream(stdin, "standard input", value);
    return CTL_OK;
}

static int add_content_type(struct request *r, const struct args *args)
{
    const char *type = args->value[FLAG_CONTENT_TYPE];
    if (type && !request_is_content_type(type)) {
        ctl_fail(CTL_USAGE, "--content-type: it is printable ASCII, at most %d bytes",
                 LIMIT_CONTENT_TYPE_BYTES);
        return ERR_INVALID;
    }
    if (type)
        request_header(r, "Content-Type: %s", type);
    return 0;
}

int key_put(struct ctl *c)
{
    struct buf key = BUF_INIT, value = BUF_INIT;
    struct request r;
    request_init(&r, "PUT", REQUEST_ONCE, "");
    int status = key_word(c, &key) < 0 ? CTL_USAGE : take_value(c, &r, &value);
    if (status == CTL_OK) {
        request_key(&r, key.data, key.len);
        r.body = value.data ? (const void *)value.data : "";
        r.body_len = value.len;
        status = add_content_type(&r, c->args) < 0 ? CTL_USAGE : write_key(c, &r, &key, "replaced");
    }
    request_free(&r);
    buf_free(&key);
    buf_free(&value);
    return status;
}

/* ---- del ---- */

static int del_prefix(struct ctl *c, struct request *r)
{
    const char *prefix = c->args->value[FLAG_PREFIX];
    struct answer a = {0};
    struct buf n = BUF_INIT;
    buf_append_str(&r->target, "/v1/kv");
    request_query_str(r, "prefix", prefix ? prefix : "");
    if (!prefix || !prefix[0])
        request_query_str(r, "confirm", "all");
    int status = client_send(c, r, &a);
    if (status == CTL_OK) {
        struct json_object *doc = doc_parse(a.body.data, a.body.len);
        text_keys(doc_number(doc, "deleted"), &n);
        if (c->json)
            doc_print(doc);
        else
            ctl_say(c, "%s deleted, revision %" PRIu64, buf_str(&n), doc_number(doc, "revision"));
        json_object_put(doc);
    }
    buf_free(&n);
    answer_free(&a);
    return status;
}

static int check_del(const struct args *a)
{
    bool all = args_has(a, FLAG_ALL), prefix = args_has(a, FLAG_PREFIX);
    if ((a->n_words > 0) + all + prefix != 1)
        return ctl_fail(CTL_USAGE, "name a key, or --prefix, or --all");
    if ((all || prefix) && args_has(a, FLAG_IF_REVISION))
        return ctl_fail(CTL_USAGE, "--if-revision goes with one key");
    if (prefix && a->value[FLAG_PREFIX][0] == '\0')
        return ctl_fail(CTL_USAGE, "--prefix is empty: say --all to delete all keys");
    return CTL_OK;
}

int key_del(struct ctl *c)
{
    struct buf key = BUF_INIT;
    struct request r;
    int status = check_del(c->args);
    if (status != CTL_OK)
        return status;
    request_init(&r, "DELETE", REQUEST_ONCE, "");
    if (c->args->n_words == 0) {
        status = del_prefix(c, &r);
    } else if (key_word(c, &key) < 0) {
        status = CTL_USAGE;
    } else {
        request_key(&r, key.data, key.len);
        status = write_key(c, &r, &key, "deleted");
    }
    request_free(&r);
    buf_free(&key);
    return status;
}

/* ---- incr ---- */

static bool is_integer(const char *text)
{
    text += text[0] == '-' || text[0] == '+';
    return text[0] && text[strspn(text, "0123456789")] == '\0';
}

static int print_counter(const struct ctl *c, const struct answer *a)
{
    struct json_object *doc = doc_parse(a->body.data, a->body.len);
    struct json_object *value = doc_member(doc, "value");
    int status = value ? CTL_OK : ctl_fail(CTL_FAILURE, "the answer has no value");
    if (value && c->json)
        doc_print(doc);
    else if (value)
        puts(json_object_get_string(value));
    json_object_put(doc);
    return status;
}

int key_incr(struct ctl *c)
{
    const char *by = c->args->n_words > 1 ? c->args->words[1] : "1";
    struct buf key = BUF_INIT;
    struct request r;
    struct answer a = {0};
    int status = CTL_USAGE;
    if (!is_integer(by))
        return ctl_fail(CTL_USAGE, "'%s' is no whole number", by);
    request_init(&r, "POST", REQUEST_ONCE, "");
    if (key_word(c, &key) == 0) {
        request_key(&r, key.data, key.len);
        request_query_str(&r, "op", "incr");
        request_query_str(&r, "by", by + (by[0] == '+'));
        status = client_send(c, &r, &a);
    }
    if (status == CTL_OK)
        status = print_counter(c, &a);
    answer_free(&a);
    request_free(&r);
    buf_free(&key);
    return status;
}
