/* SPDX-License-Identifier: MIT */
#include "conf/set.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What a file or a command line says may hold anything; an error is one line. */
static void make_one_line(char *s)
{
    for (; *s; s++) {
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            *s = '?';
    }
}

int conf_error_set(struct conf_error *error, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(error->text, sizeof error->text, fmt, args);
    va_end(args);
    make_one_line(error->text);
    return ERR_INVALID;
}

int conf_fail(const struct conf *conf, enum conf_id id, struct conf_error *error, const char *fmt,
              ...)
{
    const struct conf_option *o = &conf_options[id];
    struct conf_origin origin = conf->origin[id];
    char label[CONF_NAME_MAX], what[CONF_ERROR_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    switch (origin.source) {
    case CONF_FILE:
        return conf_error_set(error, "%s:%u: %s: %s", conf->config_file, origin.line,
                              conf_option_label(o, label), what);
    case CONF_FLAG:
        return conf_error_set(error, "--%s: %s", o->flag, what);
    case CONF_ENVIRONMENT:
        return conf_error_set(error, "%s in the environment: %s", o->env, what);
    default:
        return conf_error_set(error, "%s: %s", conf_option_label(o, label), what);
    }
}

int conf_set(struct conf *conf, enum conf_id id, struct conf_origin origin,
             const struct conf_texts *texts, struct conf_error *error)
{
    struct buf why = BUF_INIT;
    conf->origin[id] = origin;
    int r = conf_value_read(&conf_options[id], texts, conf, &why);
    if (r < 0)
        conf_fail(conf, id, error, "%s", buf_str(&why));
    buf_free(&why);
    return r;
}
