/* SPDX-License-Identifier: MIT
 * What lies below the memtables: runs and checkpointed state, as an interface.
 * store/ implements it; tests have one in memory (tests/unit/mem_base.c).
 *
 *      kv_view:   active memtable | frozen memtable | kv_base_view
 *      newest first                                  runs, newest first | LMDB
 */
#ifndef KV_BASE_H
#define KV_BASE_H

#include "kv/cursor.h"

/* Embedded as the first member by who implements it. Every function of a base
 * is thread-safe. It is freed when its last reference goes; each open view
 * holds one of its own. The maker owns the first. */
struct kv_base {
    const struct kv_base_ops *ops;
};

/* The contents as of the moment it was made, whatever is added or merged since.
 * Used by one thread at a time, not necessarily the one that made it. */
struct kv_base_view {
    const struct kv_base_view_ops *ops;
};

struct kv_base_ops {
    void (*ref)(struct kv_base *base);
    void (*unref)(struct kv_base *base);
    /* Never NULL, owned by the caller until its close(). Called under a short lock: must not wait
     * for disks. When something is wrong (no reader's place, say) get and cursor tell. */
    struct kv_base_view *(*view)(struct kv_base *base);
};

/* Errors: CORRUPT when what is kept is damaged, TIMEOUT when the view has grown
 * too old, IO. */
struct kv_base_view_ops {
    /* NOT_FOUND (so for tombstones too) and the errors above; *ret_value is untouched then. The
     * value is borrowed until the next get of this view or its close. */
    int (*get)(struct kv_base_view *view, const void *key, size_t len, struct kv_value *ret_value);
    /* Brings what get() of these keys will look at into the processor's cache, as far as that is
     * easily known. At most KV_PREFETCH_MAX. */
    void (*prefetch)(struct kv_base_view *view, const struct kv_bytes keys[], unsigned n);
    /* Over the live keys; tombstones may come too and are left out by who reads. Never NULL, owned
     * by the caller; any number at a time; to be closed before the view. */
    struct kv_cursor *(*cursor)(struct kv_base_view *view);
    /* For who must read all of it, however long that takes: it grows too old no more, unless what
     * it keeps is in the way of who writes (TIMEOUT then, too). Any thread. */
    void (*keep)(struct kv_base_view *view);
    /* Frees the view. */
    void (*close)(struct kv_base_view *view);
};

#endif
