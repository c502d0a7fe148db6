/* SPDX-License-Identifier: MIT
 * Protocol stories: commands in, trace out. A story is a text file:
 *
 *      # What went wrong elsewhere, and what to look at.
 *
 *      nodes 3
 *      campaign 1              commands, one a line (see --help),
 *      ----
 *        1 is pre-candidate    what happened; ends with an empty line
 *
 * A line at the left margin of the trace is a message that arrives, an
 * indented one is what a node does. Without files, all stories beside this
 * source are run. --rewrite puts what happens into the file: read the
 * difference before you commit it.
 */
#include <errno.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "commands.h"

struct story {
    const char *path;
    struct buf text; /* as it is */
    struct buf told; /* as it should be */
    struct world *world;
    unsigned line;    /* number of the next */
    unsigned n_wrong; /* blocks */
};

/* ---- when the core ends the process ---- */

static char abort_place[512];

static void on_abort(int sig)
{
    (void)sig;
    ssize_t n = write(STDERR_FILENO, abort_place, strlen(abort_place));
    (void)n;
}

/* ---- lines ---- */

/* The next line, without its end; NULL after the last. Owned by the caller. */
static char *next_line(struct story *s, size_t *at)
{
    if (*at >= s->text.len)
        return NULL;
    const char *p = (const char *)s->text.data + *at;
    const char *end = memchr(p, '\n', s->text.len - *at);
    size_t len = end ? (size_t)(end - p) : s->text.len - *at;
    *at += len + 1;
    s->line++;
    char *line = mem_zalloc(len + 1);
    memcpy(line, p, len);
    return line;
}

static bool read_file(const char *path, struct buf *to)
{
    FILE *f = fopen(path, "r");
    if (!f)
        return false;
    char piece[4096];
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;)
        buf_append(to, piece, n);
    bool ok = !ferror(f);
    fclose(f);
    return ok;
}

static bool write_file(const char *path, const struct buf *from)
{
    FILE *f = fopen(path, "w");
    if (!f)
        return false;
    bool ok = fwrite(from->data, 1, from->len, f) == from->len;
    return fclose(f) == 0 && ok;
}

/* ---- comparing ---- */

static void print_lines(const char *mark, const char *p, const char *end)
{
    while (p < end) {
        const char *eol = memchr(p, '\n', (size_t)(end - p));
        printf("%s%.*s\n", mark, (int)(eol - p), p);
        p = eol + 1;
    }
}

/* The lines up to the first and after the last difference are left out. */
static void print_difference(struct buf *expected, struct buf *trace)
{
    const char *a = buf_str(expected), *b = buf_str(trace);
    const char *a_end = a + expected->len, *b_end = b + trace->len;
    const char *x = a, *y = b;
    for (; x < a_end && y < b_end && *x == *y; x++, y++)
        if (*x == '\n') {
            a = x + 1;
            b = y + 1;
        }
    const char *p = a_end, *q = b_end;
    while (p > a && q > b && p[-1] == q[-1]) {
        p--;
        q--;
        if ((p == a || p[-1] == '\n') && (q == b || q[-1] == '\n')) {
            a_end = p;
            b_end = q;
        }
    }
    print_lines("  - ", a, a_end);
    print_lines("  + ", b, b_end);
}

/* ---- stories ---- */

static void read_expected(struct story *s, size_t *at, struct buf *expected)
{
    for (char *line; (line = next_line(s, at)) != NULL; mem_free(line)) {
        if (*line == '\0') {
            mem_free(line);
            return;
        }
        buf_printf(expected, "%s\n", line);
    }
}

/* Commands up to ----, what they lead to, and what the file says of it. False: cannot go on. */
static bool run_block(struct story *s, size_t *at, char *line)
{
    struct buf expected = BUF_INIT, trace = BUF_INIT;
    unsigned first = s->line;
    const char *wrong = NULL;
    for (; line && !wrong && strcmp(line, "----") != 0; line = next_line(s, at)) {
        (void)snprintf(abort_place, sizeof abort_place, "%s:%u: ended the process: %s\n", s->path,
                       s->line, line);
        if (s->world)
            s->world->trace = &trace;
        wrong = *line ? commands_run(&s->world, &trace, line) : "---- is missing";
        if (wrong)
            printf("%s:%u: %s: %s\n", s->path, s->line, line, wrong);
        buf_printf(&s->told, "%s\n", line);
        mem_free(line);
    }
    bool ok = line && !wrong;
    mem_free(line);
    read_expected(s, at, &expected);
    if (ok && strcmp(buf_str(&expected), buf_str(&trace)) != 0) {
        printf("%s:%u: - expected, + happened:\n", s->path, first);
        print_difference(&expected, &trace);
        s->n_wrong++;
    }
    buf_printf(&s->told, "----\n%s\n", buf_str(&trace));
    buf_free(&expected);
    buf_free(&trace);
    return ok;
}

static bool run_lines(struct story *s)
{
    size_t at = 0;
    for (char *line; (line = next_line(s, &at)) != NULL;) {
        if (*line != '#' && *line != '\0') {
            if (!run_block(s, &at, line))
                return false;
            continue;
        }
        buf_printf(&s->told, "%s\n", line);
        mem_free(line);
    }
    while (s->told.len > 1 && s->told.data[s->told.len - 2] == '\n')
        s->told.len--;
    return true;
}

/* True: as the file says. */
static bool run_story(const char *path, bool rewrite)
{
    struct story s = {.path = path};
    bool ok = read_file(path, &s.text);
    if (!ok)
        printf("%s: %s\n", path, strerror(errno));
    ok = ok && run_lines(&s);
    if (ok && !s.world) {
        printf("%s: no story\n", path);
        ok = false;
    }
    if (s.world && s.world->n_broken > 0) { /* whatever the file says */
        printf("%s: a promise of Raft was broken\n", path);
        ok = false;
    }
    if (ok && rewrite && !write_file(path, &s.told)) {
        printf("%s: %s\n", path, strerror(errno));
        ok = false;
    }
    world_free(&s.world);
    buf_free(&s.text);
    buf_free(&s.told);
    return ok && (rewrite || s.n_wrong == 0);
}

static int run_all(char *const paths[], size_t n, bool rewrite)
{
    size_t failed = 0;
    for (size_t i = 0; i < n; i++)
        if (!run_story(paths[i], rewrite))
            failed++;
    printf("%zu stories, %zu failed\n", n, failed);
    return n == 0 || failed > 0;
}

int main(int argc, char **argv)
{
    int first = 1;
    bool rewrite = argc > 1 && strcmp(argv[1], "--rewrite") == 0;
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        commands_help(stdout);
        return 0;
    }
    first += rewrite;
    signal(SIGABRT, on_abort);
    if (argc > first)
        return run_all(argv + first, (size_t)(argc - first), rewrite);
    const char *top = getenv("top_srcdir");
    struct buf pattern = BUF_INIT;
    buf_printf(&pattern, "%s/tests/scenario/*.txt", top ? top : ".");
    glob_t found = {0};
    int rc = glob(buf_str(&pattern), 0, NULL, &found);
    buf_free(&pattern);
    if (rc != 0)
        fputs("no stories found\n", stderr);
    rc = rc != 0 ? 1 : run_all(found.gl_pathv, found.gl_pathc, rewrite);
    globfree(&found);
    return rc;
}
