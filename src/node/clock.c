/* SPDX-License-Identifier: MIT
 * The cluster's clock. Where something in the state waits for time to pass, the
 * leader puts into the log how much has: about every 10 s, since it began to
 * lead or since the last time. The time of two leaders never overlaps in what
 * is committed: an entry of the earlier one is in the log of the later one
 * before that is elected, or never. So the clock may be late, and stands while
 * nobody leads, but is never early, whatever the clocks of the nodes show.
 */
#include <string.h>

#include "node/driver.h"

#define CLOCK_MS 10000

static bool is_due(const struct driver *d)
{
    return d->now_ms - d->clock.since_ms >= CLOCK_MS && machine_stats(d->machine).n_once > 0 &&
           room_for(d, KV_ORIGIN_BYTES_MAX);
}

/* Into the own log and no other: it is true of this leader alone, and never sent again. */
static bool propose(struct driver *d, uint64_t elapsed_ms)
{
    struct buf b = BUF_INIT;
    struct raft_pos pos;
    kv_clock_encode(elapsed_ms < KV_ELAPSED_MAX_MS ? elapsed_ms : KV_ELAPSED_MAX_MS, &b);
    struct raft_entry *e =
        raft_entry_new(RAFT_ENTRY_COMMAND, (struct raft_pos){0, 0}, (uint32_t)b.len);
    memcpy(e->data, b.data, b.len);
    buf_free(&b);
    bool taken = raft_propose(d->raft, &e, 1, &pos) == 0;
    if (!taken)
        raft_entry_unref(&e);
    return taken;
}

void clock_pump(struct driver *d)
{
    struct raft_status s = raft_status(d->raft);
    if (s.role != RAFT_LEADER || s.term != d->clock.term) {
        d->clock.term = s.role == RAFT_LEADER ? s.term : 0;
        d->clock.since_ms = d->now_ms;
    } else if (is_due(d) && propose(d, d->now_ms - d->clock.since_ms)) {
        d->clock.since_ms = d->now_ms;
    }
}
