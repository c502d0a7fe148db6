/* SPDX-License-Identifier: MIT
 * Many histories, their images, and workers that check them.
 */
#ifndef POWER_RUN_H
#define POWER_RUN_H

#include "damage.h"
#include "history.h"
#include "record.h"

#define RUN_KINDS_MAX 32

struct run_options {
    uint64_t seed;
    uint64_t images; /* different ones to check */
    unsigned workers;
    unsigned failures_max; /* then it ends */
    unsigned seconds_max;  /* then it ends as well, with fewer images; 0: never */
    unsigned progress_s;   /* between lines of progress; 0: none */
    const char *tmp;       /* where images are put: memory, best */
    const char *program;   /* its name, for the line that tells how to see a failure again */
    enum record_lie lie;
    int kind; /* histories of this kind only; -1: all */
};

struct run_counts {
    uint64_t histories;
    uint64_t made;     /* images that were built */
    uint64_t distinct; /* of them different in a byte or a name */
    uint64_t checked;  /* opened; also the same bytes again where more had been promised by then */
    uint64_t went_on, recovering, refused, failures; /* recovering: from an earlier loss */
    uint64_t made_by_damage[DAMAGES];
    uint64_t by_damage[DAMAGES], by_kind[RUN_KINDS_MAX]; /* of those checked */
    double seconds;
};

void run_all(const struct run_options *options, struct run_counts *ret_counts);

/* One image by its name, HISTORY:POINT:VARIANT. It is put into `keep` and stays there; a copy is
 * checked. Tells what it is made of. The exit code. */
int run_one(const struct run_options *options, const char *name, const char *keep);

#endif
