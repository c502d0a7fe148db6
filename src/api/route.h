/* SPDX-License-Identifier: MIT
 * Paths and methods. 404, 405 with Allow, HEAD, query parameters, the limit of
 * each body and the labels of the metrics all derive from the one table in
 * route_table.c.
 */
#ifndef API_ROUTE_H
#define API_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "api/http.h"
#include "node/request.h"

enum route_body {
    ROUTE_BODY_CONTROL,
    ROUTE_BODY_WRITE, /* JSON with values of max-value-size in it */
    ROUTE_BODY_VALUE, /* one value as it is */
    ROUTE_BODY_PEER
};

struct route {
    /* "/v1/members/{id}/promote": the part in braces is what a request has between two slashes, at
     * least one byte, into x->param. With key set it is all that follows, slashes and any other
     * byte, and is checked to be a key. */
    const char *path;
    enum http_method method; /* GET stands for HEAD too */
    enum route_body body;
    unsigned query; /* QUERY_BIT()s of the parameters that it takes */
    bool key;
    bool peer; /* for other nodes */
    enum transport_path transport;
    void (*start)(struct http_exchange *x);
    void (*finish)(
        struct http_exchange *x); /* the node is done with x->request; NULL: never asks */
};

extern const struct route route_table[];
extern const unsigned route_table_n;

/* Before any other function here; any number of times, from any thread. */
void route_init(void);

/* All headers are there, no byte of the body yet: finds the route and checks
 * what can be checked. Sets x->route, x->body_limit and, when the request is
 * refused, its answer. `target` is the path, still percent-encoded. */
void route_begin(struct http_exchange *x, const char *target);
/* The body is longer than x->body_limit: answers 413. */
void route_refuse_body(struct http_exchange *x);

/* For metrics: routes are numbered from 0 by path; the last stands for all unknown ones. */
#define ROUTE_PATHS_MAX 64
unsigned route_number(const struct route *r);
unsigned route_numbers(void);
const char *route_number_path(unsigned number);
const char *http_method_text(enum http_method m);

#endif
