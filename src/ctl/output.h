/* SPDX-License-Identifier: MIT
 * A file that is there when it is whole: what is written goes beside it first.
 * "-" is standard output.
 */
#ifndef CTL_OUTPUT_H
#define CTL_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/err.h"

struct output {
    char *path, *part; /* owned; NULL: standard output */
    FILE *file;
};

/* The exit status, after a line on standard error. Without `replace` a file that is there is one
 * reason to refuse. The file is for its owner only: it may hold anything that is stored. */
MUST_CHECK int output_open(struct output *o, const char *path, bool replace);
/* IO after a line on standard error. */
MUST_CHECK int output_write(struct output *o, const void *p, size_t len);
/* With status 0: syncs the file and gives it its name. Otherwise nothing is left of it.
 * Returns status, or that of what fails now. */
MUST_CHECK int output_close(struct output *o, int status);

#endif
