/* SPDX-License-Identifier: MIT
 * What a thread says of itself, once, at its beginning.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

/* Shown by top -H, ps -L and perf. At most 15 bytes count. */
void thread_name(const char *name);

#endif
