/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "conf/conf.h"
#include "conf/options.h"
#include "conf/value.h"

#define ORIGIN_COLUMN 52
#define HELP_COLUMN   30

static void print_origin(const struct conf *conf, enum conf_id id, FILE *out)
{
    struct conf_origin origin = conf->origin[id];
    switch (origin.source) {
    case CONF_DEFAULT:
        fprintf(out, "# default\n");
        break;
    case CONF_FILE:
        fprintf(out, "# %s:%u\n", conf->config_file, origin.line);
        break;
    case CONF_ENVIRONMENT:
        fprintf(out, "# environment %s\n", conf_options[id].env);
        break;
    case CONF_FLAG:
        fprintf(out, "# flag --%s\n", conf_options[id].flag);
        break;
    }
}

static bool starts_section(int id)
{
    const char *section = conf_options[id].section;
    return section && (id == 0 || !conf_options[id - 1].section ||
                       strcmp(conf_options[id - 1].section, section) != 0);
}

void conf_print(const struct conf *conf, FILE *out)
{
    if (conf->config_file)
        fprintf(out, "# effective values; read from %s\n", conf->config_file);
    else
        fprintf(out, "# effective values; no configuration file was read\n");
    for (int id = 0; id < CONF_OPTIONS; id++) {
        const struct conf_option *o = &conf_options[id];
        struct buf line = BUF_INIT;
        if (starts_section(id))
            fprintf(out, "%s%s {\n", conf_options[id - 1].section ? "}\n" : "", o->section);
        buf_printf(&line, "%s%s = ", o->section ? "    " : "", o->name);
        conf_value_write(o, conf, &line);
        fprintf(out, "%-*s ", ORIGIN_COLUMN, buf_str(&line));
        print_origin(conf, (enum conf_id)id, out);
        buf_free(&line);
    }
    fprintf(out, "}\n");
}

static void print_flag(const char *name, const char *arg, bool repeatable, const char *help,
                       FILE *out)
{
    struct buf left = BUF_INIT;
    buf_printf(&left, "  --%s%s%s", name, arg ? " " : "", arg ? arg : "");
    fprintf(out, "%-*s %s%s\n", HELP_COLUMN, buf_str(&left), help,
            repeatable ? " (repeat it for each)" : "");
    buf_free(&left);
}

static void print_usage(FILE *out)
{
    fprintf(out, "usage: crabcluster");
    for (int i = 0; i < FLAG_COUNT; i++) {
        fprintf(out, " [--%s%s%s]", conf_flags[i].name, conf_flags[i].arg ? " " : "",
                conf_flags[i].arg ? conf_flags[i].arg : "");
        for (int id = 0; i == FLAG_CONFIG && id < CONF_OPTIONS; id++) {
            const struct conf_option *o = &conf_options[id];
            if (o->flag)
                fprintf(out, " [--%s %s]%s", o->flag, o->flag_arg,
                        conf_option_is_list(o) ? "..." : "");
        }
    }
    fprintf(out, "\n");
}

static void print_options(FILE *out)
{
    for (int id = 0; id < CONF_OPTIONS; id++) {
        const struct conf_option *o = &conf_options[id];
        struct buf left = BUF_INIT;
        if (starts_section(id))
            fprintf(out, "  %s\n", o->section);
        buf_printf(&left, "  %s%s", o->section ? "  " : "", o->name);
        fprintf(out, "%-*s %s\n", HELP_COLUMN, buf_str(&left), o->help);
        fprintf(out, "%-*s default: %s%s\n", HELP_COLUMN, "",
                o->fallback ? o->fallback : o->computed,
                o->reloadable ? "; SIGHUP takes a change over" : "");
        buf_free(&left);
    }
}

void conf_print_help(FILE *out)
{
    print_usage(out);
    fprintf(out, "\nA replicated key-value store that speaks HTTP.\n\nFlags:\n");
    for (int id = 0; id < CONF_OPTIONS; id++) {
        const struct conf_option *o = &conf_options[id];
        if (o->flag)
            print_flag(o->flag, o->flag_arg, conf_option_is_list(o), o->help, out);
    }
    for (int i = 0; i < FLAG_COUNT; i++)
        print_flag(conf_flags[i].name, conf_flags[i].arg, false, conf_flags[i].help, out);
    fprintf(out, "\nEnvironment:\n");
    for (int id = 0; id < CONF_OPTIONS; id++) {
        const struct conf_option *o = &conf_options[id];
        if (o->env)
            fprintf(out, "  %-*s %s\n", HELP_COLUMN - 2, o->env, o->help);
    }
    fprintf(out, "\nA flag wins over the environment, and that over the file.\n");
    fprintf(out, "\nOptions of %s/crabcluster.conf, see crabcluster.conf(5):\n", SYSCONFDIR);
    print_options(out);
}
