/* SPDX-License-Identifier: MIT
 * What the driver needs to talk to other nodes: ask an address, get an answer
 * or learn that there is none. net/ provides it over libcurl with a thread;
 * the simulator provides a network.
 */
#ifndef NODE_TRANSPORT_H
#define NODE_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/limits.h"
#include "base/list.h"

/* Each is a path of its own: POST /raft-append and so on. */
enum transport_path {
    TRANSPORT_APPEND,
    TRANSPORT_VOTE,
    TRANSPORT_READ_INDEX,
    TRANSPORT_TIMEOUT_NOW, /* the leader hands over */
    TRANSPORT_SNAPSHOT,    /* a piece of the state for who comes too late for the log */
    TRANSPORT_FORWARD,     /* writes of clients to the leader */
    TRANSPORT_ADMIN,       /* membership commands to the leader */
    TRANSPORT_HELLO,       /* who are you */
    TRANSPORT_FORM,        /* forming a cluster */
    TRANSPORT_DIGEST,      /* what the state is, in one number */
    TRANSPORT_STATUS,      /* what the leader knows of the members */
    TRANSPORT_PATHS        /* how many */
};

/* "/raft-append" ...; static. */
const char *transport_path_text(enum transport_path path);

/* Requests in different lanes to one address never wait for each other.
 * Requests in LANE_DATA to one address are sent at most `window` at a time. */
enum transport_lane { TRANSPORT_CONTROL, TRANSPORT_DATA };

struct transport_request {
    struct list link;  /* the transport's while it has it */
    uint64_t exchange; /* the driver's key */
    enum transport_path path;
    enum transport_lane lane;
    char addr[LIMIT_ADDR_BYTES + 1];
    uint32_t timeout_ms;
    struct buf body; /* owned */
    /* answer */
    int err;         /* 0; UNREACHABLE: not delivered for certain; TIMEOUT, IO: perhaps delivered */
    int http_status; /* err == 0 */
    struct buf reply; /* owned */
};

struct transport_request *transport_request_new(void);
void transport_request_free(struct transport_request **r);

/* Called on the transport's thread, must not block; the object goes back with it. */
struct transport_events {
    void (*done)(void *ctx, struct transport_request *r);
    void *ctx;
};

struct transport {
    void (*send)(struct transport *t, struct transport_request *r); /* takes r; always answers */
};

#endif
