/* SPDX-License-Identifier: MIT
 * Monotonic time. Only the outermost layers read it: raft holds time as
 * ticks, and node's driver is told what time it is.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>

/* CLOCK_MONOTONIC. */
uint64_t clock_now_ms(void);
uint64_t clock_now_us(void);

#endif
