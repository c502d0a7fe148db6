/* SPDX-License-Identifier: MIT
 * api/: what is read as JSON and what is refused, and how JSON is written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include <json-c/json_tokener.h>
#include <json-c/linkhash.h>

#include "api/json_in.h"
#include "api/json_out.h"
#include "api/utf8.h"
#include "base/limits.h"
#include "base/rng.h"

struct refused {
    const char *text;
    size_t len; /* 0: strlen */
    const char *what;
    size_t at;
};

static const struct refused refused[] = {
    {"", 0, "the text ends where a value is expected", 0},
    {"  ", 0, "the text ends where a value is expected", 2},
    {"{", 0, "the name of a member is expected", 1},
    {"{\"a\"", 0, "a colon is expected", 4},
    {"{\"a\":", 0, "the text ends where a value is expected", 5},
    {"{\"a\":1", 0, "a comma or } is expected", 6},
    {"{\"a\":1,}", 0, "the name of a member is expected", 7},
    {"{a:1}", 0, "the name of a member is expected", 1},
    {"{'a':1}", 0, "the name of a member is expected", 1},
    {"[1,]", 0, "a value is expected", 3},
    {"[1 2]", 0, "a comma or ] is expected", 3},
    {"[1}", 0, "a comma or ] is expected", 2},
    {"\"a", 0, "the string does not end", 2},
    {"\"a\\", 0, "the string does not end", 3},
    {"\"a\nb\"", 0, "a control character in a string must be escaped", 2},
    {"\"a\0b\"", 5, "a control character in a string must be escaped", 2},
    {"\"\\x\"", 0, "no such escape", 2},
    {"\"\\\0\"", 4, "no such escape", 2},
    {"\"\\u12g4\"", 0, "\\u needs four hexadecimal digits", 2},
    {"\"\\u12", 0, "\\u needs four hexadecimal digits", 2},
    {"\"\\ud800\"", 0, "the first half of a surrogate pair without the second", 7},
    {"\"\\ud800\\u0041\"", 0, "the first half of a surrogate pair without the second", 7},
    {"\"\\udc00\"", 0, "the second half of a surrogate pair without the first", 2},
    {"\"\xff\"", 0, "not UTF-8", 1},
    {"\"\xc0\x80\"", 0, "not UTF-8", 1},
    {"\"\xed\xa0\x80\"", 0, "not UTF-8", 1},
    {"\"\xf4\x90\x80\x80\"", 0, "not UTF-8", 1},
    {"\"\xe2\x82", 0, "not UTF-8", 1},
    {"{\"a\\u0000b\":1}", 0, "\\u0000 in the name of a member", 4},
    {"{\"a\":1,\"a\":2}", 0, "the same member twice", 7},
    {"{\"a\":1,\"\\u0061\":2}", 0, "the same member twice", 7},
    {"{\"\\u00e9\":1,\"\xc3\xa9\":2}", 0, "the same member twice", 12},
    {"{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":2}", 0, "the same member twice", 18},
    {"{\"\\n\":1,\"\\u000a\":2}", 0, "the same member twice", 8},
    {"{\"Set\":{\"key\":\"k\",\"value\":\"v\",\"key\":\"l\"}}", 0, "the same member twice", 30},
    {"99999999999999999999999", 0, "the number is too large", 0},
    {"9223372036854775808", 0, "the number is too large", 0},
    {"-9223372036854775809", 0, "the number is too large", 0},
    {"1e100", 0, "the number is too large", 0},
    {"[0.000000000000000000000000000000000001]", 0, "the number is too large", 1},
    {"01", 0, "a number does not begin with 0", 0},
    {"-", 0, "a digit is expected", 1},
    {"1.", 0, "a digit is expected", 2},
    {"1e", 0, "a digit is expected", 2},
    {".5", 0, "a value is expected", 0},
    {"+1", 0, "a value is expected", 0},
    {"NaN", 0, "a value is expected", 0},
    {"Infinity", 0, "a value is expected", 0},
    {"nul", 0, "a value is expected", 0},
    {"TRUE", 0, "a value is expected", 0},
    {"1 2", 0, "nothing is expected after the value", 2},
    {"{}x", 0, "nothing is expected after the value", 2},
    {"\"k\"\0", 4, "nothing is expected after the value", 3},
    {"/* c */ 1", 0, "a value is expected", 0},
    {"\xef\xbb\xbf{}", 0, "a value is expected", 0},
};

