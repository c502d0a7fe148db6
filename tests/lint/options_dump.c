/* SPDX-License-Identifier: MIT
 * The option table as text, for docs.sh. With arguments: loads them as the
 * daemon would and prints the effective values without their origin.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/conf.h"
#include "conf/options.h"
#include "conf/value.h"

static const char *or_dash(const char *s)
{
    return s ? s : "-";
}

static void write_range(const struct conf_option *o, struct buf *out)
{
    switch (o->type) {
    case CONF_TYPE_COUNT:
    case CONF_TYPE_DURATION:
    case CONF_TYPE_SIZE:
        conf_number_write(o, o->min, out);
        buf_append_str(out, " to ");
        conf_number_write(o, o->max, out);
        break;
    case CONF_TYPE_ADDRS:
    case CONF_TYPE_ORIGINS:
        buf_printf(out, "at most %llu", (unsigned long long)o->max);
        break;
    case CONF_TYPE_WORD:
        for (size_t i = 0; o->words[i]; i++)
            buf_printf(out, "%s%s", i ? " | " : "", o->words[i]);
        break;
    default:
        buf_append_str(out, "-");
    }
}

/* option SECTION NAME DEFAULT RANGE RELOAD FLAG ENV, and flag NAME ARGUMENT, with tabs. */
static void print_table(void)
{
    for (int id = 0; id < CONF_OPTIONS; id++) {
        const struct conf_option *o = &conf_options[id];
        struct buf range = BUF_INIT;
        write_range(o, &range);
        printf("option\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", or_dash(o->section), o->name,
               or_dash(o->fallback), buf_str(&range), o->reloadable ? "reload" : "-",
               or_dash(o->flag), or_dash(o->env));
        if (o->flag)
            printf("flag\t%s\t%s\n", o->flag, or_dash(o->flag_arg));
        buf_free(&range);
    }
    for (int i = 0; i < FLAG_COUNT; i++)
        printf("flag\t%s\t%s\n", conf_flags[i].name, or_dash(conf_flags[i].arg));
}

static void print_values(const struct conf *conf)
{
    for (int id = 0; id < CONF_OPTIONS; id++) {
        char label[CONF_NAME_MAX];
        struct buf value = BUF_INIT;
        conf_value_write(&conf_options[id], conf, &value);
        printf("%s = %s\n", conf_option_label(&conf_options[id], label), buf_str(&value));
        buf_free(&value);
    }
}

int main(int argc, char **argv)
{
    struct conf conf;
    enum conf_action action;
    struct conf_error error;
    if (argc == 1) {
        print_table();
        return EXIT_SUCCESS;
    }
    if (conf_load(argc, argv, &conf, &action, &error) < 0) {
        fprintf(stderr, "%s\n", error.text);
        return EXIT_FAILURE;
    }
    if (action == CONF_HELP)
        conf_print_help(stdout);
    else if (action != CONF_VERSION)
        print_values(&conf);
    conf_free(&conf);
    return EXIT_SUCCESS;
}
