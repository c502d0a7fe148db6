/* SPDX-License-Identifier: MIT */
#include "ctl/ctl.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ctl/client.h"
#include "ctl/commands.h"
#include "ctl/help.h"

int ctl_fail(enum ctl_exit status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "crabclusterctl: ");
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\n");
    va_end(ap);
    return (int)status;
}

void ctl_say(const struct ctl *c, const char *fmt, ...)
{
    va_list ap;
    if (c->quiet)
        return;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\n");
    va_end(ap);
}

int ctl_flush(int status)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    if (errno == EPIPE && status == CTL_OK) /* whoever read has enough */
        return CTL_FAILURE;
    return status != CTL_OK ? status : ctl_fail(CTL_FAILURE, "cannot write to standard output");
}

/* https://no-color.org: set and not empty. */
static bool wants_color(void)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(STDOUT_FILENO) && !(no && no[0]) && term && strcmp(term, "dumb") != 0;
}

static int run(struct args *args)
{
    struct ctl c = {
        .args = args,
        .json = args_has(args, FLAG_JSON),
        .quiet = args_has(args, FLAG_QUIET),
        .color = wants_color(),
    };
    c.progress = !c.quiet && isatty(STDERR_FILENO);
    if (client_new(args, &c.client) < 0)
        return CTL_USAGE;
    int status = args->command->run(&c);
    client_free(&c.client);
    return status == CTL_PRINTED ? CTL_OK : status;
}

int ctl_main(int argc, char *const *argv)
{
    struct args args;
    signal(SIGPIPE, SIG_IGN);
    if (args_parse(argc, argv, &args) < 0)
        return CTL_USAGE;
    int status = CTL_OK;
    if (args_has(&args, FLAG_HELP))
        help_print(args.command, stdout);
    else if (args_has(&args, FLAG_VERSION))
        printf("crabclusterctl %s\n", CTL_VERSION);
    else
        status = run(&args);
    return ctl_flush(status);
}
