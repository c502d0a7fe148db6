/* SPDX-License-Identifier: MIT
 * conf/: what wins over what, flags, what --check-config and --help print, and
 * what a reload takes over.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "conf/options.h"
#include "tests/unit/conf_fixture.h"

static void test_load_without_anything_gives_defaults(void **state)
{
    (void)state;
    loads(NULL, "");
    assert_int_equal(action, CONF_RUN);
    assert_null(conf.config_file);
    assert_string_equal(conf.bind_addr, "127.0.0.1:8080");
    assert_string_equal(conf.advertise_addr, "127.0.0.1:8080");
    assert_string_equal(conf.data_dir, "/users/someone/.local/state/crabcluster/127.0.0.1-8080");
    assert_int_equal(conf.peers.n, 0);
    assert_true(conf.auto_init);
    assert_false(conf.allow_insecure);
    assert_int_equal(conf.allowed_origins.n, 0);
    assert_int_equal(conf.heartbeat_interval_ms, 100);
    assert_int_equal(conf.election_timeout_min_ms, 200);
    assert_int_equal(conf.election_timeout_max_ms, 400);
    assert_int_equal(conf.max_payload_entries, 500);
    assert_int_equal(conf.max_payload_bytes, 1 << 20);
    assert_int_equal(conf.replication_lag_threshold_ms, 2000);
    assert_int_equal(conf.clock_drift_max_ms, 0);
    assert_int_equal(conf.checkpoint_entries, 300000);
    assert_int_equal(conf.checkpoint_bytes, 32 << 20);
    assert_int_equal(conf.checkpoint_interval_ms, 300000);
    assert_int_equal(conf.log_tail_entries, 10000);
    assert_int_equal(conf.log_tail_bytes, 64 << 20);
    assert_int_equal(conf.disk_stall_timeout_ms, 2000);
    assert_int_equal(conf.max_value_bytes, 1 << 20);
    assert_int_equal(conf.max_connections, 10000);
    assert_int_equal(conf.request_timeout_ms, 5000);
    assert_in_range(conf.http_threads, 1, 4);
    assert_int_equal(conf.log_level, LOG_LEVEL_INFO);
    assert_int_equal(conf.log_target, LOG_TARGET_STDERR);
    for (int i = 0; i < CONF_OPTIONS; i++)
        assert_int_equal(conf.origin[i].source, CONF_DEFAULT);
}

static void test_load_precedence_is_flag_environment_file_default(void **state)
{
    (void)state;
    const char *text = "bind-addr = 127.0.0.1:1\nlog { level = error }\n"
                       "peers = { \"127.0.0.1:1\" }";
    loads(text, "");
    assert_int_equal(conf.log_level, LOG_LEVEL_ERROR);
    assert_int_equal(conf.origin[CONF_LOG_LEVEL].source, CONF_FILE);
    setenv("CRABCLUSTER_LOG", "warn", 1);
    loads(text, "");
    assert_int_equal(conf.log_level, LOG_LEVEL_WARN);
    assert_int_equal(conf.origin[CONF_LOG_LEVEL].source, CONF_ENVIRONMENT);
    loads(text, "--log-level debug --bind-addr=127.0.0.1:2 --peer 127.0.0.1:2 --peer 127.0.0.1:3");
    assert_int_equal(conf.log_level, LOG_LEVEL_DEBUG);
    assert_int_equal(conf.origin[CONF_LOG_LEVEL].source, CONF_FLAG);
    assert_string_equal(conf.bind_addr, "127.0.0.1:2");
    assert_int_equal(conf.peers.n, 2);
    assert_string_equal(conf.peers.items[1], "127.0.0.1:3");
    setenv("CRABCLUSTER_LOG", "loud", 1);
    refuses(text, "", "CRABCLUSTER_LOG in the environment: ", "error warn info debug");
    setenv("CRABCLUSTER_LOG", "", 1);
    loads(text, "");
    assert_int_equal(conf.log_level, LOG_LEVEL_ERROR);
    unsetenv("CRABCLUSTER_LOG");
}

static void test_data_dir_default_follows_environment_and_address(void **state)
{
    (void)state;
    setenv("XDG_STATE_HOME", "/var/state", 1);
    loads(NULL, "--bind-addr [::1]:9000");
    assert_string_equal(conf.data_dir, "/var/state/crabcluster/::1-9000");
    setenv("XDG_STATE_HOME", "relative", 1);
    loads(NULL, "");
    assert_string_equal(conf.data_dir, "/users/someone/.local/state/crabcluster/127.0.0.1-8080");
    unsetenv("XDG_STATE_HOME");
    unsetenv("HOME");
    refuses(NULL, "", "data-dir: not given", "--data-dir DIR");
    setenv("HOME", "/users/someone", 1);
}

static void test_data_dir_flag_relative_becomes_absolute(void **state)
{
    (void)state;
    char *here = getcwd(NULL, 0), expected[4200];
    assert_non_null(here);
    snprintf(expected, sizeof expected, "%s/some/data", here);
    free(here);
    loads(NULL, "--data-dir some/data");
    assert_string_equal(conf.data_dir, expected);
    refuses("data-dir = some/data", "", "FILE:1: data-dir: 'some/data' is not an absolute path",
            "/");
}

static void test_load_default_file_is_read_when_it_exists(void **state)
{
    (void)state;
    char *argv[] = {(char *)"crabcluster", NULL};
    conf_free(&conf);
    write_file("bind-addr = 127.0.0.1:7\n");
    assert_int_equal(conf_load_from(file, 1, argv, &conf, &action, &error), 0);
    assert_string_equal(conf.bind_addr, "127.0.0.1:7");
    conf_free(&conf);
    unlink(file);
    assert_int_equal(conf_load_from(file, 1, argv, &conf, &action, &error), 0);
    assert_null(conf.config_file);
    assert_string_equal(conf.bind_addr, "127.0.0.1:8080");
    conf_free(&conf);
    assert_true(conf_load_from(dir, 1, argv, &conf, &action, &error) < 0); /* a directory */
    assert_non_null(strstr(error.text, "Is a directory"));
}

