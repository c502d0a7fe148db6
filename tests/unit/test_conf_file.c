/* SPDX-License-Identifier: MIT
 * conf/: every kind of error in a file with its place, options that do not go
 * together, and random files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "conf/file.h"
#include "tests/unit/conf_fixture.h"

static void test_load_file_sets_every_option(void **state)
{
    (void)state;
    loads("# comment with { and \" and ${HOME}\n"
          "bind-addr = \"10.0.0.1:8080\" // rest\n"
          "advertise-addr = node1.example:8080\r\n"
          "/* two\n lines */ data-dir = '/srv/a b\\'c'\n"
          "peers = { \"node1.example:8080\", 10.0.0.2:8080,\n \"[fd00::1]:8080\" }\n"
          "auto-init = no  allow-insecure = on\n"
          "allowed-origins = { \"https://a.example\", \"http://[::1]:90\", https://b:1 }\n"
          "raft { heartbeat-interval = 1s election-timeout-min = 2m # two\n"
          "election-timeout-max = 1200s max-payload-entries = 7\n max-payload-bytes = 4096\n"
          "replication-lag-threshold = 1h disk-stall-timeout = 3s clock-drift-max = 1m\n"
          "checkpoint-entries = 10 checkpoint-bytes = 64K checkpoint-interval = 24h\n"
          "log-tail-entries = 0 log-tail-bytes = 16G }\n"
          "limits { max-value-size = 64M max-connections = 12 request-timeout = 750ms }\n"
          "http { threads = 3 } log { level = warn target = syslog }",
          "");
    assert_string_equal(conf.config_file, file);
    assert_string_equal(conf.bind_addr, "10.0.0.1:8080");
    assert_string_equal(conf.advertise_addr, "node1.example:8080");
    assert_string_equal(conf.data_dir, "/srv/a b'c");
    assert_int_equal(conf.peers.n, 3);
    assert_string_equal(conf.peers.items[2], "[fd00::1]:8080");
    assert_false(conf.auto_init);
    assert_true(conf.allow_insecure);
    assert_int_equal(conf.allowed_origins.n, 3);
    assert_string_equal(conf.allowed_origins.items[1], "http://[::1]:90");
    assert_int_equal(conf.heartbeat_interval_ms, 1000);
    assert_int_equal(conf.election_timeout_min_ms, 120000);
    assert_int_equal(conf.election_timeout_max_ms, 1200000);
    assert_int_equal(conf.max_payload_entries, 7);
    assert_int_equal(conf.max_payload_bytes, 4096);
    assert_int_equal(conf.replication_lag_threshold_ms, 3600000);
    assert_int_equal(conf.disk_stall_timeout_ms, 3000);
    assert_int_equal(conf.clock_drift_max_ms, 60000);
    assert_int_equal(conf.checkpoint_entries, 10);
    assert_int_equal(conf.checkpoint_bytes, 65536);
    assert_int_equal(conf.checkpoint_interval_ms, 86400000);
    assert_int_equal(conf.log_tail_entries, 0);
    assert_int_equal(conf.log_tail_bytes, 1ULL << 34);
    assert_int_equal(conf.max_value_bytes, 64 << 20);
    assert_int_equal(conf.max_connections, 12);
    assert_int_equal(conf.request_timeout_ms, 750);
    assert_int_equal(conf.http_threads, 3);
    assert_int_equal(conf.log_level, LOG_LEVEL_WARN);
    assert_int_equal(conf.log_target, LOG_TARGET_SYSLOG);
    for (int i = 0; i < CONF_OPTIONS; i++)
        assert_int_equal(conf.origin[i].source, CONF_FILE);
    assert_int_equal(conf.origin[CONF_ADVERTISE_ADDR].line, 3);
    assert_int_equal(conf.origin[CONF_DATA_DIR].line, 5);
    assert_int_equal(conf.origin[CONF_REPLICATION_LAG_THRESHOLD].line, 13);
}