static void test_json_in_malformed_text_is_refused_with_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        const struct refused *r = &refused[i];
        struct json_in_error error = {"", 0};
        size_t len = r->len ? r->len : strlen(r->text);
        int err = json_in_check(r->text, len, &error);
        if (err != ERR_INVALID || error.at != r->at || strcmp(error.what, r->what) != 0)
            fail_msg("%s: %d, \"%s\" at %zu", r->text, err, error.what, error.at);
    }
}

static struct json_object *parse(const char *text, size_t len)
{
    struct buf b = BUF_INIT;
    struct json_in_error error;
    struct json_object *value = NULL;
    buf_append(&b, text, len);
    if (json_in_parse(&b, &error, &value) != 0)
        fail_msg("%s: %s at %zu", text, error.what, error.at);
    buf_free(&b);
    return value;
}

static void test_json_in_well_formed_text_is_read(void **state)
{
    (void)state;
    static const char *const good[] = {"null",
                                       " true ",
                                       "0",
                                       "-0",
                                       "9223372036854775807",
                                       "-9223372036854775808",
                                       "1.5e-3",
                                       "1E+99",
                                       "{}",
                                       "[]",
                                       "[[[]]]",
                                       "\"\"",
                                       "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"",
                                       "{\"a\":{\"a\":{\"a\":1}}}",
                                       "{\"a\":1,\"A\":2,\"ab\":3}",
                                       "{\"\":1}",
                                       "\r\n\t[1 , 2 ]\n",
                                       "\"\x7f\"",
                                       "{\"\\\\u0000\":1}"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        json_object_put(parse(good[i], strlen(good[i])));
}

static void test_json_in_strings_keep_every_character(void **state)
{
    (void)state;
    const char *text = "\"a\\u0000b\\ud83d\\ude00\\u20ac\xc3\xa9\"";
    const char expected[] = "a\0b\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xa9";
    struct json_object *v = parse(text, strlen(text));
    assert_int_equal(json_object_get_string_len(v), sizeof expected - 1);
    assert_memory_equal(json_object_get_string(v), expected, sizeof expected - 1);
    json_object_put(v);
}

static void test_json_in_depth_at_the_limit_is_read_and_beyond_refused(void **state)
{
    (void)state;
    struct json_in_error error;
    char text[2 * (LIMIT_JSON_DEPTH + 1) + 1];
    for (unsigned depth = LIMIT_JSON_DEPTH; depth <= LIMIT_JSON_DEPTH + 1; depth++) {
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        text[2 * depth] = 0;
        if (depth == LIMIT_JSON_DEPTH) {
            json_object_put(parse(text, 2 * depth));
            continue;
        }
        assert_int_equal(json_in_check(text, 2 * depth, &error), ERR_INVALID);
        assert_string_equal(error.what, "nested too deeply");
        assert_int_equal(error.at, LIMIT_JSON_DEPTH);
    }
    struct buf deep = BUF_INIT;
    for (int i = 0; i < 10000; i++)
        buf_append_str(&deep, "{\"a\":");
    assert_int_equal(json_in_check(deep.data, deep.len, &error), ERR_INVALID);
    assert_string_equal(error.what, "nested too deeply");
    buf_free(&deep);
}

static void test_json_in_too_many_members_are_refused(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    struct json_in_error error;
    for (int i = 0; i <= JSON_IN_MEMBERS_MAX; i++)
        buf_printf(&b, "%s\"m%d\":1", i ? "," : "{", i);
    buf_append_str(&b, "}");
    assert_int_equal(json_in_check(b.data, b.len, &error), ERR_INVALID);
    assert_string_equal(error.what, "an object has too many members");
    buf_free(&b);
}

/* Two bytes of text each, and hundreds of json-c's. */
static void test_json_in_too_many_values_are_refused(void **state)
{
    (void)state;
    struct json_in_error error;
    for (unsigned n = LIMIT_JSON_VALUES - 1; n <= LIMIT_JSON_VALUES; n++) {
        struct buf b = BUF_INIT;
        for (unsigned i = 0; i < n; i++)
            buf_append_str(&b, i ? ",1" : "[1");
        buf_append_str(&b, "]");
        assert_int_equal(json_in_check(b.data, b.len, &error),
                         n < LIMIT_JSON_VALUES ? 0 : ERR_INVALID);
        buf_free(&b);
    }
    assert_string_equal(error.what, "too many values");
    assert_int_equal(error.at, 2 * (LIMIT_JSON_VALUES - 1) + 1);
}

/* A random document: valid by construction. */
static void generate(struct rng *rng, struct buf *b, unsigned depth)
{
    static const char *const leaves[] = {"null",
                                         "true",
                                         "-12",
                                         "0.5e3",
                                         "\"\"",
                                         "\"k\\u00e9\"",
                                         "\"\xe2\x82\xac\\n\"",
                                         "\"\\ud83d\\ude00\"",
                                         "7"};
    uint64_t kind = rng_range(rng, 0, depth > 0 ? 3 : 1);
    unsigned n = (unsigned)rng_range(rng, 0, 4);
    if (kind < 2) {
        buf_append_str(b, leaves[rng_range(rng, 0, sizeof leaves / sizeof *leaves - 1)]);
        return;
    }
    buf_append_str(b, kind == 2 ? "[" : "{");
    for (unsigned i = 0; i < n; i++) {
        buf_append_str(b, i ? " ,\n" : "");
        if (kind == 3)
            buf_printf(b, "\"%u\" : ", i);
        generate(rng, b, depth - 1);
    }
    buf_append_str(b, kind == 2 ? "]" : "}");
}

/* Whatever the bytes: what the scan accepts is read as json-c alone reads it, and what it writes of
 * that is accepted again and means the same; what the scan refuses, it refuses inside the text. */
static bool check_property(const struct buf *text)
{
    struct json_in_error error = {"", 0};
    struct buf copy = BUF_INIT, again = BUF_INIT;
    struct json_object *value = NULL, *second = NULL, *by_json_c;
    buf_append(&copy, text->data, text->len);
    bool scanned = json_in_check(copy.data, copy.len, &error) == 0;
    if (!scanned)
        assert_true(error.at <= copy.len && error.what[0]);
    assert_int_equal(json_in_parse(&copy, &error, &value) == 0, scanned);
    assert_memory_equal(copy.data, text->data, text->len);
    if (scanned) {
        by_json_c = json_tokener_parse(buf_str(&copy));
        assert_true(json_object_equal(value, by_json_c));
        json_object_put(by_json_c);
        buf_append_str(&again, json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN));
        assert_int_equal(json_in_parse(&again, &error, &second), 0);
        assert_true(json_object_equal(value, second));
    }
    json_object_put(value);
    json_object_put(second);
    buf_free(&copy);
    buf_free(&again);
    return scanned;
}

