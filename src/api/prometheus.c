/* SPDX-License-Identifier: MIT
 * The text form of /metrics: what concerns HTTP and the process.
 */
#include "api/prometheus.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "api/handlers.h"
#include "api/loop.h"
#include "api/reply.h"
#include "api/stats.h"
#include "base/log.h"

void prometheus_family(struct buf *b, const char *name, const char *type, const char *help)
{
    buf_printf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

void prometheus_single(struct buf *b, const char *name, const char *type, const char *help,
                       uint64_t v)
{
    prometheus_family(b, name, type, help);
    buf_printf(b, "%s %" PRIu64 "\n", name, v);
}

static uint64_t sum_requests(const struct http_server *server, unsigned route, unsigned method,
                             unsigned status)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < server->n_loops; i++)
        n += atomic_load_explicit(&loop_stats(server->loops[i])->requests[route][method][status],
                                  memory_order_relaxed);
    return n;
}

static void write_requests(struct buf *b, const struct http_server *server)
{
    const char *name = "crabcluster_http_requests_total";
    prometheus_family(b, name, "counter", "HTTP requests answered.");
    for (unsigned r = 0; r < route_numbers(); r++)
        for (unsigned m = 0; m < HTTP_METHODS; m++)
            for (unsigned c = 0; c < STATS_N_STATUSES; c++) {
                uint64_t n = sum_requests(server, r, m, c);
                if (n)
                    buf_printf(b, "%s{route=\"%s\",method=\"%s\",code=\"%u\"} %" PRIu64 "\n", name,
                               route_number_path(r), http_method_text((enum http_method)m),
                               stats_status(c), n);
            }
}

static void write_duration(struct buf *b, const struct http_server *server, unsigned route)
{
    const char *name = "crabcluster_http_request_duration_seconds";
    const char *path = route_number_path(route);
    uint64_t bucket[STATS_BUCKETS + 1] = {0}, sum_us = 0, n = 0;
    for (unsigned l = 0; l < server->n_loops; l++) {
        const struct stats_histogram *h = &loop_stats(server->loops[l])->duration[route];
        for (unsigned i = 0; i <= STATS_BUCKETS; i++)
            bucket[i] += atomic_load_explicit(&h->bucket[i], memory_order_relaxed);
        sum_us += atomic_load_explicit(&h->sum_us, memory_order_relaxed);
    }
    for (unsigned i = 0; i <= STATS_BUCKETS; i++)
        n += bucket[i];
    if (n == 0)
        return;
    uint64_t below = 0;
    for (unsigned i = 0; i < STATS_BUCKETS; i++) {
        below += bucket[i];
        buf_printf(b, "%s_bucket{route=\"%s\",le=\"%g\"} %" PRIu64 "\n", name, path,
                   (double)stats_bound_us[i] / 1e6, below);
    }
    buf_printf(b, "%s_bucket{route=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", name, path, n);
    buf_printf(b, "%s_sum{route=\"%s\"} %.6f\n", name, path, (double)sum_us / 1e6);
    buf_printf(b, "%s_count{route=\"%s\"} %" PRIu64 "\n", name, path, n);
}

static void write_http(struct buf *b, const struct http_server *server)
{
    write_requests(b, server);
    prometheus_family(b, "crabcluster_http_request_duration_seconds", "histogram",
                      "From the request's headers to its answer.");
    for (unsigned r = 0; r < route_numbers(); r++)
        write_duration(b, server, r);
    prometheus_single(b, "crabcluster_http_connections", "gauge", "Open HTTP connections.",
                      atomic_load(&server->places.n_open));
    prometheus_single(b, "crabcluster_log_dropped_total", "counter",
                      "Log lines dropped because they came faster than they could be written.",
                      log_dropped());
}

static uint64_t count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    uint64_t n = 0;
    if (!d)
        return 0;
    while (readdir(d))
        n++;
    closedir(d);
    return n > 3 ? n - 3 : 0; /* ".", ".." and the directory itself */
}

/* Unix time of the start, from field 22 of /proc/self/stat and the time since boot. */
static double start_time_s(void)
{
    unsigned long long ticks = 0;
    struct timespec boot, now;
    char text[1024] = "";
    FILE *f = fopen("/proc/self/stat", "re");
    if (f) {
        size_t n = fread(text, 1, sizeof text - 1, f);
        text[n] = 0;
        fclose(f);
    }
    const char *p = strrchr(text, ')'); /* the name may hold anything; field 3 follows it */
    for (int field = 3; p && field <= 22; field++)
        p = strchr(p + 1, ' ');
    if (!p || sscanf(p, "%llu", &ticks) != 1)
        return 0;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    clock_gettime(CLOCK_REALTIME, &now);
    double up = (double)boot.tv_sec + (double)boot.tv_nsec / 1e9;
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9 - up +
           (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static void write_process(struct buf *b)
{
    struct rusage u;
    struct rlimit files = {0, 0};
    unsigned long long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f) {
        if (fscanf(f, "%llu %llu", &pages, &resident) != 2)
            pages = resident = 0;
        fclose(f);
    }
    getrusage(RUSAGE_SELF, &u);
    getrlimit(RLIMIT_NOFILE, &files);
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    double cpu = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                 (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    prometheus_family(b, "process_cpu_seconds_total", "counter", "User and system time.");
    buf_printf(b, "process_cpu_seconds_total %.6f\n", cpu);
    prometheus_family(b, "process_start_time_seconds", "gauge", "Unix time of the start.");
    buf_printf(b, "process_start_time_seconds %.2f\n", start_time_s());
    prometheus_single(b, "process_resident_memory_bytes", "gauge", "Resident memory.",
                      resident * page);
    prometheus_single(b, "process_virtual_memory_bytes", "gauge", "Virtual memory.", pages * page);
    prometheus_single(b, "process_open_fds", "gauge", "Open file descriptors.", count_fds());
    prometheus_single(b, "process_max_fds", "gauge", "Limit of open file descriptors.",
                      files.rlim_cur);
}

void prometheus_answer(struct http_exchange *x)
{
    struct http_server *server = x->server;
    struct buf *out = &x->out;
    const struct node_status *status = x->request->ret.status;
    prometheus_family(out, "crabcluster_build_info", "gauge",
                      "Always 1; the version is in the label.");
    buf_printf(out, "crabcluster_build_info{version=\"%s\"} 1\n", server->options->version);
    prometheus_write_node(status, out);
    write_http(out, server);
    write_process(out);
    x->content_type = "text/plain; version=0.0.4; charset=utf-8";
    reply_ok(x);
}
