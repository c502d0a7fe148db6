/* SPDX-License-Identifier: MIT
 * The commands of a story. Each line is one; what happens goes into the trace
 * of the world.
 */
#ifndef TESTS_SCENARIO_COMMANDS_H
#define TESTS_SCENARIO_COMMANDS_H

#include <stdio.h>

#include "world.h"

/* Runs one line. *w is made by the command `nodes`, which comes first. NULL,
 * or what is wrong with the line. Static. */
const char *commands_run(struct world **w, struct buf *trace, const char *line);
/* All commands, with what they do. */
void commands_help(FILE *to);

#endif
