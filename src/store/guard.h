/* SPDX-License-Identifier: MIT
 * Files are read through maps: a disk that cannot read a page, or a file that
 * somebody cut short, is a fault (SIGBUS) on the thread that touches it. And
 * LMDB believes the pointers in its pages: a damaged file may lead it outside
 * of the map (SIGSEGV) or into one of its assertions. Inside of a guard all of
 * these are reported as damage with a way out, instead of a crash at every
 * start.
 */
#ifndef STORE_GUARD_H
#define STORE_GUARD_H

#include <stdbool.h>

/* Puts the handlers in place, which stay. The first guard does it too; whoever
 * opens a file does it again, in case that somebody has taken them away since,
 * as test frameworks do. */
void store_guard_prepare(void);
/* Calls fn(ctx). True: it returned, and *ret_result is its result. False: it
 * fell; whatever it held is left as it was. After LMDB that must not be used
 * again, which is only bearable because the process is about to end; where fn
 * does nothing but read memory, all is as before. Any number of threads, one
 * guard inside of another; some 10 ns. */
bool store_guard(int (*fn)(void *ctx), void *ctx, int *ret_result);
/* Inside of fn: lets faults through to whoever else handles them, or not. */
void store_guard_pause(bool pause);
/* Falls, if this thread is inside of an unpaused guard; else returns. */
void store_guard_trip(void);

#endif