static void test_file_unknown_options_are_refused(void **state)
{
    (void)state;
    refuses("\n\nzone = \"eu-1\"\n", "", "FILE:3: zone: unknown option", "crabcluster.conf(5)");
    refuses("raft {\n  heartbeat = 1s\n}", "", "FILE:2: raft.heartbeat: unknown option", "(5)");
    refuses("# a\n/* b\n*/\ntls { key = x }", "", "FILE:4: tls: unknown option", "(5)");
    refuses("heartbeat-interval = 1s", "", "FILE:1: heartbeat-interval: unknown option",
            "raft { heartbeat-interval = ... }");
    refuses("raft.heartbeat-interval = 1s", "", "FILE:1: raft.heartbeat-interval: unknown option",
            "raft { heartbeat-interval = ... }");
    refuses("log {\n peers = {} }", "", "FILE:2: log.peers: unknown option",
            "outside of section log");
    refuses("limits { request-timeout = 5 s }", "", "FILE:1: limits.s: unknown option", "5s");
    refuses("include(\"x\")", "", "FILE:1: unexpected character '('", "quotes");
    refuses("Bind-Addr = 127.0.0.1:1", "", "FILE:1: Bind-Addr: unknown option", "(5)");
    refuses("raft|heartbeat-interval = 1s", "", "FILE:1: unexpected character '|'", "quotes");
}

static void test_file_numbers_are_strict(void **state)
{
    (void)state;
    refuses("limits { max-connections = 010 }", "",
            "FILE:1: limits.max-connections: '010' is not understood", "without leading zeros");
    refuses("limits { max-connections = 0x10 }", "", "FILE:1: limits.max-connections: ", "decimal");
    refuses("limits { max-connections = -1 }", "", "FILE:1: limits.max-connections: ", "decimal");
    refuses("limits { max-connections = \"\" }", "", "FILE:1: limits.max-connections: ", "10000");
    refuses("limits { max-connections = 10K }", "", "FILE:1: limits.max-connections: ", "decimal");
    refuses("limits { max-connections = 0 }", "",
            "FILE:1: limits.max-connections: '0' is out of range", "from 1 to 1000000");
    refuses("limits { max-connections = 99999999999999999999999 }", "",
            "FILE:1: limits.max-connections: ", "out of range");
    refuses("limits {\n\nrequest-timeout = 5 }", "",
            "FILE:3: limits.request-timeout: '5' is not understood", "ms, s, m or h");
    refuses("limits { request-timeout = 5sec }", "", "FILE:1: limits.request-timeout: ", "5s");
    refuses("limits { request-timeout = 05s }", "", "FILE:1: limits.request-timeout: ", "5s");
    refuses("limits { request-timeout = 11m }", "",
            "FILE:1: limits.request-timeout: ", "from 10ms to 10m");
    refuses("limits { max-value-size = 65M }", "",
            "FILE:1: limits.max-value-size: ", "from 1 to 64M");
    refuses("limits { max-value-size = 99999999999G }", "",
            "FILE:1: limits.max-value-size: ", "out of range");
    refuses("limits { max-value-size = 1k }", "", "FILE:1: limits.max-value-size: ", "K, M or G");
    refuses("limits { max-value-size = 1MB }", "", "FILE:1: limits.max-value-size: ", "K, M or G");
    refuses("raft { checkpoint-entries = 9 }", "",
            "FILE:1: raft.checkpoint-entries: '9' is out of range", "from 10 to 100000000");
    refuses("raft { checkpoint-bytes = 63K }", "",
            "FILE:1: raft.checkpoint-bytes: '63K' is out of range", "from 64K to 1G");
    refuses("raft {\ncheckpoint-interval = 25h }", "",
            "FILE:2: raft.checkpoint-interval: '25h' is out of range", "from 1s to 24h");
    refuses("raft { log-tail-entries = 10K }", "", "FILE:1: raft.log-tail-entries: ", "decimal");
    refuses("raft { log-tail-bytes = 17G }", "",
            "FILE:1: raft.log-tail-bytes: '17G' is out of range", "from 64K to 16G");
    loads("limits { max-value-size = 65536K }", "");
    assert_int_equal(conf.max_value_bytes, 64 << 20);
}

