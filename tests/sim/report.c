/* SPDX-License-Identifier: MIT
 * What is said when a run fails: why, how to see it again, and what happened last.
 */
#include "sim.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static struct sim *watched;

static void put_line(const struct sim *s, const struct trace_line *line)
{
    (void)s;
    fprintf(stderr, "%9llu.%03llu ms  %s\n", (unsigned long long)(line->at_us / 1000),
            (unsigned long long)(line->at_us % 1000), line->text);
}

void trace(struct sim *s, const char *fmt, ...)
{
    struct trace_line *line = &s->trace[s->n_trace++ % SIM_TRACE];
    va_list args;
    va_start(args, fmt);
    line->at_us = s->now_us;
    vsnprintf(line->text, sizeof line->text, fmt, args);
    va_end(args);
    if (s->verbose)
        put_line(s, line);
}

static void print_last(const struct sim *s)
{
    uint64_t first = s->n_trace > SIM_TRACE ? s->n_trace - SIM_TRACE : 0;
    for (uint64_t i = first; i < s->n_trace && !s->verbose; i++)
        put_line(s, &s->trace[i % SIM_TRACE]);
}

static void print_failure(const struct sim *s, const char *kind, const char *why)
{
    fflush(stdout);
    print_last(s);
    fprintf(stderr,
            "%s: seed %llu, after %llu.%03llu simulated ms: %s\nto see it again: sim "
            "--replay %llu --seconds %llu --verbose\n",
            kind, (unsigned long long)s->seed, (unsigned long long)(s->now_us / 1000),
            (unsigned long long)(s->now_us % 1000), why, (unsigned long long)s->seed,
            (unsigned long long)s->seconds);
}

void sim_fail(struct sim *s, int exit_code, const char *fmt, ...)
{
    char why[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    print_failure(s, exit_code == SIM_EXIT_LIVENESS ? "NOT LIVE" : "NOT SAFE", why);
    _exit(exit_code);
}

static void on_signal(int number)
{
    signal(number, SIG_DFL);
    print_failure(watched, "CRASH",
                  number == SIGABRT   ? "an assertion of the product failed"
                  : number == SIGALRM ? "no end in sight"
                                      : "a fault of memory or arithmetic");
    _exit(SIM_EXIT_CRASH);
}

void report_watch(struct sim *s)
{
    static const int numbers[] = {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGALRM};
    watched = s;
    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        signal(numbers[i], on_signal);
}
