/* SPDX-License-Identifier: MIT
 * Peers over libcurl's multi interface, in one thread: the transport of
 * node/transport.h. Every request is a POST of HTTP/1.1 on a connection kept
 * alive; whoever does not answer holds up nobody but himself.
 *
 *     driver --send()--> mailbox --> net thread: lanes, libcurl --events.done()--> driver
 *
 * CONTROL requests go out at once. DATA requests to one address go out in
 * order, data_window at a time; the others wait in memory, and their time runs
 * while they wait: one that never went out is UNREACHABLE.
 */
#ifndef NET_NET_H
#define NET_NET_H

#include "node/transport.h"

struct net; /* opaque */

/* Zero takes the default. */
struct net_options {
    unsigned data_window;        /* DATA requests in flight to one address; 1 */
    uint32_t connect_timeout_ms; /* at most the request's own; 2000 */
    uint32_t idle_max_s;         /* a connection idle for longer is not used again; 60. Must be
                                    below the server's idle timeout */
};

/* Starts the thread. events.done is called on it. Never fails: without threads
 * or libcurl there is no node, so that ends the process. */
struct net *net_start(const struct net_options *options, struct transport_events events);
/* Borrowed; its send() is thread-safe. */
struct transport *net_transport(struct net *n);
/* Answers every request that is still there (UNREACHABLE or IO), joins the
 * thread, frees *n and nulls the pointer; NULL is accepted. Nobody may call
 * send() any more, but for `done` on the thread itself. */
void net_stop(struct net **n);

#endif