static void test_file_words_and_texts_are_checked(void **state)
{
    (void)state;
    refuses("auto-init = maybe", "", "FILE:1: auto-init: 'maybe'", "true or false");
    refuses("log { target = file }", "", "FILE:1: log.target: 'file'", "stderr syslog");
    refuses("log { level = Info }", "", "FILE:1: log.level: 'Info'", "error warn info debug");
    refuses("bind-addr = 127.0.0.1", "", "FILE:1: bind-addr: '127.0.0.1' is not HOST:PORT", "8080");
    refuses("bind-addr = 127.0.0.1:65536", "", "FILE:1: bind-addr: ", "is not HOST:PORT");
    refuses("bind-addr = 127.0.0.1:010", "", "FILE:1: bind-addr: ", "is not HOST:PORT");
    refuses("allowed-origins = { \"*\" }", "", "FILE:1: allowed-origins: '*'", "https://");
    refuses("allowed-origins = { \"https://a/\" }", "", "FILE:1: allowed-origins: ", "https://");
    refuses("allowed-origins = { \"https://\" }", "", "FILE:1: allowed-origins: ", "https://");
    refuses("allowed-origins = { \"a.example\" }", "", "FILE:1: allowed-origins: ", "https://");
    refuses("data-dir = \"/srv/${HOME}\"", "", "FILE:1: data-dir: variables", "write the value");
    refuses("data-dir = '/srv/${HOME}'", "", "FILE:1: data-dir: variables", "write the value");
    refuses("data-dir = ${HOME}", "", "FILE:1: unexpected byte 0x24", "quotes");
    refuses("data-dir = \"\"", "", "FILE:1: data-dir: '' is not an absolute path", "/");
    refuses(NULL, "--data-dir /a/${B}", "--data-dir: '/a/${B}': variables", "whole path");
}

static void test_file_structure_errors_are_refused(void **state)
{
    (void)state;
    refuses("\nraft {\n heartbeat-interval = 50ms\n", "", "FILE:2: raft: the '{' is never closed",
            "'}'");
    refuses("peers = { \"a:1\",\n", "", "FILE:1: peers: the '{' is never closed", "'}'");
    refuses("raft { log { level = info } }", "", "FILE:1: log: unexpected '{'", "");
    refuses("auto-init = true\n}", "", "FILE:2: '}' without a '{'", "remove");
    refuses("auto-init = true\nlog { }\nauto-init = false", "", "FILE:3: auto-init: given before",
            "line 1");
    refuses("peers = {}\npeers = { \"a:1\" }", "", "FILE:2: peers: given before", "line 1");
    refuses("log { level = info }\nlog { target = syslog }", "", "FILE:2: log: this section",
            "line 1");
    refuses("peers = {}\npeers += { \"a:1\" }", "", "FILE:2: unexpected character '+'", "");
    refuses("bind-addr 127.0.0.1:1", "", "FILE:1: missing equal sign", "option = value");
    refuses("bind-addr = { \"127.0.0.1:1\" }", "", "FILE:1: unexpected token '{'",
            "option = value");
    refuses("bind-addr =\n", "", "FILE:2: premature end of file", "option = value");
    refuses("raft = 5", "", "FILE:1: missing opening brace for section 'raft'", "section {");
    refuses("data-dir = \"/a\n", "", "FILE:1: data-dir: the quotes are not closed", "\"");
    refuses("data-dir = '/a", "", "FILE:1: data-dir: the quotes are not closed", "'");
    refuses("data-dir = \"/a\\n\"", "", "FILE:1: data-dir: a backslash", "\\\\");
    refuses("data-dir = \"/a\001\"", "", "FILE:1: data-dir: control character 0x01", "");
    refuses("\n/* never", "", "FILE:2: the comment is not closed", "*/");
    refuses("\xef\xbb\xbf"
            "auto-init = true",
            "", "FILE:1: unexpected byte 0xef", "quotes");
    refuses("auto-init == true", "", "FILE:1: unexpected character '='", "");
    refuses("{ }", "", "FILE:1: unexpected '{'", "");
}

