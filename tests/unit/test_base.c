/* SPDX-License-Identifier: MIT
 * base/: the pieces everything else stands on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/histogram.h"
#include "base/list.h"
#include "base/log.h"
#include "base/number.h"
#include "base/rng.h"
#include "base/uuid.h"

static void test_crc32c_known_vectors_match(void **state)
{
    (void)state;
    uint8_t zeros[32] = {0}, ones[32], ascending[32];
    memset(ones, 0xff, sizeof ones);
    for (unsigned i = 0; i < 32; i++)
        ascending[i] = (uint8_t)i;
    /* RFC 3720, appendix B.4 */
    assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aa);
    assert_int_equal(crc32c(0, ones, 32), 0x62a8ab43);
    assert_int_equal(crc32c(0, ascending, 32), 0x46dd794e);
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
}

static void test_crc32c_portable_and_instruction_agree(void **state)
{
    (void)state;
    uint8_t data[300];
    struct rng rng = {7};
    for (size_t len = 0; len < sizeof data; len++) {
        data[len] = (uint8_t)rng_next(&rng);
        assert_int_equal(crc32c(0, data, len), crc32c_portable(0, data, len));
        assert_int_equal(crc32c(crc32c(0, data, len / 3), data + len / 3, len - len / 3),
                         crc32c(0, data, len));
    }
}

/* Long enough for every mix of lanes, from any alignment. */
static void test_crc32c_of_long_inputs_agrees_with_the_portable_one(void **state)
{
    (void)state;
    static uint8_t data[12000];
    struct rng rng = {8};
    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (uint8_t)rng_next(&rng);
    for (size_t len = 0; len < sizeof data - 16; len += 37) {
        const uint8_t *from = data + len % 16;
        uint32_t start = (uint32_t)rng_next(&rng);
        assert_int_equal(crc32c(start, from, len), crc32c_portable(start, from, len));
    }
}

static void check_number(uint64_t number)
{
    char expected[40], decimal[NUMBER_DIGITS_MAX + 1], hex[NUMBER_HEX_DIGITS + 1];
    struct buf b = BUF_INIT;
    int len = snprintf(expected, sizeof expected, "%llu", (unsigned long long)number);
    assert_int_equal(number_format(number, decimal), len);
    assert_string_equal(decimal, expected);
    buf_append_number(&b, number);
    assert_string_equal(buf_str(&b), expected);
    buf_free(&b);
    snprintf(expected, sizeof expected, "%016llx", (unsigned long long)number);
    number_format_hex(number, hex);
    assert_string_equal(hex, expected);
}

static void test_number_is_written_as_printf_writes_it(void **state)
{
    (void)state;
    struct rng rng = {9};
    check_number(0);
    check_number(UINT64_MAX);
    for (uint64_t power = 1; power <= UINT64_MAX / 10; power *= 10) {
        check_number(power - 1);
        check_number(power);
    }
    for (unsigned shift = 0; shift < 64; shift++)
        check_number(rng_next(&rng) >> shift);
}

static void test_uuid_text_round_trips(void **state)
{
    (void)state;
    struct uuid id;
    char text[UUID_TEXT_LEN + 1];
    assert_int_equal(uuid_parse_text("550E8400-e29b-41d4-a716-446655440000", 36, &id), 0);
    assert_string_equal(uuid_format(id, text), "550e8400-e29b-41d4-a716-446655440000");
    assert_int_equal(uuid_parse_text("550e8400-e29b-41d4-a716-44665544000", 35, &id), ERR_INVALID);
    assert_int_equal(uuid_parse_text("550e8400ae29b-41d4-a716-446655440000", 36, &id), ERR_INVALID);
    assert_int_equal(uuid_parse_text("550e8400-e29b-41d4-a716-44665544000g", 36, &id), ERR_INVALID);
}

