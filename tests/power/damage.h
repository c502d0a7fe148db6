/* SPDX-License-Identifier: MIT
 * What a power loss does to what was not synced: the kinds, and for every
 * point of a trace the images that are made of it.
 */
#ifndef POWER_DAMAGE_H
#define POWER_DAMAGE_H

#include "base/rng.h"
#include "disk.h"
#include "stage.h"

#define DAMAGE_LIST(X)                                                                             \
    X(LOST, "nothing unsynced is there")                                                           \
    X(KEPT, "everything is there, as after a kill")                                                \
    X(SUBSET, "some are there, whatever their order")                                              \
    X(ONE_LOST, "one is missing")                                                                  \
    X(ONE_KEPT, "one alone is there")                                                              \
    X(TORN_512, "of every write some sectors of 512 bytes")                                        \
    X(TORN_4K, "of every write some blocks of 4 KiB")                                              \
    X(CUT, "the last one that is there ends at a sector")                                          \
    X(SIZE, "files are as long as they were, and zero where nothing was synced")                   \
    X(NAMES, "some names are there, with or without their content")                                \
    X(LOCKS, "lock files are absent, empty or garbage")                                            \
    X(META, "a synced write is torn within its sector")

enum damage {
#define X(name, text) DAMAGE_##name,
    DAMAGE_LIST(X)
#undef X
        DAMAGES
};

const char *damage_name(enum damage damage);
const char *damage_text(enum damage damage);

/* Images of one point. */
unsigned damage_variants(const struct disk *d);
enum damage damage_of_variant(unsigned variant);
/* Builds image number `variant` of this point; equal generators, equal images. False: the kind does
 * not apply here, and the image is the durable part. */
bool damage_build(struct disk *d, unsigned variant, struct rng *rng, enum stage_locks *ret_locks);

#endif
