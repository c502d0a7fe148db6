/* SPDX-License-Identifier: MIT
 * The command line, read by the tables of ctl/commands.c: which command, with
 * which flags and words. Flags may stand before, between and behind the words;
 * after "--" everything is a word.
 */
#ifndef CTL_ARGS_H
#define CTL_ARGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum flag_id {
    FLAG_ENDPOINTS,
    FLAG_TIMEOUT,
    FLAG_JSON,
    FLAG_QUIET,
    FLAG_CURL,
    FLAG_VERSION,
    FLAG_HELP,
    FLAG_GLOBALS, /* how many of those above: every command takes them */
    FLAG_KEY_B64 = FLAG_GLOBALS,
    FLAG_CONSISTENCY,
    FLAG_MIN_REVISION,
    FLAG_IF_ABSENT,
    FLAG_IF_REVISION,
    FLAG_CONTENT_TYPE,
    FLAG_FILE,
    FLAG_PREFIX,
    FLAG_ALL,
    FLAG_LONG,
    FLAG_LIMIT,
    FLAG_DELIMITER,
    FLAG_REVERSE,
    FLAG_LEARNER,
    FLAG_FORCE,
    FLAG_DATA_DIR,
    FLAG_CONFIG,
    FLAG_BIND_ADDR,
    FLAG_ADVERTISE_ADDR,
    FLAG_DAEMON,
    FLAG_YES,
    FLAG_DRY_RUN,
    FLAG_MIX,
    FLAG_CLIENTS,
    FLAG_KEYS,
    FLAG_VALUE_SIZE,
    FLAG_DURATION,
    FLAG_FILL,
    FLAG_IDS
};

struct ctl;
struct command;

#define ARGS_WORDS_MAX 32

struct args {
    const struct command *command; /* NULL: none was named */
    const char *value[FLAG_IDS];   /* borrowed from argv; NULL: not given; "": takes no value */
    const char *words[ARGS_WORDS_MAX];
    unsigned n_words;
};

/* INVALID after one line on standard error. With --help or --version words need not be right. */
MUST_CHECK int args_parse(int argc, char *const *argv, struct args *ret_args);

bool args_has(const struct args *a, enum flag_id id);
/* Numbers as flags give them, or `fallback` when the flag is not there. INVALID after one line on
 * standard error: nothing but digits, at least min, at most max. */
MUST_CHECK int args_count(const struct args *a, enum flag_id id, uint64_t min, uint64_t max,
                          uint64_t fallback, uint64_t *ret);
/* With a unit as in crabcluster.conf: 5s (milliseconds), 64K (bytes). */
MUST_CHECK int args_duration_ms(const struct args *a, enum flag_id id, uint64_t min, uint64_t max,
                                uint64_t fallback, uint64_t *ret);
MUST_CHECK int args_size(const struct args *a, enum flag_id id, uint64_t min, uint64_t max,
                         uint64_t fallback, uint64_t *ret);

#endif
