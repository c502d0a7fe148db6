/* SPDX-License-Identifier: MIT
 * The reader of transcripts.
 */
#include "conformance.h"

#include <ctype.h>
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static bool is_blank(const char *line)
{
    return line[strspn(line, " \t\r\n")] == '\0';
}

/* Reads a line and joins what a backslash at its end continues. */
static bool read_line(FILE *f, char *line, size_t size, unsigned *line_no)
{
    size_t used = 0;
    while (fgets(line + used, (int)(size - used), f)) {
        (*line_no)++;
        used += strlen(line + used);
        size_t end = used;
        while (end > 0 && isspace((unsigned char)line[end - 1]))
            end--;
        if (end == 0 || line[end - 1] != '\\')
            return true;
        used = end - 1;
        line[used] = '\0';
    }
    return used > 0;
}

/* key=(a, b), key=value or key. Returns what follows. */
static char *read_arg(char *p, struct conformance_arg *arg)
{
    size_t len = strcspn(p, "= \t\r\n");
    assert_true(len < sizeof arg->key);
    memcpy(arg->key, p, len);
    p += len;
    if (*p != '=')
        return p;
    p++;
    bool is_list = *p == '(';
    const char *stop = is_list ? ")" : " \t\r\n";
    char *end = p + strcspn(p, stop);
    char *next = is_list && *end ? end + 1 : end;
    while (p < end) {
        p += strspn(p, "(, \t");
        if (p >= end)
            break;
        size_t n = strcspn(p, ",) \t\r\n");
        char *value = arg->values[arg->n_values++];
        assert_true(n < sizeof arg->values[0] && arg->n_values < CASE_VALUES);
        memcpy(value, p, n);
        p += n;
    }
    return next;
}

static void read_directive(char *line, struct conformance_case *c)
{
    char *p = line + strspn(line, " \t");
    size_t len = strcspn(p, " \t\r\n");
    assert_true(len < sizeof c->command);
    memcpy(c->command, p, len);
    p += len;
    for (p += strspn(p, " \t\r\n"); *p; p += strspn(p, " \t\r\n")) {
        assert_true(c->n_args < CASE_ARGS);
        p = read_arg(p, &c->args[c->n_args++]);
    }
}

static void add_text(char *text, const char *line)
{
    assert_true(strlen(text) + strlen(line) < CASE_TEXT);
    strcat(text, line);
}

static bool read_case(FILE *f, unsigned *line_no, struct conformance_case *c)
{
    char line[CASE_TEXT];
    do {
        if (!read_line(f, line, sizeof line, line_no))
            return false;
    } while (is_blank(line) || line[0] == '#');
    c->line = *line_no;
    read_directive(line, c);
    while (read_line(f, line, sizeof line, line_no) && strncmp(line, "----", 4) != 0)
        add_text(c->input, line);
    while (read_line(f, line, sizeof line, line_no) && !is_blank(line))
        add_text(c->expected, line);
    return true;
}

static unsigned run_file(const char *path, conformance_run *run, void *context)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    unsigned line_no = 0, n = 0;
    for (;; n++) {
        struct conformance_case *c = calloc(1, sizeof *c);
        assert_non_null(c);
        c->file = path;
        bool found = read_case(f, &line_no, c);
        if (found)
            run(c, context);
        free(c);
        if (!found)
            break;
    }
    fclose(f);
    return n;
}

/* The directory that holds the data, in out; false: there is none. */
static bool find_directory(const char *directory, char *out, size_t size)
{
    const char *base = getenv("CRABCLUSTER_CONFORMANCE");
    const char *top = getenv("top_srcdir");
    if (base && *base)
        (void)snprintf(out, size, "%s/%s", base, directory);
    else
        (void)snprintf(out, size, "%s/../shared/conformance/%s", top ? top : ".", directory);
    DIR *d = opendir(out);
    if (!d)
        return false;
    closedir(d);
    return true;
}

void conformance_path(const char *directory, char *ret_path, size_t size)
{
    if (find_directory(directory, ret_path, size))
        return;
    const char *required = getenv("CRABCLUSTER_CONFORMANCE_REQUIRED");
    if (required && *required && strcmp(required, "0") != 0)
        fail_msg("the conformance data in %s is required and not there", ret_path);
    print_message("no conformance data in %s: skipped\n", ret_path);
    skip();
}

static int is_transcript(const struct dirent *e)
{
    size_t len = strlen(e->d_name);
    return len > 4 && strcmp(e->d_name + len - 4, ".txt") == 0;
}

void conformance_each(const char *directory, void (*begin)(void *context), conformance_run *run,
                      void *context)
{
    char path[2048];
    conformance_path(directory, path, sizeof path);
    struct dirent **names;
    int n_files = scandir(path, &names, is_transcript, alphasort);
    assert_true(n_files > 0);
    unsigned n_cases = 0;
    for (int i = 0; i < n_files; i++) {
        char file[2400];
        (void)snprintf(file, sizeof file, "%s/%s", path, names[i]->d_name);
        begin(context);
        n_cases += run_file(file, run, context);
        free(names[i]);
    }
    free(names);
    print_message("%s: %u cases in %d files\n", directory, n_cases, n_files);
    assert_true(n_cases > 0);
}

const struct conformance_arg *conformance_arg(const struct conformance_case *c, const char *key)
{
    for (unsigned i = 0; i < c->n_args; i++)
        if (strcmp(c->args[i].key, key) == 0)
            return &c->args[i];
    return NULL;
}
