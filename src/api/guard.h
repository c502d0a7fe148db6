/* SPDX-License-Identifier: MIT
 * The browser rule of API.md: a web page must not be able to write to a store
 * on loopback, neither by a cross-site request nor by a name of its own that
 * resolves here (DNS rebinding).
 */
#ifndef API_GUARD_H
#define API_GUARD_H

#include <stdbool.h>

#include "api/api.h"

/* A Host header names an IP address, localhost, this node, or an allowed origin. */
bool guard_host_is_ours(const struct api_options *o, const char *host);
/* Why the request is refused; NULL when it is not. Each is NULL when absent. Static text. */
const char *guard_refusal(const struct api_options *o, const char *origin, const char *fetch_site,
                          const char *bad_host);

#endif