static void test_json_in_random_texts_hold_the_property(void **state)
{
    (void)state;
    struct rng rng = {20240607};
    static const char alphabet[] = "{}[]\",:\\u0019aef-+.tn \n\xc3\xa9\xf0";
    unsigned accepted = 0, rejected = 0;
    for (int i = 0; i < 20000; i++) {
        struct buf b = BUF_INIT;
        generate(&rng, &b, 4);
        assert_true(check_property(&b));
        for (uint64_t k = rng_range(&rng, 1, 3); k > 0 && b.len > 0; k--) {
            size_t at = rng_range(&rng, 0, b.len - 1);
            if (rng_range(&rng, 0, 3) == 0)
                b.len = at;
            else
                b.data[at] = (uint8_t)alphabet[rng_range(&rng, 0, sizeof alphabet - 2)];
        }
        *(check_property(&b) ? &accepted : &rejected) += 1;
        buf_free(&b);
    }
    assert_true(accepted > 1000 && rejected > 1000);
}

/* ---- read value by value ---- */

static struct json_object *string_object(const struct json_string *s)
{
    return json_object_new_string_len((const char *)s->p, (int)s->len);
}

/* An array of objects of strings; NULL when it is none. */
static struct json_object *read_table(struct buf *text)
{
    struct json_object *table = json_object_new_array();
    struct json_string name, value;
    struct json_reader r;
    json_reader_init(&r, text);
    (void)json_read_open(&r, '[');
    while (json_read_more(&r, ']')) {
        struct json_object *row = json_object_new_object();
        json_object_array_add(table, row);
        (void)json_read_open(&r, '{');
        while (json_read_name(&r, &name) && json_read_string(&r, &value)) {
            char text_of_name[40];
            snprintf(text_of_name, sizeof text_of_name, "%.*s", (int)name.len, (char *)name.p);
            json_object_object_add(row, text_of_name, string_object(&value));
        }
    }
    if (!json_read_end(&r)) {
        json_object_put(table);
        table = NULL;
    }
    json_reader_free(&r);
    return table;
}

