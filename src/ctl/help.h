/* SPDX-License-Identifier: MIT
 * --help, of the program and of a command, from the tables.
 */
#ifndef CTL_HELP_H
#define CTL_HELP_H

#include <stdio.h>

#include "ctl/commands.h"

/* command may be NULL: the whole program. */
void help_print(const struct command *command, FILE *out);

#endif
