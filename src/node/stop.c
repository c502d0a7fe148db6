/* SPDX-License-Identifier: MIT
 * An orderly end. A leader hands over first, so that the others are not without
 * one for an election timeout; what its clients still wait for goes through the
 * next leader. When nobody can take over it just gives up.
 */
#include "base/log.h"
#include "node/driver.h"

static bool another_leads(const struct driver *d)
{
    struct uuid leader = raft_status(d->raft).leader;
    return !uuid_is_zero(leader) && !uuid_equal(leader, d->identity.node);
}

void driver_hand_over(struct driver *d)
{
    if (driver_is_leader(d) && raft_transfer(d->raft, UUID_ZERO) == 0)
        d->handover_until_ms = d->now_ms + 2 * d->o.election_max_ms;
}

bool driver_is_handing_over(const struct driver *d)
{
    return d->handover_until_ms > d->now_ms;
}

void driver_stop(struct driver *d)
{
    if (d->stopping)
        return;
    d->stopping = true;
    waits_expire(d, true);
    driver_hand_over(d);
    if (!driver_is_handing_over(d))
        raft_step_down(d->raft);
}

/* Without success it gives up leadership all the same. Until another leads it
 * still answers, because its vote may be needed. */
void stop_advance(struct driver *d)
{
    if (d->stopping && driver_is_leader(d) && uuid_is_zero(raft_status(d->raft).transfer_to))
        raft_step_down(d->raft);
    if (d->handover_until_ms != 0 && another_leads(d)) {
        char id[UUID_TEXT_LEN + 1];
        LOG_INFO("leadership handed over to %s", uuid_format(raft_status(d->raft).leader, id));
        d->handover_until_ms = 0;
    }
}

bool driver_is_idle(const struct driver *d)
{
    return !driver_is_handing_over(d) && d->writes.floor > d->writes.seq_last &&
           list_is_empty(&d->batches.held) && list_is_empty(&d->reads.waiting) &&
           list_is_empty(&d->reads.asked) && list_is_empty(&d->reads.confirmed) &&
           list_is_empty(&d->admin_ops) && list_is_empty(&d->overviews) && list_is_empty(&d->inits);
}

void driver_abandon(struct driver *d)
{
    d->stopping = true;
    raft_step_down(d->raft);
    batches_release_held(d);
    writes_expire(d, true);
    reads_expire(d, true);
    waits_expire(d, true);
    admin_expire(d, true);
    overview_expire(d, true);
    form_abandon(d);
    peer_expire(d, true);
    backup_expire(d, true);
}
