/* SPDX-License-Identifier: MIT */
#include "ctl/doc.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "ctl/text.h"

struct json_object *doc_parse(const void *p, size_t len)
{
    while (len > 0 && strchr(" \t\r\n", ((const char *)p)[len - 1]) && ((const char *)p)[len - 1])
        len--; /* STRICT takes nothing behind the document */
    if (len == 0 || len >= INT_MAX)
        return NULL;
    struct json_tokener *t = json_tokener_new();
    json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *doc = json_tokener_parse_ex(t, p, (int)len);
    if (json_tokener_get_error(t) == json_tokener_continue)
        doc = json_tokener_parse_ex(t, "", 1); /* the end: a number may stand there */
    bool whole = json_tokener_get_error(t) == json_tokener_success;
    json_tokener_free(t);
    if (!whole) {
        json_object_put(doc);
        return NULL;
    }
    return doc;
}

struct json_object *doc_member(struct json_object *doc, const char *name)
{
    struct json_object *m = NULL;
    if (!json_object_is_type(doc, json_type_object) || !json_object_object_get_ex(doc, name, &m))
        return NULL;
    return m;
}

const char *doc_text(struct json_object *doc, const char *name)
{
    struct json_object *m = doc_member(doc, name);
    return json_object_is_type(m, json_type_string) ? json_object_get_string(m) : NULL;
}

const char *doc_text_or(struct json_object *doc, const char *name, const char *absent)
{
    const char *text = doc_text(doc, name);
    return text ? text : absent;
}

bool doc_bool(struct json_object *doc, const char *name)
{
    struct json_object *m = doc_member(doc, name);
    return json_object_is_type(m, json_type_boolean) && json_object_get_boolean(m);
}

uint64_t doc_number(struct json_object *doc, const char *name)
{
    struct json_object *m = doc_member(doc, name);
    if (!json_object_is_type(m, json_type_int))
        return 0;
    return json_object_get_uint64(m);
}

size_t doc_count(struct json_object *doc, const char *name)
{
    struct json_object *m = doc_member(doc, name);
    return json_object_is_type(m, json_type_array) ? json_object_array_length(m) : 0;
}

struct json_object *doc_element(struct json_object *doc, const char *name, size_t i)
{
    return json_object_array_get_idx(doc_member(doc, name), i);
}

static struct json_object *b64_member(struct json_object *doc, const char *name)
{
    char b64[64];
    snprintf(b64, sizeof b64, "%s_b64", name);
    struct json_object *m = doc_member(doc, b64);
    return json_object_is_type(m, json_type_string) ? m : NULL;
}

int doc_bytes(struct json_object *doc, const char *name, struct buf *out)
{
    struct json_object *m = doc_member(doc, name);
    if (json_object_is_type(m, json_type_string)) {
        buf_append(out, json_object_get_string(m), (size_t)json_object_get_string_len(m));
        return 0;
    }
    m = b64_member(doc, name);
    if (!m)
        return ERR_NOT_FOUND;
    return text_from_base64(json_object_get_string(m), (size_t)json_object_get_string_len(m), out);
}

void doc_add_bytes(struct json_object *doc, const char *name, const void *p, size_t len)
{
    char b64[64];
    struct buf text = BUF_INIT;
    if (text_is_utf8(p, len)) {
        json_object_object_add(doc, name, json_object_new_string_len(p ? p : "", (int)len));
        return;
    }
    snprintf(b64, sizeof b64, "%s_b64", name);
    text_base64(p, len, &text);
    json_object_object_add(doc, b64, json_object_new_string_len((char *)text.data, (int)text.len));
    buf_free(&text);
}

void doc_add_number(struct json_object *doc, const char *name, uint64_t n)
{
    json_object_object_add(doc, name, json_object_new_uint64(n));
}

void doc_add_text(struct json_object *doc, const char *name, const char *text)
{
    json_object_object_add(doc, name, text ? json_object_new_string(text) : NULL);
}

void doc_print(struct json_object *doc)
{
    puts(json_object_to_json_string_ext(doc,
                                        JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}
