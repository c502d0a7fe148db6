/* SPDX-License-Identifier: MIT
 * What checking costs: usage: bench_lin [KEYS]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"
#include "lin/random_history.h"

static void run(const char *name, const struct history_shape *shape, unsigned n_keys)
{
    static const char *const verdicts[] = {"linearizable", "violated", "gave up"};
    struct rng rng = {1};
    struct lin *lin = lin_new();
    struct lin_report report;
    struct lin_op *ops = mem_array(shape->n_ops * n_keys, sizeof *ops);
    for (unsigned key = 0; key < n_keys; key++)
        random_history(&rng, shape, key, ops + key * shape->n_ops);
    uint64_t start = clock_now_us();
    for (size_t i = 0; i < shape->n_ops * n_keys; i++)
        lin_add(lin, &ops[i]);
    enum lin_verdict verdict = lin_check(lin, NULL, &report);
    uint64_t us = clock_now_us() - start + 1;
    printf("%-34s %7zu operations, %6zu keys: %s, %" PRIu64 " steps, %.0f operations/s\n", name,
           report.n_ops, report.n_keys, verdicts[verdict], report.steps,
           (double)report.n_ops * 1e6 / (double)us);
    mem_free(ops);
    lin_free(&lin);
}

int main(int argc, char **argv)
{
    unsigned n_keys = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 1000;
    struct history_shape easy = {
        .n_ops = 200, .n_clients = 5, .n_values = 0, .unknown_percent = 5, .read_percent = 50};
    struct history_shape few_values = easy, many_unknown = easy, one_key = easy;
    few_values.n_values = 5;
    many_unknown.unknown_percent = 30;
    one_key.n_ops = 10 * (size_t)n_keys;
    run("unique values", &easy, n_keys);
    run("five values", &few_values, n_keys);
    run("unique values, 30 % unknown", &many_unknown, n_keys);
    run("one key", &one_key, 1);
    return 0;
}