static void test_addr_forms_accepted_and_refused(void **state)
{
    (void)state;
    static const char *const good[] = {"127.0.0.1:8080", "[::1]:1", "node-1.example:65535"};
    static const char *const bad[] = {"",          "127.0.0.1", "127.0.0.1:",      "127.0.0.1:0",
                                      ":8080",     "a:65536",   "a:010",           "::1:80",
                                      "[::g]:80",  "a b:80",    "a:80 ",           "a:-1",
                                      "[1.2.3]:1", "a:800000",  "http://a:80/x:1", "[]:1"};
    char text[ADDR_TEXT_MAX + 1];
    struct addr a;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(addr_parse(good[i], &a), 0);
        assert_string_equal(addr_format(&a, text), good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(addr_parse(bad[i], &a), ERR_INVALID);
    assert_true(addr_host_is_loopback("127.3.2.1"));
    assert_true(addr_host_is_loopback("LocalHost"));
    assert_false(addr_host_is_loopback("10.0.0.1"));
    assert_true(addr_host_is_wildcard("::"));
}

static void test_bytes_varint_round_trips(void **state)
{
    (void)state;
    static const uint64_t values[] = {0, 1, 127, 128, 16383, 16384, UINT32_MAX, UINT64_MAX};
    struct buf b = BUF_INIT;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        buf_put_varint(&b, values[i]);
    struct bytes_reader r = bytes_reader(b.data, b.len);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        assert_true(bytes_read_varint(&r) == values[i]);
    assert_true(bytes_reader_done(&r));
    buf_free(&b);
}

static void test_bytes_reader_truncated_input_fails_for_good(void **state)
{
    (void)state;
    static const uint8_t overlong[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    struct bytes_reader r = bytes_reader(overlong, sizeof overlong);
    assert_int_equal(bytes_read_varint(&r), 0);
    assert_false(bytes_reader_ok(&r));
    r = bytes_reader("abc", 3);
    assert_int_equal(bytes_read_u32(&r), 0);
    assert_int_equal(bytes_read_u8(&r), 0);
    assert_false(bytes_reader_ok(&r));
    size_t len = 99;
    r = bytes_reader("\x05"
                     "abc",
                     4);
    assert_null(bytes_read_string(&r, 10, &len));
    assert_int_equal(len, 99);
}

struct item {
    struct list link;
    int value;
};

static void test_list_keeps_order_over_splice_and_removal(void **state)
{
    (void)state;
    struct list a, b;
    struct item items[4] = {{.value = 0}, {.value = 1}, {.value = 2}, {.value = 3}};
    list_init(&a);
    list_init(&b);
    for (int i = 0; i < 4; i++)
        list_push_back(i < 2 ? &a : &b, &items[i].link);
    list_splice(&a, &b);
    assert_true(list_is_empty(&b));
    list_remove(&items[1].link);
    int expected[] = {0, 2, 3}, n = 0;
    LIST_FOREACH_SAFE (it, following, &a) {
        assert_int_equal(LIST_ENTRY(it, struct item, link)->value, expected[n++]);
        list_remove(it);
    }
    assert_int_equal(n, 3);
    assert_null(list_pop_front(&a));
}

static void test_log_limit_allows_once_per_interval(void **state)
{
    (void)state;
    struct log_limit limit = {0};
    assert_true(log_allow(&limit, 60000));
    assert_false(log_allow(&limit, 60000));
}

static void test_histogram_bounds_belong_to_their_buckets(void **state)
{
    (void)state;
    struct histogram h = {{0}, 0};
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        assert_true(i == 0 || histogram_bound_us[i] > histogram_bound_us[i - 1]);
        histogram_add(&h, histogram_bound_us[i]);
        assert_int_equal(h.bucket[i], i == 0 ? 1 : 2);
        histogram_add(&h, histogram_bound_us[i] + 1);
    }
    assert_int_equal(h.bucket[HISTOGRAM_BUCKETS], 1);
    assert_int_equal(histogram_count(&h), 2 * HISTOGRAM_BUCKETS);
    uint64_t before_us = h.sum_us;
    histogram_add(&h, 0);
    histogram_add(&h, 7);
    assert_int_equal(h.sum_us, before_us + 7);
    assert_int_equal(h.bucket[0], 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_crc32c_known_vectors_match),
        cmocka_unit_test(test_crc32c_portable_and_instruction_agree),
        cmocka_unit_test(test_crc32c_of_long_inputs_agrees_with_the_portable_one),
        cmocka_unit_test(test_number_is_written_as_printf_writes_it),
        cmocka_unit_test(test_uuid_text_round_trips),
        cmocka_unit_test(test_addr_forms_accepted_and_refused),
        cmocka_unit_test(test_bytes_varint_round_trips),
        cmocka_unit_test(test_bytes_reader_truncated_input_fails_for_good),
        cmocka_unit_test(test_list_keeps_order_over_splice_and_removal),
        cmocka_unit_test(test_histogram_bounds_belong_to_their_buckets),
        cmocka_unit_test(test_log_limit_allows_once_per_interval),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
