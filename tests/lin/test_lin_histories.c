/* SPDX-License-Identifier: MIT
 * The checker on histories recorded by Jepsen, whose verdicts were found by
 * others: VERDICTS.tsv beside them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "lin/jepsen.h"
#include "unit/conformance.h"

/* Of the text of a log, one event a line; the logger's name is put before each. */
static enum lin_verdict verdict_of_text(const char *const lines[], size_t n)
{
    struct lin *lin = lin_new();
    struct lin_report report;
    unsigned line = 0;
    FILE *f = tmpfile();
    assert_non_null(f);
    for (size_t i = 0; i < n; i++)
        (void)fprintf(f, "INFO  jepsen.util - %s\n", lines[i]);
    rewind(f);
    assert_int_equal(jepsen_read(f, lin, &line), 0);
    fclose(f);
    enum lin_verdict verdict = lin_check(lin, NULL, &report);
    lin_free(&lin);
    return verdict;
}

#define VERDICT_OF(...)                                                                            \
    verdict_of_text((const char *const[]){__VA_ARGS__},                                            \
                    sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void test_log_of_failed_swap_tells_of_another_value(void **state)
{
    (void)state;
    assert_int_equal(VERDICT_OF("0\t:invoke\t:write\t4", "0\t:ok\t:write\t4",
                                "1 :invoke :cas [3 0]", "1 :fail :cas [3 0]"),
                     LIN_LINEARIZABLE);
    assert_int_equal(VERDICT_OF("0 :invoke :write 4", "0 :ok :write 4", "1 :invoke :cas [4 0]",
                                "1 :fail :cas [4 0]"),
                     LIN_VIOLATED);
}

static void test_log_of_timed_out_operation_leaves_it_unknown(void **state)
{
    (void)state;
    const char *lines[] = {"0 :invoke :write 4", "0 :info :write :timed-out", "1 :invoke :read nil",
                           "1 :ok :read 4"};
    assert_int_equal(verdict_of_text(lines, 4), LIN_LINEARIZABLE);
    lines[3] = "1 :ok :read nil";
    assert_int_equal(verdict_of_text(lines, 4), LIN_LINEARIZABLE);
    lines[3] = "1 :fail :read :timed-out";
    assert_int_equal(verdict_of_text(lines, 4), LIN_LINEARIZABLE);
    lines[1] = "0 :fail :write :timed-out";
    lines[3] = "1 :ok :read 4";
    assert_int_equal(verdict_of_text(lines, 4), LIN_LINEARIZABLE);
    lines[1] = "0 :fail :write 4";
    assert_int_equal(verdict_of_text(lines, 4), LIN_VIOLATED);
    lines[1] = "0 :ok :write 4";
    lines[3] = "1 :ok :read nil";
    assert_int_equal(verdict_of_text(lines, 4), LIN_VIOLATED);
}

static void test_log_of_process_used_again_leaves_what_was_open_unknown(void **state)
{
    (void)state;
    assert_int_equal(VERDICT_OF("0 :invoke :cas [1 2]", ":nemesis :info :start nil",
                                "0 :invoke :write 1", "0 :ok :write 1", "0 :invoke :read nil",
                                "0 :ok :read 2"),
                     LIN_LINEARIZABLE);
}

static void test_log_that_is_malformed_names_its_line(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "0 :ok :write 4",          "0 :invoke :write nil",   "0 :invoke :cas 4",
        "0 :invoke :cas [4 nil]",  "0 :invoke :append 4",    "0 :invoke :read",
        "1 :ok :write 4",          "1 :ok :read :timed-out", "1 :ok :read 4x",
        "99999999999 :ok :read 4", "1 :gone :read nil",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct lin *lin = lin_new();
        unsigned line = 0;
        FILE *f = tmpfile();
        assert_non_null(f);
        (void)fprintf(f, "INFO  jepsen.util - 1 :invoke :read nil\nINFO  jepsen.util - %s\n",
                      wrong[i]);
        rewind(f);
        assert_int_equal(jepsen_read(f, lin, &line), ERR_INVALID);
        assert_int_equal(line, 2);
        fclose(f);
        lin_free(&lin);
    }
}

static void check_history(const char *directory, const char *name, bool is_linearizable,
                          uint64_t *steps)
{
    char path[2400];
    (void)snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("%s is listed and not there", path);
    struct lin *lin = lin_new();
    struct lin_report report;
    unsigned line = 0;
    if (jepsen_read(f, lin, &line))
        fail_msg("%s:%u is not understood", path, line);
    fclose(f);
    assert_true(lin_count(lin) > 0);
    if (lin_check(lin, NULL, &report) != (is_linearizable ? LIN_LINEARIZABLE : LIN_VIOLATED))
        fail_msg("%s: wrong verdict %d\n%s", path, (int)report.verdict, report.explanation);
    *steps += report.steps;
    lin_free(&lin);
}

static void test_recorded_histories_get_their_verdicts(void **state)
{
    (void)state;
    char directory[2048], path[2400], name[256], verdict[16];
    conformance_path("histories", directory, sizeof directory);
    (void)snprintf(path, sizeof path, "%s/VERDICTS.tsv", directory);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    unsigned n = 0, n_linearizable = 0;
    uint64_t steps = 0;
    for (; fscanf(f, "%255s %15s", name, verdict) == 2; n++) {
        bool is_linearizable = strcmp(verdict, "true") == 0;
        assert_true(is_linearizable || strcmp(verdict, "false") == 0);
        check_history(directory, name, is_linearizable, &steps);
        n_linearizable += is_linearizable ? 1 : 0;
    }
    assert_true(feof(f));
    fclose(f);
    assert_true(n > 0);
    print_message("histories: %u, %u of them linearizable, in %llu steps\n", n, n_linearizable,
                  (unsigned long long)steps);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_of_failed_swap_tells_of_another_value),
        cmocka_unit_test(test_log_of_timed_out_operation_leaves_it_unknown),
        cmocka_unit_test(test_log_of_process_used_again_leaves_what_was_open_unknown),
        cmocka_unit_test(test_log_that_is_malformed_names_its_line),
        cmocka_unit_test(test_recorded_histories_get_their_verdicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
