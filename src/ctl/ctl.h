/* SPDX-License-Identifier: MIT
 * crabclusterctl as a whole: what a command is given, and how it ends. A
 * command is one function of the table in ctl/commands.c; it says what went
 * wrong itself and returns the exit status.
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <stdbool.h>

#include "base/err.h"
#include "ctl/args.h"

struct client;

/* Scripts rely on these; crabclusterctl(1) lists them. */
enum ctl_exit {
    CTL_OK = 0,
    CTL_FAILURE = 1,
    CTL_USAGE = 2,
    CTL_NOT_FOUND = 3,
    CTL_CONDITION = 4,   /* a condition of the command did not hold */
    CTL_UNREACHABLE = 5, /* no node answers, or none knows a leader */
    CTL_NOT_ALLOWED = 6,
    CTL_UNKNOWN = 7, /* may have happened */
    CTL_UNHEALTHY = 8
};

struct ctl {
    const struct args *args;
    struct client *client; /* NULL for commands that send nothing */
    bool json, quiet;
    bool color;    /* standard output is a terminal that takes it */
    bool progress; /* standard error is a terminal, and chatter is wanted */
};

/* Runs the whole program; returns the exit status. */
int ctl_main(int argc, char *const *argv);

/* One line on standard error, "crabclusterctl: ...". Returns status. */
int ctl_fail(enum ctl_exit status, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The same for what the user should know, unless --quiet. */
void ctl_say(const struct ctl *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Flushes standard output: a full disk or a closed pipe is a failure, not success. */
int ctl_flush(int status);

#endif
