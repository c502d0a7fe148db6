/* SPDX-License-Identifier: MIT
 * The one table of commands and flags: reading the command line, --help,
 * completion and the test that compares the manual page all use it.
 */
#ifndef CTL_COMMANDS_H
#define CTL_COMMANDS_H

#include "ctl/args.h"

struct flag {
    const char *name; /* without dashes */
    const char *arg;  /* what --help calls its value; NULL when it takes none */
    const char *help;
};

extern const struct flag flags[FLAG_IDS];

typedef int command_fn(struct ctl *c);

struct command {
    const char *name;  /* one word, or two with a blank between */
    const char *words; /* what --help calls the words behind it; "" when it takes none */
    unsigned n_min, n_max;
    uint64_t flags; /* bits 1 << id of those beyond the global ones */
    bool offline;   /* sends no request, so that --curl has nothing to print */
    const char *help;
    command_fn *run;
};

/* Ends with a name of NULL. */
extern const struct command commands[];

bool command_takes(const struct command *cmd, enum flag_id id);

#endif