static void test_load_named_file_must_exist(void **state)
{
    (void)state;
    refuses(NULL, "--config /nonexistent/x", "/nonexistent/x: cannot be opened", "No such file");
    loads(NULL, "--config /dev/null");
    loads("", "");
    loads("\n \n# only a comment", "");
}

static void test_flags_say_what_to_do(void **state)
{
    (void)state;
    loads(NULL, "--help --nonsense");
    assert_int_equal(action, CONF_HELP);
    assert_null(conf.bind_addr);
    loads(NULL, "--version");
    assert_int_equal(action, CONF_VERSION);
    loads(NULL, "--check-config");
    assert_int_equal(action, CONF_CHECK_CONFIG);
    assert_string_equal(conf.bind_addr, "127.0.0.1:8080");
}

static void test_flags_of_offline_work_stand_alone(void **state)
{
    (void)state;
    loads("data-dir = /d", "--restore some/file");
    assert_int_equal(action, CONF_RESTORE);
    assert_string_equal(conf.restore_file, "some/file");
    assert_string_equal(conf.data_dir, "/d");
    loads(NULL, "--force-new-cluster --data-dir=/e");
    assert_int_equal(action, CONF_FORCE_NEW_CLUSTER);
    assert_null(conf.restore_file);
    loads(NULL, "--recover");
    assert_int_equal(action, CONF_RECOVER);
    assert_null(conf.restore_file);
    loads(NULL, "--recover --restore f");
    assert_int_equal(action, CONF_RECOVER);
    assert_string_equal(conf.restore_file, "f");
    loads(NULL, "--restore f --recover");
    assert_int_equal(action, CONF_RECOVER);
    refuses(NULL, "--recover --force-new-cluster", "--force-new-cluster: not together", "--help");
    refuses(NULL, "--restore", "--restore: a value is missing", "--restore FILE");
    refuses(NULL, "--restore a --restore b", "--restore: given twice", "--help");
    refuses(NULL, "--restore a --force-new-cluster", "--force-new-cluster: not together", "--help");
    refuses(NULL, "--check-config --restore a", "--restore: not together", "--help");
    refuses(NULL, "--force-new-cluster=yes", "--force-new-cluster: takes no value", "--help");
}

