/* SPDX-License-Identifier: MIT
 * ctl/: text, lines, JSON, latencies, and what an answer means for a retry.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/limits.h"
#include "base/rng.h"
#include "ctl/client.h"
#include "ctl/doc.h"
#include "ctl/latency.h"
#include "ctl/lines.h"
#include "ctl/request.h"
#include "ctl/text.h"

static void assert_buf(struct buf *b, const char *expected)
{
    assert_string_equal(buf_str(b), expected);
    buf_free(b);
}

/* ---- what a header can hold ---- */

static void test_content_type_is_one_line_of_printable_ascii(void **state)
{
    static const char *const bad[] = {"", "a\r\nb", "a\nb", "a\tb", "\x7f", "text/\xc3\xa4"};
    char longest[LIMIT_CONTENT_TYPE_BYTES + 2] = "";
    (void)state;
    assert_true(request_is_content_type("text/html; charset=utf-8"));
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(request_is_content_type(bad[i]));
    memset(longest, 'x', LIMIT_CONTENT_TYPE_BYTES);
    assert_true(request_is_content_type(longest));
    longest[LIMIT_CONTENT_TYPE_BYTES] = 'x';
    assert_false(request_is_content_type(longest));
}

/* ---- text ---- */

static void test_base64_of_any_bytes_comes_back(void **state)
{
    struct rng rng = {7};
    (void)state;
    for (size_t len = 0; len < 70; len++) {
        uint8_t bytes[70];
        struct buf text = BUF_INIT, back = BUF_INIT;
        for (size_t i = 0; i < len; i++)
            bytes[i] = (uint8_t)rng_next(&rng);
        text_base64(bytes, len, &text);
        assert_int_equal(text.len, (len + 2) / 3 * 4);
        for (size_t i = 0; i < text.len && len % 2; i++) /* the other alphabet */
            text.data[i] = text.data[i] == '+' ? '-' : text.data[i] == '/' ? '_' : text.data[i];
        assert_int_equal(text_from_base64((char *)text.data, text.len, &back), 0);
        assert_int_equal(back.len, len);
        if (len > 0)
            assert_memory_equal(back.data, bytes, len);
        buf_free(&text);
        buf_free(&back);
    }
}

static void test_base64_that_is_none_is_refused(void **state)
{
    static const char *const wrong[] = {"A", "AB!D", "AAAAA", "A=BC", "====", "AB=", "AB C", "AR"};
    struct buf out = BUF_INIT;
    (void)state;
    text_base64("f", 1, &out);
    assert_buf(&out, "Zg==");
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(text_from_base64(wrong[i], strlen(wrong[i]), &out), ERR_INVALID);
    buf_free(&out);
}

