/* SPDX-License-Identifier: MIT
 * What is the same for every transport.
 */
#include "node/transport.h"

#include "base/assert.h"
#include "base/mem.h"

const char *transport_path_text(enum transport_path path)
{
    static const char *const texts[TRANSPORT_PATHS] = {
        [TRANSPORT_APPEND] = "/raft-append",
        [TRANSPORT_VOTE] = "/raft-vote",
        [TRANSPORT_READ_INDEX] = "/raft-read-index",
        [TRANSPORT_TIMEOUT_NOW] = "/raft-timeout-now",
        [TRANSPORT_SNAPSHOT] = "/raft-snapshot",
        [TRANSPORT_FORWARD] = "/raft-forward",
        [TRANSPORT_ADMIN] = "/raft-admin",
        [TRANSPORT_HELLO] = "/raft-hello",
        [TRANSPORT_FORM] = "/raft-form",
        [TRANSPORT_DIGEST] = "/raft-digest",
        [TRANSPORT_STATUS] = "/raft-status",
    };
    ASSERT((unsigned)path < TRANSPORT_PATHS);
    return texts[path];
}

struct transport_request *transport_request_new(void)
{
    struct transport_request *r = mem_zalloc(sizeof *r);
    list_init(&r->link);
    return r;
}

void transport_request_free(struct transport_request **r)
{
    if (!*r)
        return;
    buf_free(&(*r)->body);
    buf_free(&(*r)->reply);
    MEM_FREE(*r);
}
