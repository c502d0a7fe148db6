/* SPDX-License-Identifier: MIT
 * The daemon's program, for work on data directories and backups: it alone
 * knows their formats.
 */
#ifndef CTL_DAEMON_H
#define CTL_DAEMON_H

#include "base/buf.h"
#include "ctl/ctl.h"

#define DAEMON_ARGS_MAX 16

struct daemon_call {
    const char *args[DAEMON_ARGS_MAX]; /* borrowed; the first is the program */
    unsigned n_args;
    char *program;   /* owned */
    struct buf out;  /* its standard output; owned */
    struct buf said; /* its standard error, without "crabcluster: " and the last end of line */
};

/* Finds the program: --daemon, beside this one, in ../sbin, where it was to be installed, $PATH.
 * CTL_FAILURE after a line on standard error. */
MUST_CHECK int daemon_find(const struct ctl *c, struct daemon_call *ret_call);
/* name and value, of which value may be NULL; both borrowed. */
void daemon_arg(struct daemon_call *call, const char *name, const char *value);
/* --config, --bind-addr and --advertise-addr as they were given to us. */
void daemon_pass_flags(struct daemon_call *call, const struct args *args);
/* Runs it to its end. CTL_OK: it ended with status 0. CTL_FAILURE says nothing unless the program
 * could not be run: what it said is in call->said. */
MUST_CHECK int daemon_run(struct daemon_call *call);
void daemon_free(struct daemon_call *call);

/* The value of the n-th line that begins with name and a blank; NULL: there is none. Owned. */
char *daemon_line(const struct daemon_call *call, const char *name, unsigned n);

#endif