static void test_cross_checks_refuse_what_does_not_go_together(void **state)
{
    (void)state;
    refuses("\nbind-addr = 10.0.0.1:80", "", "FILE:2: bind-addr: 10.0.0.1:80 is not a loopback",
            "allow-insecure = true");
    refuses(NULL, "--bind-addr node1:80", "--bind-addr: node1:80 is not a loopback",
            "127.0.0.1:80");
    refuses("allow-insecure = true\nbind-addr = \"[::]:80\"", "",
            "FILE:2: bind-addr: [::]:80 is a wil", "advertise-addr = HOST:PORT");
    refuses("allow-insecure = true bind-addr = 0.0.0.0:80\nadvertise-addr = 0.0.0.0:80", "",
            "FILE:2: advertise-addr: 0.0.0.0:80 is a wildcard", "reach");
    refuses("bind-addr = 0.0.0.0:80\nadvertise-addr = 10.0.0.1:80", "",
            "FILE:1: bind-addr: 0.0.0.0:80 is not a loopback", "allow-insecure = true");
    loads("allow-insecure = true bind-addr = 0.0.0.0:80\nadvertise-addr = 10.0.0.1:80", "");
    assert_string_equal(conf.advertise_addr, "10.0.0.1:80");
    loads("bind-addr = localhost:80", "");
    refuses("\npeers = { a:1, b:1 }", "", "FILE:2: peers: this node's own address 127.0.0.1:8080",
            "advertise-addr");
    refuses("peers = { a:1, 127.0.0.1:8080, A:1 }", "", "FILE:1: peers: 'a:1' is there twice", "");
    loads("bind-addr = LocalHost:80\npeers = { LOCALHOST:80, B:1 }", "");
    assert_string_equal(conf.advertise_addr, "localhost:80"); /* who compares, compares bytes */
    assert_string_equal(conf.peers.items[0], "localhost:80");
    assert_string_equal(conf.peers.items[1], "b:1");
    refuses("peers = { 0.0.0.0:1, 127.0.0.1:8080 }", "", "FILE:1: peers: 0.0.0.0:1 is a wild", "");
    refuses("raft { election-timeout-min = 400ms }", "", "FILE:1: raft.election-timeout-min: 400ms",
            "not less than election-timeout-max");
    refuses("raft { election-timeout-min = 100ms }", "", "raft.heartbeat-interval: 100ms",
            "at most 50ms");
    refuses("raft {\nheartbeat-interval = 101ms }", "", "FILE:2: raft.heartbeat-interval: 101ms",
            "at most 100ms");
    refuses("raft {\nclock-drift-max = 101ms }", "", "FILE:2: raft.clock-drift-max: 101ms",
            "at most 100ms, or 0ms");
    loads("raft { clock-drift-max = 100ms }", "");
}

static void test_peers_too_many_are_refused(void **state)
{
    (void)state;
    struct buf text = BUF_INIT;
    buf_append_str(&text, "peers = { 127.0.0.1:8080");
    for (int i = 1; i < 33; i++)
        buf_printf(&text, ", n%d:1", i);
    buf_append_str(&text, " }");
    refuses(buf_str(&text), "", "FILE:1: peers: 33 entries", "at most 32");
    buf_free(&text);
}

/* libconfuse keeps its scanner in global variables: one bad file must not spoil
 * the next (PITFALLS part 2). */