static void test_utf8_is_told_from_other_bytes(void **state)
{
    static const char *const good[] = {"", "a", "\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\xa6\x80"};
    static const char *const bad[] = {"\xff",
                                      "\xc3",
                                      "\xc0\x80",
                                      "\xe0\x80\x80",
                                      "\xed\xa0\x80",
                                      "\x80",
                                      "\xf4\x90\x80\x80",
                                      "a\xe2\x82",
                                      "\xf8\x88\x80\x80\x80"};
    (void)state;
    for (unsigned i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(text_is_utf8(good[i], strlen(good[i])));
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(text_is_utf8(bad[i], strlen(bad[i])));
    assert_true(text_is_utf8("a\0b", 3));
}

static void test_percent_leaves_only_what_a_path_may_have(void **state)
{
    struct buf out = BUF_INIT;
    (void)state;
    text_percent("a/b c%\0\xff?#&+~", 13, true, &out);
    assert_buf(&out, "a/b%20c%25%00%FF%3F%23%26%2B~");
    text_percent("a/b", 3, false, &out);
    assert_buf(&out, "a%2Fb");
}

static void test_visible_is_one_line_and_tells_keys_apart(void **state)
{
    struct buf out = BUF_INIT;
    (void)state;
    text_visible("a\n\x1b[1m\\n\xff\xc3\xa4\xc2\x9b", 13, &out);
    assert_buf(&out, "a\\x0a\\x1b[1m\\\\n\\xff\xc3\xa4\\xc2\\x9b");
}

static void test_shell_words_mean_what_they_were(void **state)
{
    struct buf out = BUF_INIT;
    (void)state;
    text_shell("a/b.c", &out);
    assert_buf(&out, "a/b.c");
    text_shell("", &out);
    assert_buf(&out, "''");
    text_shell("it's $5 & more", &out);
    assert_buf(&out, "'it'\\''s $5 & more'");
}

static void test_numbers_are_readable(void **state)
{
    struct buf out = BUF_INIT;
    (void)state;
    text_grouped(1234567, &out);
    assert_buf(&out, "1,234,567");
    text_grouped(1000, &out);
    assert_buf(&out, "1,000");
    text_grouped(0, &out);
    assert_buf(&out, "0");
    text_keys(1, &out);
    assert_buf(&out, "1 key");
    text_keys(0, &out);
    assert_buf(&out, "0 keys");
    text_bytes(1536, &out);
    assert_buf(&out, "1.5 KiB");
    text_bytes(10, &out);
    assert_buf(&out, "10 B");
}

/* ---- lines ---- */

static char seen[256];

static int see(void *ctx, const char *line, size_t len)
{
    (void)ctx;
    snprintf(seen + strlen(seen), sizeof seen - strlen(seen), "<%.*s>", (int)len, line);
    return len == 4 ? ERR_INVALID : 0;
}

static void test_lines_come_whole_however_they_are_cut(void **state)
{
    static const char text[] = "one\n\ntwo\nno end";
    (void)state;
    for (size_t piece = 1; piece < sizeof text; piece++) {
        struct lines lines = {.take = see};
        seen[0] = '\0';
        for (size_t at = 0; at < sizeof text - 1; at += piece) {
            size_t left = sizeof text - 1 - at;
            assert_int_equal(lines_feed(&lines, text + at, left < piece ? left : piece), 0);
        }
        assert_int_equal(lines_end(&lines), 0);
        assert_string_equal(seen, "<one><><two><no end>");
    }
    struct lines lines = {.take = see};
    assert_int_equal(lines_feed(&lines, "one\nfour\n", 9), ERR_INVALID);
    assert_int_equal(lines_end(&lines), 0);
}

/* ---- JSON ---- */

static void test_doc_takes_whole_documents_only(void **state)
{
    static const char *const wrong[] = {"", " ", "{", "{\"a\":1", "{} {}", "nul", "\"\xff\""};
    (void)state;
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_null(doc_parse(wrong[i], strlen(wrong[i])));
    struct json_object *doc = doc_parse("{\"n\":18446744073709551615,\"t\":\"x\"}\n", 35);
    assert_non_null(doc);
    assert_true(doc_number(doc, "n") == UINT64_MAX);
    assert_string_equal(doc_text(doc, "t"), "x");
    assert_null(doc_text(doc, "n"));
    assert_int_equal(doc_number(doc, "t"), 0);
    assert_null(doc_member(doc, "absent"));
    assert_null(doc_text(NULL, "t"));
    json_object_put(doc);
    doc = doc_parse("17", 2);
    assert_true(json_object_is_type(doc, json_type_int));
    json_object_put(doc);
}

static void test_doc_bytes_of_any_kind_come_back(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } cases[] = {{"", 0}, {"plain", 5}, {"a\0b", 3}, {"\xff\x00\xfe", 3}, {"\"\\/\n", 4}};
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct json_object *doc = json_object_new_object();
        struct buf back = BUF_INIT;
        doc_add_bytes(doc, "key", cases[i].bytes, cases[i].len);
        const char *text = json_object_to_json_string(doc);
        struct json_object *again = doc_parse(text, strlen(text));
        assert_int_equal(doc_bytes(again, "key", &back), 0);
        assert_int_equal(back.len, cases[i].len);
        if (back.len > 0)
            assert_memory_equal(back.data, cases[i].bytes, back.len);
        assert_int_equal(doc_bytes(again, "value", &back), ERR_NOT_FOUND);
        buf_free(&back);
        json_object_put(doc);
        json_object_put(again);
    }
}

/* ---- latencies ---- */

static void test_latency_percentiles_are_within_two_percent(void **state)
{
    struct latency *l = calloc(1, sizeof *l), *sum = calloc(1, sizeof *sum);
    (void)state;
    assert_true(latency_percentile_ms(l, 0.5) == 0);
    for (uint64_t us = 1; us <= 100000; us++)
        latency_add(l, us);
    latency_merge(sum, l);
    latency_merge(sum, l);
    static const double parts[] = {0.001, 0.5, 0.9, 0.99, 0.999};
    for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) {
        double expected = parts[i] * 100, got = latency_percentile_ms(sum, parts[i]);
        assert_true(got >= expected && got <= expected * 1.02);
    }
    assert_true(latency_percentile_ms(l, 1) == 100);
    assert_int_equal(latency_between(l, 0, 1 << 20), 100000);
    assert_int_equal(latency_between(l, 64, 128), 64);
    latency_add(l, UINT64_MAX / 2);
    assert_int_equal(l->n, 100001);
    free(l);
    free(sum);
}

/* ---- what an answer means ---- */

