/* SPDX-License-Identifier: MIT
 * A kv over a base in memory, with its log: what a node is to kv/. It freezes,
 * writes runs, crashes and installs snapshots at random moments.
 */
#ifndef TESTS_KV_MACHINE_H
#define TESTS_KV_MACHINE_H

#include "base/rng.h"
#include "kv/view.h"

struct kv_machine; /* opaque */

struct kv_machine *kv_machine_new(void);
void kv_machine_free(struct kv_machine **m);

/* The kv as it is now; a disturbance may replace it. */
struct kv *kv_machine_kv(struct kv_machine *m);
/* Apply, and keep in the log. */
void kv_machine_apply(struct kv_machine *m, struct kv_pos pos, const void *command, size_t len,
                      struct kv_result *ret_result);
void kv_machine_apply_members(struct kv_machine *m, struct kv_pos pos, const struct uuid ids[],
                              unsigned n);

/* One thing at random; snapshots come from `other`, a kv that has applied the same. Checks what
 * must hold right then, with cmocka's assertions. */
void kv_machine_disturb(struct kv_machine *m, struct rng *rng, struct kv *other);
/* How often each kind of disturbance came to something, at least. */
unsigned kv_machine_least_done(const struct kv_machine *m);

/* Over everything that a view shows; its keys must ascend. */
uint32_t kv_view_crc(struct kv_view *view);

#endif
