/* SPDX-License-Identifier: MIT
 * GET /v1/openapi.json: the document that stands in openapi.json; a test holds
 * it against the route table.
 */
#include <string.h>

#include "api/handlers.h"
#include "api/reply.h"

static const char *const lines[] = {
#include "api/openapi_lines.h"
};

void openapi_start(struct http_exchange *x)
{
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        buf_append(&x->out, lines[i], strlen(lines[i]));
    reply_ok(x);
}
