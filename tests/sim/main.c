/* SPDX-License-Identifier: MIT
 * Seeds, worker processes, figures. A worker that fails has told why; its seed
 * is counted and another worker takes its place.
 */
#include "sim.h"

#include <getopt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define WORKERS_MAX  16
#define PINNED_MAX   512
#define FAILURES_MAX 10
#define SEED_WALL_S  300

struct job {
    uint64_t seed, seconds;
};

/* Shared with the workers. */
struct shared {
    atomic_ullong next; /* job */
    atomic_ullong done_us;
    struct counts counts[WORKERS_MAX];
};

static struct {
    uint64_t n_seeds, first_seed, seconds, hours, replay, need_faults;
    unsigned n_workers;
    bool has_replay, verbose, hash, need_probes;
    const char *pinned_file;
    struct job pinned[PINNED_MAX];
    unsigned n_pinned;
} opt = {.n_seeds = 200, .first_seed = 1, .seconds = 30, .n_workers = 1};

static struct shared *shared;

static void usage(FILE *out)
{
    fprintf(
        out,
        "usage: sim [options]: runs the consensus core, the state machine and the node's driver\n"
        "in simulated clusters, with faults, and checks every promise.\n"
        "  --seeds N          so many seeds (200)\n"
        "  --first-seed S     from this one on (1)\n"
        "  --seconds T        simulated seconds of faults for each (30)\n"
        "  --hours H          more seeds until so much was simulated\n"
        "  --pinned FILE      these first: lines of SEED SECONDS, # what it was\n"
        "  --replay S         this seed alone, with --seconds as it was\n"
        "  --verbose          every event of note\n"
        "  --hash             the hash of each seed's course\n"
        "  --workers N        processes (1)\n"
        "  --need-probes      fail when a rare path was never taken\n"
        "  --need-faults N    fail when a kind of fault happened less often\n"
        "exit codes: 0 all well; 1 usage; %d a promise of safety broken; %d not live after\n"
        "healing; %d an assertion or a memory fault; %d a probe never reached, or too few faults\n",
        SIM_EXIT_SAFETY, SIM_EXIT_LIVENESS, SIM_EXIT_CRASH, SIM_EXIT_PROBE);
}

/* ---- workers ---- */

static bool next_job(struct job *ret_job)
{
    uint64_t i = atomic_fetch_add(&shared->next, 1);
    if (i < opt.n_pinned) {
        *ret_job = opt.pinned[i];
        return true;
    }
    i -= opt.n_pinned;
    *ret_job = (struct job){opt.first_seed + i, opt.seconds};
    return i < opt.n_seeds || atomic_load(&shared->done_us) < opt.hours * 3600 * SIM_S;
}

static void run_job(const struct job *job, struct counts *counts)
{
    alarm(SEED_WALL_S);
    struct sim *s = sim_new(job->seed, job->seconds, counts);
    s->verbose = opt.verbose;
    sim_live(s);
    atomic_fetch_add(&shared->done_us, s->now_us);
    if (opt.hash)
        printf("seed %llu seconds %llu hash %016llx\n", (unsigned long long)job->seed,
               (unsigned long long)job->seconds, (unsigned long long)s->hash);
    sim_free(&s);
}

static _Noreturn void work(unsigned worker)
{
    struct job job;
    while (next_job(&job))
        run_job(&job, &shared->counts[worker]);
    fflush(stdout);
    _exit(0);
}

static pid_t start_worker(unsigned worker)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        work(worker);
    return pid;
}

/* The exit code of the worst failure. */
static int run_workers(void)
{
    pid_t pids[WORKERS_MAX];
    unsigned alive = 0, failures = 0;
    int worst = 0;
    for (unsigned i = 0; i < opt.n_workers; i++, alive++)
        pids[i] = start_worker(i);
    while (alive > 0) {
        int status = 0;
        pid_t pid = wait(&status);
        unsigned worker = 0;
        while (worker < opt.n_workers && pids[worker] != pid)
            worker++;
        alive--;
        int code = WIFEXITED(status) ? WEXITSTATUS(status) : SIM_EXIT_CRASH;
        if (code == 0 || worker == opt.n_workers)
            continue;
        shared->counts[worker].failed++;
        if (worst == 0 || code < worst)
            worst = code;
        if (++failures < FAILURES_MAX) {
            pids[worker] = start_worker(worker);
            alive++;
        }
    }
    return worst;
}

