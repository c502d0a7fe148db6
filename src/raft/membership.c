/* SPDX-License-Identifier: MIT
 * Changing the configuration (dissertation chapter 4). Joint configurations
 * are left by whoever leads when they are committed.
 */
#include <string.h>

#include "base/assert.h"
#include "raft/core.h"

/* Equal when their bytes are. */
static bool configs_equal(const struct raft_config *a, const struct raft_config *b)
{
    struct buf x = BUF_INIT, y = BUF_INIT;
    raft_config_encode(a, &x);
    raft_config_encode(b, &y);
    bool equal = x.len == y.len && memcmp(x.data, y.data, x.len) == 0;
    buf_free(&x);
    buf_free(&y);
    return equal;
}

/* Both are uniform. */
static bool same_voters(const struct raft_config *a, const struct raft_config *b)
{
    if (raft_config_n_voters(a) != raft_config_n_voters(b))
        return false;
    for (unsigned i = 0; i < a->n_members; i++) {
        const struct raft_member *m = &a->members[i];
        const struct raft_member *other = raft_config_find(b, m->id);
        if ((m->roles & RAFT_VOTER) && !(other && (other->roles & RAFT_VOTER)))
            return false;
    }
    return true;
}

static struct raft_pos append_config(struct raft *r, const struct raft_config *config)
{
    struct buf bytes = BUF_INIT;
    raft_config_encode(config, &bytes);
    struct raft_pos pos = {r->term, raft_log_last(r->log).index + 1};
    struct raft_entry *e = raft_entry_new(RAFT_ENTRY_CONFIG, pos, (uint32_t)bytes.len);
    memcpy(e->data, bytes.data, bytes.len);
    buf_free(&bytes);
    raft_append_entry(r, e);
    raft_entry_unref(&e);
    return pos;
}

/* One change at a time, from the entry to the end of its joint configuration.
 * Before an entry of the own term is committed, the tail may hold changes of
 * earlier leaders, whose fate is open (PITFALLS 35, 36). */
static bool may_change(const struct raft *r)
{
    return raft_in_own_term(r) && !raft_is_transferring(r) &&
           raft_history_is_committed(r->history) && !raft_config_is_joint(raft_config_in_force(r));
}

int raft_change_config(struct raft *r, const struct raft_change changes[], unsigned n,
                       struct raft_pos *ret_pos)
{
    if (r->role != RAFT_LEADER)
        return ERR_NOT_LEADER;
    if (!may_change(r))
        return ERR_IN_PROGRESS;
    const struct raft_config *now = raft_config_in_force(r);
    struct raft_config changed;
    int rc = raft_config_simple(now, changes, n, &changed);
    if (rc == ERR_NOT_ALLOWED || (rc == 0 && !same_voters(now, &changed)))
        rc = raft_config_enter_joint(now, changes, n, true, &changed);
    if (rc < 0)
        return rc;
    if (configs_equal(now, &changed)) {
        *ret_pos = (struct raft_pos){0, 0};
        return 0;
    }
    *ret_pos = append_config(r, &changed);
    raft_advance_commit(r);
    return 0;
}

static bool must_leave(const struct raft *r)
{
    return raft_in_own_term(r) && raft_history_is_committed(r->history) &&
           !raft_config_is_joint(raft_config_in_force(r)) && !raft_is_voter(r);
}

void raft_membership_committed(struct raft *r)
{
    const struct raft_config *config = raft_config_in_force(r);
    if (!raft_in_own_term(r) || !raft_history_is_committed(r->history) || raft_is_transferring(r))
        return;
    if (raft_config_is_joint(config) && config->auto_leave) {
        /* Once: from here on the configuration in force is the uniform one (PITFALLS 37). */
        struct raft_config uniform;
        int rc = raft_config_leave_joint(config, &uniform);
        ASSERT(rc == 0);
        append_config(r, &uniform);
    } else if (must_leave(r) && r->leave_elapsed == 0) {
        /* The others must hear that this is committed, or they go on waiting for us (PITFALLS 40).
         */
        for (unsigned i = 0; i < r->n_peers; i++)
            if (!raft_is_self(r, i))
                raft_send_heartbeat(r, i);
    }
}

void raft_membership_tick(struct raft *r)
{
    if (!must_leave(r) || raft_is_transferring(r) || ++r->leave_elapsed <= 1)
        return;
    /* The others need not wait for a timeout (dissertation 4.2.2, 3.10). */
    bool first = r->leave_elapsed == 2;
    if (!first || raft_transfer(r, UUID_ZERO) < 0)
        raft_become_follower(r, r->term, UUID_ZERO);
}
