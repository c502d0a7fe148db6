/* SPDX-License-Identifier: MIT
 * What a leader knows of one peer's log, and what it has sent there.
 *
 *              first success                  as many as `window`
 *      PROBE ----------------> REPLICATE      appends in flight
 *        ^ one append in flight     |
 *        +--------------------------+  refused, lost, unreachable
 *        |
 *      SNAPSHOT   it needs entries from before the base; until its log reaches that
 *
 * What is in flight is a list; nothing is counted up and down (PITFALLS 24).
 */
#ifndef RAFT_PROGRESS_H
#define RAFT_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/uuid.h"

enum raft_progress_state { RAFT_PROBE, RAFT_REPLICATE, RAFT_SEND_SNAPSHOT };

/* An append with entries that is not answered yet. */
struct raft_flight {
    uint64_t seq;
    uint64_t last;      /* index of its last entry */
    uint64_t sent_tick; /* of the leader's clock */
};

struct raft_progress {
    struct uuid id;
    enum raft_progress_state state;
    uint64_t match;              /* acknowledged as durable there; never goes back */
    uint64_t match_seq;          /* what was sent after this seq was sent after that */
    bool full;                   /* its disk, by its own word */
    bool lost_data;              /* its log ends below what it acknowledged: it counts nowhere */
    uint64_t next;               /* index of the next entry to send; > match */
    uint64_t answered;           /* highest seq of an append it answered in this term */
    uint64_t told_commit;        /* commit index in the last message sent */
    uint64_t heard_tick;         /* when it last answered */
    uint64_t lease_until;        /* tick: it votes for nobody else before */
    uint64_t paused_upto_tick;   /* no appends before: it was unreachable a moment ago */
    unsigned losses;             /* appends lost in a row */
    bool loading;                /* a `load` effect is under way */
    uint64_t snapshot_id;        /* SEND_SNAPSHOT: what follows is about this; 0: none yet */
    uint64_t snapshot_offset;    /* up to here the peer has it */
    uint64_t snapshot_seq;       /* of the piece that is not answered; 0: there is none */
    uint64_t snapshot_tick;      /* when that was sent */
    unsigned snapshot_useless;   /* how bad it looks that it had all and began anew */
    struct raft_flight *flights; /* `window` places; in the order sent */
    unsigned n_flights;
};

void raft_progress_init(struct raft_progress *p, struct uuid id, uint64_t next, uint64_t tick,
                        unsigned window);
void raft_progress_deinit(struct raft_progress *p);

/* An append may be sent now. */
bool raft_progress_may_send(const struct raft_progress *p, unsigned window, uint64_t tick);
/* An append with the entries up to `last` was sent. */
void raft_progress_sent(struct raft_progress *p, uint64_t seq, uint64_t last, uint64_t tick);
/* Whether the append with this seq was in flight; it is not any more. */
bool raft_progress_landed(struct raft_progress *p, uint64_t seq);
/* The peer's log is durable and ours up to `match`; the last seq sent to anybody was seq. */
void raft_progress_matched(struct raft_progress *p, uint64_t match, uint64_t seq);
/* What counts for quorums. */
uint64_t raft_progress_counted(const struct raft_progress *p);
/* From now on it gets a snapshot. */
void raft_progress_snapshot(struct raft_progress *p);
/* Back to probing, from the entry `next` (at least match + 1) on. */
void raft_progress_probe(struct raft_progress *p, uint64_t next);
/* The oldest append in flight has waited for more than `patience` ticks; the
 * patience doubles when one after the other is lost. */
bool raft_progress_is_lost(const struct raft_progress *p, uint64_t tick, uint64_t patience);

#endif
