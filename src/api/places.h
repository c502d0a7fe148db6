/* SPDX-License-Identifier: MIT
 * Who may have a connection. Clients have max-connections places. When they
 * are taken, further connections are let in to LIMIT_PEER_PLACES more, because
 * nobody knows who it is before the first request: one that turns out to be a
 * peer stays, any other is answered 503 and closed, and one that keeps silent
 * is closed soon. So a flood of clients cannot cut a node off from its peers.
 */
#ifndef API_PLACES_H
#define API_PLACES_H

#include <stdatomic.h>
#include <stdbool.h>

/* A connection in the waiting room says who it is within this time. */
#define PLACE_WAITING_S 2
/* One that is idle for longer is closed; above the 118 s for which libcurl keeps one. */
#define PLACE_IDLE_S 125

enum place_kind { PLACE_CLIENT, PLACE_WAITING, PLACE_PEER };

struct places {
    atomic_uint max_clients;
    atomic_uint n_open; /* all, counted from accept() on */
    atomic_uint n_clients;
    atomic_uint n_peers;
};

/* One per connection. */
struct place {
    struct places *all;
    enum place_kind kind;
};

/* With room for nobody until max_clients is set. */
void places_init(struct places *p);
/* At accept(): false when not even the waiting room has a place. */
bool places_open(struct places *p);
/* The connection is gone again before it got a place. */
void places_unopen(struct places *p);

/* The connection gets a place; the first is a client's or the waiting room's. */
struct place *place_new(struct places *p);
/* Leaves the places altogether. */
void place_free(struct place **place);
/* It sends a request of a client: false when there is no place for one. */
bool place_take_client(struct place *place);
/* It sent what only a member of the cluster sends. */
void place_make_peer(struct place *place);

#endif
