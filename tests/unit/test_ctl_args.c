/* SPDX-License-Identifier: MIT
 * ctl/: the command line and its tables.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "ctl/commands.h"

static struct args args;
static char line[256];
static char *argv[32];

/* Reads the words of text, which blanks separate. */
static int parse(const char *text)
{
    int argc = 0;
    snprintf(line, sizeof line, "crabclusterctl %s", text);
    for (char *word = strtok(line, " "); word; word = strtok(NULL, " "))
        argv[argc++] = word;
    return args_parse(argc, argv, &args);
}

static void takes(const char *text, const char *command, unsigned n_words)
{
    assert_int_equal(parse(text), 0);
    assert_string_equal(args.command->name, command);
    assert_int_equal(args.n_words, n_words);
}

static void refuses(const char *text)
{
    assert_int_equal(parse(text), ERR_INVALID);
}

static void test_args_of_one_and_two_words_find_their_command(void **state)
{
    (void)state;
    takes("get k", "get", 1);
    takes("member list", "member list", 0);
    takes("member add a:1", "member add", 1);
    assert_string_equal(args.words[0], "a:1");
    takes("status", "status", 0);
    refuses("");
    refuses("member");
    refuses("member frobnicate");
    refuses("frobnicate");
    refuses("list");
    refuses("ge k");
    refuses("gets k");
}

static void test_args_words_are_counted(void **state)
{
    (void)state;
    refuses("get");
    refuses("get a b");
    takes("put a", "put", 1);
    takes("put a b", "put", 2);
    refuses("put a b c");
    refuses("status now");
    takes("recover a b c d", "recover", 4);
}

static void test_args_flags_stand_anywhere(void **state)
{
    (void)state;
    takes("--json get --endpoints a:1 k --timeout=5s", "get", 1);
    assert_true(args_has(&args, FLAG_JSON));
    assert_false(args_has(&args, FLAG_QUIET));
    assert_string_equal(args.value[FLAG_ENDPOINTS], "a:1");
    assert_string_equal(args.value[FLAG_TIMEOUT], "5s");
    takes("put --content-type= k -v", "put", 2);
    assert_string_equal(args.value[FLAG_CONTENT_TYPE], "");
    assert_string_equal(args.words[1], "-v");
    takes("incr k -5", "incr", 2);
}

static void test_args_after_two_dashes_everything_is_a_word(void **state)
{
    (void)state;
    takes("put -- --json --", "put", 2);
    assert_string_equal(args.words[0], "--json");
    assert_string_equal(args.words[1], "--");
    assert_false(args_has(&args, FLAG_JSON));
}

static void test_args_flags_that_are_wrong_are_refused(void **state)
{
    (void)state;
    refuses("get k --frobnicate");
    refuses("get k --jso");
    refuses("get k --json=1");
    refuses("get k --json --json");
    refuses("get k --endpoints");
    refuses("get k --if-absent");
    takes("put k --if-absent", "put", 1);
}

static void test_args_curl_is_refused_where_nothing_is_sent(void **state)
{
    (void)state;
    takes("get k --curl", "get", 1);
    refuses("recover d --curl");
    refuses("bench --curl");
    refuses("completion bash --curl");
}

static void test_args_help_needs_nothing_else(void **state)
{
    (void)state;
    assert_int_equal(parse("--help"), 0);
    assert_null(args.command);
    takes("get --help", "get", 0);
    assert_int_equal(parse("--version"), 0);
    refuses("frobnicate --help");
}

static void test_args_numbers_are_read_strictly(void **state)
{
    uint64_t n = 0;
    (void)state;
    takes("ls --limit 10", "ls", 0);
    assert_int_equal(args_count(&args, FLAG_LIMIT, 1, 10, 0, &n), 0);
    assert_int_equal(n, 10);
    assert_int_equal(args_count(&args, FLAG_LIMIT, 1, 9, 0, &n), ERR_INVALID);
    assert_int_equal(args_count(&args, FLAG_LIMIT, 11, 12, 0, &n), ERR_INVALID);
    assert_int_equal(args_count(&args, FLAG_MIN_REVISION, 1, 9, 7, &n), 0);
    assert_int_equal(n, 7);
    static const char *const wrong[] = {"-1", "1x", "x", "0x10", "99999999999999999999", "1K"};
    for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char text[64];
        snprintf(text, sizeof text, "ls --limit=%s", wrong[i]);
        takes(text, "ls", 0);
        assert_int_equal(args_count(&args, FLAG_LIMIT, 0, UINT64_MAX, 0, &n), ERR_INVALID);
    }
}

static void test_args_units_are_those_of_the_configuration(void **state)
{
    uint64_t n = 0;
    (void)state;
    takes("bench --duration 2m --value-size 64K", "bench", 0);
    assert_int_equal(args_duration_ms(&args, FLAG_DURATION, 1, UINT64_MAX, 0, &n), 0);
    assert_int_equal(n, 120000);
    assert_int_equal(args_size(&args, FLAG_VALUE_SIZE, 1, UINT64_MAX, 0, &n), 0);
    assert_int_equal(n, 65536);
    takes("bench --duration 5 --value-size 64k", "bench", 0);
    assert_int_equal(args_duration_ms(&args, FLAG_DURATION, 1, UINT64_MAX, 0, &n), ERR_INVALID);
    assert_int_equal(args_size(&args, FLAG_VALUE_SIZE, 1, UINT64_MAX, 0, &n), ERR_INVALID);
}

static void test_commands_have_a_way_to_be_run(void **state)
{
    (void)state;
    for (const struct command *c = commands; c->name; c++) {
        assert_non_null(c->run);
        assert_true(c->n_min <= c->n_max && c->n_max <= ARGS_WORDS_MAX);
        assert_int_equal(c->n_max > 0, c->words[0] != '\0');
    }
    for (unsigned id = 0; id < FLAG_IDS; id++)
        assert_non_null(flags[id].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_args_of_one_and_two_words_find_their_command),
        cmocka_unit_test(test_args_words_are_counted),
        cmocka_unit_test(test_args_flags_stand_anywhere),
        cmocka_unit_test(test_args_after_two_dashes_everything_is_a_word),
        cmocka_unit_test(test_args_flags_that_are_wrong_are_refused),
        cmocka_unit_test(test_args_curl_is_refused_where_nothing_is_sent),
        cmocka_unit_test(test_args_help_needs_nothing_else),
        cmocka_unit_test(test_args_numbers_are_read_strictly),
        cmocka_unit_test(test_args_units_are_those_of_the_configuration),
        cmocka_unit_test(test_commands_have_a_way_to_be_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
