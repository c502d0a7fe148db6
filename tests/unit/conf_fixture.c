/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "tests/unit/conf_fixture.h"

#define ARGS_MAX 16

char dir[] = "/tmp/test_conf.XXXXXX";
char file[64]; /* dir/c */

void write_file(const char *text)
{
    FILE *out = fopen(file, "w");
    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

struct conf conf;
enum conf_action action;
struct conf_error error;

int load_words(const char *text, const char *words)
{
    char copy[512], *argv[ARGS_MAX], *save = NULL;
    int argc = 0;
    argv[argc++] = (char *)"crabcluster";
    if (text) {
        write_file(text);
        argv[argc++] = (char *)"--config";
        argv[argc++] = file;
    }
    snprintf(copy, sizeof copy, "%s", words);
    for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        assert_true(argc < ARGS_MAX - 1);
        argv[argc++] = w;
    }
    argv[argc] = NULL;
    conf_free(&conf);
    memset(&error, 0, sizeof error);
    return conf_load_from("/nonexistent/crabcluster.conf", argc, argv, &conf, &action, &error);
}

void loads(const char *text, const char *words)
{
    int r = load_words(text, words);
    if (r < 0)
        fail_msg("%s", error.text);
}

void refuses(const char *text, const char *words, const char *place, const char *what)
{
    char expected[256];
    int r = load_words(text, words);
    if (r >= 0)
        fail_msg("accepted: %s %s", text ? text : "", words);
    assert_int_equal(r, ERR_INVALID);
    bool in_file = strncmp(place, "FILE", 4) == 0;
    snprintf(expected, sizeof expected, "%s%s", in_file ? file : "", in_file ? place + 4 : place);
    if (strncmp(error.text, expected, strlen(expected)) != 0)
        fail_msg("'%s' does not start with '%s'", error.text, expected);
    if (!strstr(error.text, what))
        fail_msg("'%s' does not hold '%s'", error.text, what);
    assert_null(strchr(error.text, '\n'));
}

int conf_fixture_setup(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(file, sizeof file, "%s/c", dir);
    unsetenv("CRABCLUSTER_LOG");
    setenv("HOME", "/users/someone", 1);
    unsetenv("XDG_STATE_HOME");
    return 0;
}

int conf_fixture_teardown(void **state)
{
    (void)state;
    conf_free(&conf);
    unlink(file);
    return rmdir(dir);
}
