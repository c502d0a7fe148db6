/* SPDX-License-Identifier: MIT
 * Streams that must let go of what they keep after some time, whether or not
 * their clients take anything: one list for each loop, the next one first. All
 * live equally long, so that new ones belong at its end.
 */
#ifndef API_EXPIRY_H
#define API_EXPIRY_H

#include "api/http.h"

/* Sets x->lives_ms: ms, or what a test has in its place (stall_s). */
void expiry_add(struct list *expiring, struct http_exchange *x, uint32_t ms);
/* Any exchange. */
void expiry_remove(struct http_exchange *x);
/* Calls expire() of those whose time is over. */
void expiry_run(struct list *expiring);
/* Until the next one's time; INT_MAX: there is none. */
int expiry_left_ms(const struct list *expiring);

#endif
