/* SPDX-License-Identifier: MIT
 * net/'s own: one HTTP exchange on one of libcurl's easy handles, from request
 * to answer. Handles are used again; no threads, no waiting here.
 */
#ifndef NET_CALL_H
#define NET_CALL_H

#include <curl/curl.h>

#include "base/list.h"
#include "node/transport.h"

/* What all calls of one net have in common. */
struct call_options {
    uint32_t connect_timeout_ms;
    uint32_t idle_max_s;
    struct curl_slist *headers; /* borrowed; outlives the calls */
};

struct call {
    struct list link;            /* the net's: in flight or idle */
    CURL *easy;                  /* owned; its CURLOPT_PRIVATE is the call */
    struct transport_request *r; /* owned while in flight */
    size_t reply_bytes_max;
};

/* The headers of every request, for call_options. */
struct curl_slist *call_headers_new(void);

struct call *call_new(const struct call_options *options);
void call_free(struct call **c);
/* Takes r and readies the handle for it, with timeout_ms left to answer.
 * INVALID when its address is none; r stays the caller's then. */
MUST_CHECK int call_prepare(struct call *c, const struct call_options *options,
                            struct transport_request *r, uint32_t timeout_ms);
/* The exchange is over with libcurl's result: writes it into the request and
 * gives that back. The handle is no longer in the multi handle. */
struct transport_request *call_finish(struct call *c, CURLcode result);

#endif
