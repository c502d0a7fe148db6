/* SPDX-License-Identifier: MIT */
#include "api/json_in.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

#include <json-c/json_tokener.h>

#include "api/utf8.h"
#include "base/limits.h"

/* A recursive descent over the grammar of RFC 8259. Stops at the first error. */
struct scan {
    const uint8_t *start, *p, *end;
    unsigned depth, n_values;
    bool plain;       /* so far: objects, arrays and strings without escapes */
    const char *what; /* NULL: no error so far */
};

struct name {
    const uint8_t *p; /* between the quotes, escapes and all */
    const uint8_t *end;
};

static bool fail(struct scan *s, const char *what)
{
    if (!s->what)
        s->what = what;
    return false;
}

static int peek(const struct scan *s)
{
    return s->p < s->end ? *s->p : -1;
}

static void skip_space(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

static int hex_value(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The four digits after \u; -1 when they are not there. */
static int hex4(const uint8_t *p, const uint8_t *end)
{
    int v = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(p[i]);
        if (digit < 0)
            return -1;
        v = v << 4 | digit;
    }
    return v;
}

/* s->p stands after the backslash. */
static bool scan_escape(struct scan *s, bool is_name)
{
    int c = peek(s);
    s->plain = false;
    if (c < 0)
        return fail(s, "the string does not end");
    if (c != 'u') {
        if (c == 0 || !strchr("\"\\/bfnrt", c))
            return fail(s, "no such escape");
        s->p++;
        return true;
    }
    int unit = hex4(s->p + 1, s->end);
    if (unit < 0)
        return fail(s, "\\u needs four hexadecimal digits");
    if (unit == 0 && is_name)
        return fail(s, "\\u0000 in the name of a member");
    if (unit >= 0xdc00 && unit <= 0xdfff)
        return fail(s, "the second half of a surrogate pair without the first");
    s->p += 5;
    if (unit < 0xd800 || unit > 0xdbff)
        return true;
    bool pair = s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u';
    int low = pair ? hex4(s->p + 2, s->end) : -1;
    if (low < 0xdc00 || low > 0xdfff)
        return fail(s, "the first half of a surrogate pair without the second");
    s->p += 6;
    return true;
}

/* s->p stands on the opening quote. */
static bool scan_string(struct scan *s, bool is_name)
{
    s->p++;
    for (;;) {
        s->p += utf8_plain_len(s->p, (size_t)(s->end - s->p));
        int c = peek(s);
        if (c < 0)
            return fail(s, "the string does not end");
        if (c < 0x20)
            return fail(s, "a control character in a string must be escaped");
        if (c == '"') {
            s->p++;
            return true;
        }
        if (c == '\\') {
            s->p++;
            if (!scan_escape(s, is_name))
                return false;
            continue;
        }
        size_t n = utf8_char_len(s->p, (size_t)(s->end - s->p));
        if (n == 0)
            return fail(s, "not UTF-8");
        s->p += n;
    }
}

static size_t scan_digits(struct scan *s)
{
    const uint8_t *from = s->p;
    while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
        s->p++;
    return (size_t)(s->p - from);
}

/* The digits of an integer are within the range of int64_t. */
static bool fits_int64(const uint8_t *digits, size_t n, bool negative)
{
    const char *most = negative ? "9223372036854775808" : "9223372036854775807";
    return n < 19 || (n == 19 && memcmp(digits, most, 19) <= 0);
}

static bool scan_number(struct scan *s)
{
    const uint8_t *from = s->p;
    bool negative = *s->p == '-', integer = true;
    s->p += negative;
    const uint8_t *digits = s->p;
    size_t n = scan_digits(s), exponent = 0;
    if (n == 0)
        return fail(s, "a digit is expected");
    if (n > 1 && *digits == '0') {
        s->p = digits;
        return fail(s, "a number does not begin with 0");
    }
    if (peek(s) == '.') {
        integer = false;
        s->p++;
        if (scan_digits(s) == 0)
            return fail(s, "a digit is expected");
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        integer = false;
        s->p++;
        if (peek(s) == '+' || peek(s) == '-')
            s->p++;
        exponent = scan_digits(s);
        if (exponent == 0)
            return fail(s, "a digit is expected");
    }
    if (integer ? fits_int64(digits, n, negative) : exponent <= 2 && s->p - from <= 32)
        return true;
    s->p = from;
    return fail(s, "the number is too large");
}

static bool scan_literal(struct scan *s, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
        return fail(s, "a value is expected");
    s->p += n;
    return true;
}

/* The next character of a scanned name, its escapes resolved: "k" and "\u006b" are one name. */
static uint32_t next_char(struct name *n)
{
    static const char letters[] = "bfnrt";
    static const char meaning[] = "\b\f\n\r\t";
    const uint8_t *p = n->p;
    if (*p == '\\' && p[1] == 'u') {
        uint32_t unit = (uint32_t)hex4(p + 2, n->end);
        n->p += 6;
        if (unit < 0xd800 || unit > 0xdbff)
            return unit;
        uint32_t low = (uint32_t)hex4(p + 8, n->end);
        n->p += 6;
        return 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    }
    if (*p == '\\') {
        n->p += 2;
        const char *letter = strchr(letters, p[1]);
        return letter ? (uint8_t)meaning[letter - letters] : p[1];
    }
    size_t len = utf8_char_len(p, (size_t)(n->end - p));
    uint32_t c = len == 1 ? *p : *p & (0x7fu >> len);
    for (size_t i = 1; i < len; i++)
        c = c << 6 | (p[i] & 0x3f);
    n->p += len;
    return c;
}

static bool same_name(struct name a, struct name b)
{
    while (a.p < a.end && b.p < b.end)
        if (next_char(&a) != next_char(&b))
            return false;
    return a.p == a.end && b.p == b.end;
}

static bool scan_value(struct scan *s);

static bool scan_name(struct scan *s, struct name names[], unsigned *n)
{
    const uint8_t *from = s->p;
    if (peek(s) != '"')
        return fail(s, "the name of a member is expected");
    if (!scan_string(s, true))
        return false;
    struct name name = {from + 1, s->p - 1};
    const uint8_t *after = s->p;
    s->p = from; /* where an error is */
    if (*n == JSON_IN_MEMBERS_MAX)
        return fail(s, "an object has too many members");
    for (unsigned i = 0; i < *n; i++)
        if (same_name(names[i], name))
            return fail(s, "the same member twice");
    names[(*n)++] = name;
    s->p = after;
    return true;
}

/* After a member or an item: true when another one follows. */
static bool scan_more(struct scan *s, char closing, bool *ret_more)
{
    skip_space(s);
    int c = peek(s);
    if (c != ',' && c != closing)
        return fail(s, closing == '}' ? "a comma or } is expected" : "a comma or ] is expected");
    s->p++;
    *ret_more = c == ',';
    skip_space(s);
    return true;
}

static bool scan_object(struct scan *s)
{
    struct name names[JSON_IN_MEMBERS_MAX];
    unsigned n = 0;
    bool more = true;
    s->p++;
    skip_space(s);
    if (peek(s) == '}') {
        s->p++;
        return true;
    }
    while (more) {
        if (!scan_name(s, names, &n))
            return false;
        skip_space(s);
        if (peek(s) != ':')
            return fail(s, "a colon is expected");
        s->p++;
        if (!scan_value(s) || !scan_more(s, '}', &more))
            return false;
    }
    return true;
}

static bool scan_array(struct scan *s)
{
    bool more = true;
    s->p++;
    skip_space(s);
    if (peek(s) == ']') {
        s->p++;
        return true;
    }
    while (more)
        if (!scan_value(s) || !scan_more(s, ']', &more))
            return false;
    return true;
}

static bool scan_container(struct scan *s)
{
    if (s->depth == LIMIT_JSON_DEPTH)
        return fail(s, "nested too deeply");
    s->depth++;
    bool ok = *s->p == '{' ? scan_object(s) : scan_array(s);
    s->depth--;
    return ok;
}

static bool scan_value(struct scan *s)
{
    skip_space(s);
    int c = peek(s);
    if (s->n_values++ == LIMIT_JSON_VALUES)
        return fail(s, "too many values");
    switch (c) {
    case '{':
    case '[':
        return scan_container(s);
    case '"':
        return scan_string(s, false);
    }
    s->plain = false;
    switch (c) {
    case 't':
        return scan_literal(s, "true");
    case 'f':
        return scan_literal(s, "false");
    case 'n':
        return scan_literal(s, "null");
    }
    if (c == '-' || (c >= '0' && c <= '9'))
        return scan_number(s);
    return fail(s, c < 0 ? "the text ends where a value is expected" : "a value is expected");
}

static int check(const void *p, size_t len, bool *ret_plain, struct json_in_error *ret_error)
{
    struct scan s = {.start = p, .p = p, .end = (const uint8_t *)p + len, .plain = true};
    if (scan_value(&s)) {
        skip_space(&s);
        if (s.p < s.end)
            fail(&s, "nothing is expected after the value");
    }
    *ret_plain = s.plain;
    if (!s.what)
        return 0;
    *ret_error = (struct json_in_error){s.what, (size_t)(s.p - s.start)};
    return ERR_INVALID;
}

int json_in_check(const void *p, size_t len, struct json_in_error *ret_error)
{
    bool plain;
    return check(p, len, &plain, ret_error);
}

/* ---- values ----
 * Most of what clients send has no escapes, numbers or literals. It is known to be JSON when it
 * gets here, and values are made of it without a parser, which would take several times as long. */

static void skip_blanks(char **p)
{
    while (**p == ' ' || **p == '\t' || **p == '\n' || **p == '\r')
        ++*p;
}

/* Moves *p from the opening bracket or the end of an item to the next item. False: there is none,
 * and *p is behind the closing bracket. */
static bool next_item(char **p, char closing)
{
    skip_blanks(p);
    bool ends = *(*p)++ == closing;
    if (ends)
        return false;
    skip_blanks(p);
    ends = **p == closing; /* an empty one */
    *p += ends;
    return !ends;
}

/* One of the names that writes consist of, which json-c need not copy; else NULL. */
static const char *constant_name(const char *name)
{
    static const char *const names[] = {"key", "value", "Set", "Delete", "Batch"};
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return names[i];
    return NULL;
}

static struct json_object *make_value(char **p);

static void add_member(struct json_object *object, const char *name, struct json_object *value)
{
    const char *constant = constant_name(name);
    json_object_object_add_ex(object, constant ? constant : name, value,
                              JSON_C_OBJECT_ADD_KEY_IS_NEW |
                                  (constant ? JSON_C_OBJECT_KEY_IS_CONSTANT : 0));
}

static struct json_object *make_object(char **p)
{
    struct json_object *object = json_object_new_object();
    while (next_item(p, '}')) {
        char *name = *p + 1, *end = strchr(name, '"');
        *p = strchr(end, ':') + 1;
        *end = 0; /* only for json-c, which wants a string */
        add_member(object, name, make_value(p));
        *end = '"';
    }
    return object;
}

static struct json_object *make_array(char **p)
{
    struct json_object *array = json_object_new_array();
    while (next_item(p, ']'))
        json_object_array_add(array, make_value(p));
    return array;
}

static struct json_object *make_string(char **p)
{
    char *from = *p + 1, *end = strchr(from, '"');
    *p = end + 1;
    return json_object_new_string_len(from, (int)(end - from));
}

static struct json_object *make_value(char **p)
{
    skip_blanks(p);
    return **p == '{' ? make_object(p) : **p == '[' ? make_array(p) : make_string(p);
}

/* Any text, by json-c. */
static int parse(const struct buf *text, struct json_in_error *ret_error,
                 struct json_object **ret_value)
{
    struct json_tokener *t = json_tokener_new_ex(LIMIT_JSON_DEPTH + 2);
    json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    /* With its NUL, so that a number at the end is known to be complete. */
    struct json_object *value =
        json_tokener_parse_ex(t, (const char *)text->data, (int)text->len + 1);
    enum json_tokener_error err = json_tokener_get_error(t);
    size_t at = json_tokener_get_parse_end(t);
    json_tokener_free(t);
    if (err == json_tokener_success) {
        *ret_value = value;
        return 0;
    }
    json_object_put(value);
    *ret_error = (struct json_in_error){json_tokener_error_desc(err), at};
    return ERR_INVALID;
}

int json_in_parse(struct buf *text, struct json_in_error *ret_error, struct json_object **ret_value)
{
    bool plain;
    int err = check(buf_str(text), text->len, &plain, ret_error);
    if (err)
        return err;
    if (text->len >= INT_MAX) {
        *ret_error = (struct json_in_error){"the text is too long", 0};
        return ERR_INVALID;
    }
    if (!plain)
        return parse(text, ret_error, ret_value);
    char *p = (char *)text->data;
    *ret_value = make_value(&p);
    return 0;
}