static bool is_table(struct json_object *value)
{
    if (!json_object_is_type(value, json_type_array))
        return false;
    for (size_t i = 0; i < json_object_array_length(value); i++) {
        struct json_object *row = json_object_array_get_idx(value, i);
        if (!json_object_is_type(row, json_type_object))
            return false;
        json_object_object_foreach(row, name, field)
        {
            (void)name;
            if (!json_object_is_type(field, json_type_string))
                return false;
        }
    }
    return true;
}

/* What is read value by value is what is there; but for names that come twice, which the reader
 * leaves to others, it takes what the scan takes. */
static bool check_table(struct buf *text)
{
    struct json_in_error error;
    struct json_object *value = NULL, *table = read_table(text);
    int err = json_in_parse(text, &error, &value);
    bool expected = err == 0 && is_table(value);
    if (expected && !json_object_equal(table, value))
        fail_msg("%s became %s", buf_str(text), json_object_to_json_string(table));
    if (!expected && table && strcmp(error.what, "the same member twice") != 0)
        fail_msg("%s was taken for %s", buf_str(text), json_object_to_json_string(table));
    json_object_put(table);
    json_object_put(value);
    return expected;
}

static void generate_table(struct rng *rng, struct buf *b)
{
    static const char *const spaces[] = {"", "", "", " ", "\r\n\t"};
    static const char *const strings[] = {"",
                                          "v",
                                          "a longer one, with {}[]:,",
                                          "\\u0000\\u00e9\\n",
                                          "\\ud83d\\ude00\\\\\\\"\\/",
                                          "\xe2\x82\xac\x7f",
                                          "mixed \\u20ac and \xf0\x9f\x98\x80"};
#define ANY(of) of[rng_range(rng, 0, sizeof of / sizeof *of - 1)]
    unsigned n_rows = (unsigned)rng_range(rng, 0, 4);
    buf_printf(b, "%s[", ANY(spaces));
    for (unsigned i = 0; i < n_rows; i++) {
        unsigned n_fields = (unsigned)rng_range(rng, 0, 3);
        buf_printf(b, "%s%s{%s", i ? "," : "", ANY(spaces), ANY(spaces));
        for (unsigned k = 0; k < n_fields; k++)
            buf_printf(b, "%s%s\"%s%u\"%s:%s\"%s\"%s", k ? "," : "", ANY(spaces),
                       k % 2 ? "\\u006e\\u00e9" : "n", k, ANY(spaces), ANY(spaces), ANY(strings),
                       ANY(spaces));
        buf_printf(b, "}%s", ANY(spaces));
    }
    buf_printf(b, "]%s", ANY(spaces));
#undef ANY
}

