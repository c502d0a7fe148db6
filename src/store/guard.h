/* SPDX-License-Identifier: MIT
 * LMDB believes the pointers in its pages. When a damaged file leads it outside
 * of the map (SIGSEGV, SIGBUS) or into one of its assertions while the node
 * starts, that is reported as damage with a way out, instead of a crash at
 * every start.
 */
#ifndef STORE_GUARD_H
#define STORE_GUARD_H

#include <stdbool.h>

/* Calls fn(ctx). True: it returned, and *ret_result is its result. False: it
 * fell; whatever it held is left as it was and must not be used again, which
 * is only bearable because the process is about to end. Not nested. */
bool store_guard(int (*fn)(void *ctx), void *ctx, int *ret_result);
/* Inside of fn: lets faults through to whoever else handles them, or not. */
void store_guard_pause(bool pause);
/* Falls, if this thread is inside of an unpaused guard; else returns. */
void store_guard_trip(void);

#endif
