/* SPDX-License-Identifier: MIT
 * What a read uses: active memtable, frozen memtable and base as of one applied
 * index, whatever the writer does meanwhile. A view keeps memory and, in the
 * base, pages: it is to be short, and the base may end it (TIMEOUT).
 */
#ifndef KV_VIEW_H
#define KV_VIEW_H

#include "kv/kv.h"

struct kv_view; /* opaque; used by one thread at a time */

/* Any thread, also while the writer applies, but not while kv_freeze(), kv_drop_frozen(),
 * kv_install() or kv_free() runs: the owner of the kv keeps these apart by a lock, held shortly.
 * The caller owns the view; it may outlive the kv. */
struct kv_view *kv_view_new(const struct kv *kv);
/* Likewise, for one read of one key: leaves the base alone until it is needed, and then takes it as
 * it is, which may be later than the index. */
struct kv_view *kv_view_new_lazy(const struct kv *kv);
/* It does not grow too old, see kv/base.h: for the making of a snapshot. Not of a lazy view. */
void kv_view_keep(struct kv_view *view);
/* Closes *view and nulls the pointer; NULL is accepted. */
void kv_view_close(struct kv_view **view);

/* The log index whose state is seen. */
uint64_t kv_view_index(const struct kv_view *view);
/* NOT_FOUND, CORRUPT, TIMEOUT or IO. The value is borrowed until the next get of this view or its
 * close. */
MUST_CHECK int kv_view_get(struct kv_view *view, const void *key, size_t key_len,
                           struct kv_value *ret_value);
/* Over the live keys in order. Owned by the caller, any number at a time, to be closed before the
 * view. Not of a lazy view. */
struct kv_cursor *kv_view_cursor(struct kv_view *view);

#endif
