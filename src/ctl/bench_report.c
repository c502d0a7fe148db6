/* SPDX-License-Identifier: MIT
 * What a bench tells: a line while it runs, and at the end rates, percentiles
 * and a histogram, or all of that as JSON.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/bench.h"
#include "ctl/doc.h"
#include "ctl/table.h"
#include "ctl/text.h"

#define BAR_WIDTH 40

static const double parts[] = {0.5, 0.9, 0.99, 0.999};
static const char *const part_names[] = {"p50", "p90", "p99", "p999"};
#define N_PARTS (sizeof parts / sizeof *parts)

static uint64_t n_refused(const struct bench *b)
{
    uint64_t n = 0;
    for (unsigned i = 0; i < 600; i++)
        n += b->n_refused[i];
    return n;
}

static void sum_up(const struct latency all[BENCH_OPS], struct latency *ret)
{
    *ret = (struct latency){.n = 0};
    for (unsigned op = 0; op < BENCH_OPS; op++)
        latency_merge(ret, &all[op]);
}

/* ---- while it runs ---- */

void bench_live_line(struct bench *b, double seconds)
{
    static double before;
    static struct latency now;
    struct buf rate = BUF_INIT;
    sum_up(b->recent, &now);
    text_grouped((unsigned long long)((double)now.n / (seconds - before)), &rate);
    fprintf(stderr, "\r%5.1f s  %s/s  p50 %.2f ms  p99 %.2f ms", seconds, buf_str(&rate),
            latency_percentile_ms(&now, 0.5), latency_percentile_ms(&now, 0.99));
    if (n_refused(b) + b->n_cut > 0)
        fprintf(stderr, "  %" PRIu64 " refused, %" PRIu64 " cut", n_refused(b), b->n_cut);
    fprintf(stderr, "\033[K");
    fflush(stderr);
    for (unsigned op = 0; op < BENCH_OPS; op++) {
        latency_merge(&b->latency[op], &b->recent[op]);
        b->recent[op] = (struct latency){.n = 0};
    }
    before = seconds;
    buf_free(&rate);
}

/* ---- for people ---- */

static void add_row(struct table *t, const char *name, const struct latency *l, double seconds)
{
    struct buf n = BUF_INIT, rate = BUF_INIT;
    text_grouped(l->n, &n);
    text_grouped((unsigned long long)((double)l->n / seconds), &rate);
    table_cell(t, TABLE_PLAIN, "%s", name);
    table_cell(t, TABLE_PLAIN, "%s", buf_str(&n));
    table_cell(t, TABLE_PLAIN, "%s", buf_str(&rate));
    for (unsigned i = 0; i < N_PARTS; i++)
        table_cell(t, TABLE_PLAIN, "%.2f", latency_percentile_ms(l, parts[i]));
    table_cell(t, TABLE_PLAIN, "%.2f", (double)l->max_us / 1000);
    buf_free(&n);
    buf_free(&rate);
}

static void print_rows(const struct bench *b, const struct latency *all, double seconds)
{
    struct table *t =
        table_new("OPERATION|>REQUESTS|>PER SECOND|>P50 ms|>P90 ms|>P99 ms|>P99.9 ms|>MAX ms");
    unsigned n_ops = 0;
    for (unsigned op = 0; op < BENCH_OPS; op++) {
        if (b->share[op] == 0)
            continue;
        add_row(t, bench_op_names[op], &b->latency[op], seconds);
        n_ops++;
    }
    if (n_ops > 1)
        add_row(t, "all", all, seconds);
    table_print(t, b->c->color, stdout);
    table_free(&t);
}

