/* SPDX-License-Identifier: MIT
 * api/: percent-encoding, base64, numbers, durations and entity tags, as they
 * come from clients.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "api/decode.h"
#include "api/etag.h"

static void check_percent(const char *in, bool plus, const char *expected, size_t expected_len)
{
    char out[32];
    size_t len = 0;
    if (decode_percent(in, strlen(in), plus, out, sizeof out, &len) != 0)
        fail_msg("%s is refused", in);
    assert_int_equal(len, expected_len);
    assert_memory_equal(out, expected, len);
}

static void test_percent_is_decoded_once_and_keeps_every_byte(void **state)
{
    (void)state;
    check_percent("", false, "", 0);
    check_percent("a/b//../c", false, "a/b//../c", 9);
    check_percent("%2f%2F%2541%00%ff+", false, "//%41\0\xff+", 8);
    check_percent("a+b%2B", true, "a b+", 4);
    check_percent("%C3%A4", false, "\xc3\xa4", 2);
}

static void test_percent_that_is_none_is_refused(void **state)
{
    static const char *const bad[] = {"%", "%2", "a%", "%zz", "%2g", "%g2", "%%41", "%-1"};
    char out[4];
    size_t len = 77;
    (void)state;
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        if (decode_percent(bad[i], strlen(bad[i]), false, out, sizeof out, &len) != ERR_INVALID)
            fail_msg("%s is taken", bad[i]);
    assert_int_equal(decode_percent("abc%20", 6, false, out, sizeof out, &len), 0);
    assert_int_equal(len, 4);
    assert_int_equal(decode_percent("abc%20d", 7, false, out, sizeof out, &len), ERR_TOO_LARGE);
    /* what follows its end is no part of it */
    assert_int_equal(decode_percent("%41", 2, false, out, sizeof out, &len), ERR_INVALID);
    assert_int_equal(len, 4);
}

static void check_base64(const char *in, const char *expected, size_t expected_len)
{
    struct buf out = BUF_INIT;
    buf_append(&out, "x", 1);
    if (decode_base64(in, strlen(in), &out) != 0)
        fail_msg("%s is refused", in);
    assert_int_equal(out.len, expected_len + 1);
    assert_memory_equal(out.data + 1, expected, expected_len);
    buf_free(&out);
}

static void test_base64_of_either_alphabet_with_and_without_padding(void **state)
{
    (void)state;
    check_base64("", "", 0);
    check_base64("Zg==", "f", 1);
    check_base64("Zg", "f", 1);
    check_base64("Zm8=", "fo", 2);
    check_base64("Zm9v", "foo", 3);
    check_base64("Zm9vYmFy", "foobar", 6);
    check_base64("-_8A", "\xfb\xff\x00", 3);
    check_base64("+/8A", "\xfb\xff\x00", 3);
    check_base64(" /8A", "\xfb\xff\x00", 3);
}

static void test_base64_that_is_none_is_refused(void **state)
{
    static const char *const bad[] = {
        "Z", "Z===", "Zg=", "Zh==", "Zg==Zg==", "Zm9=", "=", "====", "Zm9v=", "Z\n8A"};
    struct buf out = BUF_INIT;
    (void)state;
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        if (decode_base64(bad[i], strlen(bad[i]), &out) != ERR_INVALID || out.len != 0)
            fail_msg("%s is taken", bad[i]);
    buf_free(&out);
}

static void test_numbers_up_to_64_bits_and_nothing_around_them(void **state)
{
    uint64_t u = 7;
    int64_t i = 7;
    (void)state;
    assert_int_equal(decode_u64("18446744073709551615", 20, &u), 0);
    assert_true(u == UINT64_MAX);
    assert_int_equal(decode_u64("18446744073709551616", 20, &u), ERR_TOO_LARGE);
    assert_int_equal(decode_u64("007", 3, &u), 0);
    assert_int_equal(u, 7);
    assert_int_equal(decode_u64("", 0, &u), ERR_INVALID);
    assert_int_equal(decode_u64("-1", 2, &u), ERR_INVALID);
    assert_int_equal(decode_u64("1 ", 2, &u), ERR_INVALID);
    assert_int_equal(decode_i64("-9223372036854775808", 20, &i), 0);
    assert_true(i == INT64_MIN);
    assert_int_equal(decode_i64("9223372036854775807", 19, &i), 0);
    assert_true(i == INT64_MAX);
    assert_int_equal(decode_i64("9223372036854775808", 19, &i), ERR_TOO_LARGE);
    assert_int_equal(decode_i64("-9223372036854775809", 20, &i), ERR_TOO_LARGE);
    assert_int_equal(decode_i64("+5", 2, &i), 0);
    assert_int_equal(i, 5);
    assert_int_equal(decode_i64("-", 1, &i), ERR_INVALID);
    assert_int_equal(decode_i64("--5", 3, &i), ERR_INVALID);
    assert_int_equal(decode_i64("", 0, &i), ERR_INVALID);
}

