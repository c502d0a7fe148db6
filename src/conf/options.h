/* SPDX-License-Identifier: MIT
 * The one table of options and flags. The parser, --help, --check-config and
 * the test that compares man pages and sample file all use it.
 */
#ifndef CONF_OPTIONS_H
#define CONF_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/conf.h"

enum conf_type {
    CONF_TYPE_ADDR,     /* char *, HOST:PORT */
    CONF_TYPE_PATH,     /* char * */
    CONF_TYPE_ADDRS,    /* struct conf_list of HOST:PORT */
    CONF_TYPE_ORIGINS,  /* struct conf_list of http(s)://HOST[:PORT] */
    CONF_TYPE_BOOL,     /* bool */
    CONF_TYPE_COUNT,    /* uint64_t */
    CONF_TYPE_DURATION, /* uint64_t, milliseconds */
    CONF_TYPE_SIZE,     /* uint64_t, bytes */
    CONF_TYPE_WORD      /* an enum whose values count from 0 in the order of words */
};

struct conf_option {
    const char *section; /* NULL at top level */
    const char *name;
    enum conf_type type;
    size_t offset;            /* of its field in struct conf */
    uint64_t min, max;        /* of counts, durations and sizes; max: of entries in lists */
    const char *const *words; /* of CONF_TYPE_WORD, NULL-terminated */
    const char *fallback;     /* the default as the file would say it; NULL when it is computed */
    const char *computed;     /* the default in words, when it is computed */
    const char *flag;         /* without dashes; NULL when there is none */
    const char *flag_arg;     /* what --help calls the flag's value */
    const char *env;          /* environment variable, or NULL */
    bool reloadable;          /* SIGHUP takes it over */
    const char *help;
};

/* A flag that is not an option of the file. */
struct conf_flag {
    const char *name; /* without dashes */
    const char *arg;  /* NULL when it takes no value */
    const char *help;
};

enum conf_flag_id {
    FLAG_CONFIG,
    FLAG_CHECK_CONFIG,
    FLAG_RECOVER,
    FLAG_RESTORE,
    FLAG_FORCE_NEW_CLUSTER,
    FLAG_VERSION,
    FLAG_HELP,
    FLAG_COUNT
};

extern const struct conf_option conf_options[CONF_OPTIONS];
extern const struct conf_flag conf_flags[FLAG_COUNT];

/* The id of an option, or -1. section is NULL at top level. */
int conf_option_find(const char *section, const char *name);
/* Whether there is a section of that name. */
bool conf_section_exists(const char *section);
/* Whether the option holds a list. */
bool conf_option_is_list(const struct conf_option *o);
/* "section.name" or "name", for messages. Returns out. */
#define CONF_NAME_MAX 64
char *conf_option_label(const struct conf_option *o, char out[CONF_NAME_MAX]);

#endif
