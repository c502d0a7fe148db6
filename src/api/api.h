/* SPDX-License-Identifier: MIT
 * The HTTP side of the daemon: one port for clients, operators and peers, as
 * API.md says. Serving loops of its own over libmicrohttpd; everything that
 * needs consensus is asked of the node through node/request.h.
 *
 *      main: api_listen, the node starts, api_start ... api_drain, the node stops, api_stop
 */
#ifndef API_API_H
#define API_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct api; /* opaque */
struct node;

/* What may change while the daemon runs. */
struct api_limits {
    unsigned max_connections; /* of clients; LIMIT_PEER_PLACES more are kept for peers */
    uint32_t request_timeout_ms;
    size_t max_value_size; /* bytes, up to LIMIT_VALUE_BYTES */
};

/* Everything is borrowed and must outlive the api. */
struct api_options {
    const char *bind_addr;        /* HOST:PORT */
    const char *advertise_addr;   /* HOST:PORT that others use; NULL: bind_addr */
    const char *const *own_names; /* names beside the host name, for the Host check */
    unsigned n_own_names;
    const char *const *allowed_origins; /* "https://ui.example.org" */
    unsigned n_allowed_origins;
    unsigned threads;    /* serving loops; 0: as many as cores, at most 4 */
    unsigned stall_s;    /* of tests: in place of the limits of streams (30 s, 60 s); 0: these */
    size_t answers_max;  /* likewise, in place of LIMIT_CLIENT_ANSWERS_BYTES */
    bool has_peers;      /* peers are configured: the cluster forms itself */
    const char *version; /* for crabcluster_build_info */
    struct api_limits limits;
};

/* Binds the port, before anything else of the daemon is touched; nobody is served yet. BUSY
 * (address in use), PERMISSION, INVALID (not an address of this machine) or IO; ret_reason then
 * holds the line for the operator, and *ret is untouched. */
MUST_CHECK int api_listen(const struct api_options *options, struct buf *ret_reason,
                          struct api **ret);

/* Starts to serve, for this node. IO, with the line in ret_reason. */
MUST_CHECK int api_start(struct api *a, struct node *node, struct buf *ret_reason);

/* New limits, for requests and connections that come from now on. Thread-safe. */
void api_set_limits(struct api *a, const struct api_limits *limits);

/* An effective option, for GET /v1/config. */
struct api_setting {
    const char *name;          /* "raft.heartbeat-interval" */
    const char *const *values; /* one, or those of a list */
    size_t n_values;
    bool is_list, is_bare; /* bare: a number or truth value, which JSON writes without quotes */
    const char *origin;    /* "default", "file", "environment" or "flag" */
    const char *where;     /* which line, variable or flag; NULL: none */
    bool reloadable;
};

/* What GET /v1/config says from now on; file: the one that was read, NULL: none. Copies.
 * Thread-safe. */
void api_set_config(struct api *a, const char *file, const struct api_setting settings[], size_t n);

/* Stops accepting connections, tells clients to close theirs, and waits until
 * no request of a client is being worked on, at most timeout_ms. Peers go on. */
void api_drain(struct api *a, uint32_t timeout_ms);

/* Closes every connection and ends the threads. Waits for the requests that
 * the node still has: it completes each by its deadline, or at once when it
 * stops. The node must still take calls, if api_start() was given one. NULL is accepted; *a
 * becomes NULL. */
void api_stop(struct api **a);

#endif
