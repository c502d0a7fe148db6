/* SPDX-License-Identifier: MIT
 * One HTTP request and its answer as the handlers see them. loop.c stands
 * behind it and alone knows libmicrohttpd. An exchange is touched only by the
 * thread of its loop.
 *
 *      headers -> route_begin() -> body arrives -> start() -+-> answered
 *                                                           |
 *                     http_submit(): the node has it, the connection sleeps
 *                                                           |
 *                              finish() on the loop again <-+
 *
 * An answer may be a stream: finish() sets x->stream, and its bytes are made one
 * piece after the other, as the client takes them, or are asked of the node:
 *
 *      more() -> the piece is sent -> more() ... end()
 *        '--> http_submit() ... take() -> the piece is sent -> more()
 */
#ifndef API_HTTP_H
#define API_HTTP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/api.h"
#include "api/places.h"
#include "api/query.h"
#include "base/buf.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/uuid.h"
#include "node/request.h"

struct json_object;
struct listing;
struct route;
struct http_loop;

enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_OTHER,
    HTTP_METHODS /* how many */
};

/* What all loops share. */
struct http_server {
    const struct api_options *options;
    struct node *node;
    char node_text[UUID_TEXT_LEN + 1];
    struct places places;
    _Atomic uint32_t request_timeout_ms;
    _Atomic size_t max_value_size;
    atomic_uint n_in_flight; /* requests of clients that are being worked on */
    atomic_uint n_listings;  /* being streamed */
    atomic_bool draining;
    atomic_size_t client_body_bytes, peer_body_bytes; /* of large bodies, all together */
    atomic_size_t answer_bytes;                       /* of large answers to clients */
    pthread_mutex_t config_lock;
    struct buf config; /* the body of /v1/config; owned */
    struct http_loop **loops;
    unsigned n_loops;
};

/* The request headers that anything here looks at; borrowed, NULL when absent. */
struct http_headers {
    const char *accept;
    const char *expect;
    const char *content_length;
    const char *content_type;
    const char *transfer_encoding;
    const char *if_match;
    const char *if_none_match;
    const char *idempotency_key;
    const char *request_id;
    const char *origin;
    const char *fetch_site;
    const char *bad_host; /* the first Host that is not ours */
    bool two_lengths;     /* more than one Content-Length */
    bool odd_encoding;    /* a Transfer-Encoding other than chunked: the body has no end */
    bool two_conditions;  /* more than one If-Match or If-None-Match */
    bool two_idempotency_keys;
    size_t bytes; /* of all of them and the request line */
};

#define HTTP_REQUEST_ID_MAX 64
/* Bodies and answers up to this long leave their memory to the next request. */
#define HTTP_KEPT_BYTES (2 * KIB)

struct http_exchange;

enum http_more {
    HTTP_MORE_ASKED, /* of the node, by http_submit() */
    HTTP_MORE_HERE,  /* x->out has it */
    HTTP_MORE_NONE,  /* that was all; only of a stream whose size was not known */
};

/* An answer whose bytes come piece by piece, in constant memory. */
struct http_stream {
    /* The bytes from `at` on are wanted. */
    enum http_more (*more)(struct http_exchange *x, uint64_t at);
    /* The node is done with what was asked: x->out becomes what comes next, or stays empty, and
     * then the connection is cut, so that the client knows that it has not everything. */
    void (*take)(struct http_exchange *x);
    /* The time that http_expire_after() gave is over: lets go of what the stream keeps. */
    void (*expire)(struct http_exchange *x);
    /* All was sent, or the client is gone. NULL: nothing to do. */
    void (*end)(struct http_exchange *x);
};

#define HTTP_STREAM_SIZE_UNKNOWN UINT64_MAX

struct http_exchange {
    struct http_server *server;
    struct http_loop *loop;
    struct http_exchange *next_done; /* in the loop's mailbox */
    void *connection;                /* libmicrohttpd's */
    struct place *place;
    const struct route *route; /* never NULL once begun */
    enum http_method method;
    struct http_headers headers;
    struct query query;
    uint64_t started_us;
    size_t body_limit;     /* bytes */
    size_t body_charged;   /* counted in the server's sum */
    size_t answer_charged; /* likewise */
    size_t body_discarded; /* bytes that came after the request was refused */
    struct buf body;       /* owned */

    struct node_request *request; /* owned while the node does not have it */
    struct json_object *json;     /* owned; what the handler wants to keep */

    /* The answer; complete once status is not 0. */
    unsigned status;
    struct buf out;                    /* owned; it lives until the answer was sent */
    const char *content_type;          /* static; NULL: application/json */
    uint64_t revision;                 /* 0: no such header */
    uint64_t create_revision, version; /* likewise */
    bool etag;                         /* the revision is one of what the path names */
    bool no_body;                      /* HEAD, 304: out is empty, though there are */
    uint64_t body_bytes;               /* so many */
    bool age_known;                    /* how old the answer may be */
    uint64_t age_ms;
    char stored_type[LIMIT_CONTENT_TYPE_BYTES + 1]; /* where content_type may point to */
    char disposition[64];                           /* Content-Disposition; empty: none */
    char allow[32];                                 /* of a 405 */
    unsigned retry_after_s;                         /* 0: no such header */
    bool close;
    bool in_flight;                   /* counted in n_in_flight */
    bool waited;                      /* as long as the client wanted: that is not slow */
    uint64_t wait_until_ms;           /* 0: no longer */
    bool v1;                          /* the path is of /v1, and so is the shape of errors */
    const struct http_stream *stream; /* NULL: out is the whole body */
    uint64_t stream_size, stream_at;  /* bytes; out begins at stream_at */
    bool stream_failed;               /* no more can be had */
    uint64_t snapshot;                /* that is open for this stream; 0: none */
    struct listing *listing;          /* the handler's (api/list.h) */
    struct list expiry_link;          /* of a stream that expires: in the loop's list */
    uint64_t expires_ms;              /* 0: never, or done */
    uint32_t lives_ms;                /* from its beginning until it expires; 0: it never does */
    char request_id[HTTP_REQUEST_ID_MAX + 1];
    /* What stands for the part in braces of the route's path, decoded, and a NUL that is not
     * counted. A key may hold NULs itself. */
    size_t param_len;
    char param[LIMIT_KEY_BYTES + 1];
};

/* Gives r to the node, with the request's deadline (?timeout=, else request-timeout) unless it has
 * one. The route's finish() is called when it is done; it may ask once more instead of answering.
 * Takes r. */
void http_submit(struct http_exchange *x, struct node_request *r);

/* The stream expires after so many ms, the same for all that ever do, whether or not its client
 * takes anything meanwhile; it is then cut later than others when its client takes nothing, so that
 * one that comes back can be told. */
void http_expire_after(struct http_exchange *x, uint32_t ms);

/* It may take minutes from now on: the end of the daemon does not wait for it. */
void http_long_poll(struct http_exchange *x);
/* The client has closed the connection, which nobody notices while a request sleeps. */
bool http_client_is_gone(const struct http_exchange *x);

/* How long the client, or else the operator, lets a request take. */
static inline uint32_t http_timeout_ms(const struct http_exchange *x)
{
    return x->query.timeout_ms ? x->query.timeout_ms : atomic_load(&x->server->request_timeout_ms);
}

/* Each parameter of the query, percent-encoded as it came (but + is a space already); value is NULL
 * without a =. Borrowed as long as x lives. */
typedef bool http_visit_fn(void *ctx, const char *name, size_t name_len, const char *value,
                           size_t value_len);
void http_visit_query(struct http_exchange *x, http_visit_fn *fn, void *ctx);

#endif