static void test_judge_sends_again_only_what_is_safe(void **state)
{
    (void)state;
    /* Nobody was there, or the node says that it has not tried. */
    for (unsigned repeat = REQUEST_READ; repeat <= REQUEST_UNSAFE; repeat++) {
        assert_int_equal(client_judge((enum request_repeat)repeat, false, 0), VERDICT_ELSEWHERE);
        assert_int_equal(client_judge((enum request_repeat)repeat, true, 503), VERDICT_ELSEWHERE);
        assert_int_equal(client_judge((enum request_repeat)repeat, true, 200), VERDICT_DONE);
        assert_int_equal(client_judge((enum request_repeat)repeat, true, 412), VERDICT_DONE);
    }
    /* It was sent, and what became of it is not known. */
    assert_int_equal(client_judge(REQUEST_READ, true, 0), VERDICT_ELSEWHERE);
    assert_int_equal(client_judge(REQUEST_READ, true, 504), VERDICT_ELSEWHERE);
    assert_int_equal(client_judge(REQUEST_ONCE, true, 0), VERDICT_UNSETTLED);
    assert_int_equal(client_judge(REQUEST_ONCE, true, 504), VERDICT_UNSETTLED);
    assert_int_equal(client_judge(REQUEST_UNSAFE, true, 0), VERDICT_UNSETTLED);
    assert_int_equal(client_judge(REQUEST_UNSAFE, true, 504), VERDICT_UNSETTLED);
}

static void test_exit_status_follows_the_http_status(void **state)
{
    static const struct {
        enum request_repeat repeat;
        unsigned http_status;
        int expected;
    } cases[] = {
        {REQUEST_READ, 404, 3}, {REQUEST_ONCE, 412, 4},   {REQUEST_READ, 503, 5},
        {REQUEST_READ, 0, 5},   {REQUEST_READ, 504, 5},   {REQUEST_ONCE, 504, 7},
        {REQUEST_ONCE, 403, 6}, {REQUEST_READ, 401, 6},   {REQUEST_ONCE, 400, 1},
        {REQUEST_ONCE, 409, 1}, {REQUEST_UNSAFE, 507, 1},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(client_exit_status(cases[i].repeat, cases[i].http_status),
                         cases[i].expected);
}

static void test_reason_is_the_message_of_either_dialect(void **state)
{
    struct answer a = {.status = 412};
    struct buf out = BUF_INIT;
    (void)state;
    buf_append_str(&a.body, "{\"error\":{\"code\":\"c\",\"message\":\"the text\"}}");
    client_reason(&a, &out);
    assert_buf(&out, "the text");
    buf_clear(&a.body);
    buf_append_str(&a.body, "{\"Err\":\"KeyNotFound\"}");
    client_reason(&a, &out);
    assert_buf(&out, "HTTP status 412: \"KeyNotFound\"");
    buf_clear(&a.body);
    buf_append_str(&a.body, "<html>");
    client_reason(&a, &out);
    assert_buf(&out, "HTTP status 412");
    answer_free(&a);
}

/* ---- requests ---- */

static void test_request_names_any_key(void **state)
{
    struct request r;
    (void)state;
    request_init(&r, "PUT", REQUEST_ONCE, "");
    request_key(&r, "a/../\0", 6);
    request_query_str(&r, "timeout", "5s");
    request_query_str(&r, "x", "a&b");
    assert_string_equal(buf_str(&r.target), "/v1/kv/a/../%00?timeout=5s&x=a%26b");
    assert_true(strlen(r.once) > 16);
    request_free(&r);
}

static void test_request_as_a_line_for_curl(void **state)
{
    struct request r;
    struct buf line = BUF_INIT;
    (void)state;
    request_init(&r, "PUT", REQUEST_UNSAFE, "/v1/kv/..");
    request_header(&r, "If-Match: \"%d\"", 17);
    r.body = "it's", r.body_len = 4;
    request_curl_line(&r, "http://h:1", &line);
    assert_buf(&line, "curl -sS -g --path-as-is -X PUT -H 'If-Match: \"17\"' --data-raw 'it'\\''s' "
                      "http://h:1/v1/kv/..");
    r.body = "a\0b", r.body_len = 3;
    request_curl_line(&r, "http://h:1", &line);
    assert_buf(&line, "printf %s YQBi | base64 -d | curl -sS -g --path-as-is -X PUT "
                      "-H 'If-Match: \"17\"' --data-binary @- http://h:1/v1/kv/..");
    request_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_content_type_is_one_line_of_printable_ascii),
        cmocka_unit_test(test_base64_of_any_bytes_comes_back),
        cmocka_unit_test(test_base64_that_is_none_is_refused),
        cmocka_unit_test(test_utf8_is_told_from_other_bytes),
        cmocka_unit_test(test_percent_leaves_only_what_a_path_may_have),
        cmocka_unit_test(test_visible_is_one_line_and_tells_keys_apart),
        cmocka_unit_test(test_shell_words_mean_what_they_were),
        cmocka_unit_test(test_numbers_are_readable),
        cmocka_unit_test(test_lines_come_whole_however_they_are_cut),
        cmocka_unit_test(test_doc_takes_whole_documents_only),
        cmocka_unit_test(test_doc_bytes_of_any_kind_come_back),
        cmocka_unit_test(test_latency_percentiles_are_within_two_percent),
        cmocka_unit_test(test_judge_sends_again_only_what_is_safe),
        cmocka_unit_test(test_exit_status_follows_the_http_status),
        cmocka_unit_test(test_reason_is_the_message_of_either_dialect),
        cmocka_unit_test(test_request_names_any_key),
        cmocka_unit_test(test_request_as_a_line_for_curl),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
