/* SPDX-License-Identifier: MIT
 * The one table of paths and methods. 404, 405 with Allow, HEAD, the limit of
 * each body and the labels of the metrics all derive from it.
 */
#ifndef API_ROUTE_H
#define API_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "api/http.h"
#include "node/request.h"

enum route_body { ROUTE_BODY_CONTROL, ROUTE_BODY_WRITE, ROUTE_BODY_PEER };

struct route {
    const char *path;
    enum http_method method; /* GET stands for HEAD too */
    enum route_body body;
    bool peer; /* for other nodes */
    enum transport_path transport;
    void (*start)(struct http_exchange *x);
    void (*finish)(
        struct http_exchange *x); /* the node is done with x->request; NULL: never asks */
};

/* All headers are there, no byte of the body yet: finds the route and checks
 * what can be checked. Sets x->route, x->body_limit and, when the request is
 * refused, its answer. `target` is the path, still percent-encoded. */
void route_begin(struct http_exchange *x, const char *target);
/* The body is longer than x->body_limit: answers 413. */
void route_refuse_body(struct http_exchange *x);

/* For metrics: routes are numbered from 0 by path; the last stands for all unknown ones. */
#define ROUTE_PATHS_MAX 32
unsigned route_number(const struct route *r);
unsigned route_numbers(void);
const char *route_number_path(unsigned number);
const char *http_method_text(enum http_method m);

#endif
