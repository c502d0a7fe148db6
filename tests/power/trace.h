/* SPDX-License-Identifier: MIT
 * What a program did to the files below one directory, in order and with every
 * byte, and what it was told or told others meanwhile (marks).
 *
 * Files and directories are nodes, numbered as they are made; node 0 is the
 * directory itself, which was there and is durable.
 */
#ifndef POWER_TRACE_H
#define POWER_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define TRACE_NODES_MAX 256
#define TRACE_NAME_MAX  48
#define TRACE_ROOT      0
#define TRACE_NO_NODE   UINT32_MAX

enum trace_kind {
    TRACE_MAKE,       /* node, an empty file or directory, appears as name in dir */
    TRACE_RENAME,     /* node appears as name in dir and disappears from its old place */
    TRACE_REMOVE,     /* name disappears from dir */
    TRACE_WRITE,      /* bytes at offset */
    TRACE_SYNC_WRITE, /* the same by a descriptor with O_DSYNC: durable when it returns */
    TRACE_TRUNCATE,   /* the size is offset from now on */
    TRACE_SYNC,       /* node's content is durable; of a directory: its names */
    TRACE_MARK,       /* number `offset` for mark `node` */
};

/* Marks only grow. */
enum trace_mark {
    MARK_BEGUN,    /* the store was asked for everything up to this state */
    MARK_PROMISED, /* the store said that this state is durable */
    MARK_BOOT,     /* store_open() returned this boot number */
    MARKS
};

struct trace_op {
    enum trace_kind kind;
    uint32_t node, dir, old_dir;
    bool is_dir;
    uint64_t offset;
    size_t data; /* where in the trace's bytes */
    uint32_t len;
    char name[TRACE_NAME_MAX], old_name[TRACE_NAME_MAX];
};

/* Zero-initialised it is empty and valid. */
struct trace {
    struct trace_op *ops; /* owned */
    size_t n_ops, cap_ops;
    struct buf bytes;
};

/* Copies op, and len bytes of data. */
void trace_add(struct trace *t, const struct trace_op *op, const void *data);
void trace_mark(struct trace *t, enum trace_mark mark, uint64_t number);
const uint8_t *trace_data(const struct trace *t, const struct trace_op *op);
/* Of everything in it: that two recordings were the same. */
uint32_t trace_digest(const struct trace *t);
void trace_free(struct trace *t);

#endif
