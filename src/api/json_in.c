/* SPDX-License-Identifier: MIT */
#include "api/json_in.h"

#include <limits.h>
#include <stdint.h>
#include <string.h>

#include <json-c/json_tokener.h>

#include "api/utf8.h"
#include "base/limits.h"

/* ---- what is JSON: a recursive descent over the grammar of RFC 8259, to the first error ---- */

struct name {
    const uint8_t *p; /* between the quotes, escapes and all */
    const uint8_t *end;
};

static bool fail(struct json_scan *s, const char *what)
{
    if (!s->what)
        s->what = what;
    return false;
}

static int peek(const struct json_scan *s)
{
    return s->p < s->end ? *s->p : -1;
}

static void skip_space(struct json_scan *s)
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
static bool scan_escape(struct json_scan *s, bool is_name)
{
    int c = peek(s);
    s->escapes = true;
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
static bool scan_string(struct json_scan *s, bool is_name)
{
    s->p++;
    s->escapes = false;
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

static size_t scan_digits(struct json_scan *s)
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

static bool scan_number(struct json_scan *s)
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

static bool scan_literal(struct json_scan *s, const char *word)
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

static bool scan_value(struct json_scan *s);

static bool scan_name(struct json_scan *s, struct name names[], unsigned *n)
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
static bool scan_more(struct json_scan *s, char closing, bool *ret_more)
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

static bool scan_object(struct json_scan *s)
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

static bool scan_array(struct json_scan *s)
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

static bool scan_container(struct json_scan *s)
{
    if (s->depth == LIMIT_JSON_DEPTH)
        return fail(s, "nested too deeply");
    s->depth++;
    bool ok = *s->p == '{' ? scan_object(s) : scan_array(s);
    s->depth--;
    return ok;
}

static bool scan_value(struct json_scan *s)
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

int json_in_check(const void *p, size_t len, struct json_in_error *ret_error)
{
    struct json_scan s = {.start = p, .p = p, .end = (const uint8_t *)p + len};
    if (scan_value(&s)) {
        skip_space(&s);
        if (s.p < s.end)
            fail(&s, "nothing is expected after the value");
    }
    if (!s.what)
        return 0;
    *ret_error = (struct json_in_error){s.what, (size_t)(s.p - s.start)};
    return ERR_INVALID;
}

/* ---- reading ---- */

void json_reader_init(struct json_reader *r, struct buf *text)
{
    const uint8_t *p = (const uint8_t *)buf_str(text);
    *r = (struct json_reader){.scan = {.start = p, .p = p, .end = p + text->len}};
}

void json_reader_free(struct json_reader *r)
{
    buf_free(&r->unescaped);
}

/* The next character is c, which may be -1 for the end. */
static bool expect(struct json_reader *r, int c)
{
    skip_space(&r->scan);
    return !r->scan.what && (peek(&r->scan) == c || fail(&r->scan, "something else is expected"));
}

bool json_read_open(struct json_reader *r, char opening)
{
    if (!expect(r, opening))
        return false;
    r->scan.p++;
    r->opened = true;
    return true;
}

bool json_read_more(struct json_reader *r, char closing)
{
    struct json_scan *s = &r->scan;
    bool more = true, opened = r->opened;
    r->opened = false;
    if (s->what)
        return false;
    if (!opened)
        return scan_more(s, closing, &more) && more;
    skip_space(s);
    more = peek(s) != closing;
    s->p += !more;
    return more;
}

/* What stands in a scanned string with escapes. */
static struct json_string unescape(struct json_reader *r, struct name string)
{
    struct buf *b = &r->unescaped;
    if (!b->data) /* enough for all strings, so that none of them moves */
        buf_reserve(b, (size_t)(r->scan.end - r->scan.start));
    uint8_t *p = b->data + b->len;
    size_t len = 0;
    while (string.p < string.end)
        len += utf8_put(p + len, next_char(&string));
    b->len += len;
    return (struct json_string){p, len};
}

static bool read_string(struct json_reader *r, bool is_name, struct json_string *ret)
{
    if (!expect(r, '"'))
        return false;
    const uint8_t *from = r->scan.p + 1;
    if (!scan_string(&r->scan, is_name))
        return false;
    const uint8_t *end = r->scan.p - 1;
    *ret = r->scan.escapes ? unescape(r, (struct name){from, end})
                           : (struct json_string){from, (size_t)(end - from)};
    return true;
}

bool json_read_name(struct json_reader *r, struct json_string *ret_name)
{
    if (!json_read_more(r, '}') || !read_string(r, true, ret_name) || !expect(r, ':'))
        return false;
    r->scan.p++;
    return true;
}

bool json_read_string(struct json_reader *r, struct json_string *ret_string)
{
    return read_string(r, false, ret_string);
}

bool json_read_end(struct json_reader *r)
{
    return expect(r, -1);
}

/* ---- any value ---- */

int json_in_parse(struct buf *text, struct json_in_error *ret_error, struct json_object **ret_value)
{
    int err = json_in_check(buf_str(text), text->len, ret_error);
    if (err)
        return err;
    if (text->len >= INT_MAX) {
        *ret_error = (struct json_in_error){"the text is too long", 0};
        return ERR_INVALID;
    }
    struct json_tokener *t = json_tokener_new_ex(LIMIT_JSON_DEPTH + 2);
    json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    /* With its NUL, so that a number at the end is known to be complete. */
    struct json_object *value =
        json_tokener_parse_ex(t, (const char *)text->data, (int)text->len + 1);
    enum json_tokener_error parse_err = json_tokener_get_error(t);
    size_t at = json_tokener_get_parse_end(t);
    json_tokener_free(t);
    if (parse_err == json_tokener_success) {
        *ret_value = value;
        return 0;
    }
    json_object_put(value);
    *ret_error = (struct json_in_error){json_tokener_error_desc(parse_err), at};
    return ERR_INVALID;
}
