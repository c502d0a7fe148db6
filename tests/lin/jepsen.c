/* SPDX-License-Identifier: MIT
 * From lines to operations: a process has at most one that has not ended.
 */
#include "lin/jepsen.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { LINE_MAX_BYTES = 512 };

#define NOT_OPEN SIZE_MAX

struct event {
    uint64_t process;
    char type[16], kind[16], value[64];
    uint64_t line;
};

/* By process: its open operation. */
struct log {
    struct lin *lin; /* borrowed */
    struct pending {
        size_t id;
        enum lin_kind kind;
    } * pending; /* owned */
    size_t n_pending;
};

#define PROCESSES_MAX 1000000

/* Reads a number that ends at one of the bytes of `ends` or with the text. */
static bool read_number(const char **p, const char *ends, uint64_t *ret_n)
{
    char *end;
    if (**p < '0' || **p > '9')
        return false;
    uint64_t n = strtoull(*p, &end, 10);
    if ((*end && !strchr(ends, *end)) || n > INT64_MAX)
        return false;
    *p = end;
    *ret_n = n;
    return true;
}

static bool read_value(const char *text, uint64_t *ret_value)
{
    uint64_t n;
    if (strcmp(text, "nil") == 0) {
        *ret_value = LIN_ABSENT;
        return true;
    }
    if (!read_number(&text, "", &n))
        return false;
    *ret_value = JEPSEN_VALUE(n);
    return true;
}

/* [expected new] */
static bool read_pair(const char *text, uint64_t *ret_expected, uint64_t *ret_new)
{
    uint64_t expected, new;
    if (*text++ != '[' || !read_number(&text, " ", &expected) || *text++ != ' ' ||
        !read_number(&text, "]", &new) || strcmp(text, "]") != 0)
        return false;
    *ret_expected = JEPSEN_VALUE(expected);
    *ret_new = JEPSEN_VALUE(new);
    return true;
}

static bool read_kind(const char *text, enum lin_kind *ret_kind)
{
    static const char *const names[] = {
        [LIN_READ] = ":read", [LIN_WRITE] = ":write", [LIN_DELETE] = NULL, [LIN_CAS] = ":cas"};
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (names[i] && strcmp(names[i], text) == 0) {
            *ret_kind = (enum lin_kind)i;
            return true;
        }
    }
    return false;
}

static struct pending *pending_of(struct log *log, uint64_t process)
{
    while (log->n_pending <= process) {
        size_t n = 2 * log->n_pending + 64;
        log->pending = mem_realloc(log->pending, n * sizeof log->pending[0]);
        for (; log->n_pending < n; log->n_pending++)
            log->pending[log->n_pending].id = NOT_OPEN;
    }
    return &log->pending[process];
}

/* A process that begins anew leaves what it had open unknown. */
static int add_call(struct log *log, const struct event *e)
{
    struct lin_op op = {.client = e->process, .call = e->line};
    if (!read_kind(e->kind, &op.kind))
        return ERR_INVALID;
    if (op.kind == LIN_WRITE && (!read_value(e->value, &op.value) || op.value == LIN_ABSENT))
        return ERR_INVALID;
    if (op.kind == LIN_CAS && !read_pair(e->value, &op.expected, &op.value))
        return ERR_INVALID;
    struct pending *pending = pending_of(log, e->process);
    pending->id = lin_begin(log->lin, &op);
    pending->kind = op.kind;
    return 0;
}

static int outcome_of(const struct event *e, enum lin_kind kind, enum lin_outcome *ret_outcome)
{
    bool timed_out = strcmp(e->value, ":timed-out") == 0;
    if (strcmp(e->type, ":info") == 0) {
        *ret_outcome = LIN_UNKNOWN;
    } else if (strcmp(e->type, ":ok") == 0 && !timed_out) {
        *ret_outcome = LIN_OK;
    } else if (strcmp(e->type, ":fail") == 0) {
        if (timed_out)
            *ret_outcome = LIN_UNKNOWN;
        else
            *ret_outcome = kind == LIN_CAS ? LIN_MISMATCH : LIN_FAILED;
    } else {
        return ERR_INVALID;
    }
    return 0;
}

static int add_end(struct log *log, const struct event *e)
{
    struct pending *pending = pending_of(log, e->process);
    enum lin_kind kind;
    if (pending->id == NOT_OPEN || !read_kind(e->kind, &kind) || kind != pending->kind)
        return ERR_INVALID;
    enum lin_outcome outcome = LIN_UNKNOWN;
    uint64_t result = LIN_ANY;
    if (outcome_of(e, kind, &outcome))
        return ERR_INVALID;
    if (outcome == LIN_OK && kind == LIN_READ && !read_value(e->value, &result))
        return ERR_INVALID;
    lin_end(log->lin, pending->id, e->line, outcome, result);
    pending->id = NOT_OPEN;
    return 0;
}

static int read_event(struct log *log, const char *line, uint64_t number)
{
    static const char logger[] = "jepsen.util - ";
    struct event e = {.line = number};
    char process[32];
    const char *event = strstr(line, logger), *p = process;
    if (!event)
        return 0;
    int n = sscanf(event + strlen(logger), "%31s %15s %15s %63[^\r\n]", process, e.type, e.kind,
                   e.value);
    if (n < 1 || !read_number(&p, "", &e.process))
        return 0;
    if (n < 4 || e.process > PROCESSES_MAX)
        return ERR_INVALID;
    for (size_t len = strlen(e.value); len > 0 && strchr(" \t", e.value[len - 1]); len--)
        e.value[len - 1] = '\0';
    return strcmp(e.type, ":invoke") == 0 ? add_call(log, &e) : add_end(log, &e);
}

int jepsen_read(FILE *f, struct lin *lin, unsigned *ret_line)
{
    struct log log = {.lin = lin};
    char line[LINE_MAX_BYTES];
    unsigned number = 0;
    int err = 0;
    while (!err && fgets(line, sizeof line, f))
        err = read_event(&log, line, ++number);
    mem_free(log.pending);
    if (err)
        *ret_line = number;
    return err;
}
