/* SPDX-License-Identifier: MIT */
#include "conf/flags.h"

#include <string.h>

#include "conf/set.h"

struct args {
    int argc;
    char *const *argv; /* borrowed */
    int at;            /* the next argument */
    const char *name;  /* of the current flag, without dashes */
    size_t name_len;
    const char *inline_value; /* behind '=', or NULL */
    struct conf_error *error;
};

static int complain(struct args *a, const char *what)
{
    return conf_error_set(a->error, "--%.*s: %s; crabcluster --help lists all flags",
                          (int)a->name_len, a->name, what);
}

static bool is_named(const struct args *a, const char *name)
{
    return name && strlen(name) == a->name_len && memcmp(name, a->name, a->name_len) == 0;
}

/* The flag's value: behind its '=', or the next argument. */
static int take_value(struct args *a, const char *arg, const char **ret_value)
{
    const char *value = a->inline_value;
    if (!value && a->at < a->argc && strncmp(a->argv[a->at], "--", 2) != 0)
        value = a->argv[a->at++];
    if (!value || !value[0])
        return conf_error_set(a->error, "--%.*s: a value is missing; write --%.*s %s",
                              (int)a->name_len, a->name, (int)a->name_len, a->name, arg);
    *ret_value = value;
    return 0;
}

static int take_option(struct args *a, int id, struct flags *flags)
{
    const struct conf_option *o = &conf_options[id];
    struct conf_texts *given = &flags->given[id];
    const char *value;
    if (given->n && !conf_option_is_list(o))
        return complain(a, "given twice");
    if (take_value(a, o->flag_arg, &value) < 0)
        return ERR_INVALID;
    conf_texts_add(given, value);
    return 0;
}

/* --restore beside --recover names the backup to look at. */
static bool looks_at_backup(enum conf_action a, enum conf_action b)
{
    return (a == CONF_RESTORE && b == CONF_RECOVER) || (a == CONF_RECOVER && b == CONF_RESTORE);
}

static bool may_follow(enum conf_action first, enum conf_action next)
{
    bool wins = next == CONF_HELP || next == CONF_VERSION;
    return first == CONF_RUN || first == next || wins || looks_at_backup(first, next);
}

static int take_other(struct args *a, int id, struct flags *flags)
{
    static const enum conf_action actions[FLAG_COUNT] = {
        [FLAG_CHECK_CONFIG] = CONF_CHECK_CONFIG, [FLAG_RECOVER] = CONF_RECOVER,
        [FLAG_RESTORE] = CONF_RESTORE,           [FLAG_FORCE_NEW_CLUSTER] = CONF_FORCE_NEW_CLUSTER,
        [FLAG_VERSION] = CONF_VERSION,           [FLAG_HELP] = CONF_HELP,
    };
    if (!conf_flags[id].arg && a->inline_value)
        return complain(a, "takes no value");
    if (actions[id] != CONF_RUN) {
        if (!may_follow(flags->action, actions[id]))
            return complain(a, "not together with another flag that does something and exits");
        flags->action = looks_at_backup(flags->action, actions[id]) ? CONF_RECOVER : actions[id];
    }
    if (!conf_flags[id].arg)
        return 0;
    const char **value = id == FLAG_RESTORE ? &flags->restore_file : &flags->config_file;
    if (*value)
        return complain(a, "given twice");
    return take_value(a, conf_flags[id].arg, value);
}

static int take_flag(struct args *a, struct flags *flags)
{
    const char *text = a->argv[a->at++];
    if (strncmp(text, "--", 2) != 0 || !text[2])
        return conf_error_set(a->error,
                              "unexpected argument '%s'; crabcluster --help lists all flags", text);
    const char *equals = strchr(text, '=');
    a->name = text + 2;
    a->name_len = equals ? (size_t)(equals - a->name) : strlen(a->name);
    a->inline_value = equals ? equals + 1 : NULL;
    for (int i = 0; i < CONF_OPTIONS; i++) {
        if (is_named(a, conf_options[i].flag))
            return take_option(a, i, flags);
    }
    for (int i = 0; i < FLAG_COUNT; i++) {
        if (is_named(a, conf_flags[i].name))
            return take_other(a, i, flags);
    }
    return complain(a, "unknown flag");
}

int flags_parse(int argc, char *const *argv, struct flags *ret_flags, struct conf_error *error)
{
    struct args a = {.argc = argc, .argv = argv, .at = 1, .error = error};
    *ret_flags = (struct flags){.action = CONF_RUN};
    while (a.at < argc) {
        if (take_flag(&a, ret_flags) < 0)
            return ERR_INVALID;
        if (ret_flags->action == CONF_HELP || ret_flags->action == CONF_VERSION)
            break;
    }
    return 0;
}

void flags_free(struct flags *flags)
{
    for (int i = 0; i < CONF_OPTIONS; i++)
        conf_texts_free(&flags->given[i]);
    flags->config_file = flags->restore_file = NULL;
}
