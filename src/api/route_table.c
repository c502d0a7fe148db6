/* SPDX-License-Identifier: MIT
 * The one table of paths and methods; nothing but data. A {name} in a path
 * stands for a part that differs from request to request.
 */
#include "api/handlers.h"
#include "api/route.h"

#define PEER(text, which)                                                                          \
    {                                                                                              \
        .path = "/raft-" text, .method = HTTP_POST, .body = ROUTE_BODY_PEER, .peer = true,         \
        .transport = TRANSPORT_##which, .start = peer_start, .finish = peer_finish                 \
    }

/* Methods of one path stand together. */
const struct route route_table[] = {
    {.path = "/init", .method = HTTP_GET, .start = init_start, .finish = init_finish},
    {.path = "/init", .method = HTTP_POST, .start = init_start, .finish = init_finish},
    {.path = "/get-id", .method = HTTP_GET, .start = get_id_start},
    {.path = "/add-learner",
     .method = HTTP_POST,
     .start = add_learner_start,
     .finish = add_learner_finish},
    {.path = "/change-membership",
     .method = HTTP_POST,
     .start = change_membership_start,
     .finish = change_membership_finish},
    {.path = "/metrics", .method = HTTP_GET, .start = metrics_start, .finish = metrics_finish},
    {.path = "/write",
     .method = HTTP_POST,
     .body = ROUTE_BODY_WRITE,
     .start = write_start,
     .finish = write_finish},
    {.path = "/read", .method = HTTP_POST, .start = read_start, .finish = read_finish},
    {.path = "/v1/snapshot",
     .method = HTTP_GET,
     .query = QUERY_V1,
     .start = snapshot_start,
     .finish = snapshot_finish},
    {.path = "/v1/kv/{key}",
     .method = HTTP_GET,
     .query = QUERY_V1 | QUERY_BIT(KEY_B64) | QUERY_BIT(WAIT),
     .key = true,
     .start = keys_get_start,
     .finish = keys_get_finish},
    {.path = "/v1/kv/{key}",
     .method = HTTP_PUT,
     .body = ROUTE_BODY_VALUE,
     .query = QUERY_V1 | QUERY_BIT(KEY_B64) | QUERY_BIT(PREV),
     .key = true,
     .start = keys_put_start,
     .finish = keys_put_finish},
    {.path = "/v1/kv/{key}",
     .method = HTTP_DELETE,
     .body = ROUTE_BODY_VALUE,
     .query = QUERY_V1 | QUERY_BIT(KEY_B64) | QUERY_BIT(PREV),
     .key = true,
     .start = keys_delete_start,
     .finish = keys_delete_finish},
    {.path = "/v1/kv/{key}",
     .method = HTTP_POST,
     .body = ROUTE_BODY_VALUE,
     .query = QUERY_V1 | QUERY_BIT(KEY_B64) | QUERY_BIT(OP) | QUERY_BIT(BY),
     .key = true,
     .start = keys_post_start,
     .finish = keys_post_finish},
    PEER("append", APPEND),
    PEER("vote", VOTE),
    PEER("read-index", READ_INDEX),
    PEER("timeout-now", TIMEOUT_NOW),
    PEER("snapshot", SNAPSHOT),
    PEER("forward", FORWARD),
    PEER("admin", ADMIN),
    PEER("hello", HELLO),
    PEER("form", FORM),
    PEER("digest", DIGEST),
    PEER("status", STATUS),
};

const unsigned route_table_n = sizeof route_table / sizeof *route_table;
