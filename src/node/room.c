/* SPDX-License-Identifier: MIT
 * A disk that is full (PITFALLS 56). Some room is kept for what must go on:
 * elections, configurations, deletions, checkpoints. So there are two limits:
 *
 *      little is left       what makes the state grow is refused at the node that the client
 *                           asked, and a leader hands over to one that has room
 *      the log has no room  nothing at all is proposed, and no entries are taken from a leader:
 *                           a commit must not fail (store/thread.c ends the process then)
 *
 * Both end by themselves when there is room.
 */
#include "base/log.h"
#include "node/driver.h"

#define HAND_OVER_MS 5000 /* between attempts */
#define LOG_SLACK    MIB  /* of log room, for what is not counted */

static struct storage_space space_of(const struct driver *d)
{
    struct storage_space space = {.disk_free = UINT64_MAX / 2, .log_room = UINT64_MAX / 2};
    if (d->storage && d->storage->space)
        d->storage->space(d->storage, &space);
    return space;
}

/* What is in memory goes into a run file first and then into the state. Once full, some more must
 * be free before it is not: or it would change with every checkpoint. */
static bool is_full(const struct driver *d, const struct storage_space *space)
{
    uint64_t run = machine_stats(d->machine).memtable_bytes;
    uint64_t least = space->reserve + (d->room.full ? space->reserve / 4 : 0);
    return space->log_is_full || space->disk_free < least / 4 + run ||
           space->disk_free + space->spare < least + 2 * run;
}

static void tell(struct driver *d, const struct storage_space *space)
{
    if (d->room.full)
        LOG_WARN("the disk is full: %llu MiB are free%s; writes are refused (507), and reads, "
                 "deletions and changes of membership go on; make room or delete data, and it "
                 "ends by itself",
                 (unsigned long long)(space->disk_free / MIB),
                 space->log_is_full ? ", and the log has reached its largest size" : "");
    else
        LOG_INFO("there is room on the disk again: %llu MiB are free",
                 (unsigned long long)(space->disk_free / MIB));
}

static void tell_cluster(struct driver *d)
{
    bool refuses = raft_status(d->raft).full;
    if (refuses && !d->room.refuses && !d->room.full)
        LOG_WARN(
            "the disk of the leader, or of too many others, is full: writes are refused (507)");
    else if (!refuses && d->room.refuses)
        LOG_INFO("writes are taken again");
    d->room.refuses = refuses;
}

void room_advance(struct driver *d)
{
    struct storage_space space = space_of(d);
    bool full = is_full(d, &space);
    d->room.log_room = space.log_room;
    if (full != d->room.full) {
        d->room.full = full;
        tell(d, &space);
        raft_set_full(d->raft, full);
    }
    tell_cluster(d);
    if (!full || !driver_is_leader(d) || d->now_ms < d->room.hand_over_ms)
        return;
    d->room.hand_over_ms = d->now_ms + HAND_OVER_MS;
    if (raft_transfer(d->raft, UUID_ZERO) == 0)
        LOG_INFO("handing over leadership to a node with room on its disk");
}

bool room_for(const struct driver *d, uint64_t bytes)
{
    return 2 * bytes + LOG_SLACK <= d->room.log_room;
}

/* As of the last tick, but for a leader that has just become one. */
static bool refuses_growth(const struct driver *d)
{
    return d->room.refuses || (d->room.full && driver_is_leader(d));
}

bool room_is_short(const struct driver *d)
{
    return refuses_growth(d) || !room_for(d, KV_COMMAND_BYTES_MAX);
}

bool room_refuses(const struct driver *d, const struct node_request *r)
{
    const struct buf *body = &r->in.write.body;
    if (refuses_growth(d) && kv_body_grows(body->data, body->len))
        return true;
    return driver_is_leader(d) && !room_for(d, body->len);
}