static void test_flags_bad_are_refused_with_a_hint(void **state)
{
    (void)state;
    refuses(NULL, "--bnd-addr x", "--bnd-addr: unknown flag", "--help");
    refuses(NULL, "--mirror", "--mirror: unknown flag", "--help");
    refuses(NULL, "--bind x", "--bind: unknown flag", "--help"); /* no abbreviations */
    refuses(NULL, "-h", "unexpected argument '-h'", "--help");
    refuses(NULL, "--", "unexpected argument '--'", "--help");
    refuses(NULL, "start", "unexpected argument 'start'", "--help");
    refuses(NULL, "--bind-addr", "--bind-addr: a value is missing", "--bind-addr HOST:PORT");
    refuses(NULL, "--bind-addr --peer x:1", "--bind-addr: a value is missing", "HOST:PORT");
    refuses(NULL, "--bind-addr=", "--bind-addr: a value is missing", "HOST:PORT");
    refuses(NULL, "--config", "--config: a value is missing", "--config FILE");
    refuses(NULL, "--config a --config b", "--config: given twice", "--help");
    refuses(NULL, "--data-dir /a --data-dir /b", "--data-dir: given twice", "--help");
    refuses(NULL, "--check-config=yes", "--check-config: takes no value", "--help");
    refuses(NULL, "--bind-addr 8080", "--bind-addr: '8080' is not HOST:PORT", "127.0.0.1:8080");
    refuses(NULL, "--bind-addr ::1:8080", "--bind-addr: '::1:8080' is not HOST:PORT", "[::1]");
    refuses(NULL, "--peer nonsense", "--peer: 'nonsense' is not HOST:PORT", "example");
    refuses(NULL, "--log-level loud", "--log-level: 'loud' is not known", "error warn info debug");
}

static char *printed(void (*print)(FILE *out))
{
    static char *text; /* not on the stack: gcc 12 -O2 thinks that it is what we return */
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    print(out);
    fclose(out);
    return text;
}

static void print_conf(FILE *out)
{
    conf_print(&conf, out);
}

/* The line of text that starts with start, blanks not counted; owned. */
static char *line_of(const char *text, const char *start)
{
    const char *p = strstr(text, start);
    assert_non_null(p);
    char *line = strndup(p, strcspn(p, "\n"));
    return line;
}

static void test_check_config_prints_every_value_with_its_origin(void **state)
{
    (void)state;
    char expected[128];
    setenv("CRABCLUSTER_LOG", "debug", 1);
    loads("data-dir = \"/srv/a\\\"b\\\\c\"\n\nlimits { request-timeout = 60s }",
          "--peer 127.0.0.1:8080 --peer b:1 --check-config");
    unsetenv("CRABCLUSTER_LOG");
    char *text = printed(print_conf);
    struct {
        const char *start, *value, *origin;
    } lines[] = {{"bind-addr", "bind-addr = \"127.0.0.1:8080\" ", "# default"},
                 {"data-dir", "data-dir = \"/srv/a\\\"b\\\\c\" ", "FILE:1"},
                 {"peers", "peers = { \"127.0.0.1:8080\", \"b:1\" } ", "# flag --peer"},
                 {"request-timeout", "request-timeout = 1m ", "FILE:3"},
                 {"max-value-size", "max-value-size = 1M ", "# default"},
                 {"level", "level = debug ", "# environment CRABCLUSTER_LOG"}};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char *line = line_of(text, lines[i].start);
        bool in_file = strncmp(lines[i].origin, "FILE", 4) == 0;
        snprintf(expected, sizeof expected, "%s%s%s", in_file ? "# " : "", in_file ? file : "",
                 lines[i].origin + (in_file ? 4 : 0));
        assert_int_equal(strncmp(line, lines[i].value, strlen(lines[i].value)), 0);
        assert_non_null(strstr(line, expected));
        free(line);
    }
    for (int i = 0; i < CONF_OPTIONS; i++)
        assert_non_null(strstr(text, conf_options[i].name));
    free(text);
}

