/* SPDX-License-Identifier: MIT */
#include "api/places.h"

#include "base/limits.h"
#include "base/mem.h"

/* Counts one more unless there are max already. */
static bool take(atomic_uint *n, unsigned max)
{
    unsigned now = atomic_load(n);
    while (now < max)
        if (atomic_compare_exchange_weak(n, &now, now + 1))
            return true;
    return false;
}

void places_init(struct places *p)
{
    atomic_init(&p->max_clients, 0);
    atomic_init(&p->n_open, 0);
    atomic_init(&p->n_clients, 0);
    atomic_init(&p->n_peers, 0);
}

bool places_open(struct places *p)
{
    return take(&p->n_open, p->max_clients + LIMIT_PEER_PLACES);
}

void places_unopen(struct places *p)
{
    atomic_fetch_sub(&p->n_open, 1);
}

struct place *place_new(struct places *p)
{
    struct place *place = mem_zalloc(sizeof *place);
    place->all = p;
    place->kind = take(&p->n_clients, p->max_clients) ? PLACE_CLIENT : PLACE_WAITING;
    return place;
}

void place_free(struct place **place)
{
    struct place *p = *place;
    if (!p)
        return;
    if (p->kind == PLACE_CLIENT)
        atomic_fetch_sub(&p->all->n_clients, 1);
    if (p->kind == PLACE_PEER)
        atomic_fetch_sub(&p->all->n_peers, 1);
    places_unopen(p->all);
    MEM_FREE(*place);
}

bool place_take_client(struct place *place)
{
    if (place->kind == PLACE_WAITING && take(&place->all->n_clients, place->all->max_clients))
        place->kind = PLACE_CLIENT;
    return place->kind != PLACE_WAITING;
}

void place_make_peer(struct place *place)
{
    if (place->kind == PLACE_PEER || !take(&place->all->n_peers, LIMIT_PEER_PLACES))
        return;
    if (place->kind == PLACE_CLIENT)
        atomic_fetch_sub(&place->all->n_clients, 1);
    place->kind = PLACE_PEER;
}
