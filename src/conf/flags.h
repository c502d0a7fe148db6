/* SPDX-License-Identifier: MIT
 * The command line: which texts it gives for which options, and what it asks for.
 */
#ifndef CONF_FLAGS_H
#define CONF_FLAGS_H

#include "conf/options.h"
#include "conf/value.h"

struct flags {
    enum conf_action action;
    const char *config_file;  /* borrowed from argv, NULL when not given */
    const char *restore_file; /* likewise */
    struct conf_texts given[CONF_OPTIONS];
};

/* Reads --flag VALUE and --flag=VALUE. --help and --version end the reading.
 * ERR_INVALID with one line in error. flags_free in any case. */
MUST_CHECK int flags_parse(int argc, char *const *argv, struct flags *ret_flags,
                           struct conf_error *error);
void flags_free(struct flags *flags);

#endif