static void test_check_config_output_reads_back_to_the_same_values(void **state)
{
    (void)state;
    const char *words = "--peer b:1 --peer [::1]:9";
    const char *original =
        "bind-addr = \"[::1]:9\" data-dir = '/srv/\"a\" \\\\ # b' allowed-origins = { http://x }\n"
        "raft { max-payload-bytes = 5000 } http { threads = 2 } log { target = syslog }";
    loads(original, words);
    char *first = printed(print_conf);
    loads(first, "");
    assert_string_equal(conf.data_dir, "/srv/\"a\" \\ # b");
    for (int i = 0; i < CONF_OPTIONS; i++)
        assert_int_equal(conf.origin[i].source, CONF_FILE);
    struct conf again = conf;
    conf = (struct conf){0};
    loads(original, words);
    struct buf changed = BUF_INIT, restart = BUF_INIT;
    conf_reload(&conf, &again, &changed, &restart);
    assert_int_equal(changed.len + restart.len, 0);
    conf_free(&again);
    free(first);
}

static void test_help_names_every_flag_and_option(void **state)
{
    (void)state;
    char *text = printed(conf_print_help), flag[64];
    for (int i = 0; i < CONF_OPTIONS; i++) {
        assert_non_null(strstr(text, conf_options[i].name));
        assert_non_null(strstr(text, conf_options[i].help));
        snprintf(flag, sizeof flag, "--%s ", conf_options[i].flag ? conf_options[i].flag : "help");
        assert_non_null(strstr(text, flag));
    }
    for (int i = 0; i < FLAG_COUNT; i++)
        assert_non_null(strstr(text, conf_flags[i].help));
    free(text);
}

static void test_reload_takes_limits_and_level_and_names_the_rest(void **state)
{
    (void)state;
    loads("log { level = info }", "");
    struct conf running = conf;
    conf = (struct conf){0};
    loads("bind-addr = 127.0.0.1:9\nlog { level = debug }\nlimits { max-value-size = 2M }", "");
    struct buf changed = BUF_INIT, restart = BUF_INIT;
    conf_reload(&running, &conf, &changed, &restart);
    assert_string_equal(buf_str(&changed),
                        "limits.max-value-size: 1M -> 2M, log.level: info -> debug");
    assert_non_null(
        strstr(buf_str(&restart), "bind-addr: \"127.0.0.1:8080\" -> \"127.0.0.1:9\", advertise"));
    assert_int_equal(running.log_level, LOG_LEVEL_DEBUG);
    assert_int_equal(running.max_value_bytes, 2 << 20);
    assert_string_equal(running.bind_addr, "127.0.0.1:8080");
    buf_free(&changed);
    buf_free(&restart);
    conf_free(&running);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_without_anything_gives_defaults),
        cmocka_unit_test(test_load_precedence_is_flag_environment_file_default),
        cmocka_unit_test(test_data_dir_default_follows_environment_and_address),
        cmocka_unit_test(test_data_dir_flag_relative_becomes_absolute),
        cmocka_unit_test(test_load_default_file_is_read_when_it_exists),
        cmocka_unit_test(test_load_named_file_must_exist),
        cmocka_unit_test(test_flags_say_what_to_do),
        cmocka_unit_test(test_flags_of_offline_work_stand_alone),
        cmocka_unit_test(test_flags_bad_are_refused_with_a_hint),
        cmocka_unit_test(test_check_config_prints_every_value_with_its_origin),
        cmocka_unit_test(test_check_config_output_reads_back_to_the_same_values),
        cmocka_unit_test(test_help_names_every_flag_and_option),
        cmocka_unit_test(test_reload_takes_limits_and_level_and_names_the_rest),
    };
    return cmocka_run_group_tests(tests, conf_fixture_setup, conf_fixture_teardown);
}
