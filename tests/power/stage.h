/* SPDX-License-Identifier: MIT
 * An image in a real directory, for the real store to open. Only what differs
 * from the image before is written: the pages that changed, that the damage
 * changed, or that the store itself wrote while it was checked.
 */
#ifndef POWER_STAGE_H
#define POWER_STAGE_H

#include "disk.h"

struct stage {
    char root[256];          /* the image's root: exists while the stage does */
    struct disk_names names; /* as they are in the file system */
    int fds[TRACE_NODES_MAX];
    bool is_known; /* names and files are as `names` and the disk's stale pages say */
};

/* What the store finds of its lock files, which no sync ever made sure. */
enum stage_locks { STAGE_LOCKS_KEPT, STAGE_LOCKS_ABSENT, STAGE_LOCKS_EMPTY, STAGE_LOCKS_GARBAGE };

void stage_init(struct stage *s, const char *root);
/* The next image is of another disk. */
void stage_reset(struct stage *s);
/* Removes the root. */
void stage_free(struct stage *s);

void stage_put(struct stage *s, struct disk *d, enum stage_locks locks);
/* Makes `root` anew, puts the image there and leaves it. */
void stage_leave(const char *root, struct disk *d, enum stage_locks locks);
/* Begins and ends to note what the store does to the files. */
void stage_watch(struct stage *s, struct disk *d);
void stage_unwatch(void);
/* Whether the files below root are the image's, names and every byte: checks the bookkeeping
 * itself, and that a recording missed nothing. */
bool stage_matches(const char *root, const struct disk *d);

/* Removes a directory with all below it. */
void stage_remove_tree(const char *path);

#endif
