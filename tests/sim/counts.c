/* SPDX-License-Identifier: MIT */
#include "counts.h"

#include <stdio.h>

const char *fault_text(enum sim_fault f)
{
    static const char *const texts[] = {
#define X(name, text) text,
        SIM_FAULTS(X)
#undef X
    };
    return texts[f];
}

const char *probe_text(enum sim_probe p)
{
    static const char *const texts[] = {
#define X(name, text) text,
        SIM_PROBES(X)
#undef X
    };
    return texts[p];
}

static unsigned long long ull(uint64_t v)
{
    return (unsigned long long)v;
}

void counts_print(const struct counts *c, uint64_t wall_us)
{
    printf("faults\n");
    for (unsigned i = 0; i < SIM_FAULT_KINDS; i++)
        printf("%12llu  %s\n", ull(c->faults[i]), fault_text((enum sim_fault)i));
    printf("probes\n");
    for (unsigned i = 0; i < SIM_PROBE_KINDS; i++)
        printf("%12llu  %s\n", ull(c->probes[i]), probe_text((enum sim_probe)i));
    uint64_t wall_ms = wall_us / 1000 + 1;
    printf("%llu seeds, %llu failed; %llu.%02llu simulated hours in %llu.%llu s, %llu s a second\n"
           "%llu events, %llu turns, %llu messages, %llu disk writes\n"
           "%llu elections, %llu entries, %llu configurations, %llu writes and %llu reads "
           "acknowledged, %llu histories linearizable, %llu too hard to judge\n",
           ull(c->seeds), ull(c->failed), ull(c->simulated_us / 3600000000),
           ull(c->simulated_us / 36000000 % 100), ull(wall_ms / 1000), ull(wall_ms / 100 % 10),
           ull(c->simulated_us / 1000 / wall_ms), ull(c->events), ull(c->turns), ull(c->messages),
           ull(c->disk_writes), ull(c->elections), ull(c->entries), ull(c->configs), ull(c->writes),
           ull(c->reads), ull(c->histories), ull(c->histories_gave_up));
}

void counts_add(struct counts *sum, const struct counts *more)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)more;
    for (unsigned i = 0; i < sizeof *sum / sizeof *to; i++)
        to[i] += from[i];
}
