/* SPDX-License-Identifier: MIT
 * What a disk may hold when the power fails within a trace. disk_step() goes
 * through the trace; what was synced is durable, all else since is pending.
 * An image is the durable part and whatever pieces of the pending operations
 * the caller puts on it:
 *
 *      disk_step() ... disk_step()
 *      disk_put() ... disk_hash() stage_put() ... disk_undo()      one image
 *      disk_put() ... disk_undo()                                  another
 *      disk_step() ...
 *
 * Strict as POSIX allows: a synced file may have no name, as long as the
 * directory was not synced. A rename is one step within a directory, two
 * between two.
 */
#ifndef POWER_DISK_H
#define POWER_DISK_H

#include "trace.h"

#define DISK_SECTOR 512
#define DISK_PAGE   4096

struct disk_name {
    uint32_t dir, node;
    char name[TRACE_NAME_MAX];
};

struct disk_names {
    struct disk_name *names; /* owned */
    size_t n, cap;
};

/* An operation whose effect may be lost. */
struct disk_pending {
    const struct trace_op *op;
    size_t at;           /* its place in the trace */
    bool forced;         /* an O_DSYNC write: durable, but kept in order with those before it */
    bool added, dropped; /* of a rename between directories: this half is durable */
};

/* A file: durable content, and the image's, which differs only in touched sectors. Both have room
 * for `cap` bytes, zero beyond their size. */
struct disk_file {
    bool is_dir;
    uint8_t *durable, *work; /* owned */
    size_t cap, durable_size, work_size;
    uint64_t *sector_hash; /* of durable, one for each sector of cap */
    uint64_t hash;         /* their sum */
    uint32_t *touched;     /* sectors, owned */
    size_t n_touched, cap_touched;
    uint8_t *is_touched; /* by sector */
    uint8_t *stale;      /* by page: the copy in a file system may differ from work */
};

struct disk {
    const struct trace *trace; /* borrowed */
    size_t at;                 /* the next operation */
    uint64_t marks[MARKS];
    struct disk_file files[TRACE_NODES_MAX];
    uint32_t n_files;
    struct disk_names durable, image;
    struct disk_pending *pending; /* owned, in the order of the trace */
    size_t n_pending, cap_pending;
};

/* Borrows the trace. The root is there and empty. */
void disk_init(struct disk *d, const struct trace *trace);
void disk_free(struct disk *d);

/* Takes the next operation in. When it is an O_DSYNC write it is under way only: the power may
 * fail inside of it, until disk_settle() says that it is done. */
void disk_step(struct disk *d);
bool disk_is_inside(const struct disk *d);
void disk_settle(struct disk *d);

/* Onto the image: `len` bytes of a pending write from `from` on; a pending truncation or name. */
void disk_put_bytes(struct disk *d, const struct disk_pending *p, size_t from, size_t len);
void disk_put(struct disk *d, const struct disk_pending *p);
/* A file that has two names in the image, as a rename between directories may leave it, becomes two
 * files. The image cannot be undone then. */
void disk_split(struct disk *d);
/* The image's file becomes longer by zeros, if it is shorter. */
void disk_put_size(struct disk *d, uint32_t node, size_t size);
/* The bytes beyond the marks: equal images have equal hashes. */
uint64_t disk_hash(const struct disk *d);
/* The image is the durable part again. */
void disk_undo(struct disk *d);

/* A copy of these bytes of the image in a file system is not what it was. */
void disk_make_stale(struct disk *d, uint32_t node, uint64_t offset, uint64_t len);
/* The name leads to the root. */
bool disk_is_reachable(const struct disk_names *names, const struct disk_name *name);

#endif