static void test_load_after_every_bad_file_still_works(void **state)
{
    (void)state;
    static const char *const bad[] = {"raft {",
                                      "data-dir = \"",
                                      "data-dir = '",
                                      "/*",
                                      "peers = {",
                                      "x = 1",
                                      "raft { x = 1 }",
                                      "bind-addr = {",
                                      "data-dir = \"\\999\"",
                                      "include(\"/nonexistent\")",
                                      "bind-addr",
                                      "bind-addr ="};
    for (int round = 0; round < 12; round++) {
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
            assert_int_equal(load_words(bad[i], ""), ERR_INVALID);
            loads("# c\nbind-addr = \"127.0.0.1:5\"\nraft { max-payload-entries = 9 }", "");
            assert_string_equal(conf.bind_addr, "127.0.0.1:5");
            assert_int_equal(conf.max_payload_entries, 9);
        }
    }
}

/* Files from pieces that matter to the grammar, and some of pure noise. */
static size_t random_text(struct rng *rng, char *out, size_t max)
{
    static const char *const pieces[] = {"bind-addr",
                                         "=",
                                         " ",
                                         "\n",
                                         "{",
                                         "}",
                                         "\"",
                                         "'",
                                         "raft",
                                         "log",
                                         "level",
                                         "peers",
                                         ",",
                                         "127.0.0.1:80",
                                         "#",
                                         "//",
                                         "/*",
                                         "*/",
                                         "${HOME}",
                                         "\\",
                                         "5s",
                                         "5 s",
                                         "010",
                                         "+=",
                                         "(",
                                         ")",
                                         "limits { max-connections = 5 }",
                                         "info",
                                         "~",
                                         "x",
                                         "auto-init = true\n",
                                         "\r",
                                         "\t",
                                         "|",
                                         "heartbeat-interval = 50ms",
                                         "data-dir = \"/a\"",
                                         "include",
                                         "\xff",
                                         "\001"};
    size_t n = 0, want = rng_next(rng) % max;
    bool noise = rng_next(rng) % 8 == 0;
    while (n < want) {
        const char *piece = pieces[rng_next(rng) % (sizeof pieces / sizeof *pieces)];
        if (noise) {
            out[n++] = (char)rng_next(rng);
        } else if (n + strlen(piece) > want) {
            break;
        } else {
            memcpy(out + n, piece, strlen(piece));
            n += strlen(piece);
        }
    }
    out[n] = 0;
    return n;
}

static void test_file_random_bytes_never_harm(void **state)
{
    (void)state;
    struct rng rng = {20240611};
    unsigned accepted = 0;
    for (int i = 0; i < 20000; i++) {
        char text[200];
        struct conf c = {.config_file = mem_strdup("f")};
        struct conf_error e = {{0}};
        size_t len = random_text(&rng, text, sizeof text - 1);
        int r = conf_file_parse("f", text, len, &c, &e);
        accepted += r == 0;
        assert_true(r == 0 || (r == ERR_INVALID && strncmp(e.text, "f:", 2) == 0));
        assert_null(strchr(e.text, '\n'));
        conf_free(&c);
    }
    assert_in_range(accepted, 100, 19000); /* both ways are taken */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_file_sets_every_option),
        cmocka_unit_test(test_file_unknown_options_are_refused),
        cmocka_unit_test(test_file_numbers_are_strict),
        cmocka_unit_test(test_file_words_and_texts_are_checked),
        cmocka_unit_test(test_file_structure_errors_are_refused),
        cmocka_unit_test(test_cross_checks_refuse_what_does_not_go_together),
        cmocka_unit_test(test_peers_too_many_are_refused),
        cmocka_unit_test(test_load_after_every_bad_file_still_works),
        cmocka_unit_test(test_file_random_bytes_never_harm),
    };
    return cmocka_run_group_tests(tests, conf_fixture_setup, conf_fixture_teardown);
}