/* ---- options ---- */

static bool read_pinned(const char *file)
{
    char line[300];
    FILE *f = fopen(file, "r");
    if (!f) {
        perror(file);
        return false;
    }
    while (fgets(line, sizeof line, f) && opt.n_pinned < PINNED_MAX) {
        char *rest = line;
        if (line[0] == '#' || line[0] == '\n')
            continue;
        struct job *job = &opt.pinned[opt.n_pinned++];
        job->seed = strtoull(rest, &rest, 10);
        job->seconds = strtoull(rest, &rest, 10);
    }
    fclose(f);
    return true;
}

static bool take_option(int c, const char *value)
{
    uint64_t n = value ? strtoull(value, NULL, 10) : 0;
    switch (c) {
    case 's':
        opt.n_seeds = n;
        return true;
    case 'f':
        opt.first_seed = n;
        return true;
    case 't':
        opt.seconds = n;
        return n > 0;
    case 'H':
        opt.hours = n;
        return true;
    case 'p':
        return read_pinned(value);
    case 'r':
        opt.has_replay = true;
        opt.replay = n;
        return true;
    case 'v':
        opt.verbose = true;
        return true;
    case 'x':
        opt.hash = true;
        return true;
    case 'w':
        opt.n_workers = (unsigned)n;
        return n > 0 && n <= WORKERS_MAX;
    case 'F':
        opt.need_faults = n;
        return true;
    case 'P':
        opt.need_probes = true;
        return true;
    default:
        return false;
    }
}

static bool take_options(int argc, char **argv)
{
    static const struct option options[] = {{"seeds", required_argument, NULL, 's'},
                                            {"first-seed", required_argument, NULL, 'f'},
                                            {"seconds", required_argument, NULL, 't'},
                                            {"hours", required_argument, NULL, 'H'},
                                            {"pinned", required_argument, NULL, 'p'},
                                            {"replay", required_argument, NULL, 'r'},
                                            {"verbose", no_argument, NULL, 'v'},
                                            {"hash", no_argument, NULL, 'x'},
                                            {"workers", required_argument, NULL, 'w'},
                                            {"need-probes", no_argument, NULL, 'P'},
                                            {"need-faults", required_argument, NULL, 'F'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (c == 'h') {
            usage(stdout);
            exit(0);
        }
        if (!take_option(c, optarg))
            return false;
    }
    return optind == argc;
}

static int judge_probes(const struct counts *c)
{
    int code = 0;
    for (unsigned i = 0; i < SIM_PROBE_KINDS && opt.need_probes; i++) {
        if (c->probes[i] > 0)
            continue;
        printf("never: %s\n", probe_text((enum sim_probe)i));
        code = SIM_EXIT_PROBE;
    }
    for (unsigned i = 0; i < SIM_FAULT_KINDS; i++) {
        if (c->faults[i] >= opt.need_faults)
            continue;
        printf("less than %llu times: %s\n", (unsigned long long)opt.need_faults,
               fault_text((enum sim_fault)i));
        code = SIM_EXIT_PROBE;
    }
    return code;
}

int main(int argc, char **argv)
{
    if (!take_options(argc, argv)) {
        usage(stderr);
        return 1;
    }
    log_set_level(opt.verbose ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        perror("mmap");
        return 1;
    }
    uint64_t started_us = clock_now_us();
    if (opt.has_replay) {
        struct job job = {opt.replay, opt.seconds};
        opt.hash = true;
        run_job(&job, &shared->counts[0]);
        counts_print(&shared->counts[0], clock_now_us() - started_us);
        return 0;
    }
    int code = run_workers();
    struct counts sum = {0};
    for (unsigned i = 0; i < opt.n_workers; i++)
        counts_add(&sum, &shared->counts[i]);
    counts_print(&sum, clock_now_us() - started_us);
    if (code == 0)
        code = judge_probes(&sum);
    return code;
}
