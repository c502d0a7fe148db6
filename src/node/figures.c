/* SPDX-License-Identifier: MIT
 * What the driver counts and measures for /metrics. Nothing is decided by it.
 */
#include "node/driver.h"

#define RTT_WEIGHT 8 /* of what is known against one more sample, as in TCP (RFC 6298) */

uint64_t figures_clock_us(const struct driver *d)
{
    return d->clock_us ? d->clock_us() : d->now_ms * 1000;
}

static uint64_t since(const struct driver *d, uint64_t us)
{
    return d->now_us > us ? d->now_us - us : 0;
}

void figures_took(struct driver *d, enum node_duration what, uint64_t from_us)
{
    histogram_add(&d->figures.duration[what], since(d, from_us));
}

void figures_failed(struct driver *d, int err)
{
    d->figures.failed[-err]++;
}

void figures_request_ended(struct driver *d, uint64_t taken_us, uint64_t passed_us,
                           enum node_phase first, enum node_phase second)
{
    uint64_t whole = since(d, taken_us), rest = passed_us ? since(d, passed_us) : 0;
    if (whole >= NODE_SLOW_MS * 1000)
        d->figures.slow[rest > whole / 2 ? second : first]++;
}

/* ---- peers ---- */

/* -1: nothing is known of it. */
static int slot_of(const struct driver *d, struct uuid id)
{
    for (int i = 0; i < LIMIT_MEMBERS && !uuid_is_zero(id); i++)
        if (uuid_equal(d->peers[i].id, id))
            return i;
    return -1;
}

/* Only of members: whoever left makes room. NULL: it is none. */
static struct peer_figures *find_or_begin(struct driver *d, struct uuid id)
{
    int slot = slot_of(d, id);
    if (slot < 0 && !driver_member(d, id))
        return NULL;
    for (int i = 0; i < LIMIT_MEMBERS && slot < 0; i++)
        if (!driver_member(d, d->peers[i].id)) {
            d->peers[i] = (struct peer_figures){.id = id};
            slot = i;
        }
    return slot < 0 ? NULL : &d->peers[slot];
}

struct peer_figures figures_peer(const struct driver *d, struct uuid id)
{
    int slot = slot_of(d, id);
    return slot < 0 ? (struct peer_figures){.id = id} : d->peers[slot];
}

void figures_heard(struct driver *d, struct uuid id)
{
    struct peer_figures *p = find_or_begin(d, id);
    if (p)
        p->heard_us = d->now_us;
}

void figures_send_failed(struct driver *d, struct uuid id)
{
    struct peer_figures *p = find_or_begin(d, id);
    if (p)
        p->send_failures++;
}

void figures_round_trip(struct driver *d, struct uuid id, uint64_t asked_us)
{
    struct peer_figures *p = find_or_begin(d, id);
    uint64_t sample = figures_clock_us(d) - asked_us;
    if (p)
        p->rtt_us = p->rtt_us ? (p->rtt_us * (RTT_WEIGHT - 1) + sample) / RTT_WEIGHT : sample;
}

void figures_digest(struct driver *d, struct uuid id, const struct node_digest *digest)
{
    struct peer_figures *p = find_or_begin(d, id);
    if (p)
        p->digest = *digest;
}

void figures_forget_digests(struct driver *d)
{
    for (unsigned i = 0; i < LIMIT_MEMBERS; i++)
        d->peers[i].digest = (struct node_digest){0};
}
