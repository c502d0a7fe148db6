/* SPDX-License-Identifier: MIT
 * Options and figures of the check for power losses.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "run.h"

static const char usage[] =
    "usage: power [options]\n"
    "\n"
    "Records the file operations of the real store at work, makes the images that a loss of\n"
    "power may leave of its files at every one of them, opens each with the real store, and\n"
    "compares what it finds with what was promised.\n"
    "\n"
    "  --images N      check N different images (20000)\n"
    "  --seed S        of histories and damage (1)\n"
    "  --workers N     processes (one for each processor)\n"
    "  --kind K        only histories of this kind, a number; --list names them\n"
    "  --replay H:P:V  one image: history, point, variant, as a failure names them\n"
    "  --keep DIR      where a replayed image stays (power-image; it is removed first)\n"
    "  --seconds S     end after so many seconds, with fewer images\n"
    "  --progress S    a line every S seconds (10; 0: none)\n"
    "  --lie WHAT      the disk ignores data-sync, meta-sync or dir-sync: must be noticed\n"
    "  --tmp DIR       for images (/dev/shm, if it can be written, else TMPDIR or /tmp)\n"
    "  --list          kinds of histories and of damage\n"
    "\n"
    "Exits with 0 when all is right, 1 when an image is not, 2 for wrong usage, 3 when the\n"
    "check itself does not work.\n";

static void list(void)
{
    printf("histories\n");
    for (unsigned i = 0; i < history_kinds(); i++)
        printf("  %u  %s\n", i, history_kind_name(i));
    printf("damage\n");
    for (unsigned i = 0; i < DAMAGES; i++)
        printf("  %-9s %s\n", damage_name(i), damage_text(i));
}

static void report(const struct run_options *o, const struct run_counts *c)
{
    printf("%" PRIu64 " histories, seed %" PRIu64 "\n", c->histories, o->seed);
    for (unsigned i = 0; i < history_kinds(); i++)
        printf("  %-16s %9" PRIu64 " checks\n", history_kind_name(i), c->by_kind[i]);
    printf("damage        made    checks\n");
    for (unsigned i = 0; i < DAMAGES; i++)
        printf("  %-8s %9" PRIu64 " %9" PRIu64 "  %s\n", damage_name(i), c->made_by_damage[i],
               c->by_damage[i], damage_text(i));
    printf("images made %" PRIu64 ", different %" PRIu64 ", checks %" PRIu64
           " (again where more had been promised):\n"
           "  written to as well %" PRIu64 ", lost in a recovery from a loss %" PRIu64
           ", refused for a torn meta page %" PRIu64 "\n",
           c->made, c->distinct, c->checked, c->went_on, c->recovering, c->refused);
    printf("%.1f s, %.0f images/s, %.0f checks/s\n", c->seconds, (double)c->distinct / c->seconds,
           (double)c->checked / c->seconds);
    printf("%" PRIu64 " failures\n", c->failures);
}

static _Noreturn void bad_usage(void)
{
    fputs(usage, stderr);
    exit(2);
}

static uint64_t number(const char *text)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);
    if (*end || end == text || *text == '-')
        bad_usage();
    return n;
}

static enum record_lie lie_of(const char *text)
{
    for (unsigned i = 0; i < RECORD_LIES; i++)
        if (strcmp(record_lie_name((enum record_lie)i), text) == 0)
            return (enum record_lie)i;
    bad_usage();
}

static const char *default_tmp(void)
{
    if (access("/dev/shm", W_OK | X_OK) == 0)
        return "/dev/shm";
    const char *tmp = getenv("TMPDIR");
    return tmp ? tmp : "/tmp";
}

static const struct option long_options[] = {
    {"images", required_argument, NULL, 'n'},
    {"seed", required_argument, NULL, 's'},
    {"workers", required_argument, NULL, 'w'},
    {"kind", required_argument, NULL, 'k'},
    {"replay", required_argument, NULL, 'r'},
    {"keep", required_argument, NULL, 'd'},
    {"seconds", required_argument, NULL, 'S'},
    {"progress", required_argument, NULL, 'p'},
    {"lie", required_argument, NULL, 'l'},
    {"tmp", required_argument, NULL, 't'},
    {"list", no_argument, NULL, 'L'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

static void parse(int argc, char **argv, struct run_options *o, const char **ret_replay,
                  const char **ret_keep)
{
    int c;
    while ((c = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (c) {
        case 'n':
            o->images = number(optarg);
            break;
        case 's':
            o->seed = number(optarg);
            break;
        case 'w':
            o->workers = (unsigned)number(optarg);
            break;
        case 'k':
            o->kind = (int)number(optarg);
            break;
        case 'r':
            *ret_replay = optarg;
            break;
        case 'd':
            *ret_keep = optarg;
            break;
        case 'S':
            o->seconds_max = (unsigned)number(optarg);
            break;
        case 'p':
            o->progress_s = (unsigned)number(optarg);
            break;
        case 'l':
            o->lie = lie_of(optarg);
            break;
        case 't':
            o->tmp = optarg;
            break;
        case 'L':
            list();
            exit(0);
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            bad_usage();
        }
    }
    if (optind != argc || o->images == 0 || o->workers == 0 || o->workers > 16 ||
        o->kind >= (int)history_kinds())
        bad_usage();
}

int main(int argc, char **argv)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct run_options options = {.seed = 1,
                                  .images = 20000,
                                  .workers = cores < 1    ? 1
                                             : cores > 16 ? 16
                                                          : (unsigned)cores,
                                  .failures_max = 10,
                                  .progress_s = 10,
                                  .tmp = default_tmp(),
                                  .program = argv[0],
                                  .kind = -1};
    const char *replay = NULL, *keep = "power-image";
    struct run_counts counts;
    parse(argc, argv, &options, &replay, &keep);
    if (replay)
        return run_one(&options, replay, keep);
    run_all(&options, &counts);
    report(&options, &counts);
    return counts.failures > 0;
}