static void test_json_reader_takes_what_the_scan_takes(void **state)
{
    (void)state;
    struct rng rng = {20261123};
    static const char alphabet[] = "{}[]\",:\\u001n \n\xe9\x80";
    unsigned n_read = 0, n_refused = 0;
    for (int i = 0; i < 20000; i++) {
        struct buf b = BUF_INIT;
        generate_table(&rng, &b);
        assert_true(check_table(&b));
        for (uint64_t k = rng_range(&rng, 1, 2); k > 0; k--)
            b.data[rng_range(&rng, 0, b.len - 1)] =
                (uint8_t)alphabet[rng_range(&rng, 0, sizeof alphabet - 2)];
        *(check_table(&b) ? &n_read : &n_refused) += 1;
        b.len = rng_range(&rng, 0, b.len - 1);
        (void)check_table(&b);
        buf_free(&b);
    }
    assert_true(n_read > 1000 && n_refused > 1000);
}

static void test_json_reader_refuses_everything_after_a_mistake(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    struct json_string untouched = {(const uint8_t *)"x", 1}, s = untouched;
    struct json_reader r;
    buf_append_str(&b, "[7,\"a\"]");
    json_reader_init(&r, &b);
    assert_true(json_read_open(&r, '['));
    assert_true(json_read_more(&r, ']'));
    assert_false(json_read_string(&r, &s));
    assert_false(json_read_more(&r, ']'));
    assert_false(json_read_open(&r, '7'));
    assert_false(json_read_end(&r));
    assert_ptr_equal(s.p, untouched.p);
    json_reader_free(&r);
    buf_free(&b);
}

/* Eight bytes at a time or one, wherever the odd one is. */
static void test_utf8_plain_len_ends_at_the_first_byte_that_is_not(void **state)
{
    (void)state;
    uint8_t text[40];
    for (unsigned c = 0; c < 256; c++)
        for (size_t at = 0; at < sizeof text; at++) {
            memset(text, '~', sizeof text);
            if (at + 1 < sizeof text)
                text[at + 1] = 0xff;
            text[at] = (uint8_t)c;
            bool plain = c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
            assert_int_equal(utf8_plain_len(text, sizeof text), at + plain);
            assert_int_equal(utf8_plain_len(text, at), at);
        }
}

static void test_utf8_agrees_with_the_standard_on_every_code_point(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x120000; c++) {
        uint8_t p[4] = {(uint8_t)(0xf0 | c >> 18), (uint8_t)(0x80 | (c >> 12 & 0x3f)),
                        (uint8_t)(0x80 | (c >> 6 & 0x3f)), (uint8_t)(0x80 | (c & 0x3f))};
        bool scalar = c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff);
        assert_int_equal(utf8_char_len(p, 4), scalar && c >= 0x10000 ? 4 : 0);
        if (c > 0xffff)
            continue;
        p[1] |= 0xe0;
        p[1] = (uint8_t)(0xe0 | c >> 12);
        assert_int_equal(utf8_char_len(p + 1, 3), scalar && c >= 0x800 ? 3 : 0);
        assert_int_equal(utf8_char_len(p + 1, 2), 0);
        if (c > 0x7ff)
            continue;
        p[2] = (uint8_t)(0xc0 | c >> 6);
        assert_int_equal(utf8_char_len(p + 2, 2), c >= 0x80 ? 2 : 0);
    }
}

static void check_string(const char *in, size_t len, const char *expected)
{
    struct buf b = BUF_INIT;
    assert_int_equal(json_out_string(&b, in, len), 0);
    assert_string_equal(buf_str(&b), expected);
    buf_free(&b);
}

