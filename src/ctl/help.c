/* SPDX-License-Identifier: MIT */
#include "ctl/help.h"

#include <string.h>

#include "base/buf.h"
#include "ctl/ctl.h"
#include "ctl/handlers.h"

#define HELP_COLUMN 32

static void print_flag(const struct flag *f, FILE *out)
{
    struct buf left = BUF_INIT;
    buf_printf(&left, "  --%s%s%s", f->name, f->arg ? " " : "", f->arg ? f->arg : "");
    fprintf(out, "%-*s %s\n", HELP_COLUMN, buf_str(&left), f->help);
    buf_free(&left);
}

static void print_command(const struct command *c, FILE *out)
{
    struct buf left = BUF_INIT;
    buf_printf(&left, "  %s%s%s", c->name, c->words[0] ? " " : "", c->words);
    fprintf(out, "%-*s %s\n", HELP_COLUMN, buf_str(&left), c->help);
    buf_free(&left);
}

static void print_globals(FILE *out)
{
    fprintf(out, "\nFlags of every command:\n");
    for (unsigned id = 0; id < FLAG_GLOBALS; id++)
        print_flag(&flags[id], out);
}

static void help_of_one(const struct command *c, FILE *out)
{
    fprintf(out, "usage: crabclusterctl %s%s%s%s\n\n%s\n", c->name, c->words[0] ? " " : "",
            c->words, c->flags ? " [flags]" : "", c->help);
    if (c->flags)
        fprintf(out, "\nFlags:\n");
    for (unsigned id = FLAG_GLOBALS; id < FLAG_IDS; id++)
        if (command_takes(c, (enum flag_id)id))
            print_flag(&flags[id], out);
    print_globals(out);
}

void help_print(const struct command *command, FILE *out)
{
    if (command) {
        help_of_one(command, out);
        return;
    }
    fprintf(out, "usage: crabclusterctl [flags] COMMAND ...\n\n"
                 "The command line of crabcluster, a replicated key-value store.\n\nCommands:\n");
    for (const struct command *c = commands; c->name; c++)
        print_command(c, out);
    print_globals(out);
    fprintf(out,
            "\nEnvironment:\n"
            "  %-*s %s\n  %-*s %s\n"
            "\n'crabclusterctl COMMAND --help' tells the flags of a command; crabclusterctl(1)"
            "\nall of it, the exit statuses too.\n",
            HELP_COLUMN - 2, "CRABCLUSTER_ENDPOINTS", "as --endpoints (default: 127.0.0.1:8080)",
            HELP_COLUMN - 2, "NO_COLOR", "set: no colours");
}