/* One step for each doubling, from the first that any request is in to the last. */
static void print_histogram(const struct latency *l)
{
    uint64_t lo = 0, hi = 64, most = 1;
    for (uint64_t from = 0, to = hi; from <= l->max_us; from = to, to *= 2)
        most = latency_between(l, from, to) > most ? latency_between(l, from, to) : most;
    printf("\nHow long requests took:\n");
    for (bool begun = false; lo <= l->max_us; lo = hi, hi *= 2) {
        uint64_t n = latency_between(l, lo, hi);
        begun = begun || n > 0;
        if (!begun)
            continue;
        int width = (int)((double)n / (double)most * BAR_WIDTH + 0.5);
        printf("  %9.3f to %9.3f ms %6.2f%%%s", (double)lo / 1000, (double)hi / 1000,
               (double)n * 100 / (double)l->n, width > 0 ? "  " : "");
        for (int i = 0; i < width; i++)
            putchar('#');
        putchar('\n');
    }
}

static void print_trouble(const struct bench *b)
{
    const char *comma = "\n";
    for (unsigned i = 0; i < 600; i++) {
        if (b->n_refused[i] == 0)
            continue;
        printf("%s%" PRIu64 " answers with status %u", comma, b->n_refused[i], i);
        comma = ", ";
    }
    if (b->n_cut > 0) {
        printf("%s%" PRIu64 " connections cut", comma, b->n_cut);
        comma = ", ";
    }
    if (b->n_missed > 0) {
        printf("%s%" PRIu64 " keys not found", comma, b->n_missed);
        comma = ", ";
    }
    fputs(comma[0] == ',' ? "\n" : "", stdout);
}

/* ---- for programs ---- */

/* With three digits, not with all that a double has. */
static void add_real(struct json_object *doc, const char *name, double value)
{
    char text[64];
    snprintf(text, sizeof text, "%.3f", value);
    json_object_object_add(doc, name, json_object_new_double_s(value, text));
}

static struct json_object *make_op(const struct latency *l, double seconds)
{
    struct json_object *doc = json_object_new_object();
    doc_add_number(doc, "requests", l->n);
    add_real(doc, "per_second", (double)l->n / seconds);
    for (unsigned i = 0; i < N_PARTS; i++) {
        char name[16];
        snprintf(name, sizeof name, "%s_ms", part_names[i]);
        add_real(doc, name, latency_percentile_ms(l, parts[i]));
    }
    add_real(doc, "max_ms", (double)l->max_us / 1000);
    return doc;
}

static void print_json(const struct bench *b, const struct latency *all, double seconds)
{
    struct json_object *doc = json_object_new_object(), *ops = json_object_new_object();
    struct json_object *refused = json_object_new_object();
    add_real(doc, "seconds", seconds);
    doc_add_number(doc, "clients", b->n_clients);
    doc_add_number(doc, "keys", b->n_keys);
    doc_add_number(doc, "value_bytes", b->value_bytes);
    json_object_object_add(doc, "all", make_op(all, seconds));
    for (unsigned op = 0; op < BENCH_OPS; op++)
        if (b->share[op] > 0)
            json_object_object_add(ops, bench_op_names[op], make_op(&b->latency[op], seconds));
    json_object_object_add(doc, "operations", ops);
    for (unsigned i = 0; i < 600; i++) {
        char name[8];
        snprintf(name, sizeof name, "%u", i);
        if (b->n_refused[i] > 0)
            doc_add_number(refused, name, b->n_refused[i]);
    }
    json_object_object_add(doc, "refused", refused);
    doc_add_number(doc, "cut", b->n_cut);
    doc_add_number(doc, "not_found", b->n_missed);
    doc_print(doc);
    json_object_put(doc);
}

void bench_report(const struct bench *b, double seconds)
{
    static struct latency all;
    sum_up(b->latency, &all);
    if (b->c->json) {
        print_json(b, &all, seconds);
        return;
    }
    ctl_say(b->c, "%" PRIu64 " clients, %.1f s, %" PRIu64 " keys, values of %" PRIu64 " bytes",
            b->n_clients, seconds, b->n_keys, b->value_bytes);
    print_rows(b, &all, seconds);
    if (all.n > 0)
        print_histogram(&all);
    print_trouble(b);
}
