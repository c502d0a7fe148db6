/* SPDX-License-Identifier: MIT
 * One peer's progress.
 */
#include "raft/progress.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum { LOSSES_DOUBLING = 2 }; /* patience grows up to four times */

void raft_progress_init(struct raft_progress *p, struct uuid id, uint64_t next, uint64_t tick,
                        unsigned window)
{
    memset(p, 0, sizeof *p);
    p->id = id;
    p->next = next;
    p->heard_tick = tick;
    p->flights = mem_array(window, sizeof *p->flights);
}

void raft_progress_deinit(struct raft_progress *p)
{
    mem_free(p->flights);
    memset(p, 0, sizeof *p);
}

bool raft_progress_may_send(const struct raft_progress *p, unsigned window, uint64_t tick)
{
    if (p->loading || p->lost_data || p->state == RAFT_SEND_SNAPSHOT || tick < p->paused_upto_tick)
        return false;
    return p->n_flights < (p->state == RAFT_PROBE ? 1 : window);
}

void raft_progress_sent(struct raft_progress *p, uint64_t seq, uint64_t last, uint64_t tick)
{
    p->flights[p->n_flights++] = (struct raft_flight){seq, last, tick};
    p->next = last + 1;
}

static void remove_flight(struct raft_progress *p, unsigned i)
{
    p->n_flights--;
    memmove(&p->flights[i], &p->flights[i + 1], (p->n_flights - i) * sizeof p->flights[0]);
}

bool raft_progress_landed(struct raft_progress *p, uint64_t seq)
{
    for (unsigned i = 0; i < p->n_flights; i++) {
        if (p->flights[i].seq == seq) {
            remove_flight(p, i);
            return true;
        }
    }
    return false;
}

void raft_progress_matched(struct raft_progress *p, uint64_t match, uint64_t seq)
{
    if (match <= p->match)
        return;
    p->match = match;
    p->match_seq = seq;
    p->losses = 0;
    if (p->next <= match)
        p->next = match + 1;
    if (p->state == RAFT_PROBE)
        p->state = RAFT_REPLICATE;
    for (unsigned i = p->n_flights; i-- > 0;)
        if (p->flights[i].last <= match)
            remove_flight(p, i);
}

uint64_t raft_progress_counted(const struct raft_progress *p)
{
    return p->lost_data ? 0 : p->match;
}

void raft_progress_snapshot(struct raft_progress *p)
{
    p->state = RAFT_SEND_SNAPSHOT;
    p->n_flights = 0;
    p->snapshot_id = p->snapshot_offset = p->snapshot_seq = 0;
}

void raft_progress_probe(struct raft_progress *p, uint64_t next)
{
    p->state = RAFT_PROBE;
    p->n_flights = 0;
    p->next = next > p->match ? next : p->match + 1;
}

bool raft_progress_is_lost(const struct raft_progress *p, uint64_t tick, uint64_t patience)
{
    unsigned doubled = p->losses < LOSSES_DOUBLING ? p->losses : LOSSES_DOUBLING;
    return p->n_flights > 0 && tick - p->flights[0].sent_tick > patience << doubled;
}