static void test_durations_want_their_unit(void **state)
{
    static const struct {
        const char *text;
        int err;
        uint64_t ms;
    } cases[] = {{"1ms", 0, 1},
                 {"30s", 0, 30000},
                 {"2m", 0, 120000},
                 {"1h", 0, 3600000},
                 {"0s", 0, 0},
                 {"5", ERR_INVALID, 0},
                 {"5 s", ERR_INVALID, 0},
                 {"s", ERR_INVALID, 0},
                 {"", ERR_INVALID, 0},
                 {"5S", ERR_INVALID, 0},
                 {"1.5s", ERR_INVALID, 0},
                 {"5sm", ERR_INVALID, 0},
                 {"-5s", ERR_INVALID, 0},
                 {"18446744073709551615h", ERR_TOO_LARGE, 0}};
    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t ms = 0;
        if (decode_duration(cases[i].text, strlen(cases[i].text), &ms) != cases[i].err)
            fail_msg("%s", cases[i].text);
        if (!cases[i].err)
            assert_int_equal(ms, cases[i].ms);
    }
}

static bool match(const char *text, uint64_t revision, bool weakly)
{
    struct etag_list list;
    if (etag_parse(text, &list) != 0)
        fail_msg("%s is refused", text);
    return etag_matches(&list, revision, weakly);
}

static void test_etag_lists_match_as_the_rfc_says(void **state)
{
    (void)state;
    assert_true(match("\"17\"", 17, false));
    assert_true(match("17", 17, false));
    assert_false(match("\"17\"", 18, true));
    assert_false(match("\"17\"", 0, true));
    assert_true(match("*", 1, false));
    assert_false(match("*", 0, true));
    assert_true(match(" \"1\" ,\"2\",W/\"3\"\t", 2, false));
    assert_true(match("\"1\", \"2\", W/\"3\"", 3, true));
    assert_false(match("\"1\", \"2\", W/\"3\"", 3, false));
    assert_false(match("\"abc\", \"017\", \"\", \"17 \"", 17, true));
    assert_true(match("\"a,b\", \"17\"", 17, true));
    assert_true(match("\"18446744073709551614\"", UINT64_MAX - 1, true));
}

static void test_etag_lists_that_are_none_are_refused(void **state)
{
    static const char *const bad[] = {"",       " ",      "\"17",   "17\"",        "w/\"17\"",
                                      "W/17",   "\"1\",", ",\"1\"", "\"1\" \"2\"", "*, \"1\"",
                                      "\"1\"x", "**",     "abc",    "-1",          "W/"};
    struct etag_list list = {.n = 7};
    (void)state;
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
        if (etag_parse(bad[i], &list) != ERR_INVALID || list.n != 7)
            fail_msg("%s is taken", bad[i]);
    assert_int_equal(etag_parse("1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16", &list), 0);
    assert_int_equal(list.n, ETAG_MAX);
    assert_int_equal(etag_parse("1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17", &list), ERR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_percent_is_decoded_once_and_keeps_every_byte),
        cmocka_unit_test(test_percent_that_is_none_is_refused),
        cmocka_unit_test(test_base64_of_either_alphabet_with_and_without_padding),
        cmocka_unit_test(test_base64_that_is_none_is_refused),
        cmocka_unit_test(test_numbers_up_to_64_bits_and_nothing_around_them),
        cmocka_unit_test(test_durations_want_their_unit),
        cmocka_unit_test(test_etag_lists_match_as_the_rfc_says),
        cmocka_unit_test(test_etag_lists_that_are_none_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