static void test_json_out_strings_are_escaped(void **state)
{
    (void)state;
    check_string("", 0, "\"\"");
    check_string("plain", 5, "\"plain\"");
    check_string("a\"b\\c/d", 7, "\"a\\\"b\\\\c/d\"");
    check_string("\n\r\t\b\x1f\x7f", 6, "\"\\n\\r\\t\\u0008\\u001f\\u007f\"");
    check_string("a\0b", 3, "\"a\\u0000b\"");
    check_string("\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9,
                 "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"");
}

static void test_json_out_string_not_utf8_leaves_the_buffer_alone(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    buf_append_str(&b, "before");
    assert_int_equal(json_out_string(&b, "ab\xff", 3), ERR_INVALID);
    assert_string_equal(buf_str(&b), "before");
    json_out_text(&b, "a\xff\xfez", 4);
    assert_string_equal(buf_str(&b), "before\"a\xef\xbf\xbd\xef\xbf\xbdz\"");
    buf_free(&b);
}

static void test_json_out_value_not_utf8_is_base64(void **state)
{
    (void)state;
    struct buf b = BUF_INIT;
    json_out_value(&b, "\xff", 1);
    json_out_value(&b, "\xff\xfe", 2);
    json_out_value(&b, "\xff\xfe\xfd", 3);
    json_out_value(&b, "ok", 2);
    assert_string_equal(buf_str(&b), "{\"value_b64\":\"/w==\"}{\"value_b64\":\"//4=\"}"
                                     "{\"value_b64\":\"//79\"}\"ok\"");
    buf_free(&b);
}

static void test_json_out_every_string_is_read_back(void **state)
{
    (void)state;
    struct rng rng = {5};
    for (int i = 0; i < 2000; i++) {
        uint8_t bytes[40];
        size_t len = 0, want = (size_t)rng_range(&rng, 0, 36);
        while (len < want) { /* characters of every length, all of ASCII among them */
            uint32_t c = (uint32_t)rng_next(&rng) & 0x1fffff;
            c >>= rng_range(&rng, 0, 20);
            uint8_t p[4] = {(uint8_t)(0xf0 | c >> 18), (uint8_t)(0x80 | (c >> 12 & 0x3f)),
                            (uint8_t)(0x80 | (c >> 6 & 0x3f)), (uint8_t)(0x80 | (c & 0x3f))};
            if (c < 0x80)
                bytes[len++] = (uint8_t)c;
            else if (utf8_char_len(p, 4) == 4)
                memcpy(bytes + len, p, 4), len += 4;
        }
        struct buf b = BUF_INIT;
        assert_int_equal(json_out_string(&b, bytes, len), 0);
        struct json_object *v = parse(buf_str(&b), b.len);
        assert_int_equal(json_object_get_string_len(v), len);
        assert_memory_equal(json_object_get_string(v), bytes, len);
        json_object_put(v);
        buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_in_malformed_text_is_refused_with_its_place),
        cmocka_unit_test(test_json_in_well_formed_text_is_read),
        cmocka_unit_test(test_json_in_strings_keep_every_character),
        cmocka_unit_test(test_json_in_depth_at_the_limit_is_read_and_beyond_refused),
        cmocka_unit_test(test_json_in_too_many_members_are_refused),
        cmocka_unit_test(test_json_in_too_many_values_are_refused),
        cmocka_unit_test(test_json_in_random_texts_hold_the_property),
        cmocka_unit_test(test_json_reader_takes_what_the_scan_takes),
        cmocka_unit_test(test_json_reader_refuses_everything_after_a_mistake),
        cmocka_unit_test(test_utf8_plain_len_ends_at_the_first_byte_that_is_not),
        cmocka_unit_test(test_utf8_agrees_with_the_standard_on_every_code_point),
        cmocka_unit_test(test_json_out_strings_are_escaped),
        cmocka_unit_test(test_json_out_string_not_utf8_leaves_the_buffer_alone),
        cmocka_unit_test(test_json_out_value_not_utf8_is_base64),
        cmocka_unit_test(test_json_out_every_string_is_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
